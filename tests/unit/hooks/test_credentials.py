"""Providers of credentials: one for a process, one fetch for all who wait, one generation at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import CredentialsError
from airflow_provider_ci.hooks import credentials
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.credentials import MAX_CACHED, RefreshableCredentials, shared_credentials
from airflow_provider_ci.hooks.credentials_providers import EnvironmentKeys, FileKeys, StaticKeys
from airflow_provider_ci.hooks.instance_role import InstanceRole
from airflow_provider_ci.protocol.wire import Credentials
from tests.conftest import CREDENTIALS, Logs
from tests.patience import PATIENCE
from tests.unit.hooks.fakes import Metadata

START = 1_700_000_000.0


@dataclass
class Time:
    now: float = START

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(mocker: MockerFixture) -> Time:
    """The time that providers see, which stands still."""
    clock = Time()
    mocker.patch("airflow_provider_ci.hooks.clock.time", clock)
    return clock


@dataclass(eq=False)
class Source:
    """Numbered generations, or an error while ``failing``."""

    clock: Time
    lifetime: float | None = 7200.0
    failing: bool = False
    fetches: int = 0
    before: Callable[[], Any] = lambda: None
    name: str = "test"
    endpoint_url: str | None = None

    def fetch(self) -> Credentials:
        self.fetches += 1
        self.before()
        if self.failing:
            raise CredentialsError(f"failure {self.fetches}", transient=True, code="Down")
        n = self.fetches
        end = None if self.lifetime is None else self.clock.now + self.lifetime
        return Credentials(f"id{n}", f"key{n}", f"token{n}", end)


@pytest.fixture
def source(clock: Time) -> Source:
    return Source(clock)


class WatchedLock:
    """A lock that knows how many threads wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self.waiting = 0

    def acquire(self, blocking: bool = True) -> bool:
        if self._lock.acquire(blocking=False):
            return True
        if not blocking:
            return False
        with self._changed:
            self.waiting += 1
            self._changed.notify_all()
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def until_waiting(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.waiting == count, PATIENCE)


def watched(provider: RefreshableCredentials) -> WatchedLock:
    lock = provider._lock = WatchedLock()  # type: ignore[assignment]
    return lock


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """Return what each of so many threads gives, or raises."""

    def caught() -> Any:
        try:
            return work()
        except CredentialsError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(caught) for _ in range(count)]]


class TestLifetime:
    def test_nothing_is_fetched_before_it_is_needed(self, source: Source) -> None:
        assert RefreshableCredentials(source).cached() is None
        assert source.fetches == 0

    @pytest.mark.parametrize(("lifetime", "due"), [(7200, 6600), (2400, 1800), (1000, 750), (100, 75)])
    def test_credentials_are_replaced_before_they_expire(
        self, source: Source, clock: Time, lifetime: float, due: float
    ) -> None:
        source.lifetime = lifetime
        provider = RefreshableCredentials(source)
        first = provider.get()
        assert (first.secret_id, first.expires_at) == ("id1", START + lifetime)
        clock.now = START + due - 1
        assert provider.get() is first
        clock.now = START + due
        assert provider.get().secret_id == "id2"
        assert source.fetches == 2

    def test_credentials_that_do_not_expire_are_kept(self, source: Source, clock: Time) -> None:
        source.lifetime = None
        provider = RefreshableCredentials(source)
        first = provider.get()
        clock.now += 10**9
        assert provider.get() is provider.cached() is first

    def test_expired_credentials_are_not_returned(self, source: Source, clock: Time) -> None:
        provider = RefreshableCredentials(source)
        first = provider.get()
        clock.now = START + 7199
        assert provider.cached() is first
        clock.now = START + 7200
        assert provider.cached() is None

    def test_new_credentials_are_used_even_if_a_fast_clock_takes_them_for_expired(
        self, source: Source, clock: Time
    ) -> None:
        source.lifetime = -7200
        provider = RefreshableCredentials(source)
        assert [provider.get().secret_id for _ in range(3)] == ["id1"] * 3
        clock.now += 60
        assert provider.get().secret_id == "id2"

    def test_expiry_is_judged_by_the_services_clock(self, source: Source, clock: Time) -> None:
        provider = RefreshableCredentials(source)
        provider.get()
        service_clock(None).offset = 7000
        assert provider.get().secret_id == "id2"


class TestFailure:
    def test_old_credentials_are_used_while_they_work_and_one_warning_says_so(
        self, source: Source, clock: Time, logs: Logs
    ) -> None:
        provider = RefreshableCredentials(source)
        first = provider.get()
        source.failing = True
        clock.now = START + 6600
        for _ in range(5):
            assert provider.get() is first
        assert source.fetches == 2  # not for each call
        clock.now += 60
        assert provider.get() is first
        assert source.fetches == 3
        (line,) = logs.at("warning")
        assert "source test" in line
        assert "for 600 s more" in line
        assert "failure 2" in line

    def test_a_later_failure_causes_another_warning(self, source: Source, clock: Time, logs: Logs) -> None:
        provider = RefreshableCredentials(source)
        provider.get()
        source.failing, clock.now = True, START + 6600
        provider.get()
        source.failing, clock.now = False, clock.now + 60
        assert provider.get().secret_id == "id3"
        source.failing, clock.now = True, clock.now + 6600
        assert provider.get().secret_id == "id3"
        assert len(logs.at("warning")) == 2

    def test_without_working_credentials_the_failure_is_raised_and_the_next_call_tries_again(
        self, source: Source, clock: Time
    ) -> None:
        provider = RefreshableCredentials(source)
        provider.get()
        source.failing, clock.now = True, START + 7200
        for count in (2, 3):
            with pytest.raises(CredentialsError, match=f"failure {count}"):
                provider.get()
        source.failing = False
        assert provider.get().secret_id == "id4"

    def test_all_threads_that_waited_share_one_failure(self, source: Source) -> None:
        provider = RefreshableCredentials(source)
        lock, source.failing = watched(provider), True
        source.before = lambda: lock.until_waiting(29)
        errors = in_threads(30, provider.get)
        assert source.fetches == 1
        assert {str(error) for error in errors} == {"failure 1: Down"}
        assert all(error.transient for error in errors)
        assert len({id(error) for error in errors}) == 30  # each thread has a traceback of its own


class TestManyThreads:
    def test_a_signal_handler_may_fetch_during_a_fetch(self, source: Source) -> None:
        provider, asked = RefreshableCredentials(source), []

        def on_kill() -> None:  # runs in the very thread that holds the lock
            if not asked:
                asked.append(provider)
                asked.append(provider.get())

        source.before = on_kill
        thread = threading.Thread(target=provider.get, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert len(asked) == 2

    def test_many_threads_make_one_fetch(self, source: Source) -> None:
        provider = RefreshableCredentials(source)
        lock = watched(provider)
        source.before = lambda: lock.until_waiting(99)
        assert {one.secret_id for one in in_threads(100, provider.get)} == {"id1"}
        assert source.fetches == 1

    def test_no_thread_waits_while_the_old_credentials_work(self, source: Source, clock: Time) -> None:
        provider = RefreshableCredentials(source)
        first = provider.get()
        clock.now = START + 6600
        asked, may_answer = threading.Event(), threading.Event()
        source.before = lambda: (asked.set(), may_answer.wait(PATIENCE))
        with ThreadPoolExecutor(1) as pool:
            renewing = pool.submit(provider.get)
            assert asked.wait(PATIENCE)
            assert provider.get() is first
            assert source.fetches == 2
            may_answer.set()
            assert renewing.result(PATIENCE).secret_id == "id2"
        assert provider.get().secret_id == "id2"

    def test_all_threads_that_were_refused_share_one_refresh(self, source: Source) -> None:
        provider = RefreshableCredentials(source)
        first, lock = provider.get(), watched(provider)
        source.before = lambda: lock.until_waiting(49)
        assert {one.secret_id for one in in_threads(50, lambda: provider.get(newer_than=first))} == {"id2"}
        assert source.fetches == 2
        assert provider.get(newer_than=first) is provider.cached()  # who comes late too
        assert source.fetches == 2

    def test_refused_credentials_are_not_used_again_after_a_failed_refresh(self, source: Source) -> None:
        provider = RefreshableCredentials(source)
        first = provider.get()
        source.failing = True
        with pytest.raises(CredentialsError, match="failure 2"):
            provider.get(newer_than=first)
        assert provider.cached() is None
        source.failing = False
        assert provider.get().secret_id == "id3"

    def test_id_key_and_token_always_belong_together(self, source: Source, clock: Time) -> None:
        source.lifetime = 100
        provider = RefreshableCredentials(source)

        def read() -> set[Credentials]:
            seen = set()
            for _ in range(200):
                clock.now += 5  # between 40 and 60 generations pass
                seen |= {provider.cached() or provider.get(), provider.get()}
            return seen

        seen = set[Credentials]().union(*in_threads(4, read))
        assert source.fetches >= 20
        assert len(seen) > 10
        for one in seen:
            number = one.secret_id.removeprefix("id")
            assert (one.secret_key, one.token) == (f"key{number}", f"token{number}")


class TestOneForAProcess:
    def test_many_hooks_make_one_call(self, metadata: Metadata) -> None:
        found = in_threads(50, lambda: shared_credentials(InstanceRole()).get())
        assert {(one.secret_id, one.secret_key, one.token) for one in found} == {
            ("AKIDtmp1", "key-1", "token-1")
        }
        assert len(metadata.requests) == 2  # the role's name, its credentials

    def test_equal_providers_share_credentials_and_others_do_not(self) -> None:
        assert shared_credentials(EnvironmentKeys()) is shared_credentials(EnvironmentKeys())
        assert shared_credentials(FileKeys("a")) is not shared_credentials(FileKeys("b"))
        assert shared_credentials(FileKeys("a")) is not shared_credentials(FileKeys("a", "other"))

    def test_only_the_most_recently_used_credentials_are_cached(self) -> None:
        first, second = shared_credentials(FileKeys("0")), shared_credentials(FileKeys("1"))
        for number in range(2, MAX_CACHED):
            shared_credentials(FileKeys(str(number)))
        assert shared_credentials(FileKeys("0")) is first
        shared_credentials(FileKeys("one more"))
        assert shared_credentials(FileKeys("0")) is first
        assert shared_credentials(FileKeys("1")) is not second
        assert len(credentials._process.credentials) == MAX_CACHED

    def test_static_keys_are_not_shared(self) -> None:
        provider = shared_credentials(StaticKeys(CREDENTIALS))
        assert provider.get() is provider.cached() is CREDENTIALS
        assert not credentials._process.credentials

    def test_all_fetched_secrets_are_masked(self, source: Source, mocker: MockerFixture) -> None:
        masked: list[str] = []
        mocker.patch("airflow.providers.common.compat.sdk.mask_secret", masked.append)
        provider = RefreshableCredentials(source)
        provider.get(newer_than=provider.get())
        assert masked == ["key1", "token1", "key2", "token2"]

    def test_a_forked_process_starts_afresh(self, metadata: Metadata) -> None:
        provider = shared_credentials(InstanceRole())
        asyncio.run(provider.aget())  # the thread that did it does not live on in the child
        with credentials._process.lock:  # nor does who holds a lock
            child = os.fork()
            if child == 0:
                code = 1
                signal.alarm(int(PATIENCE))  # a child that hangs must not outlive the test
                try:
                    fresh = shared_credentials(InstanceRole())
                    got = asyncio.run(fresh.aget())
                    code = 0 if fresh is not provider and got.secret_id == "AKIDtmp2" else 2
                finally:
                    os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class TestOnAnEventLoop:
    def test_many_tasks_make_one_fetch_while_the_loop_runs(self, metadata: Metadata) -> None:
        beats = 0
        may_answer = threading.Event()
        metadata.answer = lambda _: may_answer.wait(PATIENCE) and None  # type: ignore[func-returns-value]

        async def main() -> list[Credentials]:
            nonlocal beats
            tasks = [asyncio.create_task(shared_credentials(InstanceRole()).aget()) for _ in range(1000)]
            while beats < 20:  # while the metadata service keeps all waiting
                await asyncio.sleep(0.001)
                beats += 1
            assert not any(task.done() for task in tasks)
            may_answer.set()
            return await asyncio.gather(*tasks)

        assert {one.secret_key for one in asyncio.run(main())} == {"key-1"}
        assert metadata.issued == 1

    def test_cached_credentials_need_no_thread(self, source: Source, mocker: MockerFixture) -> None:
        provider = RefreshableCredentials(source)
        first = provider.get()
        mocker.patch.object(credentials, "_get_in_thread", None)
        assert asyncio.run(provider.aget()) is first
        static = RefreshableCredentials(StaticKeys(CREDENTIALS))
        assert asyncio.run(static.aget()) is CREDENTIALS

    def test_many_tasks_that_were_refused_make_one_fetch(self, source: Source) -> None:
        provider = RefreshableCredentials(source)
        first = provider.get()

        async def main() -> list[Credentials]:
            return await asyncio.gather(*(provider.aget(newer_than=first) for _ in range(20)))

        assert {one.secret_id for one in asyncio.run(main())} == {"id2"}
        assert source.fetches == 2

    def test_a_failure_is_raised(self, source: Source) -> None:
        source.failing = True
        with pytest.raises(CredentialsError, match="failure 1"):
            asyncio.run(RefreshableCredentials(source).aget())
