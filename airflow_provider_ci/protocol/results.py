"""A job's outcome as JSON-native data: what operators and sensors push to XCom."""

from __future__ import annotations

import re
from typing import TypedDict

from airflow_provider_ci.exceptions import without_signatures
from airflow_provider_ci.protocol.models import FAILED, Job, Output, OutputFile

#: What each output field of the request receives (460/84794).
STEMS = {"voice": "au_object", "background": "object", "bass": "bass_object", "drums": "drum_object"}


class ResultObject(TypedDict):
    """One result object; ``md5`` is the hex MD5 that the service computed, or ``None`` if it gave none."""

    bucket: str | None
    region: str | None
    object: str
    md5: str | None


class JobResult(TypedDict):
    """A job as pushed to XCom.

    ``outputs`` has one entry for each result, under ``voice``, ``background``, ``bass`` or ``drums``; results
    whose key fits no output of the request (none is known to occur) are kept in ``other_objects``. Times are
    ISO 8601 with zone. ``code`` and ``message`` are the service's, ``None`` unless the job failed.
    """

    job_id: str | None
    state: str
    code: str | None
    message: str | None
    creation_time: str | None
    start_time: str | None
    end_time: str | None
    queue_id: str | None
    tag: str | None
    user_data: str | None
    input: dict[str, str | None]
    outputs: dict[str, ResultObject]
    other_objects: list[ResultObject]


def job_result(job: Job) -> JobResult:
    """Return what a DAG needs to know of ``job``."""
    operation, source = job.operation, job.input
    output = operation.output if operation else None
    media = operation.media_result if operation else None
    outputs, other = _by_stem(
        job.job_id or "", output or Output(), (media.output_file if media else None) or OutputFile()
    )
    failed = job.job_state == FAILED  # otherwise they are "Success" and the like, whatever happened
    return {
        "job_id": job.job_id,
        "state": str(job.job_state),
        "code": job.code if failed else None,
        "message": without_signatures(job.message) if failed and job.message else None,
        "creation_time": job.creation_time.isoformat() if job.creation_time else None,
        "start_time": job.start_time.isoformat() if job.start_time else None,
        "end_time": job.end_time.isoformat() if job.end_time else None,
        "queue_id": job.queue_id,
        "tag": job.tag,
        "user_data": operation.user_data if operation else None,
        "input": {
            "bucket": source.bucket_id if source else None,
            "region": source.region if source else None,
            "object": source.object if source else None,
        },
        "outputs": outputs,
        "other_objects": other,
    }


def _by_stem(
    job_id: str, output: Output, written: OutputFile
) -> tuple[dict[str, ResultObject], list[ResultObject]]:
    """Tell the results apart by matching their keys with the request's patterns: their order is not
    promised.
    """
    sums = {info.object_name: info.md5 for info in written.md5_info}
    outputs: dict[str, ResultObject] = {}
    other: list[ResultObject] = []
    for name in written.object_name:
        # 1045 pages of 2020 say that the key is ObjectPrefix + ObjectName; today the prefix is empty
        key = (written.object_prefix or "") + name
        result: ResultObject = {
            "bucket": written.bucket or output.bucket,
            "region": written.region or output.region,
            "object": key,
            "md5": sums.get(name) or sums.get(key),
        }
        stem = _stem(key, job_id, output, taken=outputs)
        if stem is None:
            other.append(result)
        else:
            outputs[stem] = result
    return outputs, other


def _stem(key: str, job_id: str, output: Output, taken: dict[str, ResultObject]) -> str | None:
    free = {stem: getattr(output, name) for stem, name in STEMS.items() if stem not in taken}
    # a literal key first: out/a.mp3 must not be claimed by out/${jobid}.${ext}
    if key in free.values():
        return next(stem for stem, pattern in free.items() if pattern == key)
    # then a pattern without ${ext}, which stands for any extension
    patterns = sorted((item for item in free.items() if item[1]), key=lambda item: item[1].count("${ext}"))
    matches = (stem for stem, pattern in patterns if _pattern(pattern, job_id).fullmatch(key))
    return next(matches, None)


def _pattern(template: str, job_id: str) -> re.Pattern[str]:
    text = re.escape(template)
    for placeholder, value in (("${jobid}", re.escape(job_id)), ("${ext}", "[A-Za-z0-9]+")):
        text = text.replace(re.escape(placeholder), value)
    return re.compile(text, re.DOTALL)
