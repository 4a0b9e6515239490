"""Callbacks: what the service posts when a job or a workflow has ended.

**Callbacks are not authenticated**: anybody who knows the address can post one. Take them as a hint, and ask
the service (``TencentCIHook.describe_jobs``) before acting on them. They may also come twice, early, or
never.

The body is XML or JSON, as the job or its queue demands. Its ``Content-Type`` is not documented, so the first
character decides. Sources: 460/76959, 460/84821 and 436/49082 (jobs), 436/48042 (workflows).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from lxml import etree

from airflow_provider_ci.exceptions import InvalidCallbackError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.names import BUCKET, ID, NOT_XML
from airflow_provider_ci.protocol.tree import format_value

#: ``event_name`` of a job's callback.
TASK_FINISH = "TaskFinish"
#: ``event_name`` of a workflow's callback.
WORKFLOW_FINISH = "WorkflowFinish"
#: The largest body that is read, in bytes. A callback about a job with two results has about 5 kB, one with
#: the transcript of the longest recording 3 to 9 MB.
MAX_BYTES = xml.MAX_BYTES
_HINT = "Use nothing of it: it is not what CI sends"

#: Where :func:`find_job_ids` looks: the first bytes of a body.
HEAD_BYTES = 64 * 1024
#: How many ids it returns at most. The callback of a job names one, that of a workflow those of its nodes.
MAX_JOB_IDS = 20
#: How many buckets it returns at most. The callback of a job names that of its input.
MAX_BUCKETS = 3
# Values of an element that are compared: a callback has few, a forged body thousands
_MAX_VALUES = 20
_ELEMENTS = ("EventName", "JobsDetail", "WorkflowExecution")
_MAX_DEPTH = 32  # documented bodies have 7 levels
_QUOTED_MAX = 100  # characters of the body that an error quotes
# The values of elements in XML and JSON
_VALUES = {
    name: re.compile(
        rf"<{name}>\s*(?P<xml>{form})\s*</{name}>"
        rf'|"{name}"\s*:\s*"(?P<json>{form})"'.encode()
    )
    for name, form in (
        ("JobId", ID.pattern),
        ("BucketId", BUCKET.pattern),
        ("Bucket", BUCKET.pattern),
        ("Region", "[a-z0-9-]{3,63}"),
    )
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CosHeader:
    """A header of the object that started a workflow."""

    key: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowTask:
    """One node of a workflow that has run. ``job_id`` is the id of its job."""

    type: str | None = None
    name: str | None = None
    job_id: str | None = None
    state: str | None = None
    code: str | None = None
    message: str | None = None
    template_id: str | None = None
    template_name: str | None = None
    create_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowExecution:
    """One run of a workflow, started by the object ``object`` in the bucket ``bucket_id``."""

    workflow_id: str | None = None
    workflow_name: str | None = None
    run_id: str | None = None
    state: str | None = None
    bucket_id: str | None = None
    object: str | None = None
    create_time: datetime | None = None
    cos_headers: tuple[CosHeader, ...] = ()
    tasks: tuple[WorkflowTask, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """The content of a callback, which anybody may have invented.

    ``event_name`` is ``TaskFinish`` or ``WorkflowFinish``, and ``None`` in the form of 2020. ``jobs`` have
    the form in which :class:`~airflow_provider_ci.hooks.ci.TencentCIHook` describes them.
    """

    event_name: str | None = None
    jobs: tuple[Job, ...] = field(default=(), metadata=element("JobsDetail"))
    workflow_execution: WorkflowExecution | None = None

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The ids of all jobs in the callback, each once. The hook rejects those that cannot be ids."""
        tasks = self.workflow_execution.tasks if self.workflow_execution else ()
        ids = [job.job_id for job in self.jobs] + [task.job_id for task in tasks]
        return tuple(dict.fromkeys(job_id for job_id in ids if job_id))


class NamedBucket(NamedTuple):
    """A bucket that a callback names, and the region that it names nearest to it."""

    name: str
    region: str | None


def find_job_ids(head: bytes) -> dict[str, tuple[NamedBucket, ...]]:
    """Return the ids of jobs in the beginning of a callback's body, in XML or JSON, and their buckets.

    For a receiver that asks the service anyway. The id of a job comes before its results, which may be large.

    :param head: the body, or its first ``HEAD_BYTES``.
    :return: each id once, at most ``MAX_JOB_IDS``, with the buckets that the body names: those of inputs, or
        if there are none those of outputs, at most ``MAX_BUCKETS``. Nothing if it is no callback.
    """
    head = head[:HEAD_BYTES]
    found = dict.fromkeys(text for text, _ in _find("JobId", head))
    buckets = _find_buckets(head) if found else ()
    return dict.fromkeys(islice(found, MAX_JOB_IDS), buckets)


def _find_buckets(head: bytes) -> tuple[NamedBucket, ...]:
    regions, inputs, outputs = (
        tuple(islice(_find(name, head), _MAX_VALUES)) for name in ("Region", "BucketId", "Bucket")
    )
    found = dict[NamedBucket, None]()
    for bucket, position in inputs or outputs:
        region, _ = min(regions, key=lambda each: abs(each[1] - position), default=(None, 0))
        found[NamedBucket(bucket, region)] = None
        if len(found) == MAX_BUCKETS:
            break
    return tuple(found)


def _find(name: str, head: bytes) -> Iterator[tuple[str, int]]:
    """Yield the values of an element, and where they are."""
    for match in _VALUES[name].finditer(head):
        yield (match["xml"] or match["json"]).decode(), match.start()


def parse_callback(body: bytes) -> Callback:
    """Return the content of a callback's body, in XML or JSON.

    Reading is as tolerant as that of responses. It accepts empty containers in any form (``""``, ``{}``,
    ``null``, ``[]``, an empty element), one object where a list is documented, numbers in place of strings,
    elements in any order, and unknown ones. U+FFFD replaces characters that XML cannot carry and bytes that
    are not UTF-8.

    :raises InvalidCallbackError: the body is larger than ``MAX_BYTES``, is neither XML nor JSON, has a
        document type, or has none of the elements of a callback.
    """
    if len(body) > MAX_BYTES:
        raise InvalidCallbackError(f"The callback has {len(body)} bytes, allowed: {MAX_BYTES}")
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    root = _from_json(text) if text.startswith((b"{", b"[")) else _from_xml(text)
    if all(root.find(f"{{*}}{name}") is None for name in _ELEMENTS):
        raise InvalidCallbackError(
            f"The callback has none of {', '.join(_ELEMENTS)}, allowed: at least one of them"
        )
    return xml.read(Callback, root)


def _from_xml(body: bytes) -> etree._Element:
    try:
        root = xml.parse_response(body, max_bytes=MAX_BYTES)
    except xml.XMLError as error:
        reason = str(error)[:_QUOTED_MAX]
        raise InvalidCallbackError(
            f"The callback is neither JSON nor readable XML: {reason}", hint=_HINT
        ) from None
    name = etree.QName(root).localname
    if name != "Response":
        raise InvalidCallbackError(f"The callback is <{name[:_QUOTED_MAX]}>, allowed: <Response>")
    return root


def _from_json(body: bytes) -> etree._Element:
    """Return the XML with the same content as the JSON, so that there is one way to read both."""
    try:
        # strict=False accepts control characters that are not escaped
        content = json.loads(body.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError) as error:
        reason = type(error).__name__
        raise InvalidCallbackError(f"The callback is not readable JSON: {reason}", hint=_HINT) from None
    if not isinstance(content, dict):
        raise InvalidCallbackError("The callback is a JSON list, allowed: an object")
    # No example has the outer element of the XML form, but it is accepted
    wrapped = content.get("Response")
    root = etree.Element("Response")
    _fill(root, wrapped if isinstance(wrapped, dict) else content, depth=1)
    return root


def _fill(parent: etree._Element, content: dict[str, Any], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidCallbackError(f"The callback has more than {_MAX_DEPTH} levels", hint=_HINT)
    for name, value in content.items():
        if not _NAME.fullmatch(name):  # not a name of the service, and perhaps not one that XML allows
            continue
        # An empty list or null becomes an empty element, which counts as absent
        for one in value if isinstance(value, list) and value else [value]:
            _append(parent, name, one, depth)


def _append(parent: etree._Element, name: str, value: Any, depth: int) -> None:
    child = etree.SubElement(parent, name)
    if isinstance(value, dict):
        _fill(child, value, depth + 1)
    elif value is not None and not isinstance(value, list):
        child.text = NOT_XML.sub(xml.REPLACEMENT, format_value(value))
