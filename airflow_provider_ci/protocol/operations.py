"""The remote calls: one small class each, that builds a request and reads the answer. Here: about jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import ClassVar, Generic, Self, TypeVar

from lxml import etree

from airflow_provider_ci.exceptions import InvalidResponseError, RequestValidationError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.models import (
    STATES,
    VOICE_SEPARATE,
    Job,
    JobsResponse,
    VoiceSeparateRequest,
)
from airflow_provider_ci.protocol.names import object_address, shown_address
from airflow_provider_ci.protocol.validation import ID, check, is_object_key
from airflow_provider_ci.protocol.wire import Request, Response, Service

T = TypeVar("T")
Item = TypeVar("Item")

#: The service describes and cancels at most so many jobs at once (436/120621, 436/120620).
IDS_PER_REQUEST = 10
#: The largest page of a job list (460/84766).
LIST_SIZE_MAX = 100
_WHY_MAX = 300  # the parser quotes names of the document, of any length


class SeenTokens:
    """The tokens of a listing's pages so far. It is never changed: ``with_token`` returns another one.

    The next one shares what this one holds, so that a listing of many pages takes time in proportion to them.
    """

    __slots__ = ("_count", "_places")

    def __init__(self, places: dict[str, int] | None = None, count: int = 0) -> None:
        # Of the shared tokens in the order of their pages, those before ``count`` are this one's
        self._places = {} if places is None else places
        self._count = count

    def __contains__(self, token: str) -> bool:
        return self._places.get(token, self._count) < self._count

    def with_token(self, token: str) -> SeenTokens:
        """Return these and ``token``."""
        places = self._places
        if len(places) != self._count and places.get(token) != self._count:
            # The same page was asked for before, and was followed by another one then
            places = dict(islice(places.items(), self._count))
        places.setdefault(token, self._count)
        return SeenTokens(places, self._count + 1)


class ApiRequest(Generic[T]):
    """A remote call. ``action`` completes "Cannot …" in error messages.

    ``cam_actions`` are what the account's CAM policy must allow (``docs/permissions.md``). ``idempotent``
    says whether the call may be repeated when its answer got lost; ``regional`` whether it goes to the
    region's own host instead of a bucket's.
    """

    action: ClassVar[str]
    cam_actions: ClassVar[tuple[str, ...]]
    idempotent: ClassVar[bool] = True
    regional: ClassVar[bool] = False

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


class PagedRequest(ApiRequest[T], Generic[T, Item]):
    """A call for one page of a list."""

    def items(self, answer: T) -> Sequence[Item]:
        """Return what is on the page."""
        raise NotImplementedError

    def next_page(self, answer: T) -> PagedRequest[T, Item] | None:
        """Return the call for the page after ``answer``; ``None`` if that was the last."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class SubmitJob(ApiRequest[JobsResponse]):
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

    def parse(self, response: Response) -> JobsResponse:
        """Return the accepted job.

        :raises InvalidResponseError: the answer names no job id.
        """
        answer = _jobs_answer(response, self.action)
        if not (answer.jobs_detail and answer.jobs_detail[0].job_id):
            raise invalid_response_error(response, self.action, "the answer has no JobId")
        return answer


@dataclass(frozen=True, slots=True)
class DescribeJobs(ApiRequest[JobsResponse]):
    """``GET /jobs/<id>,…`` (460/84765): 1 to 10 ids; unknown ones come back in ``non_exist_job_ids``."""

    job_ids: Sequence[str]
    action: ClassVar[str] = "describe jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaJob",)

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: no id, more than 10, or one that is not an id.
        """
        return Request(method="GET", service=Service.CI, path=_path_of(self.job_ids))

    def parse(self, response: Response) -> JobsResponse:
        """Return the jobs that the service knows, and the ids that it does not."""
        return _jobs_answer(response, self.action)


@dataclass(frozen=True, slots=True)
class CancelJobs(ApiRequest[None]):
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
            parse_response(response, self.action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(PagedRequest[T, Item], Generic[T, Item]):
    """A call for one page of jobs or batch jobs, newest first unless ``order_by_time`` is ``Asc``.

    :param states: some of the six states; none means all.
    :param start_creation_time: aware; with ``end_creation_time`` the window of creation.
    :param size: jobs to a page, 1 to 100.
    :param next_token: ``next_token`` of the page before.
    :param tokens_seen: those of all pages before.
    """

    states: Sequence[str] = ()
    order_by_time: str = "Desc"
    start_creation_time: datetime | None = None
    end_creation_time: datetime | None = None
    size: int = LIST_SIZE_MAX
    next_token: str | None = None
    tokens_seen: SeenTokens = field(default_factory=SeenTokens, repr=False, compare=False)

    def page_after(self, next_token: str | None, page: Sequence[object]) -> Self | None:
        """Return the call for the page after ``page``: how a listing ends is not documented, so three signs
        of it count.
        """
        if not next_token or next_token in self.tokens_seen or not page:
            return None
        return replace(self, next_token=next_token, tokens_seen=self.tokens_seen.with_token(next_token))

    def page_request(self, path: str, *params: tuple[str, str | None]) -> Request:
        """Return the request, with the parameters of its own that have a value.

        :raises RequestValidationError: an argument outside the documented values.
        """
        if broken := list(self.problems()):
            raise RequestValidationError(broken)
        common = (
            ("states", ",".join(self.states)),
            ("orderByTime", self.order_by_time),
            ("startCreationTime", _time(self.start_creation_time)),
            ("endCreationTime", _time(self.end_creation_time)),
            ("size", str(self.size)),
            ("nextToken", self.next_token),
        )
        return Request(method="GET", service=Service.CI, path=path, params=drop_empty((*params, *common)))

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with each argument: what was given and what is allowed."""
        for state in self.states:
            if state not in STATES:
                yield f"states has {state!r}, allowed: {', '.join(STATES)}"
        if self.order_by_time not in ("Desc", "Asc"):
            yield f"order_by_time is {self.order_by_time!r}, allowed: Desc, Asc"
        if not 1 <= self.size <= LIST_SIZE_MAX:
            yield f"size is {self.size!r}, allowed: 1 to {LIST_SIZE_MAX}"
        for name in ("start_creation_time", "end_creation_time"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                yield f"{name} is {moment!r}, allowed: a time with its zone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs(Listing[JobsResponse, Job]):
    """``GET /jobs?tag=…`` (460/84766): one page of jobs.

    :param input_object: exact key of the input.
    :param inventory_trigger_job_id: only the jobs of this batch job.
    """

    tag: str = VOICE_SEPARATE
    queue_id: str | None = None
    workflow_id: str | None = None
    inventory_trigger_job_id: str | None = None
    input_object: str | None = None
    action: ClassVar[str] = "list jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaJobs",)

    def request(self) -> Request:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        return self.page_request(
            "/jobs",
            ("tag", self.tag),
            ("queueId", self.queue_id),
            ("workflowId", self.workflow_id),
            ("inventoryTriggerJobId", self.inventory_trigger_job_id),
            ("inputObject", self.input_object),
        )

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with each argument."""
        # named, because dataclass(slots=True) makes a new class that super() without arguments does not know
        yield from Listing.problems(self)
        if self.input_object is not None and not is_object_key(self.input_object):
            yield f"input_object is {self.input_object!r}, allowed: an object key"
        elif self.input_object is not None and (address := object_address(self.input_object)):
            shown = shown_address(self.input_object)
            yield f"input_object is {shown!r}, allowed: an object key, here {address.key!r}"

    def parse(self, response: Response) -> JobsResponse:
        """Return the page."""
        return _jobs_answer(response, self.action)

    def items(self, answer: JobsResponse) -> Sequence[Job]:
        """Return the jobs of the page."""
        return answer.jobs_detail

    def next_page(self, answer: JobsResponse) -> ListJobs | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer.next_token, answer.jobs_detail)


def drop_empty(params: Iterable[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    """Return the parameters that have a value."""
    return tuple((name, value) for name, value in params if value)


def split_ids(texts: Iterable[str]) -> tuple[str, ...]:
    """Return unknown ids one by one: they are documented as one text, and sampled as repeated elements."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def parse_response(response: Response, action: str) -> etree._Element:
    """Return the root of a success answer.

    :raises ServiceError: an error status, or an ``Error`` document in a 2xx answer.
    :raises InvalidResponseError: not the documented XML.
    """
    if not 200 <= response.status < 300:
        raise service_error(response, action)
    try:
        root = xml.parse_response(response.body)
    except xml.XMLError as error:
        raise invalid_response_error(response, action, str(error)) from None
    name = xml.local_name(root.tag)
    if name == "Error":
        raise service_error(response, action)
    if name != "Response":
        raise invalid_response_error(response, action, f"the answer is <{name}>, not <Response>")
    return root


def _jobs_answer(response: Response, action: str) -> JobsResponse:
    answer = xml.read(JobsResponse, parse_response(response, action))
    return replace(
        answer,
        non_exist_job_ids=split_ids(answer.non_exist_job_ids),
        request_id=response.request_id or answer.request_id,
    )


def invalid_response_error(response: Response, action: str, why: str) -> InvalidResponseError:
    """Return the error for an answer that is not what the documents promise."""
    return InvalidResponseError(
        f"Cannot {action}: {why[:_WHY_MAX]}", status=response.status, request_id=response.request_id
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
    check_list("job_ids", job_ids)
    broken = [
        f"job_id is {job_id!r}, allowed: letters, digits, _ and -, at most 128"
        for job_id in job_ids
        if not (isinstance(job_id, str) and ID.fullmatch(job_id))
    ]
    if broken:
        raise RequestValidationError(broken)


def check_list(field: str, values: object) -> None:
    """Refuse what is no list: a text would be taken for a list of its letters.

    :raises RequestValidationError: naming the field.
    """
    if isinstance(values, str):
        raise RequestValidationError([f"{field} is the text {values!r}, allowed: a list"])
    if isinstance(values, bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        raise RequestValidationError([f"{field} is {values!r}, allowed: a list"])


def _time(moment: datetime | None) -> str | None:
    return xml.format_time(moment) if moment else None
