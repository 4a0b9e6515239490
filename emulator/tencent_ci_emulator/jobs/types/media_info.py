"""``MediaInfo``: what the input contains (1045/72943). The job has no output."""

from __future__ import annotations

from collections.abc import Callable

from tencent_ci_emulator.jobs.job_output import JobAtWork, JobOutput, read_input
from tencent_ci_emulator.media.media_info import inspect
from tencent_ci_emulator.objects.object_store import ObjectStore


def inspect_input(job: JobAtWork, objects: ObjectStore, _: Callable[[float], None]) -> JobOutput:
    """Do the work of a job.

    :raises JobFailedError: the input is missing or no media file.
    """
    return JobOutput("FFmpeg's demuxers", result={"MediaInfo": read_input(job, objects, inspect)})
