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
COLUMNS = (
    *("Tag", "Input", "Parameters", "Files", "Result", "Template", "Batch", "Listed", "Service"),
    *("Submit action", "Operator", "In the emulator", "Documents"),
)
INPUTS = {
    Need.REQUIRED: {"object", "object or URL", "object, and `Lang`, `Type`"},
    Need.OPTIONAL: {"object or none", "object or URL"},
    Need.FORBIDDEN: {"none"},
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def rows() -> dict[str, dict[str, str]]:
    """Return the rows of the table by their tag."""
    table = PAGE.partition("| Tag | Input |")[2].partition("\n\n")[0]
    found = [cells(line) for line in table.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): dict(zip(COLUMNS, row, strict=True)) for row in found}


ROWS = rows()
each_type = pytest.mark.parametrize("kind", JOB_TYPES.values(), ids=lambda kind: kind.tag)


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def yes(value: bool) -> str:
    return "yes" if value else "–"


def test_the_table_has_every_type_once_and_all_columns() -> None:
    head = next(line for line in PAGE.splitlines() if line.startswith("| Tag |"))
    assert tuple(cells(head)) == COLUMNS
    assert list(ROWS) == list(JOB_TYPES)
    assert len(re.findall(r"^\| `\w+` \| .* \| .* \| .* \| ", PAGE, re.MULTILINE)) == len(JOB_TYPES)
    explained = re.findall(r"^\| ([A-Z][a-z ]+) \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert ["Tag", *explained[explained.index("Input") :]] == list(COLUMNS)


@each_type
def test_a_row_says_what_the_type_says(kind: JobType) -> None:
    row = ROWS[kind.tag]
    assert row["Input"] in INPUTS[kind.input]
    assert tuple(names(row["Parameters"])) == kind.parameters
    is_series = "Number" in (kind.placeholders or ()) or STREAMS in kind.output_objects.values()
    assert names(row["Files"]) == [f"{name}_0" if is_series else name for name in kind.output_objects]
    assert row["Files"].endswith("…") == is_series
    assert row["Batch"] == yes(kind.is_in_batches)
    assert row["Listed"] == yes(kind.is_listed)
    assert names(row["Service"]) == [kind.service]
    assert names(row["Submit action"]) == [kind.submit_action]


@each_type
def test_what_it_says_of_templates_and_tests_is_what_the_emulator_does(kind: JobType) -> None:
    # no template of this tag is documented, but one of Tencent's SDK samples uses it
    has_template = kind.tag == "ImageOCR" or any(one.job_tag == kind.tag for one in TEMPLATE_TYPES.values())
    assert ROWS[kind.tag]["Template"] == yes(has_template)
    assert ROWS[kind.tag]["In the emulator"] == ("done" if kind.tag in PROCESSORS else "echoed")


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
        expected = f"[`{own[tag]}`](operators.md#{own[tag].lower()})" if tag in own else "generic"
        assert row["Operator"] == expected


def is_ours(operator: type) -> bool:
    return operator.__module__.startswith("airflow_provider_ci.")
