"""Which task instance wants a job or a batch job, which request, and which job answers it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.admin_models import (
    BatchJob,
    BatchJobParam,
    BatchOperation,
    BatchRequest,
    TimeInterval,
)
from airflow_provider_ci.protocol.models import (
    AudioConfig,
    Job,
    Operation,
    Output,
    VoiceSeparate,
    VoiceSeparateRequest,
)

#: What is submitted: a job or a batch job.
R = TypeVar("R", bound=VoiceSeparateRequest | BatchRequest)

# A user's own text may begin with "airflow " too
_MARKER = re.compile(
    r"airflow dag=\S* run=\S* task=\S* map=\S* clear=\S* request=[0-9a-f]{12} id=[0-9a-f]{16}"
)
_PART_MAX = 180


class TaskIdentity(NamedTuple):
    """A task instance; ``clears`` rises whenever somebody clears it, which asks for a new job."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    clears: int

    @property
    def digest(self) -> str:
        """Tells apart what shortening or replacing characters makes look alike."""
        return hashlib.sha256("\0".join(map(str, self)).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def marked(self, user_data: str) -> bool:
        """Tell whether ``user_data`` is a marker of this task instance, whatever the request."""
        return _is_marker(user_data) and user_data.endswith(f"id={self.digest}")

    def marker(self, request_fingerprint: str) -> str:
        """Return the text that identifies this task instance's request in ``UserData``.

        Readable, printable ASCII, at most 1,024 characters.
        """
        names = ("dag", "run", "task", "map", "clear")
        parts = [f"{name}={_readable(str(value))}" for name, value in zip(names, self, strict=True)]
        return f"airflow {' '.join(parts)} request={request_fingerprint[:12]} id={self.digest}"


def fingerprint(request: VoiceSeparateRequest | BatchRequest, place: str) -> str:
    """Return a digest of a request as the user wants it; ``place`` names bucket and region of the input."""
    body = xml.to_bytes(xml.to_element(request, "Request"))
    return hashlib.sha256(place.encode() + b"\0" + body).hexdigest()


def with_marker(request: R, marker: str) -> R:
    """Return the request with the marker in ``UserData``, or unchanged if the user has data there."""
    operation: Any = request.operation
    if operation.user_data is not None:
        return request
    marked: Any = replace(operation, user_data=marker)
    return replace(request, operation=marked)


def is_answer_to(job: Job | BatchJob, request: VoiceSeparateRequest | BatchRequest) -> bool:
    """Tell whether ``job`` is what submitting ``request`` gives.

    A marker names the whole request, so it alone decides: how the service spells what it hands back does not
    matter then. Otherwise ``UserData`` and the input must be equal; of the rest, what the service does not
    hand back cannot differ.
    """
    asked: Any = request.operation
    if asked is not None and _is_marker(asked.user_data):
        got = job.operation.user_data if job.operation else None
        if got is not None:
            return bool(got == asked.user_data)
    if isinstance(request, BatchRequest):
        return isinstance(job, BatchJob) and _is_batch_of(job, request)
    return isinstance(job, Job) and _is_job_of(job, request)


def _is_job_of(job: Job, request: VoiceSeparateRequest) -> bool:
    asked, got = request.operation or Operation(), job.operation or Operation()
    if asked.user_data != got.user_data or not request.input or not job.input:
        return False
    return (
        request.input.object == job.input.object
        and _agree(asked.output or Output(), got.output)
        and _agree_values(asked.template_id, got.template_id)
        and _agree_parameters(asked, got)
    )


def _is_batch_of(batch: BatchJob, request: BatchRequest) -> bool:
    asked, got = request.operation or BatchOperation(), batch.operation or BatchOperation()
    if (request.name, request.input) != (batch.name, batch.input):
        return False
    if got.user_data is not None and asked.user_data != got.user_data:
        return False
    # that a batch job's answers hold UserData is sampled nowhere: without, the whole request decides
    param, given = asked.job_param or BatchJobParam(), got.job_param or BatchJobParam()
    return (
        _agree(asked.output or Output(), got.output)
        and _agree(asked.time_interval or TimeInterval(), got.time_interval)
        and _agree_parameters(param, given)
        and given.template_id in (None, param.template_id)
    )


def _is_marker(user_data: str | None) -> bool:
    return _MARKER.fullmatch(user_data or "") is not None


def _readable(text: str) -> str:
    shown = "".join(char if char.isascii() and char.isprintable() and char != " " else "?" for char in text)
    return shown if len(shown) <= _PART_MAX else f"{shown[: _PART_MAX - 3]}..."


def _agree(asked: Any, got: Any) -> bool:
    """Compare two elements of one kind: the service may leave out what it does not hand back."""
    if got is None:
        return True
    return all(_agree_values(getattr(asked, name), getattr(got, name)) for name in asked.__slots__)


def _agree_values(asked: Any, got: Any) -> bool:
    if asked is None or got is None:
        return True
    return str(asked).lower() == str(got).lower() if not isinstance(asked, str) else bool(asked == got)


def _agree_parameters(asked: Operation | BatchJobParam, got: Operation | BatchJobParam) -> bool:
    wanted = asked.voice_separate
    if asked.template_id is not None or wanted is None:
        return True
    given = got.voice_separate or VoiceSeparate()
    return _agree_values(wanted.audio_mode, given.audio_mode) and _agree(
        wanted.audio_config or AudioConfig(), given.audio_config
    )
