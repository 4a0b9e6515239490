"""Recognises the English in 16-bit mono samples on standard input: a program, which imports nothing of the
emulator.

It is a process of its own because PocketSphinx holds Python's lock while it works. For each stretch of speech
it prints a line: a JSON list of words with their first and last hundredth of a second, and the second at
which the stretch ends.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

from pocketsphinx import Decoder, Endpointer

RATE = 16_000  # Hz
_LONGEST = 20.0  # seconds; what the search needs grows with a stretch
_FRAMES_A_SECOND = 100
_VARIANT = re.compile(r"\(\d+\)$")  # of a pronunciation


def stretches() -> Iterator[tuple[float, bytes]]:
    """Yield the starts, in seconds, and samples of speech between pauses."""
    endpointer = Endpointer(sample_rate=RATE)
    frames: list[bytes] = []
    start, is_last = 0.0, False
    while not is_last:
        was_in_speech = endpointer.in_speech
        data = sys.stdin.buffer.read(endpointer.frame_bytes)
        is_last = len(data) < endpointer.frame_bytes
        if is_last:
            speech = endpointer.end_stream(data or b"\0\0") if was_in_speech else None
        else:
            speech = endpointer.process(data)
        if speech is not None and not was_in_speech:
            start = endpointer.speech_start
        frames.append(speech or b"")
        seconds = sum(map(len, frames)) / 2 / RATE
        if seconds and (not endpointer.in_speech or seconds >= _LONGEST):
            yield start, b"".join(frames)
            frames, start = [], start + seconds


def main() -> None:
    """Print the stretches as they are recognised."""
    # A quarter less work than without the limit, and no more errors
    decoder = Decoder(samprate=RATE, maxhmmpf=5000, loglevel="FATAL")
    for start, samples in stretches():
        decoder.start_utt()
        decoder.process_raw(samples, full_utt=True)
        decoder.end_utt()
        offset = round(start * _FRAMES_A_SECOND)
        words = [
            [_VARIANT.sub("", one.word), offset + one.start_frame, offset + one.end_frame + 1]
            for one in decoder.seg() or []
            if one.word[0].isalnum()  # others stand for silence and noise
        ]
        sys.stdout.write(json.dumps([words, start + len(samples) / 2 / RATE]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
