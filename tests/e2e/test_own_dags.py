"""The tests that docs/testing-dags.md shows, run with the settings that the page names, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.snippets import ROOT, blocks
from tests.patience import PATIENCE

PAGE = (ROOT / "docs" / "testing-dags.md").read_text("utf-8")


def test_the_pages_tests_pass_with_the_pages_settings(tmp_path: Path) -> None:
    (commands,) = [block.code for block in blocks(PAGE) if block.source == "tests/e2e/test_own_dags.py"]
    shown = "/tmp/dag-tests"
    assert shown in commands
    tests = [(ROOT / "tests" / "docs" / name).read_text("utf-8") for name in ("own_dag.py", "own_event.py")]
    imports = "from __future__ import annotations\n"
    (tmp_path / "test_dag.py").write_text("\n\n".join(test.replace(imports, "") for test in tests), "utf-8")
    (tmp_path / "example_dags").symlink_to(ROOT / "example_dags")

    ran = subprocess.run(
        ["bash", "-ec", commands.replace(shown, str(tmp_path / "airflow"))],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout
