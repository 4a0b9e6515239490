"""The effects of the fault plan on one call, job or callback, from all rules that apply to it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tencent_ci_emulator.faults.fault_rules import Rule

#: The rules that apply, with their ids
AppliedRules = tuple[tuple[str, Rule], ...]

_DEFAULT_MESSAGE = "as the fault plan demands"
_GARBAGE = bytes(random.Random(20_140_212).randrange(256) for _ in range(4096))  # noqa: S311 - no secret
# What a forged callback claims unless its rule says otherwise
_SUCCESS: Mapping[str, Any] = {"State": "Success", "Code": "Success", "Message": ""}


def _first(rules: Sequence[Rule], name: str) -> Any:
    return next((rule.get(name) for rule in rules if rule.get(name) is not None), None)


def _replacement_body(rules: Sequence[Rule]) -> bytes | None:
    text, garbage = _first(rules, "body"), _first(rules, "garbage")
    if garbage is not None:
        size = int(garbage)
        return (_GARBAGE * (size // len(_GARBAGE) + 1))[:size]
    return None if text is None else str(text).encode()


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error in place of the true response; without ``code``, with the usual code of the status."""

    status: int
    code: str | None
    message: str = _DEFAULT_MESSAGE
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Interruption:
    """Interrupts a call before or after the emulator has acted: by a delay, then a drop or an error."""

    delay: float = 0.0
    drop: bool = False
    error: ErrorResponse | None = None


class Effects:
    """The effects on one call. Delays add up; of other effects the first rule's counts.

    :ivar rules: the ids of the rules that apply.
    """

    def __init__(self, applied: AppliedRules = ()) -> None:
        self._rules = [rule for _, rule in applied]
        self.rules = tuple(rule_id for rule_id, _ in applied)
        self.before = self._interruption("before")
        self.after = self._interruption("after")
        self.headers: dict[str, str] = self._merge("headers")
        content_type = self.first("content_type")
        if content_type is not None:
            self.headers["Content-Type"] = content_type

    def first(self, name: str) -> Any:
        """Return the value of a field in the first rule that has it, ``None`` if none has."""
        return _first(self._rules, name)

    @property
    def rename(self) -> dict[str, str]:
        """The new names of elements, by their true names."""
        return self._merge("rename")

    @property
    def body(self) -> bytes | None:
        """The bytes that are sent in place of the body, ``None`` for the true body."""
        return _replacement_body(self._rules)

    @property
    def list_consistency_delay(self) -> float:
        """Seconds; younger jobs are missing in lists."""
        return max((rule.get("list_consistency_delay", 0.0) for rule in self._rules), default=0.0)

    @property
    def clock_skew(self) -> float:
        """Seconds that the service's clock is ahead."""
        return float(sum(rule.get("clock_skew", 0.0) for rule in self._rules))

    @property
    def changes_response(self) -> bool:
        """Whether the response must not be sent before these effects have been applied."""
        changes = (self.headers, self.after != Interruption())
        return any(changes) or self.first("truncate") is not None or self.body is not None

    def _merge(self, name: str) -> dict[str, str]:
        merged: dict[str, str] = {}
        for rule in reversed(self._rules):
            values: Mapping[str, str] = rule.get(name, {})
            merged.update(values)
        return merged

    def _interruption(self, when: str) -> Interruption:
        rules = [rule for rule in self._rules if rule.get("when", "before") == when]
        errors = [error for rule in rules if (error := _make_error(rule)) is not None]
        return Interruption(
            delay=sum(rule.get("delay", 0.0) for rule in rules),
            drop=any(rule.get("drop") for rule in rules),
            error=errors[0] if errors else None,
        )


#: The effects on a call that no rule concerns
NO_EFFECTS = Effects()


class JobEffects:
    """The effects on the execution of one job.

    :ivar failure: ``Code`` and ``Message`` that it ends ``Failed`` with, or ``None``.
    :ivar delay: further seconds that it stays ``Running``, by the emulator's clock.
    :ivar result: elements of ``Operation`` in place of those that the work on it has made, if it succeeds.
    """

    def __init__(self, applied: AppliedRules) -> None:
        rules = [rule for _, rule in applied]
        failures = [
            (rule.get("code"), rule.get("message", _DEFAULT_MESSAGE)) for rule in rules if rule.get("code")
        ]
        self.rules = tuple(rule_id for rule_id, _ in applied)
        self.failure: tuple[str, str] | None = failures[0] if failures else None
        self.delay: float = sum(rule.get("delay", 0.0) for rule in rules)
        self.result: dict[str, Any] = {}
        for rule in reversed(rules):
            self.result.update(rule.get("result", {}))


@dataclass(frozen=True, slots=True)
class CallbackContent:
    """What a callback says in place of the truth.

    :ivar claims: children of ``JobsDetail`` in place of the job's own.
    :ivar body: bytes in place of the whole body, or ``None``.
    """

    claims: Mapping[str, Any]
    body: bytes | None


class CallbackEffects:
    """The effects on the callback of one job.

    :ivar times: how often it is sent.
    :ivar early: it is sent while the job is still ``Running``.
    :ivar late: seconds, by the emulator's clock, between the end of the job and its callback.
    :ivar out_of_order: it is sent after the next callback of another job.
    :ivar content: what it says in place of the truth.
    :ivar forged: the contents of further callbacks, which are sent while the job is still ``Running``.
    :ivar delay_of_end: seconds, by the emulator's clock, between these and an early one, and the job's end.
    """

    def __init__(self, applied: AppliedRules) -> None:
        rules = [rule for _, rule in applied]
        own = [rule for rule in rules if rule.get("callback") != "forged"]
        kinds = {rule.get("callback") for rule in own}
        self.rules = tuple(rule_id for rule_id, _ in applied)
        self.times = 0 if "never" in kinds else 2 if "twice" in kinds else 1
        self.early = "early" in kinds
        self.late: float = sum(_delays(rules, "late"))
        self.out_of_order = "out_of_order" in kinds
        self.content = _make_content(own)
        self.forged = tuple(_make_content([rule], **_SUCCESS) for rule in rules if rule not in own)
        self.delay_of_end: float = sum(_delays(rules, "early", "forged"))


def _delays(rules: Sequence[Rule], *kinds: str) -> list[float]:
    return [rule.get("delay", 0.0) for rule in rules if rule.get("callback") in kinds]


def _make_content(rules: Sequence[Rule], **claims: Any) -> CallbackContent:
    for rule in reversed(rules):
        claims.update(rule.get("claims", {}))
    return CallbackContent(claims, _replacement_body(rules))


def _make_error(rule: Rule) -> ErrorResponse | None:
    queue, status, retry_after = rule.get("queue"), rule.get("status"), rule.get("retry_after")
    if queue is not None:
        code = {"full": "QueueSaturated", "paused": "QueuePaused"}[queue]
        return ErrorResponse(403, code, f"the queue is {queue}")
    if rule.get("expired_token"):
        return ErrorResponse(400, "ExpiredToken", "the security token has expired")
    if status is None:
        return None
    message = rule.get("message", _DEFAULT_MESSAGE)
    return ErrorResponse(status, rule.get("code"), message, None if retry_after is None else str(retry_after))
