"""Keeps a voice-separation template: parameters under an id, which jobs name instead of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.template import TencentCITemplateOperator
from airflow_provider_ci.operators.voice_separate_arguments import PARAMETERS, PARAMETERS_EXAMPLE
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class VoiceSeparateTemplateOperator(TencentCITemplateOperator):
    """Creates or updates the voice-separation template of a name, so that it has exactly these parameters.

    XCom and all other arguments are those of
    :class:`~airflow_provider_ci.operators.template.TencentCITemplateOperator`.

    .. seealso:: ``docs/operators.md``, and Tencent's pages 436/84510 and 460/84757.

    :param name: the template's name, unique in its bucket: Chinese, letters, digits, ``_``, ``-``, ``*``, at
        most 64 characters. (templated)
    :param audio_mode: ``IsAudio`` (voice), ``IsBackground``, ``AudioAndBackground`` or ``MusicMode``.
        (templated)
    :param codec: ``aac`` (the service's default), ``mp3``, ``flac``, ``amr`` or ``wav``; with ``MusicMode``
        ``mp3``, ``wav`` or ``aac``. (templated)
    :param samplerate: Hz, as of
        :class:`~airflow_provider_ci.operators.voice_separate_arguments.VoiceSeparateArguments`; default: the
        service's choice, as for the next two. (templated)
    :param bitrate: kbit/s, 8 to 1000. (templated)
    :param channels: number of channels, as there. (templated)
    """

    tag = VOICE_SEPARATE
    elements: ClassVar[Mapping[str, str]] = {
        name: f"VoiceSeparate.{element}" for name, element in PARAMETERS.items()
    }
    template_fields: Sequence[str] = (
        *(name for name in TencentCITemplateOperator.template_fields if name != "tag"),
        *PARAMETERS,
    )
    nullable_arguments = ("audio_mode", "codec")
    parse_check_examples = (PARAMETERS_EXAMPLE,)

    def __init__(
        self,
        *,
        audio_mode: str,
        codec: str | None = None,
        samplerate: int | str | None = None,
        bitrate: int | str | None = None,
        channels: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tag=VOICE_SEPARATE, **kwargs)
        self.audio_mode = audio_mode
        self.codec = codec
        self.samplerate = samplerate
        self.bitrate = bitrate
        self.channels = channels
        check_when_parsed(self, VoiceSeparateTemplateOperator)
