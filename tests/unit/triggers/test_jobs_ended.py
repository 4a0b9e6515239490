"""Events about jobs that have ended, in virtual time: which come, when, how often, and at what cost."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import pickle
import random
import re
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import islice, product
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    ConfigurationError,
    InvalidRequestError,
    PermissionDeniedError,
    RequestValidationError,
    ServerError,
)
from tests.airflow_version import HAS_SHARED_STREAMS

if not HAS_SHARED_STREAMS:
    pytest.skip("watchers share streams from Airflow 3.3 on", allow_module_level=True)

from airflow_provider_ci.protocol.ended_job_filter import EndedJobFilter
from airflow_provider_ci.protocol.jobs import DescribeJobs
from airflow_provider_ci.submission.watermark import OVERLAP_MIN, EndedJobsWatermark, SeenJob
from airflow_provider_ci.triggers.bucket_jobs import BucketJobs
from airflow_provider_ci.triggers.ended_jobs_stream import Subscription
from airflow_provider_ci.triggers.job_group import JobGroup
from airflow_provider_ci.triggers.jobs_ended import TencentCIJobsEndedTrigger

from . import virtual
from .simulated_triggerer import BUCKET, REGION, JobList, SimulatedJob, Triggerer, Watcher, counted


@pytest.fixture
def service(mocker: MockerFixture) -> Iterator[JobList]:
    service = JobList()
    mocker.patch("airflow_provider_ci.triggers.bucket_jobs.AsyncClient", service.client)
    mocker.patch("airflow_provider_ci.triggers.bucket_jobs.recent_settings", service.recent_settings)
    clock = SimpleNamespace(time=virtual.unix_time)
    for module in ("bucket_jobs", "ended_jobs_stream", "jobs_ended"):
        mocker.patch(f"airflow_provider_ci.triggers.{module}.time", clock)
    yield service
    assert service.open == 0, "sessions are left open"


def run_for(seconds: float, *watchers: Watcher, **arguments: Any) -> Triggerer:
    """Run a triggerer for some virtual seconds, and kill it."""

    async def main() -> Triggerer:
        triggerer = Triggerer(watchers, **arguments).start()
        await asyncio.sleep(seconds)
        await triggerer.kill()
        return triggerer

    return virtual.run(main())


def is_description(request: Any) -> bool:
    return isinstance(request, DescribeJobs)


def delays(watcher: Watcher, jobs: list[SimulatedJob]) -> dict[str, float]:
    """Return how long after the end of its job each event was stored."""
    ends = {job.job_id: job.ends for job in jobs}
    return {
        event["job_id"]: at - ends[event["job_id"]] for at, event in watcher.events if event["job_id"] in ends
    }


def test_a_job_that_ends_becomes_one_event(service):
    service.jobs = [SimulatedJob("j1", created=20, ends=35)]
    watcher = Watcher()
    run_for(100, watcher)
    ((at, event),) = watcher.events
    assert 35 <= at <= 35 + 10 + 2
    assert event == {
        "job_id": "j1",
        "tag": "VoiceSeparate",
        "state": "Success",
        "code": None,
        "message": None,
        "input_object": "in/song.mp3",
        "bucket": BUCKET,
        "region": REGION,
        "outputs": {},
        "omitted_files": 0,
        "creation_time": "2001-09-09T01:47:00+00:00",
        "end_time": "2001-09-09T01:47:15+00:00",
        "user_data": None,
    }


def test_jobs_that_ended_before_the_watch_are_no_events_and_those_under_way_are(service):
    service.jobs = [
        SimulatedJob("ended", created=-100, ends=-61),
        SimulatedJob("ended-long-ago", created=-9000, ends=-8000),
        SimulatedJob("under-way", created=-100, ends=50),
        SimulatedJob("under-way-for-long", created=-90_000, ends=60),
    ]
    watcher = Watcher()
    run_for(100, watcher)
    assert watcher.job_ids == ["under-way", "under-way-for-long"]


def test_jobs_that_end_while_airflow_has_not_yet_run_the_trigger_of_an_unpaused_dag_are_announced(service):
    service.jobs = [
        SimulatedJob("before", created=-3000, ends=-61),
        SimulatedJob("meanwhile", created=-3000, ends=-50),
        SimulatedJob("short", created=-30, ends=-25),
    ]
    watcher = Watcher()
    run_for(60, watcher)
    assert watcher.job_ids == ["meanwhile", "short"]


def test_a_new_watch_finds_jobs_under_way_though_another_trigger_has_just_polled(service):
    service.jobs = [SimulatedJob("j1", created=-1000, ends=20)]
    first, second = Watcher({"poll_interval": 60}), Watcher({"poll_interval": 60, "input_prefix": "in/"})

    async def main() -> None:
        triggerer = Triggerer([first]).start()
        await asyncio.sleep(10)
        triggerer._tasks.append(asyncio.create_task(triggerer._keep_running(1, second)))
        await asyncio.sleep(120)
        await triggerer.kill()

    virtual.run(main())
    assert first.job_ids == second.job_ids == ["j1"]


def test_an_end_between_the_start_of_the_trigger_and_its_first_poll_is_announced(service):
    # the poller of the first trigger has just polled when the second one comes
    service.jobs = [SimulatedJob("j1", created=-10, ends=6)]
    first, second = Watcher({"poll_interval": 30}), Watcher({"poll_interval": 30, "input_prefix": "in/"})

    async def main() -> None:
        triggerer = Triggerer([first]).start()
        await asyncio.sleep(5)
        triggerer._tasks.append(asyncio.create_task(triggerer._keep_running(1, second)))
        await asyncio.sleep(60)
        await triggerer.kill()

    virtual.run(main())
    assert first.job_ids == second.job_ids == ["j1"]


def test_an_end_before_the_first_poll_that_succeeds_is_announced(service):
    service.jobs = [SimulatedJob("ended", created=-100, ends=-61), SimulatedJob("j1", created=200, ends=300)]
    service.failure = ServerError("The service is away", status=503)
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(1000)
        service.failure = None
        await asyncio.sleep(300)
        await triggerer.kill()

    virtual.run(main())
    assert watcher.job_ids == ["j1"]


def test_a_clock_that_was_wrong_until_the_first_response_misses_no_job(service, mocker):
    service.jobs = [SimulatedJob("before", created=20, ends=50), SimulatedJob("after", created=200, ends=300)]
    watcher = Watcher()
    run_for(100, watcher)
    ahead = [8 * 3600.0]
    service.clock = SimpleNamespace(now=lambda: virtual.unix_time() + ahead[0])
    call = service.call

    async def corrected(*arguments: Any, **more: Any) -> Any:
        ahead[0] = 0.0  # as the client does when a signature is refused
        return await call(*arguments, **more)

    mocker.patch.object(service, "call", corrected)
    run_for(400, watcher)
    assert watcher.job_ids == ["before", "after"]


def test_a_machine_whose_clock_was_ahead_until_the_first_response_misses_no_job(service, mocker):
    service.jobs = [SimulatedJob("meanwhile", created=-100, ends=-30), SimulatedJob("j1", created=5, ends=40)]
    ahead = 3600.0

    def machine_time() -> float:  # corrected right after the trigger has looked at it
        nonlocal ahead
        seconds, ahead = ahead, 0.0
        return virtual.unix_time() + seconds

    mocker.patch("airflow_provider_ci.triggers.jobs_ended.time", SimpleNamespace(time=machine_time))
    watcher = Watcher()
    run_for(100, watcher)
    assert watcher.job_ids == ["meanwhile", "j1"]


def test_a_slow_job_is_followed_however_old_it_is(service):
    # hundreds of others come and end meanwhile, so that no page of the list has it any more
    service.jobs = [SimulatedJob("slow", created=10, ends=8000)]
    service.jobs += [
        SimulatedJob(job_id, created=20 + 10 * number, ends=30 + 10 * number)
        for number, job_id in enumerate(counted("quick", 600))
    ]
    watcher = Watcher({"poll_interval": 5})
    run_for(8060, watcher)
    assert Counter(watcher.job_ids) == Counter(["slow", *counted("quick", 600)])
    assert max(delays(watcher, service.jobs).values()) <= 5 + 3


def test_jobs_that_end_in_another_order_and_late_in_the_list_are_all_announced(service):
    dice = random.Random(7)
    service.jobs = [
        SimulatedJob(job_id, created=(at := dice.uniform(0, 3000)), ends=at + dice.expovariate(1 / 200))
        for job_id in counted("j", 800)
    ]
    for job in service.jobs:
        job.lag = dice.choice([0, 0, 0, 30, OVERLAP_MIN - 15])
    watcher = Watcher()
    run_for(6000, watcher)
    assert Counter(watcher.job_ids) == Counter(counted("j", 800))


def test_many_pending_jobs_cost_pages_of_the_list_and_not_a_request_for_ten(service):
    # 1,000 jobs wait for hours in a queue
    service.jobs = [SimulatedJob(job_id, created=-7200) for job_id in counted("j", 1000)]
    watcher = Watcher()
    run_for(60, watcher)
    assert service.describes() == []
    # the list of new jobs, and 10 pages of pending ones; at first to find them
    assert len(service.lists()) <= 7 * (1 + 10 + 1)


def test_fifty_watchers_of_one_bucket_cost_one_request_an_interval(service):
    service.jobs = [
        SimulatedJob(job_id, created=5.0 * number, ends=5.0 * number + 60)
        for number, job_id in enumerate(counted("j", 100))
    ]
    watchers = [Watcher({"input_prefix": "in/" if n % 2 else "in/s"}) for n in range(50)]
    run_for(700, *watchers)
    for watcher in watchers:
        assert Counter(watcher.job_ids) == Counter(counted("j", 100))
    # 70 intervals, and one list of pending jobs for each poll at which a watch began
    assert len(service.lists()) <= 70 + 5
    assert service.describes() == []


def test_many_short_jobs_cost_a_page_an_interval_and_more_only_once_a_minute(service):
    service.jobs = [
        SimulatedJob(job_id, created=0.5 * number, ends=0.5 * number + 6)
        for number, job_id in enumerate(counted("j", 1200))
    ]
    watcher = Watcher({"poll_interval": 5})
    run_for(600, watcher)
    # each minute the pages of the last three minutes, which have 360 jobs
    assert len(service.lists()) <= 120 + 10 * 3 + 3
    assert max(delays(watcher, service.jobs).values()) <= 5 + 3


def test_a_poll_that_fails_halfway_forgets_nothing(service):
    service.jobs = [SimulatedJob("old", created=-7200)]
    service.jobs += [SimulatedJob(job_id, created=20, ends=22) for job_id in counted("j", 3)]
    service.jobs += [SimulatedJob("newest", created=55, ends=57)]
    watcher = Watcher({"poll_interval": 30})
    describe = service._describe

    def refuse_once(request: Any) -> Any:
        if 25 < virtual.now() < 40:
            raise ServerError("The service is away", status=503)
        return describe(request)

    service._describe = refuse_once  # type: ignore[method-assign]
    run_for(100, watcher)
    assert Counter(watcher.job_ids) == Counter([*counted("j", 3), "newest"])


def test_triggers_with_other_buckets_or_types_poll_for_themselves(service):
    service.jobs = [SimulatedJob("j1", created=5, ends=9), SimulatedJob("j2", 5, 9, tag="Transcode")]
    voices, transcodes = Watcher(), Watcher({"tag": "Transcode", "bucket": "other-1250000001"})
    run_for(60, voices, transcodes)
    assert (voices.job_ids, transcodes.job_ids) == (["j1"], ["j2"])
    assert transcodes.events[0][1]["bucket"] == "other-1250000001"


def test_prefix_and_states_filter_events(service):
    service.jobs = [
        SimulatedJob("song", created=5, ends=9, input_object="songs/a.mp3"),
        SimulatedJob("talk", created=5, ends=9, input_object="talks/a.mp3"),
        SimulatedJob("failed", created=5, ends=9, input_object="talks/b.mp3", state="Failed"),
        SimulatedJob("cancelled", created=5, ends=9, input_object="songs/c.mp3", state="Cancel"),
    ]
    songs = Watcher({"input_prefix": "songs/"})
    failures = Watcher({"states": ["Failed", "Cancel"]})
    everything = Watcher()
    run_for(60, songs, failures, everything)
    assert set(songs.job_ids) == {"song", "cancelled"}
    assert set(failures.job_ids) == {"failed", "cancelled"}
    assert len(everything.job_ids) == 4


def test_ends_while_no_triggerer_runs_are_announced_later(service):
    service.jobs = [
        SimulatedJob("before", created=5, ends=20),
        SimulatedJob("meanwhile", created=30, ends=5000),
        SimulatedJob("created-meanwhile", created=4000, ends=5001),
        SimulatedJob("after", created=4000, ends=10_030),
    ]
    watcher = Watcher()

    async def main() -> None:
        for start, seconds in ((0, 100), (10_000, 100)):
            await asyncio.sleep(start)
            triggerer = Triggerer([watcher]).start()
            await asyncio.sleep(seconds)
            await triggerer.kill()

    virtual.run(main())
    assert Counter(watcher.job_ids) == Counter(["before", "meanwhile", "created-meanwhile", "after"])


def test_a_long_absence_is_caught_up_with_page_by_page(service, mocker):
    mocker.patch("airflow_provider_ci.triggers.bucket_jobs.JOBS_AT_ONCE", 100)
    # they all end after the first triggerer has died, most of them before the second one begins
    service.jobs = [
        SimulatedJob(job_id, created=200 + 5.0 * number, ends=210 + 5.0 * number + number % 7 * 2000)
        for number, job_id in enumerate(counted("j", 700))
    ]
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(100)
        await triggerer.kill()
        await asyncio.sleep(10_000)
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(6000)
        await triggerer.kill()

    virtual.run(main())
    assert Counter(watcher.job_ids) == Counter(counted("j", 700))


def test_many_new_jobs_do_not_stop_a_poll_before_the_newest(service, mocker):
    mocker.patch("airflow_provider_ci.triggers.bucket_jobs.JOBS_AT_ONCE", 100)
    service.jobs = [SimulatedJob(job_id, created=60, ends=70) for job_id in counted("j", 1000)]
    service.jobs.append(SimulatedJob("newest", created=80, ends=95))
    watcher = Watcher()
    run_for(140, watcher)
    assert Counter(watcher.job_ids) == Counter(["newest", *counted("j", 1000)])


def test_a_watch_passes_a_second_with_more_jobs_than_one_poll_reads(service, mocker):
    mocker.patch("airflow_provider_ci.triggers.bucket_jobs.JOBS_AT_ONCE", 200)
    service.jobs = [SimulatedJob(job_id, created=60, ends=70) for job_id in counted("j", 240)]
    service.jobs += [SimulatedJob(job_id, created=61, ends=70) for job_id in counted("k", 30)]
    service.jobs.append(SimulatedJob("later", created=270, ends=290))
    watcher = Watcher()
    run_for(320, watcher)
    assert Counter(watcher.job_ids) == Counter(job.job_id for job in service.jobs)
    assert len([at for at in service.lists() if 240 <= at < 300]) <= 30, "it lists the same jobs for ever"


def test_triggerers_that_die_lose_nothing_and_repeat_little(service):
    dice = random.Random(1)
    count, kills, seconds = 2000, 4, 2000
    for job_id in counted("j", count):
        created = dice.uniform(0, seconds - 300)
        service.jobs.append(SimulatedJob(job_id, created, ends=created + dice.uniform(1, 300)))
    watcher = Watcher({"poll_interval": 5})

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.5, 1.5) * seconds / (kills + 1))
            await triggerer.kill()
            triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(600)
        await triggerer.kill()

    virtual.run(main())
    found = Counter(watcher.job_ids)
    assert set(found) == {*counted("j", count)}
    assert found.total() - count <= count / 100


@pytest.mark.parametrize("seed", range(4))
def test_a_burst_of_jobs_is_announced_completely_though_triggerers_die_all_the_time(service, seed):
    dice = random.Random(seed)
    service.jobs = [
        SimulatedJob(job_id, created=10, ends=dice.uniform(11, 60)) for job_id in counted("j", 500)
    ]
    watcher = Watcher({"poll_interval": 2})

    async def main() -> None:
        for _ in range(30):
            triggerer = Triggerer([watcher]).start()
            await asyncio.sleep(dice.uniform(1, 12))
            await triggerer.kill()

    virtual.run(main())
    assert set(watcher.job_ids) == {*counted("j", 500)}


@pytest.mark.parametrize("seed", [*range(6), 1117, 2090])
def test_no_end_is_lost_in_a_random_world(service, mocker, seed):
    """Triggerers die, the list lags, the service, the state store and single jobs fail, and clocks step."""
    dice = random.Random(seed)
    mocker.patch("airflow_provider_ci.triggers.bucket_jobs.JOBS_AT_ONCE", dice.choice([100, 200, 2000]))
    clock_error = 0.0
    clock = SimpleNamespace(time=lambda: virtual.unix_time() + clock_error)
    for module in ("bucket_jobs", "ended_jobs_stream", "jobs_ended"):
        mocker.patch(f"airflow_provider_ci.triggers.{module}.time", clock)
    count, seconds = dice.choice([20, 60, 300]), dice.choice([60, 400, 900])
    in_one_second = 0.6 if count == 300 else 0.1
    for job_id in counted("j", count):
        created = 40.0 if dice.random() < in_one_second else dice.uniform(-300, seconds)
        ends = max(created, 1.0) + dice.choice([0.0, dice.uniform(0, 30), dice.uniform(0, 600)])
        lag = dice.choice([0.0, 0.0, dice.uniform(0, 100)])
        service.jobs.append(SimulatedJob(job_id, created, ends, lag))
    # one second has at most one such job: a list reaches no job between two
    large = {math.floor(job.created): job for job in service.jobs if job.lag == 0 and dice.random() < 0.02}
    for job in large.values():
        job.is_too_large, job.ends = True, job.created + 200  # when the list has the others of its second
    watchers = [
        Watcher({"poll_interval": dice.choice([2, 10]), "states": ["Success", "Cancel"][:number]})
        for number in range(1, dice.choice([2, 3]))
    ]
    deaths = dice.randrange(6)
    has_store_failed = False

    def fail(store_failure: Exception | None) -> None:
        for watcher in watchers:
            watcher.asset.failure = store_failure

    async def disturb() -> None:
        nonlocal clock_error, has_store_failed
        while True:
            await asyncio.sleep(dice.uniform(1, 120))
            what = dice.choice(["service", "store", "refusal", "no refusal", "clock"])
            if what == "service":
                service.failure = dice.choice(
                    [
                        ServerError("away", status=503),
                        PermissionDeniedError("no", status=403, code="AccessDenied"),
                        InvalidRequestError("no", status=400, code="InvalidArgument"),
                    ]
                )
                await asyncio.sleep(dice.uniform(1, 100))
                service.failure = None
            elif what == "store":
                has_store_failed = True
                fail(RuntimeError("away"))
                await asyncio.sleep(dice.uniform(1, 60))
                fail(None)
            elif what == "refusal":
                job_id = dice.choice(service.jobs).job_id
                service.refused[job_id] = InvalidRequestError("no", status=400, code="InvalidArgument")
            elif what == "no refusal":
                service.refused.clear()
            else:
                clock_error = dice.choice([0.0, 30.0, -30.0, 3600.0, -3600.0])

    async def main() -> None:
        nonlocal clock_error
        triggerer, disturber = Triggerer(watchers).start(), asyncio.create_task(disturb())
        for _ in range(deaths):
            await asyncio.sleep(dice.choice([dice.uniform(0, 2), dice.uniform(0, 60), dice.uniform(0, 400)]))
            await triggerer.kill()
            await asyncio.sleep(dice.choice([0.0, 0.0, dice.uniform(0, 5000)]))
            triggerer = Triggerer(watchers).start()
        await asyncio.sleep(300)
        disturber.cancel()
        service.failure, clock_error = None, 0.0
        service.refused.clear()
        fail(None)
        before = len(service.calls)
        await asyncio.sleep(seconds + 1500)  # the longest pauses after refusals, and the longest job
        assert len(service.calls) - before <= 10 * (seconds + 1500), "it lists the same jobs for ever"
        await triggerer.kill()

    virtual.run(main())
    expected = {job.job_id for job in service.jobs if not job.is_too_large}
    for watcher in watchers:
        found = Counter(watcher.job_ids)
        assert set(found) == expected
        if not has_store_failed:
            assert found.total() - len(expected) <= 50 * deaths


def test_an_event_that_airflow_does_not_store_comes_again(service):
    service.jobs = [SimulatedJob("j1", created=5, ends=9)]
    watcher = Watcher()

    async def main() -> Triggerer:
        triggerer = Triggerer([watcher], ack_timeout=20).start()
        triggerer.stores_events.clear()
        await asyncio.sleep(25)
        triggerer._inbox.clear()
        triggerer.stores_events.set()
        await asyncio.sleep(60)
        await triggerer.kill()
        return triggerer

    triggerer = virtual.run(main())
    assert watcher.job_ids == ["j1"]
    assert [type(error).__name__ for error in triggerer.failures] == ["AckTimeout"]


def test_a_job_that_a_cancelled_trigger_has_not_passed_on_stays_unconfirmed():
    subscription = Subscription(
        wanted=EndedJobFilter(), poll_interval=1, store=None, watermark=EndedJobsWatermark(0.0), passed_on=4
    )
    subscription.unconfirmed = {"j1": 4, "j2": 5}
    subscription.confirm(9)
    assert subscription.unconfirmed == {"j2": 5}


def test_unstored_events_are_bounded(service):
    service.jobs = [SimulatedJob(job_id, created=5, ends=6) for job_id in counted("j", 1000)]
    watcher = Watcher()

    async def main() -> int:
        triggerer = Triggerer([watcher]).start()
        triggerer.stores_events.clear()
        await asyncio.sleep(60)
        waiting = len(triggerer._inbox)
        triggerer.stores_events.set()
        await asyncio.sleep(90)
        await triggerer.kill()
        return waiting

    assert virtual.run(main()) == 50
    assert Counter(watcher.job_ids) == Counter(counted("j", 1000))


def overlapping(count: int) -> list[Watcher]:
    """Return watchers with different triggers that all watch the same jobs."""
    names = ["in/song.mp3"[:length] for length in range(12)]
    states = [["Success", *others] for others in ([], ["Failed"], ["Cancel"], ["Failed", "Cancel"])]
    some = product(names, states)
    return [Watcher({"input_prefix": name, "states": ends}) for name, ends in islice(some, count)]


def test_unstored_events_of_many_triggers_are_bounded_and_so_are_those_of_each(service):
    service.jobs = [SimulatedJob(job_id, created=5, ends=6) for job_id in counted("j", 100)]
    watchers = overlapping(20)

    async def main() -> Counter[int]:
        triggerer = Triggerer(watchers).start()
        triggerer.stores_events.clear()
        await asyncio.sleep(60)
        waiting = Counter(id(watcher) for watcher, _, _ in triggerer._inbox + triggerer._outbox)
        triggerer.stores_events.set()
        await asyncio.sleep(120)
        await triggerer.kill()
        return waiting

    waiting = virtual.run(main())
    assert waiting.total() == 260, "jobs of 20 events each, until there are 250"
    assert len(waiting) == 20
    assert max(waiting.values()) <= 50
    assert all(Counter(watcher.job_ids) == Counter(counted("j", 100)) for watcher in watchers)


def test_different_triggers_for_the_same_jobs_get_what_airflow_can_store(service, caplog):
    """It stores an event in 22 ms: 45 a second, if it need not wait for the next one."""
    rate = 1.5  # 30 events a second
    service.jobs = [
        SimulatedJob(job_id, created=20 + number / rate, ends=25 + number / rate)
        for number, job_id in enumerate(counted("j", 450))
    ]
    watchers = overlapping(20)
    run_for(450, *watchers)
    for watcher in watchers:
        assert Counter(watcher.job_ids) == Counter(counted("j", 450))
        assert max(delays(watcher, service.jobs).values()) <= 10 + 20
    assert "because Airflow stores" not in caplog.text


def test_more_events_than_airflow_can_store_are_late_which_the_log_says_once(service, caplog):
    rate = 1.5  # 75 events a second
    service.jobs = [
        SimulatedJob(job_id, created=20 + number / rate, ends=25 + number / rate)
        for number, job_id in enumerate(counted("j", 300))
    ]
    service.jobs.append(SimulatedJob("later", created=880, ends=890))
    watchers = overlapping(48)
    with caplog.at_level(logging.INFO):
        run_for(950, *watchers)
    for watcher in watchers:
        assert Counter(watcher.job_ids) == Counter([*counted("j", 300), "later"])
    group = "type VoiceSeparate in the bucket of connection 'tencent_ci_default'"
    (line,) = [record.message for record in caplog.records if "because Airflow stores" in record.message]
    said = re.match(rf"Events about jobs of {group} come (\d+) s after the jobs' ends", line)
    assert 60 < int(said[1]) < 300
    assert "that it matches, here 48. Give DAGs that watch the same jobs one equal trigger" in line
    assert caplog.text.count(f"Events about jobs of {group} come in time again") == 1
    assert max(delays(watchers[0], service.jobs[-1:]).values()) <= 10 + 5


def test_events_that_come_again_after_a_death_are_bounded_though_the_watermark_is_stored_slowly(service):
    service.jobs = [SimulatedJob(job_id, created=5, ends=6) for job_id in counted("j", 1000)]
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(4)
        store, is_free = watcher.asset.aset, asyncio.Event()

        async def store_slowly(key: str, value: Any) -> None:
            await is_free.wait()
            await store(key, value)

        watcher.asset.aset = store_slowly  # type: ignore[method-assign]
        await asyncio.sleep(60)
        assert len(watcher.events) == 50
        is_free.set()
        await asyncio.sleep(90)
        await triggerer.kill()

    virtual.run(main())
    assert Counter(watcher.job_ids) == Counter(counted("j", 1000))


def test_an_outage_is_waited_out_with_fewer_requests_and_one_line(service, caplog):
    service.jobs = [SimulatedJob("j1", created=5, ends=500)]
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(100)
        service.failure = ServerError("The service is away", status=503)
        before = len(service.calls)
        await asyncio.sleep(1000)
        assert len(service.calls) - before <= 1000 / 160 + 5
        service.failure = None
        await asyncio.sleep(300)
        await triggerer.kill()

    with caplog.at_level(logging.WARNING):
        virtual.run(main())
    assert watcher.job_ids == ["j1"]
    (line,) = [record.message for record in caplog.records if "cannot be read" in record.message]
    group = "type VoiceSeparate in the bucket of connection 'tencent_ci_default'"
    assert line.startswith(f"Jobs of {group} cannot be read, will keep trying: The service is away")


def test_a_tag_that_the_service_refuses_costs_few_requests_and_is_logged_again(service, caplog):
    watcher = Watcher()

    async def main() -> int:
        triggerer = Triggerer([watcher]).start()
        service.failure = InvalidRequestError("Unknown tag", status=400, code="InvalidArgument")
        await asyncio.sleep(3600)
        before = len(service.calls)
        await asyncio.sleep(24 * 3600)
        await triggerer.kill()
        return len(service.calls) - before

    with caplog.at_level(logging.WARNING):
        requests = virtual.run(main())
    assert requests <= 24 * 3600 / 640 + 1
    refused = [record for record in caplog.records if "cannot be read" in record.message]
    assert 24 * 3600 / 640 - 1 <= len(refused) <= 24 * 3600 / 640 + 15


def test_a_job_that_the_service_forgets_is_not_followed_for_ever(service, caplog):
    service.jobs = [SimulatedJob("lost", created=-7200), SimulatedJob("kept", created=-7200, ends=900)]
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(100)
        service.forgotten.add("lost")
        await asyncio.sleep(900)
        before = len(service.describes())
        await asyncio.sleep(100)
        assert len(service.describes()) == before
        await triggerer.kill()

    virtual.run(main())
    assert watcher.job_ids == ["kept"]
    assert caplog.text.count("The service does not find job lost any more") == 1


def test_a_refused_job_holds_up_no_other(service, caplog):
    service.jobs = [SimulatedJob(job_id, created=-7200, ends=100) for job_id in counted("old", 9)]
    service.jobs.append(SimulatedJob("new", created=30, ends=60))
    error = InvalidRequestError("The service refused the request", status=400, code="InvalidArgument")
    service.refused = {"old00003": error}
    watcher = Watcher()
    run_for(590, watcher)
    assert set(watcher.job_ids) == {"new", *counted("old", 9)} - {"old00003"}
    assert caplog.text.count("The service refuses to describe job old00003, so its end is not announced") == 1
    assert "asked again every 10 minutes: The service refused the request" in caplog.text
    assert "cannot be" not in caplog.text
    # with nine jobs, with five, with two, and alone
    assert sum("old00003" in request.job_ids for _, request in service.calls if is_description(request)) == 4


def test_a_job_that_is_refused_no_longer_is_announced_after_ten_minutes(service):
    service.jobs = [SimulatedJob("old", created=-7200, ends=100)]
    service.refused = {"old": InvalidRequestError("Refused", status=400, code="InvalidArgument")}
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(200)
        service.refused.clear()
        await asyncio.sleep(300)
        assert watcher.job_ids == []
        await asyncio.sleep(200)
        await triggerer.kill()

    virtual.run(main())
    assert watcher.job_ids == ["old"]


def test_an_old_job_with_a_description_that_is_too_large_is_named_and_dropped(service, caplog):
    service.jobs = [SimulatedJob(job_id, created=-7200, ends=100) for job_id in counted("old", 9)]
    service.jobs[4].is_too_large = True
    watcher = Watcher()
    run_for(300, watcher)
    assert set(watcher.job_ids) == {*counted("old", 9)} - {"old00004"}
    assert caplog.text.count("Job old00004 has ended with a description that is too large") == 1
    (state,) = watcher.asset.values.values()
    assert json.loads(state)["pending"] == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_listed_job_with_a_description_that_is_too_large_holds_up_no_other(service, caplog, is_known):
    """Also none that was created in the same second. An unknown one has ended before it was ever listed."""
    ends = 40 if is_known else 20.9
    between = [  # two jobs of the second that no list reaches: they are known, so they are asked for
        SimulatedJob("j2-middle", created=20.5, ends=60),
        SimulatedJob("j2-next-large", created=20.5, ends=ends, is_too_large=True),
    ]
    service.jobs = [
        SimulatedJob("before", created=10, ends=45),
        SimulatedJob("j1-same-second", created=20.5, ends=21.5),
        SimulatedJob("j2-large", created=20.5, ends=ends, is_too_large=True),
        SimulatedJob("j3-same-second", created=20.5, ends=2000),
        *(between if is_known else ()),
        SimulatedJob("other-large", created=27, ends=ends + 10, is_too_large=True),
        SimulatedJob("after", created=30, ends=45),
        SimulatedJob("late", created=1000, ends=1030),
    ]
    watcher = Watcher()
    run_for(2100, watcher)
    assert Counter(watcher.job_ids) == Counter(job.job_id for job in service.jobs if not job.is_too_large)
    if is_known:
        for job_id in ("j2-large", "j2-next-large", "other-large"):
            assert caplog.text.count(f"Job {job_id} has ended with a description that is too large") == 1
    else:
        group = "type VoiceSeparate in the bucket of connection 'tencent_ci_default'"
        created = "created at 2001-09-09 01:47:00+00:00"
        assert caplog.text.count(f"A job of {group}, {created}, has a description that is too large") == 1
    assert caplog.text.count("a description that is too large") == (3 if is_known else 2)
    assert "cannot be read" not in caplog.text
    assert len([at for at in service.lists() if at < 100]) <= 130
    # what is left out divides a list in three, and is not searched again
    assert len([at for at in service.lists() if at > 100]) <= 3 * 200


def test_ends_are_announced_while_old_jobs_cannot_be_described(service, caplog):
    service.jobs = [SimulatedJob(job_id, created=-7200, ends=100) for job_id in counted("old", 3)]
    service.jobs.append(SimulatedJob("new", created=130, ends=160))
    denied = PermissionDeniedError("No permission", status=403, code="AccessDenied")
    service.refused = dict.fromkeys(counted("old", 3), denied)
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(1000)
        assert watcher.job_ids == ["new"]
        assert delays(watcher, service.jobs)["new"] <= 10 + 2
        assert len(service.describes()) <= 1000 / 160 + 5, "it is asked less often while that fails"
        service.refused.clear()
        await asyncio.sleep(64 * 10 + 20)  # the longest pause after refusals
        await triggerer.kill()

    virtual.run(main())
    assert Counter(watcher.job_ids) == Counter(["new", *counted("old", 3)])
    group = "type VoiceSeparate in the bucket of connection 'tencent_ci_default'"
    assert caplog.text.count(f"Older jobs of {group} cannot be described") == 1


def test_of_a_job_only_what_an_event_needs_is_kept(service):
    """One page of descriptions is in memory at a time, whatever the number of jobs."""
    size, count = 120_000, 1000
    service.jobs = [SimulatedJob(job_id, 0, 5, result_size=size) for job_id in counted("j", count)]

    async def main() -> tuple[list[SeenJob], float]:
        await asyncio.sleep(10)
        jobs = BucketJobs(JobGroup("c", None, None, "VoiceSeparate"), is_news=lambda job: True)
        tracemalloc.start()
        try:
            listed, _ = await jobs.created_since(virtual.EPOCH, stop_before=virtual.EPOCH)
            await jobs.close()
            return listed, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    listed, peak = virtual.run(main())
    assert len(listed) == count
    assert all(job.event is not None for job in listed)
    assert max(len(pickle.dumps(job)) for job in listed) < 1000
    assert peak < 1.5 * 100 * size, "more than a page was in memory"


def test_an_old_job_that_ends_before_the_first_list_of_a_new_watch_is_announced(service):
    """The service is away when the watch begins, and the triggerer is killed before it is back."""
    service.jobs = [
        SimulatedJob("ended", created=-7200, ends=-3600),
        SimulatedJob("under-way", created=-7200, ends=500),
        SimulatedJob("under-way-at-last", created=-7200, ends=1300),
        SimulatedJob("meanwhile", created=100, ends=400),
    ]
    service.failure = ServerError("The service is away", status=503)
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(300)
        await triggerer.kill()
        await asyncio.sleep(600)
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(300)
        service.failure = None
        await asyncio.sleep(400)
        await triggerer.kill()

    virtual.run(main())
    assert Counter(watcher.job_ids) == Counter(["under-way", "under-way-at-last", "meanwhile"])


def test_the_log_says_once_since_when_a_watch_announces_ends(service, caplog):
    watcher = Watcher({"states": ["Failed", "Cancel"], "input_prefix": "in/"})

    async def main() -> None:
        for _ in range(2):
            triggerer = Triggerer([watcher]).start()
            await asyncio.sleep(100)
            await triggerer.kill()

    with caplog.at_level(logging.INFO):
        virtual.run(main())
    jobs = f"jobs of type VoiceSeparate in bucket {BUCKET} that end from 2001-09-09 01:45:40+00:00 on"
    wanted = "(states: Failed, Cancel; input_prefix: in/)"
    lines = [record.message for record in caplog.records if "atching" in record.message]
    assert lines == [f"Watching {jobs} {wanted}", f"Watching again, from where it stopped, {jobs} {wanted}"]


def test_a_watermark_store_that_fails_delays_and_repeats_but_loses_nothing(service, capsys):
    service.jobs = [
        SimulatedJob("j1", created=5, ends=30),
        SimulatedJob("j2", created=5, ends=60),
        SimulatedJob("j3", created=5, ends=200),
    ]
    watcher = Watcher()

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(20)
        watcher.asset.failure = RuntimeError("the database is away")
        await asyncio.sleep(80)
        await triggerer.kill()
        triggerer = Triggerer([watcher]).start()
        watcher.asset.failure = RuntimeError("the database is away")
        await asyncio.sleep(60)
        watcher.asset.failure = None
        await asyncio.sleep(100)
        await triggerer.kill()

    virtual.run(main())
    assert Counter(watcher.job_ids) == Counter({"j1": 2, "j2": 2, "j3": 1})
    printed = capsys.readouterr().out
    assert printed.count("The asset state store cannot be written, events may come again") == 1
    assert printed.count("The asset state store cannot be read, will keep trying") == 1


def test_a_watermark_that_is_none_begins_a_new_watch(service, capsys):
    watcher = Watcher()
    watcher.asset.values[watcher.trigger()._state_key] = json.dumps({"since": "yesterday"})
    service.jobs = [SimulatedJob("j0", created=-90, ends=-80), SimulatedJob("j1", created=5, ends=9)]
    run_for(60, watcher)
    assert watcher.job_ids == ["j1"]
    assert "is not used, watching begins anew: it is no watermark: ValueError" in capsys.readouterr().out


def test_without_a_state_store_events_come_and_a_warning_says_what_is_missing(service, capsys):
    watcher = Watcher()
    service.jobs = [SimulatedJob("j1", created=5, ends=9)]

    async def main() -> None:
        triggerer = Triggerer([watcher])
        make = watcher.trigger

        def without_store() -> TencentCIJobsEndedTrigger:
            trigger = make()
            trigger.asset_state_store = None
            return trigger

        watcher.trigger = without_store  # type: ignore[method-assign]
        triggerer.start()
        await asyncio.sleep(60)
        await triggerer.kill()

    virtual.run(main())
    assert watcher.job_ids == ["j1"]
    assert "Airflow provides no asset state store" in capsys.readouterr().out


def test_the_stored_state_stays_small(service):
    service.jobs = [
        SimulatedJob(f"{job_id}-{'0' * 24}", created=number, ends=number + 30)
        for number, job_id in enumerate(counted("j", 1500))
    ]
    watcher = Watcher()
    run_for(1600, watcher)
    (state,) = watcher.asset.values.values()
    assert len(state) < 8192
    assert len(watcher.job_ids) == 1500


def test_the_watermark_moves_on_without_events(service):
    service.jobs = [
        SimulatedJob(job_id, created=10.0 * n, ends=10.0 * n + 5)
        for n, job_id in enumerate(counted("j", 900))
    ]
    watcher = Watcher({"states": ["Failed"]})

    async def main() -> None:
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(9000)
        await triggerer.kill()
        before = len(service.lists())
        triggerer = Triggerer([watcher]).start()
        await asyncio.sleep(5)
        assert len(service.lists()) - before == 1, "the restarted triggerer lists one page"
        await triggerer.kill()

    virtual.run(main())
    assert watcher.asset.writes <= 9000 / 60 + 2


def test_a_trigger_is_stored_as_its_arguments():
    trigger = TencentCIJobsEndedTrigger(
        tag="Transcode",
        bucket=BUCKET,
        region=REGION,
        input_prefix="in/",
        states=("Success",),
        poll_interval=3,
    )
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_ci.triggers.jobs_ended.TencentCIJobsEndedTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert TencentCIJobsEndedTrigger(**arguments).serialize() == (path, arguments)
    assert TencentCIJobsEndedTrigger(**arguments).shared_stream_key() == trigger.shared_stream_key()


def test_the_state_is_the_same_as_long_as_the_same_jobs_are_wanted():
    key = TencentCIJobsEndedTrigger()._state_key
    assert TencentCIJobsEndedTrigger(poll_interval=3)._state_key == key
    assert TencentCIJobsEndedTrigger(states=["Cancel", "Success", "Failed"])._state_key == key
    for argument in ({"states": ["Failed"]}, {"input_prefix": "a"}, {"tag": "Concat"}, {"region": REGION}):
        assert TencentCIJobsEndedTrigger(**argument)._state_key != key


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"tag": ""}, "tag is '', allowed: a string that is not empty"),
        ({"tencent_ci_conn_id": None}, "tencent_ci_conn_id is None, allowed: a string that is not empty"),
        ({"bucket": 3}, "bucket is 3, allowed: a string"),
        ({"poll_interval": 0}, "poll_interval is 0, allowed: seconds above 0"),
        ({"poll_interval": "5"}, "poll_interval is '5', allowed: seconds above 0"),
        ({"states": ["Running"]}, "an element of states is 'Running', allowed: Success, Failed, Cancel"),
        ({"input_prefix": "/in"}, "input_prefix is '/in', allowed: the beginning of object keys"),
    ],
)
def test_an_argument_that_cannot_work_fails_when_the_dag_is_parsed(arguments, problem):
    with pytest.raises(RequestValidationError) as raised:
        TencentCIJobsEndedTrigger(**arguments)
    assert problem in str(raised.value)


def test_a_task_cannot_wait_with_it():
    with pytest.raises(ConfigurationError, match="is for an AssetWatcher, not for a task"):
        TencentCIJobsEndedTrigger().run()


def test_an_older_airflow_is_named(mocker):
    mocker.patch("airflow_provider_ci.triggers.watcher_trigger.AIRFLOW_MINOR", (3, 2))
    with pytest.raises(ConfigurationError, match=r"TencentCIJobsEndedTrigger needs Airflow 3\.3 or newer"):
        TencentCIJobsEndedTrigger()
