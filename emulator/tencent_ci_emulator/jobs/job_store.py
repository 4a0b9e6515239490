"""Jobs in the database: what was asked, how far it is, what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import ListQuery
from tencent_ci_emulator.http.xml import Element, append, build, parse, service_time, text_of, to_bytes
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
#: What an operation shows besides its parameters, which a template hides
_BESIDES_PARAMETERS = ("TemplateId", "TemplateName", "Output", "UserData", "JobLevel")


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
    queue_type: str | None
    batch_id: str | None

    def describe(self, progress: int | None = None) -> Element:
        """Return the job as the service describes it (460/84765).

        :param progress: what to show in place of the stored progress.
        """
        request = parse(self.request)
        given, operation = request.find("Input"), request.find("Operation")
        if given is not None:
            append(given, {"BucketId": self.bucket, "Region": self.region})
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
            "Input": given,
            "Operation": self._describe(build("Operation") if operation is None else operation),
        }
        return build("JobsDetail", detail)

    def _describe(self, operation: Element) -> Element:
        if operation.find("TemplateId") is not None:
            for child in [child for child in operation if child.tag not in _BESIDES_PARAMETERS]:
                operation.remove(child)
        if self.result is not None:
            operation.extend(parse(self.result))
        if text_of(operation, "JobLevel") is None:
            append(operation, {"JobLevel": 0})
        return operation


class JobStore:
    """Jobs by id. Safe to use from several threads; every change is committed when the method returns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(_SCHEMA)

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

    def find(self, bucket: str, job_ids: Sequence[str]) -> dict[str, StoredJob]:
        """Return those of the jobs that the bucket has, in the order asked for."""
        jobs = self._database.select(StoredJob, "jobs", {"bucket": bucket, "id": tuple(job_ids)})
        found = {job.id: job for job in jobs}
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def page(self, bucket: str, query: ListQuery) -> tuple[list[StoredJob], str | None]:
        """Return a page of jobs and the token of the next page, ``None`` on the last.

        :raises BadPageTokenError: the token is not one of these.
        """
        where = {"bucket": bucket, **query.where}
        return self._database.page(
            StoredJob, "jobs", where, ascending=query.ascending, size=query.size, token=query.token
        )

    def has_tag(self, bucket: str, tag: str) -> bool:
        """Return whether a bucket has jobs of a tag."""
        return self._database.first(StoredJob, "jobs", {"bucket": bucket, "tag": tag}) is not None

    def unfinished(self) -> list[StoredJob]:
        """Return the jobs that a restart has to take up again, oldest first."""
        return self._database.select(StoredJob, "jobs", {"state": UNFINISHED}, order="number")

    def count_waiting(self, queue_id: str) -> int:
        """Return how many jobs of a queue have not begun."""
        return self._database.count("jobs", {"queue_id": queue_id, "state": WAITING})

    def hold(self, queue_id: str, paused: bool) -> None:
        """Put the waiting jobs of a queue into state ``Pause``, or back into ``Submitted``."""
        before, after = (SUBMITTED, PAUSE) if paused else (PAUSE, SUBMITTED)
        self._database.update("jobs", {"state": after}, {"queue_id": queue_id, "state": before})

    def inputs_of_batch(self, batch_id: str) -> set[str]:
        """Return the input keys that a batch job has made jobs for."""
        jobs = self._database.rows("SELECT input_object FROM jobs WHERE batch_id = ?", (batch_id,))
        return {job["input_object"] for job in jobs}

    def batch_has_ended(self, batch_id: str) -> bool:
        """Return whether no job of a batch job waits or runs."""
        return not self._database.count("jobs", {"batch_id": batch_id, "state": UNFINISHED})

    def progress_of_batch(self, batch_id: str) -> int:
        """Return how many per cent of the jobs that a batch job has made so far have ended."""
        made = self._database.count("jobs", {"batch_id": batch_id})
        unfinished = self._database.count("jobs", {"batch_id": batch_id, "state": UNFINISHED})
        return int(100 * (made - unfinished) / made) if made else 0

    def cancel_batch(self, batch_id: str, ended: float) -> None:
        """Cancel the jobs of a batch job that have not begun."""
        changes = {"state": CANCEL, "ended": ended}
        self._database.update("jobs", changes, {"batch_id": batch_id, "state": WAITING})

    def start(self, job_id: str, started: float) -> bool:
        """Go to ``Running``; return whether that was possible (it is not once the job was cancelled).

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
        """Note how far a running job is, 0 to 99."""
        self._change_running(job_id, progress=min(percent, 99))

    def succeed(self, job_id: str, ended: float, result: bytes) -> None:
        """Go from ``Running`` to ``Success`` with what came of the job, a document ``Operation``."""
        self._change_running(job_id, state=SUCCESS, ended=ended, progress=100, result=result)

    def fail(self, job_id: str, ended: float, code: str, message: str) -> None:
        """Go from ``Running`` to ``Failed``."""
        self._change_running(job_id, state=FAILED, ended=ended, code=code, message=message)

    def cancel(self, bucket: str, job_ids: Collection[str], ended: float) -> list[str]:
        """Cancel the jobs that have not begun and return those, of this bucket, that have (or are unknown).

        If there is any such, none is cancelled.
        """
        with self._database.transaction():
            found = self.find(bucket, list(job_ids))
            refused = [one for one in job_ids if one not in found or found[one].state not in WAITING]
            if not refused:
                self._database.update("jobs", {"state": CANCEL, "ended": ended}, {"id": tuple(job_ids)})
            return refused

    def _change_running(self, job_id: str, **changes: object) -> None:
        self._database.update("jobs", changes, {"id": job_id, "state": RUNNING})
