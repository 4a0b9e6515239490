"""The trigger for ended jobs over real HTTP, on the emulator, in the shared streams of Airflow."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.airflow_version import HAS_SHARED_STREAMS
from tests.patience import PATIENCE
from tests.recording import SHORT

if not HAS_SHARED_STREAMS:
    pytest.skip("watchers share streams from Airflow 3.3 on", allow_module_level=True)

from airflow_provider_ci.triggers.bucket_jobs import BucketJobs, Followed
from airflow_provider_ci.triggers.job_group import JobGroup
from tests.unit.triggers.simulated_triggerer import Triggerer, Watcher

KEY = "in/song.mp3"
GROUP = JobGroup("tencent_ci_default", None, None, "VoiceSeparate")


def connect(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> TencentCIHook:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    hook.upload_file(SHORT, KEY)
    return hook


def submit(hook: TencentCIHook, count: int) -> list[str]:
    request = {
        "Tag": "VoiceSeparate",
        "Input": {"Object": KEY},
        "Operation": {
            "VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3"}},
            "Output": {"AuObject": "out/${jobid}/voice.mp3"},
        },
    }
    return [str(hook.submit_job(request)[0].job_id) for _ in range(count)]


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        await asyncio.sleep(0.05)


def test_ended_jobs_are_events_also_after_the_triggerer_was_killed(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, logs: pytest.LogCaptureFixture
) -> None:
    hook = connect(emulator, monkeypatch)
    watcher = Watcher({"poll_interval": 0.2})

    async def main() -> list[str]:
        triggerer = Triggerer([watcher]).start()
        await until(lambda: watcher.asset.values)
        first = await asyncio.to_thread(submit, hook, 3)
        await until(lambda: set(watcher.job_ids) == {*first})
        await until(lambda: watcher.asset.writes > 2)
        await triggerer.kill()
        second = await asyncio.to_thread(submit, hook, 3)
        triggerer = Triggerer([watcher]).start()
        await until(lambda: set(watcher.job_ids) == {*first, *second})
        await triggerer.kill()
        return first + second

    submitted = asyncio.run(main())
    assert set(Counter(watcher.job_ids)) == {*submitted}
    for _, event in watcher.events:
        assert (event["state"], event["input_object"], event["bucket"]) == ("Success", KEY, emulator.bucket)
        voice = event["outputs"]["voice"]
        assert voice["object"] == f"out/{event['job_id']}/voice.mp3"
        assert hook.head_object(voice["object"]).size > 1000
        assert voice["md5"]
    hook.close()


def test_pending_jobs_are_found_and_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"queue_seconds": 600, "run_seconds": 600, "queue_max_concurrent": 100}
    with Emulator(clock=VirtualClock(), **settings) as emulator:
        hook = connect(emulator, monkeypatch)
        ids = {*submit(hook, 12)}

        async def main() -> None:
            jobs = BucketJobs(GROUP, is_news=lambda job: True)
            now = emulator.clock.now()
            listed, until = await jobs.created_since(now - 60, stop_before=now)
            assert ({job.job_id for job in listed}, until) == (ids, math.inf)
            assert await jobs.created_since(now + 60, stop_before=now) == ([], math.inf)
            assert await jobs.pending() == ids
            assert await jobs.follow(ids) == Followed(), "jobs that are still pending are left out"
            emulator.clock.advance(3600)
            followed = await jobs.follow({*ids, "j0"})
            assert {job.job_id for job in followed.jobs if job.ended_at is not None} == ids
            assert (followed.missing, followed.refused, followed.failure) == ({"j0"}, {}, None)
            assert await jobs.pending() == set()
            await jobs.close()

        asyncio.run(main())
        hook.close()
        # a page of the list for twelve jobs that are pending, and two requests for those that are not
        assert emulator.ledger.count("describe") == 2
