"""The arguments that operators for one voice separation and for a batch of them have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.operators.base_request import BaseRequestOperator
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The arguments that say how to separate and to encode, and their elements in ``VoiceSeparate``.
PARAMETERS = {
    "audio_mode": "AudioMode",
    "codec": "AudioConfig.Codec",
    "samplerate": "AudioConfig.Samplerate",
    "bitrate": "AudioConfig.Bitrate",
    "channels": "AudioConfig.Channels",
}
#: Values that break no rule: with this mode rates are ignored, and with this codec all are allowed.
PARAMETERS_EXAMPLE = {
    "audio_mode": "MusicMode",
    "codec": "wav",
    "samplerate": 44100,
    "bitrate": 128,
    "channels": 2,
}
# There is no template_id in it, beside which parameters are refused
_EXAMPLE = {
    **{
        f"{name}_object": f"example/{name}_object-${{jobid}}"
        for name in ("background", "voice", "bass", "drum")
    },
    **PARAMETERS_EXAMPLE,
    "output_bucket": "example-1250000000",
    "output_region": "ap-guangzhou",
}


class VoiceSeparateArguments(BaseRequestOperator):
    """Arguments of voice separation (460/84794, 460/80155).

    In the keys of results the service replaces placeholders such as ``${jobid}``; ``docs/operators.md`` has
    all. A key for a result that the mode does not make is refused.

    :param background_object: key of the background (``Output.Object``). (templated)
    :param voice_object: key of the voice (``Output.AuObject``). (templated)
    :param bass_object: key of the bass, only with ``MusicMode`` (``Output.BassObject``). (templated)
    :param drum_object: key of the drums, only with ``MusicMode`` (``Output.DrumObject``). (templated)
    :param output_bucket: bucket of the results (``Output.Bucket``); default: the input's. (templated)
    :param output_region: that bucket's region (``Output.Region``); default: the input's. (templated)
    :param template_id: a voice-separation template (``TemplateId``), instead of the next five. (templated)
    :param audio_mode: what to make (``AudioMode``): ``IsAudio`` (needs ``voice_object``), ``IsBackground``
        (needs ``background_object``), ``AudioAndBackground`` or ``MusicMode`` (both need both; the latter
        also makes bass and drums). (templated)
    :param codec: ``aac`` (the service's default), ``mp3``, ``flac``, ``amr`` or ``wav``
        (``AudioConfig.Codec``); with ``MusicMode`` ``mp3``, ``wav`` or ``aac``. (templated)
    :param samplerate: Hz (``AudioConfig.Samplerate``): 11025, 22050, 32000, 44100, 48000, 96000. ``mp3``: not
        96000. ``wav``: 8000, too. ``amr``: only 8000. ``MusicMode`` ignores this and the next two.
        (templated)
    :param bitrate: kbit/s, 8 to 1000 (``AudioConfig.Bitrate``). (templated)
    :param channels: number of channels (``AudioConfig.Channels``): 1, 2, 4, 5, 6, 8. ``mp3``: 1 or 2.
        ``amr``: 1. (templated)
    """

    tag = VOICE_SEPARATE
    elements: ClassVar[Mapping[str, str]] = {
        "template_id": "TemplateId",
        **{name: f"VoiceSeparate.{element}" for name, element in PARAMETERS.items()},
        "output_region": "Output.Region",
        "output_bucket": "Output.Bucket",
        "background_object": "Output.Object",
        "voice_object": "Output.AuObject",
        "bass_object": "Output.BassObject",
        "drum_object": "Output.DrumObject",
    }
    nullable_arguments = (*BaseRequestOperator.nullable_arguments, "audio_mode", "codec")
    parse_check_examples = tuple(
        {**example, **_EXAMPLE} for example in BaseRequestOperator.parse_check_examples
    )

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
        **kwargs: Any,
    ) -> None:
        super().__init__(tag=VOICE_SEPARATE, **kwargs)
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

    def _read_arguments(self, *own: str) -> dict[str, Any]:
        arguments = super()._read_arguments(*own)
        if isinstance(arguments["codec"], str):
            # the service may return it in lower case; a retry must recognise its job
            arguments["codec"] = arguments["codec"].lower()
        return arguments
