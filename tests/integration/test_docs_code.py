"""The code that the pages show, run on the emulator: what ``tests/docs`` holds, and the blocks of a page
itself.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.assets.outlets import ResultEvent
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.results import batch_result, job_result
from airflow_provider_ci.version_compat import AIRFLOW_MINOR
from scripts.snippets import ROOT, excerpt
from tencent_ci_emulator.server import Emulator
from tests.airflow_version import CANNOT_RESCHEDULE_IN_DAG_TEST, IS_AIRFLOW_2
from tests.docs import before_script, emulator_use, find_jobs, load_objects, results, submit
from tests.docs.own_dag import test_one_paid_job_although_a_response_gets_lost as own_dags_test
from tests.emulator.sdk_clients import python_client
from tests.integration.airflow_runs import dag_bag, dags_in, tries, xcom
from tests.patience import wait_until
from tests.recording import SHORT

BUCKET = before_script.BUCKET
KEY = "in/song.mp3"

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator with the bucket of the pages."""
    with Emulator(bucket=BUCKET) as running:
        yield running


@pytest.fixture
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[TencentCIHook]:
    """A hook on the emulator, whose bucket holds a song."""
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    hook.upload_file(SHORT, KEY)
    yield hook
    hook.close()


def write_dag(folder: Path, code: str) -> None:
    """Write a page's code into a folder of DAGs, for Airflow 2.11 changed as the page says."""
    if IS_AIRFLOW_2:
        code = code.replace("from airflow.sdk import DAG", "from airflow import DAG")
    (folder / "dag.py").write_text(code)


def dag_of(folder: Path, code: str, dag_id: str) -> Any:
    """Return the DAG of a page's code."""
    write_dag(folder, code)
    return dags_in(folder)[dag_id]


def accepted(emulator: Emulator) -> list[str]:
    return [job.job_id for job in emulator.ledger.accepted_jobs()]


def test_the_dag_of_the_readme(hook: TencentCIHook, emulator: Emulator, tmp_path: Path) -> None:
    dag = dag_of(tmp_path, excerpt("tests/docs/quick_start.py#dag"), "separate")
    dag.get_task("wait").poke_interval = 1

    run = dag.test()

    assert run.state == "success"
    assert [xcom(run, "submit")] == accepted(emulator)
    assert xcom(run, "wait")["outputs"]["voice"]["object"] == f"out/{xcom(run, 'submit')}/voice.mp3"


def test_the_task_that_waits(hook: TencentCIHook, emulator: Emulator, tmp_path: Path) -> None:
    run = dag_of(tmp_path, (ROOT / "tests/docs/waiting.py").read_text("utf-8"), "waiting").test()

    assert tries(run) == {"separate": ("success", 1)}
    assert [xcom(run, "separate")] == accepted(emulator)
    assert xcom(run, "separate", "job")["state"] == "Success"


class TestResults:
    def test_of_a_job(self, hook: TencentCIHook, emulator: Emulator) -> None:
        client = python_client(emulator)
        job_id = submit_by_the_script(client)
        (job,) = hook.describe_jobs([job_id]).jobs_detail
        result = job_result(job)
        assert set(result) == set(results.job)
        result["user_data"] = result["user_data"] or ""
        assert results.is_like(result, results.job)
        assert set(result["outputs"]) == {"voice", "background"}

    def test_of_a_batch(self, hook: TencentCIHook) -> None:
        from airflow_provider_ci.protocol.results import BatchTally

        request = {
            "Name": "stems",
            "Type": "Job",
            "Input": {"Prefix": "in/"},
            "Operation": {
                "Tag": "VoiceSeparate",
                "JobParam": {"VoiceSeparate": {"AudioMode": "IsAudio"}},
                "Output": {"Region": "ap-guangzhou", "Bucket": BUCKET, "AuObject": "out/${jobid}.${ext}"},
                "UserData": "airflow",
            },
        }
        hook.upload_file(ROOT / "pyproject.toml", "in/x.mp3")
        batch_id = str(hook.batches.create(request)[0].job_id)
        wait_until(lambda: hook.batches.describe(batch_id).jobs_detail[0].job_state.is_terminal)
        found = results.jobs_of(batch_id)
        assert sorted(job["state"] for job in found) == ["Failed", "Success"]
        tally = BatchTally()
        for job in hook.list_jobs(inventory_trigger_job_id=batch_id):
            tally.add(job)
        result = batch_result(hook.batches.describe(batch_id).jobs_detail[0], tally)
        assert set(result) == set(results.batch)
        result["user_data"] = result["user_data"] or ""
        assert result["counts"] == {"Success": 1, "Failed": 1}
        assert [set(one) for one in result["unsuccessful"]] == [set(results.batch["unsuccessful"][0])]


def submit_by_the_script(client: Any, key: str = KEY) -> str:
    """Separate by the script, without its long pauses."""
    with patch.object(before_script, "time", SimpleNamespace(sleep=lambda _: time.sleep(0.05))):
        return before_script.separate(client, key)


class TestTutorial:
    """With other folders than ``/tmp/tutorial``, which the page's reader makes."""

    def test_the_first_dag_gets_a_voice_even_if_a_response_is_lost(
        self, hook: TencentCIHook, emulator: Emulator, tmp_path: Path
    ) -> None:
        (tmp_path / "files").mkdir()
        shutil.copy(SHORT, tmp_path / "files/song.mp3")
        code = excerpt("tests/docs/tutorial.py#first").replace("/tmp/tutorial", str(tmp_path / "files"))
        fault = (ROOT / "docs/tutorial.md").read_text("utf-8").split("echo '", 1)[1].partition("'")[0]
        emulator.faults.load(json.loads(fault))

        run = dag_of(tmp_path, code, "first_voice").test()

        assert run.state == "success"
        (job,) = emulator.ledger.accepted_jobs()
        assert xcom(run, "separate") == job.job_id
        assert (tmp_path / "files/voice.mp3").stat().st_size > 1000

    def test_the_dag_for_production_waits_in_the_triggerer(
        self, hook: TencentCIHook, emulator: Emulator, tmp_path: Path
    ) -> None:
        dag = dag_of(tmp_path, excerpt("tests/docs/tutorial.py#production"), "separate_song")
        run = dag.test()
        assert tries(run) == {"separate": ("success", 1)}
        assert len(accepted(emulator)) == 1

    @pytest.mark.skipif(AIRFLOW_MINOR < (3, 3), reason="Airflow has no retry policies before 3.3")
    def test_an_absent_input_fails_at_once_and_somebody_hears_of_it(
        self, hook: TencentCIHook, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        dag = dag_of(tmp_path, excerpt("tests/docs/tutorial.py#production"), "separate_song")
        run = dag.test(run_conf={"input_object": "in/absent.mp3"})
        assert tries(run) == {"separate": ("failed", 1)}
        assert accepted(emulator) == []
        assert "separate failed: No job was submitted: the input object 'in/absent.mp3'" in caplog.text

    def test_a_wrong_argument_is_an_import_error(self, tmp_path: Path) -> None:
        code = excerpt("tests/docs/tutorial.py#production")
        assert code.count('codec="mp3"') == 1
        write_dag(tmp_path, code.replace('codec="mp3"', 'codec="mp4"'))
        (problem,) = dag_bag(str(tmp_path)).import_errors.values()
        assert "codec is 'mp4', allowed: aac" in problem

    def test_all_files_of_a_day_by_one_task(
        self, hook: TencentCIHook, emulator: Emulator, tmp_path: Path
    ) -> None:
        hook.upload_file(SHORT, "in/2026-11-30/a.mp3")
        hook.upload_file(SHORT, "in/2026-11-30/b.mp3")
        run = dag_of(tmp_path, (ROOT / "tests/docs/tutorial.py").read_text("utf-8"), "nightly").test(
            **{"execution_date" if IS_AIRFLOW_2 else "logical_date": datetime(2026, 11, 30, tzinfo=UTC)}
        )
        assert xcom(run, "separate_all")["succeeded"] == 2
        assert len(accepted(emulator)) == 2


class TestMigrating:
    def test_the_script(self, hook: TencentCIHook, emulator: Emulator) -> None:
        job_id = submit_by_the_script(python_client(emulator))
        assert accepted(emulator) == [job_id]
        assert hook.head_object(f"out/{job_id}/voice.mp3").size > 1000
        with pytest.raises(RuntimeError, match="ResourceNotFound"):
            submit_by_the_script(python_client(emulator), "in/absent.mp3")

    def test_the_python_task(self, hook: TencentCIHook, emulator: Emulator, mocker: MockerFixture) -> None:
        from tests.docs import before_python_operator

        mocker.patch.object(before_script, "time", SimpleNamespace(sleep=lambda _: time.sleep(0.05)))
        mocker.patch.object(
            before_python_operator, "client_of_the_environment", return_value=python_client(emulator)
        )
        run = before_python_operator.separate_song.function(params={"input_object": KEY})
        assert accepted(emulator) == [run]

    def test_the_script_pays_for_a_lost_answer_twice_and_we_do_not(
        self, hook: TencentCIHook, emulator: Emulator, tmp_path: Path
    ) -> None:
        """What the page says that changes."""
        from qcloud_cos import CosConfig, CosS3Client

        keys = {"SecretId": emulator.secret_id, "SecretKey": emulator.secret_key}
        plain = {"Scheme": "http", "Domain": f"127.0.0.1:{emulator.port}", "Region": "ap-guangzhou"}
        emulator.faults.add("submit", nth=1, drop=True, when="after")
        submit_by_the_script(CosS3Client(CosConfig(**keys, **plain)))
        assert len(accepted(emulator)) == 2

        emulator.faults.clear()
        emulator.faults.add("submit", nth=1, drop=True, when="after")
        dag = dag_of(tmp_path, excerpt("tests/docs/quick_start.py#dag"), "separate")
        dag.get_task("wait").poke_interval = 1
        assert dag.test().state == "success"
        assert len(accepted(emulator)) == 3

    def test_the_http_operator(
        self, hook: TencentCIHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        pytest.importorskip("airflow.providers.http")
        at = {"host": "127.0.0.1", "port": emulator.port, "schema": "http"}
        keys = {"login": emulator.secret_id, "password": emulator.secret_key}
        monkeypatch.setenv("AIRFLOW_CONN_CI", json.dumps({"conn_type": "http", **at, **keys}))
        code = (ROOT / "tests/docs/before_http_operator.py").read_text("utf-8")
        dag = dag_of(tmp_path, code, "before_http_operator")
        dag.get_task("wait").retry_delay = timedelta(seconds=1)
        run = dag.test()
        assert run.state == "success"
        assert accepted(emulator) == [xcom(run, "submit")]

    def test_jobs_of_the_script_are_found_and_waited_for(
        self, hook: TencentCIHook, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture, tmp_path: Path
    ) -> None:
        with Emulator(bucket=BUCKET, queue_seconds=2) as slow:
            monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(slow.connection))
            with TencentCIHook().get_conn():
                TencentCIHook().upload_file(SHORT, KEY)
            client = python_client(slow)
            mocker.patch.object(before_script, "time", SimpleNamespace(sleep=stop))
            for _ in range(2):
                with pytest.raises(StoppedError):
                    before_script.separate(client, KEY)
            since = datetime.now(UTC) - timedelta(minutes=5)
            found = find_jobs.jobs_of_the_script(since)
            assert sorted(found) == sorted(accepted(slow))

            dag = dag_of(tmp_path, (ROOT / "tests/docs/adopt.py").read_text("utf-8"), "adopt")
            dag.get_task("wait_for_old_jobs").poke_interval = 1
            run = dag.test(run_conf={"job_ids": found})
            assert tries(run) == {"wait_for_old_jobs": ("success", 1)}
            assert [job["job_id"] for job in xcom(run, "wait_for_old_jobs")] == found
            assert len(accepted(slow)) == 2, "nothing was submitted again"


class StoppedError(Exception):
    """The script was stopped while it waited."""


def stop(_: float) -> None:
    raise StoppedError


class TestEmulator:
    @pytest.mark.skipif(
        CANNOT_RESCHEDULE_IN_DAG_TEST, reason="dag.test() of Airflow 3.0 cannot reschedule a sensor"
    )
    def test_a_test_of_ones_own(
        self, ci_emulator: Emulator, ci_emulator_connection: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(ROOT)
        own_dags_test(ci_emulator, ci_emulator_connection)

    def test_starting_one(self) -> None:
        said = emulator_use.start()
        assert said["connection"]["extra"]["endpoint_url"] == said["url"]

    def test_many_objects(self, hook: TencentCIHook, emulator: Emulator) -> None:
        load_objects.load(str(SHORT), 25, "many/")
        keys = [item.key for item in hook.list_objects("many/")]
        assert keys == [f"many/{number:06}.mp3" for number in range(25)]

    def test_ledger(self, hook: TencentCIHook, emulator: Emulator) -> None:
        job_id = submit_by_the_script(python_client(emulator))
        requests, count, jobs, paid, sent = emulator_use.read_ledger(emulator, job_id)
        assert (len(requests), count, jobs, sent) == (1, 1, [], [])
        assert paid == {KEY: 1}

    def test_clock(self, mocker: MockerFixture) -> None:
        def submit(emulator: Emulator) -> None:
            mocker.patch.object(before_script, "time", SimpleNamespace(sleep=stop))
            mocker.patch.object(before_script, "BUCKET", emulator.bucket)
            python_client(emulator).put_object(Bucket=emulator.bucket, Key=KEY, Body=SHORT.read_bytes())
            with pytest.raises(StoppedError):
                before_script.separate(python_client(emulator), KEY)

        assert emulator_use.let_time_pass(submit) == ["Success"]


def test_nothing_of_a_user_is_read() -> None:
    assert "SECRET_ID" not in os.environ


def test_a_job_by_the_hook_alone(
    hook: TencentCIHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    mocker.patch.object(time, "sleep", lambda _, pause=time.sleep: pause(0.05))

    assert sorted(submit.separate(str(SHORT))) == ["background.mp3", "voice.mp3"]

    assert sorted(path.name for path in tmp_path.iterdir()) == ["background.mp3", "voice.mp3"]
    assert hook.head_object(KEY).content_type == "audio/mpeg"


def test_the_look_at_the_queues(hook: TencentCIHook, capsys: pytest.CaptureFixture[str]) -> None:
    (queue,) = hook.queues.list()
    hook.queues.update(str(queue.queue_id), state="Paused")
    runpy.run_path(str(ROOT / "tests/docs/queues.py"))
    assert capsys.readouterr().out.strip().endswith("Paused 0 jobs wait")


def test_assets_are_what_the_page_says() -> None:
    from tests.docs import assets

    assert set(assets.extra) == set(ResultEvent.__annotations__)
    (task,) = assets.upstream.tasks
    assert task.outlets == [assets.VOICE]
    assert assets.song.uri == "cos://media-1250000001/out/%E4%BA%BA%E5%A3%B0%20%231.mp3"
