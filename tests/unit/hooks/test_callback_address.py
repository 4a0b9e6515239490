"""The address of the callback endpoint in requests, and its secret in errors."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from airflow_provider_ci.exceptions import ConfigurationError, ServiceError, TencentCIError
from airflow_provider_ci.hooks import callback_address
from airflow_provider_ci.hooks.callback_address import hide_callback_secret, with_callback_address
from airflow_provider_ci.submission.idempotency_key import fingerprint
from tests.unit.hooks.test_callback_settings import BASE, SECRET, with_callbacks
from tests.unit.hooks.test_connection import settings

JOB = {"Tag": "VoiceSeparate", "CallBack": "auto", "Operation": {"Output": {"Object": "a"}}}
BATCH = {"Name": "b", "Operation": {"Tag": "VoiceSeparate", "CallBack": "auto"}}


@pytest.fixture(autouse=True)
def airflow_3_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_address, "AIRFLOW_MINOR", (3, 3))


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
    monkeypatch.setattr(callback_address, "AIRFLOW_MINOR", (3, 2))
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
