"""Reads the one event that :class:`~airflow_provider_ci.triggers.job.TencentCIJobTrigger` fires."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_ci import exceptions
from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.triggers.job import ENDED, ERROR, TIMEOUT


class Event(NamedTuple):
    """How a wait in the triggerer ended. ``error`` is set exactly when the waiting itself failed. Times are
    Unix times, and ``None`` in events of triggers of older versions, which lack them. ``fired_at`` is set
    if a callback was expected, but the triggerer has ended the wait.
    """

    is_timeout: bool
    job_ids: list[str]
    deadline: float | None
    error: TencentCIError | None
    started_at: float | None
    fired_at: float | None = None


def parse_event(event: Any, *, needs_ids: bool = True) -> Event:
    """Return a checked event.

    :param needs_ids: the event has to name jobs.
    :raises TencentCIError: it is not an event of this provider; an unknown status must never count as
        success.
    """
    payload = event if isinstance(event, dict) else {}
    status, job_ids = payload.get("status"), payload.get("job_ids")
    if status not in (ENDED, TIMEOUT, ERROR):
        raise wrong_event_error(f"with the unknown status {status!r}")
    if needs_ids and (not isinstance(job_ids, list) or not job_ids):
        raise wrong_event_error("without job ids")
    error = _parse_error(payload) if status == ERROR else None
    times = {name: payload.get(name) for name in ("deadline", "started_at", "fired_at")}
    return Event(is_timeout=status == TIMEOUT, job_ids=job_ids or [], error=error, **times)


def wrong_event_error(what: str) -> TencentCIError:
    """Return the error for an event that is not this provider's, or not of this version.

    :param what: what is wrong: the end of a sentence.
    """
    return TencentCIError(
        f"The trigger fired an event {what}",
        hint="Install one version of this provider everywhere, and restart the triggerer",
    )


def _parse_error(payload: dict[str, Any]) -> TencentCIError:
    kind = getattr(exceptions, str(payload.get("error")), None)
    message = payload.get("message") or "Waiting in the triggerer failed"
    if not (isinstance(kind, type) and issubclass(kind, TencentCIError)):
        return TencentCIError(message)
    return kind(message, **payload.get("details", {}))
