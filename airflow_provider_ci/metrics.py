"""Counts for Airflow's metrics: StatsD, Datadog or OpenTelemetry. docs/metrics.md has the names.

Airflow discards them if ``[metrics]`` names no backend. A failure is only logged: it must not end a task that
has paid for a job.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.jobs import Job

log = logging.getLogger(__name__)

_PREFIX = "tencent_ci."


def count(name: str, number: int = 1, tags: Mapping[str, str] | None = None) -> None:
    """Add ``number`` to a counter."""
    try:
        _stats().incr(_PREFIX + name, number, tags=dict(tags or {}))
    except Exception as error:
        log.debug("Metric %s could not be sent: %s", name, error)


def count_request(purpose: str) -> None:
    """Count a request that is about to be sent.

    :param purpose: of its :class:`~airflow_provider_ci.protocol.api_request.ApiRequest`.
    """
    count(f"requests.{purpose.replace(' ', '_')}")


def count_ended(jobs: Iterable[Job]) -> None:
    """Count those of some jobs that have ended, and their seconds."""
    ended = EndedJobs()
    for job in jobs:
        ended.add(job)
    ended.send()


class EndedJobs:
    """How many jobs have ended, and how many seconds the service worked on them, by type and state."""

    def __init__(self) -> None:
        self._jobs: Counter[tuple[str, str]] = Counter()
        self._seconds: Counter[tuple[str, str]] = Counter()

    def add(self, job: Job) -> None:
        """Add a job, if it has ended. One that never began has taken no time."""
        if not job.job_state.is_terminal:
            return
        group = job.tag or "unknown", str(job.job_state)
        self._jobs[group] += 1
        if job.start_time is not None and job.end_time is not None:
            self._seconds[group] += max(round((job.end_time - job.start_time).total_seconds()), 0)

    def send(self) -> None:
        """Send the counts."""
        for group, number in self._jobs.items():
            tags = dict(zip(("job_type", "state"), group, strict=True))
            count("jobs_ended", number, tags)
            count("job_seconds", self._seconds[group], tags)


@cache
def _stats() -> Any:
    # not at the top: DAG files load this module
    from airflow.providers.common.compat.sdk import Stats

    return Stats
