"""The poller with its real client, against a service on loopback."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import tracemalloc
from collections.abc import Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from airflow_provider_ci.hooks import credentials
from airflow_provider_ci.triggers import poller
from airflow_provider_ci.triggers.job import TencentCIJobTrigger
from tests.conftest import BUCKET, CREDENTIALS, REGION, Logs
from tests.patience import PATIENCE
from tests.unit.hooks import fakes
from tests.unit.triggers.virtual import nothing_left, wait_for
from tests.unit.triggers.web import WebService, serving

Define = Callable[..., str]


@pytest.fixture(autouse=True)
def impatient_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may be looked up whenever a poll has failed."""
    monkeypatch.setattr("airflow_provider_ci.triggers.settings.LOOKUP_PAUSE", 0.0)


OTHER_KEY = "another-secret-key-of-the-tests"


def ids(count: int) -> list[str]:
    return [f"j{n}" for n in range(count)]


async def fired(conn_id: str, job_ids: list[str], **more: Any) -> str:
    trigger = TencentCIJobTrigger(job_ids, conn_id, BUCKET, REGION, **({"poll_interval": 0.05} | more))
    (event,) = [event async for event in trigger.run()]
    return str(event.payload["status"])


def start(conn_id: str, job_ids: list[str], **more: Any) -> list[asyncio.Task[str]]:
    """Start a trigger for each job."""
    return [asyncio.create_task(fired(conn_id, [job_id], **more)) for job_id in job_ids]


async def cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run(main: Callable[[WebService], Any], connection: Define, **settings: Any) -> None:
    """Run ``main`` with a service; no task, poller or connection may be left."""

    async def checked() -> None:
        async with serving(**settings) as service:
            connection(service.url, read_timeout=PATIENCE, connect_timeout=PATIENCE, max_attempts=1)
            # the client's warm-up, as of resolver and thread pool, is not what is looked for
            with nothing_left_but_connections():
                await main(service)

    asyncio.run(checked())


def nothing_left_but_connections() -> Any:
    """Tasks of the server's connections end with them, a moment later."""
    return nothing_left(ignoring=lambda task: "RequestHandler" in repr(task.get_coro()))


class Heartbeat:
    """Measures for how long work of its own held the loop up, by the processor's time."""

    def __init__(self) -> None:
        self.worst_work = 0.0

    async def beat(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0.002)
            this = time.thread_time()
            self.worst_work = max(self.worst_work, this - last)
            last = this

    @asynccontextmanager
    async def watching(self) -> Any:
        task = asyncio.create_task(self.beat())
        yield self
        await cancelled([task])


class TestRequests:
    @pytest.mark.parametrize("count", [1, 95])
    def test_signed_requests_with_ten_ids(self, connection: Define, count: int) -> None:
        async def main(service: WebService) -> None:
            tasks = start("tencent_ci_default", ids(count), poll_interval=0.1)
            await service.until(lambda: min(service.job_polls.get(i, 0) for i in ids(count)) >= 4)
            assert max(map(len, service.requests)) <= 10
            assert 1 <= service.connections <= poller.CONCURRENCY
            service.ended = {*ids(count)}
            assert await asyncio.gather(*tasks) == ["ended"] * count

        run(main, connection, secret_key=CREDENTIALS.secret_key)

    def test_a_group_shares_one_session(self, connection: Define) -> None:
        async def main(service: WebService) -> None:
            tasks = start("tencent_ci_default", ids(5))
            await service.until(lambda: len(service.requests) > 5)
            assert service.connections == 1
            service.ended = {*ids(5)}
            await asyncio.gather(*tasks)

        run(main, connection)


class TestChangedConnections:
    def test_new_credentials_of_a_connection_are_used(self, connection: Define) -> None:
        async def main(service: WebService) -> None:
            tasks = start("tencent_ci_default", ids(20))
            await service.until(lambda: len(service.requests) > 4)
            service.secret_key = OTHER_KEY
            connection(service.url, password=OTHER_KEY)
            service.ended = {*ids(20)}
            assert await asyncio.gather(*tasks) == ["ended"] * 20

        run(main, connection, secret_key=CREDENTIALS.secret_key)

    def test_a_corrected_endpoint_is_used(self, connection: Define, logs: Logs) -> None:
        """Also by triggers that come while others still wait, because they share the poller."""

        async def main(service: WebService) -> None:
            connection("http://127.0.0.1:9", read_timeout=PATIENCE)
            service.ended = {"j1", "j2"}
            first = asyncio.create_task(fired("tencent_ci_default", ["j1"]))
            async with asyncio.timeout(PATIENCE):
                while "Poll failed" not in logs.everything():
                    await asyncio.sleep(0.01)
            connection(service.url, read_timeout=PATIENCE)
            assert await fired("tencent_ci_default", ["j2"]) == "ended"
            assert await first == "ended"

        run(main, connection)

    def test_expiring_temporary_keys_are_replaced(
        self, connection: Define, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a failed poll, and without another lookup of the connection."""
        monkeypatch.setattr(credentials, "_process", process := credentials._Process())

        async def main(service: WebService) -> None:
            connection(
                service.url,
                login=None,
                password=None,
                credential_source="instance_role",
                read_timeout=PATIENCE,
            )
            tasks = start("tencent_ci_default", ids(20))
            await service.until(lambda: len(service.requests) > 4)
            monkeypatch.delenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT")
            service.secret_key = "key-2"
            seen = len(service.requests)
            await service.until(lambda: len(service.requests) > seen + 4)
            service.ended = {*ids(20)}
            assert await asyncio.gather(*tasks) == ["ended"] * 20

        with fakes.serving(fakes.Metadata()) as metadata:
            url = metadata.url + fakes.PREFIX
            monkeypatch.setattr("airflow_provider_ci.hooks.instance_role.METADATA_URL", url)
            monkeypatch.setattr("airflow_provider_ci.hooks.instance_role.TIMEOUTS", (PATIENCE, PATIENCE))
            run(main, connection, secret_key="key-1")
            assert metadata.issued == 2
        process.threads.shutdown()


class TestNothingIsLeft:
    @pytest.mark.parametrize("when", ["at once", "before the first poll", "while asked", "between polls"])
    def test_cancelled_triggers_leave_nothing(self, connection: Define, when: str) -> None:
        released = asyncio.Event()

        async def hold(request: web.Request) -> web.Response | None:
            if when == "while asked":
                await released.wait()
            return None

        async def main(service: WebService) -> None:
            service.answer = hold
            tasks = start("tencent_ci_default", ids(100), poll_interval=60 if when == "at once" else 0.05)
            if when == "before the first poll":
                await asyncio.sleep(0)
            elif when == "while asked":
                await service.until(lambda: len(service.requests) == poller.CONCURRENCY)
            elif when == "between polls":
                await service.until(lambda: min(service.job_polls.values(), default=0) > 1)
            await cancelled(tasks)
            await service.until_no_connection()

        run(main, connection)

    def test_ended_waits_leave_no_memory(self, connection: Define, monkeypatch: pytest.MonkeyPatch) -> None:
        # pytest keeps each line of the log, and Airflow before 3.2 logs each look-up of a connection
        monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
        group = poller.Group("tencent_ci_default", BUCKET, REGION)

        async def main(service: WebService) -> None:
            service.ended = {*ids(600)}

            async def round_of_waits() -> int:
                await asyncio.gather(*(wait_for([i], interval=0.01, group=group) for i in ids(600)))
                service.requests.clear()
                await service.until_no_connection()
                gc.collect()
                return tracemalloc.get_traced_memory()[0]

            tracemalloc.start()
            try:
                sizes = [await round_of_waits() for _ in range(5)]
            finally:
                tracemalloc.stop()
            # caches and coverage's own tables grow in one round or another; what is kept for each wait
            # grows in every round, by 16 bytes or more
            assert min(later - size for size, later in pairwise(sizes)) < 600 * 14

        run(main, connection)


class TestTheLoop:
    def test_a_thousand_triggers_do_not_hold_the_loop_up(self, connection: Define) -> None:
        """The service shares the loop. Other processes may hold it up in one round, but not in each."""

        async def main(service: WebService) -> None:
            tasks = start("tencent_ci_default", ids(1000), poll_interval=0.5)
            await service.until(lambda: min(service.job_polls.values(), default=0) >= 1)
            gc.collect()
            hearts = [Heartbeat() for _ in range(3)]
            for polls, heart in enumerate(hearts, 3):
                async with heart.watching():
                    await service.until(lambda polls=polls: min(service.job_polls.values()) >= polls)
            service.ended = {*ids(1000)}
            await asyncio.gather(*tasks)
            work = min(heart.worst_work for heart in hearts)
            assert work < 0.05, f"the loop was held up by {work:.3f} s of work in every round"

        run(main, connection)
