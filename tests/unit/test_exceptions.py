"""The public errors: what they say, what they carry, and that they survive a pickle."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from airflow_provider_ci import exceptions
from airflow_provider_ci.exceptions import (
    ConfigurationError,
    JobError,
    JobFailedError,
    RequestValidationError,
    ServerError,
    ServiceError,
    TencentCIError,
    ThrottledError,
    TransportError,
    strip_signatures,
)

CLASSES = [
    found
    for found in vars(exceptions).values()
    if inspect.isclass(found) and found.__module__ == exceptions.__name__
]
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
DETAILS = {
    "status": 403,
    "code": "QueueSaturated",
    "service_message": "The queue is full.",
    "request_id": "NjQ",
    "job_id": "j1",
    "hint": "Wait a little",
}


def made(cls: type[TencentCIError]) -> TencentCIError:
    own = (
        {"sent": False} if cls is TransportError else {"state": "Failed"} if issubclass(cls, JobError) else {}
    )
    error = cls("Cannot submit the job", **DETAILS, **own)
    if hasattr(cls, "retry_after"):
        error.retry_after = 7.0
    return error


def test_all_classes_are_seen():
    assert len(CLASSES) > 20


@every_class
def test_one_except_catches_all(cls):
    assert issubclass(cls, TencentCIError)
    assert cls.__doc__


@pytest.mark.parametrize("cls", [RequestValidationError, ConfigurationError])
def test_a_mistake_of_the_user_is_a_value_error(cls):
    assert issubclass(cls, ValueError)


@pytest.mark.parametrize("name", ["JobFailed", "JobCancelled", "JobNotFound", "JobTimeout", "TaskKilled"])
def test_job_errors(name):
    assert issubclass(getattr(exceptions, f"{name}Error"), JobError)


@pytest.mark.parametrize(
    "name",
    [
        "Authentication",
        "PermissionDenied",
        "NotFound",
        "InvalidRequest",
        "WrongEndpoint",
        "Throttled",
        "QueueFull",
        "QueuePaused",
        "Server",
    ],
)
def test_service_errors(name):
    assert issubclass(getattr(exceptions, f"{name}Error"), ServiceError)


@pytest.mark.parametrize("name", ["Transport", "InvalidResponse", "AmbiguousSubmission", "RequestValidation"])
def test_an_error_without_a_response_is_not_a_service_error(name):
    assert not issubclass(getattr(exceptions, f"{name}Error"), ServiceError)


@every_class
def test_a_copy_equals_the_original_and_has_all_details(cls):
    error = made(cls)
    for duplicate in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(duplicate) is cls
        assert str(duplicate) == str(error)
        assert duplicate.__dict__ == error.__dict__
    assert str(error) == (
        "Cannot submit the job: QueueSaturated: The queue is full. (HTTP 403, job j1, request id NjQ)."
        " Wait a little"
    )


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({}, "Message"),
        ({"code": "C"}, "Message: C"),
        ({"service_message": "M"}, "Message: M"),
        ({"status": 500}, "Message (HTTP 500)"),
        ({"job_id": "j1"}, "Message (job j1)"),
        ({"request_id": "r"}, "Message (request id r)"),
        ({"hint": "Do this"}, "Message. Do this"),
        ({"code": "", "service_message": "", "request_id": "", "job_id": "", "hint": ""}, "Message"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_the_message_leaves_out_unknown_details(details, text):
    assert str(TencentCIError("Message", **details)) == text


def test_a_job_named_in_the_message_is_not_named_twice():
    assert str(JobFailedError("Job j1 failed", job_id="j1")) == "Job j1 failed"


def test_what_the_service_calls_an_error_is_shortened():
    error = ServiceError("Cannot do it", code="c" * 60_000, request_id="r" * 60_000)
    assert len(str(error)) < 500


def test_the_services_message_is_shortened():
    error = TencentCIError("Message", service_message="x" * 5000)
    assert error.service_message == "x" * 1000
    assert len(str(error)) < 1100


def test_a_message_that_is_absent_stays_absent():
    assert TencentCIError("Message").service_message is None


@pytest.mark.parametrize("problems", [["a is 1", "b is 2"], ("a is 1", "b is 2")], ids=["list", "tuple"])
def test_the_message_has_all_problems(problems):
    error = RequestValidationError(problems, hint="Look")
    assert str(error) == "Nothing was sent: a is 1; b is 2. Look"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_request_counts_as_sent_by_default():
    assert TransportError("lost").sent
    assert not TransportError("refused", sent=False).sent


@pytest.mark.parametrize("cls", [ThrottledError, ServerError])
def test_advice_belongs_to_one_error(cls):
    error = cls("x")
    assert error.retry_after is None
    error.retry_after = 7.0
    assert cls("x").retry_after is None


def test_a_very_long_text_is_cut_off_before_it_is_searched() -> None:
    shown = strip_signatures("ab " * 20_000)
    assert len(shown) == 4000
    hidden = strip_signatures("x" * 3980 + "&sign=hunter2 and more hunter2")
    assert "hunter" not in hidden
    assert strip_signatures("x" * 3990 + "&sign=hunter2").endswith("&sign=…")
