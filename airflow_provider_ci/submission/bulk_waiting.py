"""How the job list is read while a bulk task waits, on the worker and in the triggerer. Neither Airflow nor
I/O: the caller makes the requests.
"""

from __future__ import annotations

from typing import TypedDict

from airflow_provider_ci.protocol.jobs import LIST_SIZE_MAX, Job
from airflow_provider_ci.protocol.results import ResultObject
from airflow_provider_ci.submission.idempotency_key import key_of_job

#: A task with at most so many pending jobs describes them, ten at a time, instead of reading the list.
FEW = 100
#: Ids that are described in one round, and that a trigger holds, at most.
DESCRIBED_MAX = 1000
# Seconds between two counts for each page that a count takes, on average
_SECONDS_PER_PAGE = 1.0
_LEAST_SECONDS = 10.0


class BulkState(TypedDict):
    """What a task that continues after a deferral has to know.

    :param manifest: the manifest as it was before the deferral; ``md5`` is that of its content.
    :param submitted: how many jobs this try has submitted.
    :param reused: how many it has found.
    :param since: Unix time, by the service's clock, before which none of the jobs was created.
    :param last_submission: when the last one was submitted, likewise.
    :param may_be_others: a job was found by its request alone, and may be somebody else's: none is cancelled.
    """

    manifest: ResultObject
    submitted: int
    reused: int
    since: float
    last_submission: float
    may_be_others: bool


class CountSchedule:
    """Says whether a look at the job list is to count all pending jobs, for the progress, or ends at the
    first one, which proves that the wait is not over. A count of 9,000 jobs takes 90 requests.
    """

    def __init__(self) -> None:
        self._next_at = 0.0

    def is_due(self, now: float) -> bool:
        """Tell whether to count all jobs now.

        :param now: seconds on any clock, as long as it is always the same one.
        """
        return now >= self._next_at

    def note_count(self, jobs_read: int, now: float) -> None:
        """Note that a count has read so many jobs, own ones or not."""
        pages = jobs_read // LIST_SIZE_MAX + 1
        self._next_at = now + max(pages * _SECONDS_PER_PAGE, _LEAST_SECONDS)


def is_of_task(job: Job, task_digest: str) -> bool:
    """Tell whether the key in a job's ``UserData`` names the task instance."""
    key = key_of_job(job)
    return key is not None and key.task_instance == task_digest
