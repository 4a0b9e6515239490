"""What the events of a task say, by the real accessors that Airflow hands to a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_ci.assets.cos import create_asset
from airflow_provider_ci.assets.outlets import add_results_to_events, add_to_events, outlet_problems
from airflow_provider_ci.protocol.jobs import Job, Md5Info, MediaResult, Operation, Output, OutputFile
from airflow_provider_ci.protocol.media_info import MediaFormat, MediaInfo
from tests.airflow_version import outlet_event_accessors

BUCKET, REGION = "media-1250000001", "ap-guangzhou"
VOICE = f"cos://{BUCKET}/out/voice.mp3"


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str, *args: object) -> None:
        self.warnings.append(message % args)

    info = error = warning


@pytest.fixture
def log() -> Lines:
    return Lines()


@pytest.fixture
def context() -> Any:
    """A context with the accessors that the task runner puts in it."""
    return {"outlet_events": outlet_event_accessors()}


def job(job_id: str = "j1", size: int | None = 5, **keys: str) -> Job:
    """A job that wrote ``keys``, each under the field of its pattern."""
    keys = keys or {"voice_object": "out/voice.mp3"}
    written = OutputFile(
        bucket=BUCKET,
        region=REGION,
        object_name=tuple(keys.values()),
        md5_info=tuple(Md5Info(object_name=key, md5=f"md5 of {key}") for key in keys.values()),
    )
    operation = Operation(
        output=Output(bucket=BUCKET, region=REGION, **keys),
        media_result=MediaResult(output_file=written),
        media_info=MediaInfo(format=MediaFormat(size=size)),
    )
    return Job(job_id=job_id, state="Success", operation=operation)


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
    def test_an_outlet_that_is_a_result_says_which(self, context: Any, log: Lines) -> None:
        outlets = [Asset(VOICE), create_asset(bucket=BUCKET, key="b g.mp3")]
        add_results_to_events(
            context, outlets, [job(voice_object="out/voice.mp3", background_object="b g.mp3")], log
        )
        # the service's one size could be of either file
        assert context["outlet_events"][outlets[0]].extra == event("voice", "out/voice.mp3", size=None)
        assert context["outlet_events"][outlets[1]].extra == event("background", "b g.mp3", size=None)
        assert log.warnings == []

    def test_the_only_result_has_a_size(self, context: Any, log: Lines) -> None:
        add_results_to_events(context, [Asset(VOICE)], [job()], log)
        assert context["outlet_events"][Asset(VOICE)].extra == event("voice", "out/voice.mp3")

    def test_a_name_of_its_own_does_not_matter(self, context: Any, log: Lines) -> None:
        outlet = Asset(name="voice", uri=VOICE) if hasattr(Asset(VOICE), "name") else Asset(VOICE)
        add_results_to_events(context, [outlet], [job()], log)
        assert context["outlet_events"][outlet].extra["object"] == "out/voice.mp3"

    def test_each_of_several_jobs_has_its_own(self, context: Any, log: Lines) -> None:
        outlets = [Asset(f"cos://{BUCKET}/{name}.mp3") for name in "ab"]
        add_results_to_events(
            context, outlets, [job("j1", voice_object="a.mp3"), job("j2", voice_object="b.mp3")], log
        )
        assert [context["outlet_events"][each].extra["job_id"] for each in outlets] == ["j1", "j2"]

    def test_an_alias_gets_all_results(self, context: Any, log: Lines) -> None:
        alias = AssetAlias("stems")
        other = job("j2", voice_object="人.mp3")
        add_results_to_events(
            context, [alias], [job(voice_object="a.mp3", background_object="b.mp3"), other], log
        )
        assert added(context, alias) == {
            f"cos://{BUCKET}/a.mp3": event("voice", "a.mp3", size=None),
            f"cos://{BUCKET}/b.mp3": event("background", "b.mp3", size=None),
            f"cos://{BUCKET}/%E4%BA%BA.mp3": event("voice", "人.mp3", job_id="j2"),
        }

    def test_a_result_that_fits_no_output_counts_too(self, context: Any, log: Lines) -> None:
        one = job(voice_object="out/voice.mp3")
        assert one.operation is not None
        odd = replace(one, operation=replace(one.operation, output=Output(voice_object="something/else.mp3")))
        add_results_to_events(context, [Asset(VOICE)], [odd], log)
        assert context["outlet_events"][Asset(VOICE)].extra == event(None, "out/voice.mp3")

    @pytest.mark.parametrize("uri", ["x-voices", "s3://bucket/key", f"cos://{BUCKET}/out"])
    def test_other_assets_say_which_jobs(self, context: Any, log: Lines, uri: str) -> None:
        add_results_to_events(context, [Asset(uri)], [job("j1"), job("j2")], log)
        extra = context["outlet_events"][Asset(uri)].extra
        assert extra == {"job_ids": ["j1", "j2"], "state": "Success"}
        assert log.warnings == []

    def test_what_the_user_has_said_already_stays(self, context: Any, log: Lines) -> None:
        context["outlet_events"][Asset(VOICE)].extra["mine"] = 1
        add_results_to_events(context, [Asset(VOICE)], [job()], log)
        assert context["outlet_events"][Asset(VOICE)].extra["mine"] == 1

    @pytest.mark.parametrize("key", ["out/voice", "out/voice.mp3/x", "other.mp3"])
    def test_a_file_that_no_job_wrote_is_warned_of(self, context: Any, log: Lines, key: str) -> None:
        add_results_to_events(context, [Asset(f"cos://{BUCKET}/{key}")], [job()], log)
        assert log.warnings == [f"Outlet cos://{BUCKET}/{key} is not one of the 1 results: {VOICE}"]

    def test_no_jobs_no_results(self, context: Any, log: Lines) -> None:
        add_results_to_events(context, [Asset(VOICE)], [], log)
        assert log.warnings == [f"Outlet {VOICE} is not one of the 0 results: there are no results"]


class TestItNeverFails:
    def test_without_accessors(self, log: Lines) -> None:
        add_results_to_events({}, [Asset(VOICE)], [job()], log)  # type: ignore[typeddict-item]
        assert log.warnings == []

    def test_with_one_outlet_that_fails(self, context: Any, log: Lines) -> None:
        class Events:
            def __getitem__(self, key: Any) -> Any:
                if key == "broken":
                    raise LookupError("no such asset")
                return context["outlet_events"][key]

        add_results_to_events({"outlet_events": Events()}, ["broken", Asset(VOICE)], [job()], log)  # type: ignore[typeddict-item]
        assert log.warnings == ["The event of outlet 'broken' lacks details: no such asset"]
        assert context["outlet_events"][Asset(VOICE)].extra["object"] == "out/voice.mp3"

    def test_with_an_answer_that_names_no_bucket(self, context: Any, log: Lines) -> None:
        written = MediaResult(output_file=OutputFile(object_name=("a",)))
        odd = Job(job_id="j1", state="Success", operation=Operation(media_result=written))
        add_results_to_events(context, [Asset(VOICE)], [odd], log)
        (warning,) = log.warnings
        assert warning.startswith("The asset events have no details of the results: The URI's bucket")


def test_a_batch_gives_its_summary_to_each(context: Any, log: Lines) -> None:
    summary = {"job_id": "b1", "state": "Success", "counts": {"Success": 2}}
    add_to_events(context, [Asset(f"cos://{BUCKET}/out")], summary, log)
    assert context["outlet_events"][Asset(f"cos://{BUCKET}/out")].extra == summary
    assert log.warnings == []


class TestProblems:
    @pytest.mark.parametrize("outlet", [Asset(VOICE), AssetAlias("stems")], ids=["file", "alias"])
    def test_only_a_task_that_waits_can_announce_results(self, outlet: Any) -> None:
        (problem,) = outlet_problems([outlet], waits=False)
        assert (
            "although the task does not wait for its job, allowed: results as outlets of a task that"
            in problem
        )
        assert ("'stems'" if isinstance(outlet, AssetAlias) else repr(VOICE)) in problem
        assert outlet_problems([outlet], waits=True) == []

    @pytest.mark.parametrize("uri", ["x-submitted", "s3://bucket/key"])
    def test_other_assets_may_mean_the_submission(self, uri: str) -> None:
        assert outlet_problems([Asset(uri)], waits=False) == []

    def test_a_placeholder_is_no_key(self) -> None:
        (problem,) = outlet_problems([Asset(f"cos://{BUCKET}/${{jobid}}.mp3")], waits=True)
        assert (
            "allowed: keys without placeholders; for results whose keys are not known before, use an"
            in problem
        )
