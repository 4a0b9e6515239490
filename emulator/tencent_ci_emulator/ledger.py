"""The requests that the emulator received, the jobs that it accepted and the callbacks that it sent.

The newest requests and callbacks are kept in memory. Accepted jobs are read from the database, where each is
exactly one row, written before the response to its submission is sent.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.service_request import ServiceRequest
from tencent_ci_emulator.http.xml import parse
from tencent_ci_emulator.jobs.job_store import StoredJob
from tencent_ci_emulator.jobs.states import CANCEL
from tencent_ci_emulator.observed import ASSUMED, ObservedBehaviour

_REQUESTS_KEPT = 10_000
_CALLBACKS_KEPT = 1_000
_CHARACTERS_KEPT = 1_024

# Any other parameter may be a signature or a token
_PARAMS_KEPT = frozenset(
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
    """One request.

    :param time: Unix seconds of the emulator's clock.
    :param ids: in its path, or those of the jobs that it created.
    :param status: of the response; ``None`` before the response and if the connection was dropped.
    :param code: of the error, ``None`` without one.
    :param faults: the ids of the fault plan's rules that were applied.
    :param sdk_retry: whether one of Tencent's SDKs marked it as a repetition.
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
    """The present state of one accepted job. Times in Unix seconds of the emulator's clock.

    :param billed: whether the service would charge for it. For a cancelled job it does not, unless a report
        of ``make live`` says so.
    """

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
    billed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRecord:
    """One callback.

    :param target: the address without user, last part of the path and query, which may hold a secret.
    :param outcome: ``sent`` (with the ``status`` of the response), ``recorded`` (a message queue),
        ``failed``, ``refused`` (not a loopback address) or ``suppressed`` (by the fault plan).
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
        self._requests: OrderedDict[int, RequestRecord] = OrderedDict()
        self._numbers = itertools.count(1)
        self._callbacks: deque[CallbackRecord] = deque(maxlen=_CALLBACKS_KEPT)
        self._counts: Counter[str] = Counter()
        self._database: Database | None = None
        self._observed = ASSUMED

    def requests(
        self,
        operation: str | None = None,
        *,
        status: int | None = None,
        id: str | None = None,  # noqa: A002 - the word of the API
    ) -> list[RequestRecord]:
        """Return the requests in the order of arrival, of the newest 10,000; all, or those that match."""
        with self._lock:
            return [
                record
                for record in self._requests.values()
                if operation in (None, record.operation)
                and status in (None, record.status)
                and (id is None or id in record.ids)
            ]

    def count(self, operation: str | None = None) -> int:
        """Return how many requests were received, also those no longer kept."""
        with self._lock:
            return self._counts.total() if operation is None else self._counts[operation]

    def accepted_jobs(
        self, *, key: str | None = None, user_data: str | None = None, after: int = 0, limit: int = -1
    ) -> list[AcceptedJob]:
        """Return the jobs that were ever accepted into this data folder, oldest first.

        :param key: only jobs with this input object.
        :param user_data: only jobs with this ``UserData``.
        :param after: only jobs with a higher ``number``.
        :param limit: the largest number of jobs.
        :raises RuntimeError: the emulator is not running.
        """
        where = {"number >": after, "input_object": key}
        rows = self._require_database().select(StoredJob, "jobs", where, order="number", limit=limit)
        jobs = [_to_accepted_job(row, self._observed) for row in rows]
        return [job for job in jobs if user_data in (None, job.user_data)]

    def jobs_of_inputs(self, prefix: str = "") -> Counter[str]:
        """Return how many jobs were ever accepted for each input object under a prefix.

        The sum is the number of accepted jobs that have an input object.

        :raises RuntimeError: the emulator is not running.
        """
        query = (
            "SELECT input_object, COUNT(*) AS jobs FROM jobs"
            " WHERE input_object <> '' AND substr(input_object, 1, ?) = ? GROUP BY input_object"
        )
        rows = self._require_database().rows(query, (len(prefix), prefix))
        return Counter({row["input_object"]: row["jobs"] for row in rows})

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

    def attach(self, database: Database | None, observed: ObservedBehaviour = ASSUMED) -> None:
        """Read accepted jobs from this database, from none if it is ``None``.

        :param observed: whether cancelled jobs are billed.
        """
        self._database = database
        self._observed = observed

    def _require_database(self) -> Database:
        if self._database is None:
            raise RuntimeError("the emulator is not running")
        return self._database

    def add_request(self, request: ServiceRequest, request_id: str, now: float) -> int:
        """Record a request; return the number of its record."""
        params = {name: _shorten(value) for name, value in request.params if name.lower() in _PARAMS_KEPT}
        with self._lock:
            record = RequestRecord(
                number=next(self._numbers),
                time=now,
                operation=request.operation,
                service=request.service.value,
                method=request.method,
                bucket=request.bucket,
                path=_shorten(request.path),
                params=params,
                request_id=request_id,
                ids=request.ids[:10],
                sdk_retry=request.header("x-cos-sdk-retry") is not None,
            )
            self._counts[record.operation] += 1
            self._requests[record.number] = record
            if len(self._requests) > _REQUESTS_KEPT:
                self._requests.popitem(last=False)
        return record.number

    def update_request(self, number: int, **fields: Any) -> None:
        """Set fields of a request's record, if it is still kept."""
        with self._lock:
            if number in self._requests:
                self._requests[number] = replace(self._requests[number], **fields)

    def add_callback(self, record: CallbackRecord) -> None:
        """Record a callback."""
        with self._lock:
            self._callbacks.append(record)


def _shorten(text: str) -> str:
    """Return the beginning of a text, with undecodable bytes replaced, because JSON cannot carry them."""
    return text[:_CHARACTERS_KEPT].encode(errors="replace").decode()


def _to_accepted_job(job: StoredJob, observed: ObservedBehaviour) -> AcceptedJob:
    return AcceptedJob(
        number=job.number,
        job_id=job.id,
        bucket=job.bucket,
        tag=job.tag,
        queue_id=job.queue_id,
        key=job.input_object,
        user_data=parse(job.request).findtext("Operation/UserData"),
        state=job.state,
        code=job.code,
        created=job.created,
        started=job.started,
        ended=job.ended,
        billed=job.state != CANCEL or observed.cancelled_job_billed,
    )
