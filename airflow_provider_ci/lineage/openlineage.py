"""Lineage of jobs for OpenLineage: objects in COS are datasets, and a run facet describes the jobs.

Names follow OpenLineage's naming specification for object stores: namespace ``cos://<bucket>``, name the key.
Custom facets follow its rules: their names have a prefix, and each has a schema, a file beside this one.
Nothing here calls the service. This module needs the extra ``openlineage``, so it is loaded only when
OpenLineage asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from airflow.providers.common.compat.openlineage.facet import (
    Dataset,
    InputDataset,
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    RunFacet,
)
from airflow.providers.openlineage.extractors import OperatorLineage
from attrs import define

from airflow_provider_ci import __version__
from airflow_provider_ci.assets.cos import SCHEME
from airflow_provider_ci.assets.outlets import only_result_size
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.results import BatchTally, BulkResult, batch_result, job_result
from airflow_provider_ci.protocol.tree import find_text, find_tree

#: Names of the run facets.
JOBS_FACET, BATCH_FACET, BULK_FACET = "tencentCi_jobs", "tencentCi_batch", "tencentCi_bulk"
#: The facet describes at most this many jobs, those without success first. All datasets are listed.
JOBS_DESCRIBED = 100

# A package URL is permanent and does not depend on a package index
_PRODUCER = f"pkg:pypi/airflow-provider-ci@{__version__}"
_SCHEMA = _PRODUCER + "#airflow_provider_ci/lineage/{}.json"


@define
class TencentCiJobsRunFacet(RunFacet):
    """A task's jobs: see ``TencentCiJobsRunFacet.json``."""

    jobCount: int  # noqa: N815 - names as in the schema
    jobs: list[dict[str, Any]]

    @staticmethod
    def _get_schema() -> str:
        return _SCHEMA.format("TencentCiJobsRunFacet")


@define
class TencentCiBatchRunFacet(RunFacet):
    """The batch job of a task: see ``TencentCiBatchRunFacet.json``."""

    batch: dict[str, Any]

    @staticmethod
    def _get_schema() -> str:
        return _SCHEMA.format("TencentCiBatchRunFacet")


@define
class TencentCiBulkRunFacet(RunFacet):
    """The jobs of a bulk task, counted: see ``TencentCiBulkRunFacet.json``."""

    bulk: dict[str, Any]

    @staticmethod
    def _get_schema() -> str:
        return _SCHEMA.format("TencentCiBulkRunFacet")


def lineage_of_jobs(jobs: Sequence[Job]) -> OperatorLineage[Any, Any]:
    """Return inputs and outputs of ``jobs``, and :class:`TencentCiJobsRunFacet`.

    Outputs are the results that the service reports, so only successful jobs have any.
    """
    described = sorted(jobs, key=lambda job: job.job_state.is_successful)[:JOBS_DESCRIBED]
    facet = TencentCiJobsRunFacet(len(jobs), [_describe_job(job) for job in described], producer=_PRODUCER)
    return OperatorLineage(
        inputs=_unique(each for job in jobs for each in _inputs(job)),
        outputs=_unique(each for job in jobs for each in _outputs(job)),
        run_facets={JOBS_FACET: facet},
    )


def lineage_of_batch(
    batch: BatchJob, tally: BatchTally | None, bucket: str, tag: str
) -> OperatorLineage[Any, Any]:
    """Return a batch job's prefix or manifest as input, the folders of its results as outputs, and
    :class:`TencentCiBatchRunFacet`.

    :param tally: the number of its jobs by state, once it has ended.
    :param bucket: the bucket of the inputs.
    :param tag: the type of its jobs, which the service need not return.
    """
    # not the URL of a list: it may contain a signature, and is no dataset
    keys = [key for name in ("Prefix", "Manifest") if (key := find_text(batch.input, name))]
    outputs: list[Dataset] = []
    if tally is not None and tally.counts["Success"]:
        operation = batch.operation or {}
        patterns = job_type(tag).result_keys(operation).values()
        folders = (_folder(pattern, str(batch.job_id)) for pattern in patterns)
        outputs = [OutputDataset(_namespace(find_text(operation, "Output.Bucket")), each) for each in folders]
    return OperatorLineage(
        inputs=_unique(InputDataset(_namespace(bucket), key.rstrip("/") or "/") for key in keys),
        outputs=_unique(outputs),
        run_facets={
            BATCH_FACET: TencentCiBatchRunFacet(_describe_batch(batch, tally), producer=_PRODUCER),
        },
    )


def lineage_of_bulk(
    result: BulkResult, source: str | None, folder: tuple[str, str, str] | None, tag: str
) -> OperatorLineage[Any, Any]:
    """Return the source of a bulk task's items as input, the manifest and the folder of the results as
    outputs, and :class:`TencentCiBulkRunFacet`. The items, perhaps 100,000, are in the manifest.

    :param source: the prefix, or the key of the manifest with the items; ``None`` for a list.
    :param folder: bucket, region and path of the folder that holds all results, if there are any.
    :param tag: the type of the jobs.
    """
    manifest = result["manifest"]
    bucket = manifest["bucket"]
    outputs = [OutputDataset(_namespace(bucket), manifest["object"])]
    if folder is not None:
        outputs.append(OutputDataset(_namespace(folder[0]), folder[2] or "/"))
    counts = ("total", "succeeded", "failed", "submitted", "reused")
    described = {"tag": tag, **{name: result[name] for name in counts}}  # type: ignore[literal-required]
    return OperatorLineage(
        inputs=[InputDataset(_namespace(bucket), source.rstrip("/") or "/")] if source else [],
        outputs=_unique(outputs),
        run_facets={BULK_FACET: TencentCiBulkRunFacet(described, producer=_PRODUCER)},
    )


def _inputs(job: Job) -> Iterator[Dataset]:
    bucket = find_text(job.input, "BucketId")
    if bucket and job.input_object:
        yield InputDataset(_namespace(bucket), job.input_object)


def _outputs(job: Job) -> Iterator[Dataset]:
    result = job_result(job, max_bytes=None)
    size = only_result_size(job, result)
    for found in (*result["outputs"].values(), *result["other_objects"]):
        if not found["bucket"]:
            continue
        dataset = OutputDataset(_namespace(found["bucket"]), found["object"], outputFacets={})
        if size is not None and dataset.outputFacets is not None:
            dataset.outputFacets["outputStatistics"] = OutputStatisticsOutputDatasetFacet(size=size)
        yield dataset


def _unique(datasets: Iterable[Dataset]) -> list[Dataset]:
    return list({(each.namespace, each.name): each for each in datasets}.values())


def _namespace(bucket: str | None) -> str:
    return f"{SCHEME}://{bucket}"


def _folder(pattern: str, batch_id: str) -> str:
    """Return the folder that contains the results of all jobs of a batch."""
    common = pattern.replace("${InventoryTriggerJobId}", batch_id).partition("${")[0]
    return common.rpartition("/")[0] or "/"


def _describe_job(job: Job) -> dict[str, Any]:
    result, parameters = job_result(job), find_tree(job.operation, "VoiceSeparate")
    return _without_none(
        {
            "jobId": result["job_id"],
            "state": result["state"],
            "code": result["code"],
            "message": result["message"],
            "tag": result["tag"],
            "region": result["input"]["region"],
            "queueId": result["queue_id"],
            "templateId": find_text(job.operation, "TemplateId"),
            "audioMode": find_text(parameters, "AudioMode"),
            "codec": find_text(parameters, "AudioConfig.Codec"),
            **_times(job),
            "outputs": {
                stem: _without_none(
                    {"bucket": found["bucket"], "object": found["object"], "md5": found["md5"]}
                )
                for stem, found in result["outputs"].items()
            },
        }
    )


def _describe_batch(batch: BatchJob, tally: BatchTally | None) -> dict[str, Any]:
    result = batch_result(batch, tally or BatchTally())
    return _without_none(
        {
            "jobId": result["job_id"],
            "name": result["name"],
            "state": result["state"],
            "code": result["code"],
            "message": result["message"],
            **_times(batch),
            "counts": result["counts"],
        }
    )


def _times(job: Job | BatchJob) -> dict[str, Any]:
    """Return the times that the service reports, and the seconds between them."""
    created, started, ended = job.creation_time, job.start_time, job.end_time
    return {
        "creationTime": created.isoformat() if created else None,
        "startTime": started.isoformat() if started else None,
        "endTime": ended.isoformat() if ended else None,
        "queueSeconds": _seconds(created, started),
        "processingSeconds": _seconds(started, ended),
        "totalSeconds": _seconds(created, ended),
    }


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
