"""The arguments that one voice separation and a batch of them have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.arguments import (
    PARAMETERS,
    read_arguments,
    read_texts,
    separation_parameters,
)
from airflow_provider_ci.operators.base_job import J, R, TencentCIBaseJobOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_ci.protocol.jobs import Output
    from airflow_provider_ci.protocol.voice_separation import VoiceSeparate
    from airflow_provider_ci.protocol.wire import Endpoint

Texts = dict[str, str | None]
Numbers = dict[str, int | None]

#: What each result's key is called.
RESULTS = ("background_object", "voice_object", "bass_object", "drum_object")
# The texts and numbers among the arguments
_VALUES = (
    *RESULTS,
    "output_bucket",
    "output_region",
    "template_id",
    *PARAMETERS,
    "user_data",
    "job_level",
    "queue_id",
    "callback_url",
    "callback_format",
    "callback_type",
)
_CONFIGS = {
    "callback_mq_config": ("mq_mode", "mq_name", "mq_region"),
    "callback_kafka_config": ("instance_id", "region", "topic"),
}


class SeparationOperator(TencentCIBaseJobOperator[R, J]):
    """Separates voice and background.

    :param background_object: key of the background result (``Output.Object``); the service replaces
        placeholders. (templated)
    :param voice_object: key of the voice result (``Output.AuObject``). (templated)
    :param bass_object: key of the bass result, for ``MusicMode`` (``Output.BassObject``). (templated)
    :param drum_object: key of the drum result, for ``MusicMode`` (``Output.DrumObject``). (templated)
    :param output_bucket: bucket of the results (``Output.Bucket``); default: the input's. (templated)
    :param output_region: its region (``Output.Region``); default: the input's. (templated)
    :param template_id: a voice-separation template (``TemplateId``), instead of the next five. (templated)
    :param audio_mode: ``IsAudio`` (voice), ``IsBackground``, ``AudioAndBackground`` or ``MusicMode`` (voice,
        background, bass, drums). (templated)
    :param codec: ``aac`` (the service's default), ``mp3``, ``flac``, ``amr`` or ``wav``. (templated)
    :param samplerate: Hz. (templated)
    :param bitrate: kbit/s, 8 to 1000. (templated)
    :param channels: number of channels. (templated)
    :param user_data: text that the service hands back with the job, printable ASCII, at most 1,024
        characters. (templated)
    :param job_level: priority, 0 to 2, higher runs earlier. (templated)
    :param queue_id: queue, if not the service's choice. (templated)
    :param callback_url: URL that the service calls at the end, or ``no``. It is shown in the UI. (templated)
    :param callback_format: ``XML`` or ``JSON``. (templated)
    :param callback_type: ``Url``, ``TDMQ`` or ``Kafka``. (templated)
    :param callback_mq_config: for ``TDMQ``: ``{"mq_region": …, "mq_mode": …, "mq_name": …}``. (templated)
    :param callback_kafka_config: for ``Kafka``: ``{"region": …, "instance_id": …, "topic": …}``. (templated)
    """

    template_fields: Sequence[str] = (
        *TencentCIBaseJobOperator.template_fields,
        *_VALUES,
        "callback_mq_config",
        "callback_kafka_config",
    )
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

    def _given(self, *own: str) -> tuple[Texts, Numbers]:
        """Return the rendered texts and numbers; an empty text, which templates often give, is not given.

        :param own: the texts that only this operator has.
        """
        # not by template_fields, to which a user's subclass may add whatever it likes
        texts, numbers = read_arguments(self, (*own, *TencentCIBaseJobOperator.template_fields, *_VALUES))
        if broken := [
            problem for name in (*own, *RESULTS) if (problem := _address_problem(name, texts[name]))
        ]:
            raise RequestValidationError(broken)
        if texts["template_id"]:
            ignored = [name for name in PARAMETERS if getattr(self, name) not in (None, "")]
            if ignored:
                raise RequestValidationError(
                    [
                        f"{name} is given, allowed: not together with template_id, which wins"
                        for name in ignored
                    ]
                )
        return texts, numbers

    def _parameters(self, texts: Texts, numbers: Numbers) -> VoiceSeparate | None:
        return None if texts["template_id"] else separation_parameters(texts, numbers, self.models)

    def _output(self, texts: Texts, endpoint: Endpoint) -> Output:
        """Return where results go: to the input's bucket unless the arguments say otherwise."""
        output: Output = self.models.Output(
            region=texts["output_region"] or endpoint.region,
            bucket=texts["output_bucket"] or endpoint.bucket,
            **{name: texts[name] for name in RESULTS},
        )
        return output

    def _callback_fields(self, texts: Texts) -> dict[str, Any]:
        """Return the fields that say whom to call at the end."""
        return {
            "callback_url": texts["callback_url"],
            "callback_format": texts["callback_format"],
            "callback_type": texts["callback_type"],
            "callback_mq_config": self._config("callback_mq_config", self.models.CallbackMqConfig),
            "callback_kafka_config": self._config("callback_kafka_config", self.models.CallbackKafkaConfig),
        }

    def _config(self, name: str, model: type[Any]) -> Any:
        texts = read_texts(self, name, _CONFIGS[name])
        return None if texts is None else model(**texts)


def _address_problem(name: str, value: str | None) -> str | None:
    """Return what to write instead of an object's address, such as assets have, where its key is wanted."""
    from airflow_provider_ci.protocol.names import object_address, redact_address

    address = object_address(value)
    if value is None or address is None:
        return None
    is_list = name in ("manifest", "url_file")
    if name == "name" or (is_list and value.lower().startswith(("http:", "https:"))):
        return None
    shown = f"{name} is {redact_address(value)!r}, allowed: an object key"
    if address.bucket is None:
        return f"{shown}, without scheme and bucket"
    bucket = "output_bucket" if name in RESULTS else "bucket"
    return f"{shown}: write {bucket}={address.bucket!r}, {name}={address.key!r}"
