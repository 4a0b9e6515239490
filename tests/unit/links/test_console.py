"""The URLs of the console, and when operator and sensor push them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from airflow_provider_ci.exceptions import JobFailedError
from airflow_provider_ci.get_provider_info import get_provider_info
from airflow_provider_ci.links.console import (
    ConsoleLinks,
    TencentCIJobsLink,
    TencentCIResultsLink,
    jobs_url,
    results_url,
)
from airflow_provider_ci.operators.base_job import XCOM_JOB
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.protocol.jobs import SUCCESS, Job
from airflow_provider_ci.protocol.results import JobResult, job_result
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.scripted_server import ScriptedServer, after, jobs

BUCKET, REGION = "media-1250000001", "ap-guangzhou"
JOBS_PAGE = f"https://console.cloud.tencent.com/ci/bucket?bucket={BUCKET}&region={REGION}"
FILES_PAGE = f"https://console.cloud.tencent.com/cos/bucket?bucket={BUCKET}&region={REGION}"


def result(*keys: str, bucket: str | None = BUCKET, state: str = SUCCESS) -> JobResult:
    """Return the result of a job whose input and outputs are in ``bucket``."""
    written = {"Bucket": bucket, "Region": REGION, "ObjectName": [*keys]}
    return job_result(
        Job(
            job_id="j1",
            state=state,
            input={"BucketId": bucket, "Region": REGION, "Object": "in/a.mp3"},
            operation={"MediaResult": {"OutputFile": written}},
        )
    )


def folder(url: str | None) -> str:
    """Return the folder that the console opens, which escapes it once more than a URL needs."""
    assert url is not None
    (path,) = parse_qs(urlsplit(url).query)["path"]
    return unquote(path)


class TestAddresses:
    def test_of_the_jobs_and_of_the_results(self) -> None:
        both = result("out/j1/voice.mp3", "out/j1/background.mp3")
        assert jobs_url([both]) == JOBS_PAGE
        assert results_url([both]) == f"{FILES_PAGE}&path=%252Fout%252Fj1%252F"

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            (["out/voice.mp3"], "/out/"),
            (["out/a/voice.mp3", "out/b/voice.mp3"], "/out/"),
            (["out/voice1.mp3", "out/voice2.mp3"], "/out/"),
            (["人声/a b&c=d+e%2F/x.mp3"], "/人声/a b&c=d+e%2F/"),
        ],
    )
    def test_the_results_link_leads_to_the_folder_of_all_results(
        self, keys: list[str], expected: str
    ) -> None:
        assert folder(results_url([result(*keys)])) == expected

    @pytest.mark.parametrize("keys", [["voice.mp3"], ["a/voice.mp3", "b/background.mp3"]])
    def test_without_a_common_folder_it_leads_to_the_bucket(self, keys: list[str]) -> None:
        assert results_url([result(*keys)]) == FILES_PAGE

    def test_of_several_buckets_it_leads_to_the_first(self) -> None:
        url = results_url([result("a/1.mp3"), result("b/2.mp3", bucket="other-1250000001")])
        assert url == f"{FILES_PAGE}&path=%252Fa%252F"

    def test_for_several_jobs_it_leads_to_the_folder_of_all(self) -> None:
        assert folder(results_url([result("out/1/a.mp3"), result("out/2/a.mp3")])) == "/out/"

    def test_without_bucket_or_region_there_is_no_url(self) -> None:
        assert jobs_url([]) is results_url([]) is None
        assert jobs_url([job_result(Job())]) is results_url([job_result(Job())]) is None
        assert jobs_url([job_result(Job(input={"BucketId": BUCKET}))]) is None
        assert jobs_url([result("a.mp3", bucket=None)]) is None
        assert results_url([result("a.mp3", bucket=None)]) is None

    def test_a_job_that_has_not_ended_has_no_results_link(self, make_context: Callable[..., Any]) -> None:
        context = make_context()
        ConsoleLinks().push(context, [result(state="Running")])
        assert context["ti"].xcoms == [JOBS_LINK, NO_RESULTS]


DONE = (
    f"<JobsDetail><JobId>j1</JobId><State>Success</State>"
    f"<Input><BucketId>{BUCKET}</BucketId><Region>{REGION}</Region><Object>in/a.mp3</Object></Input>"
    f"<Operation><Output/><MediaResult><OutputFile><Bucket>{BUCKET}</Bucket><Region>{REGION}</Region>"
    "<ObjectName>out/a.mp3</ObjectName></OutputFile></MediaResult></Operation></JobsDetail>"
)
RUNNING = DONE[: DONE.index("<Operation>")].replace("Success", "Running") + "</JobsDetail>"
JOBS_LINK = (TencentCIJobsLink.xcom_key, JOBS_PAGE)
NO_RESULTS = (TencentCIResultsLink.xcom_key, "")
RESULTS_LINK = (TencentCIResultsLink.xcom_key, f"{FILES_PAGE}&path=%252Fout%252F")


def links(context: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in context["ti"].xcoms if key.startswith("_link_")]


class TestPushing:
    @pytest.fixture
    def context(self, make_context: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        return make_context()

    def test_the_operator_pushes_before_it_waits_and_at_the_end(
        self, server: ScriptedServer, connection: Callable[..., str], context: dict[str, Any]
    ) -> None:
        connection(server.url)
        at_first_poll: list[tuple[str, Any]] = []

        server.play(jobs(RUNNING), after(lambda: at_first_poll.extend(links(context)), jobs(DONE)))
        operator = VoiceSeparateOperator(
            task_id="submit",
            input_object="in/a.mp3",
            voice_object="out/a.mp3",
            wait_for_completion=True,
            poll_interval=0.1,
        )
        operator.execute(context)
        operator.hook.close()
        assert at_first_poll == [JOBS_LINK, NO_RESULTS]
        assert links(context) == [JOBS_LINK, NO_RESULTS, JOBS_LINK, RESULTS_LINK]
        assert context["ti"].xcoms[-1][0] == XCOM_JOB

    @pytest.fixture
    def make_sensor(
        self, server: ScriptedServer, connection: Callable[..., str]
    ) -> Callable[..., TencentCIJobSensor]:
        connection(server.url)
        return lambda **arguments: TencentCIJobSensor(
            task_id="wait", job_id="j1", poke_interval=0, **arguments
        )

    def test_the_sensor_pushes_once_while_it_waits_and_at_the_end(
        self, server: ScriptedServer, make_sensor: Callable[..., TencentCIJobSensor], context: dict[str, Any]
    ) -> None:
        server.play(jobs(RUNNING), jobs(RUNNING), jobs(RUNNING), jobs(DONE))
        sensor = make_sensor()
        sensor.execute(context)
        sensor.hook.close()
        assert links(context) == [JOBS_LINK, NO_RESULTS, JOBS_LINK, RESULTS_LINK]

    def test_the_sensor_of_a_failed_job_pushes_the_jobs_link(
        self, server: ScriptedServer, make_sensor: Callable[..., TencentCIJobSensor], context: dict[str, Any]
    ) -> None:
        server.play(jobs(RUNNING.replace("Running", "Failed")))
        sensor = make_sensor()
        with pytest.raises(JobFailedError):
            sensor.execute(context)
        sensor.hook.close()
        assert links(context) == [JOBS_LINK, NO_RESULTS]

    def test_without_xcom_push_nothing_is_pushed(
        self, server: ScriptedServer, make_sensor: Callable[..., TencentCIJobSensor], context: dict[str, Any]
    ) -> None:
        server.play(jobs(DONE))
        sensor = make_sensor(do_xcom_push=False)
        sensor.execute(context)
        sensor.hook.close()
        assert context["ti"].xcoms == []


class TestRegistration:
    @pytest.mark.parametrize("owner", [VoiceSeparateOperator, TencentCIJobSensor])
    def test_operator_and_sensor_have_both_links(self, owner: type[Any]) -> None:
        assert [type(link) for link in owner.operator_extra_links] == [
            TencentCIJobsLink,
            TencentCIResultsLink,
        ]

    def test_the_provider_info_names_the_classes(self) -> None:
        paths = [f"{link.__module__}.{link.__name__}" for link in (TencentCIJobsLink, TencentCIResultsLink)]
        assert get_provider_info()["extra-links"] == paths

    def test_the_keys_are_those_under_which_airflow_3_looks(self) -> None:
        for link in (TencentCIJobsLink, TencentCIResultsLink):
            assert link.xcom_key == f"_link_{link.__name__}"
