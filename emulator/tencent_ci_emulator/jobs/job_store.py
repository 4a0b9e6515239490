"""Jobs in the database: what was asked, how far it is, what came of it."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tencent_ci_emulator.database import Database, from_row
from tencent_ci_emulator.http.xml import Element, append, build, parse, service_time, text_of, to_bytes

SUBMITTED = "Submitted"
RUNNING = "Running"
SUCCESS = "Success"
FAILED = "Failed"
PAUSE = "Pause"
CANCEL = "Cancel"
STATES = (SUBMITTED, RUNNING, SUCCESS, FAILED, PAUSE, CANCEL)

#: What an operation shows besides its parameters, which a template hides
_BESIDES_PARAMETERS = ("TemplateId", "TemplateName", "Output", "UserData", "JobLevel")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, bucket TEXT NOT NULL, region TEXT NOT
    NULL, tag TEXT NOT NULL, queue_id TEXT NOT NULL, level INTEGER NOT NULL, input_object TEXT NOT NULL, state
    TEXT NOT NULL, code TEXT NOT NULL DEFAULT 'Success', message TEXT NOT NULL DEFAULT '', progress INTEGER
    NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, ended REAL, request BLOB NOT NULL, result BLOB,
    queue_type TEXT, batch_id TEXT );
    CREATE INDEX IF NOT EXISTS jobs_by_bucket ON jobs (bucket, tag, number);
    CREATE INDEX IF NOT EXISTS jobs_by_queue ON jobs (queue_id, state);
    CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_batch ON jobs (batch_id, input_object)
"""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One row: times in Unix seconds, ``number`` the order of creation.

    :param request: the document ``Request``, with one ``Operation`` and a template's parameters filled in.
    :param result: the document ``Operation`` with what came of the job.
    :param queue_type: as the request gave it, or else its queue's category; without effect.
    :param batch_id: the batch job that made it.
    """

    number: int
    id: str
    bucket: str
    region: str
    tag: str
    queue_id: str
    level: int
    input_object: str
    state: str
    code: str
    message: str
    progress: int
    created: float
    started: float | None
    ended: float | None
    request: bytes
    result: bytes | None
    queue_type: str | None = None
    batch_id: str | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the job has not begun, so that it can still be cancelled."""
        return self.state in (SUBMITTED, PAUSE)

    def describe(self, progress: int | None = None) -> Element:
        """Return the job as the service describes it (460/84765).

        :param progress: what to show in place of the stored progress.
        """
        detail = {
            "Code": self.code,
            "Message": self.message,
            "JobId": self.id,
            "State": self.state,
            "Progress": self.progress if progress is None else progress,
            "CreationTime": service_time(self.created),
            "StartTime": service_time(self.started) or "-",
            "EndTime": service_time(self.ended) or "-",
            "QueueId": self.queue_id,
            "QueueType": self.queue_type,
            "Tag": self.tag,
            "Input": self._describe_input(),
            "Operation": self._describe_operation(),
        }
        return build("JobsDetail", detail)

    def _describe_input(self) -> Element | None:
        described = parse(self.request).find("Input")
        if described is not None:
            append(described, {"BucketId": self.bucket, "Region": self.region})
        return described

    def _describe_operation(self) -> Element:
        operation = parse(self.request).find("Operation")
        if operation is None:
            operation = build("Operation")
        if operation.find("TemplateId") is not None:
            for child in [child for child in operation if child.tag not in _BESIDES_PARAMETERS]:
                operation.remove(child)
        if self.result is not None:
            operation.extend(parse(self.result))
        if text_of(operation, "JobLevel") is None:
            append(operation, {"JobLevel": 0})
        return operation


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What ``GET /jobs`` may ask for (460/84766). Times in Unix seconds, ends included; ``None``: any.

    :param created_before: as a list that lags behind would have it; a part of a second counts.
    """

    tag: str | None = None
    queue_id: str | None = None
    input_object: str | None = None
    states: tuple[str, ...] = ()
    created_from: float | None = None
    created_to: float | None = None
    ascending: bool = False
    size: int = 10
    token: str | None = None
    batch_id: str | None = None
    created_before: float | None = None


class BadTokenError(ValueError):
    """A ``NextToken`` that this emulator has not made."""


class JobStore:
    """Jobs by id. Safe to use from several threads; every change is committed when the method returns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)

    def add(
        self,
        bucket: str,
        region: str,
        queue_id: str,
        request: Element,
        created: float,
        *,
        state: str = SUBMITTED,
        queue_type: str | None = None,
        batch_id: str | None = None,
    ) -> StoredJob:
        """Store a new job, ``Submitted`` or ``Pause``, and return it.

        :raises sqlite3.IntegrityError: the batch job has a job for this input already.
        """
        job_id = "j" + uuid.uuid4().hex
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs"
                " (id, bucket, region, tag, queue_id, level, input_object, state, created, request,"
                " queue_type, batch_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    bucket,
                    region,
                    text_of(request, "Tag"),
                    queue_id,
                    int(text_of(request, "Operation/JobLevel") or 0),
                    text_of(request, "Input/Object") or "",
                    state,
                    created,
                    to_bytes(request),
                    queue_type,
                    batch_id,
                ),
            )
        return self.get(job_id)

    def get(self, job_id: str) -> StoredJob:
        """Return one job.

        :raises KeyError: no such job.
        """
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise KeyError(job_id)
        return from_row(StoredJob, row)

    def find(self, bucket: str, job_ids: Sequence[str]) -> dict[str, StoredJob]:
        """Return those of the jobs that the bucket has, in the order asked for."""
        marks = ", ".join("?" * len(job_ids))
        query = f"SELECT * FROM jobs WHERE bucket = ? AND id IN ({marks})"  # noqa: S608 - only question marks
        found = {
            row["id"]: from_row(StoredJob, row) for row in self._database.rows(query, (bucket, *job_ids))
        }
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def page(self, bucket: str, wanted: JobFilter) -> tuple[list[StoredJob], str | None]:
        """Return a page of jobs and the token of the next page, ``None`` on the last.

        A token names the last job given, so pages neither repeat nor skip jobs while new ones arrive.

        :raises BadTokenError: the token is not one of these.
        """
        conditions, values = _conditions(bucket, wanted)
        order = "ASC" if wanted.ascending else "DESC"
        query = f"SELECT * FROM jobs WHERE {' AND '.join(conditions)} ORDER BY number {order} LIMIT ?"  # noqa: S608 - of literals
        rows = self._database.rows(query, (*values, wanted.size + 1))
        jobs = [from_row(StoredJob, row) for row in rows[: wanted.size]]
        return jobs, page_token(jobs[-1].number) if len(rows) > wanted.size else None

    def has_tag(self, bucket: str, tag: str) -> bool:
        """Return whether a bucket has jobs of a tag."""
        query = "SELECT 1 FROM jobs WHERE bucket = ? AND tag = ? LIMIT 1"
        return self._database.row(query, (bucket, tag)) is not None

    def unfinished(self) -> list[StoredJob]:
        """Return the jobs that a restart has to take up again, oldest first."""
        query = "SELECT * FROM jobs WHERE state IN (?, ?, ?) ORDER BY number"
        return [from_row(StoredJob, row) for row in self._database.rows(query, (SUBMITTED, PAUSE, RUNNING))]

    def waiting(self, queue_id: str) -> int:
        """Return how many jobs of a queue have not begun."""
        query = "SELECT COUNT(*) FROM jobs WHERE queue_id = ? AND state IN (?, ?)"
        return int(self._database.rows(query, (queue_id, SUBMITTED, PAUSE))[0][0])

    def hold(self, queue_id: str, paused: bool) -> None:
        """Put the waiting jobs of a queue into state ``Pause``, or back into ``Submitted``."""
        states = (PAUSE, SUBMITTED) if paused else (SUBMITTED, PAUSE)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ? WHERE queue_id = ? AND state = ?", (states[0], queue_id, states[1])
            )

    def inputs_of_batch(self, batch_id: str) -> set[str]:
        """Return the input keys that a batch job has made jobs for."""
        rows = self._database.rows("SELECT input_object FROM jobs WHERE batch_id = ?", (batch_id,))
        return {row["input_object"] for row in rows}

    def batch_has_ended(self, batch_id: str) -> bool:
        """Tell whether no job of a batch job waits or runs."""
        query = "SELECT 1 FROM jobs WHERE batch_id = ? AND state IN (?, ?, ?) LIMIT 1"
        return self._database.row(query, (batch_id, SUBMITTED, PAUSE, RUNNING)) is None

    def progress_of_batch(self, batch_id: str) -> int:
        """Return how many per cent of the jobs that a batch job has made so far have ended."""
        query = "SELECT COUNT(*), COUNT(ended) FROM jobs WHERE batch_id = ?"
        made, ended = self._database.rows(query, (batch_id,))[0]
        return int(100 * ended / made) if made else 0

    def cancel_batch(self, batch_id: str, ended: float) -> None:
        """Cancel the jobs of a batch job that have not begun."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, ended = ? WHERE batch_id = ? AND state IN (?, ?)",
                (CANCEL, ended, batch_id, SUBMITTED, PAUSE),
            )

    def start(self, job_id: str, started: float) -> bool:
        """Go to ``Running``; tell whether that was possible (it is not once the job was cancelled).

        A job that was running when the emulator was stopped keeps its first start time.
        """
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = ?, started = COALESCE(started, ?), progress = 0"
                " WHERE id = ? AND state IN (?, ?)",
                (RUNNING, started, job_id, SUBMITTED, RUNNING),
            )
            return changed.rowcount == 1

    def progress(self, job_id: str, percent: int) -> None:
        """Note how far a running job is, 0 to 99."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET progress = ? WHERE id = ? AND state = ?", (min(percent, 99), job_id, RUNNING)
            )

    def succeed(self, job_id: str, ended: float, result: bytes) -> None:
        """Go from ``Running`` to ``Success`` with what came of the job, a document ``Operation``."""
        self._end(job_id, SUCCESS, ended, progress=100, result=result)

    def fail(self, job_id: str, ended: float, code: str, message: str) -> None:
        """Go from ``Running`` to ``Failed``."""
        self._end(job_id, FAILED, ended, code=code, message=message)

    def cancel(self, bucket: str, job_ids: Collection[str], ended: float) -> list[str]:
        """Cancel the jobs that have not begun and return those, of this bucket, that have (or are unknown).

        If there is any such, none is cancelled.
        """
        with self._database.transaction() as connection:
            found = self.find(bucket, list(job_ids))
            waiting = {one for one, job in found.items() if job.is_waiting}
            refused = [one for one in job_ids if one not in waiting]
            if not refused:
                connection.executemany(
                    "UPDATE jobs SET state = ?, ended = ? WHERE id = ?",
                    [(CANCEL, ended, job_id) for job_id in job_ids],
                )
            return refused

    def _end(self, job_id: str, state: str, ended: float, **columns: Any) -> None:
        columns = {"state": state, "ended": ended, **columns}
        assignments = ", ".join(f"{name} = ?" for name in columns)
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE jobs SET {assignments} WHERE id = ? AND state = ?",  # noqa: S608 - names are literals above
                (*columns.values(), job_id, RUNNING),
            )


def _conditions(bucket: str, wanted: JobFilter) -> tuple[list[str], list[Any]]:
    # Times are printed in whole seconds, so a job is as old as the second it shows
    comparisons: list[tuple[str, Any]] = [
        ("bucket = ?", bucket),
        ("tag = ?", wanted.tag),
        ("queue_id = ?", wanted.queue_id),
        ("input_object = ?", wanted.input_object),
        ("batch_id = ?", wanted.batch_id),
        ("CAST(created AS INTEGER) >= ?", wanted.created_from),
        ("CAST(created AS INTEGER) <= ?", wanted.created_to),
        ("created <= ?", wanted.created_before),
        ("number > ?" if wanted.ascending else "number < ?", number_in_token(wanted.token)),
    ]
    given = [(text, value) for text, value in comparisons if value is not None]
    conditions, values = [text for text, _ in given], [value for _, value in given]
    if wanted.states:
        conditions.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values.extend(wanted.states)
    return conditions, values


def page_token(number: int) -> str:
    """Return the token of the page after the row of this number."""
    return base64.urlsafe_b64encode(b"after:%d" % number).decode().rstrip("=")


def number_in_token(token: str | None) -> int | None:
    """Return the row that a token names.

    :raises BadTokenError: this emulator has not made it.
    """
    if token is None:
        return None
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        kind, _, number = text.partition(":")
        if kind == "after" and number.isascii() and number.isdigit() and len(number) < 19:
            return int(number)
    except (ValueError, binascii.Error):
        pass
    raise BadTokenError(token)
