"""The workflow of GitHub Actions: what it may do, and that it runs what the Makefile offers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import test_airflow_2

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TEXT = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]


def test_it_may_only_read_and_knows_no_secret() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [name for name, job in JOBS.items() if "permissions" in job] == []
    assert re.findall(r"\bsecrets\b|github\.token|pull_request_target", TEXT) == []


def test_nobody_elses_text_gets_into_a_command() -> None:
    used = {name for step in STEPS for name in re.findall(r"\$\{\{\s*(.+?)\s*\}\}", step.get("run", ""))}
    assert used <= {"matrix.cell"}


def test_actions_are_those_that_were_looked_at() -> None:
    """A tag can be moved to other code, a commit cannot."""
    used = re.findall(r"uses: (.+)", TEXT)
    assert len(used) == sum("uses" in step for step in STEPS) > 0
    pinned = re.compile(r"actions/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
    assert [each for each in used if not pinned.fullmatch(each)] == []


def test_checkouts_leave_no_credentials_behind() -> None:
    checkouts = [step for step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(JOBS)
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_older_runs_are_given_up_and_none_is_endless() -> None:
    assert "github.ref" in WORKFLOW["concurrency"]["group"]
    assert {name: 5 <= job.get("timeout-minutes", 0) <= 120 for name, job in JOBS.items()} == dict.fromkeys(
        JOBS, True
    )


def make_targets(command: str) -> list[str]:
    """Return the targets of a ``make`` command."""
    _, *words = command.split()
    return [word for word in words if re.fullmatch(r"[a-z][a-z0-9]*", word)]


@pytest.mark.parametrize("target", ["test", "demo", "lint", "types", "docs", "e2e", "dist", "sbom", "audit"])
def test_it_runs_what_contributors_run(target: str) -> None:
    run = [
        each
        for step in STEPS
        if step.get("run", "").startswith("make ")
        for each in make_targets(step["run"])
    ]
    assert run.count(target) == 1
    assert re.search(rf"^{target}:.*  ## ", MAKEFILE, re.MULTILINE)


def test_contributors_are_told_every_command() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    offered = set(re.findall(r"^([a-z][\w-]*):.*  ## ", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"^\| `make ([\w-]+)`", page, re.MULTILINE)) == offered


def test_it_runs_every_cell_of_the_matrix() -> None:
    (listed,) = re.findall(r"^CELLS \?= (.+)$", MAKEFILE, re.MULTILINE)
    cells = JOBS["matrix"]["strategy"]["matrix"]["include"]
    assert [each["cell"] for each in cells] == listed.split()
    for each in cells:
        assert each["cell"].endswith("-py" + each["python"].replace(".", ""))


def test_the_metadata_names_the_versions_of_python_that_it_runs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        each.rpartition(" ")[2] for each in project["classifiers"] if re.search(r"Python :: 3\.\d+$", each)
    }
    assert named == {each["python"] for each in JOBS["matrix"]["strategy"]["matrix"]["include"]}
    assert project["requires-python"] == f">={min(named)}"


def test_make_e2e_runs_airflow_2_in_a_cell_of_the_matrix() -> None:
    (listed,) = re.findall(r"^CELLS \?= (.+)$", MAKEFILE, re.MULTILINE)
    assert test_airflow_2.CELL.removeprefix("build/matrix/") in listed.split()
