"""When the poller asks for which jobs, in virtual time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
    ResponseTooLargeError,
    ServerError,
    TencentCIError,
    ThrottledError,
    TransportError,
)
from airflow_provider_ci.protocol.jobs import Job, JobsResponse
from airflow_provider_ci.submission.waiting import MAX_BACKOFF_FACTOR
from airflow_provider_ci.triggers import poller
from airflow_provider_ci.triggers.poller import CONCURRENCY, Group, subscribe
from tests.unit.triggers.virtual import GROUP, Request, Service, now, run, wait_for


def ids(count: int) -> list[str]:
    return [f"j{n}" for n in range(count)]


@pytest.fixture
def real_jitter(mocker: MockerFixture, service: Service) -> random.Random:
    chance = random.Random(7)
    mocker.patch.object(poller.random, "uniform", chance.uniform)
    return chance


async def wait_for_each(job_ids: list[str], *, every: float = 0.0, **more: Any) -> list[float]:
    """Wait with a trigger of its own for each job, which come 50 at a time as in a triggerer."""
    tasks = []
    for n, job_id in enumerate(job_ids):
        tasks.append(asyncio.create_task(wait_for([job_id], **more)))
        if n % 50 == 49:
            await asyncio.sleep(every)
    return await asyncio.gather(*tasks)


def throttled(retry_after: float | None = None) -> ThrottledError:
    error = ThrottledError("throttled", status=429)
    error.retry_after = retry_after
    return error


def failing(error: Callable[[], Exception], *, until: float = math.inf, start: float = 0.0) -> Any:
    return lambda request: error() if start <= request.at < until else None


class TestHowManyRequests:
    @pytest.mark.parametrize("count", [1, 95, 300])
    @pytest.mark.parametrize("arriving", [0.0, 0.65], ids=["at-once", "one-after-another"])
    def test_a_round_of_polls_costs_one_request_for_ten_jobs(
        self, service: Service, real_jitter: random.Random, count: int, arriving: float
    ) -> None:
        start, rounds, interval = 900, 40, 30
        service.ends = dict.fromkeys(ids(count), start + rounds * interval)
        run(wait_for_each(ids(count), every=arriving))
        seen = service.within(start, start + rounds * interval)
        assert len(seen) / rounds <= math.ceil(count / 10) + 1
        polls = service.job_polls(start, start + rounds * interval)
        assert rounds * 0.9 - 1 <= min(polls.values()) <= max(polls.values()) <= rounds * 1.15 + 1

    @pytest.mark.parametrize("count", [1, 95, 300])
    def test_also_for_jobs_that_came_at_different_times(
        self, service: Service, real_jitter: random.Random, count: int
    ) -> None:
        service.ends = dict.fromkeys(ids(count), 1500.0)

        async def come(job_id: str) -> None:
            await asyncio.sleep(real_jitter.uniform(0, 600))
            await wait_for([job_id])

        async def main() -> None:
            await asyncio.gather(*(come(job_id) for job_id in ids(count)))

        run(main())
        assert len(service.within(900, 1500)) / 20 <= math.ceil(count / 10) + 1

    def test_requests_stay_full_while_jobs_end(self, service: Service, real_jitter: random.Random) -> None:
        """The remaining jobs are combined again."""
        service.ends = {job_id: 600.0 + 7 * n for n, job_id in enumerate(ids(200))}
        run(wait_for_each(ids(200), every=0.65))
        late = service.within(600, 1900)
        assert sum(len(request.job_ids) for request in late) / len(late) > 8

    def test_at_most_ten_ids_in_a_request_and_eight_requests_at_once(self, service: Service) -> None:
        service.latency = 0.4
        service.ends = dict.fromkeys(ids(1000), 50.0)
        run(wait_for_each(ids(1000)))
        assert {len(request.job_ids) for request in service.requests} == {10}
        assert service.busiest == CONCURRENCY

    def test_one_subscriber_may_wait_for_a_thousand_jobs(self, service: Service) -> None:
        service.ends = dict.fromkeys(ids(1000), 400.0)
        run(wait_for(ids(1000)))
        assert len(service.within(300, 330)) == 100

    def test_a_job_is_polled_once_for_all_subscribers(self, service: Service) -> None:
        service.ends = {"j1": 100.0}

        async def main() -> list[float]:
            return await asyncio.gather(*(wait_for(["j1"]) for _ in range(3)), wait_for(["j1", "j1"]))

        noticed = run(main())
        assert len(set(noticed)) == 1
        assert {request.job_ids for request in service.requests} == {("j1",)}
        assert len({request.at for request in service.requests}) == len(service.requests)

    def test_who_expects_no_callback_is_not_held_up_by_one_who_does(self, service: Service) -> None:
        service.ends = {"j1": 100.0}

        async def main() -> list[float]:
            rare = asyncio.create_task(wait_for(["j1"], interval=900.0, shortest_pause=900.0))
            await asyncio.sleep(50)
            return await asyncio.gather(rare, wait_for(["j1"]))

        assert max(run(main())) <= 130

    def test_who_expects_a_callback_adds_no_poll(self, service: Service) -> None:
        service.ends = {"j1": 100.0}

        async def main(*others: float) -> None:
            await asyncio.gather(
                wait_for(["j1"]), *(wait_for(["j1"], interval=900.0, shortest_pause=each) for each in others)
            )

        run(main())
        alone, service.requests = len(service.requests), []
        run(main(900.0))
        assert len(service.requests) == alone

    def test_a_job_that_has_ended_is_not_polled_again(self, service: Service) -> None:
        service.ends = {"j0": 10.0, "j1": 500.0}
        run(wait_for(["j0", "j1"]))
        assert [at for at in service.polls_of("j0") if at > 15] == []

    def test_each_group_has_its_own_requests(self, service: Service) -> None:
        service.ends = dict.fromkeys([*ids(8), "k0", "k1"], 100.0)

        async def main() -> None:
            await asyncio.gather(
                wait_for(ids(4), group=Group("c", "b-1", "r")),
                wait_for(ids(8)[4:], group=Group("c", "b-2", "r")),
                wait_for(["k0"], group=Group("d", "b-1", "r")),
                wait_for(["k1"], group=Group("c", "b-1", "s")),
            )

        run(main())
        asked = {request.group: set(request.job_ids) for request in service.requests}
        assert asked == {
            "c/b-1/r": {*ids(4)},
            "c/b-2/r": {*ids(8)[4:]},
            "d/b-1/r": {"k0"},
            "c/b-1/s": {"k1"},
        }
        assert service.loads == 2, "a lookup for each connection"


class TestWhen:
    def test_the_first_poll_follows_a_pause(self, service: Service) -> None:
        service.ends = {"j1": 0.0}
        assert run(wait_for(["j1"])) == pytest.approx(1.05)

    @pytest.mark.parametrize("duration", [0.5, 5, 60, 599.3, 1800])
    def test_an_end_is_noticed_after_at_most_a_quarter_of_the_duration(
        self, service: Service, real_jitter: random.Random, duration: float
    ) -> None:
        service.ends = {"j1": duration}
        late = run(wait_for(["j1"])) - duration
        assert 0 <= late <= min(max(1.0, duration * 0.25), 30) * 1.1 + service.latency + 0.1

    @pytest.mark.parametrize("interval", [0.2, 2, 3600])
    def test_the_longest_pause(self, service: Service, interval: float) -> None:
        service.ends = {"j1": 10 * interval + 10}
        run(wait_for(["j1"], interval=interval))
        polls = service.polls_of("j1")
        pauses = [later - earlier for earlier, later in pairwise(polls)]
        assert max(pauses) <= interval + service.latency + 0.1 + 1e-6
        assert min(pauses) >= min(interval, 1)

    def test_polls_come_in_ticks(self, service: Service) -> None:
        service.ends = dict.fromkeys(ids(300), 400.0)
        run(wait_for_each(ids(300), every=0.13))
        moments = {request.at for request in service.within(200, 390)}
        assert all(abs(moment * 10 - round(moment * 10)) < 1e-6 for moment in moments)

    def test_an_interval_of_zero_is_a_tick(self, service: Service) -> None:
        service.ends = {"j1": 10.0}
        run(wait_for(["j1"], interval=0))
        assert len(service.requests) <= 101

    def test_the_shortest_interval_of_all_subscribers_counts(self, service: Service) -> None:
        service.ends = {"j1": 1000.0}

        async def main() -> None:
            await asyncio.gather(wait_for(["j1"], interval=100), wait_for(["j1"], interval=10))

        run(main())
        assert len(service.within(500, 600)) in (9, 10)

    def test_a_job_that_comes_later_has_short_pauses_at_first(self, service: Service) -> None:
        service.ends = {"j0": 2000.0, "j1": 1004.0}

        async def later() -> float:
            await asyncio.sleep(1000)
            return await wait_for(["j1"])

        async def main() -> list[float]:
            return await asyncio.gather(wait_for(["j0"]), later())

        assert run(main())[1] <= 1005.3

    def test_rounds_are_jittered_and_differ(self, service: Service, real_jitter: random.Random) -> None:
        service.ends = dict.fromkeys(ids(20), 3000.0)
        run(wait_for_each(ids(20)))
        polls = service.polls_of("j0")
        pauses = [later - earlier for earlier, later in pairwise(polls) if earlier > 200]
        assert len({round(pause, 3) for pause in pauses}) > 20
        assert 26 < min(pauses) < 29 < 31 < max(pauses) <= 33.1
        assert service.polls_of("j0")[-5:] != service.polls_of("j10")[-5:]


class TestRestart:
    """A triggerer comes back with a thousand triggers whose jobs have been waited for in another process."""

    COUNT, INTERVAL = 1000, 30.0
    STEADY = COUNT / 10 / INTERVAL  # requests a second

    async def restored(self, waited: float, count: int = COUNT) -> None:
        """Wait as a triggerer does, which starts fifty triggers at a time."""
        for n in range(count):
            self.tasks.append(asyncio.create_task(wait_for([f"j{n}"], interval=self.INTERVAL, waited=waited)))
            if n % 50 == 49:
                await asyncio.sleep(0.1)
        await asyncio.sleep(300)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @pytest.fixture(autouse=True)
    def _tasks(self) -> None:
        self.tasks: list[asyncio.Task[float]] = []

    @pytest.mark.parametrize("waited", [150.0, 3600.0, 6 * 86_400.0])
    def test_it_sends_no_more_requests_than_before(
        self, service: Service, real_jitter: random.Random, waited: float
    ) -> None:
        run(self.restored(waited))
        for start in range(0, 250, 10):
            assert len(service.within(start, start + 10)) <= self.STEADY * 10 * 1.2 + 2
        assert max(service.job_polls(0, 27).values()) == 1

    def test_it_polls_each_job_within_its_pause(self, service: Service, real_jitter: random.Random) -> None:
        run(self.restored(3600.0))
        assert len(service.job_polls(0, 34)) == self.COUNT

    def test_few_jobs_share_their_requests(self, service: Service, real_jitter: random.Random) -> None:
        run(self.restored(3600.0, count=20))
        assert len(service.within(0, 31)) <= 3

    def test_a_new_job_is_polled_soon(self, service: Service) -> None:
        """Its worker deferred seconds ago."""
        service.ends = {"j1": 0.0}
        assert run(wait_for(["j1"], waited=3.0)) == pytest.approx(1.05)

    def test_during_an_outage_it_sends_no_more_requests_either(
        self, service: Service, real_jitter: random.Random
    ) -> None:
        service.before = lambda request: TransportError("connection refused")
        run(self.restored(3600.0))
        for start in range(0, 250, 10):
            assert len(service.within(start, start + 10)) <= self.STEADY * 10 * 1.2 + 2


# One for each kind that the poller tells apart
OUTAGES: list[Callable[[], TencentCIError]] = [
    lambda: ServerError("busy", status=503, code="ServiceUnavailable"),
    lambda: TransportError("connection refused"),
    lambda: InvalidResponseError("a gateway's HTML", status=200),
    lambda: InvalidRequestError("No.", status=400, code="InvalidArgument"),
    lambda: AuthenticationError("No.", status=403, code="SignatureDoesNotMatch"),
]


class TestAFailingServiceGetsFewerRequests:
    """Never more than a healthy one, whatever it responds. The same holds for a secrets backend."""

    COUNT = 300
    NAMES = ("503", "refuses", "html", "invalid", "keys")

    async def wait_for_all(self, seconds: float) -> None:
        tasks = [asyncio.create_task(wait_for([job_id], waited=3600.0)) for job_id in ids(self.COUNT)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @pytest.mark.parametrize("error", OUTAGES, ids=NAMES)
    @pytest.mark.parametrize("share", [1.0, 0.5], ids=["always", "half of the time"])
    def test_requests_and_lookups(
        self, service: Service, real_jitter: random.Random, error: Callable[[], TencentCIError], share: float
    ) -> None:
        healthy = self.COUNT / 10 / 30  # requests a second
        chance = random.Random(3)
        service.before = lambda request: (
            error() if 300 <= request.at < 1500 and chance.random() < share else None
        )
        run(self.wait_for_all(3000))
        for start in range(0, 2900, 60):
            asked = len(service.within(start, start + 60))
            assert asked <= healthy * 60 * 1.15 + 8, f"at {start} s"
        assert len(service.within(300, 1500)) <= healthy * 1200 * 1.1
        lookups = service.looked_up
        assert all(later - earlier >= 30 for earlier, later in pairwise(lookups))
        late = service.within(2700, 2900)
        assert len(service.job_polls(2400, 2900)) == self.COUNT, "all are asked for again"
        assert sum(len(request.job_ids) for request in late) / len(late) > 8, "in full requests"

    def test_a_failing_secrets_backend_gets_a_request_every_thirty_seconds(
        self, service: Service, real_jitter: random.Random, mocker: MockerFixture
    ) -> None:
        load = service.load_settings

        async def fail(conn_id: str) -> Any:
            settings = await load(conn_id)
            if now() < 400:
                raise RuntimeError("the secrets backend is away")
            return settings

        mocker.patch("airflow_provider_ci.hooks.aio.load_settings", fail)
        run(self.wait_for_all(900))
        assert len([at for at in service.looked_up if at < 400]) <= 400 / 30 + 1
        assert not service.within(0, 400)
        assert len(service.job_polls(400, 900)) == self.COUNT

    def test_a_connection_that_cannot_be_reloaded_is_used_unchanged(
        self, service: Service, mocker: MockerFixture
    ) -> None:
        load = service.load_settings

        async def fail(conn_id: str) -> Any:
            settings = await load(conn_id)
            if service.loads > 1:
                raise RuntimeError("the secrets backend is away")
            return settings

        mocker.patch("airflow_provider_ci.hooks.aio.load_settings", fail)
        service.ends = {"j1": 1000.0}
        service.before = failing(lambda: TransportError("reset"), start=100, until=300)
        assert run(wait_for(["j1"])) < 1500
        assert service.loads > 1


class TestWhenTheServiceFails:
    @pytest.mark.parametrize(
        "error",
        [
            lambda: TransportError("timed out"),
            lambda: throttled(),
            lambda: ServerError("busy", status=503, code="SlowDown"),
        ],
        ids=["timeout", "429", "503"],
    )
    def test_pauses_double_up_to_a_limit_and_recover(
        self, service: Service, error: Callable[[], TencentCIError]
    ) -> None:
        service.ends = {"j1": 30_000.0}
        service.before = failing(error, start=1000, until=9000)
        run(wait_for(["j1"]))
        polls = service.polls_of("j1")
        pauses = {round(earlier): round(later - earlier) for earlier, later in pairwise(polls)}
        bad = [pause for at, pause in pauses.items() if 1000 <= at < 9000]
        assert bad[:5] == [60, 120, 240, 480, 480]
        assert max(bad) == 30 * MAX_BACKOFF_FACTOR
        good = [pause for at, pause in pauses.items() if at >= 9000]
        assert good[:6] == [240, 120, 60, 30, 30, 30]

    def test_a_short_outage_doubles_the_pauses_once(self, service: Service) -> None:
        """Not once for each of the thirty requests that fail."""
        service.ends = dict.fromkeys(ids(300), 3000.0)
        service.before = failing(lambda: TransportError("reset"), start=1000, until=1031)
        run(wait_for_each(ids(300)))
        polls = service.polls_of("j5")
        pauses = [later - earlier for earlier, later in pairwise(polls)]
        assert max(pauses) < 65
        assert len(service.within(1200, 1230)) == 30

    def test_all_jobs_pause_for_as_long_as_the_service_asks(self, service: Service) -> None:
        service.ends = dict.fromkeys(ids(100), 3000.0)
        times = iter([*[None] * 5, 200.0])

        def before(request: Request) -> TencentCIError | None:
            asked = next(times, None) if request.at >= 1000 else None
            return throttled(asked) if asked else None

        service.before = before
        run(wait_for_each(ids(100)))
        polls = sorted({request.at for request in service.requests})
        gap = max(later - earlier for earlier, later in pairwise(polls))
        assert gap == pytest.approx(200, abs=1)

    def test_all_jobs_are_polled_although_many_requests_are_throttled(self, service: Service) -> None:
        """The service allows 20 requests in each minute, 100 would be wanted in each half."""
        service.ends = dict.fromkeys(ids(1000), 0.0)
        allowed: dict[int, int] = {}

        def before(request: Request) -> TencentCIError | None:
            minute = int(request.at // 60)
            allowed[minute] = allowed.get(minute, 0) + 1
            return throttled() if allowed[minute] > 20 else None

        service.before = before
        noticed = run(wait_for_each(ids(1000)))
        assert max(noticed) < 3600

    @pytest.mark.parametrize("kind", [InvalidRequestError, NotFoundError, InvalidResponseError])
    def test_one_id_that_makes_requests_fail_is_isolated(
        self, service: Service, kind: type[TencentCIError]
    ) -> None:
        service.ends = dict.fromkeys(ids(30), 300.0)
        service.before = lambda request: kind("poison") if "j13" in request.job_ids else None

        async def main() -> list[float]:
            poisoned = asyncio.create_task(wait_for(["j13"]))
            noticed = await wait_for_each([i for i in ids(30) if i != "j13"])
            poisoned.cancel()
            await asyncio.wait([poisoned])
            return noticed

        assert max(run(main())) <= 300 + 61
        mixed = [request for request in service.requests if "j13" in request.job_ids and request.at > 60]
        assert {request.job_ids for request in mixed} == {("j13",)}
        late = [request for request in service.within(100, 300) if "j13" not in request.job_ids]
        assert sum(len(request.job_ids) for request in late) / len(late) > 9

    def test_results_that_are_too_large_together_are_read_in_several_responses(
        self, service: Service
    ) -> None:
        """Two transcripts fit into one response."""
        service.ends = dict.fromkeys(ids(10), 100.0)

        def before(request: Request) -> TencentCIError | None:
            ended = [i for i in request.job_ids if request.at >= 100]
            return ResponseTooLargeError("too large") if len(ended) > 2 else None

        service.before = before
        assert max(run(wait_for_each(ids(10)))) < 100 + 35
        sizes = [len(request.job_ids) for request in service.requests if request.at >= 100]
        assert sizes == [10, 5, 3, 2, 1, 2, 5, 3, 2, 1, 2]

    def test_only_the_subscriber_of_that_id_gets_the_error(self, service: Service) -> None:
        service.before = lambda request: InvalidRequestError("poison") if "j1" in request.job_ids else None

        async def main() -> tuple[list[Any], list[Any]]:
            async with subscribe(GROUP, ["j0"], 30) as one, subscribe(GROUP, ["j1"], 30) as other:
                await asyncio.sleep(30)
                return [one.get_nowait() for _ in range(one.qsize())], [
                    other.get_nowait() for _ in range(other.qsize())
                ]

        good, bad = run(main())
        assert all(update.error is None for update in good)
        assert good
        assert all(isinstance(update.error, InvalidRequestError) for update in bad)
        assert bad

    @pytest.mark.parametrize("kind", [AuthenticationError, PermissionDeniedError])
    def test_the_connection_is_reloaded_after_a_refusal(
        self, service: Service, kind: type[TencentCIError]
    ) -> None:
        service.ends = {"j1": 100.0}
        service.before = lambda request: kind("old key") if service.loads < 3 else None
        assert run(wait_for(["j1"])) < 130
        assert service.loads == 3

    def test_a_connection_that_does_not_exist_for_a_while(
        self, service: Service, mocker: MockerFixture
    ) -> None:
        load = service.load_settings
        reported: list[TencentCIError | None] = []

        async def gone(conn_id: str) -> Any:
            if now() < 50:
                raise LookupError(f"The conn_id `{conn_id}` isn't defined")
            return await load(conn_id)

        async def main() -> None:
            async with subscribe(GROUP, ["j1"], 30) as updates:
                while (update := await updates.get()).error is not None:
                    reported.append(update.error)

        mocker.patch("airflow_provider_ci.hooks.aio.load_settings", gone)
        run(main())
        assert {str(error) for error in reported} == {"LookupError: The conn_id `c` isn't defined"}

    @pytest.mark.parametrize(
        "error", [RuntimeError("a bug"), KeyError("x"), asyncio.CancelledError("Reader loop exited")]
    )
    def test_whatever_a_poll_raises_the_jobs_are_polled_again(
        self, service: Service, error: BaseException
    ) -> None:
        def before(request: Request) -> None:
            if request.at < 20:
                raise error

        service.ends = dict.fromkeys(ids(15), 30.0)
        service.before = before
        assert max(run(wait_for_each(ids(15)))) < 60

    def test_also_if_handling_the_response_fails(self, service: Service, mocker: MockerFixture) -> None:
        """An error of the poller itself is a failure like any other."""
        reported: list[Any] = []
        mocker.patch.object(Job, "job_state", property(lambda job: 1 / 0))

        async def main() -> None:
            async with subscribe(GROUP, ["j1"], 30) as updates:
                reported.append(await updates.get())
                reported.append(await updates.get())
                reported.append(await updates.get())

        run(main())
        assert any(update.error is not None for update in reported)

    def test_jobs_that_were_not_asked_for_are_ignored(self, service: Service) -> None:
        service.ends = dict.fromkeys(ids(20), 100.0)
        answer = service.answer

        async def chatty(settings: Any, call: Any, endpoint: str) -> JobsResponse:
            said: JobsResponse = await answer(settings, call, endpoint)
            others = tuple(Job(job_id=i, state="Success") for i in ids(20) if i not in call.job_ids)
            return JobsResponse(jobs_detail=said.jobs_detail + others)

        service.answer = chatty  # type: ignore[method-assign]
        assert min(run(wait_for_each(ids(20)))) >= 100


class TestSubscriptions:
    def test_an_update_comes_with_each_tenth_of_the_progress_and_not_with_each_poll(
        self, service: Service
    ) -> None:
        service.ends, service.progress = {"j1": 600.0}, {"j1": 600.0}

        async def main() -> list[int | None]:
            progress = []
            async with subscribe(GROUP, ["j1"], 5) as updates:
                while True:
                    (job,) = (await updates.get()).response.jobs_detail  # type: ignore[union-attr]
                    progress.append(job.progress)
                    if job.job_state.is_terminal:
                        return progress

        progress = run(main())
        assert len(service.requests) > 100
        tenths = [number // 10 for number in progress if number is not None]
        assert tenths == sorted({*tenths})
        assert 10 <= len(tenths) <= 11

    @pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 1.02, 1.05, 1.5, 40.0])
    @pytest.mark.parametrize("count", [1, 25])
    def test_cancelled_at_any_moment_nothing_is_left(
        self, service: Service, moment: float, count: int
    ) -> None:
        async def main() -> None:
            tasks = [asyncio.create_task(wait_for([job_id])) for job_id in ids(count)]
            await asyncio.sleep(moment)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        run(main())

    @pytest.mark.parametrize("steps", range(12))
    def test_cancelled_twice_nothing_is_left(self, service: Service, steps: int) -> None:
        """The second time while it unsubscribes: the sockets are closed all the same."""

        async def main() -> None:
            task = asyncio.create_task(wait_for(["j1"]))
            await asyncio.sleep(1.02)
            task.cancel()
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.01)

        run(main())

    def test_other_subscribers_are_not_affected(self, service: Service) -> None:
        service.ends = dict.fromkeys(ids(20), 200.0)

        async def main() -> list[float]:
            leaving = [asyncio.create_task(wait_for([job_id])) for job_id in ids(20)[::2]]
            staying = [asyncio.create_task(wait_for([job_id])) for job_id in ids(20)[1::2]]
            await asyncio.sleep(60.0)
            for task in leaving:
                task.cancel()
            return await asyncio.gather(*staying)

        assert max(run(main())) < 235
        assert {i for request in service.within(62, 200) for i in request.job_ids} == {*ids(20)[1::2]}

    def test_one_of_two_subscribers_of_a_job_leaves(self, service: Service) -> None:
        service.ends = {"j1": 100.0}

        async def main() -> float:
            leaving, staying = (asyncio.create_task(wait_for(["j1"])) for _ in range(2))
            await asyncio.sleep(10)
            leaving.cancel()
            return await staying

        assert run(main()) < 130

    def test_a_job_that_is_unsubscribed_and_subscribed_again_during_its_poll(self, service: Service) -> None:
        """The response to the old request must not remove the new entry."""
        service.ends = {"j1": 0.0}
        service.latency = 0.5

        async def main() -> float:
            staying = asyncio.create_task(wait_for(["j0"]))  # keeps the poller
            old = asyncio.create_task(wait_for(["j1"]))
            await asyncio.sleep(1.2)
            old.cancel()
            await asyncio.sleep(0)
            noticed = await asyncio.wait_for(wait_for(["j1"]), 100)
            staying.cancel()
            await asyncio.wait([staying])
            return noticed

        assert run(main()) < 4

    def test_jobs_that_are_unsubscribed_during_a_failed_poll_are_no_suspects(self, service: Service) -> None:
        """They would be suspects for ever: with ten of them, no id that makes requests fail is isolated."""
        service.latency = 0.5
        service.before = lambda request: InvalidRequestError("refused")

        async def main() -> set[str]:
            staying = asyncio.create_task(wait_for(["j0"]))  # keeps the poller
            leaving = asyncio.create_task(wait_for(ids(9)[1:]))
            await asyncio.sleep(1.2)
            leaving.cancel()
            await asyncio.sleep(1)
            (only,) = poller._pollers[asyncio.get_running_loop()].values()
            suspects = {*only._suspects}
            staying.cancel()
            await asyncio.wait([staying])
            return suspects

        assert run(main()) == {"j0"}

    def test_a_group_has_one_poller_also_after_all_its_jobs_have_ended(self, service: Service) -> None:
        """The first subscriber to leave must not stop the poller of those who come."""
        service.ends = {"j0": 0.0, "j1": 0.0, "k0": 50.0, "k1": 50.0}

        async def main() -> None:
            async with subscribe(GROUP, ["j0"], 30) as one, subscribe(GROUP, ["j1"], 30) as other:
                await one.get()
                await other.get()
                # both have ended, none has left
                async with subscribe(GROUP, ["k0"], 30):
                    pass
                new = asyncio.create_task(wait_for(["k0"]))
                await asyncio.sleep(0)
                assert len(poller._pollers[asyncio.get_running_loop()]) == 1
            await asyncio.sleep(0)
            newer = asyncio.create_task(wait_for(["k1"]))
            await asyncio.sleep(0)
            assert len(poller._pollers[asyncio.get_running_loop()]) == 1
            assert service.open == 1
            await asyncio.gather(new, newer)

        run(main())

    def test_wrong_arguments_are_refused_and_leave_nothing(self, service: Service) -> None:
        async def main() -> None:
            for bad in (["a/b"], "j1", [1]):
                with pytest.raises(RequestValidationError):
                    await wait_for(bad)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                await wait_for(["j1"], interval=None)  # type: ignore[arg-type]

        run(main())

    def test_each_loop_has_its_own(self, service: Service) -> None:
        service.ends = {"j1": 0.0}
        for _ in range(2):
            run(wait_for(["j1"]))
        assert service.loads == 2

    def test_its_log_lines_do_not_belong_to_the_first_trigger(self, service: Service) -> None:
        from contextvars import ContextVar

        trigger_id: ContextVar[int | None] = ContextVar("trigger_id", default=None)
        seen: list[int | None] = []
        service.before = lambda request: seen.append(trigger_id.get())
        service.ends = {"j1": 0.0}

        async def main() -> None:
            trigger_id.set(42)
            await wait_for(["j1"])

        run(main())
        assert seen == [None]
