"""Lineage of jobs, and that it never fails a task."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest
from pytest_mock import MockerFixture
from referencing import Registry, Resource

import airflow_provider_ci
from airflow_provider_ci.lineage import openlineage
from airflow_provider_ci.lineage.openlineage import (
    BATCH_FACET,
    BULK_FACET,
    JOBS_DESCRIBED,
    JOBS_FACET,
    lineage_of_batch,
    lineage_of_bulk,
    lineage_of_jobs,
)
from airflow_provider_ci.lineage.task import lineage_of_task
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.results import BatchTally, BulkResult
from airflow_provider_ci.protocol.tree import with_value
from tests.conftest import Logs

LOG = logging.getLogger(__name__)
BUCKET, REGION = "media-1250000001", "ap-guangzhou"
CREATED = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
FOLDER = Path(openlineage.__file__).parent
SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
REGISTRY: Registry[Any] = Registry().with_resource(
    SPEC,
    Resource.from_contents(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {"RunFacet": {"type": "object", "required": ["_producer", "_schemaURL"]}},
        }
    ),
)
WRITTEN = {"OutputFile": {"Bucket": BUCKET, "ObjectName": ["out/j1/voice.mp3"]}}
JOB = Job(
    job_id="j1",
    state="Success",
    tag="VoiceSeparate",
    queue_id="p1",
    creation_time=CREATED,
    start_time=CREATED + timedelta(seconds=2),
    end_time=CREATED + timedelta(seconds=12),
    input={"BucketId": BUCKET, "Region": REGION, "Object": "in/a.mp3"},
    operation={
        "VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3"}},
        "Output": {"Bucket": BUCKET, "Region": REGION, "AuObject": "out/${jobid}/voice.${ext}"},
        "MediaResult": WRITTEN,
        "MediaInfo": {"Format": {"Size": "7"}},
        "UserData": "the-user-data",
    },
)
BATCH = BatchJob(
    job_id="b1",
    name="stems",
    state="Success",
    creation_time=CREATED,
    input={"Prefix": "in/"},
    operation={
        "Tag": "VoiceSeparate",
        "Output": {
            "Bucket": "results-1250000001",
            "AuObject": "out/${InventoryTriggerJobId}/v/${InputName}.${ext}",
            "Object": "${InputName}-background.mp3",
        },
    },
)


def names(datasets: list[Any]) -> list[tuple[str, str]]:
    return [(each.namespace, each.name) for each in datasets]


def checked(lineage: Any, key: str) -> dict[str, Any]:
    """Return a facet as OpenLineage writes it, checked against the schema that it names."""
    from openlineage.client.serde import Serde

    facet: dict[str, Any] = json.loads(Serde.to_json(lineage.run_facets[key]))
    package, _, path = facet["_schemaURL"].partition("#")
    assert facet["_producer"] == package == f"pkg:pypi/airflow-provider-ci@{airflow_provider_ci.__version__}"
    schema = json.loads((FOLDER.parents[1] / path).read_text("utf-8"))
    jsonschema.Draft202012Validator(schema, registry=REGISTRY).validate(facet)
    return facet


class TestJobs:
    def test_a_successful_job_has_inputs_outputs_and_a_facet(self) -> None:
        lineage = lineage_of_jobs([JOB])
        assert names(lineage.inputs) == [(f"cos://{BUCKET}", "in/a.mp3")]
        assert names(lineage.outputs) == [(f"cos://{BUCKET}", "out/j1/voice.mp3")]
        assert lineage.outputs[0].outputFacets["outputStatistics"].size == 7
        facet = checked(lineage, JOBS_FACET)
        assert facet["jobCount"] == 1
        assert facet["jobs"] == [
            {
                "jobId": "j1",
                "state": "Success",
                "tag": "VoiceSeparate",
                "region": REGION,
                "queueId": "p1",
                "audioMode": "IsAudio",
                "codec": "mp3",
                "creationTime": "2025-01-02T03:04:05+00:00",
                "startTime": "2025-01-02T03:04:07+00:00",
                "endTime": "2025-01-02T03:04:17+00:00",
                "queueSeconds": 2.0,
                "processingSeconds": 10.0,
                "totalSeconds": 12.0,
                "outputs": {"voice": {"bucket": BUCKET, "object": "out/j1/voice.mp3"}},
            }
        ]

    def test_a_job_that_has_not_ended_has_no_output(self) -> None:
        going_on = Job(job_id="j1", state="Submitted", creation_time=CREATED, input=JOB.input)
        lineage = lineage_of_jobs([going_on])
        assert names(lineage.inputs) == [(f"cos://{BUCKET}", "in/a.mp3")]
        assert lineage.outputs == []
        (described,) = checked(lineage, JOBS_FACET)["jobs"]
        assert described == {
            "jobId": "j1",
            "state": "Submitted",
            "region": REGION,
            "creationTime": "2025-01-02T03:04:05+00:00",
            "outputs": {},
        }

    def test_a_failed_job_has_its_error_without_signatures(self) -> None:
        said = "cannot read https://x/a?q-signature=abcdef"
        failed = replace(JOB, state="Failed", code="ResourceDownloadFailed", message=said, operation=None)
        lineage = lineage_of_jobs([failed])
        assert lineage.outputs == []
        (described,) = checked(lineage, JOBS_FACET)["jobs"]
        assert (described["state"], described["code"]) == ("Failed", "ResourceDownloadFailed")
        assert described["message"].startswith("cannot read https://x/a")
        assert "abcdef" not in str(attrs.asdict(lineage))

    def test_several_results_have_no_known_size(self) -> None:
        assert JOB.operation is not None
        names_of_two = ["out/j1/voice.mp3", "b.mp3"]
        operation = with_value(JOB.operation, "MediaResult.OutputFile.ObjectName", names_of_two)
        lineage = lineage_of_jobs([replace(JOB, operation=operation)])
        assert [each.outputFacets for each in lineage.outputs] == [{}, {}]

    def test_each_dataset_is_listed_once(self) -> None:
        lineage = lineage_of_jobs([JOB, replace(JOB, job_id="j2")])
        assert len(lineage.inputs) == len(lineage.outputs) == 1

    def test_of_many_jobs_those_without_success_are_described_first(self) -> None:
        many = [replace(JOB, job_id=f"j{number}") for number in range(JOBS_DESCRIBED + 5)]
        lineage = lineage_of_jobs([*many, replace(JOB, job_id="bad", state="Failed", operation=None)])
        facet = checked(lineage, JOBS_FACET)
        assert facet["jobCount"] == JOBS_DESCRIBED + 6
        assert len(facet["jobs"]) == JOBS_DESCRIBED
        assert facet["jobs"][0]["jobId"] == "bad"

    def test_the_user_data_is_left_out(self) -> None:
        assert "the-user-data" not in str(attrs.asdict(lineage_of_jobs([JOB])))


class TestBatches:
    def tally(self, *states: str) -> BatchTally:
        tally = BatchTally()
        for state in states:
            tally.add(Job(state=state))
        return tally

    def test_a_batch_has_folders_as_outputs_and_counts(self) -> None:
        lineage = lineage_of_batch(BATCH, self.tally("Success", "Success", "Failed"), BUCKET, "VoiceSeparate")
        assert names(lineage.inputs) == [(f"cos://{BUCKET}", "in")]
        assert names(lineage.outputs) == [
            ("cos://results-1250000001", "out/b1/v"),
            ("cos://results-1250000001", "/"),
        ]
        batch = checked(lineage, BATCH_FACET)["batch"]
        assert (batch["jobId"], batch["state"], batch["name"]) == ("b1", "Success", "stems")
        assert batch["counts"] == {"Success": 2, "Failed": 1}

    @pytest.mark.parametrize("states", [None, (), ("Failed",)], ids=["running", "no-input", "all-failed"])
    def test_a_batch_without_successful_jobs_has_no_output(self, states: tuple[str, ...] | None) -> None:
        lineage = lineage_of_batch(
            BATCH, None if states is None else self.tally(*states), BUCKET, "VoiceSeparate"
        )
        assert lineage.outputs == []
        checked(lineage, BATCH_FACET)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"Prefix": "/"}, ["/"]),
            ({"Manifest": "inv/manifest.json"}, ["inv/manifest.json"]),
            ({"UrlFile": "https://x/list.txt?q-signature=abc"}, []),
        ],
    )
    def test_the_input_of_a_batch_is_its_prefix_or_manifest(
        self, given: dict[str, str], expected: list[str]
    ) -> None:
        lineage = lineage_of_batch(replace(BATCH, input=given), None, BUCKET, "VoiceSeparate")
        assert [each.name for each in lineage.inputs] == expected
        assert "q-signature" not in str(attrs.asdict(lineage))


BULK_RESULT: BulkResult = {
    "total": 100_000,
    "succeeded": 99_998,
    "failed": 2,
    "submitted": 99_000,
    "reused": 1000,
    "manifest": {"bucket": BUCKET, "region": REGION, "object": "airflow/m.jsonl", "md5": "0" * 32},
    "failures": [],
}


class TestBulkTasks:
    def test_a_hundred_thousand_jobs_are_a_handful_of_datasets(self) -> None:
        lineage = lineage_of_bulk(BULK_RESULT, "in/", ("other-1250000001", REGION, "out"), "VoiceSeparate")
        assert [(each.namespace, each.name) for each in lineage.inputs] == [(f"cos://{BUCKET}", "in")]
        assert [(each.namespace, each.name) for each in lineage.outputs] == [
            (f"cos://{BUCKET}", "airflow/m.jsonl"),
            ("cos://other-1250000001", "out"),
        ]
        assert checked(lineage, BULK_FACET)["bulk"] == {
            "tag": "VoiceSeparate",
            "total": 100_000,
            "succeeded": 99_998,
            "failed": 2,
            "submitted": 99_000,
            "reused": 1000,
        }

    def test_a_list_of_keys_and_no_result(self) -> None:
        lineage = lineage_of_bulk(BULK_RESULT, None, None, "Transcode")
        assert lineage.inputs == []
        assert [each.name for each in lineage.outputs] == ["airflow/m.jsonl"]


class TestLineageNeverFailsATask:
    def test_a_task_without_jobs_has_no_lineage(self, logs: Logs) -> None:
        assert lineage_of_task([], LOG) is None
        assert logs.lines == []

    def test_an_error_is_a_line_in_the_log(self, logs: Logs) -> None:
        assert lineage_of_task(["no job"], LOG) is None
        (line,) = logs.at("warning")
        assert line.startswith("No lineage for OpenLineage: AttributeError")

    def test_without_openlineage_there_is_no_lineage(self, mocker: MockerFixture, logs: Logs) -> None:
        mocker.patch.dict(sys.modules, {"airflow.providers.openlineage.extractors": None})
        del sys.modules[openlineage.__name__]
        task = VoiceSeparateOperator(task_id="t", input_object="a", voice_object="b")
        task.known_jobs = [JOB]
        assert task.get_openlineage_facets_on_complete(None) is None
        assert logs.at("warning") == []
