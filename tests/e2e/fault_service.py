"""The service of the fault campaign: the emulator in a process that may be killed, with an STS that gives out
short-lived credentials, and the tally of what both did.
"""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tencent_ci_emulator.config import DEMO_BUCKET, DEMO_REGION, DEMO_SECRET_ID, DEMO_SECRET_KEY
from tests.e2e.airflow_stack import free_port
from tests.e2e.emulator_process import TOKEN, Client, EmulatorProcess, short_wav
from tests.e2e.fault_storms import CALLS, READ_TIMEOUT, Storm
from tests.patience import PATIENCE
from tests.unit.hooks import fakes

CONNECTION = "faulty"
#: Jobs whose input's key has this word fail, so.
DOOMED, CODE, MESSAGE = "doomed", "Doomed", "doomed by the fault campaign"
#: In every token that STS gives out.
TOKEN_MARK = "sts-token-of-the-campaign"
_DOOM = {"operation": "job", "key": f"*{DOOMED}*", "code": CODE, "message": MESSAGE}
_OPERATIONS = (*CALLS, "head_object", "cancel", "cancel_batch")
_KEYS = {"AKIDcampaign": "key-of-the-campaign"}


@dataclass
class Role(fakes.STS):
    """STS that gives each caller the keys of the emulator, with a token of their own.

    :param outage: share of the calls that fail.
    """

    outage: float = 0.0
    failed: int = 0
    secret_id: str = DEMO_SECRET_ID
    secret_key: str = DEMO_SECRET_KEY
    chance: random.Random = field(default_factory=random.Random)

    def handle(self, request: fakes.Request) -> tuple[int, Any]:
        if self.chance.random() < self.outage:
            self.failed += 1
            return 200, fakes.refused("InternalError")
        return super().handle(request)

    def issue(self) -> dict[str, Any]:
        number = super().issue()["Token"]
        keys = {"TmpSecretId": self.secret_id, "TmpSecretKey": self.secret_key}
        return keys | {"Token": f"{TOKEN_MARK}-{number}"}


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the emulator's database has it."""

    job_id: str
    key: str
    state: str
    code: str
    created: float
    ended: float | None
    batch_id: str | None

    def ended_well_by(self, moment: float) -> bool:
        """Tell whether it had ended with success by then; both clocks are this machine's."""
        return self.state == "Success" and self.ended is not None and self.ended <= moment


class FaultyService:
    """Use it in ``with``. ``environment`` defines the connection for Airflow's processes."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._port = free_port()
        self._role = Role(lifetime=60.0, keys=_KEYS, chance=random.Random(seed))
        self._sts = fakes.serving(self._role)
        self._lock = threading.Lock()
        self._generation = 0
        self._earlier: Counter[str] = Counter()
        #: How often each fault was injected, by the emulator's own record.
        self.faults: Counter[str] = Counter()
        self.environment: dict[str, str] = {}

    def __enter__(self) -> FaultyService:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._plan = self._folder / "plan.json"
        self._plan.write_text(json.dumps({"rules": [_DOOM]}))
        self._sts.__enter__()
        self._start()
        ((login, password),) = _KEYS.items()
        extra = {
            "bucket": DEMO_BUCKET,
            "region": DEMO_REGION,
            "endpoint_url": f"http://127.0.0.1:{self._port}",
            "credential_source": "assume_role",
            "role_arn": "qcs::cam::uin/100000000001:roleName/airflow",
            "duration_seconds": 60,
            "sts_endpoint_url": self._role.url,
            "read_timeout": READ_TIMEOUT,
        }
        value = {"conn_type": "tencent_ci", "login": login, "password": password, "extra": extra}
        self.environment = {f"AIRFLOW_CONN_{CONNECTION.upper()}": json.dumps(value)}
        return self

    def __exit__(self, *error: object) -> None:
        self._emulator.__exit__(None, None, None)
        self._sts.__exit__(None, None, None)

    def _start(self) -> None:
        self._emulator = EmulatorProcess(
            self._folder / "data",
            *("--port", str(self._port), "--faults", str(self._plan)),
            *("--secret-id", self._role.secret_id, "--secret-key", self._role.secret_key),
            *("--queue-seconds", "0.5", "--run-seconds", "2.5", "--queue-max-concurrent", "50"),
            log=self._folder / "emulator.log",
        ).__enter__()

    def put(self, keys: Sequence[str]) -> None:
        """Store a short recording under each key. Only before the first restart."""
        recording = short_wav(self._folder / "short.wav")
        client = Client(self._port)
        for key in keys:
            assert client("PUT", f"/{key}", recording)[0] == 200
        client.close()

    def begin(self, storm: Storm, rules: Sequence[Mapping[str, Any]]) -> None:
        """Let a storm begin. Returns when a killed service is about to be missed."""
        with self._lock:
            self._role.outage = storm.sts_outage
            self._install(rules)
            if storm.kills:
                self._earlier = self._counts()
                self.faults["killed and restarted"] += 1
                self._emulator.kill()

    def end(self, storm: Storm) -> None:
        """Let it end."""
        with self._lock:
            self._role.outage = 0.0
            if storm.kills:
                self._generation += 1
                self._role.secret_id = f"AKIDgeneration{self._generation}"
                self._role.secret_key = f"key-of-generation-{self._generation}"
                self._start()
            self._install(())

    def has_met(self, fault: str) -> bool:
        """Tell whether a fault of the present storm has been injected."""
        with self._lock:
            return any(
                rule["id"] == fault and rule["applied"] for rule in self._admin("GET", "faults")["rules"]
            )

    def _install(self, rules: Sequence[Mapping[str, Any]]) -> None:
        for rule in self._admin("GET", "faults")["rules"]:
            if rule["operation"] != "job":
                self.faults[rule["id"]] += rule["applied"]
        self._admin("PUT", "faults", {"rules": [_DOOM, *rules]})
        self.faults["STS failed"] = self._role.failed

    def requests(self) -> Counter[str]:
        """Return how many requests of each operation came so far."""
        with self._lock:
            return self._counts()

    def _counts(self) -> Counter[str]:
        now = {
            name: self._admin("GET", f"ledger/requests?operation={name}&id=none")["count"]
            for name in _OPERATIONS
        }
        return self._earlier + Counter(now)

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:{self._port}/_emulator/{path}"
        answer = requests.request(
            method, url, json=body, headers={"X-Emulator-Token": TOKEN}, timeout=PATIENCE
        )
        assert answer.ok, f"{method} {path}: {answer.text}"
        return answer.json()

    def memory(self) -> int:
        """Bytes in memory now; 0 while it is down."""
        return self._emulator.memory() if self._emulator.process.poll() is None else 0

    def jobs(self, prefix: str) -> list[JobRow]:
        """Return the jobs that were accepted for inputs under ``prefix``, oldest first."""
        query = (
            "SELECT id, input_object, state, code, created, ended, batch_id FROM jobs"
            " WHERE substr(input_object, 1, ?) = ? ORDER BY number"
        )
        return [JobRow(*row) for row in self._rows(query, len(prefix), prefix)]

    def batches(self, prefix: str) -> list[str]:
        """Return the ids of the batch jobs that were accepted for a prefix, which no other batch has."""
        query = "SELECT id FROM batches WHERE instr(request, CAST(? AS BLOB)) ORDER BY number"
        return [str(row[0]) for row in self._rows(query, f"<Prefix>{prefix}</Prefix>")]

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._folder / "data" / "emulator.sqlite3")) as database:
            return database.execute(query, parameters).fetchall()

    @property
    def log(self) -> str:
        """What the emulator has said, which is warnings and errors."""
        return (self._folder / "emulator.log").read_text(errors="replace")
