"""docs/emulator.md names every option of the command, and every field and operation of the fault plan."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from scripts.snippets import ROOT
from tencent_ci_emulator.faults.fault_rules import FIELDS
from tencent_ci_emulator.http.operations import OPERATIONS

TEXT = (ROOT / "docs" / "emulator.md").read_text("utf-8")


def test_every_field_and_operation_of_the_fault_plan_is_documented():
    section = TEXT[TEXT.index("### Fault plan") : TEXT.index("### Ledger")]
    names = {"operation", *FIELDS}
    assert {
        name for name in (*names, *OPERATIONS) if f"`{name}`" not in section and f'"{name}"' not in section
    } == set()


def test_every_option_is_documented_and_has_help():
    command = [sys.executable, "-m", "tencent_ci_emulator", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"--[a-z-]+", text)) - {"--help"}
    assert {option for option in options if f"`{option}" not in TEXT} == set()
    assert {"--faults", "--admin-token", "--virtual-clock", "--allow-remote-callbacks"} <= options


def test_the_plan_is_json_as_shown():
    for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL):
        json.loads(block)
