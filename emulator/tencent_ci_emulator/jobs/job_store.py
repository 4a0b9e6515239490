"""Jobs in the database: their requests, states and results."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.xml import (
    Element,
    append,
    build,
    parse,
    remove,
    service_time,
    text_of,
    to_bytes,
)
from tencent_ci_emulator.jobs.job_types import job_type, template_elements
from tencent_ci_emulator.jobs.states import (
    CANCEL,
    FAILED,
    PAUSE,
    RUNNING,
    SUBMITTED,
    SUCCESS,
    UNFINISHED,
    WAITING,
)
from tencent_ci_emulator.observed import ASSUMED, ObservedBehaviour

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, bucket TEXT NOT NULL, region TEXT NOT
    NULL, tag TEXT NOT NULL, queue_id TEXT NOT NULL, level INTEGER NOT NULL, input_object TEXT NOT NULL, state
    TEXT NOT NULL, code TEXT NOT NULL DEFAULT 'Success', message TEXT NOT NULL DEFAULT '', progress INTEGER
    NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, ended REAL, request BLOB NOT NULL, result BLOB,
    queue_type TEXT, batch_id TEXT, result_keys TEXT );
    DROP INDEX IF EXISTS jobs_by_bucket;
    CREATE INDEX IF NOT EXISTS jobs_by_tag ON jobs (bucket, tag, created, number);
    CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (bucket, tag, state, created, number);
    CREATE INDEX IF NOT EXISTS jobs_by_input ON jobs (input_object, bucket, tag, created, number);
    CREATE INDEX IF NOT EXISTS jobs_by_queue ON jobs (queue_id, state);
    CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_batch ON jobs (batch_id, input_object);
    CREATE TABLE IF NOT EXISTS job_counts (
        queue_id TEXT, state TEXT, jobs INTEGER NOT NULL, PRIMARY KEY (queue_id, state)
    ) WITHOUT ROWID
"""
# Counting the jobs of a queue for each submission would take longer with each job
_COUNTING = (
    """
    CREATE TRIGGER IF NOT EXISTS count_new_job AFTER INSERT ON jobs BEGIN
        INSERT INTO job_counts VALUES (NEW.queue_id, NEW.state, 1)
            ON CONFLICT (queue_id, state) DO UPDATE SET jobs = jobs + 1;
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS count_new_state AFTER UPDATE OF state ON jobs BEGIN
        UPDATE job_counts SET jobs = jobs - 1 WHERE queue_id = OLD.queue_id AND state = OLD.state;
        INSERT INTO job_counts VALUES (NEW.queue_id, NEW.state, 1)
            ON CONFLICT (queue_id, state) DO UPDATE SET jobs = jobs + 1;
    END
    """,
)


def make_id(letter: str, length: int) -> str:
    """Return a new id: a letter, and hexadecimal digits."""
    return letter + secrets.token_hex(length // 2)[: length - 1]


class JobFailedError(Exception):
    """The job or batch job ends ``Failed`` with this ``Code`` and ``Message``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One row: times in Unix seconds, ``number`` the order of creation.

    :param request: the document ``Request``, with one ``Operation`` and a template's parameters filled in.
    :param result: the document ``Operation`` with the result's elements.
    :param queue_type: from the request, or else its queue's category; without effect.
    :param batch_id: the batch job that made it.
    :param result_keys: the object keys of the result files, a list in JSON.
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
    queue_type: str | None
    batch_id: str | None
    result_keys: str | None

    def describe(
        self,
        observed: ObservedBehaviour = ASSUMED,
        *,
        progress: int | None = None,
        in_list: bool = False,
    ) -> Element:
        """Return the job as the service describes it (460/84765).

        :param progress: replaces the stored progress.
        """
        request = parse(self.request)
        job_input = request.find("Input")
        if job_input is not None:
            append(job_input, {"BucketId": self.bucket, "Region": self.region})
        if observed.progress == "absent":
            shown_progress = None
        else:
            shown_progress = self.progress if progress is None else progress
        operation = self._describe_operation(request.find("Operation"))
        if not (observed.user_data_in_list if in_list else observed.user_data_in_description):
            remove(operation, "UserData")
        detail = {
            "Code": self.code,
            "Message": self.message,
            "JobId": self.id,
            "State": self.state,
            "Progress": shown_progress,
            "CreationTime": service_time(self.created),
            "StartTime": service_time(self.started) or "-",
            "EndTime": service_time(self.ended) or "-",
            "QueueId": self.queue_id,
            "QueueType": self.queue_type,
            "Tag": self.tag,
            "Input": job_input,
            "Operation": operation,
        }
        return build("JobsDetail", detail)

    def as_listed(self, seen: float) -> StoredJob:
        """Return the job as a list shows it that has not seen any end after this time."""
        if self.ended is None or self.ended <= seen:
            return self
        state, progress = SUBMITTED if self.started is None else RUNNING, min(self.progress, 99)
        return replace(
            self, state=state, progress=progress, ended=None, code="Success", message="", result=None
        )

    def _describe_operation(self, operation: Element | None) -> Element:
        if operation is None:
            operation = build("Operation")
        if text_of(operation, "TemplateId") is not None:
            remove(operation, *template_elements(self.tag))
        if self.result is not None:
            result = parse(self.result)
            remove(operation, *(str(child.tag) for child in result))  # some results are in parameters
            operation.extend(result)
        if text_of(operation, "JobLevel") is None:
            append(operation, {"JobLevel": 0})
        return operation


def listed_state(seen: float) -> str:
    """Return, as an expression in SQL, the state that :meth:`StoredJob.as_listed` has."""
    unseen = f"CASE WHEN started IS NULL THEN '{SUBMITTED}' ELSE '{RUNNING}' END"
    return f"CASE WHEN ended > {seen!r} THEN {unseen} ELSE state END ="


class JobStore:
    """Jobs by id. Safe to use from several threads; every change is committed when the method returns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(_SCHEMA)
        self._add_missing_column()
        self._count_jobs()

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
        id_length: int = 33,
    ) -> StoredJob:
        """Store a new job, ``Submitted`` or ``Pause``, and return it.

        :raises sqlite3.IntegrityError: the batch job has a job for this input already.
        """
        job_id = make_id(job_type(text_of(request, "Tag")).id_letter, id_length)
        row = {
            "id": job_id,
            "bucket": bucket,
            "region": region,
            "tag": text_of(request, "Tag"),
            "queue_id": queue_id,
            "level": int(text_of(request, "Operation/JobLevel") or 0),
            "input_object": text_of(request, "Input/Object") or "",
            "state": state,
            "created": created,
            "request": to_bytes(request),
            "queue_type": queue_type,
            "batch_id": batch_id,
        }
        self._database.insert("jobs", row)
        return self.get(job_id)

    def get(self, job_id: str) -> StoredJob:
        """Return one job.

        :raises KeyError: no such job.
        """
        job = self._database.first(StoredJob, "jobs", {"id": job_id})
        if job is None:
            raise KeyError(job_id)
        return job

    def has_tag(self, bucket: str, tag: str) -> bool:
        """Return whether a bucket has jobs of a tag."""
        return self._database.first(StoredJob, "jobs", {"bucket": bucket, "tag": tag}) is not None

    def list_unfinished(self) -> list[StoredJob]:
        """Return the jobs that have not ended, oldest first."""
        return self._database.select(StoredJob, "jobs", {"state": UNFINISHED}, order="number")

    def count_waiting(self, queue_id: str) -> int:
        """Return how many jobs of a queue have not begun."""
        return sum(count for state, count in self.counts(queue_id).items() if state in WAITING)

    def counts(self, queue_id: str) -> dict[str, int]:
        """Return how many jobs of a queue are in each state, without states that none is in."""
        query = "SELECT state, jobs FROM job_counts WHERE queue_id = ? AND jobs > 0"
        return {row["state"]: row["jobs"] for row in self._database.rows(query, (queue_id,))}

    def hold(self, queue_id: str, paused: bool) -> None:
        """Put the waiting jobs of a queue into state ``Pause``, or back into ``Submitted``."""
        before, after = (SUBMITTED, PAUSE) if paused else (PAUSE, SUBMITTED)
        self._database.update("jobs", {"state": after}, {"queue_id": queue_id, "state": before})

    def inputs_of_batch(self, batch_id: str) -> set[str]:
        """Return the input keys that a batch job has made jobs for."""
        rows = self._database.rows("SELECT input_object FROM jobs WHERE batch_id = ?", (batch_id,))
        return {row["input_object"] for row in rows}

    def count_of_batch(self, batch_id: str, *, unfinished: bool = False) -> int:
        """Return how many jobs a batch job has made, or how many of them have not ended."""
        where = {"batch_id": batch_id, "state": UNFINISHED if unfinished else None}
        return self._database.count("jobs", where)

    def cancel_batch(self, batch_id: str, ended: float) -> None:
        """Cancel the jobs of a batch job that have not begun."""
        changes = {"state": CANCEL, "ended": ended}
        self._database.update("jobs", changes, {"batch_id": batch_id, "state": WAITING})

    def start(self, job_id: str, started: float) -> bool:
        """Change to ``Running``; return whether that was possible: it is not if the job is cancelled or held.

        A job that was running when the emulator was stopped keeps its first start time.
        """
        with self._database.transaction():
            changes = {"state": RUNNING, "progress": 0}
            if not self._database.update("jobs", changes, {"id": job_id, "state": (SUBMITTED, RUNNING)}):
                return False
            self._database.execute(
                "UPDATE jobs SET started = COALESCE(started, ?) WHERE id = ?", (started, job_id)
            )
            return True

    def set_progress(self, job_id: str, percent: int) -> None:
        """Set the progress of a running job, 0 to 99."""
        self._change_running(job_id, progress=min(percent, 99))

    def succeed(
        self, job_id: str, ended: float, result: bytes, message: str = "", keys: Collection[str] = ()
    ) -> None:
        """Change from ``Running`` to ``Success`` with the result, a document ``Operation``.

        :param keys: of the result files.
        """
        changes = {"ended": ended, "progress": 100, "result": result, "message": message}
        self._change_running(job_id, state=SUCCESS, result_keys=json.dumps([*keys]), **changes)

    def fail(self, job_id: str, ended: float, code: str, message: str) -> None:
        """Change from ``Running`` to ``Failed``."""
        self._change_running(job_id, state=FAILED, ended=ended, code=code, message=message)

    def cancel(
        self, bucket: str, job_ids: Collection[str], ended: float, states: Collection[str] = WAITING
    ) -> list[str]:
        """Cancel jobs of a bucket; return the ids of those that are in other states or do not exist.

        If there is any such, none is cancelled.

        :param states: of jobs that can be cancelled: those that have not begun.
        """
        with self._database.transaction():
            where = {"bucket": bucket, "id": tuple(job_ids), "state": tuple(states)}
            waiting = {job.id for job in self._database.select(StoredJob, "jobs", where)}
            refused = [job_id for job_id in job_ids if job_id not in waiting]
            if not refused:
                self._database.update("jobs", {"state": CANCEL, "ended": ended}, where)
            return refused

    def _add_missing_column(self) -> None:
        """Add the column that the folder of an earlier version lacks."""
        columns = [row["name"] for row in self._database.rows("PRAGMA table_info(jobs)")]
        if "result_keys" not in columns:
            self._database.execute("ALTER TABLE jobs ADD COLUMN result_keys TEXT")

    def _count_jobs(self) -> None:
        """Count all jobs once, those of an earlier version's folder too; then each change is counted."""
        with self._database.transaction():
            self._database.execute("DELETE FROM job_counts")
            self._database.execute(
                "INSERT INTO job_counts SELECT queue_id, state, COUNT(*) FROM jobs GROUP BY queue_id, state"
            )
            for trigger in _COUNTING:
                self._database.execute(trigger)

    def _change_running(self, job_id: str, **changes: object) -> None:
        self._database.update("jobs", changes, {"id": job_id, "state": RUNNING})
