"""Finds jobs that a script has submitted, as docs/migrating.md shows it."""

from __future__ import annotations

from datetime import UTC, datetime


def jobs_of_the_script(since: datetime) -> list[str]:
    """Return the ids of the jobs that have not ended yet, submitted since then."""
    # [START find]
    from airflow_provider_ci.hooks.ci import TencentCIHook

    jobs = TencentCIHook().list_jobs(states=["Submitted", "Running", "Pause"], start_creation_time=since)
    # a job of the provider has its key in UserData
    ids = [job.job_id for job in jobs if not (job.user_data or "").startswith("airflow ")]
    # [END find]
    return ids  # noqa: RET504 - the page shows no function


#: A moment before any job.
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
