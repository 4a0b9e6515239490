"""The documented rules of ``POST /jobs`` (460/84794, 460/78927)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from urllib.parse import urlsplit

from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.rules import Problems, Rule, Rules, matches, one_number_of, one_of
from tencent_ci_emulator.http.xml import Element, remove, text_of
from tencent_ci_emulator.jobs.job_output import is_misspelt, placeholders_of
from tencent_ci_emulator.jobs.job_types import job_type
from tencent_ci_emulator.jobs.types.concat import check_concat
from tencent_ci_emulator.jobs.types.noise_reduction import RULES as NOISE_RULES
from tencent_ci_emulator.jobs.types.segment import RULES as SEGMENT_RULES
from tencent_ci_emulator.jobs.types.segment import check_output as check_segment_output
from tencent_ci_emulator.jobs.types.snapshot import RULES as SNAPSHOT_RULES
from tencent_ci_emulator.jobs.types.snapshot import check_output as check_snapshot_output
from tencent_ci_emulator.jobs.types.speech_recognition import SPEECH_RECOGNITION, check_recognition
from tencent_ci_emulator.jobs.types.text_to_speech import check_text, check_voice
from tencent_ci_emulator.jobs.types.transcode import check_transcode
from tencent_ci_emulator.jobs.types.voice_separation import VOICE_SEPARATE, check_outputs, check_parameters
from tencent_ci_emulator.objects.names import BUCKET, ID, OBJECT_KEY, PLAIN_TEXT, REGION
from tencent_ci_emulator.objects.object_store import MAX_KEY_BYTES, ObjectStore
from tencent_ci_emulator.observed import ObservedBehaviour, Refusal


def is_web_address(text: str) -> bool:
    """Return whether a text is an absolute http or https URL."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises unless it is a number
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    return is_web and text.isprintable() and " " not in text


_RULES = {
    "Tag": matches(
        re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}"),
        "the name of a kind of job, for instance VoiceSeparate",
        is_required=True,
    ),
    "QueueId": ID,
    "Operation/TemplateId": ID,
    "Operation/JobLevel": one_number_of((0, 1, 2)),
    # Documented for sibling jobs only
    "Operation/UserData": Rule(
        "printable ASCII, at most 1024 characters",
        lambda text: len(text) <= 1024 and text.isascii() and text.isprintable(),
    ),
    # It may hold the receiver's secret
    "CallBack": Rule(
        "an absolute http or https URL, or the word no",
        lambda text: text == "no" or is_web_address(text),
        is_secret=True,
    ),
    "CallBackFormat": one_of("XML", "JSON"),
    "CallBackType": one_of("Url", "TDMQ", "Kafka"),
}
# The element that each kind of message queue needs, and the rules of its children
_MESSAGE_QUEUES = {
    "TDMQ": (
        "CallBackMqConfig",
        {
            "MqRegion": one_of("sh", "bj", "gz", "cd", "hk", is_required=True),
            "MqMode": one_of("Queue", "Topic", is_required=True),
            "MqName": PLAIN_TEXT,
        },
    ),
    "Kafka": ("CallBackKafkaConfig", {"Region": REGION, "InstanceId": PLAIN_TEXT, "Topic": PLAIN_TEXT}),
}
_OUTPUT = {"Bucket": BUCKET, "Region": REGION}


def _check_with(rules: Rules) -> Callable[[Element, Problems, str], None]:
    return lambda parameters, problems, prefix: problems.check(parameters, rules, prefix)


#: What notes the broken rules of parameters, by the name of their element
PARAMETER_CHECKS: dict[str, Callable[[Element, Problems, str], None]] = {
    VOICE_SEPARATE: check_parameters,
    "ConcatTemplate": check_concat,
    "Segment": _check_with(SEGMENT_RULES),
    "Snapshot": _check_with(SNAPSHOT_RULES),
    "Transcode": check_transcode,
    "NoiseReduction": _check_with(NOISE_RULES),
    SPEECH_RECOGNITION: check_recognition,
    "TtsConfig": check_text,
    "TtsTpl": check_voice,
}

# What notes the broken rules of outputs, by the tag
_OUTPUT_CHECKS: dict[str, Callable[[Element, Problems], None]] = {
    VOICE_SEPARATE: check_outputs,
    "Segment": check_segment_output,
    "Snapshot": check_snapshot_output,
}


def check_job(request: Element, problems: Problems) -> None:
    """Note the rules that a request breaks.

    :param request: a ``Request`` with one ``Operation``, whose template's parameters are filled in.
    """
    problems.check(request, _RULES)
    tag, operation = text_of(request, "Tag"), request.find("Operation")
    for needed in job_type(tag).needs:
        names = needed.split("|")
        if operation is None or not any(_is_given(operation.find(name)) for name in names):
            problems.add_sentence(f"Tag is {tag!r}, so Operation needs {' or '.join(names)}")
    _check_input(tag, request.find("Input"), problems)
    _check_message_queue(request, problems)
    for name, check in PARAMETER_CHECKS.items():
        parameters = request.find(f"Operation/{name}")
        if parameters is not None:
            check(parameters, problems, f"Operation.{name}.")
    if operation is not None and tag in _OUTPUT_CHECKS:
        _OUTPUT_CHECKS[tag](operation, problems)


def check_as_observed(
    request: Element, problems: Problems, observed: ObservedBehaviour, objects: ObjectStore
) -> None:
    """Note or refuse what the service refused, although no document says so.

    :raises ServiceError: a refusal of its own status and code.
    """
    bucket = text_of(request, "Operation/Output/Bucket") or ""
    keys = [
        key
        for element in request.iterfind("Operation/Output//*")
        if str(element.tag).endswith("Object") and (key := text_of(element, ".")) is not None
    ]
    for key in keys:
        if isinstance(observed.same_result_key, Refusal) and objects.get(bucket, key) is not None:
            _refuse(observed.same_result_key, f"there is an object {key} in bucket {bucket}")
        if len(key.encode()) > MAX_KEY_BYTES:
            _refuse(observed.long_result_key, f"the key of a result is longer than {MAX_KEY_BYTES} bytes")
        for name in placeholders_of(key):
            if is_misspelt(name):
                _refuse(observed.misspelt_placeholder, f"{key} has an unknown placeholder: {name}")
    if request.find("CallBackKafkaConfig/*") is not None:
        _refuse(observed.callback_kafka_config, "CallBackKafkaConfig is not allowed")
    tag = text_of(request, "Tag")
    if text_of(request, "Input/Url") is not None and not (observed.input_url or tag == SPEECH_RECOGNITION):
        problems.add_sentence(f"Input.Url is not allowed for the tag {tag}")
    parameters = request.find("Operation/Transcode")
    container, codec = (text_of(parameters, path) or "" for path in ("Container/Format", "Audio/Codec"))
    if not observed.codec_containers.get(container, {}).get(codec, True):
        problems.add(
            "Operation.Transcode.Audio.Codec", codec, f"a codec that the container {container} takes"
        )


def _refuse(observed: str | Refusal, message: str) -> None:
    if isinstance(observed, Refusal):
        raise ServiceError(observed.status, observed.code, message)


def drop_unknown_spelling(request: Element, observed: ObservedBehaviour) -> None:
    """Drop the spelling of noise reduction's sample rate that the service ignores."""
    if observed.samplerate_spelling != "both":
        unknown = {"Samplerate", "SampleRate"} - {observed.samplerate_spelling}
        for parameters in request.iterfind("Operation/NoiseReduction"):
            remove(parameters, *unknown)


def _is_given(element: Element | None) -> bool:
    """Return whether an element is there; an id must not be blank either."""
    return element is not None and (not element.tag.endswith("Id") or text_of(element, ".") is not None)


def check_output(request: Element, buckets: Collection[str], region: str, problems: Problems) -> None:
    """Note a missing output, and an output bucket that does not exist here or is in another region."""
    output, needed = request.find("Operation/Output"), job_type(text_of(request, "Tag")).output
    if output is None and needed is None:
        return
    problems.check(output, _OUTPUT, "Operation.Output.")
    if needed and not any(text_of(output, path) for path in needed):
        names = " or ".join(path.replace("/", ".") for path in needed)
        problems.add_sentence(f"Operation.Output needs {names}")
    bucket, named_region = text_of(output, "Bucket"), text_of(output, "Region")
    if BUCKET.accepts(bucket or "") and bucket not in buckets:
        problems.add("Operation.Output.Bucket", bucket, f"a bucket that exists here: {', '.join(buckets)}")
    if REGION.accepts(named_region or "") and named_region != region:
        problems.add("Operation.Output.Region", named_region, f"{region}, the region of the bucket")


def _check_input(tag: str | None, job_input: Element | None, problems: Problems) -> None:
    has_other_input = text_of(job_input, "Url") is not None or not job_type(tag).has_input
    is_required = tag == VOICE_SEPARATE or not has_other_input
    problems.check(job_input, {"Object": replace(OBJECT_KEY, is_required=is_required)}, "Input.")


def _check_message_queue(request: Element, problems: Problems) -> None:
    kind = text_of(request, "CallBackType")
    for of_kind, (name, rules) in _MESSAGE_QUEUES.items():
        has_config = request.find(f"{name}/*") is not None
        if has_config != (kind == of_kind):
            problems.add_sentence(f"{name} is needed if CallBackType is {of_kind}, and not allowed otherwise")
        elif has_config:
            problems.check(request.find(name), rules, f"{name}.")
