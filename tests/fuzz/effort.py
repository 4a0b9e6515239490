"""How many inputs are tried, and how long one may take."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, settings

#: So many times the examples of each property; ``make test`` has fewer.
FACTOR = float(os.environ.get("FUZZ", "0.4"))


def effort(examples: int) -> settings:
    """Return the settings of a property: always the same inputs, or with ``FUZZ`` other ones, ``FUZZ`` times
    ``examples``.
    """
    return settings(
        max_examples=round(examples * FACTOR),
        derandomize="FUZZ" not in os.environ,
        database=None,
        phases=(Phase.explicit, Phase.generate),  # an input is a seed of changes: no smaller one says more
        report_multiple_bugs=False,
        deadline=None,  # a busy machine is no failure: see quickly()
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
            HealthCheck.function_scoped_fixture,
        ],
    )


@contextmanager
def quickly(seconds: float = 2.0) -> Iterator[None]:
    """Fail if the block takes more of the processor's time."""
    start = time.thread_time()
    yield
    taken = time.thread_time() - start
    assert taken < seconds, f"took {taken:.1f} s of the processor's time, allowed: {seconds}"
