"""Jobs: what is submitted, what the service says of them, and the calls.

Each dataclass is one XML element and each field one child (:mod:`.xml` maps them). Request side: documents
460/84794 and 460/58329 (submission), 460/84500 (parameters), 460/78927 (callback queues). Response side:
460/84765. An absent element is ``None`` or an empty tuple. :mod:`.job_rules` holds the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Generic, Self

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import (
    ApiRequest,
    drop_empty,
    invalid_response_error,
    parse_response,
)
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.job_rules import check
from airflow_provider_ci.protocol.lists import LIST_SIZE_MAX, Item, PagedRequest, SeenTokens, T
from airflow_provider_ci.protocol.media_info import MediaInfo
from airflow_provider_ci.protocol.names import (
    ID,
    is_object_key,
    object_address,
    redact_address,
)
from airflow_provider_ci.protocol.rules import check_list
from airflow_provider_ci.protocol.voice_separation import VOICE_SEPARATE as VOICE_SEPARATE
from airflow_provider_ci.protocol.voice_separation import AudioConfig as AudioConfig
from airflow_provider_ci.protocol.voice_separation import VoiceSeparate as VoiceSeparate
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service

#: The service describes and cancels at most so many jobs at once (436/120621, 436/120620).
IDS_PER_REQUEST = 10


class JobState(str):
    """A job's state, spelled as the service spells it. Unknown spellings are kept and count as not ended."""

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
        """Whether the job has not begun, so that it can still be cancelled."""
        return self in (SUBMITTED, PAUSE)


SUBMITTED = JobState("Submitted")
RUNNING = JobState("Running")
SUCCESS = JobState("Success")
FAILED = JobState("Failed")
PAUSE = JobState("Pause")
CANCEL = JobState("Cancel")
STATES = (SUBMITTED, RUNNING, SUCCESS, FAILED, PAUSE, CANCEL)
#: Those of a job that has not ended.
PENDING_STATES = (SUBMITTED, RUNNING, PAUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CosHeader:
    """A header of the object that a workflow took as its input."""

    key: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """The input object. Requests carry only its key; answers also its bucket and region, and those about jobs
    of a workflow the object's headers.
    """

    bucket_id: str | None = field(default=None, metadata=element("BucketId", "Bucket"))
    object: str | None = None
    region: str | None = None
    cos_headers: tuple[CosHeader, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where results go. Keys may hold ``${jobid}`` and ``${ext}``; answers echo them unexpanded.

    ``background_object`` is the accompaniment (``Object``), ``voice_object`` the voice (``AuObject``).
    """

    region: str | None = None
    bucket: str | None = None
    background_object: str | None = field(default=None, metadata=element("Object"))
    voice_object: str | None = field(default=None, metadata=element("AuObject"))
    bass_object: str | None = None
    drum_object: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Md5Info:
    """MD5 (hex) of one result object."""

    object_name: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """The result objects, placeholders expanded, in no promised order."""

    bucket: str | None = None
    region: str | None = None
    object_prefix: str | None = None
    object_name: tuple[str, ...] = ()
    md5_info: tuple[Md5Info, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaResult:
    """Present once the job has ended successfully."""

    output_file: OutputFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What to do (request) and what came of it (answer: ``template_name``, ``media_info``,
    ``media_result``).
    """

    template_id: str | None = None
    template_name: str | None = None
    voice_separate: VoiceSeparate | None = None
    output: Output | None = None
    media_info: MediaInfo | None = None
    media_result: MediaResult | None = None
    user_data: str | None = None
    job_level: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackMqConfig:
    """TDMQ queue or topic for callbacks."""

    mq_region: str | None = None
    mq_mode: str | None = None
    mq_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackKafkaConfig:
    """CKafka topic for callbacks (known from Tencent's SDKs only)."""

    region: str | None = None
    instance_id: str | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """The body of ``POST /jobs`` for voice separation. :mod:`.validation` holds its rules."""

    tag: str | None = VOICE_SEPARATE
    input: Input | None = None
    operation: Operation | None = None
    queue_id: str | None = None
    # not shown, as its query may hold the receiver's secret
    callback_url: str | None = field(default=None, repr=False, metadata=element("CallBack"))
    callback_format: str | None = field(default=None, metadata=element("CallBackFormat"))
    callback_type: str | None = field(default=None, metadata=element("CallBackType"))
    callback_mq_config: CallbackMqConfig | None = field(default=None, metadata=element("CallBackMqConfig"))
    callback_kafka_config: CallbackKafkaConfig | None = field(
        default=None, metadata=element("CallBackKafkaConfig")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """The workflow that started a job."""

    name: str | None = None
    run_id: str | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as the service describes it. ``code`` and ``message`` mean something only in state
    ``Failed``.
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
    input: Input | None = None
    operation: Operation | None = None
    workflow: tuple[Workflow, ...] = ()

    @property
    def job_state(self) -> JobState:
        """The state as a value that knows what it means; ``""`` if the service sent none."""
        return JobState((self.state or "").strip())

    @property
    def may_be_cancelled(self) -> bool:
        """Whether the service still cancels it: only before it has begun."""
        return self.job_state.is_waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsResponse:
    """The body of every answer about jobs, with ``request_id`` taken from its headers.

    ``non_exist_job_ids`` holds the ids that the service does not know, one to an entry.
    """

    jobs_detail: tuple[Job, ...] = ()
    non_exist_job_ids: tuple[str, ...] = ()
    next_token: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class SubmitJob(ApiRequest[JobsResponse]):
    """``POST /jobs`` (460/84794). Not idempotent: the service has no token, a second call is a second paid
    job.
    """

    job: JobRequest
    expires_at: float | None = None
    purpose: ClassVar[str] = "submit the job"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateMediaJobs",)
    idempotent: ClassVar[bool] = False

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: the job breaks a documented rule.
        """
        check(self.job)
        body = xml.to_bytes(xml.to_element(self.job, "Request"))
        return HttpRequest(method="POST", service=Service.CI, path="/jobs", body=body)

    def parse(self, response: HttpResponse) -> JobsResponse:
        """Return the accepted job.

        :raises InvalidResponseError: the answer names no job id.
        """
        answer = _jobs_answer(response, self.purpose)
        if not (answer.jobs_detail and answer.jobs_detail[0].job_id):
            raise invalid_response_error(response, self.purpose, "the answer has no JobId")
        return answer


@dataclass(frozen=True, slots=True)
class DescribeJobs(ApiRequest[JobsResponse]):
    """``GET /jobs/<id>,…`` (460/84765): 1 to 10 ids; unknown ones come back in ``non_exist_job_ids``."""

    job_ids: Sequence[str]
    purpose: ClassVar[str] = "describe jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaJob",)

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: no id, more than 10, or one that is not an id.
        """
        return HttpRequest(method="GET", service=Service.CI, path=_path_of(self.job_ids))

    def parse(self, response: HttpResponse) -> JobsResponse:
        """Return the jobs that the service knows, and the ids that it does not."""
        return _jobs_answer(response, self.purpose)


@dataclass(frozen=True, slots=True)
class CancelJobs(ApiRequest[None]):
    """``PUT /jobs/<id>,…?cancel`` (460/82393): 1 to 10 ids of jobs that have not begun.

    A success answer is empty and promises nothing about each job: describe them afterwards.
    """

    job_ids: Sequence[str]
    purpose: ClassVar[str] = "cancel jobs"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CancelMediaJob",)

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: no id, more than 10, or one that is not an id.
        """
        return HttpRequest(
            method="PUT", service=Service.CI, path=_path_of(self.job_ids), params=(("cancel", ""),)
        )

    def parse(self, response: HttpResponse) -> None:
        """Return nothing, or raise the service's error, which may sit in a 200 answer too."""
        if response.body.strip() or not 200 <= response.status < 300:
            parse_response(response, self.purpose)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobListRequest(PagedRequest[T, Item], Generic[T, Item]):
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

    def page_request(self, path: str, *params: tuple[str, str | None]) -> HttpRequest:
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
        return HttpRequest(method="GET", service=Service.CI, path=path, params=drop_empty((*params, *common)))

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
class ListJobs(JobListRequest[JobsResponse, Job]):
    """``GET /jobs?tag=…`` (460/84766): one page of jobs.

    :param input_object: exact key of the input.
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
        yield from JobListRequest.problems(self)
        if self.input_object is not None and not is_object_key(self.input_object):
            yield f"input_object is {self.input_object!r}, allowed: an object key"
        elif self.input_object is not None and (address := object_address(self.input_object)):
            shown = redact_address(self.input_object)
            yield f"input_object is {shown!r}, allowed: an object key, here {address.key!r}"

    def parse(self, response: HttpResponse) -> JobsResponse:
        """Return the page."""
        return _jobs_answer(response, self.purpose)

    def items(self, answer: JobsResponse) -> Sequence[Job]:
        """Return the jobs of the page."""
        return answer.jobs_detail

    def next_page(self, answer: JobsResponse) -> ListJobs | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer.next_token, answer.jobs_detail)


def split_ids(texts: Iterable[str]) -> tuple[str, ...]:
    """Return unknown ids one by one: they are documented as one text, and sampled as repeated elements."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _jobs_answer(response: HttpResponse, purpose: str) -> JobsResponse:
    answer = xml.read(JobsResponse, parse_response(response, purpose))
    return replace(
        answer,
        non_exist_job_ids=split_ids(answer.non_exist_job_ids),
        request_id=response.request_id or answer.request_id,
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


def _time(moment: datetime | None) -> str | None:
    return xml.format_time(moment) if moment else None
