"""docs/extending.md works as it is written: a copy of the package with its modules has the new operator."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.snippets import ROOT, blocks
from tencent_ci_emulator.server import Emulator

PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
RECORDING = ROOT / "example_dags" / "media" / "speech_only.mp3"
DAG_FILE = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_ci.operators.segment import SegmentOperator

with DAG("cut", schedule=None):
    SegmentOperator(
        task_id="cut", input_object="in/a.mp3", output_object="out/${jobid}/${Number}.mp3",
        format="{{ 'mp3' }}", duration=5, wait_for_completion=True, poll_interval=0.05,
    )
"""
RUN = """
import json, sys
from pathlib import Path
from tests.integration.airflow_runs import dags_in, xcom
import airflow_provider_ci.operators.segment as module
run = dags_in(Path(sys.argv[1]))["cut"].test()
print("RESULT", json.dumps({"state": run.state, "file": module.__file__, "job": xcom(run, "cut", "job")}))
"""
REFUSED = """
from airflow_provider_ci.operators.segment import SegmentOperator
SegmentOperator(task_id="cut", input_object="in/a.mp3", output_object="out/a", format="wav", duration=4)
"""

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package, in which somebody has followed the page."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(
        ROOT / "airflow_provider_ci",
        folder / "airflow_provider_ci",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    paths = re.findall(r"^## `(airflow_provider_ci/\S+\.py)`$", PAGE, re.MULTILINE)
    code = [block.code for block in blocks(PAGE)]
    assert len(paths) == len(code) == 2
    for path, text in zip(paths, code, strict=True):
        assert not (folder / path).exists(), "the page shows a type that has no operator yet"
        (folder / path).write_text(text, "utf-8")
    assert "import `SEGMENT_TYPE`, and put it in the place of the `JobType` with this tag" in PAGE
    known_types = folder / "airflow_provider_ci/protocol/job_types/known_types.py"
    before = "from airflow_provider_ci.protocol.job_types.text_to_speech"
    imported = "from airflow_provider_ci.protocol.job_types.segment import SEGMENT_TYPE\n"
    text = known_types.read_text("utf-8").replace(before, imported + before)
    text, count = re.subn(
        r'^    JobType\(tag="Segment", .*\),$', "    SEGMENT_TYPE,", text, flags=re.MULTILINE
    )
    assert count == 1
    known_types.write_text(text, "utf-8")
    return folder


def python(package: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}", **environment},
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 60


def test_the_new_operator_runs(package: Path, emulator: Emulator, tmp_path: Path) -> None:
    from airflow_provider_ci.hooks.ci import TencentCIHook

    connection = json.dumps(emulator.connection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", connection)
        hook = TencentCIHook()
        hook.upload_file(RECORDING, "in/a.mp3")
        hook.close()
    (tmp_path / "cut.py").write_text(DAG_FILE, "utf-8")
    ran = python(package, RUN, str(tmp_path), AIRFLOW_CONN_TENCENT_CI_DEFAULT=connection)
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.rpartition("RESULT ")[2])
    assert Path(result["file"]).is_relative_to(package)
    assert result["state"] == "success"
    job = result["job"]
    assert job["tag"] == "Segment"
    assert len(job["outputs"]) > 1
    assert list(job["outputs"]) == [f"file_{number}" for number in range(len(job["outputs"]))]
    for number, written in enumerate(job["outputs"].values()):
        assert written["object"] == f"out/{job['job_id']}/{number}.mp3"


def test_the_new_operator_checks_its_arguments(package: Path) -> None:
    ran = python(package, REFUSED)
    assert "format is 'wav', allowed: aac, mp3, flac, mp4, ts" in ran.stderr
    assert "duration is 4, allowed: an integer from 5 to 86400 (seconds)" in ran.stderr
