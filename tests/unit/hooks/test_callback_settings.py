"""The address of the callback endpoint, and its secret, in a connection."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import ConfigurationError
from tests.unit.hooks.test_connection import settings

SECRET = "the-callback-secret-of-the-tests-00"
BASE = "https://airflow.example.com"


def with_callbacks(**extra: Any) -> Any:
    return settings(**({"callback_base_url": BASE, "callback_secret": SECRET} | extra))


def test_without_the_fields_there_is_no_endpoint() -> None:
    assert settings().callbacks is None


def test_defaults() -> None:
    callbacks = with_callbacks().callbacks
    assert (callbacks.poll_interval, callbacks.asset) == (900, None)


@pytest.mark.parametrize(
    ("base", "address"),
    [
        (BASE, f"{BASE}/tencent-ci/callbacks/ci/{SECRET}"),
        (f"{BASE}:8443/", f"{BASE}:8443/tencent-ci/callbacks/ci/{SECRET}"),
        (f"{BASE}/a/b", f"{BASE}/a/b/tencent-ci/callbacks/ci/{SECRET}"),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:8080/tencent-ci/callbacks/ci/{SECRET}"),
    ],
)
def test_the_address(base: str, address: str) -> None:
    assert with_callbacks(callback_base_url=base).callbacks.address("ci") == address


def test_an_asset_for_the_jobs_of_the_connection_s_bucket() -> None:
    read = with_callbacks(callback_asset="finished_jobs", bucket="media-1250000001", region="ap-guangzhou")
    assert read.callbacks.asset == "finished_jobs"


def test_an_id_with_unusual_characters_is_one_part_of_the_path() -> None:
    assert "/callbacks/a%2Fb%20c/" in with_callbacks().callbacks.address("a/b c")


@pytest.mark.parametrize(
    "fields",
    [
        {"callback_secret": "too-short"},
        {"callback_secret": "with a space which is not allowed 000"},
        {"callback_secret": None},
        {"callback_base_url": None},
        {"callback_base_url": "airflow.example.com"},
        {"callback_base_url": f"{BASE}?a=b"},
        {"callback_base_url": "https://[bad"},
        {"callback_base_url": "http://airflow.example.com"},
        {"callback_base_url": f"https://user:{SECRET}@airflow.example.com/x?y"},
        {"callback_poll_interval": 0},
        {"callback_poll_interval": "often"},
        {"callback_asset": "finished_jobs"},
        {"callback_asset": "finished_jobs", "bucket": "media-1250000001"},
    ],
)
def test_a_field_that_is_not_allowed_is_named_without_a_secret(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(fields))) as caught:
        with_callbacks(**fields)
    assert SECRET not in str(caught.value)
    assert "user" not in str(caught.value)


def test_plain_http_needs_permission() -> None:
    assert with_callbacks(callback_base_url="http://airflow.example.com", allow_http=True).callbacks


def test_the_secret_is_masked_and_not_shown() -> None:
    read = with_callbacks()
    assert SECRET in read.secrets
    assert SECRET not in repr(read)


@pytest.mark.parametrize("text", [SECRET[:-1], SECRET + "x", "", "\ud800", "é" * 35])
def test_only_the_secret_is_the_secret(text: str) -> None:
    callbacks = with_callbacks().callbacks
    assert callbacks.is_secret(SECRET)
    assert not callbacks.is_secret(text)
