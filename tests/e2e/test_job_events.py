"""Jobs that end in a bucket start DAGs, with a real scheduler and a triggerer that is killed on the way."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.airflow_version import HAS_SHARED_STREAMS
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service, serve
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(not HAS_SHARED_STREAMS, reason="watchers share streams from Airflow 3.3 on")
ROOT = Path(__file__).resolve().parents[2]
DAGS = Path(__file__).parent / "event_dags"
EXAMPLE = ROOT / "example_dags" / "example_job_events.py"
SETTINGS = {"queue_seconds": 1, "run_seconds": 5, "queue_max_concurrent": 100}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve("events", tmp_path_factory.mktemp("events"), **SETTINGS) as service:
        service.put("songs", 1)
        service.put("talks", 1)
        yield service


@pytest.fixture(scope="module")
def airflow(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    home = tmp_path_factory.mktemp("airflow-events")
    with AirflowStack(home, DAGS, service.environment) as running:
        running.wait(lambda: lists(service) > 2, 120, "the triggers poll")
        yield running


def lists(service: Service) -> int:
    return service.emulator.ledger.count("list")


def submit(service: Service, prefix: str) -> str:
    """Submit a job as somebody else than Airflow does."""
    request = {
        "Tag": "VoiceSeparate",
        "Input": {"Object": f"{prefix}/0.wav"},
        "Operation": {
            "VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "wav"}},
            "Output": {"AuObject": "out/${jobid}/voice.wav"},
            "UserData": "by somebody else",
        },
    }
    job, _ = service.hook.submit_job(request)
    return str(job.job_id)


def events(airflow: AirflowStack, asset: str) -> list[dict[str, Any]]:
    """Return the payloads of an asset's events, oldest first."""
    (found,) = airflow.api("GET", f"/assets?name_pattern={asset}")["assets"]
    path = f"/assets/events?asset_id={found['id']}&order_by=timestamp"
    payloads: list[dict[str, Any]] = []
    while True:
        page = airflow.api("GET", f"{path}&limit=100&offset={len(payloads)}")
        payloads += [event["extra"]["payload"] for event in page["asset_events"]]
        if len(payloads) >= page["total_entries"]:
            return payloads


def counted(airflow: AirflowStack, asset: str) -> Counter[str]:
    return Counter(event["job_id"] for event in events(airflow, asset))


def states_of_runs(airflow: AirflowStack, dag_id: str) -> Counter[str]:
    return Counter(
        run["state"] for run in airflow.api("GET", f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
    )


def read_by(airflow: AirflowStack, dag_id: str, task_id: str = "read") -> list[Any]:
    """Return what the runs of a DAG that have succeeded have read."""
    runs = airflow.api("GET", f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
    ended = [run["dag_run_id"] for run in runs if run["state"] == "success"]
    return [payload for run_id in ended for payload in airflow.xcom(dag_id, run_id, task_id)]


def test_the_example_reads_what_its_first_run_could_not(tmp_path: Path) -> None:
    """Its first run has a bug, which is corrected before the second one."""
    dag_id, source = "example_job_events", EXAMPLE.read_text("utf-8")
    broken = source.replace('["voice"]["object"]', '["voice"]["no such field"]')
    assert broken != source
    file = tmp_path / "dags" / EXAMPLE.name
    file.parent.mkdir()
    file.write_text(broken, "utf-8")
    (tmp_path / "service").mkdir()
    unpaused = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
    with serve("tencent_ci_default", tmp_path / "service", **SETTINGS) as service:
        service.put("in", 1)
        with AirflowStack(tmp_path / "airflow", file.parent, service.environment | unpaused) as airflow:
            airflow.wait(lambda: lists(service) > 0, 120, "the trigger polls")
            submitted = [submit(service, "in")]
            airflow.wait(lambda: states_of_runs(airflow, dag_id) == {"failed": 1}, 180, "the first run fails")
            assert "'no such field'" in airflow.task_logs(dag_id)
            file.write_text(source, "utf-8")
            submitted.append(submit(service, "in"))
            airflow.wait(lambda: read_by(airflow, dag_id, "use"), 180, "the second run succeeds")
            assert read_by(airflow, dag_id, "use") == [f"out/{job_id}/voice.wav" for job_id in submitted]
            # runs that begin while others are queued
            submitted += [submit(service, "in") for _ in range(20)]
            airflow.wait(
                lambda: len(read_by(airflow, dag_id, "use")) >= len(submitted), 300, "all jobs are read"
            )
            voices = Counter(f"out/{job_id}/voice.wav" for job_id in submitted)
            assert Counter(read_by(airflow, dag_id, "use")) == voices
            assert states_of_runs(airflow, dag_id)["failed"] == 1


def test_a_job_of_somebody_else_starts_a_dag_with_its_files(airflow: AirflowStack, service: Service) -> None:
    song, talk = submit(service, "songs"), submit(service, "talks")
    airflow.wait(lambda: read_by(airflow, "on_songs"), 120, "a run of on_songs")
    (payload,) = read_by(airflow, "on_songs")
    assert payload["job_id"] == song
    assert (payload["state"], payload["tag"], payload["user_data"]) == (
        "Success",
        "VoiceSeparate",
        "by somebody else",
    )
    voice = payload["outputs"]["voice"]
    assert voice["object"] == f"out/{song}/voice.wav"
    assert service.hook.head_object(voice["object"]).size > 1000
    airflow.wait(lambda: counted(airflow, "all_jobs") == {song: 1, talk: 1}, 60, "both jobs are events")
    assert counted(airflow, "songs") == {song: 1}


def test_two_watchers_share_one_list_request_an_interval(airflow: AirflowStack, service: Service) -> None:
    before, began = lists(service), time.monotonic()
    airflow.wait(lambda: lists(service) >= before + 10, 60, "the triggers poll")
    assert lists(service) - before <= time.monotonic() - began + 2


def test_what_ends_while_the_dags_are_paused_is_announced_when_they_run_again(
    airflow: AirflowStack, service: Service
) -> None:
    def pause(is_paused: bool) -> None:
        for dag_id in ("on_songs", "on_all"):
            airflow.api("PATCH", f"/dags/{dag_id}", json={"is_paused": is_paused})

    def triggers() -> int:
        path = f"file:{airflow.home}/airflow.db?mode=ro"
        with closing(sqlite3.connect(path, uri=True, timeout=PATIENCE)) as database:
            return int(database.execute("SELECT count(*) FROM trigger").fetchone()[0])

    pause(True)
    airflow.wait(lambda: triggers() == 0, 120, "Airflow has removed the triggers")
    submitted = {submit(service, "songs") for _ in range(3)}
    airflow.kill("triggerer")
    airflow.start("triggerer")
    airflow.wait(
        lambda: {job.job_id for job in service.hook.list_jobs(states=["Success"])} >= submitted,
        60,
        "the jobs have ended",
    )
    pause(False)
    airflow.wait(lambda: set(counted(airflow, "songs")) >= submitted, 120, "the jobs are events")
    airflow.wait(lambda: set(counted(airflow, "all_jobs")) >= submitted, 120, "also of the other asset")
    log = airflow.log_of("triggerer")
    assert f"Watching jobs of type VoiceSeparate in bucket {service.emulator.bucket} that end from" in log
    assert "Watching again, from where it stopped, jobs of type VoiceSeparate in bucket" in log


def test_a_triggerer_that_is_killed_loses_no_end(airflow: AirflowStack, service: Service) -> None:
    dice = random.Random(5)
    submitted: list[str] = []
    for _ in range(3):
        submitted += [submit(service, "songs") for _ in range(10)]
        time.sleep(dice.uniform(0, 8))
        airflow.kill("triggerer")
        submitted += [submit(service, "songs") for _ in range(5)]
        airflow.start("triggerer")

    def all_announced() -> bool:
        return set(counted(airflow, "all_jobs")) >= {*submitted} <= {*counted(airflow, "songs")}

    airflow.wait(all_announced, 180, "all jobs are events")
    airflow.wait(
        lambda: {job["job_id"] for job in read_by(airflow, "on_songs")} >= {*submitted},
        180,
        "runs have read all jobs",
    )
    read = Counter(job["job_id"] for job in read_by(airflow, "on_songs"))
    assert max(read.values()) == 1, "a run has read a job again"
    assert "failed" not in states_of_runs(airflow, "on_songs")
    # at most what was stored within the second before each of three deaths
    assert max(counted(airflow, "songs").values()) <= 4
    log = airflow.log_of("triggerer")
    assert service.emulator.secret_key not in log
    assert "q-signature" not in log
