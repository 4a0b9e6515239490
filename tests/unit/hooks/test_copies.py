"""What a DAG file reads of the hook does not keep Airflow from copying the DAG."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.conftest import BUCKET, CREDENTIALS
from tests.scripted_server import ScriptedServer, jobs


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def touch_nothing(hook: TencentCIHook) -> None:
    pass


def read_settings(hook: TencentCIHook) -> None:
    assert hook.settings.bucket == BUCKET


def make_a_call(hook: TencentCIHook) -> None:
    hook.describe_jobs(["j1"])
    hook.log.debug("a logger may be kept too")


COPIES = [copy.copy, copy.deepcopy, pickled]
USES = [touch_nothing, read_settings, make_a_call]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("source", ["static", "environment"])
def test_a_copied_hook_makes_calls(
    copied: Callable[[Any], Any],
    use: Callable[[TencentCIHook], None],
    source: str,
    connection: Callable[..., str],
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.always("GET", jobs())
    keys: dict[str, Any] = {"login": None, "password": None} if source == "environment" else {}
    monkeypatch.setenv("TENCENTCLOUD_SECRET_ID", CREDENTIALS.secret_id)
    monkeypatch.setenv("TENCENTCLOUD_SECRET_KEY", CREDENTIALS.secret_key)
    hook = TencentCIHook(connection(server.url, credential_source=source, **keys))
    use(hook)
    other = copied(hook)
    assert other.tencent_ci_conn_id == hook.tencent_ci_conn_id
    other.describe_jobs(["j1"])
    hook.describe_jobs(["j1"])
    assert CREDENTIALS.secret_key.encode() not in pickle.dumps(hook)
    assert CREDENTIALS.secret_key.encode() not in pickle.dumps(other)
    hook.close()
    other.close()


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("use", USES)
def test_a_copied_dag_has_hooks_that_make_calls(
    copied: Callable[[Any], Any],
    use: Callable[[TencentCIHook], None],
    connection: Callable[..., str],
    server: ScriptedServer,
) -> None:
    server.always("GET", jobs())
    connection(server.url)
    with DAG("copied", start_date=datetime(2025, 1, 1, tzinfo=UTC), schedule=None) as dag:
        job = {"audio_mode": "IsAudio", "voice_object": "out/${jobid}.${ext}"}
        tasks: list[Any] = [
            VoiceSeparateOperator(task_id="one", input_object="in/a.mp3", **job),
            VoiceSeparateBatchOperator(task_id="many", prefix="in/", **job),
            TencentCIJobSensor(task_id="wait", job_id="j1"),
            TencentCICancelJobOperator(task_id="cancel", job_id="j1"),
        ]
    for task in tasks:
        use(task.hook)
    other = copied(dag)
    assert other.task_ids == dag.task_ids
    for task in tasks:
        other.get_task(task.task_id).hook.describe_jobs(["j1"])
        other.get_task(task.task_id).hook.close()
        task.hook.close()


@pytest.mark.parametrize("copied", COPIES)
def test_settings_share_what_the_process_shares(
    copied: Callable[[Any], Any], connection: Callable[..., str]
) -> None:
    keys: dict[str, Any] = {"login": None, "password": None, "credential_source": "environment"}
    settings = TencentCIHook(connection(**keys)).settings
    other = copied(settings)
    assert other == settings
    assert other.credentials is settings.credentials
    assert other.clock is settings.clock


@pytest.mark.parametrize("copied", COPIES)
def test_a_copied_session_sends_requests(
    copied: Callable[[Any], Any], connection: Callable[..., str], server: ScriptedServer
) -> None:
    server.always("GET", jobs())
    hook = TencentCIHook(connection(server.url))
    hook.describe_jobs(["j1"])
    other = copied(hook.get_conn())
    assert other.get(f"{server.url}/jobs/j1").status_code == 200
    assert other.settings_for(server.url) == hook.get_conn().settings_for(server.url)
    other.close()
    hook.close()
