"""Probes of what the description of a job has."""

from __future__ import annotations

import re

from live.facts import Facts, Found, NotObservedError
from live.requests import ReadCreationTime

_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)\Z")


def user_data_in_description(facts: Facts) -> Found:
    """Compare ``UserData`` in descriptions with what was sent."""
    seen = [(job, text) for job in facts.jobs() for text in job.described_user_data]
    if not seen:
        raise NotObservedError("no job of this run was described")
    same = sum(text == job.user_data for job, text in seen)
    return Found(same == len(seen), f"{same} of {len(seen)} descriptions had what was sent")


def progress(facts: Facts) -> Found:
    """Look for ``Progress`` in the descriptions of jobs that are running or successful."""
    seen = [value for job in facts.jobs() for value in job.progress_seen]
    if not seen:
        raise NotObservedError("no job was seen running or successful")
    values = [value for value in seen if value is not None]
    if not values:
        return Found("absent", f"none of {len(seen)} descriptions has it")
    if not all(0 <= value <= 100 for value in values) or max(values) <= 1:
        raise NotObservedError(f"values from {min(values)} to {max(values)} are no percentage")
    return Found(
        "percentage", f"{len(values)} of {len(seen)} descriptions have it, {min(values)} to {max(values)}"
    )


def job_id_length(facts: Facts) -> Found:
    """Count the characters of the ids."""
    lengths = {len(job.job_id) for job in facts.jobs() if job.job_id}
    if len(lengths) > 1:
        raise NotObservedError(f"ids have different lengths: {', '.join(map(str, sorted(lengths)))}")
    return Found(lengths.pop(), f"the ids of {len(facts.jobs())} jobs")


def timestamps_offset(facts: Facts) -> Found:
    """Read the end of a time as the service writes it."""
    job_id = facts.jobs()[0].job_id or ""
    text = facts.hook.call(ReadCreationTime(job_id), **facts.where)
    if text.endswith("Z"):
        return Found("+0000", "CreationTime ends in Z")
    match = _OFFSET.search(text)
    if match is None:
        raise NotObservedError("CreationTime has no offset")
    return Found("".join(match.groups()), f"CreationTime ends in {match[0]}")
