"""Probes of the batch job."""

from __future__ import annotations

from live.facts import Facts, Found, NotObservedError, outcome


def batch_id_length(facts: Facts) -> Found:
    """Count the characters of its id."""
    batch = facts.accepted_batch()
    return Found(len(batch.job_id or ""), f"the id of a batch job, which ended {outcome(batch.description)}")


def batch_user_data(facts: Facts) -> Found:
    """Compare ``UserData`` in its descriptions with what was sent."""
    batch = facts.accepted_batch()
    if not batch.described_user_data:
        raise NotObservedError("the batch job was not described")
    same = batch.described_user_data.count(batch.user_data)
    seen = len(batch.described_user_data)
    return Found(same == seen, f"{same} of {seen} descriptions of a batch job had what was sent")
