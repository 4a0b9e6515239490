"""Probes of what the service refuses, and how. They cost nothing."""

from __future__ import annotations

import secrets

from airflow_provider_ci.exceptions import PermissionDeniedError, ServiceError
from airflow_provider_ci.protocol.job_types.known_types import JOB_TYPES
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE
from live import job_requests
from live.facts import Facts, Found, NotObservedError, describe, refusal
from live.requests import CreateTemplateUnchecked, DeleteTemplateStrictly

_OTHER_REGIONS = ("ap-beijing", "ap-shanghai")


def unbound_bucket(facts: Facts) -> Found:
    """Submit a job for a bucket of which no service is open.

    If it is accepted, it takes the place of the job that is cancelled at once, and no other is submitted.
    """
    if not facts.place.has_own_bucket:
        raise NotObservedError("it needs a new bucket: run without --bucket")
    job = facts.watch.submit(
        "cancelled",
        "Transcode",
        f"{facts.token}-unbound",
        job_requests.unbound(facts.place, f"{facts.token}-unbound"),
        cancel=True,
    )
    if job.error is not None:
        raise NotObservedError(f"it is not known whether the job was accepted: {describe(job.error)}")
    if job.job_id is not None:
        return Found("accepted", "POST /jobs for a new bucket, before a service was opened; it was cancelled")
    return Found(refusal(job.refusals["unbound"]), "POST /jobs for a new bucket, before a service was opened")


def listed_tags(facts: Facts) -> Found:
    """Ask for one job of each type."""
    listed, refused = {}, set()
    for tag in JOB_TYPES:
        try:
            next(facts.hook.list_jobs(tag=tag, size=1, **facts.where), None)
            listed[tag] = True
        except ServiceError as error:
            answer = refusal(error)
            listed[tag] = False
            refused.add(f"HTTP {answer['status']} {answer['code']}")
    accepted = sum(listed.values())
    how = f"the others with {', '.join(sorted(refused))}" if refused else "and refused none"
    return Found(listed, f"GET /jobs?tag=… listed {accepted} of {len(listed)} types, {how}")


def unknown_job(facts: Facts) -> Found:
    """Describe a job that does not exist."""
    unknown = "j" + secrets.token_hex(16)
    try:
        response = facts.hook.describe_jobs([unknown], **facts.where)
    except ServiceError as error:
        return Found(refusal(error), "GET /jobs/<random id>")
    if response.jobs_detail:
        raise NotObservedError("the service describes a job of a random id")
    form = "NonExistJobIds" if unknown in response.non_exist_job_ids else "empty"
    return Found({"status": 200, "form": form}, "GET /jobs/<random id>")


def wrong_region(facts: Facts) -> Found:
    """List jobs of the bucket on the host of a region where it is not."""
    region = next(region for region in _OTHER_REGIONS if region != facts.place.region)
    try:
        with facts.hook.limit(attempts=1):
            jobs = facts.hook.list_jobs(tag=VOICE_SEPARATE, size=1, bucket=facts.place.bucket, region=region)
            next(jobs, None)
    except ServiceError as error:
        return Found(refusal(error), "GET /jobs on the host of another region")
    raise NotObservedError("the host of another region responded as if the bucket were there")


def template_not_found(facts: Facts) -> Found:
    """Create a template, delete it, and delete it again."""
    name = f"{facts.token}-template"
    facts.journal.add("template", name)
    config = {"Codec": "mp3", "Samplerate": "44100"}
    body = {"Tag": VOICE_SEPARATE, "Name": name, "AudioMode": "IsAudio", "AudioConfig": config}
    template = DeleteTemplateStrictly(facts.hook.call(CreateTemplateUnchecked(body), **facts.where))
    try:
        facts.hook.call(template, **facts.where)
    except PermissionDeniedError as error:
        facts.undeletable = error
        raise
    try:
        facts.hook.call(template, **facts.where)
    except ServiceError as error:
        return Found(refusal(error), "DELETE /template/<id> of a template that had just been deleted")
    raise NotObservedError("the service deleted a template twice without an error")


def invalid_argument(facts: Facts) -> Found:
    """Create a template with a mode that does not exist."""
    name = f"{facts.token}-invalid"
    facts.journal.add("template", name)
    body = {"Tag": VOICE_SEPARATE, "Name": name, "AudioMode": "NoSuchMode", "AudioConfig": {"Codec": "mp3"}}
    try:
        facts.hook.call(CreateTemplateUnchecked(body), **facts.where)
    except ServiceError as error:
        return Found(refusal(error), "POST /template with an AudioMode that does not exist")
    raise NotObservedError("the service accepted an AudioMode that does not exist")
