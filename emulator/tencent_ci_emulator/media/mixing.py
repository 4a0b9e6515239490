"""Mixing the sound of other recordings with the sound of a clip, with FFmpeg's filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.audio.frame import AudioFrame
from av.filter import Graph
from av.filter.context import FilterContext

from tencent_ci_emulator.media.audio import convert_all, pull_frames
from tencent_ci_emulator.media.source import audio_frames, open_media


@dataclass(frozen=True, slots=True)
class Mix:
    """A recording that is mixed in.

    :param repeats: it begins again at its end; otherwise silence follows.
    :param replaces: it is heard instead of the clip's sound.
    :param fade_in: seconds at its beginning.
    :param fade_out: seconds before the clip's end.
    """

    path: Path
    repeats: bool = True
    replaces: bool = False
    fade_in: float = 0.0
    fade_out: float = 0.0


class Mixer:
    """Mixes recordings with frames of planar floats.

    :param seconds: how long the clips last, for the fading out.
    """

    def __init__(self, mixes: Sequence[Mix], rate: int, layout: str, seconds: float) -> None:
        self._rate = rate
        self._graph = Graph()
        self._source = self._add_source(layout)
        is_replaced = any(mix.replaces for mix in mixes)
        ends = [self._append(self._source, "volume", "0" if is_replaced else "1")]
        self._inputs = []
        for mix in mixes:
            source = self._add_source(layout)
            self._inputs.append(_Input(source, _frames_of(mix, rate, layout), rate))
            ends.append(self._fade(source, mix, seconds))
        mixer = self._graph.add("amix", f"inputs={len(ends)}:duration=first:normalize=0")
        for pad, end in enumerate(ends):
            end.link_to(mixer, 0, pad)
        formats = f"sample_fmts=fltp:channel_layouts={layout}:sample_rates={rate}"
        self._sink = self._append(self._append(mixer, "aformat", formats), "abuffersink")
        self._graph.configure()
        self._position = 0

    def mix(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        """Yield what has been mixed until now."""
        frame.pts, frame.time_base = self._position, Fraction(1, self._rate)
        self._position += frame.samples
        for one in self._inputs:
            one.push_until(self._position)
        self._source.push(frame)
        yield from pull_frames(self._sink)

    def end(self) -> Iterator[AudioFrame]:
        """Yield the rest."""
        self._source.push(None)
        yield from pull_frames(self._sink)

    def _fade(self, source: FilterContext, mix: Mix, seconds: float) -> FilterContext:
        end = source
        if mix.fade_in:
            end = self._append(end, "afade", f"t=in:d={mix.fade_in}")
        if mix.fade_out:
            end = self._append(end, "afade", f"t=out:st={max(0.0, seconds - mix.fade_out)}:d={mix.fade_out}")
        return end

    def _add_source(self, layout: str) -> FilterContext:
        return self._graph.add_abuffer(
            sample_rate=self._rate, format="fltp", layout=layout, time_base=Fraction(1, self._rate)
        )

    def _append(self, end: FilterContext, name: str, arguments: str | None = None) -> FilterContext:
        context = self._graph.add(name, arguments)
        end.link_to(context)
        return context


class _Input:
    """Pushes the frames of one recording into the graph."""

    def __init__(self, source: FilterContext, frames: Iterator[AudioFrame], rate: int) -> None:
        self._source = source
        self._frames = frames
        self._rate = rate
        self._position = 0
        self._has_ended = False

    def push_until(self, position: int) -> None:
        while self._position < position and not self._has_ended:
            frame = next(self._frames, None)
            if frame is not None:
                frame.pts, frame.time_base = self._position, Fraction(1, self._rate)
                self._position += frame.samples
            self._source.push(frame)
            self._has_ended = frame is None


def _frames_of(mix: Mix, rate: int, layout: str) -> Iterator[AudioFrame]:
    while True:
        with open_media(mix.path) as container:
            yield from convert_all(audio_frames(container, container.streams.audio[0]), rate, layout)
        if not mix.repeats:
            return
