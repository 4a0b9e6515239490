"""The connection form, the grid and the links, in a real browser: what a new user sees and clicks.

Needs Chromium (Debian's package) and Playwright (extra ``e2e``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_ci.get_provider_info import CONN_FIELDS
from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.services import Service
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no Chromium: apt-get install chromium", allow_module_level=True)
pytest.importorskip("playwright", reason="no Playwright: pip install -e '.[e2e]'")

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
#: Where the docs' pictures are written, if they are to be made anew.
IMAGES = os.environ.get("CI_IMAGES")


@pytest.fixture
def page(stack: AirflowStack, tmp_path: Path) -> Iterator[Page]:
    """A browser that is logged in to Airflow."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path,
            executable_path=CHROMIUM,
            args=ARGUMENTS,
            viewport={"width": 1100, "height": 860},
            timeout=PATIENCE * 1000,
        )
        page = browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(stack.url)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", stack.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        yield page
        browser.close()


def picture(page: Page, name: str) -> None:
    if IMAGES:
        page.screenshot(path=Path(IMAGES) / f"{name}.png")


def test_from_the_form_to_the_first_result(page: Page, stack: AirflowStack, quick: Service) -> None:
    page.goto(f"{stack.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[name=connection_id]").fill("by_form")
    dialog.get_by_role("combobox").first.click()
    page.keyboard.type("Tencent Cloud")
    dialog.page.get_by_role("option", name="Tencent Cloud Infinite (CI)").click()

    # the standard fields: two under their names at Tencent, the useless ones hidden
    for label in ("SecretId", "SecretKey"):
        dialog.get_by_text(label, exact=True).wait_for()
    for name in ("host", "schema"):
        dialog.locator(f"input[name={name}]").wait_for(state="detached")
    assert dialog.locator("input[name=password]").get_attribute("type") == "password"
    dialog.locator("input[name=login]").fill(quick.emulator.secret_id)
    dialog.locator("input[name=password]").fill(quick.emulator.secret_key)
    dialog.locator("input[name=port]").fill("443")

    # the extra fields, each with its label and its explanation
    dialog.get_by_text("Extra Fields", exact=True).click()
    for name, field in CONN_FIELDS.items():
        dialog.get_by_text(field["label"], exact=True).wait_for()
        dialog.get_by_text(field["description"], exact=True).wait_for()
        is_secret = field["schema"].get("format") == "password"
        assert (dialog.locator(f"input[name=element_{name}][type=password]").count() == 1) is is_secret
    dialog.locator("input[name=element_region]").fill(quick.emulator.region)
    dialog.locator("input[name=element_bucket]").fill(quick.emulator.bucket)
    dialog.locator("input[name=element_endpoint_url]").fill(quick.emulator.url)
    dialog.get_by_text("Region", exact=True).scroll_into_view_if_needed()
    picture(page, "connection-form")
    dialog.get_by_role("button", name="Save").click()

    row = page.get_by_role("row").filter(has_text="by_form")
    row.wait_for()
    with page.expect_response(re.compile("/connections/test$")) as answered:
        row.get_by_role("button", name="Test Connection").click()
    answer: Any = answered.value
    assert answer.status == 200, answer.text()
    said = answer.json()
    assert said["status"] is True
    assert f"Bucket {quick.emulator.bucket} in {quick.emulator.region} responds" in said["message"]

    quick.put("form", 1)
    run_id = stack.trigger("by_form", {"prefix": "form"})
    assert stack.wait_for_run("by_form", run_id, 90) == "success", stack.task_logs("by_form")
    (job_id,) = quick.accepted("form")
    assert stack.xcom("by_form", run_id, "separate") == job_id

    page.goto(f"{stack.url}/dags/by_form/runs/{run_id}/tasks/separate/details")
    for name in ("Cloud Infinite jobs", "Separated files"):
        link = page.get_by_role("link", name=name)
        link.wait_for()
        address = link.get_attribute("href") or ""
        assert address.startswith("https://console.cloud.tencent.com/")
        assert quick.emulator.bucket in address
        assert "sign" not in address
    picture(page, "task-links")


def test_the_example_in_the_grid(page: Page, stack: AirflowStack, quick: Service, tmp_path: Path) -> None:
    """On a recording so short that its job has ended when the sensor first looks: a task resumed within
    a second of being rescheduled may be failed by Airflow's scheduler (docs/waiting.md).
    """
    given = quick.emulator.connection
    connection = {name: given[name] for name in ("conn_type", "login", "password")}
    extra = {"extra": json.dumps(given["extra"])}
    stack.api("POST", "/connections", json={"connection_id": "tencent_ci_default"} | connection | extra)
    quick.put("grid", 1)
    conf = {"input_object": "grid/0.wav", "codec": "wav", "download_dir": str(tmp_path / "results")}
    dag_id = "example_voice_separate"
    for _ in range(3):
        run_id = stack.trigger(dag_id, conf)
        assert stack.wait_for_run(dag_id, run_id, 120) == "success", stack.task_logs(dag_id)

    page.set_viewport_size({"width": 1500, "height": 700})  # narrower, the grid's squares are hidden
    page.goto(f"{stack.url}/dags/{dag_id}/runs/{run_id}")
    for task in ("submit", "wait", "download"):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=task, exact=True))
        row.get_by_text("Success").first.wait_for()
    picture(page, "grid")
