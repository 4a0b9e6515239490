"""Probes of the list of jobs."""

from __future__ import annotations

from collections.abc import Iterable

from live.facts import Facts, Found, NotObservedError
from live.watched_jobs import WatchedJob


def user_data_in_list(facts: Facts) -> Found:
    """Compare ``UserData`` in lists with what was sent."""
    listed = [(job, text) for job in facts.jobs() for text in job.listed_user_data]
    if not listed:
        raise NotObservedError("no list has shown a job of this run")
    same = sum(text == job.user_data for job, text in listed)
    return Found(same == len(listed), f"{same} of {len(listed)} times, a listed job had what was sent")


def list_lag_seconds(facts: Facts) -> Found:
    """Measure how long the list lacks a job that was accepted."""
    return _longest(
        [(job.submitted_at, job.missing_until, job.listed_at) for job in facts.jobs()],
        "no list has shown a job of this run",
    )


def ended_lag_seconds(facts: Facts) -> Found:
    """Measure how long the list says that a job has not ended after a description has said that it has."""
    return _longest(
        [(job.ended_at, job.contradicted_until, job.listed_ended_at) for job in facts.jobs()],
        "no job of this run has ended in a list",
    )


def list_order_by_time_asc(facts: Facts) -> Found:
    """Ask for the oldest job first."""
    own = {job.job_id for job in facts.jobs()}
    found = facts.hook.list_jobs(
        tag="Transcode", order_by_time="Asc", start_creation_time=facts.watch.since, **facts.where
    )
    listed = [job.creation_time for job in found if job.job_id in own and job.creation_time]
    if len(set(listed)) < 2:
        raise NotObservedError("it needs two listed jobs of the type Transcode with different creation times")
    is_honoured = listed == sorted(listed)
    return Found("honoured" if is_honoured else "ignored", f"orderByTime=Asc with {len(listed)} jobs")


def list_ends_included(facts: Facts) -> Found:
    """Ask for the jobs between the creation of one job and the same second."""
    job = _first_listed(facts)
    created = job.description.creation_time if job.description else None
    if created is None:
        raise NotObservedError("the job's description has no CreationTime")
    listed = facts.hook.list_jobs(
        tag=job.tag, start_creation_time=created, end_creation_time=created, **facts.where
    )
    is_included = job.job_id in {each.job_id for each in listed}
    return Found(is_included, "startCreationTime and endCreationTime were both the CreationTime of a job")


def _first_listed(facts: Facts) -> WatchedJob:
    job = next((job for job in facts.jobs() if job.listed_at is not None), None)
    if job is None:
        raise NotObservedError("no list has shown a job of this run")
    return job


def _longest(seen: Iterable[tuple[float | None, float | None, float | None]], otherwise: str) -> Found:
    """Return the longest of some delays: when each began, was seen for the last time, and was over.

    Looks may be far apart, so only what was seen counts. A delay that nothing has shown is 0.

    :raises NotObservedError: none was over; it says ``otherwise``.
    """
    delays = [
        (0.0, over - begin) if last is None else (last - begin, over - begin)
        for begin, last, over in seen
        if begin is not None and over is not None
    ]
    if not delays:
        raise NotObservedError(otherwise)
    at_least, at_most = max(delays)
    return Found(
        round(at_least),
        f"the longest of {len(delays)} jobs: {at_least:.1f} s or more, and over when a look came"
        f" after {at_most:.1f} s",
    )
