"""What the policy decides for each error, on Airflow 3.3 and newer, and that older versions have none."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci import exceptions, retry_policy
from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.wire import HttpResponse
from airflow_provider_ci.retry_policy import tencent_ci_retry_policy
from tests.airflow_version import HAS_RETRY_POLICIES
from tests.conftest import Logs

needs_policies = pytest.mark.skipif(not HAS_RETRY_POLICIES, reason="Airflow before 3.3 has no policies")


def decide(error: BaseException) -> tuple[str, timedelta | None]:
    """Return what the policy decides, after the way that an error takes to it in a mapped task."""
    policy = pickle.loads(pickle.dumps(tencent_ci_retry_policy()))
    decision = policy.evaluate(error, try_number=1, max_tries=3)
    return decision.action.value, decision.retry_delay


def response(status: int, code: str) -> TencentCIError:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return service_error(HttpResponse(status, {}, body), "submit the job")


@needs_policies
@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (exceptions.RequestValidationError("bad"), ("fail", None)),
        (exceptions.ConfigurationError("bad"), ("fail", None)),
        (TaskArgumentError("bad"), ("fail", None)),
        (response(400, "InvalidArgument"), ("fail", None)),
        (response(400, "MalformedXML"), ("fail", None)),
        (response(403, "AccessDenied"), ("fail", None)),
        (response(403, "InvalidAccessKeyId"), ("fail", None)),
        (response(400, "AsrBucketUnBinded"), ("fail", None)),
        (response(404, "NoSuchBucket"), ("fail", None)),
        (response(404, "TemplateNotFound"), ("fail", None)),
        (response(301, "PermanentRedirect"), ("fail", None)),
        (exceptions.ResponseTooLargeError("large"), ("fail", None)),
        (response(403, "RequestTimeTooSkewed"), ("retry", timedelta(minutes=1))),
        (response(429, "SlowDown"), ("retry", timedelta(minutes=1))),
        (response(403, "QueueSaturated"), ("retry", timedelta(minutes=10))),
        (response(403, "QueuePaused"), ("retry", timedelta(minutes=10))),
        (response(503, "ServiceUnavailable"), ("default", None)),
        (exceptions.TransportError("lost"), ("default", None)),
        (exceptions.AmbiguousSubmissionError("perhaps"), ("default", None)),
        (exceptions.InvalidResponseError("HTML"), ("default", None)),
        (exceptions.JobFailedError("failed"), ("default", None)),
        (response(400, "ResourceDownloadFailed"), ("default", None)),
        (
            service_error(HttpResponse(404, {}, b"<html>A gateway</html>"), "submit the job"),
            ("default", None),
        ),
        # the retry looks for the job before it submits another
        (exceptions.JobNotFoundError("not found"), ("default", None)),
        (exceptions.CredentialsError("STS is down", transient=True), ("default", None)),
        # nothing was sent, and another worker may have the environment, the file or the role
        (exceptions.CredentialsError("no keys"), ("default", None)),
        (KeyError("of the DAG"), ("default", None)),
    ],
    ids=repr,
)
def test_each_error_has_its_decision(error: BaseException, decision: Any) -> None:
    assert decide(error) == decision


@needs_policies
def test_airflow_stores_the_policy_with_a_dag() -> None:
    policy = tencent_ci_retry_policy()
    assert policy is not None
    copy = type(policy).deserialize(policy.serialize())
    assert copy.serialize() == policy.serialize()
    assert copy.evaluate(response(429, "SlowDown"), 1, 3).retry_delay == timedelta(minutes=1)


def test_before_airflow_3_3_there_is_none(mocker: MockerFixture, logs: Logs) -> None:
    mocker.patch.object(retry_policy, "AIRFLOW_MINOR", (3, 2))
    assert tencent_ci_retry_policy() is None
    assert logs.at("info")[0].endswith("retries and retry_delay of each task apply")
