"""A batch job as a task: what is sent, what is waited for, and what its jobs mean for it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset, AssetAlias, TaskDeferred
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    JobCancelledError,
    JobFailedError,
    JobTimeoutError,
    RequestValidationError,
)
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.protocol.wire import Endpoint
from airflow_provider_ci.protocol.xml import tree_to_bytes
from airflow_provider_ci.submission.idempotency_key import fingerprint
from airflow_provider_ci.triggers.batch import TencentCIBatchTrigger
from tests.airflow_version import outlet_event_accessors
from tests.conftest import Logs
from tests.patience import PATIENCE
from tests.scripted_server import Answer, ScriptedServer, error, hang_up, http, job_xml, jobs
from tests.unit.operators.test_voice_separate import leaves

MakeOperator = Callable[..., VoiceSeparateBatchOperator]
Context = dict[str, Any]
NONE = jobs()


def batch(state: str = "Submitted", **more: str) -> Answer:
    return jobs(job_xml("b1", state, **more))


SUBMITTED, RUNNING, SUCCESS = batch(), batch("Running"), batch("Success")


def child(job_id: str, state: str, code: str = "Success", message: str = "") -> str:
    key = f"<Input><Object>in/{job_id}.mp3</Object></Input></JobsDetail>"
    return job_xml(job_id, state, code=code, message=message).replace("</JobsDetail>", key)


@pytest.fixture
def make_operator(
    server: ScriptedServer, connection: Callable[..., str], mocker: MockerFixture
) -> Iterator[MakeOperator]:
    """Return a function that makes an operator that waits, impatiently, for a list that never lags."""
    made: list[VoiceSeparateBatchOperator] = []

    def make(**arguments: Any) -> VoiceSeparateBatchOperator:
        connection(server.url, max_attempts=1, read_timeout=PATIENCE)
        usual = {"wait_for_completion": True, "poll_interval": 0.01, "prefix": "in/", "durable": False}
        if not any(name in arguments for name in ("background_object", "voice_object")):
            usual["voice_object"] = "out/${InputName}-${jobid}.${ext}"
        made.append(VoiceSeparateBatchOperator(task_id="batch", **(usual | arguments)))
        return made[-1]

    mocker.patch("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.0)
    mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 0.0)
    yield make
    for operator in made:
        operator.hook.close()


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    return make_context()


LEAST = {"prefix": "in/", "voice_object": "out/${InputName}-${jobid}.${ext}"}
ENDPOINT = Endpoint(bucket="media-1250000001", region="ap-guangzhou")


def body(**arguments: Any) -> dict[str, str]:
    """Return the texts of the request that an operator builds."""
    with DAG("d", schedule=None):
        operator = VoiceSeparateBatchOperator(**({"task_id": "batch"} | LEAST | arguments))
    return leaves(tree_to_bytes(operator.build_request(ENDPOINT), "Request"))


class TestRequest:
    def test_the_least_that_is_needed(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED)
        assert make_operator(wait_for_completion=False).execute(context) == "b1"
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/inventorytriggerjob")
        assert leaves(request.body) == {
            "Name": "adhoc_airflow-batch",
            "Type": "Job",
            "Input/Prefix": "in/",
            "Operation/Tag": "VoiceSeparate",
            "Operation/JobParam/VoiceSeparate": "",
            "Operation/Output/Region": "ap-guangzhou",
            "Operation/Output/Bucket": "media-1250000001",
            "Operation/Output/AuObject": "out/${InputName}-${jobid}.${ext}",
        }
        assert [key for key, _ in context["ti"].xcoms] == ["return_value", "_link_TencentCIJobsLink", "batch"]
        assert context["ti"].xcoms[2][1]["counts"] == {}

    def test_everything(self) -> None:
        sent = body(
            name="stems_声",
            prefix=None,
            url_file="lists/urls.txt",
            background_object="out/${jobid}-bg.${ext}",
            voice_object="out/${jobid}.${ext}",
            output_bucket="results-1250000001",
            audio_mode="AudioAndBackground",
            codec="MP3",
            bitrate="128",
            time_interval={"start": "2026-11-22 00:00:00+00:00", "end": None},
            user_data="order 7",
            job_level="1",
            queue_id="p1",
            callback_url="https://example.org/",
        )
        assert sent == {
            "Name": "stems_声",
            "Type": "Job",
            "Input/UrlFile": "lists/urls.txt",
            "Operation/Tag": "VoiceSeparate",
            "Operation/JobParam/VoiceSeparate/AudioMode": "AudioAndBackground",
            "Operation/JobParam/VoiceSeparate/AudioConfig/Codec": "mp3",
            "Operation/JobParam/VoiceSeparate/AudioConfig/Bitrate": "128",
            "Operation/Output/Region": "ap-guangzhou",
            "Operation/Output/Bucket": "results-1250000001",
            "Operation/Output/Object": "out/${jobid}-bg.${ext}",
            "Operation/Output/AuObject": "out/${jobid}.${ext}",
            "Operation/TimeInterval/Start": "2026-11-22T08:00:00+0800",
            "Operation/UserData": "order 7",
            "Operation/JobLevel": "1",
            "Operation/QueueId": "p1",
            "Operation/CallBack": "https://example.org/",
        }

    def test_a_template_and_a_manifest(self) -> None:
        sent = body(prefix="", manifest="inventory/manifest.json", template_id="t1")
        assert sent["Operation/JobParam/TemplateId"] == "t1"
        assert sent["Input/Manifest"] == "inventory/manifest.json"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"prefix": None}, "no input is set, allowed: exactly one of prefix, manifest, url_file"),
            ({"prefix": " "}, "no input is set (prefix is ' '), allowed: exactly one of prefix"),
            ({"manifest": "m"}, "prefix and manifest are set, allowed: exactly one of prefix, manifest"),
            (
                {"voice_object": "in/out/${jobid}"},
                "voice_object is 'in/out/${jobid}', allowed: a key that does not",
            ),
            ({"background_object": "${InputPath}/${InputName}-bg.mp3"}, "would process this one's results"),
            ({"time_interval": {"from": 1}}, "time_interval is"),
            ({"time_interval": "today"}, "time_interval is 'today', allowed: a dict with start and end"),
            ({"time_interval": {"start": "2025-01-01T00:00:00"}}, "time_interval.start is"),
            ({"time_interval": {"end": "soon"}}, "time_interval.end is 'soon', allowed: a time with zone"),
            (
                {"time_interval": {"start": "2025-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}},
                "allowed: an end a second or more after the start; with Airflow 3's default timetable",
            ),
            (
                {"time_interval": {"start": "2025-01-01T00:00:00.1Z", "end": "2025-01-01T00:00:00.9Z"}},
                "an end a",
            ),
            ({"time_interval": {"start": "2025-01-02T00:00:00Z", "end": "2025-01-01T00:00:00Z"}}, "an end a"),
            ({"time_interval": {"start": "0001-01-01T00:00:00+08:00"}}, "time_interval.start is '0001"),
            ({"time_interval": {"end": "0001-01-01T00:00:00Z"}}, "time_interval.end is '0001"),
            ({"time_interval": {"end": "9999-12-31T23:59:59Z"}}, "time_interval.end is '9999"),
            ({"voice_object": "out/${InputName}.${ext}"}, "differs between all inputs: one with ${jobid}"),
            ({"voice_object": "out/${JobId}.${ext}"}, "${jobid}, spelt exactly so, instead of ${JobId}"),
            (
                {"prefix": "rec", "voice_object": "${InputName}-${jobid}.${ext}"},
                "with the prefix 'rec', whatever",
            ),
            ({"prefix": "rec", "voice_object": "${InputNameAndExt}/${jobid}"}, "the prefix 'rec', whatever"),
            ({"prefix": "j", "voice_object": "${jobid}.${ext}"}, "the prefix 'j', whatever its placeholders"),
            (
                {"prefix": "mp", "voice_object": "${ext}/${jobid}", "codec": "mp3"},
                "the prefix 'mp', whatever",
            ),
            (
                {"prefix": "rec", "voice_object": "${ext}/${jobid}", "template_id": "t1"},
                "the prefix 'rec', whatever",
            ),
            (
                {"prefix": None, "manifest": "m.json", "voice_object": "${InputPath}/${jobid}.mp3"},
                "does not lie beside its input, or the next list would name it as an input",
            ),
            (
                {
                    "prefix": None,
                    "url_file": "${InputPath}",
                    "background_object": "${InputPath}/${InputNameAndExt}",
                },
                "does not lie beside its input",
            ),
            (
                {
                    "prefix": None,
                    "url_file": "https://b.cos.x.y/l/u.txt",
                    "background_object": "l/u.txt",
                },
                "cannot be that of the list, 'l/u.txt', which would be overwritten",
            ),
            (
                {"prefix": "cos://media-1250000001/in/%E4%BA%BA"},
                "prefix is 'cos://media-1250000001/in/%E4%BA%BA', allowed: keys, here 'in/人'",
            ),
            (
                {"prefix": None, "manifest": "cos://media-1250000001/m.json"},
                "'cos://media-1250000001/m.json', allowed: the URL or key of a file, here 'm.json'",
            ),
            (
                {"prefix": None, "url_file": "s3://b/urls.txt"},
                "url_file is 's3://b/urls.txt', allowed: the URL or key of a file, here 'urls.txt'",
            ),
            (
                {"voice_object": "cos://results-1250000001/out/${jobid}.mp3"},
                "allowed: an object key, here 'out/${jobid}.mp3', and the bucket, 'results-1250000001'",
            ),
        ],
    )
    def test_a_request_that_cannot_work_is_refused(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(RequestValidationError) as caught:
            body(**arguments)
        assert says in str(caught.value)

    @pytest.mark.parametrize(
        ("interval", "sent"),
        [
            (
                {"start": "2025-01-01T00:00:00+00:00", "end": "2025-01-02T00:00:00+00:00"},
                ("2025-01-01T08:00:00+0800", "2025-01-02T07:59:59+0800"),
            ),
            # a fraction belongs to the second in which it lies, on both ends
            (
                {"start": "2025-01-01T00:00:00.7+08:00", "end": "2025-01-01T00:00:01.2+08:00"},
                ("2025-01-01T00:00:00+0800", "2025-01-01T00:00:00+0800"),
            ),
            ({"end": datetime(2025, 1, 1, tzinfo=UTC)}, (None, "2025-01-01T07:59:59+0800")),
            ({"start": datetime(2025, 1, 1, tzinfo=UTC), "end": ""}, ("2025-01-01T08:00:00+0800", None)),
        ],
    )
    def test_the_end_of_an_interval_belongs_to_the_next_one(
        self, interval: dict[str, Any], sent: tuple[str | None, str | None]
    ) -> None:
        texts = body(time_interval=interval)
        at = "Operation/TimeInterval"
        assert (texts.get(f"{at}/Start"), texts.get(f"{at}/End")) == sent

    @pytest.mark.parametrize("interval", [None, {}, "", {"start": None}, "{{ '' }}", {"end": "{{ '' }}"}])
    def test_no_interval(self, interval: Any) -> None:
        with DAG("d", schedule=None):
            operator = VoiceSeparateBatchOperator(task_id="batch", **(LEAST | {"time_interval": interval}))
        operator.render_template_fields({})  # type: ignore[typeddict-item]
        assert "TimeInterval" not in operator.build_request(ENDPOINT)["Operation"]

    @pytest.mark.parametrize(
        ("template", "native", "says"),
        [
            ({"start": "{{ nothing }}", "end": None}, True, "time_interval.start is None, allowed: a time"),
            ({"start": "{{ nothing }}"}, False, "time_interval.start is 'None', allowed: a time"),
            ("{{ nothing }}", True, "time_interval is None, allowed: a time"),
            ("{{ nothing }}", False, "time_interval is 'None', allowed: a dict"),
            ("{{ {'start': nothing} }}", True, "time_interval.start is None, allowed: a time"),
            ("{{ [] }}", True, "time_interval is [], allowed: a dict"),
            ("{{ 0 }}", True, "time_interval is 0, allowed: a dict"),
        ],
    )
    def test_an_interval_that_a_template_failed_to_render_is_refused(
        self, template: Any, native: bool, says: str
    ) -> None:
        with DAG("d", schedule=None, render_template_as_native_obj=native):
            operator = VoiceSeparateBatchOperator(task_id="batch", **(LEAST | {"time_interval": template}))
        operator.render_template_fields({"nothing": None})  # type: ignore[typeddict-unknown-key]
        with pytest.raises(RequestValidationError) as caught:
            operator.build_request(ENDPOINT)
        assert says in str(caught.value)

    @pytest.mark.parametrize(("source", "warns"), [("prefix", False), ("url_file", True)])
    def test_an_interval_without_a_prefix_is_warned_of(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        logs: Logs,
        source: str,
        warns: bool,
    ) -> None:
        server.play(SUBMITTED)
        sources = {"prefix": None, source: "in/"}
        interval = {"end": datetime(2025, 1, 1, tzinfo=UTC)}
        make_operator(wait_for_completion=False, time_interval=interval, **sources).execute(context)
        assert any("may have no effect without prefix" in line for line in logs.at("warning")) is warns

    def test_every_second_is_in_exactly_one_of_consecutive_intervals(self) -> None:
        moments = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=1.3 * number) for number in range(20)]
        taken: list[int] = []
        for start, end in itertools.pairwise(moments):
            sent = body(time_interval={"start": start, "end": end})
            first, last = (
                int(datetime.fromisoformat(sent[f"Operation/TimeInterval/{name}"]).timestamp())
                for name in ("Start", "End")
            )
            taken += range(first, last + 1)
        assert taken == list(range(int(moments[0].timestamp()), int(moments[-1].timestamp())))

    @pytest.mark.parametrize(
        "arguments",
        [
            {"prefix": "rec/", "voice_object": "${InputName}-${jobid}.${ext}"},
            {"prefix": "rec", "voice_object": "out/${InputName}-${jobid}.${ext}"},
            {"prefix": "in/", "voice_object": "out/${InputPath}/${InputNameAndExt}/voice.${ext}"},
            {"prefix": None, "manifest": "m.json", "voice_object": "out/${InputPath}/${jobid}.${ext}"},
            {
                "prefix": None,
                "url_file": "urls.txt",
                "voice_object": "${InputPath}/${InputNameAndExt}",
                "output_bucket": "results-1250000001",
            },
            {"voice_object": "in/${InputName}-${jobid}.mp3", "output_bucket": "results-1250000001"},
            {"prefix": "out/j8d121820f5e411ec926ef19d53ba9c6f/", "voice_object": "out/${jobid}/voice.${ext}"},
        ],
        ids=str,
    )
    def test_results_that_are_no_inputs_of_the_next_batch(self, arguments: dict[str, Any]) -> None:
        body(**arguments)

    @pytest.mark.parametrize(
        ("voice", "background"),
        [
            ("out/${jobid}/${InputName}.${ext}", "out/${jobid}/background.${ext}"),
            ("${jobid}-${InputNameAndExt}", "${jobid}-x.wav"),
        ],
    )
    def test_two_results_of_one_job_that_can_be_one_object_are_refused(
        self, voice: str, background: str
    ) -> None:
        with pytest.raises(RequestValidationError, match="a key that can never be that of voice_object"):
            body(voice_object=voice, background_object=background, audio_mode="AudioAndBackground")

    def test_mapped_task_instances_have_different_default_names(
        self, make_operator: MakeOperator, server: ScriptedServer, make_context: Callable[..., Context]
    ) -> None:
        server.play(SUBMITTED)
        context = make_context()
        context["ti"].map_index = 12
        make_operator(wait_for_completion=False).execute(context)
        assert leaves(server.requests[-1].body)["Name"] == "adhoc_airflow-batch-12"

    def test_requests_with_different_default_names_are_the_same(self) -> None:
        """A retry after an update may make another default name of the same ids."""

        def digest(name: str | None, task_id: str) -> str:
            operator = VoiceSeparateBatchOperator(task_id=task_id, **(LEAST | {"name": name}))
            return fingerprint(operator.build_request(ENDPOINT), "")

        assert digest(None, "a") == digest(None, "b") == digest("", "c")
        assert digest("stems", "a") not in (digest("other", "a"), digest(None, "stems"))

    def test_a_default_name_follows_the_rules_for_names(self) -> None:
        assert len(body(task_id="t" * 200)["Name"]) == 128
        assert body(task_id="a.b")["Name"] == "d-a_b"


class TestOutlets:
    def test_an_alias_is_refused_because_the_results_are_unlimited(
        self, make_operator: MakeOperator, context: Context
    ) -> None:
        with pytest.raises(RequestValidationError, match="AssetAlias 'stems', allowed: assets"):
            make_operator(outlets=[AssetAlias("stems")]).execute(context)

    def test_an_asset_event_has_the_counts_of_the_batch(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, SUCCESS, NONE, jobs(child("j1", "Success")))
        folder = Asset("cos://media-1250000001/out")
        context["outlet_events"] = outlet_event_accessors()
        operator = make_operator(outlets=[folder])
        assert operator.execute(context) == "b1"
        summary = {"job_id": "b1", "state": "Success", "counts": {"Success": 1}}
        assert context["outlet_events"][folder].extra == summary

    def test_openlineage_gets_the_folders_of_inputs_and_results(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        described = job_xml("b1", "Success").replace(
            "</JobsDetail>",
            "<Input><Prefix>in/</Prefix></Input><Operation><Output><Bucket>media-1250000001</Bucket>"
            "<AuObject>out/${InputName}.${ext}</AuObject></Output></Operation></JobsDetail>",
        )
        server.play(SUBMITTED, jobs(described), NONE, jobs(child("j1", "Success")))
        operator = make_operator()
        operator.execute(context)
        lineage = operator.get_openlineage_facets_on_complete(None)
        assert lineage is not None
        found = [(each.namespace, each.name) for each in (*lineage.inputs, *lineage.outputs)]
        assert found == [("cos://media-1250000001", "in"), ("cos://media-1250000001", "out")]


class TestWait:
    def test_ends_when_the_batch_and_all_its_jobs_have_ended(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        server.play(SUBMITTED, RUNNING, SUCCESS, jobs(job_xml("j1", "Running")), SUCCESS, NONE)
        server.play(
            jobs(child("j1", "Success"), next_token="t"), jobs(child("j2", "Success"), next_token="t")
        )
        assert make_operator().execute(context) == "b1"
        result = dict(context["ti"].xcoms)["batch"]
        assert (result["state"], result["counts"], result["unsuccessful"]) == ("Success", {"Success": 2}, [])
        pending = [sent.params for sent in server.requests if "states" in sent.params]
        assert {sent["states"] for sent in pending} == {"Submitted,Running,Pause"}
        assert {sent["inventoryTriggerJobId"] for sent in pending} == {"b1"}
        assert [line for line in logs.at("info") if line.startswith("Job ")] == [
            "Job b1: Submitted",
            "Job b1: Running",
            "Job b1: Success",
        ]

    def test_failed_jobs_fail_the_task_without_retry(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, SUCCESS, NONE)
        server.play(
            jobs(
                child("j1", "Success"),
                child("j2", "Failed", "ResourceNotSupported", "no media"),
                child("j3", "Cancel"),
            )
        )
        with pytest.raises(AirflowFailException) as caught:
            make_operator().execute(context)
        assert isinstance(caught.value, JobFailedError)
        assert (
            "2 of the 3 jobs of batch job b1 did not succeed: job j2 of in/j2.mp3 ended Failed"
            " (ResourceNotSupported: no media); job j3 of in/j3.mp3 ended Cancel"
        ) in str(caught.value)
        result = dict(context["ti"].xcoms)["batch"]
        assert result["counts"] == {"Success": 1, "Failed": 1, "Cancel": 1}
        assert result["unsuccessful"][0] == {
            "job_id": "j2",
            "input_object": "in/j2.mp3",
            "state": "Failed",
            "code": "ResourceNotSupported",
            "message": "no media",
        }
        assert result["unsuccessful"][1]["code"] is None, "Success is no reason"

    def test_allow_failed_jobs_makes_it_a_success(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, SUCCESS, NONE, jobs(child("j1", "Failed")))
        assert make_operator(allow_failed_jobs=True).execute(context) == "b1"
        assert dict(context["ti"].xcoms)["batch"]["counts"] == {"Failed": 1}

    def test_of_many_failed_jobs_some_are_named(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, SUCCESS, NONE)
        server.play(jobs(*(child(f"j{n}", "Failed") for n in range(150))))
        with pytest.raises(JobFailedError, match=r"150 of the 150 jobs .*; and 130 more"):
            make_operator().execute(context)
        result = dict(context["ti"].xcoms)["batch"]
        assert (result["counts"], len(result["unsuccessful"])) == ({"Failed": 150}, 100)

    @pytest.mark.parametrize(("state", "kind"), [("Failed", JobFailedError), ("Cancel", JobCancelledError)])
    def test_a_batch_job_that_fails_without_jobs(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        state: str,
        kind: type[Exception],
    ) -> None:
        server.play(SUBMITTED, batch(state, code="ResourceNotFound", message="no list"), NONE)
        with pytest.raises(kind, match=f"Job b1 ended {state}") as caught:
            make_operator(allow_failed_jobs=True).execute(context)
        is_final = state == "Cancel"  # after a failure a retry makes a new one
        assert isinstance(caught.value, AirflowFailException) is is_final

    @pytest.mark.parametrize("wait", [True, False])
    def test_a_batch_job_that_fails_after_it_has_made_jobs_is_not_retried(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, wait: bool
    ) -> None:
        failed = batch("Failed", code="InternalError", message="midway")
        server.play(*([SUBMITTED, failed] if wait else [failed]), jobs(child("j1", "Success")))
        with pytest.raises(
            AirflowFailException, match="Job b1 ended Failed after it had made jobs"
        ) as caught:
            make_operator(wait_for_completion=wait).execute(context)
        assert isinstance(caught.value, JobFailedError)
        assert (caught.value.code, caught.value.service_message) == ("InternalError", "midway")

    def test_after_a_failure_the_job_list_counts_only_once_it_shows_all_jobs(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        operator = make_operator(wait_for_completion=False)
        mocker.patch("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.05)
        server.play(batch("Failed"), NONE, jobs(child("j1", "Running")))
        with pytest.raises(AirflowFailException, match="after it had made jobs"):
            operator.execute(context)
        assert server.requests[2].at - server.requests[1].at >= 0.05

    def test_jobs_in_unknown_states_are_waited_for(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, SUCCESS, NONE, jobs(child("j1", "Strange")))
        server.play(SUCCESS, NONE, jobs(child("j1", "Success")))
        assert make_operator().execute(context) == "b1"

    def test_a_batch_without_inputs_is_warned_of(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context, logs: Logs
    ) -> None:
        server.play(SUBMITTED, SUCCESS, NONE, NONE)
        assert make_operator().execute(context) == "b1"
        assert "Batch job b1 found no input. Check prefix" in " ".join(logs.at("warning"))

    def test_an_empty_job_list_is_read_again(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("airflow_provider_ci.submission.tracking.NOT_FOUND_GRACE_PERIOD", 60.0)
        server.play(SUBMITTED, SUCCESS, NONE, NONE, SUCCESS, NONE, jobs(child("j1", "Failed")))
        with pytest.raises(AirflowFailException, match="1 of the 1 jobs"):
            make_operator().execute(context)

    def test_jobs_are_counted_only_once_the_list_shows_all(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.3)
        ended = time.monotonic()
        server.play(SUBMITTED)
        server.always("GET", lambda sent: NONE if sent.path == "/jobs" else SUCCESS)
        make_operator(poll_interval=0.05).execute(context)
        first = next(sent.at for sent in server.requests if sent.path == "/jobs")
        assert first - ended >= 0.3

    @pytest.mark.usefixtures("pauses")
    def test_the_timeout_cancels(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED)
        server.always("GET", RUNNING)
        server.always("PUT", http())
        with pytest.raises(JobTimeoutError, match="Job b1 is Running after"):
            make_operator(timeout=0.05).execute(context)
        assert [sent.path for sent in server.requests if sent.method == "PUT"] == ["/inventorytriggerjob/b1"]

    @pytest.mark.usefixtures("pauses")
    def test_a_timeout_names_jobs_that_are_still_running(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED)
        going_on = jobs(job_xml("j1", "Running"))
        server.always("GET", lambda sent: going_on if sent.path == "/jobs" else SUCCESS)
        message = "Success, but jobs that it made are still running"
        with pytest.raises(JobTimeoutError, match=message) as caught:
            make_operator(timeout=0.05, cancel_on_kill=False).execute(context)
        assert caught.value.state == "Success"

    def test_a_killed_task_cancels_its_batch_job(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, http())
        operator = make_operator(wait_for_completion=False, durable=True)
        operator.execute(context)
        context["ti"].state = "failed"  # by a user, before the process has ended
        operator.on_kill()
        assert (server.requests[1].method, server.requests[1].params) == ("PUT", {"cancel": ""})


class TestOutage:
    @pytest.fixture
    def no_time(self, mocker: MockerFixture) -> None:
        """Let an operator's pauses take no time."""
        clock = [1000.0]

        def sleep(seconds: float) -> None:
            clock[0] += seconds

        virtual = SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep, time=time.time)
        for module in ("base_job", "base_task", "job_wait", "kill_guard", "batch_job"):
            mocker.patch(f"airflow_provider_ci.operators.{module}.time", virtual)

    @pytest.mark.usefixtures("no_time")
    def test_is_waited_out_during_each_kind_of_request(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        """While the batch is described, its jobs that continue are looked for, or its jobs are counted."""
        operator = make_operator()
        bad = [error(503, "SlowDown"), hang_up(), http("<html>", 404)] * 5
        done = jobs(child("j1", "Success"))
        server.play(SUBMITTED, *bad, batch("Success"), *bad[:1])
        for _ in bad[1:]:
            server.play(batch("Success"), bad[0])
        server.play(batch("Success"), jobs(), error(503, "SlowDown"), batch("Success"), jobs(), done)
        assert operator.execute(context) == "b1"

    @pytest.mark.usefixtures("no_time")
    def test_does_not_extend_the_timeout(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
    ) -> None:
        operator = make_operator(timeout=600)
        server.play(SUBMITTED)
        away = error(503, "SlowDown", retry_after="300")
        server.always("GET", lambda sent: away if sent.path == "/jobs" else batch("Success"))
        server.always("PUT", http())
        with pytest.raises(JobTimeoutError, match="the last poll failed"):
            operator.execute(context)
        assert server.methods()[-1] == "PUT"


def test_a_poll_requests_one_job_to_find_whether_any_is_running(
    make_operator: MakeOperator, server: ScriptedServer, context: Context
) -> None:
    going_on, done = jobs(child("j1", "Running")), jobs(child("j1", "Success"))
    server.play(SUBMITTED, batch("Success"), going_on, batch("Success"), jobs(), done)
    make_operator().execute(context)
    sizes = [(sent.params.get("states"), sent.params["size"]) for sent in server.requests if sent.params]
    pending = "Submitted,Running,Pause"
    assert sizes == [(pending, "1"), (pending, "1"), (None, "100")]


class TestDeferred:
    def defer(self, operator: VoiceSeparateBatchOperator, context: Context, **event: Any) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute_complete(context, event) if event else operator.execute(context)
        return deferred.value

    def test_defers_to_its_own_trigger(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUBMITTED, RUNNING)
        deferred = self.defer(make_operator(deferrable=True, timeout=60), context)
        assert isinstance(deferred.trigger, TencentCIBatchTrigger)
        path, arguments = deferred.trigger.serialize()
        assert path == "airflow_provider_ci.triggers.batch.TencentCIBatchTrigger"
        assert arguments["job_ids"] == ["b1"]
        assert TencentCIBatchTrigger(**arguments).serialize() == (path, arguments)

    def test_after_the_trigger_jobs_are_counted_at_once(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 1000.0)
        server.play(SUCCESS, NONE, jobs(child("j1", "Success")))
        event = {"status": "ended", "job_ids": ["b1"], "job_count": 1}
        assert make_operator(deferrable=True).execute_complete(context, event) == "b1"
        assert dict(context["ti"].xcoms)["batch"]["counts"] == {"Success": 1}

    def test_failed_jobs_fail_the_deferred_task_too(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(SUCCESS, NONE, jobs(child("j1", "Failed", "X", "y")))
        with pytest.raises(AirflowFailException, match="1 of the 1 jobs"):
            make_operator(deferrable=True).execute_complete(context, {"status": "ended", "job_ids": ["b1"]})

    def test_a_task_whose_jobs_are_still_running_defers_again(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        going_on = jobs(job_xml("j1", "Running"))
        server.play(SUCCESS, going_on)
        deferred = self.defer(make_operator(deferrable=True), context, status="ended", job_ids=["b1"])
        assert isinstance(deferred.trigger, TencentCIBatchTrigger)


class TestDurable:
    @pytest.mark.parametrize(("pending", "continues"), [(True, True), (False, False)])
    def test_after_a_clear_a_batch_whose_jobs_are_running_is_not_paid_for_again(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        pending: bool,
        continues: bool,
    ) -> None:
        class Store(dict[str, Any]):
            set = dict.__setitem__

        context["task_state_store"] = store = Store()
        server.play(SUBMITTED)
        make_operator(wait_for_completion=False, durable=True).execute(context)
        store["ci_submission"]["worker_waits"] = True
        context["ti"].try_number, context["ti"].max_tries = 2, 1
        server.play(batch("Success"), jobs(child("j1", "Running")) if pending else NONE)
        if not continues:
            server.play(batch("Success"), SUBMITTED)
        make_operator(wait_for_completion=False, durable=True).execute(context)
        assert server.methods().count("POST") == (1 if continues else 2)

    def test_after_a_lost_response_the_batch_job_is_found(
        self,
        make_operator: MakeOperator,
        server: ScriptedServer,
        context: Context,
        mocker: MockerFixture,
    ) -> None:
        def listed(sent: Any) -> Answer:
            post = next(one for one in server.requests if one.method == "POST")
            request = post.body.decode().partition("<Request>")[2].removesuffix("</Request>")
            now = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime())
            detail = f"<JobId>b7</JobId><State>Running</State><CreationTime>{now}</CreationTime>{request}"
            return jobs(f"<JobsDetail>{detail}</JobsDetail>")

        server.play(hang_up())
        server.always("GET", listed)
        operator = make_operator(durable=True, wait_for_completion=False)
        assert operator.execute(context) == "b7"
        assert server.methods() == ["POST", "GET"]
        assert (server.requests[1].path, server.requests[1].params["type"]) == ("/inventorytriggerjob", "Job")
        key = leaves(server.requests[0].body)["Operation/UserData"]
        assert key.startswith("airflow dag=separate run=manual__1 task=submit")

    def test_without_permission_to_list_the_error_names_the_permission(
        self, make_operator: MakeOperator, server: ScriptedServer, context: Context
    ) -> None:
        server.play(hang_up(), error(403, "AccessDenied"))
        with pytest.raises(Exception, match="ci:DescribeInventoryTriggerJobs"):
            make_operator(durable=True).execute(context)


class TestTheClass:
    def test_it_survives_airflows_serialization(self) -> None:
        from airflow.serialization import serialized_objects

        # renamed in 3.2
        serialization = (
            getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
        )
        with DAG("d", schedule=None) as dag:
            VoiceSeparateBatchOperator.partial(task_id="one", voice_object="out/${jobid}").expand(
                prefix=["a/"]
            )
            VoiceSeparateBatchOperator(task_id="two", prefix="in/", voice_object="out/${jobid}")
        stored = serialization.deserialize_dag(serialization.serialize_dag(dag))
        assert stored.get_task("two").task_type == "VoiceSeparateBatchOperator"
