"""What the service posts when a job or a workflow has ended, for services that receive it.

Sources: 460/76959, 460/84821 and 436/49082 (jobs), 436/48042 (workflows). The body is XML or JSON as the job
or its queue asks; the ``Content-Type`` that goes with it is not documented, so the first character decides.

**Callbacks are not authenticated**: anybody who knows the address can post one. Take them as a hint, and ask
the service (``TencentCIHook.describe_jobs``) before acting on them. They may also come twice, early, or
never.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lxml import etree

from airflow_provider_ci.exceptions import InvalidCallbackError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.jobs import CosHeader, Job
from airflow_provider_ci.protocol.names import NOT_XML

#: ``event_name`` of a job's callback.
TASK_FINISH = "TaskFinish"
#: ``event_name`` of a workflow's callback.
WORKFLOW_FINISH = "WorkflowFinish"
#: Bytes of the largest body that is read; a job with two results has about 5 kB.
MAX_BYTES = 1024 * 1024

_PARTS = ("EventName", "JobsDetail", "WorkflowExecution")
_MAX_DEPTH = 32  # the documented bodies have 7 levels
_QUOTED = 100  # characters of the body that an error repeats at most
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowTask:
    """One node of a workflow that has run; ``job_id`` is its job."""

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
    """One run of a workflow: ``object`` in bucket ``bucket_id`` is what started it."""

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
    """What a callback says.

    ``event_name`` is ``TaskFinish`` or ``WorkflowFinish``, ``None`` in the form of 2020. ``jobs`` are as
    :class:`~airflow_provider_ci.hooks.ci.TencentCIHook` describes them. Nothing of it is proven to be true.
    """

    event_name: str | None = None
    jobs: tuple[Job, ...] = field(default=(), metadata=element("JobsDetail"))
    workflow_execution: WorkflowExecution | None = None

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The ids of all jobs that are spoken of, each once. They are text from outside: the hook refuses
        what cannot be an id.
        """
        tasks = self.workflow_execution.tasks if self.workflow_execution else ()
        ids = [job.job_id for job in self.jobs] + [task.job_id for task in tasks]
        return tuple(dict.fromkeys(job_id for job_id in ids if job_id))


def parse_callback(body: bytes) -> Callback:
    """Return what a callback's body says, in XML or JSON.

    Reads as tolerantly as answers are read: empty containers in any form (``""``, ``{}``, ``null``, ``[]``,
    an empty element), one object where a list is documented, numbers that are no texts, elements in any
    order, unknown ones. Characters that XML cannot carry and bytes that are not UTF-8 are read as U+FFFD.

    :raises InvalidCallbackError: larger than ``MAX_BYTES``, neither XML nor JSON, with a document
        type, or without anything that a callback has.
    """
    if len(body) > MAX_BYTES:
        raise InvalidCallbackError(f"The callback has {len(body)} bytes, allowed: {MAX_BYTES}")
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    root = _from_json(text) if text.startswith((b"{", b"[")) else _from_xml(text)
    if all(root.find(f"{{*}}{name}") is None for name in _PARTS):
        raise InvalidCallbackError(
            f"The callback has none of {', '.join(_PARTS)}, allowed: at least one of them"
        )
    return xml.read(Callback, root)


def _from_xml(body: bytes) -> etree._Element:
    try:
        root = xml.parse_response(body, max_bytes=MAX_BYTES)
    except xml.XMLError as error:
        why = str(error)[:_QUOTED]
        raise InvalidCallbackError(f"The callback is neither JSON nor readable XML: {why}") from None
    name = etree.QName(root).localname
    if name != "Response":
        raise InvalidCallbackError(f"The callback is <{name[:_QUOTED]}>, allowed: <Response>")
    return root


def _from_json(body: bytes) -> etree._Element:
    """Return JSON as the XML that says the same, so that there is one way to read both."""
    try:
        # strict=False: control characters may also stand in it as they are
        said = json.loads(body.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError) as error:
        raise InvalidCallbackError(f"The callback is not readable JSON: {type(error).__name__}") from None
    if not isinstance(said, dict):
        raise InvalidCallbackError("The callback is a JSON list, allowed: an object")
    # No sample wraps the object as XML does; one that does is meant all the same
    wrapped = said.get("Response")
    root = etree.Element("Response")
    _fill(root, wrapped if isinstance(wrapped, dict) else said, depth=1)
    return root


def _fill(parent: etree._Element, said: dict[str, Any], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidCallbackError(f"The callback has more than {_MAX_DEPTH} levels")
    for name, value in said.items():
        if not _NAME.fullmatch(name):  # none of the service's; XML might not even have it
            continue
        # an empty list or null is an empty element, which counts as absent
        for one in value if isinstance(value, list) and value else [value]:
            _append(parent, name, one, depth)


def _append(parent: etree._Element, name: str, value: Any, depth: int) -> None:
    child = etree.SubElement(parent, name)
    if isinstance(value, dict):
        _fill(child, value, depth + 1)
    elif value is not None and not isinstance(value, list):
        child.text = NOT_XML.sub(xml.REPLACEMENT, str(value))
