"""Reads the one event that :class:`~airflow_provider_ci.triggers.job.TencentCIJobTrigger` fires."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_ci import exceptions
from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.triggers.job import ENDED, ERROR, TIMEOUT


class Event(NamedTuple):
    """What a trigger said. ``error`` is set exactly when waiting itself failed. Times are Unix times, and
    ``None`` if a trigger of an older version did not say them.
    """

    is_timeout: bool
    job_ids: list[str]
    deadline: float | None
    error: TencentCIError | None
    started_at: float | None


def parse_event(event: Any) -> Event:
    """Return an event, checked.

    :raises TencentCIError: it is none of this provider's: an unknown status must never count as success.
    """
    said = event if isinstance(event, dict) else {}
    status, job_ids = said.get("status"), said.get("job_ids")
    if status not in (ENDED, TIMEOUT, ERROR):
        raise TencentCIError(f"The trigger fired an event with the unknown status {status!r}")
    if not isinstance(job_ids, list) or not job_ids:
        raise TencentCIError("The trigger fired an event without job ids")
    error = _error(said) if status == ERROR else None
    return Event(status == TIMEOUT, job_ids, said.get("deadline"), error, said.get("started_at"))


def _error(said: dict[str, Any]) -> TencentCIError:
    kind = getattr(exceptions, str(said.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, TencentCIError)):
        kind = TencentCIError
    return kind(
        said.get("message") or "Waiting in the triggerer failed",
        status=said.get("status_code"),
        code=said.get("code"),
        service_message=said.get("service_message"),
        request_id=said.get("request_id"),
        job_id=said.get("job_id") or (said["job_ids"][0] if said.get("job_count") == 1 else None),
        hint=said.get("hint"),
    )
