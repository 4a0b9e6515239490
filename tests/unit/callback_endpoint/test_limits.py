"""How callbacks and warnings are spaced out, in virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from airflow_provider_ci.callback_endpoint import rare_warnings, rate_limit
from airflow_provider_ci.callback_endpoint.rare_warnings import RareWarnings
from airflow_provider_ci.callback_endpoint.rate_limit import RateLimit
from tests.unit.triggers.virtual import now, run


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rare_warnings, rate_limit):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=now))


async def turns(limit: RateLimit, count: int) -> list[float]:
    async def wait() -> float:
        await limit.wait()
        return round(now(), 6)

    return await asyncio.gather(*(wait() for _ in range(count)))


def test_callers_continue_one_after_another() -> None:
    assert run(turns(RateLimit(10), 4)) == [0.0, 0.1, 0.2, 0.3]


def test_a_caller_who_comes_alone_does_not_wait() -> None:
    async def main() -> list[float]:
        limit = RateLimit(10)
        first = await turns(limit, 1)
        await asyncio.sleep(5)
        return first + await turns(limit, 2)

    assert run(main()) == [0.0, 5.0, 5.1]


def test_those_for_whom_there_is_no_room_do_not_wait_and_the_others_keep_their_turns() -> None:
    async def main() -> list[tuple[bool, float]]:
        limit = RateLimit(10, longest=0.5)

        async def wait() -> tuple[bool, float]:
            has_turn = await limit.wait()
            return has_turn, round(now(), 6)

        return await asyncio.gather(*(wait() for _ in range(100)))

    outcomes = run(main())
    assert [at for has_turn, at in outcomes if has_turn] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert [at for has_turn, at in outcomes if not has_turn] == [0.0] * 94


def test_a_flood_delays_nobody_who_comes_after_it() -> None:
    async def main() -> float:
        limit = RateLimit(10, longest=2.0)
        await turns(limit, 10_000)
        await asyncio.sleep(1)
        came = now()
        assert await limit.wait()
        return now() - came

    assert run(main()) == 0.0


def test_a_warning_comes_at_once_and_then_once_a_minute() -> None:
    async def main() -> list[int]:
        warnings, logged = RareWarnings(), []
        for _ in range(200):
            logged.append(warnings.count("garbage"))
            await asyncio.sleep(1)
        assert warnings.count("something else") == 1
        return [count for count in logged if count]

    assert run(main()) == [1, 60, 60, 60]


def test_a_warning_may_be_about_several_things() -> None:
    async def main() -> list[int]:
        warnings = RareWarnings()
        counts = [warnings.count("asset", 10), warnings.count("asset", 10), warnings.count("asset")]
        await asyncio.sleep(60)
        return [*counts, warnings.count("asset", 2)]

    assert run(main()) == [10, 0, 0, 13]
