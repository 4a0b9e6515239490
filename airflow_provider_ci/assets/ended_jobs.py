"""Reads the jobs that have ended from an asset's events, in a task (Airflow 3.3 or newer).

A run that an asset starts has the events up to the first one after the run before. Those that follow before
the scheduler creates it start no run: they are in the run of whichever event comes next. So a task reads the
events itself, and finds all that were stored before it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset

    from airflow_provider_ci.protocol.ended_jobs import EndedJobEvent

# Events are stored by several processes, so one may be seen later than one with a later time
_OVERLAP = timedelta(seconds=60)
# A triggerer that died may announce a job again when it has been restarted
_REMEMBERED = timedelta(minutes=15)


@contextmanager
def unread_ended_jobs(asset: Asset, context: Mapping[str, Any]) -> Iterator[list[EndedJobEvent]]:
    """Yield the jobs of an asset's events that this task of this DAG has not read yet, each once.

    They count as read when the block is left without an error, so a retry reads them again. A run may find
    none, if an earlier one has read them all. The asset must be an inlet of the task, and only one run may be
    active at a time (``max_active_runs=1``).

    :param asset: the asset whose events are about jobs that have ended; others are left out.
    :param context: the task's context.
    :raises ConfigurationError: the asset is no inlet of the task, or Airflow is older than 3.3.
    """
    store = _state_store(asset, context)
    ti = context["ti"]
    key = f"tencent_ci_ended_jobs_read_by_{ti.dag_id}.{ti.task_id}"
    read = {job_id: datetime.fromisoformat(at) for job_id, at in (store.get(key) or {}).items()}
    jobs: dict[str, EndedJobEvent] = {}
    for event in _events_since(asset, context, max(read.values(), default=None)):
        payload = event.extra.get("payload")
        is_about_job = isinstance(payload, dict) and "job_id" in payload
        if not is_about_job:
            continue  # a user or another task has made it
        if payload["job_id"] not in read:
            jobs.setdefault(payload["job_id"], payload)
        read[payload["job_id"]] = event.timestamp
    yield list(jobs.values())
    if read:
        oldest = max(read.values()) - _REMEMBERED
        store.set(key, {job_id: at.isoformat() for job_id, at in read.items() if at >= oldest})


def _state_store(asset: Asset, context: Mapping[str, Any]) -> Any:
    try:
        return context["asset_state_store"][asset]
    except KeyError:
        raise ConfigurationError(
            f"The asset {asset.name!r} is no inlet of the task, or Airflow is older than 3.3",
            hint="Name it in the task: @task(inlets=[asset])",
        ) from None


def _events_since(asset: Asset, context: Mapping[str, Any], last_read: datetime | None) -> Any:
    """Return the events that may not have been read."""
    events = context["inlet_events"][asset]
    if last_read is not None:
        return events.after((last_read - _OVERLAP).isoformat())
    first = [event.timestamp for event in context["triggering_asset_events"].get(asset, ())]
    return events.after(min(first).isoformat()) if first else events
