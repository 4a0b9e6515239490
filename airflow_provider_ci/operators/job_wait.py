"""Polls the job of a task: on the worker until it has ended, or once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from airflow_provider_ci.exceptions import JobError, TencentCIError
from airflow_provider_ci.submission.recovery import describe_job
from airflow_provider_ci.submission.tracking import J, JobTracker
from airflow_provider_ci.submission.waiting import Wait, is_outage

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.bucket_jobs import JobApi


@dataclass(frozen=True)
class PollOutcome(Generic[J]):
    """What is known of the job after a poll.

    :param tracker_of_ended_job: a tracker that has seen the job's end; ``None`` if the job has not ended.
    :param state: the job's state, if it was found.
    :param failure: why the poll failed, if it did.
    """

    tracker_of_ended_job: JobTracker[J] | None = None
    state: str | None = None
    failure: TencentCIError | None = None

    @property
    def failure_clause(self) -> str:
        """A clause for the end of a message: why the last poll failed; empty if it did not."""
        return "" if self.failure is None else f"; the last poll failed: {self.failure}"


@dataclass(frozen=True)
class JobWait(Generic[J]):
    """Polls a job.

    :param ask_if_ended: finds out whether there is nothing more to wait for; may make calls.
    :param sleep: sleeps for some seconds; raises if the task is killed meanwhile.
    :param poll_interval: longest pause between two polls, seconds.
    """

    hook: TencentCIHook
    job_api: JobApi[J]
    ask_if_ended: Callable[[J], bool]
    sleep: Callable[[float], None]
    log: Any
    poll_interval: float

    def wait(self, job: J, longest: float) -> PollOutcome[J]:
        """Poll until the job has ended, or the wait is over. An outage is waited out.

        :param longest: seconds after which the wait is over.
        """
        job_id, tracker = str(job.job_id), self.track(job)
        wait = Wait(self.poll_interval, self.log, time.monotonic, longest=longest)
        is_new = True
        while True:
            with wait.poll(), self.hook.limit(attempts=1, seconds=wait.remaining):
                if not is_new:
                    tracker.update(self.job_api.describe(job_id), wait.elapsed)
                if self.ask_if_ended(tracker.jobs[job_id]):
                    return PollOutcome(tracker)
            is_new = False
            if wait.is_over:
                return PollOutcome(None, tracker.jobs[job_id].state, wait.failure)
            self.sleep(wait.pause())

    def poll(
        self, job_id: str, *, seconds: float, just_returned: J | None = None, is_last: bool = False
    ) -> PollOutcome[J]:
        """Describe the job once.

        :param seconds: how long the poll may take.
        :param just_returned: the job, if another call has just returned it. It is described again unless it
            has ended.
        :param is_last: the wait is over, so that any failure is returned in the outcome.
        :raises TencentCIError: a failure that is not an outage.
        """
        job, state = just_returned, None
        try:
            with self.hook.limit(attempts=1, seconds=seconds):
                if job is None or not job.job_state.is_terminal:
                    job = describe_job(self.job_api, job_id)
                if job is None:
                    return PollOutcome()
                state = job.state
                return PollOutcome(self.track(job) if self.ask_if_ended(job) else None, state)
        except TencentCIError as error:
            if isinstance(error, JobError) or not (is_last or is_outage(error)):
                raise
            self.log.warning("Poll failed, will keep trying: %s", error)
            return PollOutcome(None, state, error)

    def track(self, job: J) -> JobTracker[J]:
        """Return a tracker that has seen the job."""
        tracker: JobTracker[J] = JobTracker([str(job.job_id)], self.log)
        tracker.update_job(job)
        return tracker
