"""Messages in Kafka start DAGs, with a real scheduler and a triggerer that is killed on the way."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.snippets import ROOT
from tests.airflow_version import HAS_SHARED_STREAMS
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service, serve
from tests.recording import SHORT

pytest.importorskip("confluent_kafka", reason="airflow-provider-ci[kafka] is not installed")
if not HAS_SHARED_STREAMS:
    pytest.skip("watchers share streams from Airflow 3.3 on", allow_module_level=True)

from tests.docs.kafka_events import TRIGGER
from tests.kafka_broker import KafkaBroker, librdkafka_broker

GROUP = f"airflow-{TRIGGER._group_suffix}"


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with librdkafka_broker() as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve("tencent_ci_default", tmp_path_factory.mktemp("kafka")) as service:
        service.hook.upload_file(SHORT, "in/song.mp3")
        yield service


@pytest.fixture(scope="module")
def airflow(
    service: Service, broker: KafkaBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowStack]:
    """An Airflow with the DAGs of the page."""
    dags = tmp_path_factory.mktemp("dags")
    shutil.copy(ROOT / "tests/docs/kafka_events.py", dags)
    environment = service.environment | {"AIRFLOW_CONN_CKAFKA": broker.connection}
    with AirflowStack(tmp_path_factory.mktemp("airflow-kafka"), dags, environment) as running:
        running.unpause("on_separation_by_kafka")
        yield running


def events(airflow: AirflowStack) -> list[dict[str, Any]]:
    """Return the payloads of the asset's events."""
    (found,) = airflow.api("GET", "/assets?name_pattern=separations_by_kafka")["assets"]
    page = airflow.api("GET", f"/assets/events?asset_id={found['id']}&limit=100")
    assert page["total_entries"] <= 100
    return [event["extra"]["payload"] for event in page["asset_events"]]


def used(airflow: AirflowStack) -> dict[str, str]:
    """Return what the runs that have ended have returned."""
    runs = airflow.api("GET", "/dags/on_separation_by_kafka/dagRuns?limit=100")["dag_runs"]
    found: dict[str, str] = {}
    for run in runs:
        if run["state"] == "success":
            found |= airflow.xcom("on_separation_by_kafka", run["dag_run_id"], "use")
    return found


def submit(airflow: AirflowStack, service: Service) -> str:
    """Submit a job by the page's DAG and return its id; the emulator records its message for Kafka."""
    run_id = airflow.trigger("separate_with_kafka")
    assert airflow.wait_for_run("separate_with_kafka", run_id, 90) == "success"
    job_id = str(airflow.xcom("separate_with_kafka", run_id, "submit"))
    airflow.wait(lambda: service.emulator.ledger.callbacks(job_id), 60, f"{job_id} has ended")
    return job_id


def message(service: Service, job_id: str, **changes: str) -> str:
    """Return the message about a job, or about another one like it."""
    (sent,) = service.emulator.ledger.callbacks(job_id)
    assert (sent.kind, sent.target) == ("Kafka", "ap-guangzhou/ckafka-example/ci-jobs")
    body = sent.body
    for old, new in changes.items():
        body = body.replace(old, new)
    return body


def test_messages_start_the_dag_and_a_killed_triggerer_loses_none(
    airflow: AirflowStack, service: Service, broker: KafkaBroker
) -> None:
    job_id = submit(airflow, service)
    others = [f"j{number:032x}" for number in range(60)]
    broker.send("ci-jobs", b"garbage", message(service, job_id))
    airflow.wait(lambda: used(airflow) == {job_id: "Success"}, 90, "the job has started a run")
    # otherwise the next triggerer would read the garbage again
    airflow.wait(lambda: broker.committed("ci-jobs", GROUP) == 2, 60, "both messages are committed")
    (event,) = events(airflow)
    assert event["outputs"]["voice"]["object"] == f"out/{job_id}/voice.aac"
    for begin in range(0, 60, 20):
        bodies = [message(service, job_id, **{job_id: other}) for other in others[begin : begin + 20]]
        broker.send("ci-jobs", *bodies[:10])
        airflow.kill("triggerer")
        broker.send("ci-jobs", *bodies[10:])
        airflow.start("triggerer")
    expected = dict.fromkeys([job_id, *others], "Success")
    airflow.wait(lambda: used(airflow) == expected, 180, "all jobs have started runs")
    counted = Counter(one["job_id"] for one in events(airflow))
    assert set(counted) == {*expected}
    log = airflow.log_of("triggerer")
    assert log.count("Message 0 of ci-jobs[0] in Kafka is skipped") == 1
