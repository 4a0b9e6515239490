"""The calls about the jobs of a bucket that a submission needs, against scripted responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_ci.exceptions import ThrottledError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.batch_job import BatchJobsFailedError, TencentCIBatchJobOperator
from airflow_provider_ci.operators.bucket_jobs import BatchesOfBucket, JobsOfBucket
from airflow_provider_ci.protocol.batches import BatchJob
from tests.conftest import BUCKET, REGION
from tests.scripted_server import ScriptedServer, error, jobs
from tests.unit.submission.simulated_world import REQUEST

PLACE: Any = {"bucket": BUCKET, "region": REGION}
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
UNDOCUMENTED = [
    "SoundHound",
    "VocalScore",
    "SpeechRecognition",
    "FileCompress",
    "PicProcess",
    "Translation",
    "Newest",
]
DOCUMENTED = ["VoiceSeparate", "NoiseReduction", "Tts", "Transcode"]


@pytest.fixture
def hook(server: ScriptedServer, connection: Callable[..., str]) -> Iterator[TencentCIHook]:
    hook = TencentCIHook(connection(server.url))
    yield hook
    hook.close()


def detail(tag: str) -> str:
    return f"<JobsDetail><JobId>j1</JobId><Tag>{tag}</Tag><State>Success</State></JobsDetail>"


def sent(server: ScriptedServer) -> list[dict[str, str]]:
    return [dict(each.params) for each in server.requests]


class TestManyJobs:
    """The calls that a bulk submission adds."""

    def test_the_list_of_a_type_in_some_states(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(jobs())
        assert list(JobsOfBucket(hook, PLACE).list({"Tag": "Tts"}, SINCE, ("Failed", "Cancel"))) == []
        (params,) = sent(server)
        assert params["tag"] == "Tts"
        assert params["states"] == "Failed,Cancel"
        assert "inputObject" not in params

    def test_jobs_are_described_ten_with_a_request(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        job_ids = [f"j{number}" for number in range(11)]
        server.always("GET", jobs(detail("Tts")))
        described = JobsOfBucket(hook, PLACE).describe_many(job_ids)
        assert [job.job_id for job in described] == ["j1", "j1"]
        assert [(each.method, each.path.count(",")) for each in server.requests] == [("GET", 9), ("GET", 0)]

    def test_a_submission_that_is_one_of_many_is_not_repeated(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(error(429, "SlowDown"))
        api = JobsOfBucket(hook, PLACE)
        with api.submitting_at_once(), pytest.raises(ThrottledError):
            api.submit(REQUEST, hook.now() + 60)


class TestJobs:
    @pytest.mark.parametrize("tag", [*DOCUMENTED, *UNDOCUMENTED])
    def test_which_types_the_documents_list(self, hook: TencentCIHook, tag: str) -> None:
        assert JobsOfBucket(hook, PLACE).is_list_documented({"Tag": tag}) is (tag in DOCUMENTED)

    @pytest.mark.parametrize(
        ("listed", "shown"), [((), False), (("Tts",), True), (("VoiceSeparate",), False)]
    )
    def test_a_type_is_listed_if_any_job_of_it_is(
        self, hook: TencentCIHook, server: ScriptedServer, listed: tuple[str, ...], shown: bool
    ) -> None:
        """A service without a tag may list the jobs of another."""
        server.play(jobs(*map(detail, listed), next_token="t"))
        assert JobsOfBucket(hook, PLACE).ask_if_listed({"Tag": "Tts"}) is shown
        assert sent(server) == [{"tag": "Tts", "orderByTime": "Desc", "size": "1"}]

    @pytest.mark.parametrize("tag", UNDOCUMENTED)
    def test_a_list_that_is_not_documented_is_not_trusted_to_know_inputs(
        self, hook: TencentCIHook, server: ScriptedServer, tag: str
    ) -> None:
        """It would be believed, as it shows jobs of the type, and the job would be paid for again."""
        server.play(jobs())
        request = {"Tag": tag, "Input": {"Object": "in/a.mp3"}, "Operation": {}}
        assert list(JobsOfBucket(hook, PLACE).list(request, SINCE)) == []
        (params,) = sent(server)
        assert params["tag"] == tag
        assert "inputObject" not in params

    @pytest.mark.parametrize(
        ("source", "listed_by"),
        [
            ({"Object": "in/a.mp3"}, {"inputObject": "in/a.mp3"}),
            ({"Url": "https://h/a.mp3"}, {}),
            (None, {}),
        ],
    )
    def test_jobs_without_an_input_object_are_listed_by_tag_and_time(
        self, hook: TencentCIHook, server: ScriptedServer, source: Any, listed_by: dict[str, str]
    ) -> None:
        server.play(jobs())
        request = {"Tag": "Tts", "Input": source, "Operation": {}}
        assert [*JobsOfBucket(hook, PLACE).list(request, SINCE)] == []
        (params,) = sent(server)
        assert params["tag"] == "Tts"
        assert params["startCreationTime"] == "2026-01-01T08:00:00+0800"
        assert {name: value for name, value in params.items() if name == "inputObject"} == listed_by


class TestBatches:
    FAILED = BatchJob(job_id="b1", state="Failed", end_time=SINCE)

    def test_jobs_of_any_type_are_found(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        """Without its tag, a failed batch would seem to have made none, and be paid for again."""
        server.play(jobs(detail("Transcode")), jobs(detail("Transcode")))
        batches = BatchesOfBucket(hook, PLACE, "Transcode")
        assert not batches.ask_if_ended_without_result(self.FAILED)
        assert [job.job_id for job in batches.jobs("b1")] == ["j1"]
        assert [each["tag"] for each in sent(server)] == ["Transcode"] * 2

    @pytest.mark.parametrize(
        ("tag", "of_the_type", "ended_without"),
        [("Transcode", None, True), ("PicProcess", (), False), ("PicProcess", ("PicProcess",), True)],
    )
    def test_a_type_that_may_not_be_listed_may_have_made_jobs(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        tag: str,
        of_the_type: tuple[str, ...] | None,
        ended_without: bool,
    ) -> None:
        server.play(jobs(), *([] if of_the_type is None else [jobs(*map(detail, of_the_type))]))
        batches = BatchesOfBucket(hook, PLACE, tag)
        assert batches.ask_if_ended_without_result(self.FAILED) is ended_without

    @pytest.mark.parametrize("allowed", [True, False])
    def test_a_batch_whose_jobs_are_not_listed_is_no_success(
        self, hook: TencentCIHook, server: ScriptedServer, allowed: bool
    ) -> None:
        operator = TencentCIBatchJobOperator(
            task_id="many",
            tag="PicProcess",
            prefix="in/",
            operation={"PicProcess": {}, "Output": {"Object": "out/${jobid}"}},
            allow_failed_jobs=allowed,
            wait_for_completion=True,
        )
        operator.__dict__["job_api"] = BatchesOfBucket(hook, PLACE, "PicProcess")
        server.play(jobs())
        if allowed:
            operator._warn_or_fail_without_jobs()
            return
        with pytest.raises(BatchJobsFailedError, match="shows no job with Tag PicProcess at all"):
            operator._warn_or_fail_without_jobs()
