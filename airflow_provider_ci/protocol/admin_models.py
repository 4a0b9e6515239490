"""What travels in the calls around jobs: templates, queues, service opening and batch jobs.

As in :mod:`.models`, each dataclass is one XML element and each field one child. Documents: templates
436/84510 (create), 460/84757 (update), 1045/49919 (list), 1045/49918 (delete); queues 436/54045, 460/42324,
460/46234, 460/46235; buckets 460/95754, 436/115298, 1045/49940, 1045/49551; batch jobs 460/80155, 436/113271.
Unlike job answers, these carry ``RequestId`` in their bodies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.models import (
    VOICE_SEPARATE,
    AudioConfig,
    CallbackKafkaConfig,
    CallbackMqConfig,
    JobState,
    Output,
    VoiceSeparate,
)
from airflow_provider_ci.protocol.names import ACTIVE as ACTIVE
from airflow_provider_ci.protocol.names import PAUSED as PAUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRequest:
    """The body of ``POST /template`` and ``PUT /template/<id>``; here the parameters have no container."""

    tag: str | None = None
    name: str | None = None
    audio_mode: str | None = None
    audio_config: AudioConfig | None = None


def template_request(name: str, parameters: VoiceSeparate) -> TemplateRequest:
    """Return the body for a voice-separation template; the encoding's element must be there, even empty."""
    return TemplateRequest(
        tag=VOICE_SEPARATE,
        name=name,
        audio_mode=parameters.audio_mode,
        audio_config=parameters.audio_config or AudioConfig(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One template as the service describes it. ``category`` is ``Custom`` or ``Official``; of ``state`` only
    ``Normal`` has been seen.
    """

    tag: str | None = None
    template_id: str | None = None
    name: str | None = None
    bucket_id: str | None = None
    category: str | None = None
    state: str | None = None
    voice_separate: VoiceSeparate | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateAnswer:
    """The answer to creation and update."""

    request_id: str | None = None
    template: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateIds:
    """Ids of templates."""

    template_id: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatesAnswer:
    """The answer to ``GET /template``; without totals when ids were asked for."""

    request_id: str | None = None
    total_count: int | None = None
    page_number: int | None = None
    page_size: int | None = None
    template_list: tuple[Template, ...] = ()
    non_exist_tids: TemplateIds | None = field(default=None, metadata=element("NonExistTIDs"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDeletedAnswer:
    """The answer to ``DELETE /template/<id>``."""

    request_id: str | None = None
    template_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """Callbacks of a queue: ``state`` is ``On`` or ``Off``, ``event`` a comma list of ``TaskFinish``,
    ``WorkflowFinish`` and ``TransCodingFinish``, ``type`` is ``Url``, ``TDMQ`` or ``Kafka``. The last event,
    ``Kafka`` and a ``url`` without scheme are known from SDKs only.
    """

    state: str | None = None
    url: str | None = field(default=None, repr=False)  # its query may hold the receiver's secret
    event: str | None = None
    type: str | None = None
    result_format: str | None = None
    mq_mode: str | None = None
    mq_region: str | None = None
    mq_name: str | None = None
    kafka_config: CallbackKafkaConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRequest:
    """The body of ``PUT /queue/<id>`` and ``PUT /asrqueue/<id>``. ``state`` is ``Active`` or ``Paused``."""

    name: str | None = None
    state: str | None = None
    notify_config: NotifyConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue: at most ``max_size`` jobs wait and ``max_concurrent`` run."""

    queue_id: str | None = None
    name: str | None = None
    state: str | None = None
    notify_config: NotifyConfig | None = None
    max_size: int | None = None
    max_concurrent: int | None = None
    bucket_id: str | None = None
    category: str | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAnswer:
    """The answer to the update of a queue."""

    request_id: str | None = None
    queue: Queue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesAnswer:
    """The answer to ``GET /queue`` and ``GET /asrqueue``; without totals when ids were asked for."""

    request_id: str | None = None
    total_count: int | None = None
    page_number: int | None = None
    page_size: int | None = None
    queue_list: tuple[Queue, ...] = ()
    non_exist_pids: tuple[str, ...] = field(default=(), metadata=element("NonExistPIDs"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketBinding:
    """A bucket for which a service is open. ``name`` is the same as ``bucket_id`` (1045/49940)."""

    bucket_id: str | None = None
    name: str | None = None
    region: str | None = None
    create_time: datetime | None = None
    alias_bucket_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAnswer:
    """The answer to ``POST /asrbucket`` or ``POST /mediabucket``: one of the two is set."""

    request_id: str | None = None
    asr_bucket: BucketBinding | None = None
    media_bucket: BucketBinding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketClosedAnswer:
    """The answer to ``DELETE /asrbucket``."""

    request_id: str | None = None
    bucket_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketsAnswer:
    """The answer to ``GET /asrbucket`` or ``GET /mediabucket``: one of the two lists is filled."""

    request_id: str | None = None
    total_count: int | None = None
    page_number: int | None = None
    page_size: int | None = None
    asr_bucket_list: tuple[BucketBinding, ...] = ()
    media_bucket_list: tuple[BucketBinding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInput:
    """What a batch job works on: one of an inventory's manifest, a list of URLs, a prefix, an object."""

    manifest: str | None = None
    url_file: str | None = None
    prefix: str | None = None
    object: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeInterval:
    """Only inputs uploaded within it are taken; texts as in ``2025-01-01T00:00:00+0800``."""

    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJobParam:
    """The parameters of a batch job's jobs; the template wins if both are given."""

    template_id: str | None = None
    voice_separate: VoiceSeparate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOperation:
    """What to do with each input. Unlike in ``POST /jobs``, queue and callback are in here."""

    tag: str | None = None
    job_param: BatchJobParam | None = None
    output: Output | None = None
    queue_id: str | None = None
    queue_type: str | None = None
    time_interval: TimeInterval | None = None
    user_data: str | None = None
    job_level: int | None = None
    callback_url: str | None = field(default=None, repr=False, metadata=element("CallBack"))
    callback_format: str | None = field(default=None, metadata=element("CallBackFormat"))
    callback_type: str | None = field(default=None, metadata=element("CallBackType"))
    callback_mq_config: CallbackMqConfig | None = field(default=None, metadata=element("CallBackMqConfig"))
    callback_kafka_config: CallbackKafkaConfig | None = field(
        default=None, metadata=element("CallBackKafkaConfig")
    )
    workflow_ids: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """The body of ``POST /inventorytriggerjob``. ``type`` is ``Job`` or ``Workflow``."""

    name: str | None = None
    type: str | None = None
    input: BatchInput | None = None
    operation: BatchOperation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """One batch job. Its jobs are found by ``GET /jobs?inventoryTriggerJobId=``.

    ``tag``, ``progress`` (0 to 100) and ``queue_id`` are known from Tencent's SDKs only.
    """

    code: str | None = None
    message: str | None = None
    type: str | None = None
    name: str | None = None
    job_id: str | None = None
    tag: str | None = None
    progress: int | None = None
    state: str | None = None
    creation_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    queue_id: str | None = None
    input: BatchInput | None = None
    operation: BatchOperation | None = None

    @property
    def job_state(self) -> JobState:
        """The state as a value that knows what it means; ``""`` if the service sent none."""
        return JobState((self.state or "").strip())

    @property
    def may_be_cancelled(self) -> bool:
        """Whether cancelling it can still save something: it makes jobs until it has ended."""
        return not self.job_state.is_terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchesResponse:
    """The body of every answer about batch jobs."""

    request_id: str | None = None
    jobs_detail: tuple[BatchJob, ...] = ()
    non_exist_job_ids: tuple[str, ...] = field(
        default=(), metadata=element("NonExistJobIds", "NonExistJobId")
    )
    next_token: str | None = None
