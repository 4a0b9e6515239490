"""The encoding of results, chosen from a job's ``AudioConfig`` and the source.

The allowed values and defaults are from Tencent documents 436/84510 and 436/120977: ``Codec`` ``aac``
(ADTS, the default), ``mp3``, ``flac``, ``wav`` (16 bits), ``amr`` (narrow band). ``Samplerate`` defaults to
44,100 Hz, ``Channels`` to the source's count or the next smaller that the codec has, ``Bitrate`` to the
source's, at most 320 kbit/s. AMR is always 8,000 Hz and mono, at the nearest of its eight bitrates. More
than two channels carry the stereo result in the front pair. ``MusicMode`` ignores all but the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_CODEC = "aac"
DEFAULT_SAMPLE_RATE = 44_100
_DEFAULT_LOSSY_BITRATE = 128  # kbit/s, for a source whose bitrate is unknown
_HIGHEST_USEFUL_BITRATE = 320  # kbit/s; a lossless source's own bitrate would be absurd for aac or mp3

# All bitrates of AMR narrow band, in bit/s
_AMR_BITRATES = (4_750, 5_150, 5_900, 6_700, 7_400, 7_950, 10_200, 12_200)

_LAYOUTS = {1: "mono", 2: "stereo", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}


@dataclass(frozen=True, slots=True)
class _Codec:
    encoder: str
    container: str
    sample_format: str
    extension: str
    lossy: bool
    channels: tuple[int, ...]
    sample_rate: int = DEFAULT_SAMPLE_RATE
    options: Mapping[str, str] = field(default_factory=dict)


_CODECS = {
    "aac": _Codec("aac", "adts", "fltp", "aac", True, (1, 2, 4, 5, 6, 8)),
    "mp3": _Codec("libmp3lame", "mp3", "fltp", "mp3", True, (1, 2)),
    "flac": _Codec("flac", "flac", "s16", "flac", False, (1, 2, 4, 5, 6, 8)),
    "wav": _Codec("pcm_s16le", "wav", "s16", "wav", False, (1, 2, 4, 5, 6, 8)),
    "amr": _Codec("libopencore_amrnb", "amr", "s16", "amr", True, (1,), 8_000),
    "opus": _Codec("libopus", "ogg", "s16", "opus", True, (1, 2), 48_000),
    "vorbis": _Codec("vorbis", "ogg", "fltp", "ogg", True, (2,), options={"strict": "experimental"}),
}
_CODECS["pcm_s16le"] = _CODECS["wav"]

#: The file extensions for ``${ext}``, by codec name
EXTENSIONS = {name: codec.extension for name, codec in _CODECS.items()}


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of one result: ``sample_rate`` in Hz, ``bitrate`` in bit/s (``None``: lossless)."""

    encoder: str
    container: str
    sample_format: str
    layout: str
    sample_rate: int
    bitrate: int | None
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def choose(
        cls,
        codec: str | None = None,
        sample_rate: int | None = None,
        bitrate: int | None = None,
        channels: int | None = None,
        *,
        source_channels: int,
        source_bitrate: int | None,
    ) -> Encoding:
        """Return the encoding for a request; defaults are aac, 44,100 Hz, the source's bitrate and layout.

        ``amr`` has one sample rate (8,000 Hz) and one layout (mono), which are its defaults; the default of
        ``opus`` is 48,000 Hz. If the codec does not have the source's number of channels, the next smaller
        one is taken. Bitrates, in kbit/s, are changed to the nearest that the codec has.

        :raises ValueError: an unknown codec or channel count.
        """
        name = (codec or DEFAULT_CODEC).lower()
        if name not in _CODECS:
            raise ValueError(f"unknown codec {codec!r}")
        chosen = _CODECS[name]
        if channels is None:
            channels = max(
                (count for count in chosen.channels if count <= source_channels), default=min(chosen.channels)
            )
        if channels not in chosen.channels:
            raise ValueError(f"{name} cannot have {channels} channels")
        return cls(
            encoder=chosen.encoder,
            container=chosen.container,
            sample_format=chosen.sample_format,
            layout=_LAYOUTS[channels],
            sample_rate=8_000 if name == "amr" else sample_rate or chosen.sample_rate,
            bitrate=_bitrate(name, bitrate, source_bitrate) if chosen.lossy else None,
            options=chosen.options,
        )


def _bitrate(codec: str, requested: int | None, source: int | None) -> int:
    """Return the bitrate in bit/s; ``requested`` and ``source`` are in kbit/s."""
    default = min(source or _DEFAULT_LOSSY_BITRATE, _HIGHEST_USEFUL_BITRATE)
    bits = max(default if requested is None else requested, 8) * 1000
    if codec == "amr":
        return min(_AMR_BITRATES, key=lambda known: (abs(known - bits), known))
    return min(bits, _HIGHEST_USEFUL_BITRATE * 1000) if codec == "mp3" else bits
