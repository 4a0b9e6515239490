"""What operators for one voice separation and for a batch of them have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.operators import audio_parameters
from airflow_provider_ci.operators.base_job import J, R, TencentCIBaseJobOperator
from airflow_provider_ci.operators.rendered_arguments import read_arguments, read_dict
from airflow_provider_ci.protocol.rules import raise_if_any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_ci.protocol.jobs import Output
    from airflow_provider_ci.protocol.voice_separation import VoiceSeparate
    from airflow_provider_ci.protocol.wire import Endpoint

#: The arguments for the keys of results.
RESULTS = ("background_object", "voice_object", "bass_object", "drum_object")
_SCALARS = (
    *RESULTS,
    *("output_bucket", "output_region", "template_id"),
    *audio_parameters.NAMES,
    *("user_data", "job_level", "queue_id"),
    *("callback_url", "callback_format", "callback_type"),
)
_MQ_EXAMPLE = {"mq_region": "sh", "mq_mode": "Queue", "mq_name": "example"}
_KAFKA_EXAMPLE = {"region": "ap-guangzhou", "instance_id": "example", "topic": "example"}
# There is no template_id in it, beside which parameters are refused
_EXAMPLE = {
    **{name: f"example/{name}-${{jobid}}" for name in RESULTS},
    **audio_parameters.EXAMPLE,
    "output_bucket": "example-1250000000",
    "output_region": "ap-guangzhou",
    "job_level": 0,
    "queue_id": "example",
    "callback_url": "no",
    "callback_format": "XML",
    "callback_mq_config": _MQ_EXAMPLE,
    "callback_kafka_config": _KAFKA_EXAMPLE,
}


class BaseVoiceSeparateOperator(TencentCIBaseJobOperator[R, J]):
    """Builds what requests for voice separation (460/84794, 460/80155) have in common.

    In the keys of results the service replaces placeholders such as ``${jobid}``; ``docs/operators.md`` has
    all.

    :param background_object: key of the background (``Output.Object``). (templated)
    :param voice_object: key of the voice (``Output.AuObject``). (templated)
    :param bass_object: key of the bass, for ``MusicMode`` (``Output.BassObject``). (templated)
    :param drum_object: key of the drums, for ``MusicMode`` (``Output.DrumObject``). (templated)
    :param output_bucket: bucket of the results (``Output.Bucket``); default: the input's. (templated)
    :param output_region: that bucket's region (``Output.Region``); default: the input's. (templated)
    :param template_id: a voice-separation template (``TemplateId``), instead of the next five. (templated)
    :param audio_mode: what to make (``AudioMode``): ``IsAudio`` (voice), ``IsBackground``,
        ``AudioAndBackground`` or ``MusicMode`` (voice, background, bass, drums). (templated)
    :param codec: ``aac`` (the service's default), ``mp3``, ``flac``, ``amr`` or ``wav``
        (``AudioConfig.Codec``). (templated)
    :param samplerate: Hz (``AudioConfig.Samplerate``); which are allowed depends on the codec. (templated)
    :param bitrate: kbit/s, 8 to 1000 (``AudioConfig.Bitrate``). (templated)
    :param channels: number of channels (``AudioConfig.Channels``). (templated)
    :param user_data: printable ASCII, at most 1,024 characters, which the service returns with the job
        (``UserData``). (templated)
    :param job_level: priority (``JobLevel``), 0 to 2; a higher one runs earlier. (templated)
    :param queue_id: queue (``QueueId``); default: the service chooses. (templated)
    :param callback_url: URL that the service calls when the job has ended (``CallBack``), or ``no``. It is
        shown in Airflow's UI. (templated)
    :param callback_format: ``XML`` or ``JSON`` (``CallBackFormat``). (templated)
    :param callback_type: ``Url``, ``TDMQ`` or ``Kafka`` (``CallBackType``). (templated)
    :param callback_mq_config: for ``TDMQ`` (``CallBackMqConfig``):
        ``{"mq_region": …, "mq_mode": …, "mq_name": …}``. (templated)
    :param callback_kafka_config: for ``Kafka`` (``CallBackKafkaConfig``):
        ``{"region": …, "instance_id": …, "topic": …}``. (templated)
    """

    template_fields: Sequence[str] = (
        *TencentCIBaseJobOperator.template_fields,
        *_SCALARS,
        "callback_mq_config",
        "callback_kafka_config",
    )
    integer_arguments = (*audio_parameters.INTEGERS, "job_level")
    free_text_arguments = ("user_data",)
    optional_arguments = (*audio_parameters.OPTIONAL, "callback_format", "callback_type")
    arguments_of_elements: Mapping[str, str] = {
        "Input.Object": "input_object",
        "Object": "background_object",
        "AuObject": "voice_object",
        "Bucket": "output_bucket",
        "Region": "output_region",
        "CallBack": "callback_url",
        "Output's object keys": "background_object, voice_object, bass_object and drum_object",
    }
    assumed_when_parsed = tuple(_EXAMPLE | {"callback_type": kind} for kind in ("Url", "TDMQ", "Kafka"))
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "callback_mq_config": "json",
        "callback_kafka_config": "json",
    }

    def __init__(
        self,
        *,
        background_object: str | None = None,
        voice_object: str | None = None,
        bass_object: str | None = None,
        drum_object: str | None = None,
        output_bucket: str | None = None,
        output_region: str | None = None,
        template_id: str | None = None,
        audio_mode: str | None = None,
        codec: str | None = None,
        samplerate: int | str | None = None,
        bitrate: int | str | None = None,
        channels: int | str | None = None,
        user_data: str | None = None,
        job_level: int | str | None = None,
        queue_id: str | None = None,
        callback_url: str | None = None,
        callback_format: str | None = None,
        callback_type: str | None = None,
        callback_mq_config: dict[str, str] | None = None,
        callback_kafka_config: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.background_object = background_object
        self.voice_object = voice_object
        self.bass_object = bass_object
        self.drum_object = drum_object
        self.output_bucket = output_bucket
        self.output_region = output_region
        self.template_id = template_id
        self.audio_mode = audio_mode
        self.codec = codec
        self.samplerate = samplerate
        self.bitrate = bitrate
        self.channels = channels
        self.user_data = user_data
        self.job_level = job_level
        self.queue_id = queue_id
        self.callback_url = callback_url
        self.callback_format = callback_format
        self.callback_type = callback_type
        self.callback_mq_config = callback_mq_config
        self.callback_kafka_config = callback_kafka_config

    def validate_arguments(self, endpoint: Any) -> None:
        """Check the arguments, and the request made of them."""
        super().validate_arguments(endpoint)
        self.build_request(endpoint)

    def _read_arguments(self, *own: str) -> dict[str, Any]:
        """Return the rendered values of this class's template fields; an empty string becomes ``None``.

        :param own: the names of strings that only the subclass has.
        :raises RequestValidationError: names each argument that cannot be used.
        """
        # not template_fields, to which a user's subclass may add anything
        arguments = read_arguments(self, (*own, *TencentCIBaseJobOperator.template_fields, *_SCALARS))
        raise_if_any(
            f"{name} is set, allowed: not together with template_id, which wins"
            for name in audio_parameters.NAMES
            if arguments["template_id"] and arguments[name] is not None
        )
        return arguments

    def _build_parameters(self, arguments: Mapping[str, Any]) -> VoiceSeparate | None:
        return None if arguments["template_id"] else audio_parameters.build_parameters(arguments, self.models)

    def _build_output(self, arguments: Mapping[str, Any], endpoint: Endpoint) -> Output:
        """Return where results go: to the input's bucket unless the arguments say otherwise."""
        output: Output = self.models.Output(
            region=arguments["output_region"] or endpoint.region,
            bucket=arguments["output_bucket"] or endpoint.bucket,
            **{name: arguments[name] for name in RESULTS},
        )
        return output

    def _build_callback(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a request that name the receiver of its callback."""
        mq = read_dict(self, "callback_mq_config", _MQ_EXAMPLE)
        kafka = read_dict(self, "callback_kafka_config", _KAFKA_EXAMPLE)
        return {
            **{name: arguments[name] for name in ("callback_url", "callback_format", "callback_type")},
            "callback_mq_config": mq and self.models.CallbackMqConfig(**mq),
            "callback_kafka_config": kafka and self.models.CallbackKafkaConfig(**kafka),
        }
