"""Text to speech: a paid job that speaks a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import read_arguments
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.protocol.job_types.text_to_speech import DEFAULT_VOICE, TTS_TYPE, source_problems
from airflow_provider_ci.protocol.rules import raise_if_any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_ci.protocol.wire import Endpoint


class TextToSpeechOperator(TypedJobOperator):
    """Submits a job that speaks a text (``Tts``, 语音合成), and waits for it if asked to.

    The recording is ``outputs["file"]`` of XCom ``job``. Such a job has no input object. The service needs to
    be opened for smart audio.

    All other arguments are those of :class:`~airflow_provider_ci.operators.typed_job.TypedJobOperator` and
    :class:`~airflow_provider_ci.operators.job.TencentCIJobOperator`. The fields are on Tencent's page
    1045/73380.

    :param text: what is spoken, at most 300 characters (``TtsConfig.Input``). (templated)
    :param text_url: or the address of a text in COS (``InputType`` ``Url``): UTF-8, at most 10,000
        characters, with ``mode="Sync"`` 300. (templated)
    :param mode: ``Sync``; or ``Asyc`` or ``Async``, in which documents spell the default differently
        (``Mode``). (templated)
    :param codec: ``wav``, ``mp3`` or ``pcm`` (``Codec``). (templated)
    :param voice_type: the voice (``VoiceType``). ``ruxue``, the service's default, is sent if no other
        parameter is set, because the service needs one. (templated)
    :param volume: -10 to 10 (``Volume``); the service's default is 0. (templated)
    :param speed: 50 to 200 (``Speed``); the service's default is 100. (templated)
    :param emotion: an emotion that the voice has (``Emotion``), as ``arousal``. (templated)
    """

    kind = TTS_TYPE
    examples = ({"text": "example"}, {"text_url": "https://example.com/text.txt"})
    further_fields = ("text", "text_url")
    arguments_of_elements: Mapping[str, str] = {
        **TypedJobOperator.arguments_of_elements,
        "TtsConfig.Input": "text or text_url",
    }
    nullable_arguments = (*TypedJobOperator.nullable_arguments, "text")

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
        texts = read_arguments(self, self.further_fields)
        given = [name for name in texts if texts[name] is not None]
        if operation.get("TtsConfig") is not None:
            raise_if_any(f"{name} is set, allowed: not together with operation.TtsConfig" for name in given)
            return operation
        if len(given) > 1:
            raise RequestValidationError(["text and text_url are set, allowed: one of them"])
        kind, source = "Url" if texts["text_url"] else "Text", texts["text_url"] or texts["text"]
        for name in given:
            raise_if_any(source_problems(name, kind, source))
        return {**operation, "TtsConfig": {"InputType": kind, "Input": source}}
