"""The events of jobs that have ended, in Airflow's database: one for each job, whoever waits for it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.ended_jobs import ended_job_event

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint

log = logging.getLogger(__name__)

#: A job that ended longer ago gets no event: its callback was repeated by somebody.
MAX_AGE = timedelta(days=1)
# The event of a job is younger than the job's end, but clocks may differ
_CLOCK_TOLERANCE = timedelta(hours=1)


def add_event(asset_name: str, job: Job, endpoint: Endpoint) -> bool:
    """Add an event of a job to an asset, in the form of Airflow's own events of triggers. Blocks.

    :return: ``False`` if the asset does not exist, or has an event of this job already.
    """
    from airflow.assets.manager import AssetManager
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from airflow.utils.sqlalchemy import with_row_locks
    from sqlalchemy import select

    now = datetime.now(UTC)
    ended_at = min(job.end_time or now, now)
    if now - ended_at > MAX_AGE:
        return False
    with create_session(scoped=False) as session:
        named = select(AssetModel).where(AssetModel.name == asset_name, AssetModel.active.has())
        asset: Any = session.scalars(with_row_locks(named, session, of=AssetModel)).first()
        if asset is None:
            log.warning(
                "No event of job %s: Airflow has no active asset %r. Unpause a DAG that uses it, or correct"
                " callback_asset",
                job.job_id,
                asset_name,
            )
            return False
        if _has_event(session, asset.id, str(job.job_id), ended_at - _CLOCK_TOLERANCE):
            return False
        payload = ended_job_event(job, bucket=endpoint.bucket, region=endpoint.region)
        AssetManager.register_asset_change(
            asset=asset, extra={"from_trigger": True, "payload": payload}, session=session
        )
        return True


def _has_event(session: Session, asset_id: int, job_id: str, since: datetime) -> bool:
    from airflow.models.asset import AssetEvent
    from sqlalchemy import select

    event = select(AssetEvent.id).where(
        AssetEvent.asset_id == asset_id,
        AssetEvent.timestamp >= since,
        AssetEvent.extra["payload"]["job_id"].as_string() == job_id,
    )
    return session.scalars(event.limit(1)).first() is not None
