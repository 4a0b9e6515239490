"""Records what a task instance submits, in Airflow's task state store, so that its next try finds the job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from airflow_provider_ci.exceptions import StateStoreError, TaskKilledError

#: Key of the record in Airflow's task state store. Never rename it: tries in progress look it up.
STORE_KEY = "ci_submission"
#: Key of the number of the latest try. It is not part of the record, which an earlier try may still write.
TRY_KEY = "ci_submission_try"
#: Seconds within which a job's end counts as the effect of a request to cancel it. Two clocks may differ.
CANCEL_TAKES_EFFECT = 60.0


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """The latest submission of a task instance.

    :param max_tries: as in :class:`~airflow_provider_ci.submission.idempotency_key.TaskIdentity`.
    :param fingerprint: digest of the request.
    :param since: Unix time of the submission, by the service's clock, because another try may run on another
        machine. A later try that continues with the job does not change it.
    :param idempotency_key: the key that the submission carried in ``UserData``.
    :param job_id: the job, once it is known.
    :param worker_waits: a worker is waiting for the job, or was when it was killed or lost.
    :param cancel_requested_at: Unix time, by the service's clock, at which a try of this task asked the
        service to cancel the job.
    :param found_by_request: the job was found by its request, without an idempotency key, so that it may be
        somebody else's.
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
        """Tell whether a cancelled job ended because a try of this task asked for the cancellation."""
        return is_effect_of_cancel_request(job, self.cancel_requested_at)

    def to_json(self) -> dict[str, Any]:
        """Return the record as the store keeps it."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, value: Any) -> SubmissionRecord | None:
        """Return a stored record; ``None`` if ``value`` is not a record. Fields that a later version of the
        provider added are skipped.
        """
        if not isinstance(value, dict):
            return None
        try:
            return cls(**{name: value[name] for name in cls.__slots__ if name in value})
        except TypeError:
            return None


def is_effect_of_cancel_request(job: Any, requested_at: float | None) -> bool:
    """Tell whether a cancelled job ended because a try of this task asked for the cancellation.

    :param requested_at: Unix time, by the service's clock, at which it asked; ``None``: it did not.
    """
    if requested_at is None:
        return False
    if job.end_time is None:
        return True
    return bool(job.end_time.timestamp() <= requested_at + CANCEL_TAKES_EFFECT)


class TaskStateStore(Protocol):
    """Airflow's task state store."""

    def get(self, key: str, default: Any = None) -> Any: ...  # noqa: D102

    def set(self, key: str, value: Any) -> None: ...  # noqa: D102


class TryRecords:
    """Reads and writes what the tries of a task instance record, for one of them.

    Without a store it finds nothing and writes nothing. Errors of the store are
    :class:`~airflow_provider_ci.exceptions.StateStoreError`.

    Of two tries that are alive at once only one submits, because each proceeds in this order:

    ====  ====================================  =================================================
    step  what it does                          how
    ====  ====================================  =================================================
    1     takes over                            :meth:`take_over` writes the number of this try;
                                                raises if a later try has written its own
    2     reads what earlier tries recorded
    3     records the submission that is next   :meth:`write_as_latest_try` raises if another try
                                                has taken over since; writes the record; raises if
                                                another try has taken over
    4     submits
    5     writes the record with the job id
    ====  ====================================  =================================================

    So a later try either reads the record of an earlier one, or has taken over before the earlier one's
    last check, which then raises.

    :param store: the task state store; ``None`` before Airflow 3.3.
    :param try_number: the number of this try.
    """

    # A try that has taken over notices if a clear deletes the records
    _first_try_takes_over = False

    def __init__(self, store: TaskStateStore | None, try_number: int) -> None:
        self._store = store
        self._try_number = try_number
        self._has_taken_over = False

    @property
    def has_store(self) -> bool:
        """Whether records are kept."""
        return self._store is not None

    def take_over(self) -> None:
        """Write that this try has begun.

        The first try of a task with one job does not write it, because no earlier try could read it.

        :raises TaskKilledError: a later try has begun.
        """
        if self._store is None or (self._try_number <= 1 and not self._first_try_takes_over):
            return
        latest = int(self.read(TRY_KEY, self._try_number))
        if latest > self._try_number:
            raise self._error_of_other_try(latest)
        self.write(TRY_KEY, self._try_number)
        self._has_taken_over = True

    def write_as_latest_try(self, key: str, value: Any) -> None:
        """Write the record of what is submitted next.

        :raises TaskKilledError: another try has begun. It may submit, so this one must not.
        """
        self._raise_if_other_try_took_over()  # the record would overwrite that of the other try
        self.write(key, value)
        self._raise_if_other_try_took_over()

    def read(self, key: str, default: Any = None) -> Any:
        """Return a stored value."""
        if self._store is None:
            return default
        try:
            return self._store.get(key, default)
        except Exception as error:
            raise _store_error("read", error) from error

    def write(self, key: str, value: Any) -> None:
        """Store a value."""
        if self._store is None:
            return
        try:
            self._store.set(key, value)
        except Exception as error:
            raise _store_error("written", error) from error

    def _raise_if_other_try_took_over(self) -> None:
        latest = self.read(TRY_KEY)
        if latest is None and self._has_taken_over:
            raise TaskKilledError(
                f"The records of this task were deleted, perhaps by a clear; try {self._try_number} does not"
                " submit"
            )
        # an earlier try that was held up before it took over may have overwritten the number of this one
        if latest is not None and int(latest) != self._try_number:
            raise self._error_of_other_try(int(latest))

    def _error_of_other_try(self, latest: int) -> TaskKilledError:
        return TaskKilledError(
            f"Try {latest} of this task has taken over; try {self._try_number} does not submit"
        )


class SubmissionRecords(TryRecords):
    """Reads and writes the record of a task instance that submits one job."""

    def load(self) -> SubmissionRecord | None:
        """Return the record of the task instance's latest submission, if there is one."""
        return SubmissionRecord.from_json(self.read(STORE_KEY))

    def save_before_submission(self, record: SubmissionRecord) -> None:
        """Write the record of a submission that is sent next.

        :raises TaskKilledError: another try has begun. It may submit, so this one must not.
        """
        self.write_as_latest_try(STORE_KEY, record.to_json())

    def save(self, record: SubmissionRecord) -> None:
        """Write the record of a submission whose job is known."""
        self.write(STORE_KEY, record.to_json())

    def note_cancel_request(self, job_id: str, requested_at: float | None) -> None:
        """Record that a try of this task asks the service to cancel its job, so that a retry may submit it
        again.

        :param requested_at: Unix time, by the service's clock; ``None``: the service refused the request.
        """
        record = self.load()
        # a record of another job was written by a later try; one without a job may be this job's
        if record is not None and record.job_id in (None, job_id):
            self.save(replace(record, job_id=job_id, cancel_requested_at=requested_at))

    def note_end_of_wait(self, job_id: str) -> None:
        """Record that the worker no longer waits for the job, although it was not killed. A clear of the task
        then asks for a new job.
        """
        record = self._load_of_job(job_id)
        if record is not None:
            self.save(replace(record, worker_waits=False))

    def is_own_cancellation(self, job: Any) -> bool:
        """Tell whether a cancelled job ended because a try of this task asked for the cancellation."""
        record = self._load_of_job(job.job_id)
        return record is not None and record.is_own_cancellation(job)

    def was_found_by_request(self, job_id: str) -> bool:
        """Tell whether the job was found by its request, so that it may be somebody else's."""
        record = self._load_of_job(job_id)
        return record is not None and record.found_by_request

    def _load_of_job(self, job_id: str | None) -> SubmissionRecord | None:
        record = self.load()
        return record if record is not None and record.job_id == job_id else None


def _store_error(action: str, error: Exception) -> StateStoreError:
    reason = f"{type(error).__name__}: {error}"[:500]
    return StateStoreError(
        f"Airflow's task state store could not be {action}: {reason}",
        hint="Without a record nothing is submitted. A retry looks for jobs of earlier tries first",
    )
