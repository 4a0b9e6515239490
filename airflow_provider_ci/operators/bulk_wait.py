"""Finds out how the jobs of a bulk task end: on the worker until all have, or once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_ci import metrics
from airflow_provider_ci.exceptions import PermissionDeniedError, TencentCIError
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, IDS_PER_REQUEST, PENDING_STATES, Job
from airflow_provider_ci.submission.bulk_waiting import DESCRIBED_MAX, FEW, CountSchedule, is_of_task
from airflow_provider_ci.submission.progress import Counts, WaitProgress
from airflow_provider_ci.submission.tracking import NOT_FOUND_GRACE_PERIOD
from airflow_provider_ci.submission.waiting import Wait, is_outage

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.base import BucketAndRegion
    from airflow_provider_ci.operators.bulk_outcomes import BulkOutcomes

# Failed jobs that are read from the list for the progress, at most
_FAILURES_READ_MAX = 1000
_LOST = "The service no longer finds the job"


@dataclass(kw_only=True)
class BulkWait:
    """Follows the jobs of a bulk task.

    :param outcomes: of the items; completed here as jobs end.
    :param task_digest: of the task instance, which the keys of its jobs name.
    :param since: Unix time, by the service's clock, before which none of the jobs was created.
    :param last_submission: when the last one was submitted, likewise.
    :param sleep: sleeps for some seconds; raises if the task is killed meanwhile.
    :param poll_interval: longest pause between two polls, seconds.
    """

    hook: TencentCIHook
    bucket_and_region: BucketAndRegion
    tag: str
    outcomes: BulkOutcomes
    task_digest: str
    since: float
    last_submission: float
    sleep: Callable[[float], None]
    log: Any
    poll_interval: float
    #: Whether the list has shown a job of the task with its key, so that a trigger can count them.
    has_seen_key: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._lists = job_type(self.tag).is_listed
        self._counts = CountSchedule()
        self._progress = WaitProgress(len(self.outcomes), self.log, time.monotonic)
        self._ended = metrics.EndedJobs()

    def wait(self, longest: float) -> TencentCIError | None:
        """Poll until all jobs have ended, or the wait is over. An outage is waited out.

        :param longest: seconds after which the wait is over.
        :return: why the last poll failed, if it did. ``outcomes`` has the jobs that have not ended.
        """
        wait = Wait(self.poll_interval, self.log, time.monotonic, longest=longest)
        while True:
            with wait.poll(), self.hook.limit(seconds=wait.remaining):
                self.poll()
                if not self.outcomes.pending:
                    return None
            if wait.is_over:
                return wait.failure
            self.sleep(wait.pause())

    def poll_once(self, seconds: float, *, is_last: bool = False) -> TencentCIError | None:
        """Find out which jobs have ended. An outage is no error.

        :param seconds: how long the poll may take.
        :param is_last: the wait is over, so that the poll may take any time, and no failure is an error.
        :return: why the poll failed, if it did.
        :raises TencentCIError: a failure that is not an outage.
        """
        try:
            with self.hook.limit(seconds=math.inf if is_last else seconds):
                self.complete() if is_last else self.poll()
        except TencentCIError as error:
            self.sleep(0)  # raises if the task was killed
            if not (is_last or is_outage(error)):
                raise
            self.log.warning("Poll failed, will keep trying: %s", error)
            return error
        return None

    def poll(self) -> None:
        """Find out which jobs have ended.

        A look at the list of pending jobs comes first, as long as there are many: their results are asked for
        once none is left.
        """
        if self.outcomes.pending > FEW and self._lists and self._has_listed_jobs():
            return
        self.complete()

    def complete(self) -> None:
        """Ask the service how the jobs have ended: by one pass over the list, and by describing those that it
        does not show.
        """
        seen: set[str] = set()
        if self.outcomes.pending > FEW and self._lists:
            seen = self._read_list()
        missing = (job_id for job_id in self.outcomes.pending_ids if job_id not in seen)
        self._describe([*islice(missing, DESCRIBED_MAX)])
        self._report(self.outcomes.pending)

    def _has_listed_jobs(self) -> bool:
        """Find out whether the list shows a pending job of the task, and count them now and then."""
        now = time.monotonic()
        is_count_due = self._counts.is_due(now)
        read = own = 0
        for job in self._list(PENDING_STATES):
            read += 1
            own += self._is_own(job)
            if own and not is_count_due:
                return True
        if is_count_due:
            self._counts.note_count(read, now)
            for job in islice(self._list((FAILED, CANCEL)), _FAILURES_READ_MAX):
                self._update(job)
            if own:
                self._report(own)
        return own > 0

    def _read_list(self) -> set[str]:
        """Complete the outcomes of the jobs that the list shows, and return those that have not ended."""
        seen = set()
        for job in self._list():
            if self._is_own(job) and self._update(job) and not job.job_state.is_terminal:
                seen.add(str(job.job_id))
        return seen

    def _update(self, job: Job) -> bool:
        is_pending = self.outcomes.update(job)
        if is_pending:
            self._ended.add(job)
        return is_pending

    def _is_own(self, job: Job) -> bool:
        if not self.outcomes.is_pending(job.job_id):
            return False
        self.has_seen_key = self.has_seen_key or is_of_task(job, self.task_digest)
        return True

    def _list(self, states: Sequence[str] = ()) -> Iterable[Job]:
        """Return the jobs since the first submission; none if they may not be listed."""
        try:
            yield from self.hook.list_jobs(
                tag=self.tag,
                states=states,
                start_creation_time=datetime.fromtimestamp(self.since, UTC),
                **self.bucket_and_region,
            )
        except PermissionDeniedError as error:
            self.log.warning(
                "Listing jobs is not permitted; describing them, ten at a time, which needs ten times as many"
                " requests. Permit ci:DescribeMediaJobs: %s",
                error,
            )
            self._lists = False

    def _describe(self, job_ids: Sequence[str]) -> None:
        may_be_late = self.hook.now() < self.last_submission + NOT_FOUND_GRACE_PERIOD
        for start in range(0, len(job_ids), IDS_PER_REQUEST):  # not all at once: results may be large
            ids = job_ids[start : start + IDS_PER_REQUEST]
            response = self.hook.describe_jobs(ids, **self.bucket_and_region)
            for job in response.jobs_detail:
                self._update(job)
            found = {job.job_id for job in response.jobs_detail}
            if not may_be_late:
                for job_id in set(ids) - found:
                    self.outcomes.note_lost(job_id, _LOST)

    def _report(self, running: int) -> None:
        total, failed = len(self.outcomes), self.outcomes.failed
        self._progress.update(Counts(running, total - running, failed))
        self._ended.send()
        self._ended = metrics.EndedJobs()
