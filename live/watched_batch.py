"""The batch job that the hook creates, and what the service says about it over time."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import AmbiguousSubmissionError, TencentCIError
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.tree import Tree

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from live.journal import Journal


@dataclass(kw_only=True)
class WatchedBatch:
    """A batch job over one input, and what was seen of it.

    :param error: why it was not accepted, or why it is not known whether it was.
    :param description: the newest; ``None`` before the first.
    """

    user_data: str
    error: TencentCIError | None = None
    job_id: str | None = None
    description: BatchJob | None = None
    described_user_data: list[str | None] = field(default_factory=list)

    @property
    def may_exist(self) -> bool:
        """Whether the service has accepted it, as far as is known."""
        return self.error is None or isinstance(self.error, AmbiguousSubmissionError)

    @property
    def is_done(self) -> bool:
        """Whether nothing more can be seen of it. Its job may not have ended: the removal waits for that."""
        has_ended = self.description is not None and self.description.job_state.is_terminal
        return self.job_id is None or has_ended

    def create(self, hook: TencentCIHook, journal: Journal, request: Tree) -> None:
        """Create it."""
        submission = journal.add("batch submission", str(request["Name"]))
        try:
            accepted, _ = hook.batches.create(request, **_where(journal))
        except AmbiguousSubmissionError as error:  # so the removal looks for it
            self.error = error
            return
        except TencentCIError as error:
            self.error = error
        else:
            self.job_id = accepted.job_id or ""
            journal.add("batch", self.job_id)
        journal.remove(submission)

    def look(self, hook: TencentCIHook, journal: Journal) -> None:
        """Describe it once, if it has not ended."""
        if self.is_done or self.job_id is None:
            return
        # the next look may succeed; what was never seen is not observed
        with suppress(TencentCIError):
            for batch in hook.batches.describe(self.job_id, **_where(journal)).jobs_detail:
                if batch.job_id == self.job_id:
                    self.description = batch
                    self.described_user_data.append(batch.user_data)


def _where(journal: Journal) -> dict[str, Any]:
    return {"bucket": journal.place.bucket, "region": journal.place.region}
