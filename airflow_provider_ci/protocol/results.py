"""Jobs and batch jobs as JSON-native data: what operators and sensors push to XCom."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypedDict

from airflow_provider_ci.exceptions import strip_signatures
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import FAILED, Job
from airflow_provider_ci.protocol.names import is_address, redact_address
from airflow_provider_ci.protocol.output_matching import match_outputs
from airflow_provider_ci.protocol.tree import find_text

#: The longest ``result`` in an XCom, in bytes of JSON: a longer one is shortened.
RESULT_BYTES_MAX = 32 * 1024
#: The most files in an XCom: a job may make 10,000 snapshots.
FILES_MAX = 100
# What is left of texts and lists in a shortened result
_TEXT_LEFT, _ENTRIES_LEFT = 500, 10
# Elements of Operation that are left out of ``result``: they tell nothing of the outcome, or other fields of
# a JobResult have it; and the keys of encrypted media must not be readable in an XCom
_NOT_IN_RESULT = (
    *("TemplateId", "TemplateName", "Output", "UserData", "JobLevel", "MediaResult"),
    *("DecryptKey", "DecryptIv", "EncryptKey", "EncryptIv"),
)


class ResultObject(TypedDict):
    """One result object. ``md5`` (hex) is ``None`` if the service sent none."""

    bucket: str | None
    region: str | None
    object: str
    md5: str | None


class JobResult(TypedDict):
    """A job as pushed to XCom.

    ``outputs`` has the files by name: ``voice``, ``background``, ``bass`` and ``drums`` of a voice
    separation, ``transcript`` and ``detail`` of a speech recognition, ``stream_0`` (by its index) of an
    extraction of streams, ``file`` of other types, and ``file_0``, ``sprite_0``, … of a type with a series.
    ``other_objects`` has files whose key fits no output of the request. Of more than 100 files the first are
    there, and ``omitted_files`` counts the others, which ``TencentCIHook.job_result`` returns too.

    ``result`` is what the service says beyond files, in its own spelling: ``MediaInfo``,
    ``SpeechRecognitionResult`` and others. Signatures of addresses are removed, and texts and lists of a
    long one shortened; ``result_is_complete`` is ``False`` then, and ``TencentCIHook.job_result`` returns all
    of it.

    Times are ISO 8601 with zone. ``code`` and ``message`` are the service's, and ``None`` unless the job
    failed.
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
    result: dict[str, Any]
    result_is_complete: bool
    omitted_files: int


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


class BulkFailure(TypedDict):
    """An item of a bulk task without a successful job. ``job_id`` is ``None`` if the service has accepted
    none, and ``code`` and ``message`` say why.
    """

    input_object: str | None
    job_id: str | None
    state: str | None
    code: str | None
    message: str | None


class BulkResult(TypedDict):
    """What a bulk task returns. The manifest has a line for each item; ``failures`` has the first 20 items
    without a successful job.

    ``submitted`` counts the jobs that the task's last try submitted, ``reused`` those that it found.
    """

    total: int
    succeeded: int
    failed: int
    submitted: int
    reused: int
    manifest: ResultObject
    failures: list[BulkFailure]


class BulkEstimate(TypedDict):
    """What a bulk task with ``dry_run`` returns.

    ``to_submit`` counts the items without a successful job. ``media_minutes`` is the length of their inputs,
    estimated from the ``measured`` ones; ``None`` if none could be measured.
    """

    dry_run: bool
    total: int
    reused: int
    to_submit: int
    media_minutes: float | None
    measured: int


#: Entries of ``unsuccessful``, at most.
UNSUCCESSFUL_MAX = 100


@dataclass(slots=True)
class BatchTally:
    """Counts the jobs of a batch job."""

    counts: Counter[str] = field(default_factory=Counter)
    unsuccessful: list[UnsuccessfulJob] = field(default_factory=list)
    pending: int = 0
    failed_results: int = 0  # of jobs in state Success

    def add(self, job: Job) -> None:
        """Count a job. A job in an unknown state counts as pending."""
        state = job.job_state
        self.counts[str(state)] += 1
        self.pending += not state.is_terminal
        failure = result_failure(job)
        self.failed_results += failure is not None
        has_failed = failure is not None or (state.is_terminal and not state.is_successful)
        if has_failed and len(self.unsuccessful) < UNSUCCESSFUL_MAX:
            code, message = failure_reason(job) if failure is None else (None, failure)
            self.unsuccessful.append(
                {
                    "job_id": job.job_id,
                    "input_object": job.input_object,
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
        """The number of jobs that ended without success, or with a result that reports a failure."""
        successful = self.counts["Success"] - self.failed_results
        return self.total - self.pending - successful


_BATCH_INPUTS = {"Manifest": "manifest", "UrlFile": "url_file", "Prefix": "prefix", "Object": "object"}


def batch_result(batch: BatchJob, tally: BatchTally) -> BatchResult:
    """Return a batch job as it is pushed to XCom."""
    code, message = failure_reason(batch)
    source = batch.input or {}
    return {
        "job_id": batch.job_id,
        "name": batch.name,
        "state": str(batch.job_state),
        "code": code,
        "message": message,
        "creation_time": batch.creation_time.isoformat() if batch.creation_time else None,
        "start_time": batch.start_time.isoformat() if batch.start_time else None,
        "end_time": batch.end_time.isoformat() if batch.end_time else None,
        "user_data": batch.user_data,
        "input": {
            name: text for element, name in _BATCH_INPUTS.items() if (text := find_text(source, element))
        },
        "counts": dict(tally.counts),
        "unsuccessful": tally.unsuccessful,
    }


def job_result(job: Job, max_bytes: int | None = RESULT_BYTES_MAX) -> JobResult:
    """Return a job as it is pushed to XCom.

    :param max_bytes: the longest ``result``, in bytes of JSON; ``None`` for no limit, neither for it nor for
        the number of files.
    """
    code, message = failure_reason(job)
    outputs, other = match_outputs(job)
    whole_result = service_result(job)
    # an echoed parameter may be a signed address, which others may read in an XCom
    shown = whole_result if max_bytes is None else _without_signatures(whole_result)
    is_short = max_bytes is None or _json_length(shown) <= max_bytes
    omitted = 0
    if max_bytes is not None:
        outputs, other, omitted = _limit_files(outputs, other)
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
        "user_data": job.user_data,
        "input": describe_input(job),
        "outputs": outputs,
        "other_objects": other,
        "result": shown if is_short else _shorten(shown, max_bytes or 0),
        "result_is_complete": is_short and shown == whole_result,
        "omitted_files": omitted,
    }


def _limit_files(
    outputs: dict[str, ResultObject], other: list[ResultObject]
) -> tuple[dict[str, ResultObject], list[ResultObject], int]:
    """Return the first files, and the number of those that are left out."""
    named = dict(islice(outputs.items(), FILES_MAX))
    others = other[: FILES_MAX - len(named)]
    return named, others, len(outputs) + len(other) - len(named) - len(others)


def service_result(job: Job) -> dict[str, Any]:
    """Return all that the service says about the outcome of a job beyond its files, as JSON."""
    kind = job_type(job.tag)
    # the service returns the parameters as they were sent
    sent = () if kind.keeps_result_in_parameters else kind.parameters
    return {
        name: value for name, value in (job.operation or {}).items() if name not in (*_NOT_IN_RESULT, *sent)
    }


def result_failure(job: Job | BatchJob) -> str | None:
    """Return why a job in state ``Success`` has failed all the same, as its result says; else ``None``."""
    if isinstance(job, BatchJob) or not job.job_state.is_successful:
        return None
    return next(_failures(job.operation or {}, ""), None)


def _failures(value: Any, path: str) -> Iterator[str]:
    """Yield the parts of a result that report a failure."""
    if isinstance(value, list):
        for entry in value:
            yield from _failures(entry, path)
    elif isinstance(value, Mapping):
        code = (find_text(value, "SubErrCode") or "").strip()
        if code not in ("", "0"):
            reason = find_text(value, "SubErrMsg")
            yield f"{path}.SubErrCode is {code}" + (f" ({strip_signatures(reason)})" if reason else "")
        if path.endswith("DigitalWatermark") and (find_text(value, "State") or "").strip() == FAILED:
            yield f"{path}.State is Failed"
        for name, child in value.items():
            yield from _failures(child, f"{path}.{name}" if path else name)


def describe_input(job: Job) -> dict[str, str | None]:
    """Return bucket, region and key of the input; of an address, what is no secret in it."""
    described = {
        "bucket": find_text(job.input, "BucketId") or find_text(job.input, "Bucket"),
        "region": find_text(job.input, "Region"),
        "object": job.input_object,
    }
    url = find_text(job.input, "Url")
    return {**described, "url": redact_address(url)} if url else described


def _json_length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _without_signatures(value: Any) -> Any:
    """Return a part of a result in which addresses have no signatures."""
    if isinstance(value, Mapping):
        return {name: _without_signatures(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_without_signatures(entry) for entry in value]
    return strip_signatures(value) if isinstance(value, str) and is_address(value) else value


def _shorten(result: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """Return a result with texts and lists so short that it fits; as a last resort, only its names."""
    for texts, entries in ((_TEXT_LEFT, _ENTRIES_LEFT), (_TEXT_LEFT // 5, 1)):
        shorter: dict[str, Any] = _cut(result, texts, entries)
        if _json_length(shorter) <= max_bytes:
            return shorter
    return {name[:_TEXT_LEFT]: "…" for name in list(result)[:_ENTRIES_LEFT]}


def _cut(value: Any, text_left: int, entries_left: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _cut(child, text_left, entries_left) for name, child in value.items()}
    if isinstance(value, list):
        return [_cut(entry, text_left, entries_left) for entry in value[:entries_left]]
    if isinstance(value, str) and len(value) > text_left:
        return f"{value[:text_left]}…"
    return value


def failure_reason(job: Job | BatchJob) -> tuple[str | None, str | None]:
    """Return code and message of a job that failed. Other jobs have codes such as "Success"."""
    if job.job_state != FAILED:
        return None, None
    return job.code, strip_signatures(job.message) if job.message else None
