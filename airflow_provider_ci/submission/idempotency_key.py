"""Identifies the task instance and the request for which a job was submitted, and recognises the job.

The key is sent in ``UserData``, unless the user has data there. It names the deployment of Airflow and
differs between submissions, so that this task neither takes nor cancels a job of another Airflow, or a job
into which somebody copied the key.
"""

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

#: The request for a job, or for a batch job.
R = TypeVar("R", bound=JobRequest | BatchRequest)

#: Who waits for the job that is submitted: a worker, a triggerer, or nobody.
WORKER, TRIGGERER, NOBODY = "worker", "triggerer", "nobody"

# Matches the whole key, because a user's own data may begin with "airflow " too
_KEY = re.compile(
    r"airflow dag=\S* run=\S* task=\S* map=\S* deployment=\S* max_tries=(?P<max_tries>-?\d{1,9})"
    r" waits=(?P<waits>worker|triggerer|nobody) request=(?P<request>[0-9a-f]{12}) id=(?P<id>[0-9a-f]{16})"
    r" nonce=(?P<nonce>[0-9a-f]{8})"
)
_MAX_PART_LENGTH = 150


class TaskIdentity(NamedTuple):
    """A task instance of one Airflow.

    :param deployment: distinguishes this Airflow from others that run the same DAG: the connection's
        ``deployment``, or the moment at which the DAG run started, in microseconds.
    :param max_tries: from Airflow's database. Clearing the task increases it, and asks for a new job.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    deployment: str
    max_tries: int

    @property
    def digest(self) -> str:
        """A digest of all but ``max_tries``, so that a clear does not change it. It differs between task
        instances whose names in a key are equal because they were shortened.
        """
        text = "\0".join(map(str, self[:-1]))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def idempotency_key(self, request_fingerprint: str, waits: str) -> str:
        """Return a new key for ``UserData``: readable, printable ASCII, at most 1,024 characters.

        :param waits: ``worker``, ``triggerer`` or ``nobody``.
        """
        names = ("dag", "run", "task", "map", "deployment", "max_tries")
        parts = [f"{name}={_readable(str(value))}" for name, value in zip(names, self, strict=True)]
        return (
            f"airflow {' '.join(parts)} waits={waits} request={request_fingerprint[:12]} id={self.digest}"
            f" nonce={secrets.token_hex(4)}"
        )


class IdempotencyKey(NamedTuple):
    """The parts of a key that decide whether a job belongs to a task instance and its request.

    :param task_instance: :attr:`TaskIdentity.digest`.
    :param request: the beginning of the request's :func:`fingerprint`.
    :param nonce: differs between submissions. If two jobs have the same one, somebody copied the key.
    """

    task_instance: str
    max_tries: int
    request: str
    waits: str
    nonce: str

    @classmethod
    def parse(cls, user_data: str | None) -> IdempotencyKey | None:
        """Return the key in ``UserData``; ``None`` if there is none, or other data."""
        found = _KEY.fullmatch(user_data or "")
        if found is None:
            return None
        return cls(found["id"], int(found["max_tries"]), found["request"], found["waits"], found["nonce"])

    def is_same_request(self, other: IdempotencyKey | None) -> bool:
        """Tell whether both keys are for the same request of one task instance, without a clear between them.
        Who waits is not compared: the user may change that between two tries.
        """
        return other is not None and self[:3] == other[:3]

    def is_other_request(self, wanted: IdempotencyKey) -> bool:
        """Tell whether both keys are for one task instance, without a clear between them, but for different
        requests.
        """
        return self[:2] == wanted[:2] and self.request != wanted.request

    def was_cleared_while_worker_waited(self, wanted: IdempotencyKey) -> bool:
        """Tell whether a worker waited for the submission of this key, and ``wanted`` is the key of the same
        request after a clear.
        """
        is_same = (self.task_instance, self.request) == (wanted.task_instance, wanted.request)
        return is_same and self.max_tries < wanted.max_tries and self.waits == WORKER


def user_data_of(job: Job | BatchJob) -> str | None:
    """Return the ``UserData`` that the service returns with a job, if any."""
    return job.operation.user_data if job.operation else None


def key_of_job(job: Job | BatchJob) -> IdempotencyKey | None:
    """Return the key with which a job was submitted, if it has one."""
    return IdempotencyKey.parse(user_data_of(job))


def key_of_request(request: JobRequest | BatchRequest) -> IdempotencyKey | None:
    """Return the key in a request, if it has one."""
    return IdempotencyKey.parse(request.operation.user_data if request.operation else None)


def fingerprint(request: JobRequest | BatchRequest, input_location: str) -> str:
    """Return a digest of what the user asked for.

    A retry may run with a later version of the provider, and must compute the same digest. So it does not
    depend on the bytes that are sent, nor on arguments that were left at their defaults, nor on a name that
    the provider made up.

    :param input_location: the bucket and region of the input.
    """
    arguments = {"Tag": getattr(request, "tag", None), "Request": _without_defaults(request)}
    text = json.dumps([input_location, arguments], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_user_data(request: R, text: str) -> R:
    """Return the request with ``text`` in ``UserData``, or unchanged if the user has data there."""
    operation: Any = request.operation
    if operation.user_data is not None:
        return request
    return replace(request, operation=replace(operation, user_data=text))


def is_job_of(job: Job | BatchJob, request: JobRequest | BatchRequest) -> bool:
    """Tell whether ``job`` may have come from submitting ``request``.

    ===========================  ==================================================================
    ``UserData``                 it is the request's job if
    ===========================  ==================================================================
    the request has a key, and   the job's key is for the same request of the same task instance;
    the job has ``UserData``     the service may spell the rest differently
    the request has a key, and   input and name are equal, and no other field contradicts; it may
    the job has no ``UserData``  then be somebody else's job as well
    the user's own               the same, and the job's ``UserData`` is equal or missing
    ===========================  ==================================================================
    """
    key, user_data = key_of_request(request), user_data_of(job)
    if key is not None and user_data is not None:
        return key.is_same_request(IdempotencyKey.parse(user_data))
    own_data = request.operation.user_data if request.operation else None
    if user_data not in (None, own_data):
        return False
    return _has_input_of(job, request) and _has_equal_fields(request, job)


def _has_input_of(job: Job | BatchJob, request: JobRequest | BatchRequest) -> bool:
    if isinstance(request, BatchRequest):
        return isinstance(job, BatchJob) and (request.name, request.input) == (job.name, job.input)
    if not isinstance(job, Job) or not request.input or not job.input:
        return False
    return request.input.object == job.input.object


# is_job_of compares these itself, and more strictly
_NOT_COMPARED = {"user_data", "input", "name"}
# A job has one of the two; a request with parameters cannot have made a job that shows a template only
_TEMPLATE, _PARAMETERS = "template_id", "voice_separate"


def _has_equal_fields(requested: Any, returned: Any) -> bool:
    """Tell whether all fields that both a request and a job have are equal. A field that only one of them has
    does not count: the service leaves out some fields and adds others.
    """
    if requested is None or returned is None:
        return True
    if isinstance(requested, tuple) or isinstance(returned, tuple):
        return not requested or not returned or list(map(str, requested)) == list(map(str, returned))
    if isinstance(requested, str):
        return bool(requested == returned)
    if not dataclasses.is_dataclass(requested):
        return str(requested).lower() == str(returned).lower()
    if _has_parameters(requested) and _has_template_only(returned):
        return False
    return all(
        _has_equal_fields(getattr(requested, field.name), getattr(returned, field.name, None))
        for field in dataclasses.fields(requested)
        if field.name not in _NOT_COMPARED
    )


def _has_parameters(operation: Any) -> bool:
    return getattr(operation, _PARAMETERS, None) is not None


def _has_template_only(operation: Any) -> bool:
    return not _has_parameters(operation) and getattr(operation, _TEMPLATE, None) is not None


def _without_defaults(obj: Any) -> dict[str, Any]:
    """Return a dataclass as a dict with the names of its XML elements, without fields that have their default
    value.
    """
    return {
        element_names(field)[0]: _as_json(value)
        for field in dataclasses.fields(obj)
        if (value := getattr(obj, field.name)) is not None
        and value != field.default
        and not isinstance(value, DefaultName)
    }


def _as_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _without_defaults(value)
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return format_time(value) if isinstance(value, datetime) else str(value)


def _readable(text: str) -> str:
    shown = "".join(char if char.isascii() and char.isprintable() and char != " " else "?" for char in text)
    return shown if len(shown) <= _MAX_PART_LENGTH else f"{shown[: _MAX_PART_LENGTH - 3]}..."
