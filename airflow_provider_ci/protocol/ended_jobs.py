"""Jobs that have ended, as the content of an asset event."""

from __future__ import annotations

from itertools import islice
from typing import TypedDict

from airflow_provider_ci.exceptions import strip_signatures
from airflow_provider_ci.protocol.jobs import FAILED, Job
from airflow_provider_ci.protocol.output_matching import match_outputs
from airflow_provider_ci.protocol.results import (
    ResultObject,
    describe_input,
    failure_reason,
    result_failure,
)

#: The most files in an event: Airflow stores it once for each asset, and a job may make 10,000 snapshots.
OUTPUTS_MAX = 20
#: The longest ``message`` in an event, in characters.
MESSAGE_MAX = 2000


class EndedJobEvent(TypedDict):
    """A job that has ended, as small JSON without secrets.

    ``state`` is the service's, except that a job whose result reports a failure has ``Failed`` though the
    service calls it ``Success``, as for operators; ``message`` has the reason then. Otherwise ``code`` and
    ``message`` are the service's, and ``None`` unless the job failed. A message of more than 2,000 characters
    is cut.

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
    # not job_result(), which spends milliseconds on results that an event does not have
    failure = result_failure(job)
    code, message = failure_reason(job) if failure is None else (None, strip_signatures(failure))
    source = describe_input(job)
    files, other = match_outputs(job)
    return {
        "job_id": job.job_id,
        "tag": job.tag,
        "state": str(job.job_state if failure is None else FAILED),
        "code": code,
        "message": message if message is None else message[:MESSAGE_MAX],
        "input_object": job.input_object,
        "bucket": bucket or source["bucket"],
        "region": region or source["region"],
        "outputs": dict(islice(files.items(), OUTPUTS_MAX)),
        "omitted_files": max(len(files) - OUTPUTS_MAX, 0) + len(other),
        "creation_time": job.creation_time.isoformat() if job.creation_time else None,
        "end_time": job.end_time.isoformat() if job.end_time else None,
        "user_data": job.user_data,
    }
