"""Exactly one paid job, or batch job, for each task instance: what is recorded, and how an earlier submission
is found again.

The service has no idempotency token. So a text that identifies the task instance travels in ``UserData``
(unless the user has data of their own there), what is about to be submitted is recorded in Airflow's task
state store before the ``POST`` and the job id after it (Airflow 3.3 or newer), and where neither says what
became of a submission, the job list does.

That text names the deployment of Airflow and is another one for each submission, so that neither a second
Airflow's job nor one into which somebody has copied it is taken for this task's, or cancelled.

No Airflow and no I/O of its own: the hook, the store, clock and sleep are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Generic

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    ClockSkewError,
    StateStoreError,
    TaskKilledError,
    TencentCIError,
)
from airflow_provider_ci.submission.idempotency_key import (
    WORKER,
    IdempotencyKey,
    R,
    TaskIdentity,
    fingerprint,
    user_data_of,
    with_user_data,
)
from airflow_provider_ci.submission.record import SubmissionRecord, SubmissionRecords, TaskStateStore
from airflow_provider_ci.submission.recovery import (
    JobSearch,
    JobService,
    log_interrupted,
    look_pauses,
    refuse_if_cancelled_by_others,
)
from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD, J, Log, describe_end

#: Seconds for which a submission's signature is valid after it was recorded. A process that wakes up later,
#: for instance one whose supervisor was killed, cannot submit any more: the service refuses it.
SUBMISSION_VALIDITY = 60.0
#: Seconds that the job list may lag behind a submission. Not documented; assumed.
LIST_CONSISTENCY_DELAY = 10.0
#: Submissions within one try: the first, and one more after each time that the job is known not to exist.
_SUBMISSIONS_PER_TRY = 3


class DurableSubmission(Generic[R, J]):
    """Gets the one job of a task instance: a recorded one, one found in the job list, or a new one.

    :param service: the hook, bound to bucket and region.
    :param store: the task state store; ``None`` before Airflow 3.3.
    :param identity: the task instance.
    :param try_number: this try.
    :param waits: who waits for the job: ``worker``, ``triggerer`` or ``nobody``.
    :param may_have_submitted: an earlier try may have submitted without leaving a record.
    :param clear_discards_record: clearing the task empties the store (Airflow 3.4 or newer), so that a
        submission may be on its way of which there is no record any more.
    :param run_start: Unix time, as the service's clock shows it as far as it is known, before which no job
        can be this task instance's; asked for at each look, as a look may correct what is known.
    :param cancel_superseded: cancel this task's earlier job if its request has changed or the task was
        cleared, and it has not begun.
    :param resubmit_if_unknown: submit again when the job list may not be read, at the risk of a second job.
    :param clock: the service's time, as far as it is known.
    """

    def __init__(
        self,
        *,
        service: JobService[R, J],
        store: TaskStateStore | None,
        identity: TaskIdentity,
        try_number: int,
        waits: str,
        may_have_submitted: bool,
        clear_discards_record: bool,
        run_start: Callable[[], float],
        cancel_superseded: bool,
        resubmit_if_unknown: bool,
        log: Log,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._service = service
        self._records = SubmissionRecords(store, try_number)
        self._has_store = store is not None
        self._clear_discards_record = clear_discards_record
        self._identity = identity
        self._waits = waits
        self._may_have_submitted = may_have_submitted
        self._run_start = run_start
        self._cancel_superseded = cancel_superseded
        self._log = log
        self._clock = clock
        self._sleep = sleep
        self._fingerprint = ""
        #: The job was found by its request alone, and may be somebody else's.
        self.is_found_by_request = False
        self._search: JobSearch[R, J] = JobSearch(
            service=service,
            identity=identity,
            resubmit_if_unknown=resubmit_if_unknown,
            validity=SUBMISSION_VALIDITY,
            list_consistency_delay=LIST_CONSISTENCY_DELAY,
            abandon=lambda job_id: self._abandon(job_id, "the request has changed"),
            log=log,
            clock=clock,
            sleep=sleep,
        )

    def get_or_submit(self, request: R, bucket_and_region: str) -> J:
        """Return the job of ``request``, which is submitted only if there is none.

        :param bucket_and_region: of the input.
        :raises AmbiguousSubmissionError: it cannot be found out whether there is one.
        :raises JobCancelledError: somebody else has cancelled it, so that it is not submitted again.
        :raises StateStoreError: Airflow did not say or not take down what was submitted; nothing was sent.
        :raises TaskKilledError: a later try of the task has begun.
        """
        self._fingerprint = fingerprint(request, bucket_and_region)
        self._records.claim()
        job = self._find_earlier(request)
        return job if job is not None else self._submit(request)

    def _find_earlier(self, request: R) -> J | None:
        """Return the job that an earlier try submitted, if it may still be used."""
        record = self._records.load()
        if record is None:
            return self._find_without_record(request) if self._may_have_submitted else None
        if record.fingerprint != self._fingerprint:
            self._abandon(record.job_id, "the request has changed")
            return None
        if record.max_tries == self._identity.max_tries:
            return self._find_recorded(record, request)
        job = self._find_interrupted(record, request) if record.worker_waits else None
        if job is None:
            self._abandon(record.job_id, "the task was cleared")
        return job

    def _find_recorded(self, record: SubmissionRecord, request: R) -> J | None:
        job = self._describe_until_known(record.job_id) if record.job_id is not None else None
        if job is not None:
            job = self._job_to_continue(job, record)
        else:
            job = self._search_recorded(record, request)
        if job is not None:
            self._remember(job, record)
        return job

    def _find_without_record(self, request: R) -> J | None:
        text = self._idempotency_key()
        # with a store, nothing is sent before it is recorded; without one, it may be on its way
        sent_at = 0.0 if self._has_store and not self._clear_discards_record else None
        submitted = with_user_data(request, text)
        job = self._found(self._search.search_until_certain(submitted, self._run_start, sent_at))
        if job is not None:
            since = job.creation_time.timestamp() if job.creation_time else self._run_start()
            self._remember(job, self._new_record(since, user_data_of(job) or text))
        return job

    def _find_interrupted(self, record: SubmissionRecord, request: R) -> J | None:
        """Return the job of a try that was cleared while a worker waited for it, if the job has not ended:
        what has begun cannot be cancelled, and a second job would be paid for beside it.
        """
        if record.job_id is not None:
            job = self._describe_until_known(record.job_id)
        else:  # without the record: one that was cancelled is replaced too, as the clear asks for a new one
            submitted = with_user_data(request, record.idempotency_key)
            job = self._found(
                self._search.search_until_certain(submitted, lambda: record.since, record.since)
            )
        if job is None or self._service.has_ended(job):
            return None
        log_interrupted(job, self._log)
        self._remember(job, replace(record, max_tries=self._identity.max_tries))
        return job

    def _search_recorded(self, record: SubmissionRecord, request: R) -> J | None:
        submitted = with_user_data(request, record.idempotency_key)
        return self._found(
            self._search.search_until_certain(submitted, lambda: record.since, record.since, record=record)
        )

    def _describe_until_known(self, job_id: str) -> J | None:
        """Return the job; ``None`` if the service does not find it until the grace period is over."""
        end = None
        for pause in look_pauses():
            for job in self._service.describe(job_id).jobs_detail:
                if job.job_id == job_id:
                    return job
            if end is None:
                end = self._clock() + NOT_FOUND_GRACE_PERIOD  # the first answer may correct the clock
                self._log.warning(
                    "The service does not find job %s of an earlier try, looking again for %.0f s",
                    job_id,
                    NOT_FOUND_GRACE_PERIOD,
                )
            if self._clock() + pause > end:
                self._log.warning("The service no longer finds job %s of an earlier try", job_id)
                return None
            self._sleep(pause)
        raise AssertionError("pauses never end")

    def _job_to_continue(self, job: J, record: SubmissionRecord) -> J | None:
        """Return the job of an earlier try, or ``None`` if nothing came of it."""
        refuse_if_cancelled_by_others(job, record)
        if self._service.can_resubmit(job):
            self._log.warning("%s; an earlier try submitted it: submitting a new one", describe_end(job))
            self._search.ended_jobs.append(job)
            return None
        self._log.info("Continuing with job %s (%s), submitted by an earlier try", job.job_id, job.job_state)
        self.is_found_by_request = record.found_by_request
        return job

    def _submit(self, request: R) -> J:
        self._service.prepare(with_user_data(request, self._idempotency_key()))
        for remaining in reversed(range(_SUBMISSIONS_PER_TRY)):
            # before the look at other tries: whoever is held up after it must not get fresh time
            record = self._new_record(self._clock(), self._idempotency_key())
            self._records.save_before_submission(record)
            submitted = with_user_data(request, record.idempotency_key)
            try:
                job: J | None = self._service.submit(submitted, record.since + SUBMISSION_VALIDITY)
            except ClockSkewError as error:
                if not (remaining and error.corrected):
                    raise
                job = self._find_submitted_meanwhile(submitted)
            except AmbiguousSubmissionError as error:
                job = self._find_unanswered(error, submitted, record)
                if job is None and not remaining:
                    raise
            if job is not None:
                self._remember(job, record)
                return job
        raise AssertionError("the last submission returns or raises")

    def _find_unanswered(
        self, error: AmbiguousSubmissionError, submitted: R, record: SubmissionRecord
    ) -> J | None:
        """Return the job of a submission of this try whose response is not known. That there is none is
        certain only after its signature has expired.
        """
        self._log.warning("%s. Looking for the job before submitting again", _without_hint(error))
        return self._found(
            self._search.search_until_certain(submitted, lambda: record.since, record.since, by_this_try=True)
        )

    def _find_submitted_meanwhile(self, submitted: R) -> J | None:
        """Return the job that another try submitted while this process slept, after which its clock is wrong
        too. A store tells by itself.
        """
        if self._has_store:
            return None
        return self._found(self._search.search_until_certain(submitted, self._run_start, 0.0))

    def _found(self, job: J | None) -> J | None:
        if job is not None:
            self.is_found_by_request = IdempotencyKey.parse(user_data_of(job)) is None
        return job

    def _new_record(self, since: float, idempotency_key: str) -> SubmissionRecord:
        return SubmissionRecord(
            max_tries=self._identity.max_tries,
            fingerprint=self._fingerprint,
            since=since,
            idempotency_key=idempotency_key,
            worker_waits=self._waits == WORKER,
        )

    def _idempotency_key(self) -> str:
        return self._identity.idempotency_key(self._fingerprint, self._waits)

    def _remember(self, job: J, record: SubmissionRecord) -> None:
        """Record the job in hand. When it was submitted stays as it is, for a later look at the list."""
        known = replace(
            record,
            job_id=str(job.job_id),
            worker_waits=self._waits == WORKER,
            found_by_request=record.found_by_request or self.is_found_by_request,
        )
        try:
            self._records.save(known)
        except StateStoreError as error:  # the job is in hand, and a later try finds it in the list
            self._log.warning("Job %s is known to this try only: %s", job.job_id, error)

    def _abandon(self, job_id: str | None, why: str) -> bool:
        """Report a job that no longer counts, and cancel it if it still can be.

        :return: whether nothing is left to be done. What failed is tried again at the next look at the list.
        """
        if job_id is None:
            self._log.warning(
                "An earlier submission, whose job is not known, is abandoned because %s: it may have been"
                " accepted and be billed",
                why,
            )
            return True
        self._log.warning("Job %s, submitted before, is abandoned because %s", job_id, why)
        if not self._cancel_superseded:
            return True
        try:
            jobs = [job for job in self._service.describe(job_id).jobs_detail if job.job_id == job_id]
            if not jobs:  # of another bucket, for instance
                self._log.warning("Job %s is not found in this bucket, and is not cancelled", job_id)
            elif jobs[0].may_be_cancelled:
                self._service.cancel(job_id)
                self._log.info("Asked to cancel job %s", job_id)
        except TaskKilledError:
            raise
        except TencentCIError as error:
            self._log.warning("Job %s could not be cancelled: %s", job_id, error)
            return False
        return True


def _without_hint(error: TencentCIError) -> str:
    """Return the error without its advice to look for the job, which is done here."""
    hint, error.hint = error.hint, None
    try:
        return str(error)
    finally:
        error.hint = hint
