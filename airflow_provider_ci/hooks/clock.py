"""The service's clock, learnt from responses that refuse a signature because of its time.

Differences below 30 s are ignored, because the validity of signatures covers them (Tencent's JavaScript SDKs
have the same threshold). Those above a day are not believed: then something else is wrong than a clock.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

log = logging.getLogger(__name__)

#: Smallest and largest difference that is corrected, seconds.
MIN_DIFFERENCE, MAX_DIFFERENCE = 30.0, 86_400.0


class ServiceClock:
    """The clock of one service, as far as this process knows it; may be used by several threads.

    :param name: whose clock it is, for the log.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        #: Seconds to add to this machine's time to get the service's.
        self.offset = 0.0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle to the clock that the process already has for this service."""
        return service_clock, (self.name,)

    def now(self) -> float:
        """Return the service's Unix time."""
        return time.time() + self.offset

    def correct(self, server_time: float | None, local_time: float, *, used_offset: float) -> bool:
        """Adopt the service's time from a response; return whether a new signature may be accepted.

        :param server_time: Unix seconds of the response's ``Date`` header.
        :param local_time: this machine's time when the response came.
        :param used_offset: the offset that the refused request was signed with.
        """
        if server_time is None:
            return False
        measured = server_time - local_time
        if abs(measured) > MAX_DIFFERENCE or abs(measured - used_offset) < MIN_DIFFERENCE:
            return False
        with self._lock:
            # another thread may have corrected it meanwhile
            if abs(measured - self.offset) >= MIN_DIFFERENCE:
                self.offset = measured
                direction = "behind" if measured > 0 else "ahead of"
                log.warning(
                    "This machine's clock is %.0f s %s that of %s, which is used from now on: synchronise it",
                    abs(measured),
                    direction,
                    self.name,
                )
        return True


_lock = threading.Lock()
_clocks: dict[str, ServiceClock] = {}


def service_clock(endpoint_url: str | None) -> ServiceClock:
    """Return the process's only clock of the service at an address; ``None`` means Tencent Cloud."""
    name = endpoint_url or "Tencent Cloud"
    with _lock:
        return _clocks.setdefault(name, ServiceClock(name))
