"""Runs the tries of a task instance as Airflow does: the real operator, hook and trigger, over real HTTP to
an emulator, in time that only sleeping moves. The process may die at each call of service, store or Airflow.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_ci.exceptions import TencentCIError, TransportError
from airflow_provider_ci.hooks import aio, transport
from airflow_provider_ci.hooks.aio import AsyncClient
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.ledger import AcceptedJob
from tencent_ci_emulator.server import Emulator
from tests.integration.virtual_time import VirtualTime, replace_time

INPUT = "in/short.wav"
REQUEST = {
    "input_object": INPUT,
    "voice_object": "out/${jobid}/voice.${ext}",
    "audio_mode": "IsAudio",
    "codec": "wav",
    "samplerate": 8000,
}
MODES: dict[str, dict[str, Any]] = {
    "submit-only": {},
    "sync": {"wait_for_completion": True},
    "deferrable": {"wait_for_completion": True, "deferrable": True},
}
RETRIES = 9
#: The network holds a submission back for some seconds, and its response is lost.
LATE = "late"


class Died(SystemExit):
    """The process is gone: no ``except Exception`` and no event loop holds it."""


class World(VirtualTime):
    """The emulator, the time that it and the tasks share, and the network between them."""

    def __init__(self, emulator: Emulator, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.emulator = emulator
        self.steps: list[str] = []
        self.dies_before: int | None = None
        self.submissions: list[dict[str, Any]] = []  # of the next ones: LATE, or a fault
        self.in_flight = 0
        self.clients: set[AsyncClient] = set()
        self._held: list[tuple[float, Any]] = []
        self._before = 0
        self._send = transport.send

    def begin(self) -> None:
        """Begin a case that sees nothing of the jobs and faults of the case before."""
        self.sleep(1000)
        self.emulator.faults.clear()
        self.steps, self.submissions, self.dies_before, self._held = [], [], None, []
        self.clients.clear()
        jobs = self.emulator.ledger.accepted_jobs(after=self._before)
        self._before = jobs[-1].number if jobs else self._before

    def step(self, name: str) -> None:
        number = len(self.steps)
        self.steps.append(name)
        if number == self.dies_before:
            raise Died(name)

    def sleep(self, seconds: float) -> None:
        end = self.time() + seconds
        for moment, request in [held for held in self._held if held[0] <= end]:
            self._held.remove((moment, request))
            super().sleep(moment - self.time())
            requests.request(
                request.method, request.url, headers=request.headers | transport.HEADERS, data=request.body
            )
        super().sleep(end - self.time())

    # the network

    def send(self, session: Any, request: Any, timeout: Any, **options: Any) -> Any:
        path = urlsplit(request.url).path
        self.step(
            {"POST": "submit", "PUT": "cancel"}.get(request.method, "list" if path == "/jobs" else "describe")
        )
        fault = self.submissions.pop(0) if request.method == "POST" and self.submissions else {}
        if LATE in fault:
            self._held.append((self.time() + fault[LATE], request))
            raise TransportError("the read timed out", sent=True)
        if fault:
            self.emulator.faults.add("submit", nth=1, **fault)
        return self._send(session, request, timeout, **options)

    def accepted(self) -> list[AcceptedJob]:
        """Return the jobs that were accepted in this case, also those that came late."""
        self.sleep(1000)
        return self.emulator.ledger.accepted_jobs(after=self._before)


class Loop(asyncio.SelectorEventLoop):
    """Its timers move the world's time instead of waiting; requests that are in flight are waited for."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.now = 0.0  # Unix time as a float is too coarse for timers
        self._selector: Any
        look = self._selector.select

        def select(timeout: float | None) -> Any:
            events = look(0)
            if events or timeout == 0:
                return events
            if world.in_flight or timeout is None:
                return look(1)
            self.now += timeout
            world.sleep(timeout)
            return look(0)

        self._selector.select = select
        self.set_exception_handler(
            lambda loop, said: (
                None if isinstance(said.get("exception"), Died) else loop.default_exception_handler(said)
            )
        )

    def time(self) -> float:
        return self.now


class Store:
    """Airflow's task state store, which all tries of a task instance share."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        self._world.step("get")
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self._world.step("set")
        self.values[key] = json.dumps(value)


class TaskInstance:
    """What operators use of a task instance, through all of its tries."""

    def __init__(self, world: World, run_id: str, map_index: int) -> None:
        self._world = world
        self.dag_id, self.run_id, self.task_id, self.map_index = "separate", run_id, "submit", map_index
        self.try_number, self.max_tries = 0, RETRIES
        self.start_date = datetime.fromtimestamp(world.time(), UTC)
        self.stats_tags: dict[str, str] = {}
        self.xcom: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self._world.step(f"xcom {key}")
        self.xcom[key] = json.loads(json.dumps(value))


class Task:
    """One task instance: :meth:`run` makes tries until one ends well."""

    def __init__(
        self,
        world: World,
        mode: str,
        *,
        has_store: bool,
        run_id: str = "r",
        map_index: int = -1,
        **arguments: Any,
    ) -> None:
        self.world = world
        self.ti = TaskInstance(world, run_id, map_index)
        self.arguments = {**REQUEST, **MODES[mode], "poll_interval": 4.0, "retries": RETRIES, **arguments}
        self.errors: list[Exception] = []
        self._dag_run = SimpleNamespace(start_date=self.ti.start_date)
        self._store = Store(world) if has_store else None
        self.triggerer_death_fails = False  # otherwise the trigger continues in another process

    def clear(self, *, of_finished_run: bool = False) -> None:
        """Do what Airflow does when somebody clears a task instance that is not running.

        :param of_finished_run: the run has finished, so Airflow starts it again.
        """
        self.ti.max_tries = self.ti.try_number + RETRIES
        if of_finished_run:
            self._dag_run.start_date = datetime.fromtimestamp(self.world.time(), UTC)

    @property
    def job_id(self) -> str:
        return str(self.ti.xcom["return_value"])

    def run(self, *, tries: int = 4, retry_delay: float = 0.0) -> str:
        for _ in range(tries):
            if self.attempt():
                return self.job_id
            self.world.sleep(retry_delay)
        raise AssertionError(f"no try of {tries} ended well: {self.errors}, {self.world.steps}")

    def attempt(self) -> bool:
        """Make one try; tell whether it ended well."""
        self.ti.try_number += 1
        self.ti.start_date = datetime.fromtimestamp(self.world.time(), UTC)
        self.ti.xcom.clear()  # as Airflow 3 does
        try:
            returned = self._with_operator(lambda operator: operator.execute(self._context()))
            self.world.step("end")
        except Died:
            self.world.dies_before = None  # once
            return False
        except TencentCIError as error:
            self.errors.append(error)
            return False
        self.ti.xcom["return_value"] = returned
        return True

    def _context(self) -> dict[str, Any]:
        context = {"ti": self.ti, "dag_run": self._dag_run}
        return context if self._store is None else context | {"task_state_store": self._store}

    def _with_operator(self, act: Callable[[VoiceSeparateOperator], str]) -> str:
        """Run a new process, and the triggerer and a process that resumes the task, if it defers."""
        operator = VoiceSeparateOperator(task_id="submit", **self.arguments)
        try:
            return act(operator)
        except TaskDeferred as deferred:
            self.world.step("defer")
            event = self._wait(*deferred.trigger.serialize())
            method, kwargs = deferred.method_name, {**(deferred.kwargs or {}), "event": event}
            return self._with_operator(
                lambda resumed: resumed.resume_execution(method, kwargs, self._context())
            )
        finally:
            operator.hook.close()

    def _wait(self, path: str, arguments: dict[str, Any]) -> Any:
        assert path == f"{TencentCIJobTrigger.__module__}.{TencentCIJobTrigger.__name__}"

        async def first_event() -> Any:
            async for event in TencentCIJobTrigger(**arguments).run():
                self.world.step("event")
                return event.payload
            raise AssertionError("a trigger ends with an event")

        with asyncio.Runner(loop_factory=lambda: Loop(self.world)) as runner:
            try:
                return json.loads(json.dumps(runner.run(first_event())))
            except Died:
                for client in self.world.clients:  # of a dead process, the kernel closes them
                    runner.run(client.close())
                if self.triggerer_death_fails:
                    raise
        self.world.dies_before = None
        return self._wait(path, json.loads(json.dumps(arguments)))


@contextmanager
def simulated_world(media: Path) -> Iterator[World]:
    """Yield a world with a new emulator, whose bucket holds ``media``. The default connection leads there."""
    emulator = Emulator(clock=(clock := VirtualClock()), queue_seconds=1, run_seconds=2)
    world = World(emulator, clock)
    with pytest.MonkeyPatch.context() as patch:
        replace_time(patch, world)
        # one try at a time, so it owns its job
        patch.setattr("airflow_provider_ci.current_try.state_of_try", lambda context: "running")
        patch.setattr(transport, "send", world.send)
        patch.setattr(aio, "load_settings", _in_flight(world, aio.load_settings))
        patch.setattr(AsyncClient, "_send", _polling(world, _in_flight(world, AsyncClient._send)))
        with emulator:
            patch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
            hook = TencentCIHook()
            hook.upload_file(media, INPUT)
            hook.close()
            yield world


def _polling(world: World, exchange: Callable[..., Any]) -> Callable[..., Any]:
    async def polling(client: AsyncClient, request: Any) -> Any:
        world.clients.add(client)
        world.step("poll")
        return await exchange(client, request)

    return polling


def _in_flight(world: World, method: Callable[..., Any]) -> Callable[..., Any]:
    """Tell the world while a request is in flight: no virtual time may pass then."""

    async def counted(*args: Any) -> Any:
        world.in_flight += 1
        try:
            return await method(*args)
        finally:
            world.in_flight -= 1

    return counted
