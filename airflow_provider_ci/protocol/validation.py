"""The documented rules of a voice-separation request, checked before anything is sent.

``problems`` has the rules by which the service refuses a request, as far as they are documented. ``check``
also refuses what the service would accept and bill although the results could not be told apart, stored or
fetched.

Sources: 460/84794 (outputs, placeholders), 436/84510 and 436/120977 (parameters), 1045/43605 and 436/13324
(object keys), 460/78927 (callback queues). ``UserData``'s limit is documented for sibling jobs only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.fields import Draft, mistyped
from airflow_provider_ci.protocol.names import BUCKET as BUCKET
from airflow_provider_ci.protocol.names import ID as ID
from airflow_provider_ci.protocol.names import (
    NOT_XML,
    VOICE_SEPARATE,
    key_rule_broken,
    object_address,
    shown_address,
)
from airflow_provider_ci.protocol.names import REGION as REGION
from airflow_provider_ci.protocol.names import is_object_key as is_object_key
from airflow_provider_ci.protocol.result_keys import (
    KnownInputs,
    cos_problem,
    may_be_alike,
    placeholder_problem,
)

if TYPE_CHECKING:  # DAG files load this module, and making all models takes too long for them
    from airflow_provider_ci.protocol.models import Operation, Output, VoiceSeparate, VoiceSeparateRequest

AUDIO_MODES = ("IsAudio", "IsBackground", "AudioAndBackground", "MusicMode")
JOB_LEVELS = (0, 1, 2)
USER_DATA_MAX = 1024

_MUSIC_MODE_CODECS = ("mp3", "wav", "aac")
_SAMPLE_RATES = (11025, 22050, 32000, 44100, 48000, 96000)
# No rule is documented for wav: any documented value passes
_SAMPLE_RATES_OF = {
    "aac": _SAMPLE_RATES,
    "flac": _SAMPLE_RATES,
    "mp3": _SAMPLE_RATES[:-1],
    "amr": (8000,),
    "wav": (8000, *_SAMPLE_RATES),
}
_CHANNELS = (1, 2, 4, 5, 6, 8)
_CHANNELS_OF = {"aac": _CHANNELS, "flac": _CHANNELS, "mp3": (1, 2), "amr": (1,), "wav": _CHANNELS}
CODECS = tuple(_SAMPLE_RATES_OF)
_BITRATES = (8, 1000)
#: What the service takes if no codec is given.
DEFAULT_CODEC = "aac"

_CALL_BACK_FORMATS = ("XML", "JSON")
_CALL_BACK_TYPES = ("Url", "TDMQ", "Kafka")
_MQ_REGIONS = ("sh", "bj", "gz", "cd", "hk")
_MQ_MODES = ("Queue", "Topic")

#: The results by their fields, as messages name them.
OUTPUTS = {
    "background_object": "Object (background)",
    "voice_object": "AuObject (voice)",
    "bass_object": "BassObject",
    "drum_object": "DrumObject",
}
_NEEDED_OUTPUTS = {
    "IsAudio": ("voice_object",),
    "IsBackground": ("background_object",),
    "AudioAndBackground": ("background_object", "voice_object"),
    "MusicMode": ("background_object", "voice_object"),
}
# Of a mode that is not named here, what it makes is not known
_MADE_OUTPUTS = {**_NEEDED_OUTPUTS, "MusicMode": tuple(OUTPUTS)}
_NOTHING: Any = Draft()
_TYPES: dict[type, str] = {str: "a text", int: "a whole number"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: the field by its path in the request, what was given, and what is allowed."""

    field: str
    given: object
    allowed: str

    def __str__(self) -> str:
        given = repr(self.given)
        if len(given) > 120:
            given = f"{given[:100]}… ({len(given)} characters)"
        return f"{self.field} is {given}, allowed: {self.allowed}"


def check(request: VoiceSeparateRequest) -> None:
    """Refuse a request that breaks a documented rule, or whose results would be lost.

    :raises RequestValidationError: naming every such field, what was given and what is allowed.
    """
    broken = problems(request)
    if not any(mistyped(request)):
        key = request.input.object if request.input else None
        broken += _input_key_problems("Input.Object", key)
        broken += result_problems(request.operation or _NOTHING, KnownInputs(object=key))
    if broken:
        raise RequestValidationError([str(problem) for problem in broken])


def problems(request: VoiceSeparateRequest) -> list[Problem]:
    """Return every documented rule that the request breaks; an empty list if none.

    Values of a wrong type, as rendered templates may have them, are reported alone: no rule can be applied.
    """
    return [
        Problem(field, value, _TYPES.get(kind, kind.__name__)) for field, value, kind in mistyped(request)
    ] or list(_request(request))


def _request(request: VoiceSeparateRequest) -> Iterator[Problem]:
    if request.tag != VOICE_SEPARATE:
        yield Problem("Tag", request.tag, VOICE_SEPARATE)
    yield from _key("Input.Object", request.input.object if request.input else None, required=True)
    yield from _operation(request.operation or _NOTHING)
    yield from _id("QueueId", request.queue_id)
    yield from _callback(request)


def _operation(operation: Operation) -> Iterator[Problem]:
    if operation.template_id is None and operation.voice_separate is None:
        yield Problem("Operation", "neither TemplateId nor VoiceSeparate", "one of the two")
    yield from _id("Operation.TemplateId", operation.template_id)
    # The service takes the template when both are given, so the parameters count only without it
    separate = operation.voice_separate if operation.template_id is None else None
    mode = separate.audio_mode if separate else None
    if separate is not None:
        yield from parameter_problems(separate, "Operation.VoiceSeparate.")
    yield from _output(operation.output or _NOTHING, mode)
    yield from _choice("Operation.JobLevel", operation.job_level, JOB_LEVELS)
    data = operation.user_data
    if data is not None and (len(data) > USER_DATA_MAX or not (data.isascii() and data.isprintable())):
        yield Problem("Operation.UserData", data, f"printable ASCII, at most {USER_DATA_MAX} characters")


def parameter_problems(separate: VoiceSeparate, parent: str) -> Iterator[Problem]:
    """Yield every documented rule that the parameters break; ``parent`` is the path of their container."""
    yield from _choice(f"{parent}AudioMode", separate.audio_mode, AUDIO_MODES)
    config = separate.audio_config or _NOTHING
    at = f"{parent}AudioConfig"
    music = separate.audio_mode == "MusicMode"
    codec = (config.codec or DEFAULT_CODEC).lower()
    if codec not in (_MUSIC_MODE_CODECS if music else CODECS):
        allowed = f"{_listed(_MUSIC_MODE_CODECS)} with MusicMode" if music else _listed(CODECS)
        yield Problem(f"{at}.Codec", config.codec, allowed)
        return
    if config.bitrate is not None and not _BITRATES[0] <= config.bitrate <= _BITRATES[1]:
        yield Problem(f"{at}.Bitrate", config.bitrate, f"{_BITRATES[0]} to {_BITRATES[1]} (kbit/s)")
    if music:  # the service ignores the rest
        return
    for name, value, table in (
        ("Samplerate", config.samplerate, _SAMPLE_RATES_OF),
        ("Channels", config.channels, _CHANNELS_OF),
    ):
        if value is not None and value not in table[codec]:
            yield Problem(f"{at}.{name}", value, f"{_listed(table[codec])} with codec {codec}")


def _output(output: Output, mode: str | None) -> Iterator[Problem]:
    at = "Operation.Output"
    if not BUCKET.fullmatch(output.bucket or ""):
        yield Problem(f"{at}.Bucket", output.bucket, "<name>-<appid>, for instance media-1250000001")
    if not REGION.fullmatch(output.region or ""):
        yield Problem(f"{at}.Region", output.region, "a region, for instance ap-guangzhou")
    keys = {name: getattr(output, name) for name in OUTPUTS}
    for name, key in keys.items():
        yield from _key(f"{at}.{OUTPUTS[name]}", key, required=False)
    needed = _NEEDED_OUTPUTS.get(mode or "", ())
    for name in needed:
        if not keys[name]:
            yield Problem(f"{at}.{OUTPUTS[name]}", keys[name], f"an object key, because AudioMode is {mode}")
    if not needed and not keys["background_object"] and not keys["voice_object"]:
        yield Problem(f"{at}.Object and AuObject", None, "at least one of the two")
    given = [key for key in keys.values() if key]
    if len(set(given)) < len(given):
        yield Problem(f"{at}'s object keys", given, "different keys, or one result would overwrite another")


def result_problems(operation: Operation, inputs: KnownInputs) -> Iterator[Problem]:
    """Yield what would be accepted and billed, and whose results would be lost all the same.

    :param inputs: what is known of the inputs, whose names may become part of the keys.
    """
    output, separate = operation.output or _NOTHING, operation.voice_separate
    extension = result_extension(operation.template_id, separate)
    mode = separate.audio_mode if operation.template_id is None and separate is not None else None
    keys = {name: key for name in OUTPUTS if is_object_key(key := getattr(output, name))}
    usable = {}
    for name, key in keys.items():
        field = f"Operation.Output.{OUTPUTS[name]}"
        if name not in _MADE_OUTPUTS.get(mode or "", OUTPUTS):
            yield Problem(field, key, f"no key, because AudioMode {mode} makes no such result")
        elif object_address(key):
            yield _address_problem(field, key)
        elif allowed := placeholder_problem(key, inputs) or cos_problem(key, inputs, extension):
            yield Problem(field, key, allowed)
        else:
            usable[name] = key
    for one, other in combinations(usable, 2):
        if usable[one] != usable[other] and may_be_alike(usable[one], usable[other], inputs, extension):
            yield Problem(
                f"Operation.Output.{OUTPUTS[other]}",
                usable[other],
                f"a key that can never be that of {OUTPUTS[one]}, {usable[one]!r},"
                " or one result would overwrite another",
            )


def result_extension(template_id: str | None, separate: VoiceSeparate | None) -> str | None:
    """Return what ``${ext}`` stands for; ``None``: unknown, because a template holds the codec."""
    if template_id is not None or separate is None:
        return None
    return ((separate.audio_config or _NOTHING).codec or DEFAULT_CODEC).lower()


def _input_key_problems(field: str, key: str | None) -> Iterator[Problem]:
    if key is None or not is_object_key(key):
        return
    if key == "None":
        yield Problem(field, key, "an object key; this is the text that Python makes of None")
    elif object_address(key):
        yield _address_problem(field, key)
    elif allowed := key_rule_broken(key):
        yield Problem(field, key, allowed)


def _address_problem(field: str, given: str) -> Problem:
    address = object_address(given)
    bucket, key = address or (None, "")
    where = f", and the bucket, {bucket!r}, apart from it" if bucket else ""
    return Problem(field, shown_address(given), f"an object key, here {key!r}{where}")


def _callback(request: VoiceSeparateRequest) -> Iterator[Problem]:
    url = request.callback_url
    if url is not None and url != "no" and not is_web_address(url):
        yield Problem("CallBack", shown_address(url), "an absolute http or https URL, or no")
    yield from _choice("CallBackFormat", request.callback_format, _CALL_BACK_FORMATS)
    yield from _choice("CallBackType", request.callback_type, _CALL_BACK_TYPES)
    mq, kafka = request.callback_mq_config, request.callback_kafka_config
    for name, config, kind in (("CallBackMqConfig", mq, "TDMQ"), ("CallBackKafkaConfig", kafka, "Kafka")):
        if (config is not None) != (request.callback_type == kind):
            yield Problem(name, config, f"given exactly when CallBackType is {kind}")
    if mq is not None:
        yield from _choice("CallBackMqConfig.MqRegion", mq.mq_region or "", _MQ_REGIONS)
        yield from _choice("CallBackMqConfig.MqMode", mq.mq_mode or "", _MQ_MODES)
        yield from _text("CallBackMqConfig.MqName", mq.mq_name)
    if kafka is not None:
        if not REGION.fullmatch(kafka.region or ""):
            yield Problem("CallBackKafkaConfig.Region", kafka.region, "a region, for instance ap-guangzhou")
        yield from _text("CallBackKafkaConfig.InstanceId", kafka.instance_id)
        yield from _text("CallBackKafkaConfig.Topic", kafka.topic)


def _key(field: str, key: str | None, *, required: bool) -> Iterator[Problem]:
    if key is None and not required:
        return
    if not is_object_key(key) or (key or "").endswith("/"):
        allowed = "an object key that neither begins nor ends with / and has no control characters"
        yield Problem(field, key, allowed)


def _id(field: str, value: str | None) -> Iterator[Problem]:
    if value is not None and not ID.fullmatch(value):
        yield Problem(field, value, "letters, digits, _ and -, at most 128")


def _text(field: str, value: str | None) -> Iterator[Problem]:
    if not value or NOT_XML.search(value):
        yield Problem(field, value, "a text that is not empty and has no control characters")


def _choice(field: str, value: object, allowed: Collection[object]) -> Iterator[Problem]:
    if value is not None and value not in allowed:
        yield Problem(field, value, _listed(allowed))


def _listed(values: Collection[object]) -> str:
    return ", ".join(str(value) for value in values)


def is_carriable(text: str) -> bool:
    """Tell whether XML, and so an answer, can carry ``text``."""
    return not NOT_XML.search(text)


def is_web_address(text: str) -> bool:
    """Tell whether ``text`` is an absolute http or https URL."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises unless it is one
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable() and " " not in text
    )
