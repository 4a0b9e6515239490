"""What all tests share. Airflow gets a home of its own, made before its first import, removed at the end."""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from pytest_mock import MockerFixture

_HOME = tempfile.mkdtemp(prefix="airflow-provider-ci-tests-")
# not by a fixture: a run that fails while it imports leaves nothing either
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(Path(__file__).parents[1] / "example_dags"),
)
# Whatever the developer's shell has must not decide how tests end
for _name in [*os.environ]:
    if _name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "netrc") or _name.startswith(
        "AIRFLOW_CONN_"
    ):
        del os.environ[_name]

from airflow_provider_ci.protocol.wire import Credentials  # noqa: E402
from tests.airflow_version import IS_AIRFLOW_2, SECRETS_MASKER  # noqa: E402
from tests.scripted_server import ScriptedServer  # noqa: E402

pytest_plugins = ["tests.emulator_fixture"]

# The same inputs each time, and a busy machine is no failure; `make fuzz` tries other ones
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

CREDENTIALS = Credentials(
    "AKIDexampleexample00", "the-secret-key-of-the-tests", "the-session-token-of-the-tests"
)
BUCKET = "media-1250000001"
REGION = "ap-guangzhou"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files, and one of them all that run DAGs: what Airflow loads for its first run
    takes seven seconds.
    """
    from xdist.scheduler import LoadFileScheduling

    class OneProcessRunsDags(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "dags" if nodeid.startswith("tests/integration/") else str(super()._split_scope(nodeid))

    return OneProcessRunsDags(config, log)


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """A migrated database in the tests' own Airflow home."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections: taken, so that no other process gets it meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        yield taken.getsockname()[1]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that plays the answers that the test scripts, all of which must be asked for."""
    with ScriptedServer() as server:
        yield server
    assert not server.unplayed, f"{server.unplayed} answers of the script were never asked for"


# What Airflow before 3.2 itself says whenever a connection is looked up
_AIRFLOWS_OWN = ("Retrieving connection ", "Connection Retrieved ", "Connection schemes (type: ")


class Logs:
    """What was logged, by the standard library's loggers and by structlog's, as readable lines."""

    def __init__(self, caplog: pytest.LogCaptureFixture, entries: list[Any]) -> None:
        self._caplog = caplog
        self._entries = entries

    @property
    def lines(self) -> list[str]:
        return [f"{level}: {text}" for level, text in self._said() if not text.startswith(_AIRFLOWS_OWN)]

    def at(self, level: str) -> list[str]:
        return [text for said, text in self._said() if said == level and not text.startswith(_AIRFLOWS_OWN)]

    def _said(self) -> Iterator[tuple[str, str]]:
        for record in self._caplog.records:
            yield record.levelname.lower(), record.getMessage()
        for entry in self._entries:
            args = entry.get("positional_args", ())
            yield entry["log_level"], entry["event"] % args if args else entry["event"]

    def everything(self) -> str:
        return self._caplog.text + "\n".join(self.lines) + repr(self._entries)


def _forget_what_is_masked() -> None:
    masker = import_module(SECRETS_MASKER)._secrets_masker()
    masker.patterns, masker.replacer = set(), None  # what reset_secrets_masker() does, which came with 3.2


def _structlog_entries() -> AbstractContextManager[list[Any]]:
    if IS_AIRFLOW_2:  # it has the standard library's loggers alone
        return nullcontext([])
    from structlog.testing import capture_logs

    return capture_logs()


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[Logs]:
    """The log down to DEBUG, of which no line may hold a secret or a signature."""
    # Airflow masks each connection's whole extra, and compiles all that it masks anew each time
    _forget_what_is_masked()

    caplog.set_level(logging.DEBUG)
    with _structlog_entries() as entries:
        logs = Logs(caplog, entries)
        yield logs
    said = logs.everything()
    for secret in (CREDENTIALS.secret_key, CREDENTIALS.token or "", "q-signature"):
        assert secret not in said


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch, logs: Logs) -> Callable[..., str]:
    """Return a function that defines a connection by its extra (``None`` drops a field) and gives its id."""

    def define(
        url: str | None = None,
        *,
        conn_id: str = "tencent_ci_default",
        login: str | None = CREDENTIALS.secret_id,
        password: str | None = CREDENTIALS.secret_key,
        **extra: Any,
    ) -> str:
        defaults = {"bucket": BUCKET, "region": REGION, "endpoint_url": url}
        given = {name: value for name, value in (defaults | extra).items() if value is not None}
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{conn_id.upper()}",
            json.dumps({"conn_type": "tencent_ci", "login": login, "password": password, "extra": given}),
        )
        return conn_id

    return define


class TaskInstance:
    """The part of a task instance that operators and sensors use."""

    def __init__(self, start_date: datetime) -> None:
        self.dag_id, self.run_id, self.task_id, self.map_index = "separate", "manual__1", "submit", -1
        self.try_number, self.max_tries = 1, 0
        self.start_date = start_date
        self.xcoms: list[tuple[str, Any]] = []
        self.stats_tags: dict[str, str] = {}
        self.state = "running"

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms.append((key, json.loads(json.dumps(value))))

    def xcom_pull(self, *, task_ids: str, map_indexes: int, key: str = "return_value") -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return dict(self.xcoms).get(key)


class TaskInstanceOfAirflow3(TaskInstance):
    """It starts anew after each rescheduling, as that of Airflow 2.11 does, and can ask for the first."""

    def __init__(self, start_date: datetime, first_reschedule_date: datetime | None) -> None:
        super().__init__(start_date)
        self._first_reschedule_date = first_reschedule_date

    def get_first_reschedule_date(self, context: dict[str, Any]) -> datetime | None:
        assert context["ti"] is self
        return self._first_reschedule_date


@pytest.fixture
def make_context(mocker: MockerFixture, request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a task's context; ``context["ti"].xcoms`` records pushes in order, and
    ``context["ti"].state`` is what Airflow says when it is asked what has become of the task.
    """
    mocker.patch("airflow_provider_ci.current_try.state_of_try", lambda context: context["ti"].state)
    if IS_AIRFLOW_2:  # its database is asked for earlier tries
        request.getfixturevalue("airflow_db")

    def make(
        *, start_date: datetime | None = None, first_reschedule_date: datetime | None = None
    ) -> dict[str, Any]:
        start = start_date or datetime.now(UTC)
        if IS_AIRFLOW_2:  # its sensors look for their first start in the database
            mocker.patch("airflow.sensors.base._orig_start_date", return_value=first_reschedule_date)
            return {"ti": TaskInstance(start)}
        return {"ti": TaskInstanceOfAirflow3(start, first_reschedule_date)}

    return make
