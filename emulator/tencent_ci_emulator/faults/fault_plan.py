"""The fault plan: rules for calls, jobs and callbacks that are to fail, and how.

A plan is a JSON document ``{"rules": [...]}``. Each rule names an operation, selects some of its calls, and
says what happens to them. :meth:`FaultPlan.add` explains every field. A rule that is not allowed is refused
with the field, its value, and what is allowed.
"""

from __future__ import annotations

import fnmatch
import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tencent_ci_emulator.faults.effects import NO_EFFECTS, AppliedRules, CallbackEffects, Effects, JobEffects
from tencent_ci_emulator.faults.fault_rules import CALLBACK, JOB, FaultPlanError, Rule, parse_rule

__all__ = ["FaultPlan", "FaultPlanError", "Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """The properties of a call that rules compare: its operation, ids and object key."""

    operation: str
    ids: tuple[str, ...] = ()
    key: str | None = None


@dataclass(slots=True)
class _CountingRule:
    """A rule of the plan, with the numbers of calls that it concerned and that it was applied to."""

    rule: Rule
    source: Mapping[str, Any]
    chance: random.Random
    matched: int = 0
    applied: int = 0

    def count(self, subject: Subject) -> bool:
        """Count a call; return whether the rule applies to it."""
        if not _concerns(self.rule, subject):
            return False
        self.matched += 1
        is_applied = self._selects(self.matched)
        self.applied += is_applied
        return is_applied

    def _selects(self, number: int) -> bool:
        """Return whether the rule applies to the call of this number, counted from 1."""
        nth, every, first, share = (self.rule.get(name) for name in ("nth", "every", "first", "share"))
        if nth is not None:
            return number in (nth if isinstance(nth, list | tuple) else [nth])
        if every is not None:
            return number % int(every) == 0
        if first is not None:
            return number <= int(first)
        # A number is drawn for every call, so that the seed alone decides which calls are chosen
        return share is None or self.chance.random() < float(share)


class FaultPlan:
    """The rules in force. Safe to use from several threads.

    Rules are added as keyword arguments or as the JSON objects of a plan file, with the fields of
    :meth:`add`. They may come and go while the emulator runs. A rule counts the calls that it concerns from
    the moment it is added.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[str, _CountingRule] = {}
        self._added = 0

    def add(self, operation: str | Sequence[str], **fields: Any) -> str:
        """Add a rule and return its id.

        For instance ``add("submit", nth=1, drop=True, when="after")``: the first submission is accepted,
        and its connection dropped without a response.

        At most one of ``nth``, ``every``, ``first`` and ``share`` selects among the calls that the rule
        concerns; without one it applies to all of them. Several rules may apply to one call: their delays
        add up, and of any other effect the first rule's counts. An object call is held in memory if its
        response is changed.

        :param operation: a name or a list of names, or ``*`` for all calls. The calls about jobs are
            ``submit``, ``describe``, ``list`` and ``cancel``; about batch jobs ``create_batch``,
            ``describe_batch``, ``list_batches`` and ``cancel_batch``; about templates ``create_template``,
            ``update_template``, ``list_templates`` and ``delete_template``; about queues ``list_queues``,
            ``update_queue``, ``list_asr_queues``, ``update_asr_queue``, ``list_pic_queues``,
            ``update_pic_queue``, ``list_ai_queues``, ``update_ai_queue``, ``list_file_queues`` and
            ``update_file_queue``; about the services of buckets ``open_media``, ``close_media``,
            ``list_media_buckets``, ``open_asr``, ``close_asr``, ``list_asr_buckets``, ``open_pic``,
            ``close_pic``, ``list_pic_buckets``, ``open_ai``, ``close_ai``, ``list_ai_buckets``,
            ``open_file``, ``close_file`` and ``list_file_buckets``; about objects ``put_object``,
            ``get_object``, ``head_object``, ``delete_object``, ``copy_object``, ``multipart``,
            ``media_info``, ``list_objects`` and ``delete_objects``; about buckets ``create_bucket``,
            ``head_bucket`` and ``delete_bucket``. ``other`` are all other calls. Two are no calls and stand
            alone: ``job`` is the execution of a job, and ``callback`` its callback.
        :param nth: the n-th call, or a list of such numbers, counted from 1.
        :param every: every n-th call.
        :param first: the first n calls.
        :param share: a share of the calls from 0 to 1; which ones depends on the seed alone.
        :param seed: of ``share``; default 0.
        :param job_id: only calls about this id (of jobs, a template, a queue, a batch job); ``*`` and ``?``
            stand for any text and any character.
        :param key: only calls about this object key: of an object call, of the input of a submission, a job
            or a callback, or ``inputObject`` of a list; with ``*`` and ``?`` as above.
        :param id: a name for the rule; default ``rule-1`` and so on.
        :param delay: true seconds of waiting before the emulator acts, or with ``when="after"`` after it.
            Of a ``job``: further seconds that it is ``Running``, and of a ``callback`` see there; both by
            the emulator's clock.
        :param drop: ``True``: the connection is closed without a response, before the emulator acts, or
            with ``when="after"`` after it.
        :param when: ``before`` (default) or ``after``: whether the emulator acts although ``drop`` or
            ``status`` hides it, and when ``delay`` passes.
        :param status: of an error document in place of the response, 200 to 599. 2xx is an error document
            in a successful response.
        :param code: of the error document; default: the usual one of the status. Of a ``job``: the code
            with which it fails.
        :param message: of the error document, or of the failed ``job``.
        :param retry_after: with ``status``: the header ``Retry-After``, in seconds or as an HTTP date.
        :param queue: ``full`` or ``paused``: 403 ``QueueSaturated`` or ``QueuePaused``.
        :param expired_token: ``True``: 400 ``ExpiredToken``.
        :param clock_skew: seconds that the service's clock is ahead, in the header ``Date`` and in the
            check of the signature.
        :param truncate: this number of bytes of the body is sent under the full ``Content-Length``, then
            the connection is closed.
        :param body: this text in place of the body; of a ``callback`` in place of its body.
        :param garbage: this number of random bytes in place of the body, likewise.
        :param content_type: of the response.
        :param headers: set in the response.
        :param list_consistency_delay: seconds, by the emulator's clock; jobs that are younger are missing
            in a list.
        :param state: every job in the response reports this state.
        :param elements: ``single``: all unknown ids stand in one ``NonExistJobIds``, with commas;
            ``repeated``: every ``JobsDetail`` comes twice.
        :param rename: elements get other names, for instance ``{"BucketId": "Bucket"}``.
        :param empty_times: ``True``: unknown times are empty elements, not ``-``.
        :param result: of a ``job`` that succeeds: elements of ``Operation`` in place of its own, for
            instance ``{"VideoTagResult": {"StreamData": {"SubErrCode": 1}}}``.
        :param callback: of a ``callback``, also of one for TDMQ or Kafka that is only recorded. ``twice``:
            it is sent two times. ``never``: it is not sent. ``early``: it is sent while the job is still
            ``Running``, which then lasts ``delay`` seconds more. ``late``: it is sent ``delay`` seconds
            after the job's end. ``out_of_order``: it is sent after the next callback of another job (never,
            if none follows), several of them newest first. ``forged``: another callback precedes it, which
            says ``Success`` while the job is still ``Running``, also of a job that will fail; the job lasts
            ``delay`` seconds more.
        :param claims: of a ``callback``: elements of ``JobsDetail`` in place of the true ones, for instance
            ``{"State": "Success", "Code": "Success"}`` of a job that has failed, ``{"State": "Running"}``
            in an early one, ``{"JobId": "j00…"}`` of an unknown job. ``claims``, ``body`` and ``garbage``
            of a ``forged`` rule are about the forged callback only.
        :raises FaultPlanError: naming the field, its value and what is allowed.
        """
        return self.add_rules([{"operation": operation, **fields}])[0]

    def add_rules(self, rules: Sequence[Mapping[str, Any]]) -> list[str]:
        """Add rules in their JSON form, all or none; return their ids.

        :raises FaultPlanError: one of them is not allowed.
        """
        return self._install(rules, keep=True)

    def load(self, plan: Path | str | Mapping[str, Any]) -> list[str]:
        """Add the rules of a plan ``{"rules": [...]}``, or of the JSON file of that form.

        :raises FaultPlanError: the plan is not allowed, or not JSON.
        :raises OSError: the file cannot be read.
        """
        return self.add_rules(_get_rules(plan if isinstance(plan, Mapping) else _read_json(Path(plan))))

    def replace(self, plan: Mapping[str, Any]) -> list[str]:
        """Replace all rules by a plan; a plan that is not allowed changes nothing."""
        return self._install(_get_rules(plan), keep=False)

    def remove(self, rule_id: str) -> bool:
        """Remove a rule; return whether there was one."""
        with self._lock:
            return self._rules.pop(rule_id, None) is not None

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules.clear()

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules as added, each with its ``id`` and its counts ``matched`` and ``applied``."""
        with self._lock:
            return [
                {**each.source, "id": rule_id, "matched": each.matched, "applied": each.applied}
                for rule_id, each in self._rules.items()
            ]

    @property
    def is_empty(self) -> bool:
        """Whether there is no rule."""
        return not self._rules

    def on_call(self, subject: Subject) -> Effects:
        """Count a call, and return the effects on it."""
        applied = self._apply(subject)
        return Effects(applied) if applied else NO_EFFECTS

    def on_job(self, job_id: str, key: str | None) -> JobEffects:
        """Count a job whose work begins, and return the effects on it."""
        return JobEffects(self._apply(Subject(JOB, (job_id,), key)))

    def on_callback(self, job_id: str, key: str | None) -> CallbackEffects:
        """Count the callback of a job that ends, and return the effects on it."""
        return CallbackEffects(self._apply(Subject(CALLBACK, (job_id,), key)))

    def _install(self, sources: Sequence[Mapping[str, Any]], *, keep: bool) -> list[str]:
        rules = [parse_rule(source, f"rules[{position}]") for position, source in enumerate(sources)]
        with self._lock:
            ids = [rule.get("id") or f"rule-{self._added + n}" for n, rule in enumerate(rules, 1)]
            for rule_id in ids:
                if ids.count(rule_id) > 1 or (keep and rule_id in self._rules):
                    raise FaultPlanError("id", rule_id, "an id that no other rule has")
            self._added += len(rules)
            if not keep:
                self._rules.clear()
            for rule_id, rule, source in zip(ids, rules, sources, strict=True):
                chance = random.Random(rule.get("seed", 0))  # noqa: S311 - repeatable is meant
                self._rules[rule_id] = _CountingRule(rule, dict(source), chance)
        return ids

    def _apply(self, subject: Subject) -> AppliedRules:
        with self._lock:
            return tuple((rule_id, each.rule) for rule_id, each in self._rules.items() if each.count(subject))


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise FaultPlanError("the plan", str(error), "a JSON document") from None


def _get_rules(plan: Any) -> list[Mapping[str, Any]]:
    """Return the rules of a plan, which are not checked."""
    if not isinstance(plan, Mapping) or set(plan) != {"rules"} or not isinstance(plan["rules"], list):
        value = sorted(map(str, plan)) if isinstance(plan, Mapping) else plan
        raise FaultPlanError("the plan", value, 'an object with one field, {"rules": [...]}')
    return plan["rules"]


def _concerns(rule: Rule, subject: Subject) -> bool:
    if subject.operation not in rule.operations:
        return False
    job_id, key = rule.get("job_id"), rule.get("key")
    if job_id is not None and not any(fnmatch.fnmatchcase(each, job_id) for each in subject.ids):
        return False
    return key is None or (subject.key is not None and fnmatch.fnmatchcase(subject.key, key))
