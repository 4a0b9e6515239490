"""Batch jobs: create (460/80155, 436/113271), describe, list and cancel (460/76892)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database, from_row
from tencent_ci_emulator.http.ci_call import (
    Answer,
    Call,
    Handler,
    answer,
    ascending,
    bad_token,
    cannot_be_modified,
    document,
    ids,
    moment,
    number,
    require,
    states,
)
from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.service_errors import ServiceFault, invalid_argument
from tencent_ci_emulator.http.xml import Element, append, build, parse, service_time, text_of, to_bytes
from tencent_ci_emulator.jobs.batch_inputs import INPUT_KINDS, upload_times
from tencent_ci_emulator.jobs.job_store import (
    CANCEL,
    FAILED,
    RUNNING,
    SUBMITTED,
    SUCCESS,
    BadTokenError,
    JobStore,
    number_in_token,
    page_token,
)
from tencent_ci_emulator.jobs.queues import QueueCalls
from tencent_ci_emulator.jobs.submission import Submission
from tencent_ci_emulator.objects.names import BATCH_NAME

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, bucket TEXT NOT NULL, queue_id TEXT NOT
    NULL, name TEXT NOT NULL, state TEXT NOT NULL, code TEXT NOT NULL DEFAULT 'Success', message TEXT NOT NULL
    DEFAULT '', created REAL NOT NULL, started REAL, ended REAL, request BLOB NOT NULL, job BLOB NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One row: times in Unix seconds, ``number`` the order of creation.

    :param request: the document ``Request``.
    :param job: the ``Request`` for one of its jobs, but for the input; a template's parameters are filled in.
    """

    number: int
    id: str
    bucket: str
    queue_id: str
    name: str
    state: str
    code: str
    message: str
    created: float
    started: float | None
    ended: float | None
    request: bytes
    job: bytes

    def describe(self, progress: int) -> dict[str, Any]:
        """Return it as the service describes it. SDK models have ``Tag``, ``Progress`` and ``QueueId``."""
        request = parse(self.request)
        operation = build("Operation", request.find("Operation"))
        for queue in operation.findall("QueueId"):
            operation.remove(queue)
        append(operation, {"QueueId": self.queue_id})
        return {
            "Code": self.code,
            "Message": self.message,
            "Type": text_of(request, "Type"),
            "Name": self.name,
            "JobId": self.id,
            "Tag": text_of(operation, "Tag"),
            "Progress": progress,
            "State": self.state,
            "CreationTime": service_time(self.created),
            "StartTime": service_time(self.started) or "-",
            "EndTime": service_time(self.ended) or "-",
            "QueueId": self.queue_id,
            "Input": request.find("Input"),
            "Operation": operation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFilter:
    """What ``GET /inventorytriggerjob`` may ask for. Times in Unix seconds; ``None``: any."""

    batch_id: str | None = None
    name: str | None = None
    states: tuple[str, ...] = ()
    created_from: float | None = None
    created_to: float | None = None
    ascending: bool = False
    size: int = 10
    token: str | None = None


class BatchStore:
    """Batch jobs by id. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            connection.execute(_SCHEMA)

    def add(self, bucket: str, queue_id: str, request: Element, job: Element, now: float) -> StoredBatch:
        """Store a new batch job in state ``Submitted`` and return it."""
        batch_id = "b" + uuid.uuid4().hex
        documents = (to_bytes(request), to_bytes(job))
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO batches (id, bucket, queue_id, name, state, created, request, job)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (batch_id, bucket, queue_id, text_of(request, "Name"), SUBMITTED, now, *documents),
            )
        return self.find(bucket, [batch_id])[batch_id]

    def find(self, bucket: str, batch_ids: list[str]) -> dict[str, StoredBatch]:
        """Return those that the bucket has."""
        found = (
            self._database.row("SELECT * FROM batches WHERE bucket = ? AND id = ?", (bucket, one))
            for one in batch_ids
        )
        return {row["id"]: from_row(StoredBatch, row) for row in found if row is not None}

    def unfinished(self) -> list[StoredBatch]:
        """Return those that have not ended, oldest first."""
        query = "SELECT * FROM batches WHERE state IN (?, ?) ORDER BY number"
        return [from_row(StoredBatch, row) for row in self._database.rows(query, (SUBMITTED, RUNNING))]

    def is_running(self, batch_id: str) -> bool:
        """Tell whether a batch job makes jobs: it does not once it was cancelled."""
        row = self._database.row("SELECT state FROM batches WHERE id = ?", (batch_id,))
        return row is not None and row["state"] == RUNNING

    def page(self, bucket: str, wanted: BatchFilter) -> tuple[list[StoredBatch], str | None]:
        """Return a page and the token of the next one, ``None`` on the last.

        :raises BadTokenError: the token is not one of these.
        """
        after = number_in_token(wanted.token)
        comparisons: list[tuple[str, Any]] = [
            ("bucket = ?", bucket),
            ("id = ?", wanted.batch_id),
            ("name = ?", wanted.name),
            ("CAST(created AS INTEGER) >= ?", wanted.created_from),
            ("CAST(created AS INTEGER) <= ?", wanted.created_to),
            ("number > ?" if wanted.ascending else "number < ?", after),
            *((f"state IN ({', '.join('?' * len(wanted.states))})", one) for one in wanted.states[:1]),
        ]
        given = [(text, value) for text, value in comparisons if value is not None]
        query = (
            f"SELECT * FROM batches WHERE {' AND '.join(text for text, _ in given)}"  # noqa: S608 - of literals
            f" ORDER BY number {'ASC' if wanted.ascending else 'DESC'} LIMIT ?"
        )
        values = (*(value for _, value in given), *wanted.states[1:], wanted.size + 1)
        rows = self._database.rows(query, values)
        batches = [from_row(StoredBatch, row) for row in rows[: wanted.size]]
        return batches, page_token(batches[-1].number) if len(rows) > wanted.size else None

    def start(self, batch_id: str, now: float) -> None:
        """Go from ``Submitted`` to ``Running``."""
        self._change("state = ?, started = ?", (RUNNING, now), batch_id, (SUBMITTED,))

    def succeed(self, batch_id: str, now: float) -> None:
        """Go from ``Running`` to ``Success``."""
        self._change("state = ?, ended = ?", (SUCCESS, now), batch_id, (RUNNING,))

    def fail(self, batch_id: str, now: float, code: str, message: str) -> None:
        """Go from ``Running`` to ``Failed``."""
        assignments = "state = ?, ended = ?, code = ?, message = ?"
        self._change(assignments, (FAILED, now, code, message), batch_id, (RUNNING,))

    def cancel(self, batch_id: str, now: float) -> bool:
        """Go to ``Cancel``; tell whether that was possible."""
        return self._change("state = ?, ended = ?", (CANCEL, now), batch_id, (SUBMITTED, RUNNING))

    def _change(
        self, assignments: str, values: tuple[Any, ...], batch_id: str, before: tuple[str, ...]
    ) -> bool:
        marks = ", ".join("?" * len(before))
        with self._database.transaction() as connection:
            changed = connection.execute(
                f"UPDATE batches SET {assignments} WHERE id = ? AND state IN ({marks})",  # noqa: S608 - of literals
                (*values, batch_id, *before),
            )
            return changed.rowcount == 1


class Wakeable(Protocol):
    """What is told that there is something to do."""

    def wake(self) -> None:
        """Look what there is to do."""


class BatchCalls:
    """Answers the calls about batch jobs."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        store: BatchStore,
        jobs: JobStore,
        submission: Submission,
        queues: QueueCalls,
        runner: Wakeable,
        clock: Clock,
    ) -> None:
        self._config = config
        self._database = database
        self._store = store
        self._jobs = jobs
        self._submission = submission
        self._queues = queues
        self._runner = runner
        self._clock = clock

    def routes(self) -> dict[str, Handler]:
        """Return the handler of each call."""
        return {
            "POST /inventorytriggerjob": self._create,
            "GET /inventorytriggerjob/": self._describe,
            "GET /inventorytriggerjob": self._list,
            "PUT /inventorytriggerjob/?cancel": self._cancel,
        }

    def _create(self, call: Call) -> Answer:
        request = document(call)
        _check(request)
        job = self._submission.checked(call.bucket, _job_request(request))
        tag, queue_id = text_of(job, "Tag"), text_of(job, "QueueId")
        queue = self._queues.choose(call.bucket, tag or "", queue_id)
        batch = self._store.add(call.bucket, queue.id, request, job, self._clock.now())
        self._runner.wake()
        return self._answer(call, [batch])

    def _describe(self, call: Call) -> Answer:
        asked = ids(call.id, "batch job")
        found = self._store.find(call.bucket, asked)
        return self._answer(call, list(found.values()), missing=[one for one in asked if one not in found])

    def _list(self, call: Call) -> Answer:
        kind = call.params.get("type", "Job")
        require("type", kind, ("Job", "Workflow"))
        if kind == "Workflow" or call.params.get("workflowid"):
            return self._answer(call, [], token="")  # there are no workflows here
        try:
            batches, token = self._store.page(call.bucket, _filter(call.params))
        except BadTokenError:
            raise bad_token() from None
        return self._answer(call, batches, token=token or "")

    def _cancel(self, call: Call) -> Answer:
        asked = ids(call.id, "batch job")
        with self._database.transaction():
            found = self._store.find(call.bucket, asked)
            refused = [one for one in asked if one not in found or found[one].ended is not None]
            for batch_id in () if refused else asked:
                self._store.cancel(batch_id, self._clock.now())
                self._jobs.cancel_batch(batch_id, self._clock.now())
        if refused and not self._config.lenient_cancel:
            raise cannot_be_modified(refused)
        self._runner.wake()
        return Answer()

    def _answer(
        self,
        call: Call,
        batches: list[StoredBatch],
        *,
        missing: list[str] | None = None,
        token: str | None = None,
    ) -> Answer:
        return answer(
            {
                "RequestId": call.request_id,
                "JobsDetail": [batch.describe(self._progress(batch)) for batch in batches],
                "NonExistJobIds": missing,
                "NextToken": token,
            }
        )

    def _progress(self, batch: StoredBatch) -> int:
        done = 100 if batch.state == SUCCESS else self._jobs.progress_of_batch(batch.id)
        return done if batch.ended is not None else min(99, done)


def _check(request: Element) -> None:
    """Check what a batch job has besides the request for its jobs."""
    problems = Problems()
    problems.check_single(request, ("Name", "Type", "Input", "Operation"))
    problems.refuse_if_any()
    name, kind, given = text_of(request, "Name"), text_of(request, "Type"), request.find("Input")
    if not BATCH_NAME.fullmatch(name or ""):
        problems.add("Name", name, "Chinese, letters, digits, _ -, at most 128")
    problems.refuse_if_any()
    require("Type", kind, ("Job", "Workflow"))
    if kind == "Workflow":
        raise ServiceFault(501, "NotImplemented", "there are no workflows here: of the Types, Job is served")
    if sum(text_of(given, one) is not None for one in INPUT_KINDS) != 1:
        raise invalid_argument(f"Input needs exactly one of {', '.join(INPUT_KINDS)}")
    upload_times(request)


def _job_request(request: Element) -> Element:
    """Return the request for one job of a batch job, in which queue and callback are outside the operation.

    The input is only a name that every rule allows.
    """
    batch_operation = request.find("Operation")
    children = list(batch_operation) if batch_operation is not None else []
    operation, job = build("Operation"), build("Request", {"Input": {"Object": "any"}})
    for child in children:
        if child.tag == "JobParam":
            operation.extend(build("JobParam", child))
        elif child.tag in ("Output", "UserData", "JobLevel"):
            append(operation, {child.tag: child})
        elif child.tag in ("Tag", "QueueId") or child.tag.startswith("CallBack"):
            append(job, {child.tag: child})
    job.append(operation)
    return job


def _filter(params: Mapping[str, str]) -> BatchFilter:
    return BatchFilter(
        batch_id=params.get("jobid"),
        name=params.get("name"),
        states=states(params),
        created_from=moment("startCreationTime", params.get("startcreationtime")),
        created_to=moment("endCreationTime", params.get("endcreationtime")),
        ascending=ascending(params),
        size=number(params, "size"),
        token=params.get("nexttoken"),
    )
