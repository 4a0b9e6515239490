"""PostgreSQL and Redis for one test run: private, on loopback, and gone afterwards."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.e2e.airflow_stack import free_port, wait_until

#: PostgreSQL refuses to run as root: root runs both as this user.
USER = "nobody"
_START_SECONDS = 60
_STOP_SECONDS = 20


def missing() -> str | None:
    """Return why they cannot be started, or ``None``."""
    programs = (_program(name) for name in ("initdb", "postgres", "pg_isready", "redis-server"))
    return None if all(programs) else "no PostgreSQL or no Redis: apt-get install postgresql redis-server"


@contextmanager
def postgres_and_redis() -> Iterator[dict[str, str]]:
    """Serve until the block is left; yield the settings with which Airflow uses them.

    All files are in a temporary folder. Both ask for a password, which no command line shows.
    """
    # outside pytest's folder, which other users may not enter
    with tempfile.TemporaryDirectory(prefix="airflow-e2e-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        with _postgresql(folder) as database, _redis(folder) as broker:
            yield {
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
                # the driver must be named: without it SQLAlchemy 2.1 takes another one
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
                "AIRFLOW__CELERY__BROKER_URL": broker,
            }


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    port, password = free_port(), secrets.token_urlsafe(16)
    (folder / "password").write_text(password)
    login = ["--username=airflow", f"--pwfile={folder}/password", "--auth=scram-sha-256"]
    store = [f"--pgdata={folder}/data", "--no-sync", "--encoding=UTF8", "--locale=C"]
    made = subprocess.run(
        [_program("initdb"), *login, *store], cwd=folder, capture_output=True, text=True, **_as_user()
    )
    assert made.returncode == 0, f"initdb: {made.stdout}\n{made.stderr}"
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "dynamic_shared_memory_type": "mmap",  # in the data folder instead of /dev/shm
        "fsync": "off",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [_program("postgres"), "-D", f"{folder}/data", *options]
    ask = [_program("pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}"]
    with _running(command, folder, ready=lambda: subprocess.run(ask).returncode == 0):
        yield f"postgresql+psycopg2://airflow:{password}@127.0.0.1:{port}/postgres"


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port, password = free_port(), secrets.token_urlsafe(16)
    configuration = f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nappendonly no\nsave ""\n'

    def listens() -> bool:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
            return True
        return False

    with _running([_program("redis-server"), "-"], folder, ready=listens, text=configuration):
        yield f"redis://:{password}@127.0.0.1:{port}/0"


@contextmanager
def _running(command: list[str], folder: Path, ready: Callable[[], bool], text: str = "") -> Iterator[None]:
    """Run a server that reads ``text``, from when it is ready until the block is left."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output, tempfile.TemporaryFile("w+") as words:
        words.write(text)
        words.seek(0)
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=words,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **_as_user(),
        )

    def check() -> None:
        assert process.poll() is None, f"{command[0]} has ended:\n{log.read_text()}"

    try:
        wait_until(ready, _START_SECONDS, f"{command[0]} is ready", check)
        yield
    finally:
        # PostgreSQL's fast shutdown, then its immediate one: SIGKILL would leave shared memory behind
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
                break


def _as_user() -> Mapping[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": []}


@cache
def _program(name: str) -> str:
    """Return the path of a program, or nothing: Debian keeps PostgreSQL's out of ``PATH``."""
    folders = (str(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders)) or ""
