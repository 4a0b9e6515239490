"""Jobs that have ended, as the content of an asset event."""

from __future__ import annotations

from itertools import islice
from typing import TypedDict

from airflow_provider_ci.exceptions import strip_signatures
from airflow_provider_ci.protocol.jobs import FAILED, Job
from airflow_provider_ci.protocol.results import ResultObject, job_result, result_failure

#: The most files in an event: Airflow stores it once for each asset, and a job may make 10,000 snapshots.
OUTPUTS_MAX = 20


class EndedJobEvent(TypedDict):
    """A job that has ended, as small JSON without secrets.

    ``state`` is the service's, except that a job whose result reports a failure has ``Failed`` though the
    service calls it ``Success``, as for operators; ``message`` has the reason then. Otherwise ``code`` and
    ``message`` are the service's, and ``None`` unless the job failed.

    ``input_object`` is the key of the input, and ``None`` if the job has none, or an address. ``bucket`` and
    ``region`` are those in which the job is described. ``outputs`` has the files by name, as in
    :class:`~airflow_provider_ci.protocol.results.JobResult`, and ``omitted_files`` is the number of those
    that are left out: beyond the first 20, or with a key that fits no output of the request. Times are ISO
    8601 with zone.
    """

    job_id: str | None
    tag: str | None
    state: str
    code: str | None
    message: str | None
    input_object: str | None
    bucket: str | None
    region: str | None
    outputs: dict[str, ResultObject]
    omitted_files: int
    creation_time: str | None
    end_time: str | None
    user_data: str | None


def ended_job_event(job: Job, *, bucket: str | None = None, region: str | None = None) -> EndedJobEvent:
    """Return a job that has ended as the content of an event.

    :param bucket: the bucket in which the job was described; default: that of its input.
    :param region: its region; default: that of the input.
    """
    result = job_result(job)
    failure = result_failure(job)
    outputs = dict(islice(result["outputs"].items(), OUTPUTS_MAX))
    omitted = len(result["outputs"]) - len(outputs) + len(result["other_objects"]) + result["omitted_files"]
    return {
        "job_id": result["job_id"],
        "tag": result["tag"],
        "state": result["state"] if failure is None else str(FAILED),
        "code": result["code"],
        "message": result["message"] if failure is None else strip_signatures(failure),
        "input_object": job.input_object,
        "bucket": bucket or result["input"]["bucket"],
        "region": region or result["input"]["region"],
        "outputs": outputs,
        "omitted_files": omitted,
        "creation_time": result["creation_time"],
        "end_time": result["end_time"],
        "user_data": result["user_data"],
    }
