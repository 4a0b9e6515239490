"""What is known of the jobs of many items."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, SUCCESS, Job
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.submission.job_list import JobLookup

_WITHOUT_RESULT = frozenset((FAILED, CANCEL))
_ENDED = _WITHOUT_RESULT | {SUCCESS}


class BulkRequests(Protocol):
    """The requests of many items, numbered from 0."""

    def __len__(self) -> int:
        """Return how many items there are."""

    def fingerprint(self, index: int) -> str:
        """Return the 12 hex digits that stand for the request in idempotency keys; no two items have the
        same.
        """

    def request(self, index: int) -> Tree:
        """Return the request without ``UserData``. It is made anew by each call; threads call this."""

    def name(self, index: int) -> str:
        """Return how messages name the item: its input's key, or ``item 3``."""

    def input_object(self, index: int) -> str | None:
        """Return the key of the input; ``None`` if it has none, or a URL."""


class BulkJobApi(JobLookup[Job], Protocol):
    """The calls about the jobs of many items, in the inputs' bucket and region.

    A request that has only ``Tag`` stands for all of them in ``list``, ``is_list_documented`` and
    ``ask_if_listed``.
    """

    def submit(self, request: Tree, expires_at: float | None) -> tuple[Job, str | None]:
        """Submit a paid job; return it with the request id. Threads call this.

        :param expires_at: Unix time, by the service's clock, after which the service refuses the request.
        """

    def submitting_at_once(self) -> AbstractContextManager[None]:
        """Return a context in which ``submit`` sends each request once, and does not repeat it itself."""

    def list(self, request: Tree, since: datetime, states: Sequence[str] = ()) -> Iterable[Job]:
        """Return the jobs created since then that may belong to ``request``, the newest first."""

    def describe_many(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """Return those of the jobs that the service finds."""


@dataclass(slots=True, frozen=True)
class Refusal:
    """Why the service accepted no job for an item."""

    code: str | None
    message: str
    request_id: str | None = None
    hint: str | None = None

    @classmethod
    def from_error(cls, error: TencentCIError) -> Refusal:
        """Return the reason that an error has."""
        return cls(error.code, error.service_message or error.message, error.request_id, error.hint)


@dataclass(slots=True)
class BulkJobs:
    """The jobs of many items, by the items' numbers. An item needs less than 200 bytes.

    :param job_ids: the job that counts for each item; ``None``: the service has accepted none.
    :param states: the state in which each was last seen, ``Submitted`` at first; ``None`` without a job.
    :param refusals: why the service accepted no job, for each item of which that is known.
    :param found_by_request: the items whose job was found by its request, without an idempotency key: it may
        be somebody else's, and must not be cancelled.
    :param submitted: how many jobs this try has submitted.
    :param reused: how many jobs of earlier tries count.
    :param suspected_duplicates: how many further jobs were found for the same submissions, each billed.
    :param first_submission: a Unix time, by the service's clock, at or before which the first of the jobs
        was submitted; ``None``: there is none. The list has the jobs since a minute before it.
    :param last_submission: the Unix time, by the service's clock, of this try's last submission that may have
        been accepted.
    """

    job_ids: list[str | None]
    states: list[str | None]
    refusals: dict[int, Refusal] = field(default_factory=dict)
    found_by_request: set[int] = field(default_factory=set)
    submitted: int = 0
    reused: int = 0
    suspected_duplicates: int = 0
    first_submission: float | None = None
    last_submission: float | None = None

    @classmethod
    def without_jobs(cls, count: int) -> BulkJobs:
        """Return that none of ``count`` items has a job."""
        return cls([None] * count, [None] * count)

    def set_job(self, index: int, job_id: str, state: str) -> None:
        """Note the job that counts for an item."""
        self.job_ids[index] = job_id
        self.states[index] = sys.intern(str(state))
        self.refusals.pop(index, None)

    def pending(self) -> Iterator[int]:
        """Yield the items whose job was not seen to end."""
        return (index for index, state in enumerate(self.states) if state and state not in _ENDED)

    def failed(self) -> Iterator[int]:
        """Yield the items that the service refused, or whose job ended ``Failed`` or ``Cancel``."""
        return (
            index
            for index, state in enumerate(self.states)
            if state in _WITHOUT_RESULT or index in self.refusals
        )

    def counts(self) -> Counter[str | None]:
        """Return the number of items by the state of their job; ``None``: those without one."""
        return Counter(self.states)
