"""The sensor in real Airflow, where each poke of reschedule mode is a run of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tencent_ci_emulator.server import Emulator
from tests.integration.airflow_runs import dags_in, tries

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("airflow_db")


def test_a_job_that_does_not_exist_fails_the_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the sensor's timeout, although each poke is a new process."""
    monkeypatch.setenv("NOTE", str(tmp_path / "note"))
    monkeypatch.setattr("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 1.0)
    with Emulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
        dag_run = dags_in(ROOT / "tests" / "dags")["unknown_job"].test()
    assert tries(dag_run) == {"wait": ("failed", 1)}
    assert (tmp_path / "note").read_text() == "SensedJobNotFoundError"
