"""One paid job for each of many items, whatever dies and whichever response is lost.

It is as for one job (:mod:`.durable_submission`), with these differences:

- an item is identified by the digest of its request in the idempotency key;
- submissions are recorded in chunks (:mod:`.bulk_records`, :mod:`.bulk_sender`);
- the job list is read once for all items whose submission is in doubt (:mod:`.bulk_search`);
- the other items are submitted before it is certain what became of those in doubt.

No Airflow and no I/O of its own: calls, store, clocks and sleep are arguments.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    JobError,
    RequestValidationError,
    TencentCIError,
)
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED
from airflow_provider_ci.submission.active_jobs import ActiveJobs
from airflow_provider_ci.submission.bulk_jobs import BulkJobApi, BulkJobs, BulkRequests, Refusal
from airflow_provider_ci.submission.bulk_records import CHUNK_SIZE, BulkRecords, ChunkRecord
from airflow_provider_ci.submission.bulk_search import BulkSearch, FoundJob, FoundJobs
from airflow_provider_ci.submission.bulk_sender import BulkSender, UnknownSubmission
from airflow_provider_ci.submission.concurrent_calls import ConcurrentCalls
from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY, SUBMISSION_VALIDITY
from airflow_provider_ci.submission.idempotency_key import TaskIdentity
from airflow_provider_ci.submission.job_list import JobList, created_at, last_arrival_of
from airflow_provider_ci.submission.pace import Pace
from airflow_provider_ci.submission.record import is_effect_of_cancel_request
from airflow_provider_ci.submission.tracking import Log

_SUBMISSIONS_PER_TRY = 3
# Jobs that are logged one by one
_JOBS_LOGGED = 20


class _RecordedJob(NamedTuple):
    """A job that an earlier try recorded.

    :param item: the number of its item.
    :param max_tries: the highest of the tries that recorded it.
    """

    item: int
    max_tries: int
    since: float


@dataclass(kw_only=True)
class BulkSubmission:
    """Gets one job for each of many items: an earlier try's, or a new one.

    What is known of an item decides:

    ==========================================  =====================================================
    there is                                    then
    ==========================================  =====================================================
    no job, and nothing in doubt                submit
    a chunk without the item's job id           search the job list; submit if it certainly has no job
    no record at all, perhaps an earlier try    likewise, for all items
    a job that has not ended                    it is the item's job
    a job that ended ``Success``                likewise, unless the task was cleared since and
                                                ``only_failed`` is ``False`` or its result reports a
                                                failure
    a job that ended ``Failed``                 the item has failed if the same job would fail again, and
                                                was submitted since the last clear; otherwise submit
    a job that ended ``Cancel``                 the item has failed if somebody else cancelled it since
                                                the last clear; otherwise submit
    ==========================================  =====================================================

    The response to a submission decides in the same way:

    ==========================================  =====================================================
    response                                    then
    ==========================================  =====================================================
    the job                                     record its id
    unknown: timeout, 5xx, unreadable           search the job list; submit again if it certainly has
                                                no job, three times at most
    throttled, queue full, no connection        pause all submissions, and submit again
    expired                                     submit again in another chunk
    refused for this item                       the item has failed
    refused for all, or the first 20 refused    raise the error
    ==========================================  =====================================================

    :param tag: the type of all jobs.
    :param cancel: cancels jobs that no item asks for any more and that have not begun; ``None``: they are not
        cancelled.
    :param before_submission: called once with the numbers of the items that have no job, before the first of
        them is submitted, and only if there is one; may refuse them.
    :param refuse_if_overtaken: called before each chunk of submissions if there is no store: asks Airflow,
        and raises if this try no longer owns the task.
    :param raise_if_killed: raises :class:`~airflow_provider_ci.exceptions.TaskKilledError` if the task was
        killed.
    :param who_waits: who waits for the jobs: ``worker`` or ``triggerer``.
    :param may_have_submitted: an earlier try may have submitted without leaving a record.
    :param clear_discards_record: clearing the task empties the store (Airflow 3.4 or newer), so submissions
        may be in flight although there is no record of them.
    :param only_failed: jobs from before a clear count as well, if they did not end ``Failed`` or ``Cancel``;
        otherwise only those that have not ended.
    :param max_submissions_per_second: the highest rate. Throttling halves it for a while.
    :param max_active_jobs: how many of these jobs may be waiting or running at once.
    :param run_start: returns the Unix time, by the service's clock, before which no job can be this task's.
    :param resubmit_if_unknown: submit again if listing jobs is not permitted, or the list may not show this
        type of job, at the risk of a second job.
    :param on_progress: called at least each second while jobs are submitted.
    :param clock: returns the Unix time by the service's clock, as far as it is known.
    :param monotonic: returns the seconds of a clock that nobody sets.
    """

    job_api: BulkJobApi
    tag: str
    cancel: Callable[[Sequence[str]], None] | None = None
    before_submission: Callable[[Sequence[int]], None]
    records: BulkRecords
    refuse_if_overtaken: Callable[[], None]
    raise_if_killed: Callable[[], None]
    identity: TaskIdentity
    who_waits: str
    may_have_submitted: bool
    clear_discards_record: bool
    only_failed: bool
    max_submissions_per_second: float
    max_active_jobs: int
    run_start: Callable[[], float]
    resubmit_if_unknown: bool
    on_progress: Callable[[BulkJobs], None]
    log: Log
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    new_calls: Callable[[], ConcurrentCalls[Callable[[], None]]] = ConcurrentCalls
    #: What is known of the jobs, also when :meth:`get_or_submit` raises.
    jobs: BulkJobs = field(default_factory=lambda: BulkJobs.without_jobs(0), init=False)
    _index_of: dict[str, int] = field(default_factory=dict, init=False)
    # By job ids. An item may have several, of which all but one have failed
    _recorded: dict[str, _RecordedJob] = field(default_factory=dict, init=False)
    # Submissions in doubt, by their items
    _unknown: dict[int, UnknownSubmission] = field(default_factory=dict, init=False)
    # The Unix time of the first chunk; infinite: there is none
    _first_recorded: float = field(default=math.inf, init=False)
    # Some chunk has submissions that no item asks for
    _have_requests_changed: bool = field(default=False, init=False)
    # The items whose job was found, and that no chunk since the last clear has
    _unrecorded: list[int] = field(default_factory=list, init=False)
    _lost_responses: Counter[int] = field(default_factory=Counter, init=False)
    _cancel_requested_at: float | None = field(default=None, init=False)

    def find_jobs_of_earlier_tries(self, requests: BulkRequests) -> Sequence[int]:
        """Find the jobs of earlier tries, and return the items that have none so far. Submits nothing.

        :raises AmbiguousSubmissionError: it cannot be found out whether there are jobs.
        :raises StateStoreError: a record could not be read.
        :raises TaskKilledError: the task was killed, or a later try has begun.
        """
        self._begin(requests)
        self.records.take_over()
        self._load_records()
        self._find_known_and_unknown()
        self._cancel_jobs_for_nobody()
        return [index for index, job_id in enumerate(self.jobs.job_ids) if job_id is None]

    def get_or_submit(self, requests: BulkRequests) -> BulkJobs:
        """Return the jobs of all items, and submit those of which there are none. May cost money.

        An item for which the service certainly accepts no job is in ``refusals``.

        :raises AmbiguousSubmissionError: it cannot be found out whether there are jobs.
        :raises StateStoreError: a record could not be read or written; nothing was sent without one.
        :raises TaskKilledError: the task was killed, or a later try has begun.
        :raises TencentCIError: the service refuses all submissions.
        """
        missing = self.find_jobs_of_earlier_tries(requests)
        if missing:
            self.before_submission(missing)
        items = deque(index for index in missing if index not in self._unknown)
        if any(unknown.since is None for unknown in self._unknown.values()):
            # the records are complete only when it is known what was submitted without one
            items.extend(self._search_until_certain())
        sender = self._new_sender(requests)
        while items or self._unknown:
            if items:
                self._complete_records()
                sender.send(items)
            if self._unknown:
                items.extend(self._search_until_certain())
        self._complete_records()
        return self.jobs

    def _begin(self, requests: BulkRequests) -> None:
        self.jobs = BulkJobs.without_jobs(len(requests))
        self._index_of = {}
        for index in range(len(requests)):
            other = self._index_of.setdefault(requests.fingerprint(index), index)
            if other != index:
                raise RequestValidationError(
                    [f"{requests.name(other)} and {requests.name(index)} ask for the same job, allowed: once"]
                )
        self._job_list = JobList(
            job_api=self.job_api,
            resubmit_if_unknown=self.resubmit_if_unknown,
            list_consistency_delay=LIST_CONSISTENCY_DELAY,
            log=self.log,
            clock=self.clock,
            sleep=self.sleep,
        )
        self._search = BulkSearch(
            job_api=self.job_api,
            job_list=self._job_list,
            requests=requests,
            index_of=self._index_of,
            tag=self.tag,
            task_instance=self.identity.digest,
            log=self.log,
            clock=self.clock,
            sleep=self.sleep,
        )

    def _new_sender(self, requests: BulkRequests) -> BulkSender:
        active_jobs = ActiveJobs(
            job_api=self.job_api,
            tag=self.tag,
            task_instance=self.identity.digest,
            index_of=self._index_of,
            jobs=self.jobs,
            limit=self.max_active_jobs,
            log=self.log,
        )
        return BulkSender(
            job_api=self.job_api,
            requests=requests,
            jobs=self.jobs,
            unknown=self._unknown,
            records=self.records,
            identity=self.identity,
            who_waits=self.who_waits,
            active_jobs=active_jobs,
            pace=Pace(self.max_submissions_per_second, self.monotonic),
            refuse_if_overtaken=self.refuse_if_overtaken,
            raise_if_killed=self.raise_if_killed,
            look_for_lost=self._look_for_lost,
            on_progress=self.on_progress,
            new_calls=self.new_calls,
            log=self.log,
            clock=self.clock,
            monotonic=self.monotonic,
            sleep=self.sleep,
        )

    # Records

    def _load_records(self) -> None:
        self._recorded, self._unknown, self._unrecorded = {}, {}, []
        self._first_recorded, self._have_requests_changed = math.inf, False
        self._cancel_requested_at = self.records.cancel_requested_at()
        since_clear = self.identity.max_tries if self.clear_discards_record else None
        are_complete = self.records.are_complete(since_clear)
        for chunk in sorted(self.records.load(), key=lambda chunk: chunk.since):
            self._note_chunk(chunk)
        if are_complete or not self.may_have_submitted:
            return
        # With a store, a submission is recorded before it is sent: no record means that none is in flight
        may_be_in_flight = self.clear_discards_record or not self.records.has_store
        unrecorded = UnknownSubmission(None, may_be_in_flight=may_be_in_flight)
        recorded = {job.item for job in self._recorded.values()}
        for index in self._index_of.values():
            if index not in recorded:
                self._unknown.setdefault(index, unrecorded)

    def _note_chunk(self, chunk: ChunkRecord) -> None:
        """Note what a chunk says of its items. A later chunk has an item again only if it was certain then
        what became of the earlier submission.
        """
        self._first_recorded = min(self._first_recorded, chunk.since)
        unknown = UnknownSubmission(chunk.since)
        for fingerprint, job_id in zip(chunk.fingerprints, chunk.job_ids, strict=True):
            index = self._index_of.get(fingerprint)
            if index is None:
                self._have_requests_changed |= job_id != ""
                continue
            self._unknown.pop(index, None)
            if job_id is None:
                self._unknown[index] = unknown
            elif job_id:
                known = self._recorded.get(job_id)
                max_tries = chunk.max_tries if known is None else max(known.max_tries, chunk.max_tries)
                self._recorded[job_id] = _RecordedJob(index, max_tries, chunk.since)

    def _complete_records(self) -> None:
        """Record the jobs that were found, and that the records have all jobs now.

        :raises StateStoreError: they could not be written.
        :raises TaskKilledError: another try has begun.
        """
        for start in range(0, len(self._unrecorded), CHUNK_SIZE):
            self.records.save(self._chunk_of_found(self._unrecorded[start : start + CHUNK_SIZE]))
        self._unrecorded = []
        self.records.note_complete(self.identity)

    def _chunk_of_found(self, items: Sequence[int]) -> ChunkRecord:
        since = self.clock() if self.jobs.first_submission is None else self.jobs.first_submission
        fingerprints = [self._search.requests.fingerprint(index) for index in items]
        job_ids = [self.jobs.job_ids[index] for index in items]
        return ChunkRecord(self.identity.max_tries, since, fingerprints, job_ids)

    # Searches

    def _find_known_and_unknown(self) -> None:
        """Find the jobs of earlier tries, as far as they can be found at once."""
        if not (self._recorded or self._unknown or self._have_requests_changed):
            return
        found = self._read_list()
        self._note_found_jobs(found)
        listed = {job.job_id for jobs in found.values() for job in jobs}
        unlisted = {
            job_id: job.item
            for job_id, job in self._recorded.items()
            if job_id not in listed and self.jobs.job_ids[job.item] is None
        }
        self._note_found_jobs(self._search.describe(unlisted))

    def _read_list(self) -> FoundJobs:
        """Return the listed jobs of all items of which an earlier try has or may have submitted one."""
        known_ids = {job_id: job.item for job_id, job in self._recorded.items()}
        wanted = {*known_ids.values(), *self._unknown}
        since = min(self._start_of_unknown(), self._first_recorded)
        if self.clear_discards_record:  # copies are recognised by their originals, of which no record may be
            since = self.run_start()

        def read() -> FoundJobs | None:
            return self._search.read(since, wanted, known_ids)

        if self._unknown:
            found = self._job_list.search_until_certain(
                read, lambda found: found, self._search.request, self._last_arrival
            )
            if found is None:  # the user accepts the risk of second jobs
                self._unknown.clear()
            return found or {}
        if not self.job_api.is_list_documented(self._search.request):
            return {}
        try:
            return read() or {}
        except AmbiguousSubmissionError:  # listing is not permitted: they can be described
            return {}

    def _search_until_certain(self) -> list[int]:
        """Search for the jobs in doubt, and return the items that certainly have none."""

        def read() -> FoundJobs | None:
            return self._search.read(self._start_of_unknown(), self._unknown.keys())

        def select(found: FoundJobs) -> bool | None:
            self._note_found_jobs(found)
            return None if self._unknown else True

        self._job_list.search_until_certain(read, select, self._search.request, self._last_arrival)
        absent = [index for index in self._unknown if self._may_be_submitted_again(index)]
        self._unknown.clear()
        return absent

    def _look_for_lost(self, since: float) -> None:
        """Look once for the jobs of submissions without a response that were recorded since then."""
        lost = {
            index
            for index, unknown in self._unknown.items()
            if unknown.since is not None and unknown.since >= since
        }
        try:
            self._note_found_jobs(self._search.read(since, lost) or {})
        except JobError:  # the task was killed
            raise
        except TencentCIError as error:  # the last search finds them, or raises
            self.log.info("The job list could not be read: %s", error)

    def _start_of_unknown(self) -> float:
        """Return the Unix time since which submissions are in doubt. It may be corrected with the clock."""
        starts = {unknown.since for unknown in self._unknown.values()}
        return min((self.run_start() if since is None else since for since in starts), default=self.clock())

    def _last_arrival(self, now: float) -> float:
        """Return the Unix time until which the service may still accept a submission that is in doubt."""
        sent_at = (
            now if unknown.since is None else unknown.since
            for unknown in self._unknown.values()
            if unknown.may_be_in_flight
        )
        return max((last_arrival_of(time, SUBMISSION_VALIDITY, now) for time in sent_at), default=now)

    def _may_be_submitted_again(self, index: int) -> bool:
        """Tell whether an item that certainly has no job may be submitted again by this try."""
        error = self._unknown[index].error
        if error is None:
            return True
        self._lost_responses[index] += 1
        if self._lost_responses[index] < _SUBMISSIONS_PER_TRY:
            return True
        refusal = Refusal.from_error(error)
        hint = f"The service accepted none of {_SUBMISSIONS_PER_TRY} submissions. A retry submits it again"
        self.jobs.refusals[index] = Refusal(refusal.code, refusal.message, refusal.request_id, hint)
        return False

    # Jobs that were found

    def _note_found_jobs(self, found: FoundJobs) -> None:
        for index, jobs in found.items():
            job = self._choose(index, jobs)
            if job is not None:
                self._note_found_job(index, job)

    def _choose(self, index: int, jobs: Sequence[FoundJob]) -> FoundJob | None:
        """Return the job that counts for an item, if there is one.

        :param jobs: the item's jobs, the oldest first.
        """
        unknown = self._unknown.get(index)
        nonce = unknown.nonce if unknown else None
        if nonce is not None:
            sent = next((job for job in jobs if job.key is not None and job.key.nonce == nonce), None)
            if sent is not None:
                return sent
        counting = [job for job in jobs if self._counts(job)]
        if counting:
            return self._oldest_of_latest(counting)
        return next((job for job in jobs if self._is_final(job)), None)

    def _counts(self, job: FoundJob) -> bool:
        if job.state in (FAILED, CANCEL):
            return False
        was_cleared = self._max_tries_of(job) < self.identity.max_tries
        # the service charges for a job whose result reports a failure: only a clear asks for another
        counts_after_clear = not job.state.is_terminal or (self.only_failed and not job.reports_failure)
        return counts_after_clear or not was_cleared

    def _oldest_of_latest(self, jobs: Sequence[FoundJob]) -> FoundJob:
        """Return the first job that was submitted since the latest clear of which there is one."""
        latest = max(self._max_tries_of(job) for job in jobs)
        oldest, *others = [job for job in jobs if self._max_tries_of(job) == latest]
        if others:
            ids = ", ".join(job.job_id for job in others)
            self.log.error("Suspected duplicates of job %s, each billed: %s", oldest.job_id, ids)
            self.jobs.suspected_duplicates += len(others)
        return oldest

    def _is_final(self, job: FoundJob) -> bool:
        """Tell whether a job ended since the last clear in such a way that the item is not submitted again.
        It is unknown whose job it is that has no key, unless it is recorded.
        """
        if job.key is None and job.job_id not in self._recorded:
            return False
        if self._max_tries_of(job) != self.identity.max_tries:
            return False  # a clear also lowers it, if the DAG's retries were lowered
        return job.would_fail_again or self._was_cancelled_by_others(job)

    def _was_cancelled_by_others(self, job: FoundJob) -> bool:
        """Tell whether somebody else cancelled a job. Without a store that is unknown."""
        if job.state != CANCEL or not self.records.has_store:
            return False
        return not is_effect_of_cancel_request(job, self._cancel_requested_at)

    def _max_tries_of(self, job: FoundJob) -> int:
        """Return the number of the latest clear since which a job counts."""
        recorded = self._recorded.get(job.job_id)
        numbers = [recorded.max_tries] if recorded else []
        if job.key is not None:
            numbers.append(job.key.max_tries)
        return max(numbers, default=self.identity.max_tries)

    def _note_found_job(self, index: int, job: FoundJob) -> None:
        recorded = self._recorded.get(job.job_id)
        self.jobs.set_job(index, job.job_id, job.state)
        self._count_found_job(job, self._unknown.pop(index, None))
        # a job of before the last clear is recorded again: it counts since the clear, too, when it has ended
        if recorded is None or recorded.max_tries < self.identity.max_tries:
            self._unrecorded.append(index)
        if job.key is None and recorded is None:
            self.jobs.found_by_request.add(index)
        since = created_at(job, unknown=self.run_start()) if recorded is None else recorded.since
        first = self.jobs.first_submission
        self.jobs.first_submission = since if first is None else min(first, since)

    def _count_found_job(self, job: FoundJob, unknown: UnknownSubmission | None) -> None:
        if unknown is not None and unknown.nonce is not None:
            self.jobs.submitted += 1
        elif job.state not in (FAILED, CANCEL):
            self.jobs.reused += 1

    def _cancel_jobs_for_nobody(self) -> None:
        """Cancel the jobs that earlier tries submitted for requests that have changed."""
        job_ids = sorted(self._search.waiting_for_nobody)
        for job_id in job_ids[:_JOBS_LOGGED]:
            self.log.warning("Job %s, submitted before, is abandoned because the request has changed", job_id)
        if not job_ids or self.cancel is None:
            return
        try:
            self.cancel(job_ids)
        except JobError:  # the task was killed
            raise
        except TencentCIError as error:
            self.log.warning("%d jobs could not be cancelled: %s", len(job_ids), error)
