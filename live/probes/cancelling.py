"""Probes of what a cancellation does to jobs in each state."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.exceptions import ServiceError
from airflow_provider_ci.protocol.jobs import CANCEL, RUNNING, SUBMITTED
from live.facts import Facts, Found, NotObservedError, outcome, refusal


def cancel_submitted(facts: Facts) -> Found:
    """Look at the job that was cancelled right after its submission."""
    job = facts.accepted_job("cancelled")
    if job.cancellation is None:
        raise NotObservedError("the job was not cancelled")
    if job.state == CANCEL:
        return Found("cancelled", "PUT ?cancel right after the submission; the job ended Cancel")
    if job.cancellation.state_after != SUBMITTED:
        raise NotObservedError(f"the job had probably begun: it ended {outcome(job.description)}")
    how = refusal(job.cancellation.refusal)["status"] if job.cancellation.refusal else 200
    return Found(
        "refused", f"PUT ?cancel right after the submission: HTTP {how}, and the job was still {SUBMITTED}"
    )


def cancel_running(facts: Facts) -> Found:
    """Look at the job that was cancelled while it was running."""
    job = facts.accepted_job("long_key")
    if job.cancellation is None:
        raise NotObservedError("no look saw the job running: it was too quick")
    if not job.state.is_terminal:
        raise NotObservedError(f"the job ended {outcome(job.description)}")
    is_cancelled = job.state == CANCEL
    return Found(
        _effect(job.cancellation.refusal, is_cancelled=is_cancelled),
        f"PUT ?cancel of a job that was {RUNNING}, which then ended {outcome(job.description)}",
    )


def cancel_ended(facts: Facts) -> Found:
    """Cancel a job that has ended ``Success``."""
    job = next((each for each in facts.jobs() if each.state.is_successful), None)
    if job is None or job.job_id is None:
        raise NotObservedError("no job of the hook has ended Success")
    refused = facts.watch.cancel(job)
    described = facts.hook.describe_jobs([job.job_id], **facts.where).jobs_detail
    if not described:
        raise NotObservedError("the service does not describe the job any more")
    is_cancelled = described[0].job_state == CANCEL
    return Found(
        _effect(refused, is_cancelled=is_cancelled),
        f"PUT ?cancel of a job in Success, which is {described[0].job_state} afterwards",
    )


def _effect(refused: ServiceError | None, *, is_cancelled: bool) -> dict[str, Any]:
    answer = {"status": 200} if refused is None else refusal(refused)
    return {**answer, "effect": "cancelled" if is_cancelled else "none"}
