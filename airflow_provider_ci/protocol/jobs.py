"""Jobs: their description by the service, and the calls. :mod:`.job_rules` has the rules of requests.

A request is a tree (:mod:`.tree`): the content of the element ``Request`` of ``POST /jobs``, as
``{"Tag": "VoiceSeparate", "Input": {"Object": …}, "Operation": {…}}``. Of a response, each dataclass is one
element, and each field one child (:mod:`.fields`); what depends on the type of the job is a tree again.
Sources: 460/84794, 460/58329 (submission), 460/84765 (description).
"""

# ruff: noqa: D102 - the methods of the calls are documented in ApiRequest and PagedRequest

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from airflow_provider_ci.exceptions import PermissionDeniedError, RequestValidationError
from airflow_provider_ci.protocol.api_request import (
    ApiRequest,
    ci_request,
    drop_empty,
    invalid_response_error,
    raise_for_error,
    read_response,
)
from airflow_provider_ci.protocol.errors import lacks_service, may_lack_permission
from airflow_provider_ci.protocol.fields import format_time
from airflow_provider_ci.protocol.job_rules import check_job
from airflow_provider_ci.protocol.job_types.known_types import SUBMIT_ACTIONS, job_type
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE
from airflow_provider_ci.protocol.lists import Item, PagedRequest
from airflow_provider_ci.protocol.names import is_object_key, object_address, redact_address
from airflow_provider_ci.protocol.rules import Problem, check_list, choice_problems, id_problems, raise_if_any
from airflow_provider_ci.protocol.tree import Tree, find, find_text, with_value
from airflow_provider_ci.protocol.wire import Endpoint, HttpRequest, HttpResponse

#: Job ids in one request, at most (436/120621 describe, 436/120620 cancel).
IDS_PER_REQUEST = 10
#: The largest page of a list of jobs (460/84766).
LIST_SIZE_MAX = 100


class JobState(str):
    """A job's state, spelled as the service spells it. A job in an unknown state counts as not ended."""

    __slots__ = ()

    @property
    def is_known(self) -> bool:
        """Whether the documents name this state."""
        return self in STATES

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended and its state cannot change any more."""
        return self in (SUCCESS, FAILED, CANCEL)

    @property
    def is_successful(self) -> bool:
        """Whether the job has ended and its results are written."""
        return self == SUCCESS

    @property
    def is_waiting(self) -> bool:
        """Whether the job has not started, so that it can still be cancelled."""
        return self in (SUBMITTED, PAUSE)


SUBMITTED = JobState("Submitted")
RUNNING = JobState("Running")
SUCCESS = JobState("Success")
FAILED = JobState("Failed")
PAUSE = JobState("Pause")
CANCEL = JobState("Cancel")
STATES = (SUBMITTED, RUNNING, SUCCESS, FAILED, PAUSE, CANCEL)
#: The states of a job that has not ended.
PENDING_STATES = (SUBMITTED, RUNNING, PAUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """The workflow that submitted a job."""

    name: str | None = None
    run_id: str | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the service describes it. ``code`` and ``message`` mean something in state ``Failed`` only.

    :param input: ``Input``: ``BucketId``, ``Region``, ``Object`` or ``Url``, and what the job's type adds.
    :param operation: ``Operation``: the parameters as they were sent, and the results of a job that has
        ended. What the documents do not name is there too.
    """

    code: str | None = None
    message: str | None = None
    job_id: str | None = None
    state: str | None = None
    progress: int | None = None
    creation_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    queue_id: str | None = None
    queue_type: str | None = None
    tag: str | None = None
    sub_tag: str | None = None
    # not shown: a URL may be signed, and a result may have megabytes
    input: Mapping[str, Any] | None = field(default=None, repr=False)
    operation: Mapping[str, Any] | None = field(default=None, repr=False)
    workflow: tuple[Workflow, ...] = ()

    @property
    def job_state(self) -> JobState:
        """The state, without whitespace around it; ``""`` if the service sent none."""
        return JobState((self.state or "").strip())

    @property
    def input_object(self) -> str | None:
        """The key of the input; ``None`` if the job has none, or a URL."""
        return find_text(self.input, "Object")

    @property
    def user_data(self) -> str | None:
        """The ``UserData`` of the submission, if the service returns it."""
        return find_text(self.operation, "UserData")

    @property
    def may_be_cancelled(self) -> bool:
        """Whether the service still cancels the job: only before it has started."""
        return self.job_state.is_waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsResponse:
    """A response about jobs, with ``request_id`` taken from its headers.

    ``non_exist_job_ids`` has the ids that the service does not find; each entry is one id.
    """

    jobs_detail: tuple[Job, ...] = ()
    non_exist_job_ids: tuple[str, ...] = ()
    next_token: str | None = None
    request_id: str | None = None


def merge_responses(first: JobsResponse, second: JobsResponse) -> JobsResponse:
    """Return the response about the jobs of both, with the request id of the second."""
    return replace(
        second,
        jobs_detail=first.jobs_detail + second.jobs_detail,
        non_exist_job_ids=first.non_exist_job_ids + second.non_exist_job_ids,
    )


def with_output_location(request: Tree, endpoint: Endpoint) -> Tree:
    """Return the request of a job or batch job with its results in bucket and region of ``endpoint``.

    A bucket or region that it already names is kept. A request without ``Output`` is returned unchanged.
    """
    output = find(request, "Operation.Output")
    if not isinstance(output, Mapping) or (output.get("Bucket") and output.get("Region")):
        return request
    located = {
        **output,
        "Region": output.get("Region") or endpoint.region,
        "Bucket": output.get("Bucket") or endpoint.bucket,
    }
    return with_value(request, "Operation.Output", located)


@dataclass(frozen=True, slots=True)
class SubmitJob(ApiRequest[JobsResponse]):
    """``POST /jobs`` (460/84794): submits a job, which is paid for.

    Not idempotent: the service knows no idempotency token, so a second call submits and bills a second job.
    ``expires_at`` bounds how late a process that was suspended can still submit.
    """

    job: Tree = field(repr=False)  # may have a secret in the address of its callback
    expires_at: float | None = None
    purpose: ClassVar[str] = "submit the job"
    # one of them, by the type of the job
    cam_actions: ClassVar[tuple[str, ...]] = SUBMIT_ACTIONS
    idempotent: ClassVar[bool] = False

    def http_request(self) -> HttpRequest:
        check_job(self.job)
        return ci_request("POST", "/jobs", body=self.job)

    def parse(self, response: HttpResponse) -> JobsResponse:
        try:
            jobs = _read_jobs(response, self.purpose)
        except PermissionDeniedError as error:
            kind = job_type(self.job.get("Tag"))
            service = (
                f'the service {kind.service} to be opened: TencentCIHook().open_service("{kind.service}")'
            )
            needs = f"A job with Tag {kind.tag} needs"
            if may_lack_permission(error):
                error.hint = f"{error.hint}. {needs} the action {kind.submit_action}, and {service}"
            elif lacks_service(error):
                error.hint = f"{error.hint}. {needs} {service}"
            raise
        if not (jobs.jobs_detail and jobs.jobs_detail[0].job_id):
            raise invalid_response_error(response, self.purpose, "the response has no JobId")
        return jobs


@dataclass(frozen=True, slots=True)
class DescribeJobs(ApiRequest[JobsResponse]):
    """``GET /jobs/<id>,…`` (460/84765): describes 1 to 10 jobs.

    Ids that the service does not find are in ``non_exist_job_ids`` of the response.
    """

    job_ids: Sequence[str]
    purpose: ClassVar[str] = "describe jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaJob",)

    def http_request(self) -> HttpRequest:
        return ci_request("GET", _path(self.job_ids))

    def parse(self, response: HttpResponse) -> JobsResponse:
        return _read_jobs(response, self.purpose)


@dataclass(frozen=True, slots=True)
class CancelJobs(ApiRequest[None]):
    """``PUT /jobs/<id>,…?cancel`` (460/82393): cancels those of 1 to 10 jobs that have not started.

    A success has no body and does not say which jobs were cancelled: describe them afterwards.
    """

    job_ids: Sequence[str]
    purpose: ClassVar[str] = "cancel jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CancelMediaJob",)

    def http_request(self) -> HttpRequest:
        return ci_request("PUT", _path(self.job_ids), params=(("cancel", ""),))

    def parse(self, response: HttpResponse) -> None:
        raise_for_error(response, self.purpose)


class SeenTokens:
    """An immutable set: the tokens of a list's pages so far. :meth:`with_token` returns a larger set.

    Copying the tokens for each page would take quadratic time. So a set and those made from it share a dict
    from each token to the number of its page. It only grows: a set of ``count`` tokens has those of the pages
    below ``count``, and larger sets have added the others.
    """

    __slots__ = ("_count", "_positions")

    def __init__(self, positions: dict[str, int] | None = None, count: int = 0) -> None:
        self._positions = {} if positions is None else positions
        self._count = count

    def __contains__(self, token: str) -> bool:
        return self._positions.get(token, self._count) < self._count

    def with_token(self, token: str) -> SeenTokens:
        """Return these tokens and ``token``."""
        positions = self._positions
        is_shared_with_larger_set = len(positions) != self._count
        if is_shared_with_larger_set and positions.get(token) != self._count:
            # the larger set has another token here: an earlier request for this page led to another next page
            positions = dict(islice(positions.items(), self._count))
        positions.setdefault(token, self._count)
        return SeenTokens(positions, self._count + 1)


class TokenPage(Protocol):
    """A page of jobs or batch jobs, with the token of the next page."""

    @property
    def jobs_detail(self) -> Sequence[Any]: ...

    @property
    def next_token(self) -> str | None: ...


Page = TypeVar("Page", bound=TokenPage)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseListJobs(PagedRequest[Page, Item], Generic[Page, Item]):
    """One page of jobs or batch jobs, newest first unless ``order_by_time`` is ``Asc``.

    :param states: only jobs in these states; by default in any.
    :param start_creation_time: only jobs that were created at this time or later; with a time zone.
    :param end_creation_time: only jobs that were created at this time or earlier; with a time zone.
    :param size: jobs on a page, 1 to 100.
    :param next_token: ``next_token`` of the page before.
    :param seen_tokens: the tokens of all pages before.
    """

    states: Sequence[str] = ()
    order_by_time: str = "Desc"
    start_creation_time: datetime | None = None
    end_creation_time: datetime | None = None
    size: int = LIST_SIZE_MAX
    next_token: str | None = None
    seen_tokens: SeenTokens = field(default_factory=SeenTokens, repr=False, compare=False)

    def items(self, page: Page) -> Sequence[Item]:
        return page.jobs_detail

    def next_page(self, page: Page) -> Self | None:
        # Which page is the last is not documented: it has no token, or no jobs, or a token that came before
        token = page.next_token
        if not token or not page.jobs_detail or token in self.seen_tokens:
            return None
        return replace(self, next_token=token, seen_tokens=self.seen_tokens.with_token(token))

    def smaller(self) -> Self | None:
        # that a token fits a smaller page than the one that it came with is not documented; assumed
        return replace(self, size=self.size // 2) if self.size > 1 else None

    def build_http_request(self, path: str, *filters: tuple[str, str | None]) -> HttpRequest:
        """Return the HTTP request, with those of the ``filters`` that have a value.

        :raises RequestValidationError: an argument breaks a documented rule.
        """
        check_list("states", self.states)
        raise_if_any(self.problems())
        common = (
            ("states", ",".join(self.states)),
            ("orderByTime", self.order_by_time),
            (
                "startCreationTime",
                format_time(self.start_creation_time) if self.start_creation_time else None,
            ),
            ("endCreationTime", format_time(self.end_creation_time) if self.end_creation_time else None),
            ("size", str(self.size)),
            ("nextToken", self.next_token),
        )
        return ci_request("GET", path, params=drop_empty((*filters, *common)))

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each argument that breaks a documented rule."""
        for state in self.states:
            yield from choice_problems("states", state, STATES)
        yield from choice_problems("order_by_time", self.order_by_time, ("Desc", "Asc"))
        if not 1 <= self.size <= LIST_SIZE_MAX:
            yield Problem("size", self.size, f"1 to {LIST_SIZE_MAX}")
        for name in ("start_creation_time", "end_creation_time"):
            time = getattr(self, name)
            if time is not None and time.tzinfo is None:
                yield Problem(name, time, "a time with its zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs(BaseListJobs[JobsResponse, Job]):
    """``GET /jobs?tag=…`` (460/84766): lists jobs.

    :param input_object: only jobs with exactly this input key.
    :param inventory_trigger_job_id: only the jobs of this batch job.
    """

    tag: str = VOICE_SEPARATE
    queue_id: str | None = None
    workflow_id: str | None = None
    inventory_trigger_job_id: str | None = None
    input_object: str | None = None
    purpose: ClassVar[str] = "list jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaJobs",)

    def http_request(self) -> HttpRequest:
        return self.build_http_request(
            "/jobs",
            ("tag", self.tag),
            ("queueId", self.queue_id),
            ("workflowId", self.workflow_id),
            ("inventoryTriggerJobId", self.inventory_trigger_job_id),
            ("inputObject", self.input_object),
        )

    def problems(self) -> Iterator[Problem]:
        # super() without arguments fails in dataclasses with slots: @dataclass replaces the class
        yield from BaseListJobs.problems(self)
        key = self.input_object
        if key is None:
            return
        if not is_object_key(key):
            yield Problem("input_object", key, "an object key")
        elif address := object_address(key):
            yield Problem("input_object", redact_address(key), f"an object key, here {address.key!r}")

    def parse(self, response: HttpResponse) -> JobsResponse:
        return _read_jobs(response, self.purpose)


def _read_jobs(response: HttpResponse, purpose: str) -> JobsResponse:
    jobs = read_response(JobsResponse, response, purpose)
    return replace(
        jobs,
        non_exist_job_ids=split_at_commas(jobs.non_exist_job_ids),
        request_id=response.request_id or jobs.request_id,
    )


def split_at_commas(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the ids in ``texts``, each of which has one id or several separated by commas.

    The documents have one element with all ids, separated by commas; their examples repeat the element.
    """
    return tuple(job_id.strip() for text in texts for job_id in text.split(",") if job_id.strip())


def _path(job_ids: Sequence[str]) -> str:
    check_job_ids(job_ids)
    if not 1 <= len(job_ids) <= IDS_PER_REQUEST:
        raise RequestValidationError([f"job_ids has {len(job_ids)} ids, allowed: 1 to {IDS_PER_REQUEST}"])
    return "/jobs/" + ",".join(job_ids)


def check_job_ids(job_ids: Sequence[str]) -> None:
    """Check that each of ``job_ids`` can be a job id, before it becomes part of a path.

    :raises RequestValidationError: names each that cannot be a job id.
    """
    check_list("job_ids", job_ids)
    raise_if_any(problem for job_id in job_ids for problem in id_problems("job_id", job_id))
