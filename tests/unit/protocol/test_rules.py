"""What each kind of rule accepts, also in a string as a template renders it, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.rules import (
    Problem,
    Rule,
    any_integer,
    as_integer,
    as_number,
    boolean,
    check_list,
    integer,
    number,
    one_number_of,
    one_of,
    problems_of,
    raise_if_any,
    string,
)

NEVER: tuple[Any, ...] = ({}, {"a": 1}, [], [1], (1,), b"1", object())

RULES: dict[str, tuple[Rule, tuple[Any, ...], tuple[Any, ...], str]] = {
    "one of": (one_of("sh", "gz"), ("sh", "gz"), ("", "SH", " sh", "bj", 1, True), "sh, gz"),
    "one number of": (
        one_number_of(1, 2),
        (1, 2, "1", "2"),
        (0, 3, "3", "", "x", True, 1.0, "1.0", "1e0", "1_0", " 1", "١", "+1"),
        "1, 2",
    ),
    "any integer": (
        any_integer(),
        (0, -5, 10**17, "0", "-5", "44100"),
        ("", "x", 1.5, 44100.0, "44100.0", "1_0", True, "nan", "0x1F", "9" * 400),
        "an integer",
    ),
    "integer": (
        integer(8, 1000, "kbit/s"),
        (8, 1000, "8", "1000", "500"),
        (7, 1001, "7", "1001", -8, 8.5, "8.5", 128.0, "high", "", False),
        "an integer from 8 to 1000 (kbit/s)",
    ),
    "integer without unit": (integer(-10, 10), (-10, "10"), (-11, "11"), "an integer from -10 to 10"),
    "number": (
        number(0, 60),
        (0, 60, 0.5, "59.94", "0"),
        (-0.1, 60.1, "61", "nan", "inf", "1e1", "", "x", True, float("nan"), float("inf")),
        "a number from 0 to 60",
    ),
    "number without limit": (
        number(0, unit="seconds"),
        (0, 1e9, "12.5"),
        (-1, "-1", "inf"),
        "a number, at least 0 (seconds)",
    ),
    "boolean": (
        boolean(),
        (True, False, "true", "false"),
        ("True", "FALSE", "yes", "", 0, 1, "1"),
        "true, false",
    ),
    "string": (
        string(),
        ("a", " a ", "None"),
        ("", " ", "\n", 5, 1.5, True),
        "a string that is not empty",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_what_a_rule_accepts(name):
    rule, good, bad, allowed = RULES[name]
    for value in good:
        assert [*rule.problems("F", value)] == [], value
    for value in (*bad, *NEVER):
        (problem,) = rule.problems("F", value)
        assert (problem.field, problem.value, problem.allowed) == ("F", value, allowed)
    assert [*rule.problems("F", None)] == [], "it is not required"


@pytest.mark.parametrize(
    "rule",
    [
        one_of("a", is_required=True),
        one_number_of(1, is_required=True),
        integer(0, 1, is_required=True),
        number(0, is_required=True),
        boolean(is_required=True),
        string(is_required=True),
    ],
)
def test_what_is_required_is_not_none(rule):
    (problem,) = rule.problems("F", None)
    assert str(problem) == f"F is None, allowed: {rule.allowed}"


def test_which_values_are_texts():
    """Of a number, a template may render a string; of a text, it must not render a number."""
    assert [rule.is_text for rule, *_ in RULES.values()] == [name in ("one of", "string") for name in RULES]


@pytest.mark.parametrize(
    ("value", "as_int", "as_float"),
    [
        (5, 5, 5.0),
        ("5", 5, 5.0),
        ("-5", -5, -5.0),
        ("007", 7, 7.0),
        (5.0, None, 5.0),
        ("5.0", None, 5.0),
        ("1_0", None, None),
        ("1e3", None, None),
        ("+5", None, None),
        (" 5", None, None),
        ("٥", None, None),
        ("", None, None),
        (True, None, None),
        (None, None, None),
        ([5], None, None),
        (float("nan"), None, None),
        (10**400, 10**400, None),
    ],
)
def test_numbers(value, as_int, as_float):
    assert (as_integer(value), as_number(value)) == (as_int, as_float)
    assert not isinstance(as_integer(value), bool)


def test_problems_become_one_error():
    with pytest.raises(RequestValidationError, match=r"^Nothing was sent: A is 1, allowed: 2; B is wrong$"):
        raise_if_any([Problem("A", 1, "2"), "B is wrong"])
    raise_if_any(())
    assert problems_of(raise_if_any, ["A", "B"]) == ["A", "B"]
    assert problems_of(raise_if_any, []) == []


SIGNED = "https://example.com/a?sign=secret"


@pytest.mark.parametrize(
    "value",
    [
        SIGNED,
        f" {SIGNED}",
        "https://user:secret@example.com/a",
        "rtmp://example.com/a?token='secret",
        {"A": [{"Url": SIGNED}]},
        f'{{"A": "{SIGNED}"}}',
        [f"from {SIGNED} to {SIGNED}"],
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(value):
    said = str(Problem("A", value, "no address"))
    assert "example.com/a" in said
    assert "secret" not in said


def test_lists_are_no_strings():
    for good in ([], ("a",), {"a"}, iter("a")):
        check_list("ids", good)
    for bad in ("a", b"a", {"a": 1}, 5, None):
        with pytest.raises(RequestValidationError, match=r"ids is .*, allowed: a list"):
            check_list("ids", bad)
