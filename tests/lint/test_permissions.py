"""docs/permissions.md allows what the code does: each remote call names its actions, which the page has.

``tests/live/test_permissions.py`` compares the policy of the kit with what it requests.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.jobs import CancelJobs, DescribeJobs, ListJobs, SubmitJob
from tests.remote_calls import remote_calls

PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text("utf-8")
ROLE = "cam:PassRole"
TITLES = ["Submit, wait, cancel", "Everything", "make live"]


CALLS = remote_calls()


def actions_of(*calls: type[ApiRequest[Any]]) -> set[str]:
    return {action for call in calls for action in getattr(call, "cam_actions", ())}


def policies() -> dict[str, dict[str, Any]]:
    """Return the page's policies by their headings."""
    parts = re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return {title: json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0]) for title, text in parts}


def allowed(title: str) -> dict[str, list[str]]:
    """Return the resources of each action that a policy allows."""
    statements = policies()[title]["statement"]
    return {action: one["resource"] for one in statements for action in one["action"]}


def test_all_calls_are_seen() -> None:
    assert {"SubmitJob", "DescribeJobs", "ListJobs", "CancelJobs", "GetObject", "PutObject"} <= {
        call.__name__ for call in CALLS
    }


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_every_call_names_its_actions_and_the_page_allows_them(call: type[ApiRequest[Any]]) -> None:
    actions = getattr(call, "cam_actions", ())
    assert actions, f"{call.__name__} needs the class attribute cam_actions"
    for action in actions:
        assert re.fullmatch(r"(ci|cos):[A-Z][A-Za-z]+", action)
        assert action in allowed("Everything")
        assert f"`{action}`" in PAGE, "the table, which says what for"


def test_nothing_is_allowed_that_no_call_needs() -> None:
    needed = actions_of(*CALLS) | {ROLE}
    assert set(allowed("Everything")) == needed


def test_the_smaller_policy_allows_no_more_than_it_says() -> None:
    jobs = actions_of(SubmitJob, DescribeJobs, ListJobs, CancelJobs)
    assert set(allowed("Submit, wait, cancel")) == jobs | {ROLE}


@pytest.mark.parametrize("title", TITLES)
def test_policies_are_of_the_form_that_cam_takes(title: str) -> None:
    policy = policies()[title]
    assert policy["version"] == "2.0"
    for statement in policy["statement"]:
        assert set(statement) == {"effect", "action", "resource"}
        assert statement["effect"] == "allow"
    for action, (resource,) in allowed(title).items():
        service = action.partition(":")[0]
        if re.fullmatch(r"ci:Describe\w+Buckets", action):
            assert resource == "*", "always refused on a bucket"
        else:
            assert re.fullmatch(rf"qcs::{service}:(REGION)?:(uid/APPID|uin/OWNERUIN):\S+", resource)


def test_policies_are_listed() -> None:
    assert list(policies()) == TITLES
