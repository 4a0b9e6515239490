"""The site that ``make docs`` builds: complete, without warnings, and usable without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")

pytest.importorskip("sphinx", reason="no Sphinx: pip install -e '.[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with the options of the Makefile."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (options,) = re.findall(r"sphinx-build (.+) -d build/doctrees \. build/docs$", makefile, re.MULTILINE)
    assert "-W" in options.split()
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        *options.split(),
        "-d",
        folder / "doctrees",
        ".",
        folder / "html",
    ]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture
def page(site: Path, tmp_path: Path) -> Iterator[Page]:
    """A browser on the site's first page, which may load nothing but the site's own files."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install -e '.[e2e]'")
    requested: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path,
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--allow-file-access-from-files"],
            timeout=PATIENCE * 1000,
        )
        page = browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("request", lambda request: requested.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.wait_for_url("**/docs/README.html")
        yield page
        browser.close()
    own = (site.as_uri(), "data:")
    assert [url for url in requested if not url.startswith(own)] == []


def test_no_file_loads_anything_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(?:https?:)?//|url\(['\"]?(?:https?:)?//"
    )
    files = [file for kind in ("html", "css") for file in site.rglob(f"*.{kind}")]
    assert len(files) > 50
    assert [str(file.relative_to(site)) for file in files if loads.search(file.read_text("utf-8"))] == []


def test_an_operators_page_has_the_arguments_that_it_inherits(site: Path) -> None:
    html = (site / "docs/api/operators.html").read_text("utf-8")
    name = f"{VoiceSeparateOperator.__module__}.VoiceSeparateOperator"
    described = html[html.index(f'id="{name}"') :].partition("</dl>\n</dd></dl>")[0]
    arguments = set(re.findall(r"<strong>(\w+)</strong>", described))
    assert set(VoiceSeparateOperator.template_fields) <= arguments
    assert {"poll_interval", "timeout", "durable", "cancel_on_kill"} <= arguments
    assert "tag" not in arguments, "the operator sets it"


def test_search_finds_an_argument(page: Page) -> None:
    page.fill("input[name=q]", "poll_interval")
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a[href*='api/operators.html']")


def test_a_link_to_an_example_shows_it(page: Page) -> None:
    page.click("article a[href$='example_dags/README.html']")
    page.click("article a[href$='example_bulk.html']")
    page.wait_for_url("**/example_bulk.html")  # and until all of it is there
    assert "VoiceSeparateBulkOperator(" in page.inner_text("article")
