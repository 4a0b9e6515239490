"""Probes of the list of jobs."""

from __future__ import annotations

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
    lags = [_between(job.submitted_at, job.missing_until, job.listed_at) for job in facts.jobs()]
    seen = [lag for lag in lags if lag is not None]
    if not seen:
        raise NotObservedError("no list has shown a job of this run")
    return Found(max(seen), f"the longest of {len(seen)} jobs, in whole seconds")


def ended_lag_seconds(facts: Facts) -> Found:
    """Measure how long the list says that a job has not ended after a description has said that it has."""
    lags = [
        _between(job.ended_at, job.contradicted_until, job.listed_ended_at)
        for job in facts.jobs()
        if job.ended_at is not None
    ]
    seen = [lag for lag in lags if lag is not None]
    if not seen:
        raise NotObservedError("no job of this run has ended in a list")
    return Found(max(seen), f"the longest of {len(seen)} jobs, in whole seconds")


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


def _between(begin: float | None, missing_until: float | None, seen_at: float | None) -> int | None:
    """Return how long something was missing, in whole seconds; 0 if it never was.

    The end is between the last look without it and the first look with it.
    """
    if begin is None or seen_at is None:
        return None
    return 0 if missing_until is None else round((missing_until + seen_at) / 2 - begin)
