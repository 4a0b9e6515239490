"""A job's or batch job's outcome as JSON-native data: what operators and sensors push to XCom."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TypedDict

from airflow_provider_ci.exceptions import strip_signatures
from airflow_provider_ci.protocol.batches import BatchInput, BatchJob
from airflow_provider_ci.protocol.jobs import FAILED, Job, Output, OutputFile

#: What each output field of the request receives (460/84794).
STEMS = {
    "voice": "voice_object",
    "background": "background_object",
    "bass": "bass_object",
    "drums": "drum_object",
}

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_NAMES_MATCHED = 100  # a job has four results at most
_KEY_MAX = 1024  # COS has none of more than 850 bytes (436/13324)


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


class UnsuccessfulJob(TypedDict):
    """A job of a batch job that ended ``Failed`` or ``Cancel``, and why."""

    job_id: str | None
    input_object: str | None
    state: str
    code: str | None
    message: str | None


class BatchResult(TypedDict):
    """A batch job as pushed to XCom.

    ``counts`` has the number of its jobs by state, and is empty before they were counted; ``unsuccessful``
    has the first 100 of those that ended without success. Times are ISO 8601 with zone.
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


#: Of a batch job's jobs that ended without success, so many are named: there may be any number.
UNSUCCESSFUL_NAMED = 100


@dataclass(slots=True)
class BatchTally:
    """Counts the jobs of a batch job."""

    counts: Counter[str] = field(default_factory=Counter)
    unsuccessful: list[UnsuccessfulJob] = field(default_factory=list)
    pending: int = 0

    def add(self, job: Job) -> None:
        """Count one job; in an unknown state it is pending."""
        state = job.job_state
        self.counts[str(state)] += 1
        self.pending += not state.is_terminal
        if state.is_terminal and not state.is_successful and len(self.unsuccessful) < UNSUCCESSFUL_NAMED:
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
        """How many jobs there are."""
        return self.counts.total()

    @property
    def without_success(self) -> int:
        """How many ended without success."""
        return self.total - self.counts["Success"] - self.pending


def batch_result(batch: BatchJob, tally: BatchTally) -> BatchResult:
    """Return what a DAG needs to know of ``batch``."""
    code, message = _reason(batch)
    given = batch.input or BatchInput()
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
        "input": {name: value for name in given.__slots__ if (value := getattr(given, name)) is not None},
        "counts": dict(tally.counts),
        "unsuccessful": tally.unsuccessful,
    }


def job_result(job: Job) -> JobResult:
    """Return what a DAG needs to know of ``job``."""
    operation, source = job.operation, job.input
    output = operation.output if operation else None
    media = operation.media_result if operation else None
    outputs, other = _by_stem(
        _known_placeholders(job), output or Output(), (media.output_file if media else None) or OutputFile()
    )
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
    """Return code and message of a job that failed: of others they are "Success" and the like, whatever
    happened.
    """
    if job.job_state != FAILED:
        return None, None
    return job.code, strip_signatures(job.message) if job.message else None


def _by_stem(
    known: dict[str, str], output: Output, written: OutputFile
) -> tuple[dict[str, ResultObject], list[ResultObject]]:
    """Tell the results apart by matching their keys with the request's patterns: their order is not
    promised.
    """
    sums = {info.object_name: info.md5 for info in written.md5_info}
    outputs: dict[str, ResultObject] = {}
    other: list[ResultObject] = []
    for number, name in enumerate(written.object_name):
        # 1045 pages of 2020 say that the key is ObjectPrefix + ObjectName; today the prefix is empty
        key = (written.object_prefix or "") + name
        result: ResultObject = {
            "bucket": written.bucket or output.bucket,
            "region": written.region or output.region,
            "object": key,
            "md5": sums.get(name) or sums.get(key),
        }
        stem = _stem(key, known, output, taken=outputs) if number < _NAMES_MATCHED else None
        if stem is None:
            other.append(result)
        else:
            outputs[stem] = result
    return outputs, other


def _known_placeholders(job: Job) -> dict[str, str]:
    """Return the placeholders whose values are known; those of the input are for a batch job's jobs."""
    path, _, name = ((job.input.object if job.input else None) or "").rpartition("/")
    return {
        "jobid": job.job_id or "",
        "InputName": name.rpartition(".")[0] or name,
        "InputNameAndExt": name,
        "InputPath": path,
    }


def _stem(key: str, known: dict[str, str], output: Output, taken: dict[str, ResultObject]) -> str | None:
    free = {stem: getattr(output, name) for stem, name in STEMS.items() if stem not in taken}
    # a literal key first: out/a.mp3 must not be claimed by out/${jobid}.${ext}
    if key in free.values():
        return next(stem for stem, pattern in free.items() if pattern == key)
    # then the pattern that leaves least open
    patterns = sorted((item for item in free.items() if item[1]), key=lambda item: _openness(item[1], known))
    return next((stem for stem, pattern in patterns if _fits(key, pattern, known)), None)


def _openness(template: str, known: dict[str, str]) -> tuple[int, int]:
    """Count the placeholders that may stand for anything, and those for an extension."""
    names = _PLACEHOLDER.findall(template)
    return sum(name not in known and name != "ext" for name in names), names.count("ext")


def _fits(key: str, template: str, known: dict[str, str]) -> bool:
    """Tell whether a template can have become ``key``.

    Not by a regular expression: with several placeholders that may stand for anything it could take forever,
    and template and key come from outside.
    """
    if len(key) > _KEY_MAX or len(template) > _KEY_MAX:
        return False
    ends = {0}  # where in the key the part of the template before this one may end
    # split gives texts at even places, names of placeholders at odd ones
    for place, part in enumerate(_PLACEHOLDER.split(template)):
        if place % 2 and part not in known:
            ends = _open_ends(key, ends, only_letters_and_digits=part == "ext")
        else:
            ends = {
                end + len(text)
                for text in _texts(part, known, place)
                for end in ends
                if key.startswith(text, end)
            }
    return len(key) in ends


def _texts(part: str, known: dict[str, str], place: int) -> tuple[str, ...]:
    if place % 2 == 0:
        return (part,)
    if part == "jobid":
        return (known[part],)
    # that plain jobs know those of the input is not documented: there they may stay as they are
    return (known[part], f"${{{part}}}")


def _open_ends(key: str, starts: set[int], *, only_letters_and_digits: bool) -> set[int]:
    """Return where a placeholder that stands for one character or more may end."""
    ends: set[int] = set()
    for end in range(1, len(key) + 1):
        goes_on = end - 1 in starts or end - 1 in ends
        letter = key[end - 1]
        if goes_on and (not only_letters_and_digits or (letter.isascii() and letter.isalnum())):
            ends.add(end)
    return ends
