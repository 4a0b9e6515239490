"""The filter graphs that separate, built from FFmpeg's filters. They hear where a sound is, not what it is.

**Stereo** (and more channels, mixed down to stereo): the voice is the centre channel that
``dialoguenhance`` extracts, scaled to its original loudness, without the frequencies below speech (70 Hz).
The background is the mix minus that voice, so voice + background = mix, sample by sample. A centred bass,
snare or singer is therefore voice, and a singer at one side is background. A recording whose two sides are
equal has everything but its lowest bass in the voice.

**Mono**: there is no centre channel. The voice is pushed into the graph by a speech enhancer, or it is the
denoised speech band, 100 to 6,000 Hz. The background is again the mix minus the voice.

**Music mode** splits the background further, by frequency alone: bass is below 150 Hz (with the kick drum),
drums are above 4 kHz (cymbals, and the attacks and overtones of all instruments), and the background is
between. FFmpeg has no filter that separates instruments. The four stems add up to the mix, too.

Filters delay their signal. Every branch is delayed equally, and the common delay,
:attr:`Separation.latency`, is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from av.filter import Graph
from av.filter.context import FilterContext


class Stem(StrEnum):
    """One of the parts into which a recording is separated."""

    VOICE = "voice"
    BACKGROUND = "background"
    BASS = "bass"
    DRUMS = "drums"


# Both measured. dialoguenhance has a window of 2048 samples up to 50 kHz, which it moves by a quarter. Its
# first output comes with the fourth quarter: three quarters of the window late
_CENTRE_DELAY = 1536
_CENTRE_GAIN = 0.7513
_CENTRE_ARGUMENTS = "original=1:enhance=0:voice=16"

_LOWEST_VOICE = 70  # Hz; the low end of centred bass and kick drums goes to the background
_BAND_OF_MONO_VOICE = (100, 6000)  # Hz
_BASS_LIMIT = 150  # Hz
_DRUM_LIMIT = 4000  # Hz


@dataclass(slots=True)
class Separation:
    """A configured graph: push the mix into ``source`` and the voice into ``voice_source``, if there is one,
    and pull each stem from its sink.
    """

    graph: Graph
    rate: int
    layout: str
    source: FilterContext
    voice_source: FilterContext | None = None
    sinks: dict[Stem, FilterContext] = field(default_factory=dict)
    latency: int = 0


def build_graph(
    stems: frozenset[Stem],
    *,
    mono: bool,
    rate: int,
    out_layout: str,
    out_rate: int,
    out_format: str,
    voice_delay: int | None = None,
) -> Separation:
    """Return a graph from planar floats at ``rate`` Hz (44,100 or 48,000) to stems in the output's format.

    :param voice_delay: samples by which the voice is late that is pushed; ``None`` if none is pushed.
    """
    graph = Graph()
    builder = _Builder(graph, rate)
    layout = "mono" if mono else "stereo"
    source = builder.add_source(layout)
    result = Separation(graph, rate, layout, source)
    if voice_delay is not None:
        result.voice_source = builder.add_source(layout)
        voice, result.latency, to_mix = _End(result.voice_source), voice_delay, _End(source)
    else:
        to_voice, to_mix = builder.split(source, 2)
        voice, result.latency = (
            builder.filter_mono_voice(to_voice) if mono else builder.extract_centre(to_voice)
        )
    mix = builder.append(to_mix, "adelay", f"delays={result.latency}S:all=1")
    outputs = builder.subtract_voice(voice, mix, mono)
    if stems & {Stem.BASS, Stem.DRUMS}:
        outputs, delay = builder.split_background(outputs, mono)
        result.latency += delay
    for stem, end in outputs.items():
        if stem in stems:
            result.sinks[stem] = builder.add_sink(end, result.latency, mono, out_layout, out_rate, out_format)
        else:
            builder.append(end, "anullsink")
    graph.configure()
    return result


@dataclass(frozen=True, slots=True)
class _End:
    """One output pad of a filter."""

    filter: FilterContext
    pad: int = 0


class _Builder:
    """Adds filters to a graph; its methods return the output pads of what they add."""

    def __init__(self, graph: Graph, rate: int) -> None:
        self._graph = graph
        self._rate = rate

    def add_source(self, layout: str) -> FilterContext:
        return self._graph.add_abuffer(
            sample_rate=self._rate, format="fltp", layout=layout, time_base=Fraction(1, self._rate)
        )

    def append(self, end: _End, name: str, arguments: str | None = None) -> _End:
        context = self._graph.add(name, arguments)
        end.filter.link_to(context, end.pad, 0)
        return _End(context)

    def split(self, source: FilterContext | _End, count: int) -> list[_End]:
        end = source if isinstance(source, _End) else _End(source)
        splitter = self.append(end, "asplit", str(count)).filter
        return [_End(splitter, pad) for pad in range(count)]

    def subtract(self, minuend: _End, subtrahend: _End, arguments: str) -> _End:
        merger = self._graph.add("amerge", "inputs=2")
        minuend.filter.link_to(merger, minuend.pad, 0)
        subtrahend.filter.link_to(merger, subtrahend.pad, 1)
        return self.append(_End(merger), "pan", arguments)

    def extract_centre(self, stereo: _End) -> tuple[_End, int]:
        """Return the voice of a stereo signal, and its delay in samples."""
        extracted = self.append(stereo, "dialoguenhance", _CENTRE_ARGUMENTS)
        mono = self.append(extracted, "pan", f"mono|c0={_CENTRE_GAIN}*c2")
        delay = self._rate // 100
        voice = self._filter_frequencies(mono, f"if(lt(f,{_LOWEST_VOICE}),-60,0)", delay)
        return voice, _CENTRE_DELAY + delay

    def filter_mono_voice(self, mono: _End) -> tuple[_End, int]:
        """Return the denoised speech band of a mono signal, and its delay in samples."""
        low, high = _BAND_OF_MONO_VOICE
        delay = self._rate // 100
        band = self._filter_frequencies(mono, f"if(between(f,{low},{high}),0,-60)", delay)
        voice = self.append(band, "afftdn", "nr=12:tn=1")
        return voice, delay + self._rate // 40  # afftdn's own delay: 25 ms

    def _filter_frequencies(self, end: _End, gain: str, delay: int) -> _End:
        """Filter without shifting phases: otherwise mix minus stem would still contain much of the stem."""
        seconds = delay / self._rate
        return self.append(end, "firequalizer", f"gain='{gain}':zero_phase=1:delay={seconds}")

    def subtract_voice(self, voice: _End, mix: _End, mono: bool) -> dict[Stem, _End]:
        """Return voice and background, both with the channels of the mix."""
        voice, voice_copy = self.split(voice, 2)
        rest = "mono|c0=c0-c1" if mono else "stereo|c0=c0-c2|c1=c1-c2"
        background = self.subtract(mix, voice_copy, rest)
        if not mono:
            voice = self.append(voice, "pan", "stereo|c0=c0|c1=c0")
        return {Stem.VOICE: voice, Stem.BACKGROUND: background}

    def split_background(self, outputs: dict[Stem, _End], mono: bool) -> tuple[dict[Stem, _End], int]:
        """Return the four stems of music mode, and their further delay in samples."""
        delay = self._rate // 50
        voice = self.append(outputs[Stem.VOICE], "adelay", f"delays={delay}S:all=1")
        return {Stem.VOICE: voice, **self._split_by_frequency(outputs[Stem.BACKGROUND], mono, delay)}, delay

    def _split_by_frequency(self, accompaniment: _End, mono: bool, delay: int) -> dict[Stem, _End]:
        rest = "mono|c0=c0-c1" if mono else "stereo|c0=c0-c2|c1=c1-c3"
        to_bass, to_drums, to_rest = self.split(accompaniment, 3)
        bass = self._filter_frequencies(to_bass, f"if(lt(f,{_BASS_LIMIT}),0,-60)", delay)
        drums = self._filter_frequencies(to_drums, f"if(gt(f,{_DRUM_LIMIT}),0,-60)", delay)
        bass, bass_copy = self.split(bass, 2)
        drums, drums_copy = self.split(drums, 2)
        mix = self.append(to_rest, "adelay", f"delays={delay}S:all=1")
        return {
            Stem.BASS: bass,
            Stem.DRUMS: drums,
            Stem.BACKGROUND: self.subtract(self.subtract(mix, bass_copy, rest), drums_copy, rest),
        }

    def add_sink(
        self, end: _End, latency: int, mono: bool, layout: str, rate: int, sample_format: str
    ) -> FilterContext:
        end = self.append(end, "atrim", f"start_sample={latency}")
        end = self.append(end, "asetpts", "N/SR/TB")
        # The resampler would make a mono voice quieter by 3 dB
        if mono and layout != "mono":
            end = self.append(end, "pan", "stereo|c0=c0|c1=c0")
        elif layout == "mono" and not mono:
            end = self.append(end, "pan", "mono|c0=0.5*c0+0.5*c1")
        formats = f"sample_fmts={sample_format}:channel_layouts={layout}:sample_rates={rate}"
        end = self.append(self.append(end, "aresample", str(rate)), "aformat", formats)
        return self.append(end, "abuffersink").filter
