"""docs/operators.md and its neighbours: every name on them exists, and every argument is explained."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci import exceptions
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.links.console import TencentCIJobsLink, TencentCIResultsLink
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.retry_policy import tencent_ci_retry_policy
from airflow_provider_ci.version_compat import AIRFLOW_MINOR

DOCS = Path(__file__).parents[2] / "docs"
PAGE, WAITING, RESULTS, MANY = (
    (DOCS / f"{name}.md").read_text("utf-8") for name in ("operators", "waiting", "results", "many-files")
)
_COMMON = "Arguments of all operators"
# The sections of classes that share one with another class
_SECTIONS = {
    "TencentCIBulkJobOperator": "VoiceSeparateBulkOperator",
    "TencentCIBatchJobOperator": "VoiceSeparateBatchOperator",
    "TencentCITemplateOperator": "VoiceSeparateTemplateOperator",
    "TencentCOSDownloadOperator": "TencentCOSUploadOperator",
}
_INDEX_ITEM = re.compile(
    r"^- \[?`(\w+)`\S*, \[`([\w.]+)`\]\(\.\./(airflow_provider_ci/[\w/]+)\.py\): ", re.MULTILINE
)
INDEX = {found[1]: (found[2], found[3]) for found in _INDEX_ITEM.finditer(PAGE)}
CLASSES = [
    getattr(import_module(f"airflow_provider_ci.{module}"), name) for name, (module, _) in INDEX.items()
]
each_operator = pytest.mark.parametrize("cls", CLASSES[:-1], ids=lambda cls: cls.__name__)


def section(title: str, page: str = PAGE) -> str:
    found = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def items(text: str) -> list[str]:
    """Return the items of the lists of a text, each on one line."""
    return [" ".join(item.split()) for item in re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE)]


def arguments(text: str) -> dict[str, str]:
    """Return the arguments with which items of a list begin, each with its item."""
    heads = {item: item.partition(": ")[0] for item in items(text) if item.startswith("- `")}
    return {name: item for item, head in heads.items() for name in re.findall(r"`(\w+)`", head)}


def own_bases(cls: type) -> list[Any]:
    """Return a class and its bases in this package."""
    return [base for base in cls.__mro__ if base.__module__.startswith("airflow_provider_ci.")]


def parameters(cls: type) -> set[str]:
    """Return what a class and its bases in this package take."""
    own = [base for base in own_bases(cls) if "__init__" in vars(base)]
    names = {name for base in own for name in inspect.signature(base.__init__).parameters}
    fixed = {"tag"} if hasattr(cls, "tag") else set()  # of one type of job
    return names - {"self", "kwargs"} - fixed


def listed(cls: type) -> set[str]:
    """Return the arguments in the lists of a class: its own, and those of which its section says that it has
    them, too.
    """
    text = section(_SECTIONS.get(cls.__name__, cls.__name__))
    named = {*arguments(section(_COMMON).partition("\n### ")[0]), *arguments(text)}
    if "[`VoiceSeparateOperator`](#voiceseparateoperator)" in text:
        named |= arguments(section("VoiceSeparateOperator")).keys()
    return named | {"tag"}  # said in prose


def test_the_index_has_every_class_and_its_module() -> None:
    assert CLASSES[-1] is TencentCIHook
    for cls, (name, (module, path)) in zip(CLASSES, INDEX.items(), strict=True):
        assert cls.__module__ == f"airflow_provider_ci.{module}" == path.replace("/", "."), name
    typed = {cls.__name__ for cls in TypedJobOperator.__subclasses__() if own_bases(cls)[0] is cls}
    assert typed <= INDEX.keys()
    others = {"Bulk", "Batch", "Template"}
    assert {
        f"TencentCI{kind}{'' if kind == 'Template' else 'Job'}Operator" for kind in others
    } <= INDEX.keys()


@each_operator
def test_every_argument_is_in_a_list(cls: type) -> None:
    assert parameters(cls)
    assert parameters(cls) - listed(cls) == set()


@each_operator
def test_every_default_is_in_parentheses(cls: type) -> None:
    """Other defaults than ``None``, for which the page says what it stands for."""
    text = section(_COMMON) + section(_SECTIONS.get(cls.__name__, cls.__name__))
    inits = [vars(base)["__init__"] for base in own_bases(cls) if "__init__" in vars(base)]
    for name, parameter in [pair for init in inits for pair in inspect.signature(init).parameters.items()]:
        default = parameter.default
        if default in (None, inspect.Parameter.empty):
            continue
        shown = f"{default:g}" if type(default) is float else f"{default}"
        written = {f"({shown})", f"(`{shown}`)"} | ({f"({default:,})"} if type(default) is int else set())
        (item,) = (item for item in items(text) if name in arguments(item))
        assert any(each in item for each in written), (name, default)


@each_operator
def test_every_argument_is_explained_in_a_docstring(cls: type) -> None:
    """The site makes the API reference of the docstrings."""
    explained = {name for base in own_bases(cls) for name in re.findall(r":param (\w+):", base.__doc__ or "")}
    assert parameters(cls) - explained == set()


@pytest.mark.parametrize("title", [name for name in INDEX if name not in _SECTIONS][:-1])
def test_every_argument_in_a_list_is_one(title: str) -> None:
    classes = [cls for cls in CLASSES if title in (cls.__name__, _SECTIONS.get(cls.__name__))]
    of_every_sensor = {"mode", "poke_interval", "timeout", "soft_fail"} if title.endswith("Sensor") else set()
    known = of_every_sensor.union(*(parameters(cls) for cls in classes))
    named = arguments(section(title)).keys()
    assert named or title == "TencentCIJobOperator"
    assert named - known == set()


def test_every_method_of_the_hook_is_one() -> None:
    hook = TencentCIHook()
    subjects = items(section("TencentCIHook"))
    text = "\n".join([*subjects, section("Download", RESULTS)])
    named = re.findall(r"`(\w+)(?:\.(\w+))?[`(]", re.sub(r"`hooks[^`]*`|`list_jobs\([^`]*`", "", text))
    found = {first for first, _ in named if hasattr(TencentCIHook, first)}
    methods = {
        name
        for name in vars(TencentCIHook)
        if not name.startswith(("_", "get_")) and inspect.isfunction(vars(TencentCIHook)[name])
    }
    without_an_item = {"now", "close", "limit", "call_paid", "call_within", "test_connection"}
    assert methods - without_an_item - found == set()
    for subject in ("templates", "queues", "batches"):
        item = next(item for item in subjects if f"`{subject}." in item)
        members = {name for name in re.findall(r"\.(\w+)`", item) if name != subject}
        assert members == {name for name in dir(type(getattr(hook, subject))) if not name.startswith("_")}, (
            subject
        )


def test_every_error_is_named() -> None:
    public = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and issubclass(value, exceptions.TencentCIError)
    }
    bases = {"TencentCIError", "ServiceError", "JobError"}
    table = section("The task failed: is it retried?", (DOCS / "troubleshooting.md").read_text("utf-8"))
    assert public - bases - set(re.findall(r"`(\w+Error)`", table)) == set()


@pytest.mark.skipif(AIRFLOW_MINOR < (3, 3), reason="Airflow has no retry policies")
def test_the_retry_policy_is_the_table() -> None:
    policy: Any = tencent_ci_retry_policy()
    table = section("Retries", WAITING).partition("| Error |")[2]
    rows = dict(line.strip("| ").split(" | ", 1) for line in table.splitlines() if line.startswith("| `"))
    words = {60: "retried after a minute", 600: "retried after ten minutes", None: "not retried"}
    expected = {}
    for rule in policy.rules:
        names = rule.exception if isinstance(rule.exception, list | tuple) else [rule.exception]
        said = words[rule.retry_delay and rule.retry_delay.total_seconds()]
        expected.update(
            {(name if isinstance(name, str) else name.__name__).rpartition(".")[2]: said for name in names}
        )
    shown = {name: said for cell, said in rows.items() for name in re.findall(r"`(\w+)`", cell)}
    assert shown.keys() == expected.keys()
    for name, said in expected.items():
        assert shown[name].startswith(said), name


def test_the_links_have_their_names() -> None:
    text = section("Links to the console", RESULTS)
    assert re.findall(r"^- `([^`]+)`: ", text, re.MULTILINE) == [
        TencentCIJobsLink.name,
        TencentCIResultsLink.name,
    ]


def test_every_class_that_is_named_is_there() -> None:
    """On all of these pages, a word in code that ends as our classes do is a class or an error."""
    known = {*INDEX, *vars(exceptions), "TencentCIJobTrigger", "TencentCIBatchTrigger"}
    named = {
        name
        for page in (PAGE, WAITING, RESULTS, MANY)
        for name in re.findall(r"`((?:TencentCI|TencentCOS|VoiceSeparate)\w+)`", page)
    }
    assert named - known == set()
