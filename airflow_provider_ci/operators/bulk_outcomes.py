"""What became of each item of a bulk task, as its manifest says it. No Airflow and no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_ci.exceptions import strip_signatures
from airflow_provider_ci.hooks.result_files import files_of
from airflow_provider_ci.protocol.errors import is_lasting_failure
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, SUCCESS, Job, JobState
from airflow_provider_ci.protocol.results import BulkFailure, job_result, result_failure

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.manifest import ManifestLine
    from airflow_provider_ci.operators.bulk_items import BulkItems
    from airflow_provider_ci.submission.bulk_jobs import BulkJobs

#: Failed items in an error, a log and an XCom, at most.
FAILURES_MAX = 20
_MESSAGE_MAX = 300  # characters of a reason there; the manifest has all
_PENDING, _SUCCEEDED, _FAILED = range(3)
_NO_TIMES: dict[str, None] = dict.fromkeys(("creation_time", "start_time", "end_time"))


class BulkOutcomes:
    """The lines of a manifest, in the order of the items, while they are being completed.

    An item is pending until its job has been seen to end, failed if it has no job or one that ended without
    success. Of each item the line is held as JSON, which takes a third of the memory.
    """

    def __init__(self, lines: Iterable[ManifestLine]) -> None:
        self._lines: list[bytes] = []
        self._outcomes = bytearray()
        self._index_of_job: dict[str, int] = {}
        #: The deepest folder that holds all results that are known; ``None``: there are none.
        self.results_folder: tuple[str, str, str] | None = None
        for line in lines:
            self._append(line)

    @classmethod
    def of_jobs(cls, items: BulkItems, jobs: BulkJobs) -> BulkOutcomes:
        """Return the outcomes as they are known after the submission."""
        return cls(_line_of(items, jobs, index) for index in range(len(items)))

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def succeeded(self) -> int:
        """How many items have a successful job."""
        return self._outcomes.count(_SUCCEEDED)

    @property
    def failed(self) -> int:
        """How many items have no job, or one that ended without success."""
        return self._outcomes.count(_FAILED)

    @property
    def pending_ids(self) -> list[str]:
        """The jobs that have not been seen to end, in the order of the items."""
        return list(self._index_of_job)

    @property
    def pending(self) -> int:
        """How many jobs have not been seen to end."""
        return len(self._index_of_job)

    def is_pending(self, job_id: str | None) -> bool:
        """Tell whether a job is one of the task's that has not been seen to end."""
        return job_id in self._index_of_job

    def update(self, job: Job) -> bool:
        """Complete the line of a job's item. Return whether it is a job of the task that was pending."""
        index = self._index_of_job.get(str(job.job_id))
        if index is None:
            return False
        line = self._line(index)
        _describe(line, job)
        self._lines[index] = _encode(line)
        if job.job_state.is_terminal:
            del self._index_of_job[str(job.job_id)]
            self._outcomes[index] = _outcome_of(line)
            self._note_files(line)
        return True

    def note_lost(self, job_id: str, message: str) -> None:
        """Count a job as failed that the service no longer finds."""
        index = self._index_of_job.pop(job_id)
        line = self._line(index)
        line["state"], line["message"] = None, message
        self._lines[index] = _encode(line)
        self._outcomes[index] = _FAILED

    def lines(self) -> Iterator[ManifestLine]:
        """Yield the lines of the manifest."""
        return map(self._line, range(len(self)))

    def failures(self, limit: int = FAILURES_MAX) -> list[BulkFailure]:
        """Return the first failed items and the reasons."""
        return [_failure_of(line) for line in islice(self._failed_lines(), limit)]

    def failed_names(self, limit: int = FAILURES_MAX) -> list[str]:
        """Return how a message names the first failed items: by the keys of their inputs or their numbers,
        and with their reasons.
        """
        indexes = islice(self._failed_indexes(), limit)
        return [describe_failure(index, _failure_of(self._line(index))) for index in indexes]

    def has_only_cancelled_failures(self) -> bool:
        """Tell whether all failed items have a cancelled job."""
        return all(line["state"] == CANCEL for line in self._failed_lines())

    def has_only_final_failures(self) -> bool:
        """Tell whether all failed items have a job that was cancelled, or that would fail again."""
        return all(
            line["state"] == CANCEL
            or (line["state"] == FAILED and is_lasting_failure(line["code"], line["message"]))
            for line in self._failed_lines()
        )

    def _failed_indexes(self) -> Iterator[int]:
        return (index for index, outcome in enumerate(self._outcomes) if outcome == _FAILED)

    def _failed_lines(self) -> Iterator[ManifestLine]:
        return map(self._line, self._failed_indexes())

    def _append(self, line: ManifestLine) -> None:
        job_id = line["job_id"]
        # the results of a job that has been found, and not described, are not known yet
        is_described = JobState(line["state"] or "").is_terminal and line["end_time"] is not None
        if job_id is None or is_described:
            self._outcomes.append(_outcome_of(line))
            self._note_files(line)
        else:
            self._outcomes.append(_PENDING)
            self._index_of_job[job_id] = len(self._lines)
        self._lines.append(_encode(line))

    def _line(self, index: int) -> ManifestLine:
        line: ManifestLine = json.loads(self._lines[index])
        return line

    def _note_files(self, line: ManifestLine) -> None:
        for file in line["outputs"].values():
            self.results_folder = _common_folder(self.results_folder, file)


class _Stored(Protocol):
    def __getitem__(self, name: str, /) -> Any: ...


def _common_folder(known: tuple[str, str, str] | None, file: _Stored) -> tuple[str, str, str] | None:
    """Return bucket, region and the deepest folder that holds a file and all before it. Of files in several
    buckets only those in the first one count.
    """
    bucket, region, folder = file["bucket"], file["region"], str(file["object"]).rpartition("/")[0]
    if not bucket or not region:
        return known
    if known is None:
        return bucket, region, folder
    if known[0] != bucket:
        return known
    while known[2] and f"{folder}/".startswith(f"{known[2]}/") is False:
        known = (*known[:2], known[2].rpartition("/")[0])
    return known


def _line_of(items: BulkItems, jobs: BulkJobs, index: int) -> ManifestLine:
    refusal = jobs.refusals.get(index)
    item: Any = items.item(index)
    return {
        "item": item,
        "input_object": items.input_object(index),
        "job_id": jobs.job_ids[index],
        "state": jobs.states[index],
        "outputs": {},
        "creation_time": None,
        "start_time": None,
        "end_time": None,
        "code": refusal.code if refusal else None,
        "message": refusal.message if refusal else None,
    }


def _describe(line: ManifestLine, job: Job) -> None:
    """Write into a line what the service says of its job."""
    result = job_result(job)
    line["state"] = result["state"]
    line["outputs"] = files_of(result)
    line["creation_time"] = result["creation_time"]
    line["start_time"] = result["start_time"]
    line["end_time"] = result["end_time"]
    failure = result_failure(job)
    line["code"] = result["code"]
    line["message"] = failure or result["message"]


def _outcome_of(line: ManifestLine) -> int:
    # a successful job with a message reports a failure in its result
    return _SUCCEEDED if line["state"] == SUCCESS and line["message"] is None else _FAILED


def _failure_of(line: ManifestLine) -> BulkFailure:
    message = line["message"]
    return {
        "input_object": line["input_object"],
        "job_id": line["job_id"],
        "state": line["state"],
        "code": line["code"],
        "message": strip_signatures(message)[:_MESSAGE_MAX] if message else None,
    }


def describe_failure(index: int, failure: BulkFailure) -> str:
    """Return a failed item and the reason, for a message."""
    name = failure["input_object"] or f"item {index + 1}"
    reason = ": ".join(part for part in (failure["code"], failure["message"]) if part)
    shown = f" ({reason})" if reason else ""
    if failure["job_id"] is None:
        return f"{name} has no job{shown}"
    return f"job {failure['job_id']} of {name} ended {failure['state'] or 'in an unknown state'}{shown}"


def _encode(line: ManifestLine) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
