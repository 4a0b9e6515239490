"""docs/emulator.md names every option of the command and every field of the fault plan. The docstring of
``FaultPlan.add`` explains the fields, and names every operation.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

from scripts.snippets import ROOT
from tencent_ci_emulator.faults.fault_plan import FaultPlan
from tencent_ci_emulator.faults.fault_rules import CALLBACK, FIELDS, JOB
from tencent_ci_emulator.http.operations import OPERATIONS

TEXT = (ROOT / "docs" / "emulator.md").read_text("utf-8")


def test_every_field_of_the_fault_plan_is_on_the_page():
    section = TEXT[TEXT.index("## Fault plan") : TEXT.index("## Ledger")]
    assert {name for name in ("operation", *FIELDS) if f"`{name}`" not in section} == set()


def test_every_field_and_operation_of_the_fault_plan_is_explained():
    docstring = FaultPlan.add.__doc__ or ""
    explained = re.findall(r":param (\w+):", docstring)
    assert sorted(explained) == sorted(["operation", *FIELDS])
    operations = docstring[docstring.index(":param operation:") : docstring.index(":param nth:")]
    assert {name for name in (*OPERATIONS, JOB, CALLBACK) if f"``{name}``" not in operations} == set()


def test_every_option_is_documented_and_has_help():
    command = [sys.executable, "-m", "tencent_ci_emulator", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"--[a-z-]+", text)) - {"--help"}
    assert {option for option in options if f"`{option}" not in TEXT} == set()
    assert {"--faults", "--admin-token", "--virtual-clock", "--allow-remote-callbacks"} <= options


def test_the_plan_is_json_as_shown():
    for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL):
        json.loads(block)
