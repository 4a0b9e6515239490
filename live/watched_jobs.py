"""The paid jobs that the hook submits, and what the service says about them over time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import ServiceError, TencentCIError
from airflow_provider_ci.protocol.jobs import RUNNING, Job, JobState
from airflow_provider_ci.protocol.tree import Tree
from live.requests import SubmitUnchecked
from live.watched_batch import WatchedBatch

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from live.clock import Clock
    from live.journal import Journal

# The service writes creation times in whole seconds. Jobs must have different ones, to be in an order
_BETWEEN_SUBMISSIONS = 1.1
# How long a list may contradict a description, at most
_LONGEST_LAG = 120.0


@dataclass(slots=True)
class Cancellation:
    """An attempt to cancel a job.

    :param refusal: the service's error, if there was one.
    :param state_after: the job's state in the first description after that.
    """

    refusal: ServiceError | None
    state_after: JobState | None = None


@dataclass(kw_only=True)
class WatchedJob:
    """A job, and what was seen of it.

    :param variant: which of the requests that were tried was accepted; ``None`` if none was.
    :param refusals: by variant, the errors of the others.
    :param is_refused: the service has refused all variants.
    :param description: the newest; ``None`` before the first.
    :param missing_until: when a list lacked it for the last time; ``None`` if none ever did.
    :param contradicted_until: when a list said for the last time that it has not ended, although it has.
    """

    tag: str
    user_data: str
    variant: str | None = None
    refusals: dict[str, ServiceError] = field(default_factory=dict)
    is_refused: bool = False
    error: TencentCIError | None = None
    job_id: str | None = None
    submitted_at: float = 0.0
    description: Job | None = None
    progress_seen: list[int | None] = field(default_factory=list)
    described_user_data: list[str | None] = field(default_factory=list)
    listed_user_data: list[str | None] = field(default_factory=list)
    missing_until: float | None = None
    listed_at: float | None = None
    ended_at: float | None = None
    contradicted_until: float | None = None
    listed_ended_at: float | None = None
    cancellation: Cancellation | None = None

    @property
    def may_exist(self) -> bool:
        """Whether the service has accepted it, as far as is known: its submission may be interrupted."""
        return not self.is_refused

    @property
    def state(self) -> JobState:
        """The newest state."""
        return self.description.job_state if self.description else JobState("")

    @property
    def is_done(self) -> bool:
        """Whether nothing more can be seen of it."""
        return self.job_id is None or self.listed_ended_at is not None

    def see_description(self, job: Job, now: float) -> None:
        """Note a description."""
        self.description = job
        if self.cancellation is not None and self.cancellation.state_after is None:
            self.cancellation.state_after = job.job_state
        self.described_user_data.append(job.user_data)
        if job.job_state == RUNNING or job.job_state.is_successful:
            self.progress_seen.append(job.progress)
        if job.job_state.is_terminal and self.ended_at is None:
            self.ended_at = now

    def see_list(self, job: Job | None, now: float) -> None:
        """Note what a list says of it, ``None`` if it is missing."""
        if job is None:
            if self.listed_at is None:
                self.missing_until = now
            return
        if self.listed_at is None:
            self.listed_at = now
        self.listed_user_data.append(job.user_data)
        if self.ended_at is not None and self.listed_ended_at is None:
            if job.job_state.is_terminal:
                self.listed_ended_at = now
            else:
                self.contradicted_until = now


class JobWatch:
    """Submits jobs, and looks at them until they have ended."""

    def __init__(self, hook: TencentCIHook, journal: Journal, clock: Clock) -> None:
        self._hook = hook
        self._journal = journal
        self._clock = clock
        #: Older jobs are not the kit's. The margin is for clocks that differ.
        self.since = datetime.fromtimestamp(hook.now(), UTC) - timedelta(minutes=5)
        self.jobs: dict[str, WatchedJob] = {}
        self.batch: WatchedBatch | None = None

    def submit(
        self, name: str, tag: str, user_data: str, variants: Mapping[str, Tree], *, cancel: bool = False
    ) -> WatchedJob:
        """Submit one job: the first of the variants that the service does not refuse.

        :param cancel: cancel it at once.
        """
        job = self.jobs[name] = WatchedJob(tag=tag, user_data=user_data)
        submission = self._journal.add("submission", f"{tag} {name}")
        for variant, request in variants.items():
            try:
                # repeated only after what certainly was not accepted, such as HTTP 429
                accepted = self._hook.call_paid(SubmitUnchecked(request), **self._where)
            except ServiceError as error:
                job.refusals[variant] = error
                continue
            except TencentCIError as error:  # it may have been accepted: nothing else must be submitted
                job.error = error
                break
            job.variant, job.submitted_at = variant, self._clock.now()
            job.job_id = accepted.jobs_detail[0].job_id
            break
        else:
            job.is_refused = True
        if job.job_id:
            self._journal.add("job", job.job_id)
        if job.error is None:
            self._journal.remove(submission)
        if job.job_id and cancel:
            self._cancel(job)
        self.look()
        self._clock.sleep(_BETWEEN_SUBMISSIONS)
        return job

    def create_batch(self, user_data: str, request: Tree) -> None:
        """Create the batch job."""
        self.batch = WatchedBatch(user_data=user_data)
        self.batch.create(self._hook, self._journal, request)

    def wait(self, *, patience: float, poll: float, cancel_when_running: str) -> None:
        """Look at the jobs until they have ended, for lists too, or until the time is over.

        :param cancel_when_running: the name of a job that is to be cancelled when it is running.
        """
        deadline = self._clock.now() + patience
        while True:
            self.look()
            job = self.jobs.get(cancel_when_running)
            if job is not None and job.state == RUNNING and job.cancellation is None:
                self._cancel(job)
            now = self._clock.now()
            is_batch_done = self.batch is None or self.batch.is_done
            is_over = is_batch_done and all(self._is_over(each, now) for each in self.jobs.values())
            if now >= deadline or is_over:
                return
            self._clock.sleep(poll)

    def look(self) -> None:
        """Describe and list the jobs once, and describe the batch job."""
        if self.batch is not None:
            self.batch.look(self._hook, self._journal)
        by_id = {job.job_id: job for job in self.jobs.values() if job.job_id and not job.is_done}
        # the next look may succeed; what was never seen is not observed
        with suppress(TencentCIError):
            for description in self._hook.describe_jobs([*by_id], **self._where).jobs_detail:
                if description.job_id in by_id:
                    by_id[description.job_id].see_description(description, self._clock.now())
        for tag in {job.tag for job in by_id.values()}:
            with suppress(TencentCIError):
                found = self._hook.list_jobs(tag=tag, start_creation_time=self.since, **self._where)
                listed = {job.job_id: job for job in found}
                for job_id, job in by_id.items():
                    if job.tag == tag:
                        job.see_list(listed.get(job_id), self._clock.now())

    def cancel(self, job: WatchedJob) -> ServiceError | None:
        """Try to cancel a job; return the service's refusal, if it refuses."""
        try:
            with self._hook.limit(attempts=1):
                self._hook.cancel_jobs([job.job_id or ""], **self._where)
        except ServiceError as error:
            return error
        return None

    def _cancel(self, job: WatchedJob) -> None:
        job.cancellation = Cancellation(self.cancel(job))

    def _is_over(self, job: WatchedJob, now: float) -> bool:
        return job.is_done or (job.ended_at is not None and now - job.ended_at > _LONGEST_LAG)

    @property
    def _where(self) -> dict[str, Any]:
        return {"bucket": self._journal.place.bucket, "region": self._journal.place.region}
