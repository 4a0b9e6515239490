"""Receives what Airflow sends to StatsD, on loopback."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from inspect import signature
from typing import Any

import pytest


class StatsdReceiver:
    """A UDP socket. The kernel keeps what was sent until it is read."""

    def __init__(self, udp: socket.socket) -> None:
        self._socket = udp
        self._counters: Counter[str] = Counter()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def counters(self) -> Counter[str]:
        """The sums of all counters, by name and tags as they were sent."""
        while True:
            try:
                packet = self._socket.recv(65536).decode()
            except BlockingIOError:
                return self._counters
            for line in packet.splitlines():
                name, _, rest = line.rpartition(":")
                value, kind = rest.split("|")[:2]
                if kind == "c":
                    self._counters[name] += int(value)

    def provider_counters(self) -> dict[str, int]:
        """Those of this provider, without the prefix that all have."""
        prefix = "airflow.tencent_ci."
        return {
            name.removeprefix(prefix): number
            for name, number in self.counters.items()
            if name.startswith(prefix)
        }


@contextmanager
def statsd_receiver() -> Iterator[StatsdReceiver]:
    """Run a receiver."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        yield StatsdReceiver(udp)


def send_stats_to(port: int, patch: pytest.MonkeyPatch) -> None:
    """Configure Airflow in this process to send its stats there, with tags in the form of InfluxDB."""
    from airflow.providers.common.compat.sdk import Stats

    options = {"STATSD_ON": "True", "STATSD_PORT": str(port), "STATSD_INFLUXDB_ENABLED": "True"}
    for name, value in options.items():
        patch.setenv(f"AIRFLOW__METRICS__{name}", value)
    make = _statsd_logger().get_statsd_logger
    backend = make(Stats) if signature(make).parameters else make()
    module = import_module(Stats.__module__)
    if hasattr(module, "_backend"):
        patch.setattr(module, "_backend", backend)
    else:  # Airflow before 3.3; 3.2 makes the backend anew in each process
        patch.setattr(Stats, "factory", lambda: backend)
        patch.setattr(Stats, "instance", None)


def _statsd_logger() -> Any:
    """Return the module that makes Airflow's client for StatsD, which is elsewhere in each version."""
    for package in ("airflow.sdk.observability", "airflow.observability", "airflow"):
        with suppress(ImportError):
            return import_module(f"{package}.metrics.statsd_logger")
    raise AssertionError("this version of Airflow has it elsewhere")
