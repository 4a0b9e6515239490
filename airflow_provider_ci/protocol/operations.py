"""The remote calls: one small class each, that builds a request and reads the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from lxml import etree

from airflow_provider_ci.exceptions import InvalidResponseError, RequestValidationError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.models import STATES, VOICE_SEPARATE, JobsAnswer, VoiceSeparateRequest
from airflow_provider_ci.protocol.validation import ID, check, is_object_key
from airflow_provider_ci.protocol.wire import Request, Response, Service

T = TypeVar("T")

#: The service describes and cancels at most so many jobs at once (436/120621, 436/120620).
IDS_PER_REQUEST = 10
#: The largest page of a job list (460/84766).
LIST_SIZE_MAX = 100


class RemoteCall(Generic[T]):
    """A remote call. ``action`` completes "Cannot …" in error messages.

    ``cam_actions`` are what the account's CAM policy must allow (``docs/permissions.md``).
    ``idempotent`` says whether the call may be repeated when its answer got lost.
    """

    action: ClassVar[str]
    cam_actions: ClassVar[tuple[str, ...]]
    idempotent: ClassVar[bool] = True

    @property
    def valid_until(self) -> float | None:
        """Until when the call may be made, where that matters; the service refuses it later."""
        return None

    def request(self) -> Request:
        """Return what to send."""
        raise NotImplementedError

    def parse(self, response: Response) -> T:
        """Return what a success answer says.

        :raises ServiceError: the service answered with an error.
        :raises InvalidResponseError: the answer is not what the documents promise.
        """
        raise NotImplementedError


class _JobsOperation(RemoteCall[JobsAnswer]):
    def parse(self, response: Response) -> JobsAnswer:
        root = document(response, self.action)
        answer = xml.read(JobsAnswer, root)
        # typed as one text, as repeated elements, and in practice perhaps both
        missing = tuple(
            name.strip() for text in answer.non_exist_job_ids for name in text.split(",") if name.strip()
        )
        return replace(answer, non_exist_job_ids=missing, request_id=response.request_id or answer.request_id)


@dataclass(frozen=True, slots=True)
class SubmitJob(_JobsOperation):
    """``POST /jobs`` (460/84794). Not idempotent: the service has no token, a second call is a second paid
    job.
    """

    job: VoiceSeparateRequest
    expires: float | None = None
    action: ClassVar[str] = "submit the job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateMediaJobs",)
    idempotent: ClassVar[bool] = False

    @property
    def valid_until(self) -> float | None:
        """``expires``, Unix seconds: bounds how late a process that was held up can still submit."""
        return self.expires

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: the job breaks a documented rule.
        """
        check(self.job)
        body = xml.to_bytes(xml.to_element(self.job, "Request"))
        return Request(method="POST", service=Service.CI, path="/jobs", body=body)

    def parse(self, response: Response) -> JobsAnswer:
        """Return the accepted job.

        :raises InvalidResponseError: the answer names no job id.
        """
        # named, because dataclass(slots=True) makes a new class that super() without arguments does not know
        answer = _JobsOperation.parse(self, response)
        if not (answer.jobs_detail and answer.jobs_detail[0].job_id):
            raise _unreadable(response, self.action, "the answer has no JobId")
        return answer


@dataclass(frozen=True, slots=True)
class DescribeJobs(_JobsOperation):
    """``GET /jobs/<id>,…`` (460/84765): 1 to 10 ids; unknown ones come back in ``non_exist_job_ids``."""

    job_ids: Sequence[str]
    action: ClassVar[str] = "describe jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaJob",)

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: no id, more than 10, or one that is not an id.
        """
        return Request(method="GET", service=Service.CI, path=_path_of(self.job_ids))


@dataclass(frozen=True, slots=True)
class CancelJobs(RemoteCall[None]):
    """``PUT /jobs/<id>,…?cancel`` (460/82393): 1 to 10 ids of jobs that have not begun.

    A success answer is empty and promises nothing about each job: describe them afterwards.
    """

    job_ids: Sequence[str]
    action: ClassVar[str] = "cancel jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CancelMediaJob",)

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: no id, more than 10, or one that is not an id.
        """
        return Request(
            method="PUT", service=Service.CI, path=_path_of(self.job_ids), params=(("cancel", ""),)
        )

    def parse(self, response: Response) -> None:
        """Return nothing, or raise the service's error, which may sit in a 200 answer too."""
        if response.body.strip() or not 200 <= response.status < 300:
            document(response, self.action)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs(_JobsOperation):
    """``GET /jobs?tag=…`` (460/84766): one page of jobs, newest first unless ``order_by_time`` is ``Asc``.

    :param input_object: exact key of the input.
    :param states: some of the six states; none means all.
    :param start_creation_time: aware; with ``end_creation_time`` the window of creation.
    :param size: jobs to a page, 1 to 100.
    :param next_token: ``JobsAnswer.next_token`` of the page before.
    """

    tag: str = VOICE_SEPARATE
    queue_id: str | None = None
    workflow_id: str | None = None
    inventory_trigger_job_id: str | None = None
    input_object: str | None = None
    states: Sequence[str] = ()
    order_by_time: str = "Desc"
    start_creation_time: datetime | None = None
    end_creation_time: datetime | None = None
    size: int = LIST_SIZE_MAX
    next_token: str | None = None
    action: ClassVar[str] = "list jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaJobs",)

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        self._check()
        params = (
            ("tag", self.tag),
            ("queueId", self.queue_id),
            ("workflowId", self.workflow_id),
            ("inventoryTriggerJobId", self.inventory_trigger_job_id),
            ("inputObject", self.input_object),
            ("states", ",".join(self.states)),
            ("orderByTime", self.order_by_time),
            ("startCreationTime", _time(self.start_creation_time)),
            ("endCreationTime", _time(self.end_creation_time)),
            ("size", str(self.size)),
            ("nextToken", self.next_token),
        )
        given = tuple((name, value) for name, value in params if value)
        return Request(method="GET", service=Service.CI, path="/jobs", params=given)

    def _check(self) -> None:
        broken = [
            f"states has {state!r}, allowed: {', '.join(STATES)}"
            for state in self.states
            if state not in STATES
        ]
        if self.order_by_time not in ("Desc", "Asc"):
            broken.append(f"order_by_time is {self.order_by_time!r}, allowed: Desc, Asc")
        if not 1 <= self.size <= LIST_SIZE_MAX:
            broken.append(f"size is {self.size!r}, allowed: 1 to {LIST_SIZE_MAX}")
        for name in ("start_creation_time", "end_creation_time"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                broken.append(f"{name} is {moment!r}, allowed: a time with its zone")
        if self.input_object is not None and not is_object_key(self.input_object):
            broken.append(f"input_object is {self.input_object!r}, allowed: an object key")
        if broken:
            raise RequestValidationError(broken)


def document(response: Response, action: str) -> etree._Element:
    """Return the root of a success answer.

    :raises ServiceError: an error status, or an ``Error`` document in a 2xx answer.
    :raises InvalidResponseError: not the documented XML.
    """
    if not 200 <= response.status < 300:
        raise service_error(response, action)
    try:
        root = xml.parse_document(response.body)
    except xml.XMLError as error:
        raise _unreadable(response, action, str(error)) from None
    name = etree.QName(root).localname
    if name == "Error":
        raise service_error(response, action)
    if name != "Response":
        raise _unreadable(response, action, f"the answer is <{name}>, not <Response>")
    return root


def _unreadable(response: Response, action: str, why: str) -> InvalidResponseError:
    return InvalidResponseError(
        f"Cannot {action}: {why}", status=response.status, request_id=response.request_id
    )


def _path_of(job_ids: Sequence[str]) -> str:
    check_job_ids(job_ids)
    if not 1 <= len(job_ids) <= IDS_PER_REQUEST:
        raise RequestValidationError([f"job_ids has {len(job_ids)} ids, allowed: 1 to {IDS_PER_REQUEST}"])
    return "/jobs/" + ",".join(job_ids)


def check_job_ids(job_ids: Sequence[str]) -> None:
    """Refuse what cannot be a job id before it reaches a path.

    :raises RequestValidationError: naming each such value.
    """
    if isinstance(job_ids, str):
        raise RequestValidationError([f"job_ids is the text {job_ids!r}, allowed: a list of ids"])
    broken = [
        f"job_id is {job_id!r}, allowed: letters, digits, _ and -, at most 128"
        for job_id in job_ids
        if not (isinstance(job_id, str) and ID.fullmatch(job_id))
    ]
    if broken:
        raise RequestValidationError(broken)


def _time(moment: datetime | None) -> str | None:
    return xml.format_time(moment) if moment else None
