"""``SpeechRecognition`` (460/84798, 1045/73385; template 436/50157; result 460/80773).

To decide what is recognised, hand in the text before the job runs: a UTF-8 object of at most 1 MB beside
the input, whose key is the input's with ``.transcript.txt`` behind it. Each of its lines is a sentence. It
is the result, whatever is installed and whatever the ``EngineModelType`` is; its words get times in
proportion to their length, from the beginning of the recording to its end. Without such a text, English is
recognised (``16k_en``, ``8k_en``, ``16k_en_edu``) if the extra ``recognition`` is installed. Otherwise
nothing is, and the job's ``Message`` says why.

``ResTextFormat``: 0 gives sentences without ``Words``; 1 words; 2 words and punctuation; 3 sentences that
are divided at punctuation, and before more than ``SentenceMaxLength`` characters. ``FilterPunc`` has an
effect on a text that was handed in. ``OutputFileType`` ``txt`` has the lines of ``Result``, ``srt``
subtitles. ``FlashAsr`` gives ``FlashResult`` instead of ``Result`` and ``ResultDetail``, of the first
channel, or of two with ``FirstChannelOnly`` 0; other jobs listen to all channels together. ``ChannelNum``
2, ``FilterDirty``, ``FilterModal``, ``ConvertNumMode`` and ``SpeakerDiarization`` have no effect, and the
``Message`` says so; ``SpeakerId`` is always 0. More than 5 hours or 512 MB, with ``FlashAsr`` 2 hours or
100 MB, fail with ``ResourceNotSupported``. ``Input.Url`` is read as an object if its host is one that the
emulator serves; with any other host the job fails, as nothing is downloaded.

Not documented, and so decided here: ``VoiceType`` of words is 1 for punctuation; times of ``Words`` count
from the sentence's start, those of ``FlashResult`` from the recording's; ``ConvertNumMode`` is 0 by
default; there is no file ``.detail``; ``${jobid}`` and ``${ext}`` are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tencent_ci_emulator.http.rules import Problems, Rule, matches, one_number_of, one_of, read_number
from tencent_ci_emulator.http.xml import Element, append, parse, printable, text_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    NotProcessedError,
    expand_placeholders,
    new_files,
    read_input,
    read_text_object,
)
from tencent_ci_emulator.media import UnsupportedMediaError, recognition
from tencent_ci_emulator.media.media_info import inspect
from tencent_ci_emulator.media.transcript import Sentence, spread_text
from tencent_ci_emulator.objects.object_store import ObjectStore

SPEECH_RECOGNITION = "SpeechRecognition"
TRANSCRIPT_SUFFIX = ".transcript.txt"

# A value of METHOD_HEADER, "processed by"
_METHOD_OF_TRANSCRIPT = f"nothing, the text was handed in as {TRANSCRIPT_SUFFIX} beside the input"
_MOST_TRANSCRIPT_MEGABYTES = 1
_SENTENCE_ENDS = ".!?。！？"
#: How the service describes parameters that a request does not have. Of ``ConvertNumMode`` pages say 0 and 1,
#: a sample 0
_DEFAULTS = {
    "ChannelNum": 1,
    "ResTextFormat": 0,
    "FilterDirty": 0,
    "FilterModal": 0,
    "FilterPunc": 0,
    "ConvertNumMode": 0,
    "SpeakerDiarization": 0,
    "SpeakerNumber": 0,
    "SentenceMaxLength": 0,
    "OutputFileType": "txt",
    "FlashAsr": "false",
    "FirstChannelOnly": 1,
    "WordInfo": 0,
}
#: Parameters without effect here. The result says so if one has another value than this
_WITHOUT_EFFECT = {
    "ChannelNum": "1",
    "FilterDirty": "0",
    "FilterModal": "0",
    "ConvertNumMode": "0",
    "SpeakerDiarization": "0",
}
_FLAG = one_number_of((0, 1))
_LEVEL = one_number_of((0, 1, 2))
_RULES = {
    # The list of engines grew over the years
    "EngineModelType": matches(
        re.compile(r"[0-9A-Za-z_-]{1,64}"), "the name of an engine, for instance 16k_en", is_required=True
    ),
    "ChannelNum": one_number_of((1, 2)),
    "ResTextFormat": one_number_of((0, 1, 2, 3)),
    "FilterDirty": _LEVEL,
    "FilterModal": _LEVEL,
    "FilterPunc": _LEVEL,
    "ConvertNumMode": one_number_of((0, 1, 3)),
    "SpeakerDiarization": _FLAG,
    "SpeakerNumber": one_number_of(range(11)),
    "SentenceMaxLength": Rule(
        "0, or 6 to 40", lambda text: read_number(text) == 0 or read_number(text) in range(6, 41)
    ),
    "OutputFileType": one_of("txt", "srt"),
    "FlashAsr": one_of("true", "false"),
    "FirstChannelOnly": _FLAG,
    "WordInfo": _LEVEL,
}
_FORMAT = one_of("wav", "pcm", "ogg-opus", "speex", "silk", "mp3", "m4a", "aac", is_required=True)


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a recording may have at most."""

    hours: int
    megabytes: int


_LIMITS, _FLASH_LIMITS = _Limits(5, 512), _Limits(2, 100)


def check_recognition(parameters: Element, problems: Problems, prefix: str) -> None:
    """Note the rules that the parameters break."""
    problems.check(parameters, _RULES, prefix)
    channels, engine = text_of(parameters, "ChannelNum"), text_of(parameters, "EngineModelType")
    is_flash = text_of(parameters, "FlashAsr") == "true"
    if is_flash:
        problems.check(parameters, {"Format": _FORMAT}, prefix)
    elif channels is None:
        problems.add_sentence(f"{prefix}ChannelNum is missing, allowed: 1, 2")
    elif read_number(channels) == 2 and engine != "8k_zh":
        problems.add_sentence(f"{prefix}ChannelNum is 2, which is only for the engine 8k_zh")
    needs_txt = is_flash or read_number(text_of(parameters, "ResTextFormat")) == 3
    if needs_txt and text_of(parameters, "OutputFileType") == "srt":
        problems.add_sentence(
            f"{prefix}OutputFileType is 'srt', but fast recognition and ResTextFormat 3 make only txt"
        )


def fill_in_defaults(parameters: Element) -> None:
    """Add the parameters that a request does not have: the service describes them, too (1045/49789)."""
    for name, value in _DEFAULTS.items():
        if text_of(parameters, name) is None:
            for blank in parameters.findall(name):
                parameters.remove(blank)
            append(parameters, {name: value})


@dataclass(frozen=True, slots=True)
class _Parameters:
    """The parameters of a recognition.

    :param detail: ``ResTextFormat``.
    :param punctuation: ``FilterPunc``: 0 keeps all, 1 removes the ends of sentences, 2 removes all.
    :param sentence_max_length: the most characters of a sentence.
    """

    engine: str
    detail: int
    punctuation: int
    sentence_max_length: int | None
    file_type: str
    is_flash: bool
    only_first_channel: bool
    word_detail: int
    without_effect: tuple[str, ...]

    @classmethod
    def read(cls, element: Element | None) -> _Parameters:
        """Read an element that follows the rules."""

        def number(name: str) -> int:
            return read_number(text_of(element, name)) or 0

        is_flash = text_of(element, "FlashAsr") == "true"
        without_effect = [
            name
            for name, harmless in _WITHOUT_EFFECT.items()
            if (text_of(element, name) or harmless) != harmless
        ]
        return cls(
            engine=text_of(element, "EngineModelType") or "",
            detail=number("ResTextFormat"),
            punctuation=number("FilterPunc"),
            sentence_max_length=number("SentenceMaxLength") or None,
            file_type=text_of(element, "OutputFileType") or "txt",
            is_flash=is_flash,
            only_first_channel=text_of(element, "FirstChannelOnly") != "0",
            word_detail=number("WordInfo"),
            without_effect=tuple(without_effect),
        )

    @property
    def limits(self) -> _Limits:
        return _FLASH_LIMITS if self.is_flash else _LIMITS


@dataclass(frozen=True, slots=True)
class _Speech:
    """What was said: the recording's length in seconds, and the sentences of each channel."""

    seconds: float
    channels: tuple[list[Sentence], ...]

    @property
    def sentences(self) -> list[Sentence]:
        return [sentence for channel in self.channels for sentence in channel]


def recognize_speech(job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job.

    :raises JobFailedError: the input is missing, unusable or beyond the limits.
    :raises NotProcessedError: nothing here can recognise it, and no text was handed in.
    """
    request = parse(job.request)
    parameters = _Parameters.read(request.find(f"Operation/{SPEECH_RECOGNITION}"))
    text = _read_transcript(job, objects)
    if text is None:
        # The input is looked at even if nothing can be recognised: a bad one fails the job
        read_input(job, objects, lambda path: _measure(path, parameters.limits))
        _require_recognizer(parameters.engine)
    said = read_input(job, objects, lambda path: _listen(path, parameters, text, on_progress))
    key = expand_placeholders(job, text_of(request, "Operation/Output/Object") or "", parameters.file_type)
    with new_files(objects) as new:
        path = new.add()
        write = _write_srt if parameters.file_type == "srt" else _write_lines
        path.write_text(write(_divide(said.sentences, parameters)), "utf-8")
        method = _METHOD_OF_TRANSCRIPT if text is not None else recognition.METHOD
        result = {f"{SPEECH_RECOGNITION}Result": _describe(said, parameters, key)}
        names = ", ".join(f"{SPEECH_RECOGNITION}.{name}" for name in parameters.without_effect)
        return JobOutput(method, {key: path}, result, f"not applied: {names}" if names else "")


def _read_transcript(job: JobAtWork, objects: ObjectStore) -> str | None:
    stored = objects.get(job.bucket, job.input_object + TRANSCRIPT_SUFFIX)
    if stored is None:
        return None
    text = read_text_object(stored, _MOST_TRANSCRIPT_MEGABYTES)
    return "\n".join(printable(" ".join(line.split())) for line in text.splitlines())


def _require_recognizer(engine: str) -> None:
    hint = f"upload what is said beside the input, with {TRANSCRIPT_SUFFIX} behind its key"
    if not recognition.is_installed():
        raise NotProcessedError(f"install the emulator's extra 'recognition', or {hint}")
    if "en" not in engine.split("_"):
        raise NotProcessedError(
            f"the emulator recognises English only, by engines such as 16k_en, not {engine}; {hint}"
        )


def _measure(path: Path, limits: _Limits) -> tuple[float, int]:
    """Return a recording's length in seconds, and its channels.

    :raises UnsupportedMediaError: it has no sound, or more than the limits allow.
    """
    if path.stat().st_size > limits.megabytes * 1024**2:
        raise UnsupportedMediaError(f"it is larger than {limits.megabytes} MB")
    streams = inspect(path)["Stream"]["Audio"]
    if not streams:
        raise UnsupportedMediaError("it has no audio stream")
    seconds = float(streams[0]["Duration"] or 0)
    if seconds > limits.hours * 3600:
        raise UnsupportedMediaError(f"it is longer than {limits.hours} hours")
    return seconds, int(streams[0].get("Channel") or 1)


def _listen(
    path: Path, parameters: _Parameters, text: str | None, on_progress: Callable[[float], None]
) -> _Speech:
    seconds, channels = _measure(path, parameters.limits)
    if text is not None:
        return _Speech(seconds, (spread_text(text, seconds),))
    if not parameters.is_flash or channels == 1:
        return _Speech(seconds, (recognition.recognize(path, on_progress),))
    wanted = range(1 if parameters.only_first_channel else 2)
    heard = [
        recognition.recognize(path, _progress_of_part(on_progress, channel, len(wanted)), channel=channel)
        for channel in wanted
    ]
    return _Speech(seconds, tuple(heard))


def _progress_of_part(
    on_progress: Callable[[float], None], number: int, count: int
) -> Callable[[float], None]:
    """Return a function that reports the progress of one of several equal parts as that of the whole."""
    return lambda done: on_progress((number + done) / count)


def _divide(sentences: list[Sentence], parameters: _Parameters) -> list[Sentence]:
    """Return the sentences in the lengths and with the punctuation that the parameters ask for."""
    if parameters.detail == 3 and not parameters.is_flash:
        sentences = [clause for one in sentences for clause in one.split(parameters.sentence_max_length)]
    filtered = (_filter_punctuation(sentence, parameters.punctuation) for sentence in sentences)
    return [sentence for sentence in filtered if sentence.words]


def _filter_punctuation(sentence: Sentence, level: int) -> Sentence:
    if level == 2:
        return Sentence(sentence.spoken_words)
    if level == 1 and sentence.words[-1].text in _SENTENCE_ENDS:
        return Sentence(sentence.words[:-1])
    return sentence


def _describe(said: _Speech, parameters: _Parameters, key: str) -> dict[str, Any]:
    """Return the content of ``SpeechRecognitionResult``."""
    described: dict[str, Any] = {"AudioTime": round(said.seconds, 3)}
    if parameters.is_flash:
        results = [
            _describe_channel(number, _divide(sentences, parameters), parameters.word_detail)
            for number, sentences in enumerate(said.channels)
        ]
        return {**described, "ObjectName": key, "FlashResult": results}
    sentences = _divide(said.sentences, parameters)
    return {
        **described,
        "Result": _write_lines(sentences),
        "ObjectName": key,
        "ResultDetail": [_describe_sentence(sentence, parameters.detail) for sentence in sentences],
    }


def _describe_sentence(sentence: Sentence, detail: int) -> dict[str, Any]:
    """Return one ``ResultDetail``; its words' times count from the sentence's start."""
    start, end = _milliseconds(sentence.start), _milliseconds(sentence.end)
    spoken = sentence.spoken_words
    words = {0: (), 1: spoken}.get(detail, sentence.words)
    return {
        "FinalSentence": sentence.text,
        "SliceSentence": " ".join(word.text for word in spoken),
        "StartMs": start,
        "EndMs": end,
        "WordsNum": len(spoken),
        "SpeechSpeed": round(len(spoken) * 1000 / (end - start), 1) if end > start else 0.0,
        "SpeakerId": 0,
        "Words": [
            {
                "Word": word.text,
                "OffsetStartMs": _milliseconds(word.start) - start,
                "OffsetEndMs": _milliseconds(word.end) - start,
                "VoiceType": int(word.is_punctuation),
            }
            for word in words
        ],
    }


def _describe_channel(number: int, sentences: list[Sentence], word_detail: int) -> dict[str, Any]:
    """Return one ``FlashResult``, whose names are in lower case; all times count from the beginning."""
    return {
        "channel_id": number,
        "text": " ".join(sentence.text for sentence in sentences),
        "sentence_list": [
            {
                "text": sentence.text,
                "start_time": _milliseconds(sentence.start),
                "end_time": _milliseconds(sentence.end),
                "speaker_id": 0,
                "word_list": [
                    {
                        "word": word.text,
                        "start_time": _milliseconds(word.start),
                        "end_time": _milliseconds(word.end),
                    }
                    for word in {0: (), 1: sentence.spoken_words}.get(word_detail, sentence.words)
                ],
            }
            for sentence in sentences
        ],
    }


def _write_lines(sentences: list[Sentence]) -> str:
    """Return the lines of ``Result``, such as ``[0:0.020,0:2.380]  Welcome.``"""
    return "".join(f"[{_clock_time(one.start)},{_clock_time(one.end)}]  {one.text}\n" for one in sentences)


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(_milliseconds(seconds), 60_000)
    return f"{minutes}:{rest // 1000}.{rest % 1000:03d}"


def _write_srt(sentences: list[Sentence]) -> str:
    return "\n".join(_subtitles(sentences))


def _subtitles(sentences: list[Sentence]) -> Iterator[str]:
    for number, one in enumerate(sentences, start=1):
        yield f"{number}\n{_subtitle_time(one.start)} --> {_subtitle_time(one.end)}\n{one.text}\n"


def _subtitle_time(seconds: float) -> str:
    minutes, rest = divmod(_milliseconds(seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
