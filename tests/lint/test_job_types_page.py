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

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PERMISSIONS = ((DOCS / name).read_text("utf-8") for name in ("job-types.md", "permissions.md"))
COLUMNS = ("Tag", "Parameters", "Results", "Also", "Documents")
_HEAD = f"| {' | '.join(COLUMNS)} |"
_TAG = re.compile(r"\[?`(\w+)`(?:\]\((\S+)\))?")


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
TRANSCODING = PAGE.partition('"Transcoding" is ')[2].partition("\n- ")[0]
each_type = pytest.mark.parametrize("kind", JOB_TYPES.values(), ids=lambda kind: kind.tag)


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_tables_have_every_type_once_and_all_columns() -> None:
    assert list(ROWS) == list(JOB_TYPES)
    assert PAGE.count(_HEAD) == len({kind.service for kind in JOB_TYPES.values()})
    explained = re.findall(r"^- ([A-Z][a-z]+): ", PAGE, re.MULTILINE)
    assert ["Tag", *explained] == list(COLUMNS)


@each_type
def test_a_row_says_what_the_type_says(kind: JobType) -> None:
    row = ROWS[kind.tag]
    assert tuple(names(row["Parameters"].replace("transcoding", TRANSCODING))) == kind.parameters
    is_series = "Number" in (kind.placeholders or ()) or STREAMS in kind.output_objects.values()
    files = [cell for cell in row["Results"].split(", ") if cell[1:2].islower()]
    assert files == [f"`{name}_0`…" if is_series else f"`{name}`" for name in kind.output_objects]
    assert row["Service"] == kind.service


def test_the_inputs() -> None:
    """The page names the types whose input is not just a required ``input_object``."""
    words = " ".join(PAGE.split())
    sentence = (
        r"The input is `input_object`\. (.+) also take an `input_url`; (.+) need no input; (.+?) have none"
    )
    urls, optional, forbidden = re.findall(sentence, words)[0]
    of = {need: {kind.tag for kind in JOB_TYPES.values() if kind.input is need} for need in Need}
    assert set(names(forbidden)) == of[Need.FORBIDDEN]
    assert set(names(optional)) == of[Need.OPTIONAL] - set(names(urls))
    assert set(names(urls)) <= of[Need.OPTIONAL] | of[Need.REQUIRED]


@each_type
def test_what_it_says_of_templates_is_what_the_emulator_does(kind: JobType) -> None:
    # no template of this tag is documented, but one of Tencent's SDK samples uses it
    has_template = kind.tag == "ImageOCR" or any(one.job_tag == kind.tag for one in TEMPLATE_TYPES.values())
    also = {"template": has_template, "batch": kind.is_in_batches, "listed": kind.is_listed}
    assert ROWS[kind.tag]["Also"] == ", ".join(name for name, holds in also.items() if holds)


def test_the_emulators_page_names_what_it_works_on() -> None:
    page = (DOCS / "emulator.md").read_text("utf-8")
    section = page.partition("## What is really processed")[2].partition("- all others")[0]
    worked_on = {name for tags in re.findall(r"^- (.+?):", section, re.MULTILINE) for name in names(tags)}
    assert worked_on == set(PROCESSORS)


def test_the_actions_that_allow_submissions() -> None:
    """On the page about permissions."""
    rows = re.findall(r"^- `(ci:Create\w+Jobs)`: submitting(.*)$", PERMISSIONS, re.MULTILINE)
    said = {tag: action for action, of in rows for tag in names(of)}
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
