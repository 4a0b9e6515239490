"""The fault plan: rules that say which calls, jobs and callbacks go wrong, and how."""

from __future__ import annotations

import fnmatch
import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tencent_ci_emulator.faults.effects import (
    NO_EFFECTS,
    CallbackEffects,
    Effects,
    ErrorAnswer,
    Interruption,
    JobEffects,
)
from tencent_ci_emulator.faults.fault_rules import CALLBACK, JOB, FaultPlanError, Rule, parse_rule

__all__ = ["FaultPlan", "FaultPlanError", "Subject"]

_GARBAGE = bytes(random.Random(20_140_212).randrange(256) for _ in range(4096))  # noqa: S311 - no secret
_QUEUE_FAULTS = {
    "full": ErrorAnswer(status=403, code="QueueSaturated", message="the queue is full"),
    "paused": ErrorAnswer(status=403, code="QueuePaused", message="the queue is paused"),
}
_MESSAGE = "as the fault plan demands"
_EXPIRED_TOKEN = ErrorAnswer(status=400, code="ExpiredToken", message="the security token has expired")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule may look at: the operation, the ids and the object key that the call is about."""

    operation: str
    ids: tuple[str, ...] = ()
    key: str | None = None


@dataclass(slots=True)
class _Active:
    """A rule of the plan with its memory."""

    rule: Rule
    source: Mapping[str, Any]
    matched: int = 0
    applied: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def applies(self, subject: Subject) -> bool:
        if not _concerns(self.rule, subject):
            return False
        self.matched += 1
        chosen = self._chosen()
        self.applied += chosen
        return chosen

    def _chosen(self) -> bool:
        rule, number = self.rule, self.matched
        if rule.nth:
            return number in rule.nth
        if rule.every is not None:
            return number % rule.every == 0
        if rule.first is not None:
            return number <= rule.first
        # drawn for every match, so that the seed alone decides which calls are hit
        return rule.share is None or self.chance.random() < rule.share


class FaultPlan:
    """The rules in force. Safe to use from several threads.

    Rules are added as keyword arguments or as the JSON objects of a plan file; docs/emulator.md lists the
    fields. A rule counts the calls that it concerns from the moment it is added.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[str, _Active] = {}
        self._added = 0

    def add(self, operation: str | Sequence[str], **fields: Any) -> str:
        """Add a rule and return its id.

        For instance ``add("submit", nth=1, drop=True, when="after")``: the first submission is accepted,
        and its connection dropped without an answer.

        :raises FaultPlanError: naming the field, what was given and what is allowed.
        """
        return self.add_rules([{"operation": operation, **fields}])[0]

    def add_rules(self, rules: Sequence[Mapping[str, Any]]) -> list[str]:
        """Add rules in their JSON form, all or none; return their ids.

        :raises FaultPlanError: one of them is not allowed.
        """
        return self._install(rules, keep=True)

    def load(self, plan: Path | str | Mapping[str, Any]) -> list[str]:
        """Add the rules of a plan ``{"rules": [...]}``, or of the JSON file of that form.

        :raises FaultPlanError: the plan is not allowed or no JSON.
        :raises OSError: the file cannot be read.
        """
        return self.add_rules(_rules_of(plan if isinstance(plan, Mapping) else _read(Path(plan))))

    def replace(self, plan: Mapping[str, Any]) -> list[str]:
        """Put a plan in place of all rules; a plan that is not allowed changes nothing."""
        return self._install(_rules_of(plan), keep=False)

    def remove(self, rule_id: str) -> bool:
        """Remove a rule; tell whether there was one."""
        with self._lock:
            return self._rules.pop(rule_id, None) is not None

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules.clear()

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules as given, with ``id`` and how often each ``matched`` and was ``applied``."""
        with self._lock:
            return [
                {**active.source, "id": rule_id, "matched": active.matched, "applied": active.applied}
                for rule_id, active in self._rules.items()
            ]

    @property
    def is_empty(self) -> bool:
        """Whether there is no rule."""
        return not self._rules

    def on_call(self, subject: Subject) -> Effects:
        """Return what happens to a call, and count it."""
        hits = self._hits(subject)
        return _effects(hits) if hits else NO_EFFECTS

    def on_job(self, job_id: str, key: str | None) -> JobEffects:
        """Return what happens to a job whose work begins, and count it."""
        hits = self._hits(Subject(JOB, (job_id,), key))
        failures = [
            (rule.code, rule.message or "as the fault plan demands")
            for _, rule in hits
            if rule.code is not None
        ]
        return JobEffects(
            rules=tuple(rule_id for rule_id, _ in hits),
            failure=failures[0] if failures else None,
            delay=sum(rule.delay for _, rule in hits),
        )

    def on_callback(self, job_id: str, key: str | None) -> CallbackEffects:
        """Return what happens to the callback of a job that ends, and count it."""
        hits = self._hits(Subject(CALLBACK, (job_id,), key))
        kinds = {rule.callback for _, rule in hits}
        return CallbackEffects(
            rules=tuple(rule_id for rule_id, _ in hits),
            times=0 if "never" in kinds else 2 if "twice" in kinds else 1,
            early="early" in kinds,
            delay=sum(rule.delay for _, rule in hits),
        )

    def _install(self, rules: Sequence[Mapping[str, Any]], *, keep: bool) -> list[str]:
        parsed = [
            _Active(rule, dict(source), chance=random.Random(rule.seed))  # noqa: S311 - repeatable is meant
            for position, source in enumerate(rules)
            for rule in [parse_rule(source, f"rules[{position}]")]
        ]
        with self._lock:
            named = [active.rule.id or f"rule-{self._added + n}" for n, active in enumerate(parsed, 1)]
            for rule_id in named:
                if named.count(rule_id) > 1 or (keep and rule_id in self._rules):
                    raise FaultPlanError("id", rule_id, "an id that no other rule has")
            self._added += len(parsed)
            self._rules = {**(self._rules if keep else {}), **dict(zip(named, parsed, strict=True))}
        return named

    def _hits(self, subject: Subject) -> list[tuple[str, Rule]]:
        with self._lock:
            return [
                (rule_id, active.rule) for rule_id, active in self._rules.items() if active.applies(subject)
            ]


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise FaultPlanError("the plan", str(error), "a JSON document") from None


def _rules_of(plan: Any) -> list[Mapping[str, Any]]:
    """Return the rules of a plan, unchecked but for the form of the whole."""
    if not isinstance(plan, Mapping) or set(plan) != {"rules"} or not isinstance(plan["rules"], list):
        given = sorted(map(str, plan)) if isinstance(plan, Mapping) else plan
        raise FaultPlanError("the plan", given, 'an object with one field, {"rules": [...]}')
    return plan["rules"]


def _concerns(rule: Rule, subject: Subject) -> bool:
    if subject.operation not in rule.operations:
        return False
    if rule.job_id is not None and not any(fnmatch.fnmatchcase(one, rule.job_id) for one in subject.ids):
        return False
    return rule.key is None or (subject.key is not None and fnmatch.fnmatchcase(subject.key, rule.key))


def _effects(hits: list[tuple[str, Rule]]) -> Effects:
    """Of several rules that set the same thing the first wins; delays add up."""
    rules = [rule for _, rule in hits]
    headers: dict[str, str] = {}
    rename: dict[str, str] = {}
    for rule in reversed(rules):
        headers.update(rule.headers)
        rename.update(rule.rename)
        if rule.content_type is not None:
            headers["Content-Type"] = rule.content_type
    return Effects(
        rules=tuple(rule_id for rule_id, _ in hits),
        before=_interruption([rule for rule in rules if rule.when == "before"]),
        after=_interruption([rule for rule in rules if rule.when == "after"]),
        headers=headers,
        rename=rename,
        truncate=_first(rule.truncate for rule in rules),
        body=_first(_body(rule) for rule in rules),
        list_lag=max(rule.list_lag for rule in rules),
        state=_first(rule.state for rule in rules),
        elements=_first(rule.elements for rule in rules),
        empty_times=any(rule.empty_times for rule in rules),
        clock_skew=sum(rule.clock_skew for rule in rules),
    )


def _interruption(rules: list[Rule]) -> Interruption:
    return Interruption(
        delay=sum(rule.delay for rule in rules),
        drop=any(rule.drop for rule in rules),
        error=_first(_error(rule) for rule in rules),
    )


def _error(rule: Rule) -> ErrorAnswer | None:
    if rule.queue is not None:
        return _QUEUE_FAULTS[rule.queue]
    if rule.expired_token:
        return _EXPIRED_TOKEN
    if rule.status is None:
        return None
    after = None if rule.retry_after is None else str(rule.retry_after)
    return ErrorAnswer(status=rule.status, code=rule.code, message=rule.message, retry_after=after)


def _body(rule: Rule) -> bytes | None:
    if rule.garbage is not None:
        return (_GARBAGE * (rule.garbage // len(_GARBAGE) + 1))[: rule.garbage]
    return None if rule.body is None else rule.body.encode()


def _first(values: Any) -> Any:
    return next((value for value in values if value is not None), None)
