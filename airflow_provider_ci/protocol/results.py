"""Jobs and batch jobs as JSON-native data: what operators and sensors push to XCom."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TypedDict

from airflow_provider_ci.exceptions import strip_signatures
from airflow_provider_ci.protocol.batches import BatchInput, BatchJob
from airflow_provider_ci.protocol.jobs import FAILED, Job, Output, OutputFile
from airflow_provider_ci.protocol.voice_separation import RESULT_FIELDS

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_MATCHED_MAX = 100  # object names of one job that are matched; a job has four results at most
_KEY_MAX = 1024  # characters of a key that is matched; COS has none of more than 850 bytes (436/13324)


class ResultObject(TypedDict):
    """One result object. ``md5`` (hex) is ``None`` if the service sent none."""

    bucket: str | None
    region: str | None
    object: str
    md5: str | None


class JobResult(TypedDict):
    """A job as pushed to XCom.

    ``outputs`` has the results by ``voice``, ``background``, ``bass`` and ``drums``. ``other_objects`` has
    results whose key fits no output of the request; none is known to occur. Times are ISO 8601 with zone.
    ``code`` and ``message`` are the service's, and ``None`` unless the job failed.
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


class UnsuccessfulJob(TypedDict):
    """A job of a batch job that ended with ``Failed`` or ``Cancel``, and the reason."""

    job_id: str | None
    input_object: str | None
    state: str
    code: str | None
    message: str | None


class BatchResult(TypedDict):
    """A batch job as pushed to XCom.

    ``counts`` has the number of its jobs by state, and is empty before they were counted. ``unsuccessful``
    has the first 100 jobs that ended without success. Times are ISO 8601 with zone.
    """

    job_id: str | None
    name: str | None
    state: str
    code: str | None
    message: str | None
    creation_time: str | None
    start_time: str | None
    end_time: str | None
    user_data: str | None
    input: dict[str, str | None]
    counts: dict[str, int]
    unsuccessful: list[UnsuccessfulJob]


#: Entries of ``unsuccessful``, at most.
UNSUCCESSFUL_MAX = 100


@dataclass(slots=True)
class BatchTally:
    """Counts the jobs of a batch job."""

    counts: Counter[str] = field(default_factory=Counter)
    unsuccessful: list[UnsuccessfulJob] = field(default_factory=list)
    pending: int = 0

    def add(self, job: Job) -> None:
        """Count a job. A job in an unknown state counts as pending."""
        state = job.job_state
        self.counts[str(state)] += 1
        self.pending += not state.is_terminal
        if state.is_terminal and not state.is_successful and len(self.unsuccessful) < UNSUCCESSFUL_MAX:
            code, message = _reason(job)
            self.unsuccessful.append(
                {
                    "job_id": job.job_id,
                    "input_object": job.input.object if job.input else None,
                    "state": str(state),
                    "code": code,
                    "message": message,
                }
            )

    @property
    def total(self) -> int:
        """The number of jobs."""
        return self.counts.total()

    @property
    def without_success(self) -> int:
        """The number of jobs that ended without success."""
        return self.total - self.counts["Success"] - self.pending


def batch_result(batch: BatchJob, tally: BatchTally) -> BatchResult:
    """Return a batch job as it is pushed to XCom."""
    code, message = _reason(batch)
    source = batch.input or BatchInput()
    return {
        "job_id": batch.job_id,
        "name": batch.name,
        "state": str(batch.job_state),
        "code": code,
        "message": message,
        "creation_time": batch.creation_time.isoformat() if batch.creation_time else None,
        "start_time": batch.start_time.isoformat() if batch.start_time else None,
        "end_time": batch.end_time.isoformat() if batch.end_time else None,
        "user_data": batch.operation.user_data if batch.operation else None,
        "input": {name: value for name in source.__slots__ if (value := getattr(source, name)) is not None},
        "counts": dict(tally.counts),
        "unsuccessful": tally.unsuccessful,
    }


def job_result(job: Job) -> JobResult:
    """Return a job as it is pushed to XCom."""
    operation, source = job.operation, job.input
    output = operation.output if operation else None
    media = operation.media_result if operation else None
    files = media.output_file if media else None
    outputs, other = _match_outputs(_known_placeholders(job), output or Output(), files or OutputFile())
    code, message = _reason(job)
    return {
        "job_id": job.job_id,
        "state": str(job.job_state),
        "code": code,
        "message": message,
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


def _reason(job: Job | BatchJob) -> tuple[str | None, str | None]:
    """Return code and message of a job that failed. Other jobs have codes such as "Success"."""
    if job.job_state != FAILED:
        return None, None
    return job.code, strip_signatures(job.message) if job.message else None


def _match_outputs(
    known: dict[str, str], output: Output, files: OutputFile
) -> tuple[dict[str, ResultObject], list[ResultObject]]:
    """Return the results by output, and those that fit no output.

    The order of the results is not documented, so their keys are matched with those of the request.
    """
    md5s = {info.object_name: info.md5 for info in files.md5_info}
    outputs: dict[str, ResultObject] = {}
    other: list[ResultObject] = []
    for index, name in enumerate(files.object_name):
        # Pages of 2020 say that the key is ObjectPrefix and ObjectName; today the prefix is empty
        key = (files.object_prefix or "") + name
        result: ResultObject = {
            "bucket": files.bucket or output.bucket,
            "region": files.region or output.region,
            "object": key,
            "md5": md5s.get(name) or md5s.get(key),
        }
        stem = _matching_output(key, known, output, matched=outputs) if index < _MATCHED_MAX else None
        if stem is None:
            other.append(result)
        else:
            outputs[stem] = result
    return outputs, other


def _known_placeholders(job: Job) -> dict[str, str]:
    """Return the placeholders with known values. Only jobs of a batch job have those of the input."""
    path, _, name = ((job.input.object if job.input else None) or "").rpartition("/")
    return {
        "jobid": job.job_id or "",
        "InputName": name.rpartition(".")[0] or name,
        "InputNameAndExt": name,
        "InputPath": path,
    }


def _matching_output(
    key: str, known: dict[str, str], output: Output, matched: dict[str, ResultObject]
) -> str | None:
    """Return the output whose pattern fits ``key``, without those that are ``matched`` already."""
    patterns = {
        stem: pattern
        for stem, name in RESULT_FIELDS.items()
        if stem not in matched and (pattern := getattr(output, name))
    }
    # An equal key comes first: out/${jobid}.${ext} would fit out/a.mp3 too. Then the most specific pattern
    for stem, pattern in patterns.items():
        if pattern == key:
            return stem
    for stem, pattern in sorted(patterns.items(), key=lambda item: _count_unknown(item[1], known)):
        if _fits(key, pattern, known):
            return stem
    return None


def _count_unknown(pattern: str, known: dict[str, str]) -> tuple[int, int]:
    """Count the placeholders whose values are not known, and those for an extension."""
    names = _PLACEHOLDER.findall(pattern)
    return sum(name not in known and name != "ext" for name in names), names.count("ext")


def _fits(key: str, pattern: str, known: dict[str, str]) -> bool:
    """Tell whether ``pattern`` becomes ``key`` when its placeholders are replaced.

    Not by a regular expression: with several unknown placeholders it could take forever, and both strings
    come from outside.
    """
    if len(key) > _KEY_MAX or len(pattern) > _KEY_MAX:
        return False
    ends = {0}  # the indexes of the key at which the parts of the pattern up to here may end
    # split returns text and placeholder names by turns
    for index, part in enumerate(_PLACEHOLDER.split(pattern)):
        if index % 2 == 0:
            ends = _ends_after(key, ends, (part,))
        elif part == "jobid":
            ends = _ends_after(key, ends, (known[part],))
        elif part in known:
            # In a single job the placeholders of the input may stay as they are: it is not documented
            ends = _ends_after(key, ends, (known[part], f"${{{part}}}"))
        else:
            ends = _ends_after_unknown(key, ends, is_extension=part == "ext")
    return len(key) in ends


def _ends_after(key: str, starts: set[int], texts: tuple[str, ...]) -> set[int]:
    """Return where one of ``texts`` ends in ``key`` if it begins at one of ``starts``."""
    return {start + len(text) for text in texts for start in starts if key.startswith(text, start)}


def _ends_after_unknown(key: str, starts: set[int], *, is_extension: bool) -> set[int]:
    """Return where an unknown value of one or more characters may end if it begins at one of ``starts``."""
    ends: set[int] = set()
    for index, char in enumerate(key):
        can_begin_or_continue = index in starts or index in ends
        is_allowed = not is_extension or (char.isascii() and char.isalnum())
        if can_begin_or_continue and is_allowed:
            ends.add(index + 1)
    return ends
