"""What is remembered of a submission, in Airflow's task state store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

#: Key in Airflow's task state store. Never rename it: tries under way look it up.
STORE_KEY = "ci_submission"
#: Key of the latest try that has begun; apart, so that an earlier one that still lives cannot overwrite it.
TRY_KEY = "ci_submission_try"


@dataclass(frozen=True, slots=True)
class Record:
    """What the store holds about the latest submission of a task instance.

    :param clears: as in :class:`TaskIdentity`.
    :param fingerprint: digest of the request.
    :param since: Unix time of the intention, by the service's clock: another try may run on another machine.
    :param job_id: the job, once it is known.
    """

    clears: int
    fingerprint: str
    since: float
    job_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the store takes it."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, value: Any) -> Record | None:
        """Return it as stored, or ``None`` for nothing or something else."""
        try:
            return cls(**value)
        except TypeError:
            return None


class Store(Protocol):
    """Airflow's task state store."""

    def get(self, key: str, default: Any = None) -> Any: ...  # noqa: D102

    def set(self, key: str, value: Any) -> None: ...  # noqa: D102
