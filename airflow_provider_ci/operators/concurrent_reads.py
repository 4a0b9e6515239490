"""Sends many reads at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Reads that are sent at once, at most. A hook keeps ten connections open.
THREADS = 8
# Reads that are planned at once, at most: each takes memory
_PLANNED_MAX = 500


def read_concurrently(
    read: Callable[[T], R], values: Iterable[T], raise_if_killed: Callable[[], None]
) -> Generator[R, None, None]:
    """Yield what ``read`` returns for each value, in their order. Reads are sent ahead of the results.

    Close it if not all results are needed.

    :param raise_if_killed: raises an error if the task was killed; called before each result.
    """
    remaining = iter(values)
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="ci-read")
    try:
        while planned := [*islice(remaining, _PLANNED_MAX)]:
            for result in executor.map(read, planned):
                raise_if_killed()
                yield result
    finally:
        executor.shutdown(cancel_futures=True)
