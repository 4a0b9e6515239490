"""The fault plan of docs/emulator.md does what the page says."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

import pytest

from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_faults import NO_ANSWER, document, submitted
from tests.emulator.integration.test_http import JOB, Client
from tests.patience import wait_until

TEXT = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text("utf-8")


def test_the_fault_plan_of_the_documents_does_what_they_say(tmp_path):
    (plan,) = re.findall(r"```json\n(\{\"rules\".*?)```", TEXT, re.DOTALL)
    file = tmp_path / "plan.json"
    file.write_text(plan)
    with Emulator(faults=file) as emulator:
        client = Client(emulator)
        with pytest.raises(NO_ANSWER):
            client("POST", "/jobs", JOB)
        assert len(emulator.ledger.accepted_jobs()) == 1
        query = "tag=VoiceSeparate"
        shown = [len(document(client, "GET", "/jobs", query=query).findall("JobsDetail")) for _ in range(3)]
        assert shown == [0, 0, 1]
        answers = [client("GET", "/jobs/j1")[0] for _ in range(6)]
        assert [answer.status for answer in answers] == [200, 200, 200, 200, 429, 200]
        assert answers[4].getheader("Retry-After") == "2"
        client("PUT", "/out/a.mp3", b"x" * 5000)
        with pytest.raises(http.client.IncompleteRead) as broken:
            client("GET", "/out/a.mp3")
        assert len(broken.value.partial) == 1000
        assert len(client("GET", "/out/a.mp3")[1]) == 5000
        submitted(client, JOB.replace("in/a.mp3", "in/broken.mp3"))
        wait_until(
            lambda: emulator.ledger.accepted_jobs(key="in/broken.mp3")[0].code == "ResourceNotSupported"
        )
