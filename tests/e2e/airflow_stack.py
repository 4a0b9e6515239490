"""Airflow as it runs in production, but on loopback: api-server, dag-processor, scheduler and triggerer, each
a process of its own, driven through the REST API.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil
import requests

from tests.patience import PATIENCE, SLOWNESS

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = {
    "api-server": ["api-server"],
    "dag-processor": ["dag-processor"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
#: A killed supervisor is noticed in seconds; one that is held up for as long is taken for killed.
NOTICES_KILLS = {"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20"}
#: Environment variable with a component's name.
MACHINE = "CI_E2E_MACHINE"
_START_SECONDS = 60
_STOP_SECONDS = 20
_PAUSE = 0.25
_port_holders: list[socket.socket] = []


class AirflowStack:
    """A running Airflow with a home, a database and ports of its own. Use it in ``with``.

    :param home: an empty folder; logs of the processes and of the tasks are in ``logs`` there.
    :param dags: the folder with the DAG files.
    :param environment: further settings, for instance connections.
    :param components: what to start, as arguments of ``airflow``, under a name for each.
    :param python: the interpreter of the environment in which Airflow is installed.
    """

    API = "/api/v2"
    #: The component that serves the REST API
    SERVER = "api-server"

    def __init__(
        self,
        home: Path,
        dags: Path,
        environment: Mapping[str, str] | None = None,
        components: Mapping[str, Sequence[str]] = COMPONENTS,
        python: str = sys.executable,
    ) -> None:
        self.home = home
        self._python = python
        self.components = components
        self.logs = home / "logs"
        self._port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._orphaned: list[subprocess.Popen[bytes]] = []
        self.authorization = ""
        self.url = f"http://127.0.0.1:{self._port}"
        passwords = home / "passwords.json"
        self._password = secrets.token_urlsafe(16)
        home.mkdir(parents=True, exist_ok=True)
        passwords.write_text(json.dumps({"admin": self._password}))
        # without compiled bytecode each process would take seconds longer to start
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environment = (
            {name: value for name, value in inherited.items() if not name.startswith("AIRFLOW")}
            | {
                "AIRFLOW_HOME": str(home),
                "PYTHONPATH": str(ROOT),
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__PARALLELISM": "4",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(self._port),
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__API__BASE_URL": self.url,
                "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
                # by default 5 s, but the first responses of the API server take long on a slow machine
                "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": str(PATIENCE),
                # a supervisor that is held up on a slow machine is not taken for killed
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(round(20 * SLOWNESS)),
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
                "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
                # a supervisor sometimes notices the end of its task only after this interval
                # (docs/waiting.md)
                "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
                "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
                "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
                "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
            }
            | dict(environment or {})
        )

    def __enter__(self) -> AirflowStack:
        try:
            self.run("db", "migrate")
            for name in self.components:
                self.start(name)
            if self.SERVER in self.components:
                self._log_in()
        except BaseException:
            self.stop()
            raise
        return self

    def _log_in(self) -> None:
        wait_until(self._is_healthy, _START_SECONDS, "all components are healthy", self._check_alive)
        self.log_in()

    def log_in(self) -> None:
        """Get a token from the API server, which must be running."""
        login = {"username": "admin", "password": self._password}
        answer = requests.post(f"{self.url}/auth/token", json=login, timeout=PATIENCE)
        self.authorization = f"Bearer {answer.json()['access_token']}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def password(self) -> str:
        """Of the user ``admin``."""
        return self._password

    def run(self, *arguments: str) -> str:
        """Run an ``airflow`` command to its end and return what it printed."""
        done = subprocess.run(
            [self._python, "-m", "airflow", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"airflow {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, name: str) -> None:
        """Start a component; ``<component>-2`` is a second one like it."""
        self.logs.mkdir(exist_ok=True)
        arguments = self.components.get(name) or self.components[name.rpartition("-")[0]]
        with (self.logs / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [self._python, "-m", "airflow", *arguments],
                env=self.environment | {MACHINE: name},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # so that all that it starts can be found and ended
            )

    def pid(self, name: str) -> int:
        """Return the process id of a component that was started."""
        return self._processes[name].pid

    def kill(self, name: str) -> None:
        """SIGKILL a component with all that it started, as when its machine is lost."""
        _kill_session(self._processes.pop(name))

    def kill_alone(self, name: str) -> None:
        """SIGKILL a component, and nothing that it has started, which lives on until this stack ends."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        self._orphaned.append(process)

    def is_started(self, name: str) -> bool:
        """Tell whether a component was started, and not killed."""
        return name in self._processes

    def hold_up(self, name: str) -> None:
        """SIGSTOP a component with all that it started, as when its machine is overloaded or asleep."""
        while True:
            self._signal(name, signal.SIGSTOP)
            if self._is_database_free():
                return
            self.let_go_on(name)  # nobody could write to SQLite meanwhile
            time.sleep(_PAUSE)

    def let_go_on(self, name: str) -> None:
        """SIGCONT what :meth:`hold_up` has stopped."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        session = self._processes[name].pid
        for pid in [pid for pid in psutil.pids() if _is_member(pid, session)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _is_database_free(self) -> bool:
        path = self.home / "airflow.db"
        if not path.exists():
            return True
        with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
            return True

    def stop(self) -> None:
        """End all components, and whatever they started."""
        processes, self._processes = self._processes, {}
        for process in processes.values():
            process.terminate()
        end = time.monotonic() + _STOP_SECONDS
        for process in processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(end - time.monotonic(), 0.1))
            _kill_session(process)
        for process in self._orphaned:
            _kill_session(process)

    def log_of(self, name: str) -> str:
        """Return what a component has printed so far."""
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def task_logs(self, dag_id: str) -> str:
        """Return all logs of a DAG's tasks and triggers."""
        files = sorted(self.logs.glob(f"dag_id={dag_id}/**/*.log*"))
        return "\n".join(file.read_text(errors="replace") for file in files)

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call the REST API and return the answer's JSON."""
        headers = {"Authorization": self.authorization}

        def call() -> requests.Response:
            return requests.request(
                method, f"{self.url}{self.API}{path}", headers=headers, timeout=PATIENCE, **options
            )

        answer = call()
        for _ in range(10):
            if method != "GET" or answer.status_code != 500:
                break
            time.sleep(_PAUSE)  # SQLite was locked for too long
            answer = call()
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run, once its file has been parsed."""
        self.wait(
            lambda: self._is_parsed(dag_id), _START_SECONDS, f"the file with DAG {dag_id} has been parsed"
        )
        self.api("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run of a DAG and return the run's id."""
        self.unpause(dag_id)
        body = {"logical_date": None, "conf": conf or {}}
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str, task_id: str) -> list[dict[str, Any]]:
        """Return the instances of a task, one for each map index."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?task_id={task_id}&order_by=map_index"
        found: list[dict[str, Any]] = []
        while True:
            page = self.api("GET", f"{path}&limit=100&offset={len(found)}")  # 100 is the most
            found += page["task_instances"]
            if len(found) >= page["total_entries"]:
                return found

    def states(self, dag_id: str, run_id: str, task_id: str) -> list[str]:
        """Return the states of a task's instances."""
        return [str(ti["state"]) for ti in self.task_instances(dag_id, run_id, task_id)]

    def clear(self, dag_id: str, run_id: str, task_id: str, **options: Any) -> None:
        """Clear a task, as the button in the UI does."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            **options,
        }
        self.api("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", index: int = -1) -> Any:
        """Return an XCom's value."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.api("GET", f"{path}?map_index={index}&deserialize=true")["value"]

    def wait(self, condition: Callable[[], T], seconds: float, what: str) -> T:
        """Wait until ``condition`` gives something true, and return it."""
        return wait_until(condition, seconds, what, self._check_alive)

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float) -> str:
        """Wait until a run has ended and return its state."""
        ended = ("success", "failed")
        self.wait(lambda: self.run_state(dag_id, run_id) in ended, seconds, f"{run_id} of {dag_id} ends")
        return self.run_state(dag_id, run_id)

    def wait_until_deferred(self, dag_id: str, run_id: str, count: int, seconds: float) -> None:
        """Wait until ``count`` tasks of a run have been deferred, and the scheduler knows that their
        processes have ended: it takes the late news of a task that already continues for a failure
        (docs/waiting.md).
        """

        def known() -> bool:
            lines = self.log_of("scheduler").splitlines()
            reported = (
                line for line in lines if "TaskInstance Finished" in line and f"run_id={run_id}" in line
            )
            return sum(f"dag_id={dag_id}" in line and "state=deferred" in line for line in reported) >= count

        self.wait(known, seconds, f"{count} tasks of {run_id} of {dag_id} are deferred")

    def _is_parsed(self, dag_id: str) -> bool:
        dags = self.api("GET", f"/dags?dag_id_pattern={dag_id}&limit=100")["dags"]
        return any(dag["dag_id"] == dag_id for dag in dags)

    def _is_healthy(self) -> bool:
        try:
            health = requests.get(f"{self.url}{self.API}/monitor/health", timeout=30).json()
        except requests.RequestException:
            return False
        return all(part["status"] == "healthy" for part in health.values())

    def _check_alive(self) -> None:
        for name, process in self._processes.items():
            assert process.poll() is None, f"{name} has ended:\n{self.log_of(name)[-5000:]}"


def wait_until(
    condition: Callable[[], T], seconds: float, what: str, check: Callable[[], None] = lambda: None
) -> T:
    """Wait until ``condition`` gives something true, and return it; ``check`` may raise.

    :param seconds: as long as this takes at most on a quiet machine.
    """
    patience = seconds * SLOWNESS
    end = time.monotonic() + patience
    while not (met := condition()):
        check()
        assert time.monotonic() < end, f"not within {patience:.0f} s: {what}"
        time.sleep(_PAUSE)
    return met


def free_port() -> int:
    """Return a port on which nobody listens, for a server that is started later, or for none.

    No other process is given it: a socket is bound to it as long as this process lives. Servers set
    ``SO_REUSEADDR``, with which they listen there all the same on Linux.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _port_holders.append(holder)
    return int(holder.getsockname()[1])


def machine() -> str:
    """Return the name of the component that this process belongs to; as ``[core] hostname_callable`` it makes
    each component a machine of its own.
    """
    return os.environ.get(MACHINE, "localhost")


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL all processes of a session. Tasks are in it, although each is a process group of its own."""
    while members := [pid for pid in psutil.pids() if _is_member(pid, process.pid)]:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)  # they may have started others meanwhile
    process.wait()


def _is_member(pid: int, session: int) -> bool:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        return os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
