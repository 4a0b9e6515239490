"""The code blocks of every page come from tested files, or are what they claim to be."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from scripts.snippets import ROOT, Block, blocks, excerpt, pages, refreshed

LANGUAGES = {"python", "bash", "console", "json", "text"}
BASH = shutil.which("bash") or ""

BLOCKS = [(page.relative_to(ROOT), block) for page in pages() for block in blocks(page.read_text("utf-8"))]


def of(*languages: str) -> pytest.MarkDecorator:
    chosen = [(page, block) for page, block in BLOCKS if block.language in languages]
    assert chosen
    ids = [f"{page}-{number}" for number, (page, _) in enumerate(chosen)]
    return pytest.mark.parametrize(("page", "block"), chosen, ids=ids)


def commands(block: Block) -> str:
    """Return what a reader types: all of a script, and of a console what follows the prompt."""
    if block.language == "bash":
        return block.code
    typed = re.findall(r"^\$ ((?:.*\\\n)*.*(?:\n {4}.*)*)", block.code, re.MULTILINE)
    assert typed, block.code
    return "\n".join(typed)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_seen_and_has_a_language(page: Path) -> None:
    text = page.read_text("utf-8")
    found = list(blocks(text))
    assert 2 * len(found) == len(re.findall(r"^\s*```", text, re.MULTILINE))
    assert {block.language for block in found} <= LANGUAGES
    markers = len(re.findall(r"<!-- (?:snippet|run by)", text))
    assert markers == sum(block.kind is not None for block in found), "a marker stands right before its block"


@of("python")
def test_python_comes_from_a_file_that_is_tested(page: Path, block: Block) -> None:
    assert block.source, f"{page}: a marker is missing before\n{block.code}"
    if block.kind == "snippet":
        assert block.code == excerpt(block.source), "run: make snippets"
    else:
        assert page.name in (ROOT / block.source).read_text("utf-8")
        compile(block.code, str(page), "exec")


@of("bash", "console")
def test_what_is_typed_is_good_shell(page: Path, block: Block) -> None:
    checked = subprocess.run([BASH, "-n"], input=commands(block), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@of("json")
def test_json_can_be_read(page: Path, block: Block) -> None:
    json.loads(block.code)


CONNECTIONS = [(page, block) for page, block in BLOCKS if "export AIRFLOW_CONN_" in block.code]


@pytest.mark.parametrize(
    ("page", "block"), CONNECTIONS, ids=[f"{page}-{number}" for number, (page, _) in enumerate(CONNECTIONS)]
)
def test_every_connection_is_one(page: Path, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell exports it, and the hook reads it. Without a PATH no other command is run."""
    script = commands(block).replace("<SecretId>", "AKIDexample").replace("<SecretKey>", "example")
    variable = re.findall(r"export (AIRFLOW_CONN_\w+)=", script)[-1]
    shown = f'printf %s "${variable}"'
    ran = subprocess.run(
        [BASH, "-c", f"{script}\n{shown}"],
        env={"PATH": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", ran.stdout)
    settings = TencentCIHook().settings
    assert settings.endpoint().region == "ap-guangzhou"


def test_a_stale_page_is_noticed_and_mended() -> None:
    source = "example_dags/example_voice_separate.py#howto_sensor_job"
    good = f"Before\n\n<!-- snippet: {source} -->\n```python\n{excerpt(source)}```\n\nAfter\n"
    stale = good.replace("reschedule", "poke")
    (block,) = blocks(stale)
    assert block.code != excerpt(source)
    assert refreshed(stale) == good
    assert refreshed(good) == good


@pytest.mark.parametrize("name", ["none", "dag"])
def test_an_excerpt_that_is_not_there(name: str) -> None:
    with pytest.raises(ValueError, match="has 0 markers"):
        excerpt(f"example_dags/example_voice_separate.py#{name}")
