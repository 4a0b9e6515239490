"""What is recorded of a submission, in Airflow's task state store. Errors of the store are
:class:`~airflow_provider_ci.exceptions.StateStoreError`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from airflow_provider_ci.exceptions import StateStoreError, TaskKilledError

#: Key in Airflow's task state store. Never rename it: tries under way look it up.
STORE_KEY = "ci_submission"
#: Seconds after which a cancellation that was asked for has taken effect, with what two clocks may differ by.
CANCEL_TAKES_EFFECT = 60.0
#: Key of the latest try that has begun; apart, so that an earlier one that still lives cannot overwrite it.
TRY_KEY = "ci_submission_try"


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """What the store holds about the latest submission of a task instance.

    :param max_tries: as in :class:`~airflow_provider_ci.submission.idempotency_key.TaskIdentity`.
    :param fingerprint: digest of the request.
    :param since: Unix time of the submission, by the service's clock: another try may run on another machine.
        It stays what it is when a later try goes on with the job.
    :param idempotency_key: the text that the submission carried in ``UserData``.
    :param job_id: the job, once it is known.
    :param worker_waits: a worker waits for the job, or waited when it was killed or lost.
    :param cancel_requested_at: Unix time, by the service's clock, at which a try of this task has asked the
        service to cancel the job.
    :param found_by_request: the job was found by its request alone, without an idempotency key, so that it
        may be somebody else's.
    """

    max_tries: int
    fingerprint: str
    since: float
    idempotency_key: str = ""
    job_id: str | None = None
    worker_waits: bool = False
    cancel_requested_at: float | None = None
    found_by_request: bool = False

    def is_own_cancellation(self, job: Any) -> bool:
        """Tell whether a try of this task has cancelled the job: it ended when that was asked for."""
        if self.cancel_requested_at is None:
            return False
        ended_at = job.end_time.timestamp() if job.end_time else None
        return ended_at is None or ended_at <= self.cancel_requested_at + CANCEL_TAKES_EFFECT

    def to_json(self) -> dict[str, Any]:
        """Return it as the store takes it."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, value: Any) -> SubmissionRecord | None:
        """Return it as stored, or ``None`` for nothing or something else. What a later version of the
        provider has added is skipped.
        """
        if not isinstance(value, dict):
            return None
        try:
            return cls(**{name: value[name] for name in cls.__slots__ if name in value})
        except TypeError:
            return None


class TaskStateStore(Protocol):
    """Airflow's task state store."""

    def get(self, key: str, default: Any = None) -> Any: ...  # noqa: D102

    def set(self, key: str, value: Any) -> None: ...  # noqa: D102


class SubmissionRecords:
    """The record of a task instance, as one of its tries reads and writes it; without a store there is none.

    :param store: the task state store; ``None`` before Airflow 3.3.
    """

    def __init__(self, store: TaskStateStore | None, try_number: int) -> None:
        self._store = store
        self._try_number = try_number

    def claim(self) -> None:
        """Record that this try has begun, before it looks what earlier ones have recorded.

        Each looks whether another one has done so after it has recorded its submission. So whichever of two
        processes comes second sees the other. The other one may also be an earlier try that was held up just
        here.

        :raises TaskKilledError: a later try has begun.
        """
        if self._store is not None and self._try_number > 1:
            self._stop_if_superseded(by_earlier_too=False)
            self._set(TRY_KEY, self._try_number)

    def load(self) -> SubmissionRecord | None:
        """Return what the latest submission has left."""
        return SubmissionRecord.from_json(self._get(STORE_KEY))

    def save_before_submission(self, record: SubmissionRecord) -> None:
        """Save the record of what is about to be submitted.

        :raises TaskKilledError: another try has begun, which may submit; this one must not.
        """
        self._stop_if_superseded()  # also before: it would overwrite what the later try has recorded
        self._set(STORE_KEY, record.to_json())
        self._stop_if_superseded()

    def save(self, record: SubmissionRecord) -> None:
        """Save the record of a job that is known."""
        self._set(STORE_KEY, record.to_json())

    def note_cancel_request(self, job_id: str, requested_at: float | None) -> None:
        """Record that a try of this task asks the service to cancel its job, so that a retry may submit it
        again.

        :param requested_at: Unix time, by the service's clock; ``None``: the service has refused it.
        """
        record = self.load()
        # not what a later try has recorded; the id may not have been recorded yet
        if record is not None and record.job_id in (None, job_id):
            self.save(replace(record, job_id=job_id, cancel_requested_at=requested_at))

    def is_own_cancellation(self, job: Any) -> bool:
        """Tell whether a try of this task has cancelled its job."""
        record = self.load()
        return record is not None and record.job_id == job.job_id and record.is_own_cancellation(job)

    def may_be_others(self, job_id: str) -> bool:
        """Tell whether the job was found by its request alone."""
        record = self.load()
        return record is not None and record.job_id == job_id and record.found_by_request

    def note_end_of_wait(self, job_id: str) -> None:
        """Record that the worker that has waited for the job has ended by itself, so that clearing the task
        asks for a new job.
        """
        record = self.load()
        if record is not None and record.job_id == job_id:
            self.save(replace(record, worker_waits=False))

    def _stop_if_superseded(self, *, by_earlier_too: bool = True) -> None:
        own = self._try_number
        latest = self._get(TRY_KEY, own)
        if latest > own or (by_earlier_too and latest != own):
            raise TaskKilledError(f"Try {latest} of this task has taken over; try {own} does not submit")

    def _get(self, key: str, default: Any = None) -> Any:
        if self._store is None:
            return default
        try:
            return self._store.get(key, default)
        except Exception as error:
            raise _store_error("read", error) from error

    def _set(self, key: str, value: Any) -> None:
        if self._store is None:
            return
        try:
            self._store.set(key, value)
        except Exception as error:
            raise _store_error("written", error) from error


def _store_error(what: str, error: Exception) -> StateStoreError:
    reason = f"{type(error).__name__}: {error}"[:500]
    return StateStoreError(
        f"Airflow's task state store could not be {what}: {reason}",
        hint="Without a record nothing is submitted. A retry looks for jobs of earlier tries first",
    )
