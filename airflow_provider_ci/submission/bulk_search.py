"""Finds the jobs of many items in the job list. No Airflow and no I/O of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from airflow_provider_ci.protocol.jobs import Job, JobState
from airflow_provider_ci.protocol.results import result_failure
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.submission.bulk_jobs import BulkJobApi, BulkRequests
from airflow_provider_ci.submission.idempotency_key import ParsedKey, is_job_of, key_of_job
from airflow_provider_ci.submission.job_list import CLOCK_SKEW, CopiedJobs, JobList, pauses_between_looks
from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD, Log, would_fail_again

# Jobs that are described, and kept in memory, at once
_JOBS_AT_ONCE = 100


class FoundJob(NamedTuple):
    """What is kept of a job. ``key`` is ``None`` if the service does not return ``UserData``.
    ``reports_failure``: it ended ``Success``, but its result says that it failed. ``would_fail_again``: as
    :func:`~.tracking.would_fail_again` says.
    """

    job_id: str
    state: JobState
    creation_time: datetime | None
    end_time: datetime | None
    key: ParsedKey | None
    reports_failure: bool
    would_fail_again: bool

    @classmethod
    def of_job(cls, job: Job, key: ParsedKey | None) -> FoundJob:
        """Return what is kept of a job."""
        return cls(
            str(job.job_id),
            job.job_state,
            job.creation_time,
            job.end_time,
            key,
            reports_failure=result_failure(job) is not None,
            would_fail_again=would_fail_again(job),
        )


#: The jobs of each item, the oldest first.
FoundJobs = Mapping[int, Sequence[FoundJob]]


@dataclass(kw_only=True)
class BulkSearch:
    """Finds the jobs of many items: the list is read once for all of them, and not kept.

    :param index_of: the numbers of the items, by their fingerprints.
    :param tag: the type of all jobs.
    :param task_instance: :attr:`~airflow_provider_ci.submission.idempotency_key.TaskIdentity.digest`.
    """

    job_api: BulkJobApi
    job_list: JobList[Job]
    requests: BulkRequests
    index_of: Mapping[str, int]
    tag: str
    task_instance: str
    log: Log
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    #: The jobs of this task instance that have not begun and that no item asks for.
    waiting_for_nobody: set[str] = field(default_factory=set, init=False)
    # The items of the jobs whose UserData the list leaves out, and their keys; None: no item's
    _described: dict[str, tuple[int | None, ParsedKey | None]] = field(default_factory=dict, init=False)
    # The items that are looked for, by their inputs; empty until the list leaves out UserData
    _items_by_input: Mapping[str | None, Sequence[int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._copied_jobs = CopiedJobs(self.task_instance, self.log)

    @property
    def request(self) -> Tree:
        """The request that stands for all items in the calls about the list."""
        return {"Tag": self.tag}

    def read(
        self, since: float, wanted: Collection[int], known_ids: Mapping[str, int] | None = None
    ) -> FoundJobs | None:
        """Return the listed jobs of the items ``wanted``. ``None``: the list cannot show them, and the user
        accepts the risk of a second job.

        :param since: the Unix time, by the service's clock, at which the first of them was submitted.
        :param known_ids: the items of jobs that are theirs, whatever the list says of them.
        :raises AmbiguousSubmissionError: the list cannot show them, and the user does not accept the risk.
        """
        found: defaultdict[int, list[FoundJob]] = defaultdict(list)
        self._items_by_input = {}

        def collect(jobs: Iterable[Job]) -> FoundJobs:
            for index, job in self._jobs_of_items(jobs, wanted, known_ids or {}):
                found[index].append(job)
            return {
                index: self._copied_jobs.leave_out(own, lambda job: job.key) for index, own in found.items()
            }

        return self.job_list.read(self.request, since - CLOCK_SKEW, collect)

    def describe(self, known_ids: Mapping[str, int]) -> FoundJobs:
        """Return the items' jobs as they are now. Those that the service does not find are looked for again
        until :data:`~airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD` is over.
        """
        found: defaultdict[int, list[FoundJob]] = defaultdict(list)
        missing, end = dict(known_ids), None
        for pause in pauses_between_looks():
            for job in self._describe_some(list(missing)):
                described = FoundJob.of_job(job, key_of_job(job))
                # it is the item's in any case; this notes its nonce
                self._copied_jobs.leave_out([described], lambda job: job.key)
                found[missing.pop(described.job_id)].append(described)
            if not missing:
                return found
            if end is None:  # only now, because the first response may have corrected the clock
                end = self.clock() + NOT_FOUND_GRACE_PERIOD
                self._log_missing(missing)
            if self.clock() + pause > end:
                self.log.warning(
                    "The service no longer finds %d jobs of earlier tries, looking in the list", len(missing)
                )
                return found
            self.sleep(pause)
        raise AssertionError("pauses never end")

    def _log_missing(self, missing: Mapping[str, int]) -> None:
        self.log.warning(
            "The service does not find %d jobs of earlier tries, for instance %s; looking again for %.0f s",
            len(missing),
            next(iter(missing)),
            NOT_FOUND_GRACE_PERIOD,
        )

    def _describe_some(self, job_ids: Sequence[str]) -> Iterator[Job]:
        """Yield those of the jobs that the service finds."""
        asked = set(job_ids)
        for start in range(0, len(job_ids), _JOBS_AT_ONCE):
            described = self.job_api.describe_many(job_ids[start : start + _JOBS_AT_ONCE])
            # a response that has a job twice, or another one, must not stop the task
            yield from {job.job_id: job for job in described if job.job_id in asked}.values()

    def _jobs_of_items(
        self, jobs: Iterable[Job], wanted: Collection[int], known_ids: Mapping[str, int]
    ) -> Iterator[tuple[int, FoundJob]]:
        without_user_data = []
        for job in jobs:
            index, key = known_ids.get(str(job.job_id)), key_of_job(job)
            if index is None and job.user_data is None:
                without_user_data.append(job)
            elif index is None and key is not None:
                index = self._item_of(job, key)
            if index is not None and index in wanted:
                yield index, FoundJob.of_job(job, key)
            if len(without_user_data) == _JOBS_AT_ONCE:
                yield from self._jobs_by_description(without_user_data, wanted)
                without_user_data = []
        yield from self._jobs_by_description(without_user_data, wanted)

    def _item_of(self, job: Job, key: ParsedKey) -> int | None:
        """Return the item for which this task instance submitted a job; ``None``: another task instance
        submitted it, or no item asks for it any more.
        """
        if key.task_instance != self.task_instance:
            return None
        index = self.index_of.get(key.request)
        if index is None and job.may_be_cancelled:
            self.waiting_for_nobody.add(str(job.job_id))
        return index

    def _jobs_by_description(
        self, jobs: Sequence[Job], wanted: Collection[int]
    ) -> Iterator[tuple[int, FoundJob]]:
        """Yield the items' jobs among those whose ``UserData`` the list leaves out."""
        if not jobs:
            return
        self._describe_new(jobs, wanted)
        for job in jobs:
            index, key = self._described.get(str(job.job_id), (None, None))
            if index is not None and index in wanted:
                yield index, FoundJob.of_job(job, key)

    def _describe_new(self, jobs: Sequence[Job], wanted: Collection[int]) -> None:
        """Find out whose jobs those are that may be an item's."""
        if not self._items_by_input:
            self._items_by_input = self._group_by_input(wanted)
        new = {
            str(job.job_id): job
            for job in jobs
            if job.job_id not in self._described and _input_of(job) in self._items_by_input
        }
        self.job_list.undescribed_ids.update(new)
        for job in self._describe_some(list(new)):
            job_id = str(job.job_id)
            self.job_list.undescribed_ids.discard(job_id)
            candidates = self._items_by_input[_input_of(new[job_id])]
            self._described[job_id] = self._item_of_described(job, candidates)

    def _group_by_input(self, items: Iterable[int]) -> Mapping[str | None, Sequence[int]]:
        by_input: defaultdict[str | None, list[int]] = defaultdict(list)
        for index in items:
            by_input[self.requests.input_object(index)].append(index)
        return by_input

    def _item_of_described(self, job: Job, candidates: Iterable[int]) -> tuple[int | None, ParsedKey | None]:
        """Return the item of a job, and the job's key.

        :param candidates: the items that have the job's input.
        """
        key = key_of_job(job)
        if key is not None:
            return self._item_of(job, key), key
        if job.user_data is not None:
            return None, None
        matching = (index for index in candidates if is_job_of(job, self.requests.request(index)))
        return next(matching, None), None


def _input_of(job: Job) -> str | None:
    """Return the key of a job's input. Some responses in the documents put a slash before it."""
    return job.input_object.removeprefix("/") if job.input_object else None
