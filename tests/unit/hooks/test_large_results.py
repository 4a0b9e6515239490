"""Responses that are too large, because the results of several jobs are in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import InvalidResponseError, ResponseTooLargeError
from airflow_provider_ci.hooks.ci import TencentCIHook
from tests.scripted_server import Answer, Recorded, ScriptedServer, http, jobs

LARGE = "x" * 4000


@pytest.fixture(autouse=True)
def three_fit(mocker: MockerFixture) -> None:
    """A response may have the results of three jobs."""
    mocker.patch("airflow_provider_ci.hooks.transport.MAX_BYTES", 14_000)


def detail(job_id: str, text: str = LARGE) -> str:
    result = (
        f"<Operation><SpeechRecognitionResult><Result>{text}</Result></SpeechRecognitionResult></Operation>"
    )
    return f"<JobsDetail><JobId>{job_id}</JobId><State>Success</State>{result}</JobsDetail>"


def described(sent: Recorded) -> Answer:
    return jobs(*map(detail, sent.path.removeprefix("/jobs/").split(",")), unknown=("gone",))


def counts(server: ScriptedServer) -> list[int]:
    return [len(sent.path.split(",")) for sent in server.requests]


def test_fewer_jobs_are_described_at_a_time(
    hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
) -> None:
    server.always("GET", described)
    ids = [f"s{number}" for number in range(12)]
    response = hook.describe_jobs(ids)
    assert [job.job_id for job in response.jobs_detail] == ids
    assert set(response.non_exist_job_ids) == {"gone"}
    assert counts(server) == [10, 5, 3, 2, 5, 3, 2, 2]
    assert pauses == [], "the same request would have the same response"


def test_one_job_that_is_too_large_is_an_error(
    make_hook: Callable[..., TencentCIHook], server: ScriptedServer
) -> None:
    server.always("GET", lambda sent: jobs(detail("s1", LARGE * 4)))
    with pytest.raises(ResponseTooLargeError, match="larger than 14000 bytes") as caught:
        make_hook(max_attempts=5).describe_jobs(["s1"])
    assert isinstance(caught.value, InvalidResponseError)
    assert len(server.requests) == 1


def test_a_list_has_smaller_pages_from_then_on(hook: TencentCIHook, server: ScriptedServer) -> None:
    ids = [f"s{number}" for number in range(9)]

    def listed(sent: Recorded) -> Answer:
        start = int(sent.params.get("nextToken", "0"))
        end = min(start + int(sent.params["size"]), len(ids))
        return jobs(*map(detail, ids[start:end]), next_token=str(end) if end < len(ids) else "")

    server.always("GET", listed)
    assert [job.job_id for job in hook.list_jobs(tag="SpeechRecognition", size=8)] == ids
    pages = [(sent.params.get("nextToken"), sent.params["size"]) for sent in server.requests]
    expected = [(None, "8"), (None, "4"), (None, "2"), *((str(start), "2") for start in (2, 4, 6, 8))]
    assert pages == expected
    assert {sent.params["tag"] for sent in server.requests} == {"SpeechRecognition"}


def test_a_page_of_one_job_that_is_too_large_is_an_error(hook: TencentCIHook, server: ScriptedServer) -> None:
    server.always("GET", lambda sent: jobs(detail("s1", LARGE * 4)))
    with pytest.raises(ResponseTooLargeError):
        list(hook.list_jobs(tag="SpeechRecognition", size=4))
    assert [sent.params["size"] for sent in server.requests] == ["4", "2", "1"]


def test_a_list_whose_pages_are_numbered_is_not_divided(hook: TencentCIHook, server: ScriptedServer) -> None:
    server.play(http("x" * 15_000))
    with pytest.raises(ResponseTooLargeError):
        list(hook.templates.list())


def test_the_result_of_a_job_is_complete(
    make_hook: Callable[..., TencentCIHook], server: ScriptedServer, mocker: MockerFixture
) -> None:
    mocker.patch("airflow_provider_ci.hooks.transport.MAX_BYTES", 1_000_000)
    server.play(jobs(detail("s1", LARGE * 20)))
    result = make_hook().job_result("s1")
    assert result["result"] == {"SpeechRecognitionResult": {"Result": LARGE * 20}}
    assert result["result_is_complete"]
    assert (result["job_id"], result["state"]) == ("s1", "Success")
