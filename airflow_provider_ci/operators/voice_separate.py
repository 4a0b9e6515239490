"""Voice separation: a paid job that splits a media file into voice and background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.base import CIJobOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_ci.protocol.models import VoiceSeparateRequest
    from airflow_provider_ci.protocol.wire import Endpoint

_PARAMETERS = ("audio_mode", "codec", "samplerate", "bitrate", "channels")
_NUMBERS = ("samplerate", "bitrate", "channels", "job_level")


class VoiceSeparateOperator(CIJobOperator):
    """Submits a voice-separation job (``VoiceSeparate``, 人声分离) for a media object in COS.

    The job is billed by the duration of its results, and the service has no way to tell a repeated submission
    from a new one. XCom ``return_value`` is the JobId, pushed as soon as the job is accepted, in every mode;
    key ``job`` holds a :class:`~airflow_provider_ci.protocol.results.JobResult`.

    .. seealso:: ``docs/operators.md``, and Tencent's page 460/84794 for the fields of the request.

    :param input_object: key of the media object (``Input.Object``). (templated)
    :param object: key of the background result (``Output.Object``); ``${jobid}`` and ``${ext}`` are replaced
        by the service. (templated)
    :param au_object: key of the voice result (``Output.AuObject``). (templated)
    :param bass_object: key of the bass result, for ``MusicMode`` (``Output.BassObject``). (templated)
    :param drum_object: key of the drum result, for ``MusicMode`` (``Output.DrumObject``). (templated)
    :param output_bucket: bucket of the results (``Output.Bucket``); default: the input's. (templated)
    :param output_region: its region (``Output.Region``); default: the input's. (templated)
    :param template_id: a voice-separation template (``Operation.TemplateId``), instead of the next five.
        (templated)
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
    :param call_back: URL that the service calls at the end, or ``no``. It is shown in the UI. (templated)
    :param call_back_format: ``XML`` or ``JSON``. (templated)
    :param call_back_type: ``Url``, ``TDMQ`` or ``Kafka``. (templated)
    :param call_back_mq_config: for ``TDMQ``: ``{"mq_region": …, "mq_mode": …, "mq_name": …}``. (templated)
    :param call_back_kafka_config: for ``Kafka``: ``{"region": …, "instance_id": …, "topic": …}``. (templated)
    """

    template_fields: Sequence[str] = (
        *CIJobOperator.template_fields,
        "input_object",
        "object",
        "au_object",
        "bass_object",
        "drum_object",
        "output_bucket",
        "output_region",
        "template_id",
        *_PARAMETERS,
        "user_data",
        "job_level",
        "queue_id",
        "call_back",
        "call_back_format",
        "call_back_type",
        "call_back_mq_config",
        "call_back_kafka_config",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "call_back_mq_config": "json",
        "call_back_kafka_config": "json",
    }

    def __init__(
        self,
        *,
        input_object: str,
        object: str | None = None,
        au_object: str | None = None,
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
        call_back: str | None = None,
        call_back_format: str | None = None,
        call_back_type: str | None = None,
        call_back_mq_config: dict[str, str] | None = None,
        call_back_kafka_config: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_object = input_object
        self.object = object
        self.au_object = au_object
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
        self.call_back = call_back
        self.call_back_format = call_back_format
        self.call_back_type = call_back_type
        self.call_back_mq_config = call_back_mq_config
        self.call_back_kafka_config = call_back_kafka_config

    def build_request(self, endpoint: Endpoint) -> VoiceSeparateRequest:
        """Return the request; results go to the input's bucket unless the arguments say otherwise."""
        # lxml comes with the models: not at DAG-parse time
        from airflow_provider_ci.protocol import models

        texts, numbers = self._given()
        parameters = None
        if not texts["template_id"]:
            config = models.AudioConfig(
                codec=texts["codec"].lower() if texts["codec"] else None,
                samplerate=numbers["samplerate"],
                bitrate=numbers["bitrate"],
                channels=numbers["channels"],
            )
            parameters = models.VoiceSeparate(
                audio_mode=texts["audio_mode"],
                # the element is optional; what an empty one means is not documented
                audio_config=config if config != models.AudioConfig() else None,
            )
        self._refuse_overwriting(texts, endpoint)
        return models.VoiceSeparateRequest(
            input=models.Input(object=texts["input_object"]),
            operation=models.Operation(
                template_id=texts["template_id"],
                voice_separate=parameters,
                output=models.Output(
                    region=texts["output_region"] or endpoint.region,
                    bucket=texts["output_bucket"] or endpoint.bucket,
                    object=texts["object"],
                    au_object=texts["au_object"],
                    bass_object=texts["bass_object"],
                    drum_object=texts["drum_object"],
                ),
                user_data=texts["user_data"],
                job_level=numbers["job_level"],
            ),
            queue_id=texts["queue_id"],
            call_back=texts["call_back"],
            call_back_format=texts["call_back_format"],
            call_back_type=texts["call_back_type"],
            call_back_mq_config=self._config("call_back_mq_config", models.CallBackMqConfig),
            call_back_kafka_config=self._config("call_back_kafka_config", models.CallBackKafkaConfig),
        )

    def _given(self) -> tuple[dict[str, str | None], dict[str, int | None]]:
        """Return the rendered texts and numbers; an empty text, which templates often give, is not given."""
        configs = self.template_fields_renderers
        names = [name for name in self.template_fields if name not in (*_NUMBERS, *configs)]
        broken: list[str] = []
        texts = {name: _text(name, getattr(self, name), broken) for name in names}
        numbers = {name: _whole_number(name, getattr(self, name), broken) for name in _NUMBERS}
        if texts["template_id"]:
            ignored = [name for name in _PARAMETERS if getattr(self, name) not in (None, "")]
            broken += [
                f"{name} is given, allowed: not together with template_id, which wins" for name in ignored
            ]
        if broken:
            raise RequestValidationError(broken)
        return texts, numbers

    def _refuse_overwriting(self, texts: dict[str, str | None], endpoint: Endpoint) -> None:
        if (texts["output_bucket"] or endpoint.bucket) != endpoint.bucket:
            return
        names = ("object", "au_object", "bass_object", "drum_object")
        same = [name for name in names if texts[name] and texts[name] == texts["input_object"]]
        if same:
            raise RequestValidationError(
                [f"{name} is {texts[name]!r}, allowed: another key than input_object's" for name in same]
            )

    def _config(self, name: str, model: type[Any]) -> Any:
        value = getattr(self, name)
        if not value:
            return None
        fields = sorted(model.__dataclass_fields__)
        if not isinstance(value, dict) or not set(value) <= set(fields):
            raise RequestValidationError([f"{name} is {value!r}, allowed: a dict with {', '.join(fields)}"])
        return model(**value)


def _text(name: str, value: Any, broken: list[str]) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        broken.append(f"{name} is {value!r}, allowed: a text")
        return None
    return value


def _whole_number(name: str, value: Any, broken: list[str]) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    broken.append(f"{name} is {value!r}, allowed: a whole number")
    return None
