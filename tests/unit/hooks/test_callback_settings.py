"""The address of the callback endpoint, and its secret, in a connection."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from airflow_provider_ci.exceptions import ConfigurationError, ServiceError, TencentCIError
from airflow_provider_ci.hooks import callback_settings
from airflow_provider_ci.hooks.callback_settings import hide_callback_secret, with_callback_address
from airflow_provider_ci.submission.idempotency_key import fingerprint
from tests.unit.hooks.test_connection import settings

SECRET = "the-callback-secret-of-the-tests-00"
BASE = "https://airflow.example.com"
JOB = {"Tag": "VoiceSeparate", "CallBack": "auto", "Operation": {"Output": {"Object": "a"}}}
BATCH = {"Name": "b", "Operation": {"Tag": "VoiceSeparate", "CallBack": "auto"}}


@pytest.fixture(autouse=True)
def airflow_3_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_settings, "AIRFLOW_MINOR", (3, 3))


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


@pytest.mark.parametrize("request_", [JOB, BATCH])
def test_the_address_replaces_auto(request_: dict[str, Any]) -> None:
    read = with_callbacks()
    sent = with_callback_address(request_, read)
    assert "auto" not in str(sent)
    assert SECRET in str(sent)
    assert "auto" in str(request_), "the request that is compared and recorded stays as it was"


@pytest.mark.parametrize("url", ["no", "https://hooks.example.org/ci", None])
def test_another_address_stays(url: str | None) -> None:
    request = {"Tag": "VoiceSeparate", "CallBack": url}
    assert with_callback_address(request, with_callbacks()) is request
    assert with_callback_address(request, settings()) is request


def test_a_new_secret_is_no_other_request() -> None:
    assert SECRET not in fingerprint(JOB, "media-1250000001 ap-guangzhou")
    assert fingerprint(JOB, "b r") == fingerprint(dict(JOB), "b r")


def test_a_connection_without_an_endpoint_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'ci' has no callback_base_url.*Set callback_base_url"):
        with_callback_address(JOB, settings())


def test_an_older_airflow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_settings, "AIRFLOW_MINOR", (3, 2))
    with pytest.raises(ConfigurationError, match=r"needs Airflow 3\.3 or newer"):
        with_callback_address(JOB, with_callbacks())


def test_an_error_that_quotes_the_address_has_no_secret() -> None:
    text = f"{BASE}/tencent-ci/callbacks/ci/{SECRET}"
    outer = TencentCIError(f"unknown: {text}", hint=text)
    outer.__cause__ = ServiceError(f"refused: {text}", service_message=text)
    with pytest.raises(TencentCIError), hide_callback_secret(with_callbacks()):
        raise outer
    error: BaseException | None = outer
    for _ in range(2):
        assert error is not None
        assert SECRET not in str(error) + repr(error) + str(error.__dict__)
        assert SECRET not in str(pickle.loads(pickle.dumps(error)).args)
        error = error.__cause__
