"""Text to speech: a paid job that speaks a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import read_arguments
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.protocol.job_types.text_to_speech import DEFAULT_VOICE, TTS_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_ci.protocol.wire import Endpoint


class TextToSpeechOperator(TypedJobOperator):
    """Submits a job that speaks a text (``Tts``, 语音合成), and waits for it if asked to.

    The recording is ``outputs["file"]`` of XCom ``job``. Such a job has no input object.

    All other arguments are those of :class:`~airflow_provider_ci.operators.typed_job.TypedJobOperator` and
    :class:`~airflow_provider_ci.operators.job.TencentCIJobOperator`. The fields are on Tencent's page
    1045/73380.

    :param text: what is spoken, at most 300 characters (``TtsConfig.Input``). (templated)
    :param text_url: or the address of a longer text in COS (``InputType`` ``Url``). (templated)
    :param mode: ``Sync``, or the default, asynchronous (``Mode``). (templated)
    :param codec: ``wav``, ``mp3`` or ``pcm`` (``Codec``). (templated)
    :param voice_type: the voice (``VoiceType``); the service's default is ``ruxue``. (templated)
    :param volume: -10 to 10 (``Volume``). (templated)
    :param speed: 50 to 200 (``Speed``); the service's default is 100. (templated)
    :param emotion: an emotion that the voice has (``Emotion``). (templated)
    """

    kind = TTS_TYPE
    example: ClassVar[Mapping[str, Any]] = {"text": "example"}
    further_fields = ("text", "text_url")
    free_text_arguments = (*TypedJobOperator.free_text_arguments, "text")

    def __init__(
        self,
        *,
        text: str | None = None,
        text_url: str | None = None,
        mode: str | None = None,
        codec: str | None = None,
        voice_type: str | None = None,
        volume: int | str | None = None,
        speed: int | str | None = None,
        emotion: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.text_url = text_url
        self.mode = mode
        self.codec = codec
        self.voice_type = voice_type
        self.volume = volume
        self.speed = speed
        self.emotion = emotion
        check_when_parsed(self, TextToSpeechOperator)

    def _build_operation(self, arguments: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Any]:
        operation = super()._build_operation(arguments, endpoint)
        if operation.get("TtsTpl") == {}:  # the service demands at least one element
            operation["TtsTpl"] = {"VoiceType": DEFAULT_VOICE}
        texts = read_arguments(self, ("text", "text_url"))
        given = [name for name in texts if texts[name] is not None]
        if operation.get("TtsConfig") is None and len(given) != 1:
            shown = " and ".join(given) or "neither text nor text_url"
            raise RequestValidationError([f"{shown} is set, allowed: one of text and text_url"])
        for name in given:
            kind = "Text" if name == "text" else "Url"
            operation["TtsConfig"] = {"InputType": kind, "Input": texts[name]}
        return operation
