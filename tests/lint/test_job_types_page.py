"""docs/job-types.md has a row for each known type of job, which says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_ci.get_provider_info import get_provider_info
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.protocol.job_types.job_type import STREAMS, JobType, Need
from airflow_provider_ci.protocol.job_types.known_types import JOB_TYPES
from tencent_ci_emulator.jobs.job_types import TEMPLATE_TYPES
from tencent_ci_emulator.jobs.processing import PROCESSORS

PAGE = (Path(__file__).parents[2] / "docs" / "job-types.md").read_text("utf-8")
COLUMNS = ("Tag", "Input", "Parameters", "Files; result", "Also", "Documents")
_HEAD = f"| {' | '.join(COLUMNS)} |"
_TAG = re.compile(r"\[?`(\w+)`(?:\]\((\S+)\))?")
INPUTS = {
    Need.REQUIRED: {"", "object or URL", "object, and `Lang`, `Type`"},
    Need.OPTIONAL: {"object or none", "object or URL"},
    Need.FORBIDDEN: {"none"},
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows() -> dict[str, dict[str, str]]:
    """Return the rows of all tables by their tag, each with the service that the heading names."""
    found = {}
    service = ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            service = "".join(re.findall(r"\(`(\w+)`\)", line))
        if service and (tag := _TAG.match(line.removeprefix("| "))) and line.startswith("| "):
            row = dict(zip(COLUMNS, cells(line), strict=True))
            assert tag[1] not in found
            found[tag[1]] = {**row, "Service": service, "Link": tag[2] or ""}
    return found


ROWS = rows()
each_type = pytest.mark.parametrize("kind", JOB_TYPES.values(), ids=lambda kind: kind.tag)


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_tables_have_every_type_once_and_all_columns() -> None:
    assert list(ROWS) == list(JOB_TYPES)
    assert PAGE.count(_HEAD) == len({kind.service for kind in JOB_TYPES.values()})
    explained = re.findall(r"^- ([A-Z][a-z; ]+): ", PAGE, re.MULTILINE)
    assert ["Tag", *explained] == list(COLUMNS)


@each_type
def test_a_row_says_what_the_type_says(kind: JobType) -> None:
    row = ROWS[kind.tag]
    assert row["Input"] in INPUTS[kind.input]
    assert tuple(names(row["Parameters"])) == kind.parameters
    is_series = "Number" in (kind.placeholders or ()) or STREAMS in kind.output_objects.values()
    files = row["Files; result"].partition(";")[0]
    assert names(files) == [f"{name}_0" if is_series else name for name in kind.output_objects]
    assert files.endswith("…") == is_series
    assert row["Service"] == kind.service


@each_type
def test_what_it_says_of_templates_is_what_the_emulator_does(kind: JobType) -> None:
    # no template of this tag is documented, but one of Tencent's SDK samples uses it
    has_template = kind.tag == "ImageOCR" or any(one.job_tag == kind.tag for one in TEMPLATE_TYPES.values())
    also = {"template": has_template, "batch": kind.is_in_batches, "listed": kind.is_listed}
    assert ROWS[kind.tag]["Also"] == ", ".join(name for name, holds in also.items() if holds)


def test_the_emulators_page_names_what_it_works_on() -> None:
    page = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text("utf-8")
    section = page.partition("## What is really processed")[2].partition("- all others")[0]
    worked_on = {name for tags in re.findall(r"^- (.+?):", section, re.MULTILINE) for name in names(tags)}
    assert worked_on == set(PROCESSORS)


def test_the_actions_that_allow_submissions() -> None:
    sentence = " ".join(PAGE.split()).partition("Submitting needs ")[2].partition(" ([permissions]")[0]
    usual, *others = (names(part) for part in re.split(r", but |, and ", sentence))
    assert usual == ["ci:CreateMediaJobs"]
    said = {tag: action for *tags, action in others for tag in tags}
    actions = {kind.tag: kind.submit_action for kind in JOB_TYPES.values()}
    assert said == {tag: action for tag, action in actions.items() if action != "ci:CreateMediaJobs"}


@each_type
def test_a_row_names_its_sources(kind: JobType) -> None:
    source = r"((460|436|1045)/\d{5,6}(, (460|436|1045)/\d{5,6})?|\w+( and \w+)? SDK)"
    assert re.fullmatch(source, ROWS[kind.tag]["Documents"])


def test_the_operators() -> None:
    """Each typed operator of the package is in the row of its type, and no other one."""
    (operators,) = get_provider_info()["operators"]
    for module in operators["python-modules"]:
        __import__(module)
    typed = {each.kind.tag: each.__name__ for each in TypedJobOperator.__subclasses__() if is_ours(each)}
    assert len(typed) >= 4
    own = {"VoiceSeparate": "VoiceSeparateOperator", **typed}
    for tag, row in ROWS.items():
        assert row["Link"] == (f"operators.md#{own[tag].lower()}" if tag in own else "")


def is_ours(operator: type) -> bool:
    return operator.__module__.startswith("airflow_provider_ci.")
