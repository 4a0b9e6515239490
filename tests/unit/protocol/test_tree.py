"""Trees: paths, structure, values."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from airflow_provider_ci.protocol.tree import (
    DEPTH_MAX,
    find,
    find_text,
    find_tree,
    format_value,
    is_element_name,
    structure_problems,
    with_value,
    without_none,
)

TREE = {"Input": {"Object": "in/a"}, "Empty": "", "None": None, "List": ["1"], "Number": 0, "Truth": False}


@pytest.mark.parametrize(
    ("path", "value", "text", "tree"),
    [
        ("Input", {"Object": "in/a"}, None, {"Object": "in/a"}),
        ("Input.Object", "in/a", "in/a", {}),
        ("Input.Object.Deep", None, None, {}),
        ("Input.Url", None, None, {}),
        ("Nothing.At.All", None, None, {}),
        ("Empty", "", None, {}),
        ("None", None, None, {}),
        ("List", ["1"], None, {}),
        ("Number", 0, "0", {}),
        ("Truth", False, "false", {}),
    ],
)
def test_what_is_at_a_path(path, value, text, tree):
    for source in (TREE, MappingProxyType(TREE), OrderedDict(TREE)):
        assert find(source, path) == value
        assert find_text(source, path) == text
        assert find_tree(source, path) == tree
    for nothing in (None, "", "text", 5, ["Input"], {}):
        assert find(nothing, path) is None
        assert find_text(nothing, path) is None
        assert find_tree(nothing, path) == {}


def test_a_value_is_set_in_a_copy():
    changed = with_value(TREE, "Input.Object", "in/b")
    assert (changed["Input"], TREE["Input"]) == ({"Object": "in/b"}, {"Object": "in/a"})
    assert [*changed] == [*TREE], "the order is kept"
    assert with_value({}, "A.B.C", 1) == {"A": {"B": {"C": 1}}}
    assert with_value({"A": "text"}, "A.B", 1) == {"A": {"B": 1}}
    assert with_value({"A": 1}, "B", None) == {"A": 1, "B": None}


def test_none_is_no_element():
    tree = {"A": None, "B": {"C": None, "D": ""}, "E": [None, {"F": None}, 0], "G": {}, "H": False}
    assert without_none(tree) == {"B": {"D": ""}, "E": [{}, 0], "G": {}, "H": False}


class Mode(str, enum.Enum):  # noqa: UP042 - the str() of the older form is another
    QUEUE = "Queue"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (" a ", " a "),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (2.5, "2.5"),
        (Mode.QUEUE, "Queue"),
    ],
)
def test_values_are_spelled_as_the_service_spells_them(value, text):
    assert str.__eq__(format_value(value), text)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        TREE,
        {"a.b-c_1": "x", "_a": "y", "sentence_list": []},
        {"A": ["1", {"B": [{"C": 1}]}, None]},
        {"A": ("1", 2)},
        {"A": MappingProxyType({"B": OrderedDict(C="\t\n\r 人 \U0001f3b5")})},
        {"A": 10**400, "B": -1.5, "C": True},
    ],
)
def test_what_can_become_xml(tree):
    assert structure_problems(tree) == []


@pytest.mark.parametrize(
    ("tree", "path", "value", "allowed"),
    [
        ({"A": {"B": b"x"}}, "A.B", b"x", "a string, a number, true or false, a dict of elements, or a list"),
        ({"A": {1, 2}}, "A", {1, 2}, "a string, a number"),
        ({"A": object}, "A", object, "a string, a number"),
        ({"A": [["x"]]}, "A[0]", ["x"], "no list in a list"),
        ({"A": {"B": [{}, ("x",)]}}, "A.B[1]", ("x",), "no list in a list"),
        ({"A": [{"B": "x"}, {"B": "\x00"}]}, "A[1].B", "\x00", "characters that XML cannot carry"),
        ({"A": "\ud800"}, "A", "\ud800", "characters that XML cannot carry"),
        ({"A": "\ufffe"}, "A", "\ufffe", "characters that XML cannot carry"),
        ({"A": math.inf}, "A", math.inf, "a finite number"),
        ({"A": ["\x1b"]}, "A[0]", "\x1b", "characters that XML cannot carry"),
        ({"A b": "x"}, "A b", "A b", "a name of an element, of letters, digits, _ . and -"),
        ({"A": {"": "x"}}, "A.", "", "a name of an element"),
        ({"A": {5: "x"}}, "A.5", 5, "a name of an element"),
        ({None: "x"}, "None", None, "a name of an element"),
        ({"A": {"<B/>": None}}, "A.<B/>", "<B/>", "a name of an element"),
    ],
)
def test_what_cannot_become_xml_is_named_by_its_path(tree, path, value, allowed):
    (problem,) = structure_problems(tree)
    assert (problem.field, problem.value) == (path, value)
    assert allowed in problem.allowed


def test_not_a_number_is_no_value():
    assert [problem.field for problem in structure_problems({"A": math.nan, "B": [-math.inf]})] == [
        "A",
        "B[0]",
    ]


def test_all_problems_are_found_at_once():
    bad = {"A b": 1, "C": {"D": b"", "E": ["\x00", [1]]}, "F": math.nan}
    assert [problem.field for problem in structure_problems(bad)] == ["A b", "C.D", "C.E[0]", "C.E[1]", "F"]


def nested(levels: int, leaf: Any) -> Any:
    tree = leaf
    for level in range(levels):
        tree = {"A": [tree] if level % 2 else tree}
    return tree


def test_the_depth_is_bounded():
    assert structure_problems(nested(DEPTH_MAX, "x")) == []
    (problem,) = structure_problems(nested(DEPTH_MAX + 1, "x"))
    assert (problem.field.count("A"), problem.allowed) == (DEPTH_MAX, f"at most {DEPTH_MAX} levels")
    endless: dict[str, Any] = {}
    endless["A"] = endless
    assert len(structure_problems(endless)) == 1


@pytest.mark.parametrize("name", ["A", "a1", "_", "A-b.c_d"])
def test_names_of_elements(name):
    assert is_element_name(name)


@pytest.mark.parametrize("name", ["", "1a", "-a", ".a", "a b", "a:b", "a\n", "人", "<a>", "a/", "a&b"])
def test_what_is_no_name(name):
    assert not is_element_name(name)
