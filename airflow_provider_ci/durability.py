"""Exactly one paid job, or batch job, for each task instance: what is remembered, and how an earlier
submission is found again.

The service has no idempotency token. So a *marker* of the task instance travels in ``UserData`` (unless the
user has data of their own there), what was intended is written into Airflow's task state store before the
``POST`` and the id after it (Airflow 3.3 or newer), and where neither tells what became of a submission, the
job list does.

No Airflow and no I/O of its own: the hook, the store, clock and sleep are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol, TypeVar

from airflow_provider_ci.durable_record import STORE_KEY, TRY_KEY, Record, Store
from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    CIError,
    ClockSkewError,
    PermissionDeniedError,
    TaskKilledError,
)
from airflow_provider_ci.identity import R, TaskIdentity, fingerprint, is_answer_to, with_marker
from airflow_provider_ci.protocol.admin_models import BatchRequest
from airflow_provider_ci.protocol.models import CANCEL, FAILED, VoiceSeparateRequest
from airflow_provider_ci.protocol.wire import VALID_BEFORE
from airflow_provider_ci.waiting import UNKNOWN_JOB_GRACE, Answer, J, Log, sentence

#: Seconds for which a submission's signature is valid after its intention was written. A process that wakes
#: up later, for instance one whose supervisor was killed, cannot submit any more: the service refuses it.
SUBMISSION_VALIDITY = 60.0
#: Seconds that the job list may lag behind a submission. Not documented; assumed.
LISTING_LAG = 10.0
#: Pauses between looks at the list while a submission may still arrive, seconds; the last one repeats.
_LOOK_PAUSES = (1.0, 2.0, 5.0, 10.0)
# With a clock further ahead of the service's, the submission's signature would not have been valid yet
_CLOCK_SKEW = timedelta(seconds=VALID_BEFORE + 1)
#: Submissions within one try: the first, and one more after each time that the job is known not to exist.
_SUBMISSIONS_PER_TRY = 3


R_contra = TypeVar("R_contra", bound=VoiceSeparateRequest | BatchRequest, contravariant=True)


class JobService(Protocol[R_contra, J]):
    """What is needed of the hook, bound to the input's bucket and region: for jobs, or for batch jobs.

    ``prepare`` is called before a new submission is intended, and may refuse it. ``is_void`` tells that
    nothing came of a job, so that a retry may submit it anew. ``listing_permission`` names what ``list``
    needs.
    """

    listing_permission: str

    def prepare(self, request: R_contra) -> None: ...  # noqa: D102

    def submit(self, request: R_contra, valid_until: float | None) -> J: ...  # noqa: D102

    def describe(self, job_id: str) -> Answer[J]: ...  # noqa: D102

    def list(self, request: R_contra, since: datetime) -> Iterable[J]: ...  # noqa: D102

    def cancel(self, job_id: str) -> None: ...  # noqa: D102

    def is_void(self, job: J) -> bool: ...  # noqa: D102


class DurableSubmission(Generic[R, J]):
    """Gets the one job of a task instance: a known one, one found again, or a new one.

    :param service: the hook, bound to bucket and region.
    :param store: the task state store; ``None`` before Airflow 3.3.
    :param identity: the task instance.
    :param try_number: this try.
    :param is_first_try: nothing was submitted since the task instance was created or cleared.
    :param run_start: the service's time, as far as it is known, before which no job can be this task
        instance's; asked for at each look, as a look may correct what is known.
    :param cancel_superseded: cancel an earlier job whose request has changed, if it has not begun.
    :param resubmit_if_unknown: submit again when the job list may not be read, at the risk of a second job.
    :param clock: the service's time, as far as it is known.
    """

    def __init__(
        self,
        *,
        service: JobService[R, J],
        store: Store | None,
        identity: TaskIdentity,
        try_number: int,
        is_first_try: bool,
        run_start: Callable[[], datetime],
        cancel_superseded: bool,
        resubmit_if_unknown: bool,
        log: Log,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._service = service
        self._store = store
        self._identity = identity
        self._try_number = try_number
        self._is_first_try = is_first_try
        self._run_start = run_start
        self._cancel_superseded = cancel_superseded
        self._resubmit_if_unknown = resubmit_if_unknown
        self._log = log
        self._clock = clock
        self._sleep = sleep
        self._left: set[str] = set()
        #: Jobs of earlier submissions that have ended without success.
        self._spent: list[J] = []

    def job(self, request: R, place: str) -> J:
        """Return the job of ``request``, which is submitted only if there is none.

        :raises AmbiguousSubmissionError: it cannot be found out whether there is one.
        """
        wanted = fingerprint(request, place)
        marked = with_marker(request, self._identity.marker(wanted))
        self._take_over()
        record = self._record()
        if record is not None and record.clears != self._identity.clears:
            self._leave(record.job_id, "the task was cleared")
        elif record is not None and record.fingerprint != wanted:
            self._leave(record.job_id, "the request has changed")
        else:
            found = self._earlier(record, marked)
            if found is not None:
                self._remember(found, wanted)
                return found
        return self._submit(marked, wanted)

    def _record(self) -> Record | None:
        return Record.from_json(self._store.get(STORE_KEY)) if self._store is not None else None

    def _earlier(self, record: Record | None, marked: R) -> J | None:
        """Return the job that an earlier try submitted, if it may still be used."""
        if record is not None and record.job_id is not None:
            job = self._known(record.job_id)
            if job is not None:
                return self._if_usable(job)
        if record is None and self._is_first_try:
            return None
        if record is not None:
            return self._found(marked, _at(record.since), record.since)
        # with a store, nothing is sent before its intention is recorded; without, it may be on its way
        return self._found(marked, self._run_start, 0.0 if self._store is not None else None)

    def _known(self, job_id: str) -> J | None:
        """Return the job of a stored id; ``None`` if the service does not know it after the grace period."""
        end = None
        for pause in _pauses():
            for job in self._service.describe(job_id).jobs_detail:
                if job.job_id == job_id:
                    return job
            end = end or self._clock() + UNKNOWN_JOB_GRACE  # the first answer may correct the clock
            if self._clock() + pause > end:
                self._log.warning("The service does not know job %s of an earlier try any more", job_id)
                return None
            self._sleep(pause)
        raise AssertionError("pauses never end")

    def _if_usable(self, job: J) -> J | None:
        if self._service.is_void(job):
            self._log.warning("%s; an earlier try submitted it: submitting a new one", sentence(job))
            self._spent.append(job)
            return None
        self._log.info("Going on with job %s (%s), submitted by an earlier try", job.job_id, job.job_state)
        return job

    def _found(
        self, marked: R, since: Callable[[], datetime], intended_at: float | None, *, sent: bool = False
    ) -> J | None:
        """Look for the job of ``marked`` until it is found or certainly does not exist.

        :param intended_at: when the submission was intended that may still arrive; ``None``: perhaps just
            now.
        :param sent: by this very try, whose job it then is even if it has ended without success already.
        """
        end = None
        for pause in _pauses():
            found = self._matches(marked, since(), sent=sent)
            if found is None:  # the list may not be read, and the user takes the risk
                return None
            if found:
                return self._oldest(found)
            now = self._clock()
            # after the first look, which may correct the clock
            end = end or _arrived(intended_at, now) + LISTING_LAG
            if now >= end:
                return None
            self._sleep(min(pause, end - now))
        raise AssertionError("pauses never end")

    def _matches(self, marked: R, since: datetime, *, sent: bool) -> list[J] | None:
        begin = since - _CLOCK_SKEW
        try:
            listed = list(self._service.list(marked, begin))
        except PermissionDeniedError as error:
            if self._resubmit_if_unknown:
                self._log.warning(
                    "The jobs may not be listed, submitting at the risk of a second job: %s", error
                )
                return None
            raise AmbiguousSubmissionError(
                "It is unknown whether the job was accepted before, and the jobs may not be listed",
                status=error.status,
                code=error.code,
                service_message=error.service_message,
                request_id=error.request_id,
                hint=(
                    f"Permit {self._service.listing_permission}, or look in the console and clear the task if"
                    ' there is none, or set on_ambiguous_submit="resubmit"'
                ),
            ) from error
        recent = [job for job in listed if job.creation_time is None or job.creation_time >= begin]
        self._leave_changed(recent, marked)
        answers = [job for job in recent if job.job_id and is_answer_to(job, marked)]
        found = [job for job in answers if not self._service.is_void(job)]
        return found or self._ended(answers, sent=sent)

    def _ended(self, void: list[J], *, sent: bool) -> list[J]:
        """Return the job that this try has ``sent`` if it has ended without success already: to submit
        another one is for the next try. Only a marker tells it from the jobs of others.

        :param void: the answers to the request of which nothing came.
        """
        ended = [
            job
            for job in void
            if self._identity.marked((job.operation.user_data if job.operation else None) or "")
        ]
        if sent:
            return [job for job in ended if all(_is_newer(job, spent) for spent in self._spent)]
        self._spent += ended
        return []

    def _leave_changed(self, jobs: list[J], marked: R) -> None:
        """Leave the jobs that an earlier try of this very task instance submitted for another request."""
        for job in jobs:
            data = (job.operation.user_data if job.operation else None) or ""
            mine = self._identity.marked(data) and not is_answer_to(job, marked)
            if mine and job.job_state not in (FAILED, CANCEL) and job.job_id not in self._left:
                self._leave(job.job_id, "the request has changed")

    def _oldest(self, jobs: list[J]) -> J:
        latest = datetime.max.replace(tzinfo=UTC)
        first, *others = sorted(jobs, key=lambda job: job.creation_time or latest)
        if others:
            ids = ", ".join(str(job.job_id) for job in others)
            self._log.error("Suspected duplicates of job %s, each billed: %s", first.job_id, ids)
        self._log.info("Found job %s (%s), submitted before", first.job_id, first.job_state)
        return first

    def _submit(self, marked: R, wanted: str) -> J:
        self._service.prepare(marked)
        for left in reversed(range(_SUBMISSIONS_PER_TRY)):
            since = self._intend(wanted)
            try:
                job = self._service.submit(marked, since + SUBMISSION_VALIDITY)
            except ClockSkewError as error:
                if not (left and error.corrected):
                    raise
                found = self._submitted_meanwhile(marked)
                if found is None:
                    continue
                job = found
            except AmbiguousSubmissionError as error:
                self._log.warning("%s", error)
                # not before this submission's signature has expired can the answer be: there is no job
                found = self._found(marked, _at(since), since, sent=True)
                if found is None and not left:
                    raise
                if found is None:
                    continue
                job = found
            self._remember(job, wanted)
            return job
        raise AssertionError("the last submission returns or raises")

    def _submitted_meanwhile(self, marked: R) -> J | None:
        """Return the job that another try submitted while this process slept, after which its clock is wrong
        too. A store tells by itself.
        """
        if self._store is not None:
            return None
        return self._found(marked, self._run_start, 0.0)

    def _take_over(self) -> None:
        """Say that this try has begun, before it looks what earlier ones intended.

        Each looks whether another one has said so after it has written its intention. So whichever of two
        processes comes second sees the other. The other one may also be an earlier try that was held up just
        here.
        """
        if self._store is not None and self._try_number > 1:
            self._stop_if_superseded(by_earlier_too=False)
            self._store.set(TRY_KEY, self._try_number)

    def _stop_if_superseded(self, *, by_earlier_too: bool = True) -> None:
        own = self._try_number
        latest = own if self._store is None else self._store.get(TRY_KEY, own)
        if latest > own or (by_earlier_too and latest != own):
            raise TaskKilledError(f"Try {latest} of this task has taken over; try {own} does not submit")

    def _intend(self, wanted: str) -> float:
        since = self._clock()  # before the look: whoever is held up after it must not get fresh time
        self._stop_if_superseded()  # also before: it would overwrite what the later try has recorded
        self._write(Record(self._identity.clears, wanted, since))
        self._stop_if_superseded()
        return since

    def _remember(self, job: J, wanted: str) -> None:
        self._write(Record(self._identity.clears, wanted, self._clock(), job.job_id))

    def _write(self, record: Record) -> None:
        if self._store is not None:
            self._store.set(STORE_KEY, record.to_json())

    def _leave(self, job_id: str | None, why: str) -> None:
        """Report a job that counts no more, and cancel it if it still can be."""
        if job_id is None:
            self._log.warning("An earlier submission, of which no job is known, is left alone: %s", why)
            return
        self._log.warning("Job %s, submitted before, is left alone: %s", job_id, why)
        if not self._cancel_superseded:
            self._left.add(job_id)
            return
        try:
            jobs = self._service.describe(job_id).jobs_detail
            if any(job.job_id == job_id and job.may_be_cancelled for job in jobs):
                self._service.cancel(job_id)
                self._log.info("Asked to cancel job %s", job_id)
            self._left.add(job_id)  # not before: what failed is tried again at the next look at the list
        except TaskKilledError:
            raise
        except CIError as error:
            self._log.warning("Job %s could not be cancelled: %s", job_id, error)


def _at(seconds: float) -> Callable[[], datetime]:
    return lambda: datetime.fromtimestamp(seconds, UTC)


def _arrived(intended_at: float | None, now: float) -> float:
    """Return when a submission has arrived, or never will."""
    intended_at = now if intended_at is None else min(intended_at, now)
    return max(intended_at + SUBMISSION_VALIDITY, now)


def _is_newer(job: J, spent: J) -> bool:
    oldest = datetime.min.replace(tzinfo=UTC)
    return job.job_id != spent.job_id and (job.creation_time or oldest) >= (spent.creation_time or oldest)


def _pauses() -> Iterator[float]:
    yield from _LOOK_PAUSES
    while True:
        yield _LOOK_PAUSES[-1]
