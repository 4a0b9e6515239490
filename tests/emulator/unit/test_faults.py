from __future__ import annotations

import json

import pytest

from tencent_ci_emulator.faults.fault_plan import FaultPlan, FaultPlanError, Subject
from tencent_ci_emulator.http.operations import OPERATIONS

SUBMIT = Subject("submit", (), "in/a.mp3")


def hits(plan: FaultPlan, calls: int = 10, subject: Subject = SUBMIT) -> list[int]:
    return [number for number in range(1, calls + 1) if plan.on_call(subject).rules]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"nth": 3}, [3]),
        ({"nth": [1, 4]}, [1, 4]),
        ({"every": 4}, [4, 8]),
        ({"first": 2}, [1, 2]),
        ({"share": 0}, []),
        ({"share": 1}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_the_calls_that_a_rule_applies_to(which, expected):
    plan = FaultPlan()
    plan.add("submit", status=500, **which)
    assert hits(plan) == expected
    assert plan.rules()[0]["matched"] == 10
    assert plan.rules()[0]["applied"] == len(expected)


def test_a_share_depends_on_its_seed_alone():
    def chosen(seed):
        plan = FaultPlan()
        plan.add("submit", status=500, share=0.3, seed=seed)
        return hits(plan, 200)

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)
    assert 30 <= len(chosen(1)) <= 90


def test_a_rule_counts_only_what_it_concerns():
    plan = FaultPlan()
    plan.add(["describe", "cancel"], nth=2, status=500, job_id="j1*")
    plan.add("put_object", first=1, drop=True, key="in/*.mp3")
    assert not plan.on_call(Subject("describe", ("j1a",))).rules
    assert not plan.on_call(Subject("list", ("j1a",))).rules
    assert not plan.on_call(Subject("describe", ("j2",))).rules
    assert plan.on_call(Subject("cancel", ("j2", "j1b"))).rules == ("rule-1",)
    assert not plan.on_call(Subject("put_object", (), "in/a.wav")).rules
    assert not plan.on_call(Subject("put_object")).rules
    assert plan.on_call(Subject("put_object", (), "in/a.mp3")).rules == ("rule-2",)


def test_a_star_is_every_call_but_neither_jobs_nor_callbacks():
    plan = FaultPlan()
    plan.add("*", status=503)
    assert all(plan.on_call(Subject(name)).rules for name in OPERATIONS)
    assert plan.on_job("j1", None).rules == ()
    assert plan.on_callback("j1", None).rules == ()


def test_several_rules_add_delays_and_the_first_error_wins():
    plan = FaultPlan()
    plan.add("submit", id="slow", delay=1, headers={"X-A": "first"})
    plan.add("submit", id="slower", delay=2, status=429, retry_after=7, headers={"X-A": "second", "X-B": "b"})
    plan.add("submit", status=500, when="after", drop=True)
    effects = plan.on_call(SUBMIT)
    assert effects.rules == ("slow", "slower", "rule-3")
    assert effects.before.delay == 3
    assert (effects.before.error.status, effects.before.error.retry_after) == (429, "7")
    assert (effects.after.error.status, effects.after.drop, effects.before.drop) == (500, True, False)
    assert effects.headers == {"X-A": "first", "X-B": "b"}


def test_effects_on_jobs_and_callbacks():
    plan = FaultPlan()
    plan.add("job", nth=2, code="InternalError", message="out of luck", delay=5)
    plan.add("callback", callback="twice", key="in/*")
    plan.add("callback", callback="never", nth=2)
    plan.add("callback", callback="early", delay=3, nth=1)
    assert plan.on_job("j1", "in/a").failure is None
    second = plan.on_job("j2", "in/a")
    assert (second.failure, second.delay) == (("InternalError", "out of luck"), 5)
    first = plan.on_callback("j1", "in/a")
    assert (first.times, first.early, first.delay_of_end) == (2, True, 3)
    assert plan.on_callback("j2", "in/a").times == 0
    assert plan.on_callback("j3", "out/a").times == 1


def test_what_forged_callbacks_say_is_no_effect_on_the_true_one():
    plan = FaultPlan()
    plan.add("callback", callback="forged", claims={"JobId": "j0"}, delay=2)
    plan.add("callback", callback="forged", garbage=3)
    plan.add("callback", callback="late", delay=5, claims={"State": "Running"}, body="text")
    effects = plan.on_callback("j1", None)
    success = {"State": "Success", "Code": "Success", "Message": ""}
    assert [one.claims for one in effects.forged] == [{**success, "JobId": "j0"}, success]
    assert [one.body and len(one.body) for one in effects.forged] == [None, 3]
    assert (effects.content.claims, effects.content.body) == ({"State": "Running"}, b"text")
    assert (effects.delay_of_end, effects.late, effects.times, effects.early) == (2, 5, 1, False)


def test_rules_are_removed_and_replaced():
    plan = FaultPlan()
    first = plan.add("submit", status=500)
    assert plan.remove(first)
    assert not plan.remove(first)
    assert plan.is_empty
    plan.add("submit", id="mine", status=500)
    with pytest.raises(FaultPlanError, match="id is 'mine', allowed: an id that no other rule has"):
        plan.add("list", id="mine", status=500)
    with pytest.raises(FaultPlanError):
        plan.replace({"rules": [{"operation": "list", "status": 500}, {"operation": "nothing"}]})
    assert [rule["id"] for rule in plan.rules()] == ["mine"]
    plan.replace({"rules": [{"operation": "list", "status": 500, "id": "mine"}]})
    assert [rule["operation"] for rule in plan.rules()] == ["list"]
    plan.clear()
    assert plan.is_empty


def test_a_plan_is_read_from_a_file(tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"rules": [{"operation": "submit", "nth": 1, "status": 503}]}))
    plan = FaultPlan()
    assert plan.load(file) == ["rule-1"]
    assert hits(plan) == [1]
    file.write_text("{")
    with pytest.raises(FaultPlanError, match="a JSON document"):
        plan.load(file)
    with pytest.raises(OSError, match="none"):
        plan.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("rule", "field", "allowed"),
    [
        ({}, "operation", "submit, list"),
        ({"operation": "submitt", "status": 500}, "operation", "submit, list"),
        ({"operation": 5, "status": 500}, "operation", "submit, list"),
        ({"operation": ["job", "submit"], "delay": 1}, "operation", "only alone"),
        ({"operation": "submit"}, "", "at least one effect"),
        ({"operation": "submit", "nth": 1}, "", "at least one effect"),
        ({"operation": "submit", "drpo": True}, "drpo", "only the fields operation, id"),
        ({"operation": "submit", "nth": 0, "drop": True}, "nth", "a whole number from 1"),
        ({"operation": "submit", "nth": [], "drop": True}, "nth", "a whole number from 1"),
        ({"operation": "submit", "nth": 1, "first": 2, "drop": True}, "first", "not together with nth"),
        ({"operation": "submit", "status": 99}, "status", "200 to 599"),
        ({"operation": "submit", "status": "500"}, "status", "200 to 599"),
        ({"operation": "submit", "code": "SlowDown"}, "code", "only together with status"),
        ({"operation": "submit", "status": 500, "queue": "full"}, "queue", "not together with status"),
        ({"operation": "submit", "queue": "busy"}, "queue", "full, paused"),
        ({"operation": "submit", "drop": "after"}, "drop", "true or false"),
        ({"operation": "submit", "delay": float("nan")}, "delay", "seconds, 0 to 86400"),
        ({"operation": "submit", "headers": {"A": "b\r\nC: d"}}, "headers", "printable ASCII"),
        ({"operation": "submit", "rename": {"A": "b c"}}, "rename", "element names"),
        ({"operation": "submit", "callback": "twice"}, "callback", "only with operation callback"),
        ({"operation": "callback", "status": 500}, "status", "for callback only"),
        ({"operation": "callback", "callback": "lost"}, "callback", "twice, never, early, late"),
        ({"operation": "callback", "claims": {"State": True}}, "claims", "an object of elements"),
        ({"operation": "submit", "claims": {"State": "Success"}}, "claims", "only with operation callback"),
        ({"operation": "job", "drop": True}, "drop", "for job only"),
        ({"operation": "job", "message": "x", "delay": 1}, "message", "only together with code"),
        ({"operation": "job", "result": {}}, "result", "an object of elements"),
        ({"operation": "job", "result": {"A": {"b c": 1}}}, "result", "an object of elements"),
        ({"operation": "job", "result": {"A": [True]}}, "result", "an object of elements"),
        ({"operation": "submit", "result": {"A": 1}}, "result", "only with operation job"),
        ("submit", "", "an object"),
    ],
)
def test_a_rule_that_is_not_allowed_is_named_with_field_and_allowed_values(rule, field, allowed):
    plan = FaultPlan()
    with pytest.raises(FaultPlanError) as refused:
        plan.load({"rules": [rule]})
    assert refused.value.field == (f"rules[0].{field}" if field else "rules[0]")
    assert allowed in refused.value.allowed
    assert refused.value.field in str(refused.value)
    assert plan.is_empty


@pytest.mark.parametrize("plan", [{}, {"rules": {}}, {"rules": [], "more": 1}])
def test_a_plan_that_is_not_allowed_is_refused(plan):
    with pytest.raises(FaultPlanError, match="an object with one field"):
        FaultPlan().load(plan)
