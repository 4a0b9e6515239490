"""Whatever the service, or what answers in its place, sends: a value or a typed error, soon."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import InvalidResponseError, ServiceError, TencentCIError
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.ended_jobs import ended_job_event
from airflow_provider_ci.protocol.errors import is_not_accepted, is_retryable, server_time, service_error
from airflow_provider_ci.protocol.jobs import Job, JobsResponse
from airflow_provider_ci.protocol.lists import PagedRequest
from airflow_provider_ci.protocol.results import BatchTally, batch_result, job_result
from airflow_provider_ci.protocol.wire import HttpResponse
from tests.remote_calls import remote_calls

from .documents import TEXTS, bodies
from .effort import effort, quickly
from .models import check_model

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ERROR_MAX = 4000  # characters of the longest error that may be shown


def instance(call: type[ApiRequest[Any]]) -> ApiRequest[Any]:
    """Return a call with any arguments, which do not matter for how its answer is read."""
    hints, model = get_type_hints(call), cast("type[DataclassInstance]", call)
    needed = [field for field in fields(model) if field.default is field.default_factory is MISSING]
    return call(**{field.name: _argument(hints[field.name]) for field in needed})


def _argument(hint: Any) -> Any:
    if get_origin(hint) is Mapping:
        return {"Tag": "VoiceSeparate"}
    return "j1" if hint is str else ("j1",)


CALLS: Sequence[ApiRequest[Any]] = [instance(call) for call in remote_calls()]

STATUSES = st.sampled_from((200, 200, 200, 204, 206, 301, 400, 401, 403, 404, 408, 429, 500, 503, 0, 999))
HEADER_TEXTS = st.sampled_from(
    (
        *(text for text in TEXTS if "\n" not in text),
        *("Sun, 22 Nov 2026 00:00:00 GMT", "Sun, 99 Nov 2026", "Sun, 22 Nov 9999999 00:00:00 +9999", "0"),
        *("22 Nov 0000 00:00:00", "-1", "5, 5", "http://a.ci.ap-guangzhou.myqcloud.com/", "," * 3000),
    )
)
HEADERS = st.dictionaries(
    st.sampled_from(
        (
            *("content-length", "date", "retry-after", "location", "etag", "content-type"),
            *(
                "x-ci-request-id",
                "x-cos-request-id",
                "x-cos-storage-class",
                "x-cos-storage-tier",
                "x-cos-restore",
            ),
        )
    ),
    HEADER_TEXTS,
    max_size=6,
)
RESPONSES = st.builds(HttpResponse, STATUSES, HEADERS, bodies())


def check_error(error: TencentCIError) -> None:
    """It can be shown, sent between processes, and judged."""
    assert isinstance(error, ServiceError | InvalidResponseError)
    assert len(str(error)) < _ERROR_MAX
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    is_retryable(error)
    is_not_accepted(error)


def check_value(value: Any) -> None:
    """It has the types that it is annotated with, and can go into an XCom."""
    for part in value if isinstance(value, tuple | list) else (value,):
        if is_dataclass(part):
            check_model(part)
    for job in getattr(value, "jobs_detail", None) or ():
        if isinstance(job, Job):
            tally = BatchTally()
            tally.add(job)
            content = [job_result(job), ended_job_event(job), tally.unsuccessful]
            json.dumps(content, allow_nan=False).encode()
        if isinstance(job, BatchJob):
            json.dumps(batch_result(job, BatchTally()), allow_nan=False).encode()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading an answer asks nobody for anything."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_all_calls_are_tried() -> None:
    assert {type(call) for call in CALLS} == set(remote_calls())
    assert len(CALLS) > 15


@effort(150)
@given(RESPONSES)
def test_every_call_reads_or_rejects_any_response(response: HttpResponse) -> None:
    for call in CALLS:
        with quickly():
            try:
                value = call.parse(response)
                if isinstance(call, PagedRequest):
                    list(call.items(value))
                    call.next_page(value)
                check_value(value)
            except TencentCIError as error:
                check_error(error)


@effort(150)
@given(RESPONSES)
def test_every_error_response_becomes_an_exception(response: HttpResponse) -> None:
    with quickly():
        check_error(service_error(response, "do it"))
        moment = server_time(response)
    assert moment is None or isinstance(moment, float)


@effort(60)
@given(st.lists(st.sampled_from(TEXTS), min_size=8, max_size=8))
def test_results_are_assigned_to_outputs_in_bounded_time(texts: list[str]) -> None:
    tags = ("Object", "AuObject", "BassObject", "DrumObject")
    output = "".join(f"<{tag}>{_escaped(text)}</{tag}>" for tag, text in zip(tags, texts, strict=False))
    names = "".join(f"<ObjectName>{_escaped(text)}</ObjectName>" for text in texts[4:])
    body = (
        "<Response><JobsDetail><JobId>j1</JobId><State>Success</State>"
        f"<Operation><Output>{output}</Output><MediaResult><OutputFile>{names}</OutputFile></MediaResult>"
        "</Operation></JobsDetail></Response>"
    )
    call = next(call for call in CALLS if type(call).__name__ == "DescribeJobs")
    with quickly():
        answer: JobsResponse = call.parse(HttpResponse(200, {}, body.encode()))
        check_value(answer)


def _escaped(text: str) -> str:
    letters = "".join(letter for letter in text if letter.isprintable())
    return letters.replace("&", "&amp;").replace("<", "&lt;")
