"""The documented rules of ``POST /jobs`` (460/84794, 460/78927)."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.xml import Element, text_of
from tencent_ci_emulator.jobs.job_types import PARAMETERS, TAG, WITHOUT_INPUT
from tencent_ci_emulator.jobs.voice_separation import VOICE_SEPARATE, check_outputs, check_parameters
from tencent_ci_emulator.objects.names import BUCKET, ID, REGION, is_object_key, is_plain_text

_JOB_LEVELS = (0, 1, 2)
_USER_DATA_CHARACTERS = 1024  # documented for sibling jobs only


def check_job(request: Element, problems: Problems) -> None:
    """Note the rules that a request breaks.

    :param request: a ``Request`` with one ``Operation``, whose template's parameters are filled in.
    """
    tag, operation = text_of(request, "Tag"), request.find("Operation")
    _check_tag(tag, operation, problems)
    _check_input(tag, request.find("Input"), problems)
    _check_id("QueueId", text_of(request, "QueueId"), problems)
    _check_id("Operation.TemplateId", text_of(operation, "TemplateId"), problems)
    if tag == VOICE_SEPARATE:
        separate = operation.find(VOICE_SEPARATE) if operation is not None else None
        if separate is not None:
            check_parameters(separate, problems, "Operation.VoiceSeparate.")
        check_outputs(
            operation.find("Output") if operation is not None else None,
            text_of(separate, "AudioMode"),
            problems,
        )
    level = problems.read_number(operation, "JobLevel", "Operation.JobLevel")
    problems.check_choice("Operation.JobLevel", level, _JOB_LEVELS)
    data = text_of(operation, "UserData") or ""
    if len(data) > _USER_DATA_CHARACTERS or not (data.isascii() and data.isprintable()):
        problems.add(
            "Operation.UserData", data, f"printable ASCII, at most {_USER_DATA_CHARACTERS} characters"
        )
    _check_callback(request, problems)


def check_output_bucket(request: Element, buckets: Collection[str], region: str, problems: Problems) -> None:
    """Note an output bucket that does not exist here, or that is in another region.

    Voice separation needs an output bucket. Of the other tags, some have no output.
    """
    output, at = request.find("Operation/Output"), "Operation.Output"
    if output is None and text_of(request, "Tag") != VOICE_SEPARATE:
        return
    bucket, named_region = text_of(output, "Bucket"), text_of(output, "Region")
    if not BUCKET.fullmatch(bucket or ""):
        problems.add(f"{at}.Bucket", bucket, "<name>-<appid>, for instance demo-1250000000")
    elif bucket not in buckets:
        problems.add_sentence(f"{at}.Bucket is {bucket!r}, buckets here: {', '.join(buckets)}")
    if not REGION.fullmatch(named_region or ""):
        problems.add(f"{at}.Region", named_region, "a region, for instance ap-guangzhou")
    elif named_region != region:
        problems.add_sentence(f"{at}.Region is {named_region!r}, but the bucket is in {region}")


def _check_tag(tag: str | None, operation: Element | None, problems: Problems) -> None:
    if not TAG.fullmatch(tag or ""):
        problems.add("Tag", tag, "the name of a kind of job, for instance VoiceSeparate")
        return
    parameters = PARAMETERS.get(tag or "")
    if parameters is not None and (
        operation is None or (operation.find(parameters) is None and text_of(operation, "TemplateId") is None)
    ):
        problems.add_sentence(f"Tag is {tag!r}, so Operation needs TemplateId or {parameters}")


def _check_input(tag: str | None, given: Element | None, problems: Problems) -> None:
    key, has_url = text_of(given, "Object"), text_of(given, "Url") is not None
    if key is None and tag != VOICE_SEPARATE and (has_url or tag in WITHOUT_INPUT):
        return
    if not is_object_key(key or ""):
        problems.add("Input.Object", key, "an object key without a slash at either end")


def _check_id(field: str, value: str | None, problems: Problems) -> None:
    if value is not None and not ID.fullmatch(value):
        problems.add(field, value, "letters, digits, _ and -, at most 128")


def _check_callback(request: Element, problems: Problems) -> None:
    url, kind = text_of(request, "CallBack"), text_of(request, "CallBackType")
    if url not in (None, "no") and not is_web_address(url or ""):
        # Without the value, which may hold the receiver's secret
        problems.add_sentence("CallBack is neither an absolute http or https URL nor the word no")
    problems.check_choice("CallBackFormat", text_of(request, "CallBackFormat"), ("XML", "JSON"))
    problems.check_choice("CallBackType", kind, ("Url", "TDMQ", "Kafka"))
    for config, needed in (("CallBackMqConfig", "TDMQ"), ("CallBackKafkaConfig", "Kafka")):
        if (request.find(f"{config}/*") is not None) != (kind == needed):
            problems.add_sentence(f"{config} must be given if CallBackType is {needed}, and only then")
    mq, kafka = request.find("CallBackMqConfig"), request.find("CallBackKafkaConfig")
    if kind == "TDMQ" and mq is not None:
        regions, modes = ("sh", "bj", "gz", "cd", "hk"), ("Queue", "Topic")
        problems.check_choice("CallBackMqConfig.MqRegion", text_of(mq, "MqRegion") or "", regions)
        problems.check_choice("CallBackMqConfig.MqMode", text_of(mq, "MqMode") or "", modes)
        _check_needed_text("CallBackMqConfig.MqName", text_of(mq, "MqName"), problems)
    if kind == "Kafka" and kafka is not None:
        if not REGION.fullmatch(text_of(kafka, "Region") or ""):
            problems.add(
                "CallBackKafkaConfig.Region", text_of(kafka, "Region"), "a region, such as ap-guangzhou"
            )
        for name in ("InstanceId", "Topic"):
            _check_needed_text(f"CallBackKafkaConfig.{name}", text_of(kafka, name), problems)


def _check_needed_text(field: str, text: str | None, problems: Problems) -> None:
    if not is_plain_text(text or "\n"):
        problems.add(field, text, "a text without control characters")


def is_web_address(text: str) -> bool:
    """Return whether a text is an absolute http or https URL."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises unless it is a number
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable() and " " not in text
    )
