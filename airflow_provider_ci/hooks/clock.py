"""How far the service's clock is from this machine's, learnt from the answers that refuse a request's time.

Nothing is learnt below 30 s, which the validity of signatures covers (the threshold of Tencent's JavaScript
SDKs too), nor above a day: then something else is wrong than a clock that drifts.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

log = logging.getLogger(__name__)

#: Smallest and largest difference that is believed, seconds.
LEAST, MOST = 30.0, 86_400.0


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
        """A copy is the clock that the process has of this service."""
        return service_clock, (self.name,)

    def learn(self, server_time: float | None, now: float, used: float) -> bool:
        """Take over what the service's clock showed, and tell whether signing anew can help.

        :param server_time: Unix seconds, as of the answer's ``Date``.
        :param now: this machine's time when the answer came.
        :param used: the offset that the refused request was signed with.
        """
        if server_time is None:
            return False
        measured = server_time - now
        if abs(measured) > MOST or abs(measured - used) < LEAST:
            return False
        with self._lock:
            if abs(measured - self.offset) >= LEAST:
                self.offset = measured
                log.warning(
                    "This machine's clock is %.0f s %s that of %s, which is used from now on: synchronise it",
                    *(abs(measured), "behind" if measured > 0 else "ahead of", self.name),
                )
        return True


_lock = threading.Lock()
_clocks: dict[str, ServiceClock] = {}


def service_clock(endpoint_url: str | None) -> ServiceClock:
    """Return the clock of the service at an address, one for the whole process; ``None``: Tencent Cloud."""
    name = endpoint_url or "Tencent Cloud"
    with _lock:
        return _clocks.setdefault(name, ServiceClock(name))
