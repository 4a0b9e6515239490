"""Identifies the task instance and the request for which a job was submitted, and recognises the job.

The key is sent in ``UserData``, unless the user has data there. It names the deployment of Airflow and
differs between submissions, so that this task neither takes nor cancels a job of another Airflow, or a job
into which somebody copied the key.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.fields import DefaultName
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.rules import as_number
from airflow_provider_ci.protocol.tree import Tree, find, find_text, find_tree, format_value, with_value

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


def key_of_job(job: Job | BatchJob) -> IdempotencyKey | None:
    """Return the key with which a job was submitted, if it has one."""
    return IdempotencyKey.parse(job.user_data)


def key_of_request(request: Tree) -> IdempotencyKey | None:
    """Return the key in a request, if it has one."""
    return IdempotencyKey.parse(find_text(request, "Operation.UserData"))


def fingerprint(request: Tree, input_location: str) -> str:
    """Return a digest of what the user asked for.

    A retry may run with a later version of the provider, and must compute the same digest. So it does not
    depend on the bytes that are sent, nor on elements without a value, nor on a name that the provider made
    up, nor on whether a number is a string.

    :param input_location: the bucket and region of the input.
    """
    text = json.dumps([input_location, _canonical(request)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_user_data(request: Tree, text: str) -> Tree:
    """Return the request with ``text`` in ``UserData``, or unchanged if the user has data there."""
    if find(request, "Operation.UserData") is not None:
        return request
    return with_value(request, "Operation.UserData", text)


def is_job_of(job: Job | BatchJob, request: Tree) -> bool:
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
    key, user_data = key_of_request(request), job.user_data
    if key is not None and user_data is not None:
        return key.is_same_request(IdempotencyKey.parse(user_data))
    if user_data not in (None, find_text(request, "Operation.UserData")):
        return False
    return _has_input_of(job, request) and _has_equal_fields(job, request)


def _has_input_of(job: Job | BatchJob, request: Tree) -> bool:
    if isinstance(job, BatchJob):
        return request.get("Name") == job.name and _canonical(find_tree(request, "Input")) == _canonical(
            job.input
        )
    requested = find_tree(request, "Input")
    if not requested or not job.input:  # a type of job without input; the time and the other elements decide
        return not requested and not job.input and job_type(job.tag).tag == request.get("Tag")
    keys = [name for name in ("Object", "Url") if requested.get(name)]
    return all(requested.get(name) == job.input.get(name) for name in keys)


def _has_equal_fields(job: Job | BatchJob, request: Tree) -> bool:
    """Tell whether all elements that both a request and a job have are equal. An element that only one of
    them has does not count: the service leaves out some, and adds others.
    """
    wanted, returned = find_tree(request, "Operation"), job.operation or {}
    for name in ("JobParam", None):  # a batch job has its parameters there
        requested_here = wanted.get(name, {}) if name else wanted
        returned_here = returned.get(name, {}) if name else returned
        # A job has a template or parameters; a request with parameters cannot have made one of a template
        if _has_parameters(request, requested_here) and _has_template_only(request, returned_here):
            return False
    envelope = {"Tag": job.tag, "QueueId": job.queue_id}
    is_same_envelope = all(_are_equal(request.get(name), envelope[name]) for name in envelope)
    return is_same_envelope and _are_equal(wanted, returned)


def _are_equal(requested: Any, returned: Any) -> bool:
    if requested is None or returned is None or returned in ("", []) or requested == "":
        return True
    if isinstance(requested, Mapping) and isinstance(returned, Mapping):
        return all(
            _are_equal(value, returned.get(name)) for name, value in requested.items() if name != "UserData"
        )
    if isinstance(requested, Mapping) or isinstance(returned, Mapping):
        return False
    if isinstance(requested, list | tuple) or isinstance(returned, list):
        first, second = (
            [*each] if isinstance(each, list | tuple) else [each] for each in (requested, returned)
        )
        return len(first) == len(second) and all(map(_are_equal, first, second))
    if requested == returned or format_value(requested) == str(returned).lower():
        return True
    number = as_number(requested)
    return number is not None and number == as_number(returned)


def _has_parameters(request: Tree, operation: Any) -> bool:
    kind = job_type(request.get("Tag") or find(request, "Operation.Tag"))
    return any(find(operation, name) is not None for name in kind.parameters)


def _has_template_only(request: Tree, operation: Any) -> bool:
    return not _has_parameters(request, operation) and bool(find(operation, "TemplateId"))


def _canonical(value: Any) -> Any:
    """Return a tree with texts for numbers, and without elements that have no value."""
    if isinstance(value, Mapping):
        return {
            name: _canonical(child)
            for name, child in value.items()
            if child is not None and not isinstance(child, DefaultName)
        }
    if isinstance(value, list | tuple):
        return [_canonical(child) for child in value]
    return format_value(value)


def _readable(text: str) -> str:
    shown = "".join(char if char.isascii() and char.isprintable() and char != " " else "?" for char in text)
    return shown if len(shown) <= _MAX_PART_LENGTH else f"{shown[: _MAX_PART_LENGTH - 3]}..."
