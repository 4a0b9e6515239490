"""What travels: requests, jobs and their results, named as in Tencent's documents.

Each dataclass is one XML element and each field one child (:mod:`.xml` maps them). Request side: documents
460/84794 and 460/58329 (submission), 460/84500 (parameters), 460/78927 (callback queues). Answer side:
460/84765 (job), 460/38935 (media information). An absent element is ``None`` or an empty tuple.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.names import VOICE_SEPARATE as VOICE_SEPARATE


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
class AudioConfig:
    """Encoding of the results: ``samplerate`` in Hz, ``bitrate`` in kbit/s, ``channels`` a count."""

    codec: str | None = None
    samplerate: int | None = None
    bitrate: int | None = None
    channels: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSeparate:
    """The separation's parameters. Modes: ``IsAudio``, ``IsBackground``, ``AudioAndBackground``,
    ``MusicMode``.
    """

    audio_mode: str | None = None
    audio_config: AudioConfig | None = None


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
class MediaFormat:
    """Container facts: ``start_time`` and ``duration`` in seconds, ``bitrate`` in kbit/s, ``size`` in
    bytes.
    """

    num_stream: int | None = None
    num_program: int | None = None
    format_name: str | None = None
    format_long_name: str | None = None
    start_time: float | None = None
    duration: float | None = None
    bitrate: float | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStream:
    """One audio stream: ``sample_rate`` in Hz, ``channel`` a count, times in seconds, ``bitrate`` in
    kbit/s.
    """

    index: int | None = None
    codec_name: str | None = None
    codec_long_name: str | None = None
    codec_time_base: str | None = None
    codec_tag_string: str | None = None
    codec_tag: str | None = None
    sample_fmt: str | None = None
    sample_rate: int | None = None
    channel: int | None = None
    channel_layout: str | None = None
    timebase: str | None = None
    start_time: float | None = None
    duration: float | None = None
    bitrate: float | None = None
    language: str | None = None
    creation_time: str | None = None  # as printed: its form is not documented


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStream:
    """One video stream: sizes in pixels, times in seconds, ``bitrate`` in kbit/s, ``fps`` as printed
    (``50/1``).
    """

    index: int | None = None
    codec_name: str | None = None
    codec_long_name: str | None = None
    codec_time_base: str | None = None
    codec_tag_string: str | None = None
    codec_tag: str | None = None
    color_primaries: str | None = None
    color_range: str | None = None
    color_transfer: str | None = None
    profile: str | None = None
    width: int | None = None
    height: int | None = None
    has_b_frame: int | None = None
    ref_frames: int | None = None
    sar: str | None = None
    dar: str | None = None
    pix_format: str | None = None
    field_order: str | None = None
    level: int | None = None
    fps: str | None = None
    avg_fps: str | None = None
    timebase: str | None = None
    start_time: float | None = None
    duration: float | None = None
    bitrate: float | None = None
    num_frames: int | None = None
    language: str | None = None
    rotation: float | None = None
    creation_time: str | None = None  # as printed: its form is not documented


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleStream:
    """One subtitle stream."""

    index: int | None = None
    language: str | None = None
    creation_time: str | None = None  # as printed: its form is not documented


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStream:
    """The streams by kind; in a job's answer ``audio`` has one entry for each result."""

    video: tuple[VideoStream, ...] = ()
    audio: tuple[AudioStream, ...] = ()
    subtitle: tuple[SubtitleStream, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """What the service measured of the results. Which file ``format`` describes is not documented."""

    format: MediaFormat | None = None
    stream: MediaStream | None = None


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
class VoiceSeparateRequest:
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
