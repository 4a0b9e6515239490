"""A model of the service, of Airflow's task state store, and of time, which only sleeping moves.

The service is as its documents say: the list may lag, responses may get lost, signatures expire.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    AuthenticationError,
    PermissionDeniedError,
    ThrottledError,
)
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.jobs import Job, JobsResponse
from airflow_provider_ci.protocol.tree import Tree, find_text, with_value
from airflow_provider_ci.submission.durable_submission import DurableSubmission
from airflow_provider_ci.submission.idempotency_key import TaskIdentity
from airflow_provider_ci.submission.record import SubmissionRecords
from tests.unit.submission.recording_log import RecordingLog

START = 1_800_000_000.0
PLACE = "media-1250000001 ap-guangzhou"
IDENTITY = TaskIdentity("separate", "manual__2027-01-15T08:00:00+00:00", "submit", -1, "prod", 3)
REQUEST: Tree = {
    "Tag": "VoiceSeparate",
    "Input": {"Object": "in/song.mp3"},
    "Operation": {
        "VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3", "Bitrate": 128}},
        "Output": {
            "Region": "ap-guangzhou",
            "Bucket": "media-1250000001",
            "AuObject": "out/${jobid}.${ext}",
        },
    },
}
OWN_DATA = with_value(REQUEST, "Operation.UserData", "order 7")

BATCH: Tree = {
    "Name": "stems",
    "Type": "Job",
    "Input": {"Prefix": "in/"},
    "Operation": {
        "Tag": "VoiceSeparate",
        "JobParam": {"VoiceSeparate": {"AudioMode": "IsAudio"}},
        "Output": {
            "Region": "ap-guangzhou",
            "Bucket": "media-1250000001",
            "AuObject": "out/${InputName}.${ext}",
        },
    },
}
OWN_BATCH = with_value(BATCH, "Operation.UserData", "order 7")


class Crash(BaseException):
    """The process dies: nothing of it may catch this."""


class World:
    """The service, the store and time; every touch of them is a step at which the process may die."""

    list_permission = "ci:DescribeMediaJobs"
    echoes_user_data = True

    def __init__(self, *, has_store: bool = True, lag: float = 0.0, answers: tuple[str, ...] = ()) -> None:
        self.now = START
        self.jobs: list[Any] = []
        self.has_store = has_store
        self.stored: dict[str, Any] = {}
        self.listable = True
        self.lag = lag
        self.calls: list[str] = []
        self.crash_at: tuple[int, str] | None = None  # the step, and whether it dies before or after it acted
        self.held_at: tuple[int, str] | None = None  # likewise: it stands still while ``meanwhile`` happens
        self.meanwhile: Callable[[], Any] = lambda: None
        self.on_sleep: Callable[[], None] = lambda: None
        self._answers = iter(answers)
        self._arrivals: list[tuple[float, Any]] = []

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        number = len(self.calls)
        self.calls.append(name)
        if self.crash_at == (number, "before"):
            raise Crash
        if self.held_at == (number, "before"):
            self.meanwhile()
        try:
            return act()
        finally:
            if self.held_at == (number, "after"):
                self.meanwhile()
            if self.crash_at == (number, "after"):
                raise Crash

    # the service

    def before_submission(self, request: Any) -> None:
        self.step("before_submission", lambda: None)

    def submit(self, request: Any, expires_at: float) -> Any:
        return self.step("submit", lambda: self._submit(request, expires_at))

    def _submit(self, request: Any, expires_at: float) -> Any:
        answer = next(self._answers, "ok")
        if self.now > expires_at:
            raise AuthenticationError("expired", status=401, code="SignatureExpired")
        if answer == "throttled":
            raise ThrottledError("slow down", status=429)
        if answer == "lost before":
            raise AmbiguousSubmissionError("reset")
        if answer == "late":
            self._arrivals.append((self.now + ARRIVES_LATE, request))
            raise AmbiguousSubmissionError("timeout")
        job = self._accept(request, self.now)
        if answer == "lost after":
            raise AmbiguousSubmissionError("timeout")
        return job

    def _accept(self, request: Any, moment: float) -> Any:
        common: dict[str, Any] = {
            "job_id": f"j{len(self.jobs) + 1}",
            "state": "Submitted",
            "creation_time": datetime.fromtimestamp(int(moment), UTC),
            "operation": request["Operation"],
        }
        if "Name" in request:
            if not self.echoes_user_data:
                common["operation"] = with_value(request, "Operation.UserData", None)["Operation"]
            job: Any = BatchJob(name=request["Name"], type=request["Type"], input=request["Input"], **common)
        else:
            source = {**request["Input"], "BucketId": "media-1250000001"} if "Input" in request else None
            job = Job(tag=request["Tag"], input=source, **common)
        self.jobs.append(job)
        return job

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for moment, request in [arrival for arrival in self._arrivals if arrival[0] <= self.now]:
            self._arrivals.remove((moment, request))
            self._accept(request, moment)

    def describe(self, job_id: str) -> JobsResponse:
        found = tuple(job for job in self.jobs if job.job_id == job_id)
        return self.step("describe", lambda: JobsResponse(jobs_detail=found))

    def list(self, request: Any, since: datetime) -> Iterator[Any]:
        return self.step("list", lambda: iter(self._list(request, since)))

    def _list(self, request: Any, since: datetime) -> list[Any]:
        if not self.listable:
            raise PermissionDeniedError("no", status=403, code="AccessDenied")
        return [
            job
            for job in self.jobs
            if job.creation_time
            and since <= job.creation_time
            and job.creation_time.timestamp() <= self.now - self.lag
            # batch jobs cannot be listed by input
            and ("Name" in request or job.input_object == find_text(request, "Input.Object"))
        ]

    def is_list_documented(self, request: Any) -> bool:
        return True

    def ask_if_listed(self, request: Any) -> bool:
        raise AssertionError("the list is documented")

    def ask_if_ended_without_result(self, job: Job) -> bool:
        return job.state in ("Failed", "Cancel")

    def ask_if_ended(self, job: Job) -> bool:
        return job.job_state.is_terminal

    def cancel(self, job_id: str) -> None:
        self.step("cancel", lambda: self.set_state(job_id, "Cancel"))

    def set_state(self, job_id: str, state: str) -> None:
        self.jobs = [replace(job, state=state) if job.job_id == job_id else job for job in self.jobs]

    # the store

    def get(self, key: str, default: Any = None) -> Any:
        return self.step("get", lambda: self.stored.get(key, default))

    def set(self, key: str, value: Any) -> None:
        self.step("set", lambda: self.stored.__setitem__(key, value))

    # time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.pass_time(seconds)
        self.on_sleep()

    @property
    def active(self) -> list[str | None]:
        return [job.job_id for job in self.jobs if job.state not in ("Failed", "Cancel")]


def submission(
    world: World, try_number: int = 1, *, clear_count: int = 0, **changes: Any
) -> DurableSubmission:
    store = changes.pop("store", world if world.has_store else None)
    arguments: dict[str, Any] = {
        "job_api": world,
        "submit": world.submit,
        "cancel": world.cancel,
        "before_submission": world.before_submission,
        "records": SubmissionRecords(store, try_number),
        "identity": IDENTITY._replace(max_tries=3 + clear_count),
        "who_waits": "nobody",
        "may_have_submitted": try_number > 1,
        "clear_discards_record": False,
        "run_start": lambda: START,
        "resubmit_if_unknown": False,
        "log": RecordingLog(),
        "clock": lambda: world.now,
        "sleep": world.sleep,
    }
    return DurableSubmission(**(arguments | changes))


def run_task(world: World, request: Any, retry_delay: float, tries: int = 6) -> str | None:
    """Run tries until one ends well, as Airflow does with retries; return the job id that it has."""
    for try_number in range(1, tries + 1):
        try:
            job = submission(world, try_number).get_or_submit(request, PLACE)
        except Crash:
            world.crash_at = None  # once
            world.pass_time(retry_delay)
        except (AmbiguousSubmissionError, ThrottledError):
            world.pass_time(retry_delay)
        else:
            return job.job_id
    raise AssertionError("no try ended well")


# "late": the answer is lost, and the service accepts the job only some time after
ANSWERS = ["ok", "lost before", "lost after", "late", "throttled"]
ARRIVES_LATE = 30.0


def fail_once(mocker: MockerFixture, world: World, method: str, error: Exception) -> None:
    """Let a method of the world fail the first time that it is called."""
    outcomes = itertools.chain([error], itertools.repeat(mocker.DEFAULT))
    mocker.patch.object(world, method, wraps=getattr(world, method), side_effect=outcomes)
