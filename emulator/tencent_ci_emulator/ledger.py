"""What reached the emulator and what it accepted, so that a test can count.

Requests and callbacks are kept in memory, the newest of them only; accepted jobs are read from the database,
where each is exactly one row, written before the submission is answered.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.service_request import ServiceRequest
from tencent_ci_emulator.http.xml import parse

_REQUESTS_KEPT = 10_000
_CALLBACKS_KEPT = 1_000
_TEXT_KEPT = 1_024

# Named one by one: what is not here may be a signature or a token
_PARAMS_SHOWN = frozenset(
    (
        *("tag", "queueid", "queueids", "queuetype", "states", "state", "orderbytime", "size", "nexttoken"),
        *("startcreationtime", "endcreationtime", "inputobject", "workflowid", "inventorytriggerjobid"),
        *("jobid", "type", "name", "category", "ids", "pagenumber", "pagesize", "regions", "bucketnames"),
        *("bucketname", "prefix", "marker", "delimiter", "max-keys", "ci-process", "cancel"),
        *("uploads", "partnumber", "start-after", "list-type"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request: ``time`` in Unix seconds of the emulator's clock, ``ids`` those it names or was given.

    ``status`` and ``code`` are what was answered; both are ``None`` while it is answered, and stay so when
    the connection was dropped. ``sdk_retry`` tells whether one of Tencent's SDKs marked it as a repetition.
    """

    number: int
    time: float
    operation: str
    service: str
    method: str
    bucket: str | None
    path: str
    params: Mapping[str, str]
    request_id: str
    ids: tuple[str, ...] = ()
    status: int | None = None
    code: str | None = None
    dropped: bool = False
    faults: tuple[str, ...] = ()
    sdk_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedJob:
    """One job that was accepted, as it is now. Times in Unix seconds of the emulator's clock."""

    number: int
    job_id: str
    bucket: str
    tag: str
    queue_id: str
    key: str
    user_data: str | None
    state: str
    code: str
    created: float
    started: float | None
    ended: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRecord:
    """One callback, sent or recorded: ``target`` without user and query, which may hold a secret.

    ``outcome`` is ``sent`` (``status`` says how it was answered), ``recorded`` (a message queue), ``failed``,
    ``refused`` (not a loopback address) or ``suppressed`` (by the fault plan).
    """

    time: float
    job_id: str
    state: str
    kind: str
    format: str
    target: str
    outcome: str
    status: int | None = None
    detail: str | None = None
    body: str = ""
    faults: tuple[str, ...] = ()


class Ledger:
    """The records of one emulator. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[int, RequestRecord] = {}
        self._numbers = itertools.count(1)
        self._callbacks: deque[CallbackRecord] = deque(maxlen=_CALLBACKS_KEPT)
        self._counts: Counter[str] = Counter()
        self._database: Database | None = None

    def requests(
        self,
        operation: str | None = None,
        *,
        status: int | None = None,
        id: str | None = None,  # noqa: A002 - the word of the API
    ) -> list[RequestRecord]:
        """Return the requests in the order they came, of the newest 10,000; all, or those that match."""
        with self._lock:
            return [
                record
                for record in self._requests.values()
                if operation in (None, record.operation)
                and status in (None, record.status)
                and (id is None or id in record.ids)
            ]

    def count(self, operation: str | None = None) -> int:
        """Return how many requests came in all, also those no longer kept."""
        with self._lock:
            return self._counts.total() if operation is None else self._counts[operation]

    def accepted_jobs(
        self, *, key: str | None = None, user_data: str | None = None, after: int = 0, limit: int = -1
    ) -> list[AcceptedJob]:
        """Return the jobs that were ever accepted into this data folder, oldest first.

        :param key: only those of this input object.
        :param user_data: only those with this ``UserData``.
        :param after: only those with a higher ``number``.
        :param limit: at most so many.
        :raises RuntimeError: the emulator is not running.
        """
        database = self._database
        if database is None:
            raise RuntimeError("the emulator is not running")
        query = (
            "SELECT * FROM jobs WHERE number > ? AND (? IS NULL OR input_object = ?) ORDER BY number LIMIT ?"
        )
        found = (_accepted(row) for row in database.rows(query, (after, key, key, limit)))
        return [job for job in found if user_data in (None, job.user_data)]

    def callbacks(self, job_id: str | None = None) -> list[CallbackRecord]:
        """Return the callbacks, of the newest 1,000; all, or a job's."""
        with self._lock:
            return [record for record in self._callbacks if job_id in (None, record.job_id)]

    def clear(self) -> None:
        """Forget requests and callbacks; accepted jobs stay."""
        with self._lock:
            self._requests.clear()
            self._callbacks.clear()
            self._counts.clear()

    def attach(self, database: Database | None) -> None:
        """Read accepted jobs from this database; ``None`` when it is closed."""
        self._database = database

    def received(self, request: ServiceRequest, request_id: str, now: float) -> int:
        """Record a request that has come; return the number of its record."""
        with self._lock:
            operation = request.operation
            self._counts[operation] += 1
            record = RequestRecord(
                number=next(self._numbers),
                time=now,
                operation=operation,
                service=request.service.value,
                method=request.method,
                bucket=request.bucket,
                path=_shown(request.path),
                params=_params(request),
                request_id=request_id,
                ids=request.ids[:10],
                sdk_retry=request.header("x-cos-sdk-retry") is not None,
            )
            self._requests[record.number] = record
            if len(self._requests) > _REQUESTS_KEPT:
                del self._requests[next(iter(self._requests))]
        return record.number

    def note(self, number: int, **fields: Any) -> None:
        """Set fields of a request's record, if it is still kept."""
        with self._lock:
            if number in self._requests:
                self._requests[number] = replace(self._requests[number], **fields)

    def called_back(self, record: CallbackRecord) -> None:
        """Record a callback."""
        with self._lock:
            self._callbacks.append(record)


def _params(request: ServiceRequest) -> dict[str, str]:
    return {name: _shown(value) for name, value in request.params if name.lower() in _PARAMS_SHOWN}


def _shown(text: str) -> str:
    """Bounded, and with undecodable bytes replaced: this goes out as JSON."""
    return text[:_TEXT_KEPT].encode(errors="replace").decode()


def _accepted(row: Any) -> AcceptedJob:
    columns = {"job_id": "id", "key": "input_object"}
    names = [field.name for field in fields(AcceptedJob) if field.name != "user_data"]
    values = {name: row[columns.get(name, name)] for name in names}
    return AcceptedJob(user_data=parse(row["request"]).findtext("Operation/UserData"), **values)
