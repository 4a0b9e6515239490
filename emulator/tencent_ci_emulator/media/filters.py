"""The filter graphs that separate, built from FFmpeg's filters.

**Stereo** (and anything with more channels, mixed down to stereo): the voice is the centre channel that
``dialoguenhance`` extracts, scaled to unity and freed of what lies below speech; the background is the mix
minus that voice, so voice + background = mix, sample by sample.

**Mono**: there is no centre to find. The voice comes from outside the graph, by speech enhancement, or it is
the speech band, denoised; the background is again the rest.

**Music mode** splits the background further by mere frequency: bass is what lies below 150 Hz (with it the
kick drum), drums what lies above 4 kHz (cymbals, and the attacks of everything else), and the background
keeps what is between. FFmpeg has no filter that knows instruments. The four still add up to the mix.

Filters delay their signal. Every branch is delayed alike and the common delay, :attr:`Separation.latency`, is
cut off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from av.filter import Graph
from av.filter.context import FilterContext


class Stem(StrEnum):
    """One of the parts that a recording is separated into."""

    VOICE = "voice"
    BACKGROUND = "background"
    BASS = "bass"
    DRUMS = "drums"


# dialoguenhance has a window of 2048 samples up to 50 kHz, hops of a quarter, and gives the first hop when
# the fourth has come: three quarters of the window. It also amplifies, both measured.
_CENTRE_DELAY = 1536
_CENTRE_GAIN = 0.7513
_CENTRE = "original=1:enhance=0:voice=16"

_LOWEST_VOICE = 70  # Hz; the low end of centred bass and kick drums goes to the background
_BAND_OF_MONO_VOICE = (100, 6000)  # Hz
_BASS_LIMIT = 150  # Hz
_DRUM_LIMIT = 4000  # Hz


@dataclass(slots=True)
class Separation:
    """A configured graph: push frames into ``source``, and the voice into ``voice_source`` if there is one.
    Pull each stem from its sink.
    """

    graph: Graph
    source: FilterContext
    voice_source: FilterContext | None = None
    sinks: dict[Stem, FilterContext] = field(default_factory=dict)
    latency: int = 0


def build(
    stems: frozenset[Stem],
    *,
    mono: bool,
    rate: int,
    out_layout: str,
    out_rate: int,
    out_format: str,
    voice_delay: int | None = None,
) -> Separation:
    """Return a graph from planar floats at ``rate`` Hz (44,100 or 48,000) to stems ready to be encoded.

    :param voice_delay: the voice is pushed, too, and comes so many samples late.
    """
    graph = Graph()
    builder = _Builder(graph, rate)
    layout = "mono" if mono else "stereo"
    source = builder.source(layout)
    result = Separation(graph, source)
    if voice_delay is not None:
        result.voice_source = builder.source(layout)
        voice, result.latency, to_mix = _End(result.voice_source), voice_delay, _End(source)
    else:
        to_voice, to_mix = builder.split(source, 2)
        voice, result.latency = builder.mono_voice(to_voice) if mono else builder.centre(to_voice)
    mix = builder.then(to_mix, "adelay", f"delays={result.latency}S:all=1")
    outputs = builder.outputs(voice, mix, mono)
    if stems & {Stem.BASS, Stem.DRUMS}:
        outputs, more = builder.music(outputs, mono)
        result.latency += more
    for stem, end in outputs.items():
        if stem in stems:
            result.sinks[stem] = builder.sink(end, result.latency, mono, out_layout, out_rate, out_format)
        else:
            builder.then(end, "anullsink")
    graph.configure()
    return result


@dataclass(frozen=True, slots=True)
class _End:
    """One output pad of a filter."""

    filter: FilterContext
    pad: int = 0


class _Builder:
    def __init__(self, graph: Graph, rate: int) -> None:
        self._graph = graph
        self._rate = rate

    def source(self, layout: str) -> FilterContext:
        return self._graph.add_abuffer(
            sample_rate=self._rate, format="fltp", layout=layout, time_base=Fraction(1, self._rate)
        )

    def then(self, end: _End, name: str, arguments: str | None = None) -> _End:
        context = self._graph.add(name, arguments)
        end.filter.link_to(context, end.pad, 0)
        return _End(context)

    def split(self, source: FilterContext | _End, count: int) -> list[_End]:
        end = source if isinstance(source, _End) else _End(source)
        splitter = self.then(end, "asplit", str(count)).filter
        return [_End(splitter, pad) for pad in range(count)]

    def minus(self, whole: _End, part: _End, arguments: str) -> _End:
        merger = self._graph.add("amerge", "inputs=2")
        whole.filter.link_to(merger, whole.pad, 0)
        part.filter.link_to(merger, part.pad, 1)
        return self.then(_End(merger), "pan", arguments)

    def centre(self, stereo: _End) -> tuple[_End, int]:
        extracted = self.then(stereo, "dialoguenhance", _CENTRE)
        mono = self.then(extracted, "pan", f"mono|c0={_CENTRE_GAIN}*c2")
        delay = self._rate // 100
        voice = self._linear_phase(mono, f"if(lt(f,{_LOWEST_VOICE}),-60,0)", delay)
        return voice, _CENTRE_DELAY + delay

    def mono_voice(self, mono: _End) -> tuple[_End, int]:
        low, high = _BAND_OF_MONO_VOICE
        delay = self._rate // 100
        band = self._linear_phase(mono, f"if(between(f,{low},{high}),0,-60)", delay)
        voice = self.then(band, "afftdn", "nr=12:tn=1")
        return voice, delay + self._rate // 40  # afftdn's own delay: 25 ms

    def _linear_phase(self, end: _End, gain: str, delay: int) -> _End:
        """An ordinary filter would shift phases, and mix minus stem would leave much of the stem behind."""
        seconds = delay / self._rate
        return self.then(end, "firequalizer", f"gain='{gain}':zero_phase=1:delay={seconds}")

    def outputs(self, voice: _End, mix: _End, mono: bool) -> dict[Stem, _End]:
        voice, subtrahend = self.split(voice, 2)
        rest = "mono|c0=c0-c1" if mono else "stereo|c0=c0-c2|c1=c1-c2"
        background = self.minus(mix, subtrahend, rest)
        if not mono:
            voice = self.then(voice, "pan", "stereo|c0=c0|c1=c0")
        return {Stem.VOICE: voice, Stem.BACKGROUND: background}

    def music(self, outputs: dict[Stem, _End], mono: bool) -> tuple[dict[Stem, _End], int]:
        """Split the background further, and delay the voice by as much as that takes."""
        delay = self._rate // 50
        voice = self.then(outputs[Stem.VOICE], "adelay", f"delays={delay}S:all=1")
        return {Stem.VOICE: voice, **self._instruments(outputs[Stem.BACKGROUND], mono, delay)}, delay

    def _instruments(self, accompaniment: _End, mono: bool, delay: int) -> dict[Stem, _End]:
        rest = "mono|c0=c0-c1" if mono else "stereo|c0=c0-c2|c1=c1-c3"
        to_bass, to_drums, to_rest = self.split(accompaniment, 3)
        bass = self._linear_phase(to_bass, f"if(lt(f,{_BASS_LIMIT}),0,-60)", delay)
        drums = self._linear_phase(to_drums, f"if(gt(f,{_DRUM_LIMIT}),0,-60)", delay)
        bass, minus_bass = self.split(bass, 2)
        drums, minus_drums = self.split(drums, 2)
        whole = self.then(to_rest, "adelay", f"delays={delay}S:all=1")
        return {
            Stem.BASS: bass,
            Stem.DRUMS: drums,
            Stem.BACKGROUND: self.minus(self.minus(whole, minus_bass, rest), minus_drums, rest),
        }

    def sink(
        self, end: _End, latency: int, mono: bool, layout: str, rate: int, sample_format: str
    ) -> FilterContext:
        end = self.then(end, "atrim", f"start_sample={latency}")
        end = self.then(end, "asetpts", "N/SR/TB")
        # Not left to the resampler, which would make a mono voice quieter by 3 dB
        if mono and layout != "mono":
            end = self.then(end, "pan", "stereo|c0=c0|c1=c0")
        elif layout == "mono" and not mono:
            end = self.then(end, "pan", "mono|c0=0.5*c0+0.5*c1")
        formats = f"sample_fmts={sample_format}:channel_layouts={layout}:sample_rates={rate}"
        end = self.then(self.then(end, "aresample", str(rate)), "aformat", formats)
        return self.then(end, "abuffersink").filter
