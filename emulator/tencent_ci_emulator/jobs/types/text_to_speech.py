"""``Tts`` (460/84797, 1045/73380; template 1045/49913). The job has no input.

Each ``VoiceType`` is another voice of eSpeak NG, none of them like the service's. ``Speed`` and ``Volume``
have their effect (10 doubles the loudness, -10 halves it), ``Emotion`` has none. ``Mode`` ``Sync`` makes
``wav`` unless ``Codec`` says otherwise, all others ``pcm`` without a header. A text may hold 300 characters
with ``Sync``, or else 10,000. A ``Url`` is read as an object if its host is one that the emulator serves;
with any other the job fails.

Not documented, and so decided here: both ``Asyc`` and ``Async`` are read; every codec and every voice is
there in every mode; ``${jobid}`` and ``${ext}`` are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tencent_ci_emulator.http.rules import Problems, Rule, one_of, read_number
from tencent_ci_emulator.http.xml import Element, parse, text_of
from tencent_ci_emulator.jobs.job_output import (
    JobAtWork,
    JobOutput,
    NotProcessedError,
    describe_files,
    expand_placeholders,
    new_files,
    read_text_object,
)
from tencent_ci_emulator.jobs.job_store import JobFailedError
from tencent_ci_emulator.jobs.urls import find_object_of_url
from tencent_ci_emulator.media import describe, synthesis
from tencent_ci_emulator.objects.object_store import ObjectStore

_MOST_CHARACTERS = 300
_MOST_CHARACTERS_ASYNCHRONOUSLY = 10_000
_MOST_MEGABYTES = 10
_CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
# Variants of eSpeak NG's voices: they only have to differ
_VARIANTS = {
    "ruxue": "f2",
    "aixiaonan": "m3",
    "aixiaoxing": "f1",
    "aixiaocheng": "m1",
    "aixiaoxue": "f3",
    "aixiaolu": "f4",
    "aixiaodong": "m2",
    "aixiaoliao": "f5",
    "aixiaoqian": "linda",
    "aixiaoyang": "m4",
    "alice": "steph",
}


def _signed_number(text: str) -> int | None:
    number = read_number(text.removeprefix("-"))
    return -number if number is not None and text.startswith("-") else number


_TEMPLATE_RULES = {
    "Mode": one_of("Sync", "Asyc", "Async"),  # pages spell it in both ways
    "Codec": one_of(*synthesis.FORMATS),
    "VoiceType": one_of(*_VARIANTS),
    "Volume": Rule("-10 to 10", lambda text: _signed_number(text) in range(-10, 11)),
    "Speed": Rule("50 to 200", lambda text: read_number(text) in range(50, 201)),
}
_CONFIG_RULES = {
    "InputType": one_of("Text", "Url", is_required=True),
    "Input": Rule("a text or a URL", bool, is_required=True),
}


def check_voice(parameters: Element, problems: Problems, prefix: str) -> None:
    """Note the rules that ``TtsTpl`` breaks."""
    problems.check(parameters, _TEMPLATE_RULES, prefix)


def check_text(config: Element, problems: Problems, prefix: str) -> None:
    """Note the rules that ``TtsConfig`` breaks."""
    problems.check(config, _CONFIG_RULES, prefix)
    length = len(text_of(config, "Input") or "")
    if text_of(config, "InputType") == "Text" and length > _MOST_CHARACTERS:
        sentence = f"{prefix}Input has {length} characters, at most {_MOST_CHARACTERS} are allowed"
        problems.add_sentence(sentence)


def speak_text(job: JobAtWork, objects: ObjectStore, on_progress: Callable[[float], None]) -> JobOutput:
    """Do the work of a job.

    :raises JobFailedError: the text is missing, unusable or too long.
    :raises NotProcessedError: the extra is not installed.
    """
    request = parse(job.request)
    parameters, output = request.find("Operation/TtsTpl"), request.find("Operation/Output")
    is_synchronous = text_of(parameters, "Mode") == "Sync"
    text = _read_text(job, request, is_synchronous, objects)
    if not synthesis.is_installed():
        raise NotProcessedError("install the emulator's extra 'synthesis'")
    audio_format = text_of(parameters, "Codec") or ("wav" if is_synchronous else "pcm")
    key = expand_placeholders(job, text_of(output, "Object") or "", audio_format)
    with new_files(objects) as new:
        path = new.add()
        voice = _choose_voice(parameters, text)
        try:
            synthesis.synthesize(text, path, audio_format, voice, on_progress=on_progress)
        except synthesis.UnspeakableTextError as error:
            raise JobFailedError("ResourceNotSupported", str(error)) from None
        container, stream = describe(path, pcm_rate=synthesis.RATE if audio_format == "pcm" else None)
        result = {
            "MediaInfo": {"Format": container, "Stream": {"Audio": [stream]}},
            # With a slash that the request does not have, as in the page's sample
            "MediaResult": describe_files(output, {f"/{key}": path}),
        }
        emotion = text_of(parameters, "Emotion")
        return JobOutput(
            synthesis.METHOD, {key: path}, result, "not applied: TtsTpl.Emotion" if emotion else ""
        )


def _read_text(job: JobAtWork, request: Element, is_synchronous: bool, objects: ObjectStore) -> str:
    text = text_of(request, "Operation/TtsConfig/Input") or ""
    if text_of(request, "Operation/TtsConfig/InputType") == "Text":
        return text
    _, stored = find_object_of_url(job, text, objects, "TtsConfig.Input")
    text = read_text_object(stored, _MOST_MEGABYTES)
    most = _MOST_CHARACTERS if is_synchronous else _MOST_CHARACTERS_ASYNCHRONOUSLY
    if len(text) > most:
        message = f"{stored.key} has {len(text)} characters, at most {most} are allowed"
        raise JobFailedError("ResourceNotSupported", message)
    return text


def _choose_voice(parameters: Element | None, text: str) -> synthesis.Voice:
    """Return a voice that reads the text's language: Chinese if it has any, or else English."""
    language = "cmn" if _CHINESE.search(text) else "en-us"
    variant = _VARIANTS[text_of(parameters, "VoiceType") or "ruxue"]
    volume = _signed_number(text_of(parameters, "Volume") or "0") or 0
    return synthesis.Voice(
        f"{language}+{variant}",
        speed=read_number(text_of(parameters, "Speed")) or 100,
        volume=round(100 * 2 ** (volume / 10)),  # half to double
    )
