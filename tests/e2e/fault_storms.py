"""The bad weather of the fault campaign: each storm is a fault plan that is in force for some seconds."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: The connection's read timeout, and a delay beyond it. Seconds.
READ_TIMEOUT, TOO_LATE = 6, 9

SUBMISSIONS = ["submit", "create_batch"]
READS = ["describe", "list", "describe_batch", "list_batches"]
CALLS = [*SUBMISSIONS, *READS]

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Storm:
    """Rules of a fault plan; each rule's ``id`` is the name of its fault in the report.

    :param seconds: how long it lasts.
    :param sts_outage: share of the calls of STS that fail.
    :param kills: the service gets SIGKILL, and is started again with new keys.
    :param unaccepted: submissions may be lost before they are accepted, of which a task is sure after 70 s.
    :param until: the name of a fault. The storm also lasts until it has been met.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    seconds: float = 12.0
    sts_outage: float = 0.0
    kills: bool = False
    unaccepted: bool = False
    until: str = ""


def _cut(size: int) -> Rule:
    return {"truncate": size, "share": 0.4}


STORMS = (
    Storm(
        "5xx",
        (
            {"id": "500 to an accepted submission", "operation": SUBMISSIONS, "status": 500, "when": "after"}
            | {"share": 0.4},
            {"id": "500 to a read", "operation": [*READS, "head_object"], "status": 500, "share": 0.3},
            {"id": "503 to a read", "operation": [*READS, "head_object"], "status": 503, "share": 0.3},
        ),
    ),
    Storm(
        "503 without acceptance",
        ({"id": "503 to an unaccepted submission", "operation": SUBMISSIONS, "status": 503, "share": 0.4},),
        unaccepted=True,
    ),
    Storm(
        "throttling",
        (
            {"id": "429 SlowDown", "operation": CALLS, "status": 429, "retry_after": 1, "share": 0.5},
            {"id": "503 SlowDown", "operation": [*READS, "head_object"], "status": 503, "code": "SlowDown"}
            | {"share": 0.3},
        ),
    ),
    Storm(
        "full queue",
        (
            {"id": "403 QueueSaturated", "operation": "submit", "queue": "full", "share": 0.3},
            {"id": "403 QueuePaused", "operation": "submit", "queue": "paused", "share": 0.2},
        ),
    ),
    Storm(
        "dropped after",
        (
            {"id": "dropped after acceptance", "operation": SUBMISSIONS, "drop": True, "when": "after"}
            | {"share": 0.5},
            {"id": "dropped read", "operation": [*READS, "head_object"], "drop": True, "share": 0.4},
        ),
    ),
    Storm(
        "dropped before",
        ({"id": "dropped before acceptance", "operation": SUBMISSIONS, "drop": True, "share": 0.4},),
        unaccepted=True,
    ),
    Storm("cut off", ({"id": "answer cut off", "operation": CALLS, **_cut(90)},)),
    Storm(
        "cut XML",
        (
            {"id": "cut XML, whole answer", "operation": CALLS, "body": "<Response><JobsDetail><JobId>j0"}
            | {"share": 0.3},
            {"id": "noise", "operation": CALLS, "garbage": 500, "share": 0.1},
        ),
    ),
    Storm(
        "late",
        (
            {"id": "accepted, answered too late", "operation": SUBMISSIONS, "delay": TOO_LATE}
            | {"when": "after", "share": 0.3},
            {"id": "accepted too late", "operation": SUBMISSIONS, "delay": TOO_LATE, "share": 0.3},
            {"id": "read answered too late", "operation": READS, "delay": TOO_LATE, "share": 0.2},
        ),
    ),
    Storm(
        "lagging list",
        (
            {"id": "list lags 8 s", "operation": ["list", "list_batches"], "list_consistency_delay": 8},
            {"id": "dropped after acceptance", "operation": SUBMISSIONS, "drop": True, "when": "after"}
            | {"share": 0.5},
        ),
    ),
    Storm("clock 20 s ahead", ({"id": "clock 20 s ahead", "operation": CALLS, "clock_skew": 20},)),
    Storm("clock 120 s ahead", ({"id": "clock 120 s ahead", "operation": CALLS, "clock_skew": 120},)),
    Storm("clock 120 s behind", ({"id": "clock 120 s behind", "operation": CALLS, "clock_skew": -120},)),
    Storm(
        "clock two days ahead",
        ({"id": "clock two days ahead", "operation": CALLS, "clock_skew": 172_800},),
        seconds=6.0,
    ),
    Storm(
        "expired token", ({"id": "400 ExpiredToken", "operation": CALLS, "expired_token": True, "every": 3},)
    ),
    Storm("STS outage", sts_outage=0.5),
    Storm(
        "odd answers",
        (
            {"id": "unknown state", "operation": "describe", "state": "Transcending", "share": 0.5},
            {"id": "each job twice", "operation": ["describe", "list"], "elements": "repeated"},
            {"id": "error in a 200", "operation": "describe", "status": 200, "code": "InternalError"}
            | {"share": 0.2},
        ),
        until="unknown state",
    ),
    Storm("killed", kills=True, seconds=4.0),
)


def weather(storms: tuple[Storm, ...], seed: int) -> Iterator[tuple[Storm, tuple[Rule, ...]]]:
    """Yield storms without end, each with its rules: all of them in one order, then all in another.

    ``seed`` decides the orders, and of each storm which calls it hits.
    """
    chance = random.Random(seed)
    while True:
        for storm in chance.sample(storms, len(storms)):
            yield storm, tuple({"seed": chance.randrange(10**6), **rule} for rule in storm.rules)
