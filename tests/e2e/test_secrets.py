"""Nothing that a full run of Airflow leaves behind, at level DEBUG, has a secret, a token or a signature."""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tencent_ci_emulator.server import Emulator
from tests.e2e.airflow_stack import AirflowStack, free_port
from tests.e2e.recording_front import SERVERS_OWN, Front, in_front_of
from tests.e2e.services import serve
from tests.patience import SLOWNESS
from tests.unit.hooks import fakes

# Marked, and with characters that are written differently in URLs, JSON and base64
ID, KEY, TOKEN = "AKIDmarked0id", "hush+the/marked=key%of&all", "hush+the/marked=token%of~all"
BASE_KEY, WRONG_KEY = "hush+the/marked=base+key", "hush+the/marked=wrong+key"

FAILED = {
    *("job_failed", "wrong_key", "quoted", "polled", "ambiguous", "slow", "dead", "refused_role"),
}


class Marked(fakes.Issuer):
    """Gives out what the emulator knows."""

    def issue(self) -> dict[str, Any]:
        return {"TmpSecretId": ID, "TmpSecretKey": KEY, "Token": TOKEN}


class MarkedSTS(Marked, fakes.STS):
    pass


class MarkedMetadata(Marked, fakes.Metadata):
    pass


def connection(emulator: Emulator, url: str, **changes: Any) -> str:
    extra = {
        "bucket": emulator.bucket,
        "region": emulator.region,
        "endpoint_url": url,
        "security_token": TOKEN,
        "read_timeout": max(2, SLOWNESS),
        "max_attempts": 2,
    } | changes.pop("extra", {})
    extra = {name: value for name, value in extra.items() if value is not None}
    return json.dumps({"conn_type": "tencent_ci", "login": ID, "password": KEY, "extra": extra} | changes)


def connections(emulator: Emulator, front: Front, sts: fakes.STS) -> dict[str, str]:
    role = {
        "credential_source": "assume_role",
        "role_arn": "qcs::cam::uin/1:roleName/r",
        "security_token": None,
    }
    assumed = {"extra": role | {"sts_endpoint_url": sts.url}, "login": "AKIDbase"}
    instance = {"credential_source": "instance_role", "security_token": None}
    defined = {
        "marked": connection(emulator, front.url),
        "assumed": connection(emulator, front.url, **assumed, password=BASE_KEY),
        "refused": connection(emulator, front.url, **assumed, password=WRONG_KEY),
        "instance": connection(emulator, front.url, extra=instance, login=None, password=None),
        "wrong": connection(emulator, front.url, password=WRONG_KEY),
        "dead": connection(emulator, f"http://127.0.0.1:{free_port()}"),
    }
    return {f"AIRFLOW_CONN_{name.upper()}": text for name, text in defined.items()}


def spellings(secret: str) -> Iterator[str]:
    """Yield the ways in which a secret may be written."""
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote(quote(secret, safe=""), safe="")
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield secret.encode().hex()
    for shift in range(3):  # in the middle of a text, base64 has three forms; their ends depend on the rest
        encoded = base64.b64encode(b"\0" * shift + secret.encode()).decode()
        yield encoded[4 if shift else 0 : -4].rstrip("=")


def found(texts: dict[str, str], secrets: Iterable[str]) -> list[str]:
    """Return where which secret was found, with what stands around it."""
    wanted = {spelling for secret in secrets for spelling in spellings(secret)}
    return [
        f"{name}: {text[max(0, at - 100) : at + 60]!r}"
        for name, text in texts.items()
        for spelling in wanted
        if (at := text.find(spelling)) >= 0
    ]


def dumped(path: Path, only: str | None = None) -> dict[str, str]:
    """Return all rows of all tables, or of one."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        names = [name for (name,) in tables if only in (None, name)]
        return {
            f"table {name}": "\n".join(map(repr, database.execute(f'SELECT * FROM "{name}"')))
            for name in names
        }


@contextmanager
def watched(path: Path, name: str) -> Iterator[dict[str, str]]:
    """Collect the rows that a table has in the meantime: those of triggers are deleted when they end."""
    seen: dict[str, str] = {}
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.3):
            try:
                rows = dumped(path, name)[f"table {name}"]
            except sqlite3.Error:
                continue
            if rows:
                seen[f"table {name} at {len(seen)}"] = rows

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_every_spelling_is_found() -> None:
    for text in (
        f"token={TOKEN}",
        quote(f"a={TOKEN}", safe=""),
        base64.b64encode(f"{ID}:{KEY}".encode()).decode(),
        base64.b64encode(f"user:{KEY}\n".encode()).decode(),
        json.dumps({"a": KEY}),
        repr([TOKEN]),
    ):
        assert found({"a": text}, (KEY, TOKEN)), text
    assert not found({"a": "nothing of the kind, hush"}, (KEY, TOKEN))


def test_a_full_run_leaves_no_secret(tmp_path: Path) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(
            serve("setup", tmp_path, secret_id=ID, secret_key=KEY, security_token=TOKEN, run_seconds=5.0)
        )
        service.put("in", 1)
        emulator = service.emulator
        for key in ("quoted", "polled", "ambiguous", "slow"):
            service.hook.upload_file(service.recording, f"in/{key}.wav")
        front = stack.enter_context(in_front_of(emulator.port))
        sts = stack.enter_context(fakes.serving(MarkedSTS(keys={"AKIDbase": BASE_KEY})))
        machine = stack.enter_context(fakes.serving(MarkedMetadata()))
        settings = {
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "AIRFLOW__CORE__FERNET_KEY": "",  # so that the database can be searched
            "AIRFLOW__CORE__PARALLELISM": "3",
            "SCANNED_METADATA_URL": machine.url + fakes.PREFIX,
        }
        home = tmp_path / "airflow"
        with (
            AirflowStack(
                home, Path(__file__).parent / "scanned", connections(emulator, front, sts) | settings
            ) as airflow,
            watched(home / "airflow.db", "trigger") as triggers,
        ):
            run_id = airflow.trigger("scanned")
            airflow.wait_for_run("scanned", run_id, 400)
            path = f"/dags/scanned/dagRuns/{run_id}/taskInstances?limit=100"
            states = {ti["task_id"]: ti["state"] for ti in airflow.api("GET", path)["task_instances"]}
        used = {_signature(request) for request in (*sts.requests, *machine.requests)} - {""}
    assert {name for name, state in states.items() if state == "failed"} == FAILED, states
    assert {state for name, state in states.items() if name not in FAILED} == {"success"}, states

    files = {
        str(file.relative_to(home)): file.read_text(errors="replace")
        for file in home.rglob("*")
        if file.is_file() and file.name not in ("passwords.json", "airflow.cfg")
    }
    texts = files | triggers | dumped(home / "airflow.db")
    assert len(front.signatures) > 20
    secrets = {KEY, TOKEN, BASE_KEY, WRONG_KEY, SERVERS_OWN, *front.signatures, *used}
    assert not (leaks := found(texts, {*secrets, "q-sign-algorithm"})), "\n".join(leaks[:20])
    _check_that_all_was_searched(texts, triggers)


def _signature(request: fakes.Request) -> str:
    return request.headers.get("authorization", "").rpartition("Signature=")[2]


def _check_that_all_was_searched(texts: dict[str, str], triggers: dict[str, str]) -> None:
    """What is known to be there was found, so that nothing was overlooked."""
    logs = "\n".join(text for name, text in texts.items() if name.startswith("logs/dag_id=scanned"))
    assert "POST /jobs HTTP/1.1" in logs, "urllib3 has logged at DEBUG what it sent"
    for said in (
        "SignatureDoesNotMatch",
        "AmbiguousSubmissionError",
        "No response from",
        "JobWouldFailAgainError",
    ):
        assert said in logs, said
    assert any("TencentCIJobTrigger" in rows and "marked" in rows for rows in triggers.values()), triggers
    assert "out/${jobid}" in texts["table rendered_task_instance_fields"]
    assert "job_id" in texts["table xcom"]
    assert texts["table task_state_store"], "the task state store has no rows"
