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
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.fields import DefaultName
from airflow_provider_ci.protocol.job_types.job_type import Need
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import Job
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
# With a leading zero it is not a number: 007 and 7 are different ids
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?")


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
        """A digest of all but ``max_tries``, so that a clear does not change it. A key has long names in
        shortened form; if two become equal, the digests still differ.
        """
        text = "\0".join(map(str, self[:-1]))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def idempotency_key(self, request_fingerprint: str, who_waits: str) -> str:
        """Return a new key for ``UserData``: readable, printable ASCII, at most 1,024 characters.

        :param who_waits: ``worker``, ``triggerer`` or ``nobody``.
        """
        names = ("deployment", "max_tries")
        rest = [f"{name}={_readable(str(getattr(self, name)))}" for name in names]
        return (
            f"{self._names} {' '.join(rest)} waits={who_waits} request={request_fingerprint[:12]}"
            f" id={self.digest} nonce={secrets.token_hex(4)}"
        )

    def may_have_sent(self, user_data: str | None) -> bool:
        """Tell whether a key is for a task instance with these names, of whichever Airflow."""
        return ParsedKey.parse(user_data) is not None and f"{user_data}".startswith(
            f"{self._names} deployment="
        )

    @property
    def _names(self) -> str:
        names = ("dag", "run", "task", "map")
        parts = [f"{name}={_readable(str(value))}" for name, value in zip(names, self, strict=False)]
        return f"airflow {' '.join(parts)}"


class ParsedKey(NamedTuple):
    """The parts of an idempotency key that decide whether a job belongs to a task instance and its request.

    :param task_instance: :attr:`TaskIdentity.digest`.
    :param request: the beginning of the request's :func:`fingerprint`.
    :param nonce: differs between submissions. If two jobs have the same one, somebody copied the key.
    """

    task_instance: str
    max_tries: int
    request: str
    who_waits: str
    nonce: str

    @classmethod
    def parse(cls, user_data: str | None) -> ParsedKey | None:
        """Return the key in ``UserData``; ``None`` if there is none, or other data."""
        found = _KEY.fullmatch((user_data or "").strip())
        if found is None:
            return None
        return cls(found["id"], int(found["max_tries"]), found["request"], found["waits"], found["nonce"])

    def is_same_request(self, other: ParsedKey | None) -> bool:
        """Tell whether both keys are for the same request of one task instance, without a clear between them.
        Who waits is not compared: the user may change that between two tries.
        """
        return other is not None and self._is_without_clear(other) and self.request == other.request

    def is_other_request(self, wanted: ParsedKey) -> bool:
        """Tell whether both keys are for one task instance, without a clear between them, but for different
        requests.
        """
        return self._is_without_clear(wanted) and self.request != wanted.request

    def was_cleared_while_worker_waited(self, wanted: ParsedKey) -> bool:
        """Tell whether a worker waited for the submission of this key, and ``wanted`` is the key of the same
        request after a clear.
        """
        is_same = (self.task_instance, self.request) == (wanted.task_instance, wanted.request)
        return is_same and self.max_tries < wanted.max_tries and self.who_waits == WORKER

    def _is_without_clear(self, other: ParsedKey) -> bool:
        """Tell whether both keys are for one task instance, without a clear between them."""
        return (self.task_instance, self.max_tries) == (other.task_instance, other.max_tries)


def key_of_job(job: Job | BatchJob) -> ParsedKey | None:
    """Return the key with which a job was submitted, if it has one."""
    return ParsedKey.parse(job.user_data)


def key_of_request(request: Tree) -> ParsedKey | None:
    """Return the key in a request, if it has one."""
    return ParsedKey.parse(find_text(request, "Operation.UserData"))


def fingerprint(request: Tree, input_location: str) -> str:
    """Return a digest of what the user asked for.

    A retry may run with a later version of the provider, and must compute the same digest: a task whose
    request seems to have changed pays for another job. So it does not depend on the bytes that are sent, nor
    on how the same elements are written as a tree, nor on a name that the provider made up.

    :param input_location: the bucket and region of the input.
    """
    content = {name: value for name, value in request.items() if name != "Tag"}
    asked_for = {"Tag": request.get("Tag"), "Request": _canonical(content)}
    text = json.dumps([input_location, asked_for], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_user_data(request: Tree, text: str) -> Tree:
    """Return the request with ``text`` in ``UserData``, or unchanged if the user has data there."""
    if (find_text(request, "Operation.UserData") or "").strip():
        return request  # mere whitespace is none: responses are read without it
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
    the user's own               input, name and other fields are as above, and the job's
                                 ``UserData`` is equal or missing
    ===========================  ==================================================================
    """
    key, user_data = key_of_request(request), job.user_data
    if key is not None and user_data is not None:
        return key.is_same_request(ParsedKey.parse(user_data))
    requested_data = find_text(request, "Operation.UserData")
    if user_data is not None and user_data.strip() != (requested_data or "").strip():
        return False
    return _has_input_of(job, request) and _has_equal_fields(job, request)


_BATCH_INPUTS = ("Manifest", "UrlFile", "Prefix", "Object")
# By the element that names a template: the parameters that the template replaces. Those that TemplateId
# replaces depend on the type of the job
_REPLACED_BY_TEMPLATE = {"TranscodeTemplateId": ("Transcode",), "WatermarkTemplateId": ("Watermark",)}


def _has_input_of(job: Job | BatchJob, request: Tree) -> bool:
    requested, returned = find_tree(request, "Input"), job.input
    if isinstance(job, BatchJob):
        inputs = ((find_text(requested, name), find_text(returned, name)) for name in _BATCH_INPUTS)
        return request.get("Name") == job.name and all(_is_same_key(*pair) for pair in inputs)
    comparison = _Comparison(request)
    if comparison.kind.input is Need.FORBIDDEN:
        return True  # no input to compare: the other elements decide
    key, url = find_text(returned, "Object"), find_text(returned, "Url")
    if find_text(requested, "Object") is not None:  # beside which the service ignores a URL
        is_same = _is_same_key(find_text(requested, "Object"), key)
    else:
        is_same = key is None and url in (None, find_text(requested, "Url"))
    others = {name: value for name, value in requested.items() if name not in ("Object", "Url")}
    return is_same and comparison.are_consistent(others, returned, "Input")


def _has_equal_fields(job: Job | BatchJob, request: Tree) -> bool:
    """Tell whether all elements that both a request and a job have are equal. An element that only one of
    them has does not count: the service leaves out some, and adds others.
    """
    comparison = _Comparison(request)
    wanted, returned = find_tree(request, "Operation"), job.operation or {}
    # a batch job has its parameters in JobParam
    both = ((wanted, returned), (find_tree(wanted, "JobParam"), find_tree(returned, "JobParam")))
    if any(comparison.has_template_instead(*pair) for pair in both):
        return False
    envelope = {"Tag": job.tag, "QueueId": job.queue_id}
    if isinstance(job, BatchJob):
        envelope["Type"] = job.type
    if not all(comparison.are_consistent(request.get(name), envelope[name], name) for name in envelope):
        return False
    return comparison.are_consistent(wanted, returned, "Operation")


class _Comparison:
    """Compares the elements of a request with those of a job, whose values are texts.

    The service may spell a value in another way: numbers, booleans, the whitespace of a text, a slash before
    a key. No other difference is overlooked.
    """

    def __init__(self, request: Tree) -> None:
        self.kind = job_type(request.get("Tag") or find(request, "Operation.Tag"))
        self._replaced_by_template = {"TemplateId": self.kind.replaced_by_template, **_REPLACED_BY_TEMPLATE}

    def has_template_instead(self, requested: Tree, returned: Tree) -> bool:
        """Tell whether a job has only a template where a request has only parameters. A job that was made
        from such a request shows the parameters, whether or not it shows a template too.
        """
        return any(
            _has_any(requested, names)
            and not _has_any(requested, [template])
            and _has_any(returned, [template])
            and not _has_any(returned, names)
            for template, names in self._replaced_by_template.items()
        )

    def are_consistent(self, requested: Any, returned: Any, path: str) -> bool:
        """Tell whether a value of the request and that of a job are equal, or one of them is missing."""
        first, second = _values(requested), _values(returned)
        if not first or not second:
            return True
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(self._is_equal(*pair, path) for pair in pairs)

    def _is_equal(self, requested: Any, returned: Any, path: str) -> bool:
        if isinstance(requested, Mapping) and isinstance(returned, Mapping):
            ignored = {"UserData", *self._ignored_by_service(requested, returned)}
            return all(
                self.are_consistent(requested[name], returned.get(name), f"{path}.{name}")
                for name in requested
                if name not in ignored
            )
        if isinstance(requested, Mapping) or isinstance(returned, Mapping):
            return False
        if path.endswith("Object"):
            return _is_same_key(format_value(requested), format_value(returned))
        return self._is_same_value(requested, format_value(returned), path)

    def _is_same_value(self, requested: Any, returned: str, path: str) -> bool:
        text = format_value(requested)
        if text.lower() in ("true", "false"):
            return text.lower() == returned.lower()
        if _NUMBER.fullmatch(text) and _NUMBER.fullmatch(returned) and not self._is_text(requested, path):
            return Decimal(text) == Decimal(returned)
        return text.split() == returned.split()

    def _is_text(self, requested: Any, path: str) -> bool:
        """Tell whether a value is no number, although it may look like one."""
        rule = self.kind.rules.get(path.removeprefix("Operation.").removeprefix("JobParam."))
        return isinstance(requested, str) and rule is not None and rule.is_text

    def _ignored_by_service(self, requested: Tree, returned: Tree) -> Iterator[str]:
        """Yield the parameters that a request has beside a template. The service may return the template's
        values in their place.
        """
        for template, names in self._replaced_by_template.items():
            if _has_any(requested, [template]) and _has_any(returned, [template]):
                yield from names


def _has_any(tree: Tree, names: Iterable[str]) -> bool:
    return any(tree.get(name) not in (None, "", []) for name in names)


def _values(value: Any) -> list[Any]:
    """Return the elements that a value of a tree stands for, without those that are empty."""
    values = value if isinstance(value, list | tuple) else [value]
    return [each for each in values if each is not None and each != "" and each != {}]


def _is_same_key(requested: str | None, returned: str | None) -> bool:
    """Tell whether two keys are the same. Some responses in the documents put a slash before the key; no key
    begins with one.
    """
    return requested == returned or (requested is not None and returned == f"/{requested}")


def _canonical(value: Any) -> Any:
    """Return a tree in a form that is equal for all spellings of the same elements: texts for numbers, no
    list of one, nothing without a value.
    """
    if isinstance(value, Mapping):
        children = {
            name: _canonical(child) for name, child in value.items() if not isinstance(child, DefaultName)
        }
        return {name: child for name, child in children.items() if child is not None}
    if isinstance(value, list | tuple):
        items = [_canonical(child) for child in value if child is not None]
        if not items:
            return None
        return items if len(items) > 1 else items[0]
    if value is None:
        return None
    return {} if value == "" else format_value(value)


def _readable(text: str) -> str:
    shown = "".join(char if char.isascii() and char.isprintable() and char != " " else "?" for char in text)
    return shown if len(shown) <= _MAX_PART_LENGTH else f"{shown[: _MAX_PART_LENGTH - 3]}..."
