"""The events of jobs that have ended, in Airflow's database: one for each job, whoever waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.ended_jobs import ended_job_event

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint

#: A job that ended longer ago gets no event: its callback was repeated by somebody.
MAX_AGE = timedelta(days=1)
# The event of a job is younger than the job's end, but clocks may differ
_CLOCK_TOLERANCE = timedelta(hours=1)


def add_events(asset_name: str, jobs: Sequence[Job], endpoint: Endpoint) -> list[str] | None:
    """Add an event of each job to an asset, in the form of Airflow's own events of triggers. Blocks.

    :return: the ids of jobs whose events were added: not of jobs of which the asset has an event already.
        ``None`` if the asset does not exist.
    """
    from airflow.assets.manager import AssetManager
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from airflow.utils.sqlalchemy import with_row_locks
    from sqlalchemy import select

    now = datetime.now(UTC)
    recent = {str(job.job_id): job for job in jobs if now - (job.end_time or now) <= MAX_AGE}
    if not recent:
        return []
    with create_session(scoped=False) as session:
        named = select(AssetModel).where(AssetModel.name == asset_name, AssetModel.active.has())
        asset: Any = session.scalars(with_row_locks(named, session, of=AssetModel)).first()
        if asset is None:
            return None
        earliest_end = min(min(job.end_time or now, now) for job in recent.values())
        known = _jobs_with_event(session, asset.id, list(recent), earliest_end - _CLOCK_TOLERANCE)
        new = {job_id: job for job_id, job in recent.items() if job_id not in known}
        for job in new.values():
            payload = ended_job_event(job, bucket=endpoint.bucket, region=endpoint.region)
            AssetManager.register_asset_change(
                asset=asset, extra={"from_trigger": True, "payload": payload}, session=session
            )
        return list(new)


def _jobs_with_event(session: Session, asset_id: int, job_ids: list[str], since: datetime) -> set[str]:
    from airflow.models.asset import AssetEvent
    from sqlalchemy import select

    job_id = AssetEvent.extra["payload"]["job_id"].as_string()
    events = select(job_id).where(
        AssetEvent.asset_id == asset_id, AssetEvent.timestamp >= since, job_id.in_(job_ids)
    )
    return set(session.scalars(events))
