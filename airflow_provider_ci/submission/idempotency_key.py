"""Which task instance wants a job or a batch job, which request, and which job is the one it submitted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from airflow_provider_ci.protocol.batches import BatchJob, BatchRequest
from airflow_provider_ci.protocol.fields import DefaultName, element_names, format_time
from airflow_provider_ci.protocol.jobs import Job, JobRequest

#: What is submitted: a job or a batch job.
R = TypeVar("R", bound=JobRequest | BatchRequest)

#: Who waits for the job that is submitted: a worker, a triggerer, or nobody.
WORKER, TRIGGERER, NOBODY = "worker", "triggerer", "nobody"

# A user's own text may begin with "airflow " too
_KEY = re.compile(
    r"airflow dag=\S* run=\S* task=\S* map=\S* deployment=\S* max_tries=(?P<max_tries>-?\d{1,9})"
    r" waits=(?P<waits>worker|triggerer|nobody) request=(?P<request>[0-9a-f]{12}) id=(?P<id>[0-9a-f]{16})"
    r" nonce=(?P<nonce>[0-9a-f]{8})"
)
_PART_MAX = 150


class TaskIdentity(NamedTuple):
    """A task instance of one Airflow.

    :param deployment: tells this Airflow from others that run the same DAG: what the connection says, or the
        moment at which the DAG run started, in microseconds.
    :param max_tries: as Airflow's database has it. Clearing the task raises it, which asks for a new job.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    deployment: str
    max_tries: int

    @property
    def digest(self) -> str:
        """Tells apart what shortening or replacing characters makes look alike; the same after a clear."""
        text = "\0".join(map(str, self[:-1]))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def idempotency_key(self, request_fingerprint: str, waits: str) -> str:
        """Return the text that identifies this task instance's request in ``UserData``.

        Readable, printable ASCII, at most 1,024 characters.
        """
        names = ("dag", "run", "task", "map", "deployment", "max_tries")
        parts = [f"{name}={_readable(str(value))}" for name, value in zip(names, self, strict=True)]
        return (
            f"airflow {' '.join(parts)} waits={waits} request={request_fingerprint[:12]} id={self.digest}"
            f" nonce={secrets.token_hex(4)}"
        )


class IdempotencyKey(NamedTuple):
    """What counts of the text that :meth:`TaskIdentity.idempotency_key` makes.

    :param nonce: another one for each submission, so that a job into which somebody has copied the text of an
        earlier one can be told from it.
    """

    task_instance: str
    max_tries: int
    request: str
    waits: str
    nonce: str

    @classmethod
    def parse(cls, user_data: str | None) -> IdempotencyKey | None:
        """Return the key in ``UserData``, or ``None`` if there is another text."""
        found = _KEY.fullmatch(user_data or "")
        if found is None:
            return None
        return cls(found["id"], int(found["max_tries"]), found["request"], found["waits"], found["nonce"])

    def is_same_request(self, other: IdempotencyKey | None) -> bool:
        """Tell whether both are of one request of one task instance, between the same two clears. Who waits
        may be edited between two tries, and does not count.
        """
        return other is not None and self[:3] == other[:3]


def user_data_of(job: Job | BatchJob) -> str | None:
    """Return the ``UserData`` that the service hands back with a job, if any."""
    return job.operation.user_data if job.operation else None


def fingerprint(request: JobRequest | BatchRequest, bucket_and_region: str) -> str:
    """Return a digest of what the user asks for.

    Not of the bytes that are sent: they may change with the provider's version. An argument that is added to
    it later, and that the user does not give, changes no digest. Nor does a name that the user did not give.

    :param bucket_and_region: of the input.
    """
    asked = {"Tag": getattr(request, "tag", None), "Request": _values_that_are_no_defaults(request)}
    text = json.dumps([bucket_and_region, asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_user_data(request: R, text: str) -> R:
    """Return the request with ``text`` in ``UserData``, or unchanged if the user has data there."""
    operation: Any = request.operation
    if operation.user_data is not None:
        return request
    changed: Any = replace(operation, user_data=text)
    return replace(request, operation=changed)


def is_job_of(job: Job | BatchJob, request: JobRequest | BatchRequest) -> bool:
    """Tell whether ``job`` is what submitting ``request`` gives.

    An idempotency key names the whole request, so it alone decides: how the service spells what it hands back
    does not matter then. Without one ``UserData`` and the input must be equal, and the rest must not
    contradict.
    """
    asked: Any = request.operation
    got = user_data_of(job)
    key = IdempotencyKey.parse(asked.user_data) if asked else None
    if key is not None and got is not None:
        return key.is_same_request(IdempotencyKey.parse(got))
    if isinstance(request, BatchRequest):
        return isinstance(job, BatchJob) and _is_batch_of(job, request)
    return isinstance(job, Job) and _is_single_job_of(job, request, has_key=key is not None)


def _is_single_job_of(job: Job, request: JobRequest, *, has_key: bool) -> bool:
    asked: Any = request.operation
    # a service that does not hand back UserData cannot be asked for it: the request decides then
    if not has_key and user_data_of(job) not in (None, asked.user_data if asked else None):
        return False
    if not request.input or not job.input or request.input.object != job.input.object:
        return False
    return _agree(request, job)


def _is_batch_of(batch: BatchJob, request: BatchRequest) -> bool:
    asked: Any = request.operation
    if (request.name, request.input) != (batch.name, batch.input):
        return False
    # that a batch job's answers hold UserData is sampled nowhere: without, the whole request decides
    if IdempotencyKey.parse(asked.user_data) is None and user_data_of(batch) not in (None, asked.user_data):
        return False
    return _agree(request, batch)


# Compared by the callers, in a stricter way
_NOT_COMPARED = {"user_data", "input", "name"}
# One excludes the other: a job with one of them is no answer to a request with the other
_TEMPLATE, _PARAMETERS = "template_id", "voice_separate"


def _agree(asked: Any, got: Any) -> bool:
    """Compare every field that a request and a job have in common. The service may leave out what it does not
    hand back, and adds what was not asked for.
    """
    if asked is None or got is None:
        return True
    if isinstance(asked, tuple) or isinstance(got, tuple):
        return not asked or not got or list(map(str, asked)) == list(map(str, got))
    if not dataclasses.is_dataclass(asked):
        return bool(asked == got) if isinstance(asked, str) else str(asked).lower() == str(got).lower()
    asks_parameters = getattr(asked, _PARAMETERS, None) is not None
    has_template_only = getattr(got, _PARAMETERS, None) is None and getattr(got, _TEMPLATE, None) is not None
    if asks_parameters and has_template_only:
        return False
    return all(
        _agree(getattr(asked, field.name), getattr(got, field.name, None))
        for field in dataclasses.fields(asked)
        if field.name not in _NOT_COMPARED
    )


def _values_that_are_no_defaults(obj: Any) -> dict[str, Any]:
    """Return a dataclass under the names of its elements, without what nobody gave."""
    return {
        element_names(field)[0]: _plain(value)
        for field in dataclasses.fields(obj)
        if (value := getattr(obj, field.name)) is not None
        and value != field.default
        and not isinstance(value, DefaultName)
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _values_that_are_no_defaults(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return format_time(value) if isinstance(value, datetime) else str(value)


def _readable(text: str) -> str:
    shown = "".join(char if char.isascii() and char.isprintable() and char != " " else "?" for char in text)
    return shown if len(shown) <= _PART_MAX else f"{shown[: _PART_MAX - 3]}..."
