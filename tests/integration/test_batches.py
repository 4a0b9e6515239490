"""Batch jobs in real Airflow (``dag.test()``), on the emulator: one accepted batch job for each task."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.batch_job import TencentCIBatchJobOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY
from tencent_ci_emulator.server import Emulator
from tests.integration.airflow_runs import dags_in, tries, xcom
from tests.integration.virtual_time import emulator_in_virtual_time
from tests.job_inputs import store_inputs
from tests.job_samples import FILM, has_all, job_of
from tests.patience import wait_until
from tests.recording import SHORT

#: Types with one file, a series of files, a list of files, and none; of each service
BATCH_TAGS = ("Transcode", "SpeechRecognition", "Snapshot", "StreamExtract", "MediaInfo", "PicProcess")

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture(scope="session")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(Path(__file__).resolve().parents[1] / "dags")


@pytest.fixture
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulator_in_virtual_time(**getattr(request, "param", {})) as running:
        yield running


@pytest.fixture
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[TencentCIHook]:
    """A hook on the emulator, whose bucket holds two recordings."""
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    for key in ("in/a.mp3", "in/b.mp3"):
        hook.upload_file(SHORT, key)
    yield hook
    hook.close()


@pytest.mark.parametrize("dag_id", ["batch_accepted_deferrable", "batch_pushed_submit_only"])
def test_a_retry_continues_with_the_batch_of_the_try_that_died(
    dags: dict[str, Any], hook: TencentCIHook, dag_id: str
) -> None:
    dag_run = dags[dag_id].test()

    assert dag_run.state == "success"
    assert tries(dag_run)["separate"] == ("success", 2)
    batch_ids = [batch.job_id for batch in hook.batches.list()]
    assert len(batch_ids) == 1, "one accepted batch job"
    assert xcom(dag_run, "separate") == batch_ids[0]
    if "submit_only" not in dag_id:
        result = xcom(dag_run, "separate", "batch")
        assert (result["state"], result["counts"]) == ("Success", {"Success": 2})
        jobs = list(hook.list_jobs(inventory_trigger_job_id=batch_ids[0]))
        assert sorted(str(job.input_object) for job in jobs) == ["in/a.mp3", "in/b.mp3"]


@pytest.mark.parametrize(
    ("dag_id", "when", "effect"),
    [
        ("batch_plain", "before", {"status": 503, "code": "ServiceUnavailable"}),
        ("batch_plain_deferrable", "after", {"drop": True}),
    ],
)
def test_after_a_lost_response_the_batch_is_found(
    dags: dict[str, Any],
    hook: TencentCIHook,
    emulator: Emulator,
    dag_id: str,
    when: str,
    effect: dict[str, Any],
) -> None:
    """Every other way in which it may be lost is in ``tests/unit/submission``."""
    emulator.faults.add("create_batch", nth=1, when=when, **effect)
    dag_run = dags[dag_id].test()
    assert dag_run.state == "success"
    assert xcom(dag_run, "separate") == next(hook.batches.list()).job_id
    assert len(list(hook.batches.list())) == 1
    assert len(emulator.ledger.accepted_jobs()) == 2, "each input was paid for once"
    assert emulator.ledger.count("create_batch") == (1 if when == "after" else 2)


def test_a_batch_with_failed_jobs_is_not_green_and_not_paid_for_again(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    emulator.faults.add("job", key="in/b.mp3", code="ResourceNotSupported", message="no media")
    dag_run = dags["batch_plain_deferrable"].test()
    assert dag_run.state == "failed"
    assert tries(dag_run)["separate"] == ("failed", 1)
    assert len(emulator.ledger.accepted_jobs()) == 2
    result = xcom(dag_run, "separate", "batch")
    assert result["counts"] == {"Success": 1, "Failed": 1}
    (failed,) = result["unsuccessful"]
    assert (failed["input_object"], failed["code"], failed["message"]) == (
        "in/b.mp3",
        "ResourceNotSupported",
        "no media",
    )


def test_allow_failed_jobs_makes_it_a_success(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    emulator.faults.add("job", key="in/b.mp3", code="ResourceNotSupported")
    dag_run = dags["batch_allowed"].test()
    assert dag_run.state == "success"
    assert xcom(dag_run, "separate", "batch")["counts"] == {"Success": 1, "Failed": 1}


@pytest.mark.parametrize("emulator", [{"queue_max_size": 1, "queue_seconds": 5}], indirect=True)
def test_a_failed_job_that_the_list_shows_late_is_not_missed(
    dags: dict[str, Any], hook: TencentCIHook, emulator: Emulator
) -> None:
    """The second job is made when the first leaves the queue, so that for some seconds the list has the first
    alone.
    """
    emulator.faults.add("job", key="in/b.mp3", code="ResourceNotSupported")
    # as long as it may last, but for the whole seconds of creation times
    emulator.faults.add("list", list_consistency_delay=LIST_CONSISTENCY_DELAY - 1)
    dag_run = dags["batch_plain"].test()
    assert dag_run.state == "failed"
    assert xcom(dag_run, "separate", "batch")["counts"] == {"Success": 1, "Failed": 1}


def test_an_object_uploaded_at_the_boundary_of_two_intervals_is_paid_for_once(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., Any]
) -> None:
    """Every second is the boundary of two intervals here, so that each upload lies on one."""
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    began = datetime.fromtimestamp(int(emulator.clock.now()), UTC)
    for key in ("in/a.mp3", "in/b.mp3"):
        hook.upload_file(SHORT, key)
        hook.sleep(1)
    for start, end in itertools.pairwise(began + timedelta(seconds=one) for one in range(-1, 4)):
        operator = VoiceSeparateBatchOperator(
            task_id="separate",
            name=f"batch-{start:%H%M%S}",
            prefix="in/",
            voice_object="out/${jobid}.${ext}",
            audio_mode="IsAudio",
            time_interval={"start": start, "end": end},
            durable=False,
        )
        operator.execute(make_context())
        operator.hook.close()
    wait_until(lambda: all(batch.job_state.is_terminal for batch in hook.batches.list()))
    hook.close()
    assert sorted(job.key for job in emulator.ledger.accepted_jobs()) == ["in/a.mp3", "in/b.mp3"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What jobs of every type read, by key."""
    found: dict[str, bytes] = {}
    store_inputs(found.__setitem__, tmp_path_factory.mktemp("inputs"))
    return found


@pytest.mark.parametrize("tag", BATCH_TAGS)
def test_batch_jobs_of_other_types(
    hook: TencentCIHook,
    emulator: Emulator,
    inputs: dict[str, bytes],
    make_context: Callable[..., Any],
    tmp_path: Path,
    tag: str,
) -> None:
    for key, content in {**inputs, **dict.fromkeys(("films/a.mkv", "films/b.mkv"), inputs[FILM])}.items():
        (tmp_path / "object").write_bytes(content)
        hook.upload_file(tmp_path / "object", key)
    job = job_of(
        tag, "${InputName}-${jobid}", f"https://{emulator.bucket}.cos.{emulator.region}.myqcloud.com"
    )
    context = make_context()
    operator = TencentCIBatchJobOperator(
        task_id="batch",
        name="of-other-types",
        tag=tag,
        prefix="films/",
        operation=job["operation"],
        wait_for_completion=True,
        poll_interval=1,
    )
    batch_id = operator.execute(context)
    operator.hook.close()
    pushed = dict(context["ti"].xcoms)
    assert pushed["return_value"] == batch_id
    assert pushed["batch"]["counts"] == {"Success": 2}
    jobs = list(hook.list_jobs(tag=tag, inventory_trigger_job_id=batch_id))
    assert sorted(str(one.input_object) for one in jobs) == ["films/a.mkv", "films/b.mkv"]
    assert {one.tag for one in jobs} == {tag}
    for one in jobs:
        assert one.operation is not None
        parameters = {name: value for name, value in job["operation"].items() if name != "Output"}
        assert has_all(one.operation, parameters)
