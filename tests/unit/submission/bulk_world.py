"""A model of the service, of Airflow and of time for tasks that submit many jobs.

It is deterministic: a seed decides what gets lost, what is late, and which process dies or stands still, and
when. Only what a process does moves time.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    ClockSkewError,
    InvalidRequestError,
    PermissionDeniedError,
    QueueFullError,
    ServerError,
    TaskKilledError,
    ThrottledError,
    TransportError,
)
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED, PENDING_STATES, Job, JobsResponse
from airflow_provider_ci.protocol.tree import Tree, find_text, with_value
from airflow_provider_ci.submission.bulk_jobs import BulkJobs
from airflow_provider_ci.submission.bulk_records import BulkRecords
from airflow_provider_ci.submission.bulk_submission import BulkSubmission
from airflow_provider_ci.submission.idempotency_key import fingerprint, key_of_job
from tests.unit.submission.recording_log import RecordingLog
from tests.unit.submission.simulated_world import IDENTITY, PLACE, REQUEST, START, Crash

TAG = "VoiceSeparate"


@dataclass
class Items:
    """Requests that differ in their inputs."""

    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self, index: int) -> str:
        return fingerprint(self.request(index), PLACE)[:12]

    def request(self, index: int) -> Tree:
        return with_value(REQUEST, "Input.Object", self.names[index])

    def name(self, index: int) -> str:
        return self.names[index]

    def input_object(self, index: int) -> str | None:
        return self.names[index]


def items(count: int) -> Items:
    return Items([f"in/{number}.mp3" for number in range(count)])


@dataclass
class Chances:
    """How often what goes wrong, between 0 and 1."""

    lost_before: float = 0.0
    lost_after: float = 0.0
    late: float = 0.0
    throttled: float = 0.0
    no_connection: float = 0.0
    queue_full: float = 0.0
    refused: float = 0.0
    list_fails: float = 0.0
    store_fails: float = 0.0
    ends: float = 0.0
    fails: float = 0.0


@dataclass
class Service:
    """The service: its jobs, and time."""

    chances: Chances = field(default_factory=Chances)
    seed: int = 0
    lag: float = 0.0
    latency: float = 0.05
    has_store: bool = True
    list_has_user_data: bool = True
    describe_has_user_data: bool = True
    is_documented: bool = True
    is_listed: bool = True
    may_list: bool = True
    clear_discards: bool = False
    now: float = START
    jobs: dict[str, Job] = field(default_factory=dict)
    by_stranger: set[str] = field(default_factory=set)
    store: dict[str, Any] = field(default_factory=dict)
    latest_try: int = 0
    posts: Counter[str] = field(default_factory=Counter)
    most_active: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._visible_at: dict[str, float] = {}
        self._arrivals: list[tuple[float, Tree]] = []

    def happens(self, chance: float) -> bool:
        return self.random.random() < chance

    def pass_time(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds
        if self.chances.ends:
            self.end_some(self.chances.ends)
        for moment, request in [arrival for arrival in self._arrivals if arrival[0] <= self.now]:
            self._arrivals.remove((moment, request))
            self.accept(request, moment)

    def accept(self, request: Tree, moment: float) -> Job:
        job = Job(
            tag=request["Tag"],
            job_id=f"j{len(self.jobs) + 1:04}",
            state="Submitted",
            creation_time=datetime.fromtimestamp(int(moment), UTC),
            input={**request["Input"], "BucketId": "media-1250000001"},
            operation=request["Operation"],
        )
        self.jobs[str(job.job_id)] = job
        self._visible_at[str(job.job_id)] = moment + self.random.uniform(0, self.lag)
        self.most_active = max(self.most_active, len(self.pending()))
        return job

    def show_at(self, job_id: str, moment: float) -> None:
        """Let the list show a job only from then on."""
        self._visible_at[job_id] = moment

    def accept_of_stranger(self, user_data: str | None = None) -> None:
        """Let somebody else submit a job, perhaps with ``UserData`` that is copied."""
        operation = {"UserData": user_data or "mine"}
        job = self.accept({"Tag": TAG, "Input": {"Object": "other.mp3"}, "Operation": operation}, self.now)
        self.by_stranger.add(str(job.job_id))

    def pending(self) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job.state in PENDING_STATES]

    def end_some(self, share: float) -> None:
        """Let some jobs end."""
        for job_id in self.pending():
            if self.happens(share):
                self.end(job_id, FAILED if self.happens(self.chances.fails) else "Success")

    def end(self, job_id: str, state: str) -> None:
        self.jobs[job_id] = replace(
            self.jobs[job_id], state=str(state), end_time=datetime.fromtimestamp(int(self.now), UTC)
        )

    def post(self, request: Tree, expires_at: float) -> Job:
        name = str(find_text(request, "Input.Object"))
        chances = self.chances
        if self.now > expires_at:
            raise ClockSkewError("expired", status=401, code="SignatureExpired")
        if self.happens(chances.throttled):
            raise ThrottledError("slow down", status=429)
        if self.happens(chances.queue_full):
            raise QueueFullError("full", status=403, code="QueueSaturated")
        if self.happens(chances.no_connection):
            raise TransportError("refused", sent=False)
        if self.happens(chances.refused) or "refused" in name:
            raise InvalidRequestError("no", status=400, code="InvalidArgument")
        if self.happens(chances.lost_before):
            raise AmbiguousSubmissionError("reset") from ServerError("away", status=503)
        if self.happens(chances.late):
            self._arrivals.append((self.random.uniform(self.now, expires_at), request))
            raise AmbiguousSubmissionError("timeout")
        self.posts[name] += 1
        job = self.accept(request, self.now)
        if self.happens(chances.lost_after):
            raise AmbiguousSubmissionError("timeout")
        return job

    def listed(self, since: datetime, states: Sequence[str]) -> Iterator[Job]:
        if not self.may_list:
            raise PermissionDeniedError("no", status=403, code="AccessDenied")
        if self.happens(self.chances.list_fails):
            raise ServerError("away", status=503)
        if not self.is_listed:
            return
        for job_id, job in reversed(list(self.jobs.items())):
            assert job.creation_time
            is_visible = job.creation_time >= since and self._visible_at[job_id] <= self.now
            if is_visible and (not states or job.state in states):
                yield job if self.list_has_user_data else without_user_data(job)

    def described(self, job_ids: Sequence[str]) -> list[Job]:
        found = [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]
        return found if self.describe_has_user_data else [without_user_data(job) for job in found]

    # What must hold

    def accepted(self) -> Iterator[Job]:
        """Yield the jobs that the task has paid for."""
        return (job for job_id, job in self.jobs.items() if job_id not in self.by_stranger)

    def paid_twice(self, *, by_clear: bool = False) -> list[str]:
        """Return the inputs of which several jobs have not failed.

        :param by_clear: a clear asks for new jobs.
        """
        counts: Counter[tuple[str, int]] = Counter()
        for job in self.accepted():
            key = key_of_job(job)
            assert key
            if job.state not in (FAILED, CANCEL):
                counts[str(job.input_object), key.max_tries if by_clear else 0] += 1
        return sorted(name for (name, _), count in counts.items() if count > 1)


def without_user_data(job: Job) -> Job:
    operation = {name: value for name, value in (job.operation or {}).items() if name != "UserData"}
    return replace(job, operation=operation)


class Calls:
    """Calls that run one after the other, in any order, when their results are waited for."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._pending: list[Callable[[], Any]] = []

    running = property(lambda self: len(self._pending))
    have_room = property(lambda self: len(self._pending) < 4)

    def start(self, call: Callable[[], Any]) -> None:
        self._pending.append(call)

    def results(self, seconds: float) -> list[Any]:
        service = self._process.service
        if seconds > 0 and not self._pending:
            service.pass_time(seconds)
        few = service.random.randint(0 if seconds <= 0 else 1, 2)
        return [self._run_any() for _ in range(min(few, len(self._pending)))]

    def last_results(self) -> list[Any]:
        """Some of the results come; the other calls run all the same."""
        results = [self._run_any() for _ in range(len(self._pending))]
        return [result for result in results if self._process.service.happens(0.5)]

    def _run_any(self) -> Any:
        service = self._process.service
        service.pass_time(service.latency)
        return self._pending.pop(service.random.randrange(len(self._pending)))()

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Process:
    """A process of a task instance's try. Each touch of the outside is a step, at which it may die, be killed
    or stand still.
    """

    list_permission = "ci:DescribeMediaJobs"

    def __init__(self, service: Service, try_number: int, clears: int = 0, **changes: Any) -> None:
        self.service = service
        self.log = RecordingLog()
        self.calls: list[str] = []
        self.crash_at: int | None = None
        self.crash_on = ""  # the name of a step
        self.kill_at: int | None = None
        self.held_at: int | None = None
        self.meanwhile: Callable[[], Any] = lambda: None
        self.try_number = try_number
        self.is_dead = False
        self.has_written = False
        arguments: dict[str, Any] = {
            "job_api": self,
            "tag": TAG,
            "cancel": None,
            "before_submission": lambda indices: None,
            "records": BulkRecords(self if service.has_store else None, try_number),
            "refuse_if_overtaken": self.refuse_if_overtaken,
            "raise_if_killed": self.raise_if_killed,
            "identity": IDENTITY._replace(max_tries=3 + clears),
            "who_waits": "triggerer",
            "may_have_submitted": try_number > 1,
            "clear_discards_record": False,
            "only_failed": True,
            "max_submissions_per_second": 20.0,
            "max_active_jobs": 9000,
            "run_start": lambda: START,
            "resubmit_if_unknown": False,
            "on_progress": lambda jobs: None,
            "log": self.log,
            "clock": lambda: service.now,
            "monotonic": lambda: service.now,
            "sleep": self.sleep,
            "new_calls": lambda: Calls(self),
        }
        self.submission = BulkSubmission(**(arguments | changes))
        service.latest_try = max(service.latest_try, try_number)

    def run(self, requests: Items) -> BulkJobs:
        return self.submission.get_or_submit(requests)

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        """Do something outside of the process; each step has a moment before and one after it."""
        self._moment(name)
        result: Any = None
        try:
            result = act()
        finally:
            self._moment(f"after {name}")
        return result

    def _moment(self, name: str) -> None:
        if self.is_dead:
            raise Crash
        number = len(self.calls)
        self.calls.append(name)
        if number == self.held_at:
            self.meanwhile()
        if number == self.crash_at or name == self.crash_on:
            self.is_dead = True
            raise Crash

    # Airflow

    @property
    def is_replaced(self) -> bool:
        """Whether Airflow has given up on this try, so that its store has no such task instance.

        That would keep each such process from submitting. It is applied where nothing else could: to one that
        stood still before it began, until a clear emptied the store.
        """
        return self.service.clear_discards and self.service.latest_try > self.try_number

    def raise_if_killed(self) -> None:
        if self.is_dead:
            raise Crash
        if self.kill_at is not None and len(self.calls) >= self.kill_at:
            raise TaskKilledError("killed")

    def refuse_if_overtaken(self) -> None:
        def ask() -> None:
            if self.service.latest_try != self.try_number:
                raise TaskKilledError("overtaken")

        self.step("ask", ask)

    def sleep(self, seconds: float) -> None:
        self.raise_if_killed()
        self.service.pass_time(seconds)
        self.step("sleep", lambda: None)

    def get(self, key: str, default: Any = None) -> Any:
        return self.step("get", lambda: copy.deepcopy(self.service.store.get(key, default)))

    def set(self, key: str, value: Any) -> None:
        def write() -> None:
            if self.service.happens(self.service.chances.store_fails):
                raise OSError("away")
            if self.is_replaced and not self.has_written:
                raise OSError("404: there is no such task instance")
            self.has_written = True
            self.service.store[key] = json.loads(json.dumps(value))

        self.step("set", write)

    # The service

    def submit(self, request: Tree, expires_at: float | None) -> tuple[Job, str | None]:
        assert expires_at is not None
        return self.step("submit", lambda: self.service.post(request, expires_at)), "r1"

    def submitting_at_once(self) -> AbstractContextManager[None]:
        return nullcontext()

    def describe(self, job_id: str) -> JobsResponse:
        raise AssertionError("ten at a time")

    def describe_many(self, job_ids: Sequence[str]) -> list[Job]:
        found: list[Job] = self.step("describe", lambda: self.service.described(job_ids)) if job_ids else []
        return found

    def list(self, request: Tree, since: datetime, states: Sequence[str] = ()) -> Iterable[Job]:
        assert request == {"Tag": TAG}
        found: list[Job] = self.step("list", lambda: list(self.service.listed(since, states)))
        return iter(found)

    def is_list_documented(self, request: Tree) -> bool:
        return self.service.is_documented

    def ask_if_listed(self, request: Tree) -> bool:
        shown: bool = self.step("ask if listed", lambda: self.service.is_listed and bool(self.service.jobs))
        return shown

    def ask_if_ended_without_result(self, job: Job) -> bool:
        raise AssertionError("jobs say so themselves")

    def ask_if_ended(self, job: Job) -> bool:
        raise AssertionError("jobs say so themselves")
