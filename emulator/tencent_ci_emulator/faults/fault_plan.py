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

from tencent_ci_emulator.faults.effects import NO_EFFECTS, CallbackEffects, Effects, Hits, JobEffects
from tencent_ci_emulator.faults.fault_rules import CALLBACK, JOB, FaultPlanError, Rule, parse_rule

__all__ = ["FaultPlan", "FaultPlanError", "Subject"]


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
        rule, number, nth = self.rule, self.matched, self.rule.get("nth")
        if nth is not None:
            return number in (nth if isinstance(nth, list | tuple) else [nth])
        if (every := rule.get("every")) is not None:
            return number % int(every) == 0
        if (first := rule.get("first")) is not None:
            return number <= int(first)
        # Drawn for every match, so that the seed alone decides which calls are hit
        return rule.get("share") is None or self.chance.random() < float(rule.get("share"))


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
        """Remove a rule; return whether there was one."""
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
        return Effects(hits) if hits else NO_EFFECTS

    def on_job(self, job_id: str, key: str | None) -> JobEffects:
        """Return what happens to a job whose work begins, and count it."""
        return JobEffects(self._hits(Subject(JOB, (job_id,), key)))

    def on_callback(self, job_id: str, key: str | None) -> CallbackEffects:
        """Return what happens to the callback of a job that ends, and count it."""
        return CallbackEffects(self._hits(Subject(CALLBACK, (job_id,), key)))

    def _install(self, rules: Sequence[Mapping[str, Any]], *, keep: bool) -> list[str]:
        parsed = [
            _Active(rule, dict(source), chance=random.Random(rule.get("seed", 0)))  # noqa: S311 - repeatable is meant
            for position, source in enumerate(rules)
            for rule in [parse_rule(source, f"rules[{position}]")]
        ]
        with self._lock:
            named = [active.rule.get("id") or f"rule-{self._added + n}" for n, active in enumerate(parsed, 1)]
            for rule_id in named:
                if named.count(rule_id) > 1 or (keep and rule_id in self._rules):
                    raise FaultPlanError("id", rule_id, "an id that no other rule has")
            self._added += len(parsed)
            self._rules = {**(self._rules if keep else {}), **dict(zip(named, parsed, strict=True))}
        return named

    def _hits(self, subject: Subject) -> Hits:
        with self._lock:
            return tuple(
                (rule_id, active.rule) for rule_id, active in self._rules.items() if active.applies(subject)
            )


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
    job_id, key = rule.get("job_id"), rule.get("key")
    if job_id is not None and not any(fnmatch.fnmatchcase(one, job_id) for one in subject.ids):
        return False
    return key is None or (subject.key is not None and fnmatch.fnmatchcase(subject.key, key))
