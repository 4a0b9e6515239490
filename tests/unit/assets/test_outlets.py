"""What is added to a task's asset events, with the accessors that Airflow gives a task."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_ci.assets.cos import create_asset
from airflow_provider_ci.assets.outlets import (
    add_manifest_to_events,
    add_results_to_events,
    add_to_events,
    outlet_problems,
)
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.results import ResultObject
from tests.airflow_version import outlet_event_accessors
from tests.conftest import Logs

LOG = logging.getLogger(__name__)
BUCKET, REGION = "media-1250000001", "ap-guangzhou"
VOICE = f"cos://{BUCKET}/out/voice.mp3"


@pytest.fixture
def context() -> Any:
    """A context with the accessors that the task runner puts in it."""
    return {"outlet_events": outlet_event_accessors()}


def job(job_id: str = "j1", size: int | None = 5, **keys: str) -> Job:
    """A voice separation that wrote ``keys``, each under the element of its pattern."""
    keys = keys or {"AuObject": "out/voice.mp3"}
    written = {
        "Bucket": BUCKET,
        "Region": REGION,
        "ObjectName": [*keys.values()],
        "Md5Info": [{"ObjectName": key, "Md5": f"md5 of {key}"} for key in keys.values()],
    }
    operation = {
        "Output": {"Bucket": BUCKET, "Region": REGION, **keys},
        "MediaResult": {"OutputFile": written},
        "MediaInfo": {"Format": {"Size": size and str(size)}},
    }
    return Job(job_id=job_id, state="Success", tag="VoiceSeparate", operation=operation)


def event(stem: str | None, key: str, *, job_id: str = "j1", size: int | None = 5) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "state": "Success",
        "stem": stem,
        "bucket": BUCKET,
        "region": REGION,
        "object": key,
        "md5": f"md5 of {key}",
        "size": size,
    }


def added(context: Any, alias: AssetAlias) -> dict[str, dict[str, Any]]:
    """Return the extras of the assets that an alias got, by their URIs."""
    accessor = context["outlet_events"][alias]
    if hasattr(accessor, "asset_alias_events"):
        return {each.dest_asset_key.uri: each.extra for each in accessor.asset_alias_events}
    # Airflow 2.11
    return {each["dest_dataset_uri"]: each["extra"] for each in accessor.dataset_alias_events}


class TestResults:
    def test_the_event_of_a_result_has_its_details(self, context: Any, logs: Logs) -> None:
        outlets = [Asset(VOICE), create_asset(bucket=BUCKET, key="b g.mp3")]
        add_results_to_events(context, outlets, [job(AuObject="out/voice.mp3", Object="b g.mp3")], LOG)
        # the service's one size could be of either file
        assert context["outlet_events"][outlets[0]].extra == event("voice", "out/voice.mp3", size=None)
        assert context["outlet_events"][outlets[1]].extra == event("background", "b g.mp3", size=None)
        assert logs.at("warning") == []

    def test_an_only_result_has_a_size(self, context: Any, logs: Logs) -> None:
        add_results_to_events(context, [Asset(VOICE)], [job()], LOG)
        assert context["outlet_events"][Asset(VOICE)].extra == event("voice", "out/voice.mp3")

    def test_the_asset_may_have_a_name(self, context: Any, logs: Logs) -> None:
        outlet = Asset(name="voice", uri=VOICE) if hasattr(Asset(VOICE), "name") else Asset(VOICE)
        add_results_to_events(context, [outlet], [job()], LOG)
        assert context["outlet_events"][outlet].extra["object"] == "out/voice.mp3"

    def test_each_outlet_gets_the_result_of_its_job(self, context: Any, logs: Logs) -> None:
        outlets = [Asset(f"cos://{BUCKET}/{name}.mp3") for name in "ab"]
        add_results_to_events(
            context, outlets, [job("j1", AuObject="a.mp3"), job("j2", AuObject="b.mp3")], LOG
        )
        assert [context["outlet_events"][each].extra["job_id"] for each in outlets] == ["j1", "j2"]

    def test_an_alias_gets_an_asset_for_each_result(self, context: Any, logs: Logs) -> None:
        alias = AssetAlias("stems")
        other = job("j2", AuObject="人.mp3")
        add_results_to_events(context, [alias], [job(AuObject="a.mp3", Object="b.mp3"), other], LOG)
        assert added(context, alias) == {
            f"cos://{BUCKET}/a.mp3": event("voice", "a.mp3", size=None),
            f"cos://{BUCKET}/b.mp3": event("background", "b.mp3", size=None),
            f"cos://{BUCKET}/%E4%BA%BA.mp3": event("voice", "人.mp3", job_id="j2"),
        }

    def test_a_result_that_matches_no_output_has_no_stem(self, context: Any, logs: Logs) -> None:
        one = job(AuObject="out/voice.mp3")
        assert one.operation is not None
        odd = replace(one, operation={**one.operation, "Output": {"AuObject": "something/else.mp3"}})
        add_results_to_events(context, [Asset(VOICE)], [odd], LOG)
        assert context["outlet_events"][Asset(VOICE)].extra == event(None, "out/voice.mp3")

    @pytest.mark.parametrize("uri", ["x-voices", "s3://bucket/key", f"cos://{BUCKET}/out"])
    def test_other_assets_get_the_job_ids(self, context: Any, logs: Logs, uri: str) -> None:
        add_results_to_events(context, [Asset(uri)], [job("j1"), job("j2")], LOG)
        extra = context["outlet_events"][Asset(uri)].extra
        assert extra == {"job_ids": ["j1", "j2"], "state": "Success"}
        assert logs.at("warning") == []

    def test_the_user_s_own_extra_stays(self, context: Any, logs: Logs) -> None:
        context["outlet_events"][Asset(VOICE)].extra["mine"] = 1
        add_results_to_events(context, [Asset(VOICE)], [job()], LOG)
        assert context["outlet_events"][Asset(VOICE)].extra["mine"] == 1

    @pytest.mark.parametrize("key", ["out/voice", "out/voice.mp3/x", "other.mp3"])
    def test_an_outlet_that_no_job_wrote_is_a_warning(self, context: Any, logs: Logs, key: str) -> None:
        add_results_to_events(context, [Asset(f"cos://{BUCKET}/{key}")], [job()], LOG)
        assert logs.at("warning") == [
            f"Outlet cos://{BUCKET}/{key} is not one of the 1 results. Correct its key: {VOICE}"
        ]

    def test_without_jobs_there_are_no_results(self, context: Any, logs: Logs) -> None:
        add_results_to_events(context, [Asset(VOICE)], [], LOG)
        assert logs.at("warning") == [
            f"Outlet {VOICE} is not one of the 0 results. Correct its key: there are no results"
        ]


class TestNothingIsRaised:
    def test_without_outlet_events(self, logs: Logs) -> None:
        add_results_to_events({}, [Asset(VOICE)], [job()], LOG)  # type: ignore[typeddict-item]
        assert logs.at("warning") == []

    def test_for_an_outlet_that_fails(self, context: Any, logs: Logs) -> None:
        class Events:
            def __getitem__(self, key: Any) -> Any:
                if key == "broken":
                    raise LookupError("no such asset")
                return context["outlet_events"][key]

        add_results_to_events({"outlet_events": Events()}, ["broken", Asset(VOICE)], [job()], LOG)  # type: ignore[typeddict-item]
        assert logs.at("warning") == ["The event of outlet 'broken' lacks details: no such asset"]
        assert context["outlet_events"][Asset(VOICE)].extra["object"] == "out/voice.mp3"

    def test_for_a_response_without_a_bucket(self, context: Any, logs: Logs) -> None:
        written = {"OutputFile": {"ObjectName": ["a"]}}
        odd = Job(job_id="j1", state="Success", operation={"MediaResult": written})
        add_results_to_events(context, [Asset(VOICE)], [odd], LOG)
        (warning,) = logs.at("warning")
        assert warning.startswith("The asset events have no details of the results: The URI's bucket")


def test_a_batch_adds_its_summary_to_each_event(context: Any, logs: Logs) -> None:
    summary = {"job_id": "b1", "state": "Success", "counts": {"Success": 2}}
    add_to_events(context, [Asset(f"cos://{BUCKET}/out")], summary, LOG)
    assert context["outlet_events"][Asset(f"cos://{BUCKET}/out")].extra == summary
    assert logs.at("warning") == []


class TestProblems:
    @pytest.mark.parametrize("outlet", [Asset(VOICE), AssetAlias("stems")], ids=["file", "alias"])
    def test_only_a_task_that_waits_can_have_results_as_outlets(self, outlet: Any) -> None:
        (problem,) = outlet_problems([outlet], waits=False)
        assert (
            "although the task does not wait for its job, allowed: results as outlets of a task that"
            in problem
        )
        assert ("'stems'" if isinstance(outlet, AssetAlias) else repr(VOICE)) in problem
        assert outlet_problems([outlet], waits=True) == []

    @pytest.mark.parametrize("uri", ["x-submitted", "s3://bucket/key"])
    def test_a_task_that_does_not_wait_may_have_other_assets(self, uri: str) -> None:
        assert outlet_problems([Asset(uri)], waits=False) == []

    def test_a_key_with_a_placeholder_is_refused(self) -> None:
        (problem,) = outlet_problems([Asset(f"cos://{BUCKET}/${{jobid}}.mp3")], waits=True)
        assert (
            "allowed: keys without placeholders; for results whose keys are not known before, use an"
            in problem
        )


MANIFEST: ResultObject = {
    "bucket": BUCKET,
    "region": REGION,
    "object": "airflow/m.jsonl",
    "md5": "0" * 32,
}
SUMMARY = {"state": "Success", "total": 3, "succeeded": 3, "failed": 0}


class TestManifests:
    def test_each_outlet_has_one_event_with_the_manifest(self, context: Any, logs: Logs) -> None:
        folder, alias = Asset(f"cos://{BUCKET}/out"), AssetAlias("separated")
        add_manifest_to_events(context, [folder, alias], MANIFEST, SUMMARY, LOG)
        extra = {**SUMMARY, **MANIFEST}
        assert context["outlet_events"][folder].extra == extra
        assert added(context, alias) == {f"cos://{BUCKET}/airflow/m.jsonl": extra}
        assert logs.at("warning") == []

    def test_it_never_fails_the_task(self, context: Any, logs: Logs) -> None:
        broken: Any = {"bucket": None, "region": None, "object": "", "md5": None}
        add_manifest_to_events(context, [AssetAlias("x")], broken, SUMMARY, LOG)
        assert len(logs.at("warning")) <= 1
        add_manifest_to_events({}, [AssetAlias("x")], MANIFEST, SUMMARY, LOG)  # type: ignore[typeddict-item]
