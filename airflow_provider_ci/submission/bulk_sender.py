"""Sends the submissions of many items, in chunks that are recorded before they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    ClockSkewError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    RequestValidationError,
    StateStoreError,
    TaskKilledError,
    TencentCIError,
    ThrottledError,
)
from airflow_provider_ci.protocol.errors import is_about_download, is_retryable
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.submission.active_jobs import SECONDS_BETWEEN_LOOKS, ActiveJobs
from airflow_provider_ci.submission.bulk_jobs import BulkJobApi, BulkJobs, BulkRequests, Refusal
from airflow_provider_ci.submission.bulk_records import CHUNK_SIZE, BulkRecords, ChunkRecord
from airflow_provider_ci.submission.concurrent_calls import ConcurrentCalls
from airflow_provider_ci.submission.durable_submission import SUBMISSION_VALIDITY
from airflow_provider_ci.submission.idempotency_key import ParsedKey, TaskIdentity, with_user_data
from airflow_provider_ci.submission.pace import Pace
from airflow_provider_ci.submission.tracking import Log
from airflow_provider_ci.submission.waiting import retry_after

# A chunk has as many items as can be sent in this time, and none of them is sent later than _SENDING_SECONDS
# after it was recorded: the service refuses what arrives after SUBMISSION_VALIDITY
_CHUNK_SECONDS, _SENDING_SECONDS = 30.0, 45.0
_LEAST_CHUNK_SIZE = 16
# The service's clock, as far as it is known, was corrected if it differs by this much from another clock
_CLOCK_CORRECTION = 5.0
# A task without any accepted job stops after so many refusals: they are hardly about single items
_FIRST_REFUSALS = 20
# The least pause if the queue has its maximum of jobs, seconds
_QUEUE_FULL_PAUSE = 5.0
# How long the service may be away before the task fails, seconds
_OUTAGE_TOLERATED = 600.0
# So many chunks in a row may be refused because of their time
_CLOCK_REFUSALS_TOLERATED = 3
_SECONDS_BETWEEN_PROGRESS = 1.0
# Items that are logged one by one
_ITEMS_LOGGED = 20
# Refusals for one object, although they are about permissions
_REFUSED_FOR_OBJECT = ("ResourceAccessDenied", "WriteTargetBucketDenied")


@dataclass(slots=True)
class UnknownSubmission:
    """A submission of which it is unknown whether the service accepted it.

    :param since: Unix time, by the service's clock, at which it was recorded; ``None``: it was not.
    :param nonce: of its key, if this try sent it.
    :param may_be_in_flight: it may still arrive at the service.
    :param error: why there is no response, if this try sent it.
    """

    since: float | None
    nonce: str | None = None
    may_be_in_flight: bool = True
    error: AmbiguousSubmissionError | None = None


@dataclass(slots=True)
class _Chunk:
    """A chunk that is being sent.

    :param items: the numbers of its items.
    :param began: seconds of the monotonic clock at which it was recorded.
    :param waiting: the positions in the chunk of the items that are not sent yet, or that are sent again.
    :param in_flight: how many submissions have no response yet.
    """

    items: Sequence[int]
    record: ChunkRecord
    began: float
    waiting: deque[int]
    in_flight: int = 0
    is_stopped: bool = False
    has_unknown: bool = False

    @property
    def accepted_none(self) -> bool:
        """Whether the service has certainly accepted no job of the chunk."""
        return not any(job_id != "" for job_id in self.record.job_ids)


@dataclass(kw_only=True)
class BulkSender:
    """Submits items. The parameters are those of
    :class:`~airflow_provider_ci.submission.bulk_submission.BulkSubmission`.

    Each chunk proceeds in this order: its record is written, which makes sure that no other try has taken
    over; its items are submitted, by up to 16 threads; its record gets the job ids. What certainly was not
    accepted and may be sent again is sent in the same chunk, as long as it may be, or in the next one.

    :param unknown: gets the submissions without a response, by their items.
    :param look_for_lost: called after each chunk that has some, with the time at which it was recorded.
    """

    job_api: BulkJobApi
    requests: BulkRequests
    jobs: BulkJobs
    unknown: dict[int, UnknownSubmission]
    records: BulkRecords
    identity: TaskIdentity
    who_waits: str
    active_jobs: ActiveJobs
    pace: Pace
    refuse_if_overtaken: Callable[[], None]
    raise_if_killed: Callable[[], None]
    look_for_lost: Callable[[float], None]
    on_progress: Callable[[BulkJobs], None]
    new_calls: Callable[[], ConcurrentCalls[Callable[[], None]]]
    log: Log
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    _calls: ConcurrentCalls[Callable[[], None]] = field(init=False)
    _is_looking: bool = field(default=False, init=False)
    _reusable_number: int = field(default=0, init=False)
    _clock_refusals: int = field(default=0, init=False)
    _refusals: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        now = self.monotonic()
        self._last_response_at = self._next_progress_at = now
        self._next_look_at = now + SECONDS_BETWEEN_LOOKS

    def send(self, items: deque[int]) -> None:
        """Submit the items, until each has a job or a refusal or is in ``unknown``. Costs money.

        :raises TencentCIError: the service refuses all submissions, or has been away for too long.
        """
        self._is_looking = False
        with self.new_calls() as self._calls:
            while items:
                self._wait_for_room()
                self._send_chunk(items)
                self._tick()

    # One chunk

    def _send_chunk(self, items: deque[int]) -> None:
        chunk = self._record_chunk(items)
        try:
            with self.job_api.submitting_at_once():
                self._send_until_window_closes(chunk)
        except BaseException:
            _note_all(self._calls.last_results())
            self._save_responses(chunk)
            raise
        self._save_responses(chunk)
        items.extendleft(chunk.items[position] for position in reversed(chunk.waiting))
        if chunk.has_unknown:
            self.look_for_lost(chunk.record.since)

    def _record_chunk(self, items: deque[int]) -> _Chunk:
        """Record the next items, before they are submitted.

        :raises TaskKilledError: the task was killed, or another try has begun.
        """
        self.raise_if_killed()
        size = min(self._chunk_size(), self.active_jobs.room, len(items))
        # the time is taken before the record is written: a slow write must not extend the validity
        since, began = self.clock(), self.monotonic()
        if not self.records.has_store:
            self.refuse_if_overtaken()
        taken = [items.popleft() for _ in range(size)]
        record = ChunkRecord(
            self.identity.max_tries,
            since,
            [self.requests.fingerprint(index) for index in taken],
            [None] * size,
            self._reusable_number,
        )
        self.records.save_before_submission(record)
        return _Chunk(taken, record, began, deque(range(size)))

    def _chunk_size(self) -> int:
        return int(min(max(self.pace.rate * _CHUNK_SECONDS, _LEAST_CHUNK_SIZE), CHUNK_SIZE))

    def _send_until_window_closes(self, chunk: _Chunk) -> None:
        while True:
            self._tick()
            if self._may_send(chunk):
                seconds = self._start_if_due(chunk)
            elif chunk.in_flight:
                seconds = _SECONDS_BETWEEN_PROGRESS
            else:
                return
            self._wait_for_responses(min(seconds, _SECONDS_BETWEEN_PROGRESS))

    def _may_send(self, chunk: _Chunk) -> bool:
        if not chunk.waiting or chunk.is_stopped:
            return False
        elapsed = self.monotonic() - chunk.began
        # the times of a chunk that was recorded with a wrong clock are wrong
        correction = self.clock() - chunk.record.since - elapsed
        return elapsed < _SENDING_SECONDS and abs(correction) < _CLOCK_CORRECTION

    def _start_if_due(self, chunk: _Chunk) -> float:
        """Start the next submission, if it may be sent now. Return how long to wait for responses."""
        if not self._calls.have_room:
            return _SECONDS_BETWEEN_PROGRESS
        seconds = self.pace.seconds_to_next()
        if seconds > 0:
            return seconds
        self.pace.note_sent()
        chunk.in_flight += 1
        self._calls.start(partial(self._submit, chunk, chunk.waiting.popleft()))
        return 0.0

    def _wait_for_responses(self, seconds: float) -> None:
        if not self._calls.running:
            if seconds > 0:
                self.sleep(seconds)
            return
        failure = _note_all(self._calls.results(seconds))
        if failure is not None:
            raise failure

    def _submit(self, chunk: _Chunk, position: int) -> Callable[[], None]:
        """Send a submission, in a thread. Return what notes the response, for the main thread."""
        nonce: str | None = None
        outcome: Job | BaseException
        try:
            key = self.identity.idempotency_key(chunk.record.fingerprints[position], self.who_waits)
            nonce = _nonce_of(key)
            request = with_user_data(self.requests.request(chunk.items[position]), key)
            outcome, _ = self.job_api.submit(request, chunk.record.since + SUBMISSION_VALIDITY)
        except BaseException as error:
            outcome = error
        return partial(self._note_response, chunk, position, nonce, outcome)

    def _save_responses(self, chunk: _Chunk) -> None:
        """Record which jobs were accepted. A failure is only logged: a later try finds them in the list."""
        for position in chunk.waiting:
            chunk.record.job_ids[position] = ""
        self._reusable_number = chunk.record.number if chunk.accepted_none else 0
        try:
            self.records.save(chunk.record)
        except StateStoreError as error:
            self._reusable_number = 0
            self.log.warning(
                "%d jobs are known to this try only: %s. A later try finds them in the job list",
                len(chunk.items),
                error,
            )

    # Responses

    def _note_response(
        self, chunk: _Chunk, position: int, nonce: str | None, outcome: Job | BaseException
    ) -> None:
        """Note the response to a submission.

        :raises BaseException: ``outcome``, if no other submission may follow.
        """
        chunk.in_flight -= 1
        if isinstance(outcome, Job):
            self._note_job(chunk, position, outcome)
        elif isinstance(outcome, TencentCIError):
            self._note_error(chunk, position, nonce, outcome)
        else:  # a fault of this provider: it stays unknown whether there is a job
            raise outcome

    def _note_job(self, chunk: _Chunk, position: int, job: Job) -> None:
        chunk.record.job_ids[position] = str(job.job_id)
        self.jobs.set_job(chunk.items[position], str(job.job_id), job.job_state)
        self.jobs.submitted += 1
        self._note_perhaps_accepted(chunk)
        self._note_good_response()
        self.pace.note_success()

    def _note_perhaps_accepted(self, chunk: _Chunk) -> None:
        self.active_jobs.count += 1
        first = self.jobs.first_submission
        self.jobs.first_submission = chunk.record.since if first is None else min(first, chunk.record.since)
        self.jobs.last_submission = max(self.jobs.last_submission or 0.0, self.clock())

    def _note_good_response(self) -> None:
        self._last_response_at = self.monotonic()
        self._clock_refusals = 0

    def _note_error(self, chunk: _Chunk, position: int, nonce: str | None, error: TencentCIError) -> None:
        """Decide what follows the error of a submission.

        :raises TencentCIError: this error, if all other submissions would have it too.
        """
        if isinstance(error, AmbiguousSubmissionError):
            self._note_lost_response(chunk, position, nonce, error)
        elif isinstance(error, TaskKilledError):
            chunk.waiting.appendleft(position)  # nothing was sent
            raise error
        elif _is_about_item(error):
            self._note_refusal(chunk, position, error)
        else:  # certainly not accepted
            chunk.waiting.appendleft(position)
            self._pause_or_raise(chunk, error)

    def _note_lost_response(
        self, chunk: _Chunk, position: int, nonce: str | None, error: AmbiguousSubmissionError
    ) -> None:
        chunk.has_unknown = True
        self.unknown[chunk.items[position]] = UnknownSubmission(chunk.record.since, nonce, error=error)
        self._note_perhaps_accepted(chunk)
        cause = error.__cause__
        seconds = retry_after(cause) if isinstance(cause, TencentCIError) else 0.0
        self._log_pause(error, self.pace.note_failure(seconds))
        self._raise_if_outage_is_long(error)

    def _note_refusal(self, chunk: _Chunk, position: int, error: TencentCIError) -> None:
        index = chunk.items[position]
        chunk.record.job_ids[position] = ""
        self.jobs.refusals[index] = Refusal.from_error(error)
        self._note_good_response()
        self._refusals += 1
        if self._refusals <= _ITEMS_LOGGED:
            self.log.error("No job for %s: %s", self.requests.name(index), error)
        if self._refusals >= _FIRST_REFUSALS and not (self.jobs.submitted or self.jobs.reused):
            raise error

    def _pause_or_raise(self, chunk: _Chunk, error: TencentCIError) -> None:
        """Pause after a submission that the service has not accepted, if that can help."""
        if isinstance(error, ClockSkewError):
            # the time that the others of the chunk have is wrong or over too
            if not chunk.is_stopped:
                self._clock_refusals += 1
            chunk.is_stopped = True
            if self._clock_refusals > _CLOCK_REFUSALS_TOLERATED:
                raise error
        elif isinstance(error, QueueFullError):
            self._note_good_response()
            self._log_pause(error, self.pace.note_throttled(_QUEUE_FULL_PAUSE))
        elif is_retryable(error):
            note = self.pace.note_throttled if isinstance(error, ThrottledError) else self.pace.note_failure
            self._log_pause(error, note(retry_after(error)))
            self._raise_if_outage_is_long(error)
        else:
            raise error

    def _log_pause(self, error: TencentCIError, begins: bool) -> None:
        if begins:
            self.log.warning(
                "Submitting at most %.1f jobs a second for now, and trying again: %s", self.pace.rate, error
            )

    def _raise_if_outage_is_long(self, error: TencentCIError) -> None:
        if self.monotonic() - self._last_response_at > _OUTAGE_TOLERATED:
            raise error

    # What happens meanwhile

    def _wait_for_room(self) -> None:
        if self.active_jobs.room > 0:
            return
        self.log.info("%d jobs are active, waiting for room", self.active_jobs.count)
        while self.active_jobs.room <= 0:
            end = self.monotonic() + self.active_jobs.seconds_to_next_count
            while (remaining := end - self.monotonic()) > 0:
                self.sleep(min(remaining, _SECONDS_BETWEEN_PROGRESS))
                self._tick()
                self._wait_for_responses(0)
            self.active_jobs.recount()

    def _tick(self) -> None:
        """Report progress and look for failures, when it is time.

        :raises TaskKilledError: the task was killed.
        """
        self.raise_if_killed()
        now = self.monotonic()
        if now >= self._next_progress_at:
            self._next_progress_at = now + _SECONDS_BETWEEN_PROGRESS
            self.on_progress(self.jobs)
        if now >= self._next_look_at and self._calls.have_room and not self._is_looking:
            self._is_looking = True
            self._calls.start(self._look_for_failures)

    def _look_for_failures(self) -> Callable[[], None]:
        """Look for jobs that have failed, in a thread. Return what notes them, for the main thread."""
        note_failures = self.active_jobs.failures()

        def note() -> None:
            self._is_looking = False
            self._next_look_at = self.monotonic() + SECONDS_BETWEEN_LOOKS
            note_failures()

        return note


def _is_about_item(error: TencentCIError) -> bool:
    """Tell whether the service refused one item, and may accept others."""
    if is_about_download(error):
        return True
    if isinstance(error, PermissionDeniedError):
        return error.code in _REFUSED_FOR_OBJECT
    if isinstance(error, NotFoundError):
        return error.code != "NoSuchBucket"
    return isinstance(error, InvalidRequestError | RequestValidationError)


def _nonce_of(key: str) -> str | None:
    parsed = ParsedKey.parse(key)
    return parsed.nonce if parsed else None


def _note_all(notes: Iterable[Callable[[], None]]) -> BaseException | None:
    """Note all responses; return the first error that ends the submission."""
    failure: BaseException | None = None
    for note in notes:
        try:
            note()
        except Exception as error:
            failure = failure or error
    return failure
