"""One paid job, or batch job, for each task instance, whatever dies and whichever response is lost.

The service has no idempotency token: a submission that is repeated is a second paid job. So

- ``UserData`` carries a key that identifies the task instance and its request (:mod:`.idempotency_key`);
- a record is written to Airflow's task state store before the ``POST``, and the job id after it, from Airflow
  3.3 on (:mod:`.record`);
- a submission expires: the service refuses it when its signature is 60 seconds old;
- where it is not known what became of a submission, the job list is searched until that is certain
  (:mod:`.recovery`), and only then is the job submitted again.

No Airflow and no I/O of its own: calls, store, clock and sleep are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    ClockSkewError,
    StateStoreError,
    TaskKilledError,
    TencentCIError,
)
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.submission.idempotency_key import (
    WORKER,
    TaskIdentity,
    fingerprint,
    key_of_job,
    with_user_data,
)
from airflow_provider_ci.submission.job_list import JobLookup, pauses_between_looks
from airflow_provider_ci.submission.record import SubmissionRecord, SubmissionRecords
from airflow_provider_ci.submission.recovery import (
    JobSearch,
    SubmittedBy,
    describe_job,
    log_job_of_cleared_try,
    refuse_if_cancelled_by_others,
)
from airflow_provider_ci.submission.tracking import (
    NOT_FOUND_GRACE_PERIOD,
    J,
    Log,
    describe_end,
    would_fail_again,
)

#: How long a submission's signature is valid after it was recorded, in seconds. A process that wakes up
#: later, for instance one whose supervisor was killed, can no longer submit: the service refuses it.
SUBMISSION_VALIDITY = 60.0
#: Seconds by which the job list may lag behind a submission. Not documented; assumed.
LIST_CONSISTENCY_DELAY = 10.0
_SUBMISSIONS_PER_TRY = 3


@dataclass(kw_only=True)
class DurableSubmission(Generic[J]):
    """Gets the one job of a task instance: an earlier try's, or a new one.

    What is known of earlier tries decides:

    =====================================  ==========================================================
    there is                               then
    =====================================  ==========================================================
    no record, and no earlier try          submit
    no record, perhaps an earlier try      search the job list; submit if it certainly has no job
    a record of another request            abandon its job; submit
    a record from before a clear           continue with its job if a worker was waiting for it and
                                           it has not ended; otherwise abandon it, and submit
    a record without a job id              search the job list; submit if it certainly has no job
    a record with a job id                 describe the job, for two minutes if it is not found; then
                                           search the job list
    =====================================  ==========================================================

    If a job is found, its state decides: a failed job is submitted again unless it would fail again, a job
    that somebody else cancelled is an error, and the task continues with any other.

    The response to a submission decides in the same way:

    =====================================  ==========================================================
    response                               then
    =====================================  ==========================================================
    the job                                record its id
    unknown: timeout, 5xx, unreadable      search the job list; submit again if it certainly has no job
    expired, and the clock was corrected   submit again with the correct time
    any other error                        raise it
    =====================================  ==========================================================

    To abandon a job is to cancel it if ``cancel`` is not ``None`` and the job has not begun.

    :param job_api: the calls that find jobs, for the input's bucket and region.
    :param submit: called as ``submit(request, expires_at)``: submits a request, which the service refuses
        after that Unix time. Costs money.
    :param cancel: cancels a job that is abandoned; ``None``: abandoned jobs are not cancelled.
    :param before_submission: called with a request before the first submission is recorded; may refuse it.
    :param who_waits: who waits for the job: ``worker``, ``triggerer`` or ``nobody``.
    :param may_have_submitted: an earlier try may have submitted without leaving a record.
    :param clear_discards_record: clearing the task empties the store (Airflow 3.4 or newer), so a submission
        may be in flight although there is no record of it.
    :param run_start: returns the Unix time, by the service's clock, before which no job can be this task's.
    :param resubmit_if_unknown: submit again if listing jobs is not permitted, or the list may not show this
        type of job, at the risk of a second job.
    :param clock: returns the Unix time by the service's clock, as far as it is known.
    """

    job_api: JobLookup[J]
    submit: Callable[[Tree, float], J]
    cancel: Callable[[str], None] | None
    before_submission: Callable[[Tree], None]
    records: SubmissionRecords
    identity: TaskIdentity
    who_waits: str
    may_have_submitted: bool
    clear_discards_record: bool
    run_start: Callable[[], float]
    resubmit_if_unknown: bool
    log: Log
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    #: The job was found by its request, without an idempotency key, and may be somebody else's.
    found_by_request: bool = field(default=False, init=False)
    _fingerprint: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._search: JobSearch[J] = JobSearch(
            job_api=self.job_api,
            identity=self.identity,
            run_start=self.run_start,
            resubmit_if_unknown=self.resubmit_if_unknown,
            validity=SUBMISSION_VALIDITY,
            list_consistency_delay=LIST_CONSISTENCY_DELAY,
            abandon=lambda job_id: self._abandon(job_id, "the request has changed"),
            log=self.log,
            clock=self.clock,
            sleep=self.sleep,
        )

    @property
    def suspected_duplicates(self) -> int:
        """How many jobs besides the task's own were found, which may have been accepted for it too."""
        return len(self._search.suspected_duplicates)

    def get_or_submit(self, request: Tree, input_location: str) -> J:
        """Return the job of ``request``, and submit it only if there is none.

        :param input_location: the bucket and region of the input.
        :raises AmbiguousSubmissionError: it cannot be found out whether there is one.
        :raises JobCancelledError: somebody else cancelled the job, so that it is not submitted again.
        :raises StateStoreError: the record could not be read or written; nothing was sent.
        :raises TaskKilledError: a later try of the task has begun.
        """
        self._fingerprint = fingerprint(request, input_location)
        self.records.take_over()
        job = self._find_job_of_earlier_try(request)
        return self._submit_new_job(request) if job is None else job

    def _find_job_of_earlier_try(self, request: Tree) -> J | None:
        """Return the job of an earlier try, if the task may continue with it."""
        record = self.records.load()
        if record is None:
            return self._find_unrecorded_job(request) if self.may_have_submitted else None
        if record.fingerprint != self._fingerprint:
            self._abandon(record.job_id, "the request has changed")
            return None
        was_cleared = record.max_tries != self.identity.max_tries
        if not was_cleared:
            return self._find_recorded_job(record, request)
        job = self._find_job_of_cleared_try(record, request) if record.worker_waits else None
        if job is None:
            self._abandon(record.job_id, "the task was cleared")
        return job

    def _find_unrecorded_job(self, request: Tree) -> J | None:
        """Return the job of a try that left no record."""
        # With a store, a submission is recorded before it is sent: no record means that none is in flight
        may_be_in_flight = self.clear_discards_record or not self.records.has_store
        key = self._new_key()  # keys match although their nonces differ
        job = self._search_list(
            with_user_data(request, key), SubmittedBy.UNRECORDED, may_be_in_flight=may_be_in_flight
        )
        if job is not None:
            submitted_at = job.creation_time.timestamp() if job.creation_time else self.run_start()
            self._save_job(job, self._new_record(submitted_at, job.user_data or key))
        return job

    def _find_recorded_job(self, record: SubmissionRecord, request: Tree) -> J | None:
        """Return the job that an earlier try recorded, unless it ended without a result.

        :raises JobCancelledError: somebody else cancelled it.
        """
        job = self._describe_until_found(record.job_id) if record.job_id is not None else None
        if job is None:
            submitted_request = with_user_data(request, record.idempotency_key)
            job = self._search_list(submitted_request, SubmittedBy.EARLIER_TRY, record)
            if job is not None:
                self._save_job(job, record)
            return job
        refuse_if_cancelled_by_others(job, record)
        if not would_fail_again(job) and self.job_api.ask_if_ended_without_result(job):
            self.log.warning("%s; an earlier try submitted it: submitting a new one", describe_end(job))
            self._search.ignore_ended(job)
            return None
        self.log.info("Continuing with job %s (%s), submitted by an earlier try", job.job_id, job.job_state)
        self.found_by_request = record.found_by_request
        self._save_job(job, record)
        return job

    def _find_job_of_cleared_try(self, record: SubmissionRecord, request: Tree) -> J | None:
        """Return the job for which a worker was waiting when the task was cleared, if it has not ended. A job
        that has started cannot be cancelled, and a new one would be paid for beside it.
        """
        if record.job_id is not None:
            job = self._describe_until_found(record.job_id)
        else:
            submitted_request = with_user_data(request, record.idempotency_key)
            job = self._search_list(submitted_request, SubmittedBy.CLEARED_TRY, record)
        if job is None or self.job_api.ask_if_ended(job):
            return None
        log_job_of_cleared_try(job, self.log)
        self._save_job(job, replace(record, max_tries=self.identity.max_tries))
        return job

    def _describe_until_found(self, job_id: str) -> J | None:
        """Return a job of an earlier try; ``None`` if the service does not find it in the grace period."""
        end: float | None = None
        for pause in pauses_between_looks():
            job = describe_job(self.job_api, job_id)
            if job is not None:
                return job
            if end is None:  # only now, because the first response may have corrected the clock
                end = self.clock() + NOT_FOUND_GRACE_PERIOD
                self.log.warning(
                    "The service does not find job %s of an earlier try, looking again for %.0f s",
                    job_id,
                    NOT_FOUND_GRACE_PERIOD,
                )
            if self.clock() + pause > end:
                self.log.warning("The service no longer finds job %s of an earlier try", job_id)
                return None
            self.sleep(pause)
        raise AssertionError("pauses never end")

    def _submit_new_job(self, request: Tree) -> J:
        """Submit until the service accepts a job. Costs money."""
        self.before_submission(with_user_data(request, self._new_key()))
        for number in range(1, _SUBMISSIONS_PER_TRY + 1):
            # the time is taken before the record is written: a slow write must not extend the validity
            record = self._new_record(self.clock(), self._new_key())
            self.records.save_before_submission(record)
            submitted_request = with_user_data(request, record.idempotency_key)
            job = self._submit_once(submitted_request, record, is_last=number == _SUBMISSIONS_PER_TRY)
            if job is not None:
                self._save_job(job, record)
                return job
        raise AssertionError("the last submission returns a job or raises")

    def _submit_once(self, submitted_request: Tree, record: SubmissionRecord, *, is_last: bool) -> J | None:
        """Submit once; ``None``: the service certainly did not accept the job, so it may be submitted again.

        :param is_last: raise instead of returning ``None``.
        """
        try:
            submitted_at = record.since
            return self.submit(submitted_request, submitted_at + SUBMISSION_VALIDITY)
        except ClockSkewError as error:
            if is_last or not error.corrected:
                raise
            return self._find_job_submitted_meanwhile(submitted_request)
        except AmbiguousSubmissionError as error:
            self.log.warning("%s. Looking for the job before submitting again", _message_without_hint(error))
            job = self._search_list(submitted_request, SubmittedBy.THIS_TRY, record)
            if job is None and is_last:
                raise
            return job

    def _find_job_submitted_meanwhile(self, submitted_request: Tree) -> J | None:
        """Return the job of a try that began while this one was suspended, if there is one: the process may
        find its clock wrong because it was suspended. With a store there is nothing to look for, because this
        try stops when it writes its next record.
        """
        if self.records.has_store:
            return None
        return self._search_list(submitted_request, SubmittedBy.UNRECORDED, may_be_in_flight=False)

    def _search_list(
        self,
        submitted_request: Tree,
        by: SubmittedBy,
        record: SubmissionRecord | None = None,
        *,
        may_be_in_flight: bool = True,
    ) -> J | None:
        job = self._search.search_until_certain(
            submitted_request, by, record, may_be_in_flight=may_be_in_flight
        )
        if job is not None:
            self.found_by_request = key_of_job(job) is None
        return job

    def _new_key(self) -> str:
        return self.identity.idempotency_key(self._fingerprint, self.who_waits)

    def _new_record(self, submitted_at: float, idempotency_key: str) -> SubmissionRecord:
        return SubmissionRecord(
            max_tries=self.identity.max_tries,
            fingerprint=self._fingerprint,
            since=submitted_at,
            idempotency_key=idempotency_key,
            worker_waits=self.who_waits == WORKER,
        )

    def _save_job(self, job: J, record: SubmissionRecord) -> None:
        """Record the job with which the task continues. A failure is only logged."""
        with_job = replace(
            record,
            job_id=str(job.job_id),
            worker_waits=self.who_waits == WORKER,
            found_by_request=record.found_by_request or self.found_by_request,
        )
        try:
            self.records.save(with_job)
        except StateStoreError as error:  # this try has the job, and a later try finds it in the list
            self.log.warning(
                "Job %s is known to this try only: %s. A later try finds it in the job list",
                job.job_id,
                error,
            )

    def _abandon(self, job_id: str | None, reason: str) -> bool:
        """Log that an earlier job no longer counts, and cancel it if it has not begun.

        :return: ``False`` if the cancellation failed, so that the caller should try again; else ``True``.
        """
        if job_id is None:
            self.log.warning(
                "An earlier submission, whose job is not known, is abandoned because %s: it may have been"
                " accepted and be billed",
                reason,
            )
            return True
        self.log.warning("Job %s, submitted before, is abandoned because %s", job_id, reason)
        if self.cancel is None:
            return True
        try:
            self._cancel_if_not_begun(job_id, self.cancel)
        except TaskKilledError:
            raise
        except TencentCIError as error:
            self.log.warning("Job %s could not be cancelled: %s", job_id, error)
            return False
        return True

    def _cancel_if_not_begun(self, job_id: str, cancel: Callable[[str], None]) -> None:
        job = describe_job(self.job_api, job_id)
        if job is None:  # its input may be in another bucket
            self.log.warning(
                "Job %s is not found in this bucket: cancel it in the console, in its own", job_id
            )
        elif job.may_be_cancelled:
            cancel(job_id)
            self.log.info("Asked to cancel job %s", job_id)


def _message_without_hint(error: TencentCIError) -> str:
    """Return the error's message without the advice to look for the job, which the caller does itself."""
    hint, error.hint = error.hint, None
    try:
        return str(error)
    finally:
        error.hint = hint
