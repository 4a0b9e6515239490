"""The documented rules of a job's request, checked before anything is sent.

DAG files load this module, so it loads neither the models nor the XML library.

``problems`` has the rules by which the service refuses a request, as far as they are documented. ``check``
also refuses what the service would accept and bill although the results could not be told apart, stored or
fetched.

Sources: 460/84794 (outputs, placeholders), 1045/43605 and 436/13324 (object keys), 460/78927 (callback
queues). ``UserData``'s limit is documented for sibling jobs only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.fields import LightModel, type_mismatches
from airflow_provider_ci.protocol.names import (
    BUCKET,
    REGION,
    VOICE_SEPARATE,
    is_object_key,
    is_web_address,
    key_rule_broken,
    object_address,
    redact_address,
)
from airflow_provider_ci.protocol.result_keys import KnownInputs
from airflow_provider_ci.protocol.rules import (
    Problem,
    choice_problems,
    id_problems,
    raise_if_any,
    text_problems,
    type_problems,
)
from airflow_provider_ci.protocol.voice_separation import (
    NEEDED_OUTPUTS,
    OUTPUTS,
    address_problem,
    parameter_problems,
    result_problems,
)

if TYPE_CHECKING:  # DAG files load this module, and making all models takes too long for them
    from airflow_provider_ci.protocol.jobs import JobRequest, Operation, Output

_NOTHING: Any = LightModel()

JOB_LEVELS = (0, 1, 2)
USER_DATA_MAX = 1024
_CALLBACK_FORMATS = ("XML", "JSON")
_CALLBACK_TYPES = ("Url", "TDMQ", "Kafka")
_MQ_REGIONS = ("sh", "bj", "gz", "cd", "hk")
_MQ_MODES = ("Queue", "Topic")


def check(request: JobRequest) -> None:
    """Refuse a request that breaks a documented rule, or whose results would be lost.

    :raises RequestValidationError: naming every such field, what was given and what is allowed.
    """
    broken = problems(request)
    if not any(type_mismatches(request)):
        key = request.input.object if request.input else None
        broken += _input_key_problems("Input.Object", key)
        broken += result_problems(request.operation or _NOTHING, KnownInputs(object=key))
    raise_if_any(broken)


def problems(request: JobRequest) -> list[Problem]:
    """Return every documented rule that the request breaks; an empty list if none.

    Values of a wrong type, as rendered templates may have them, are reported alone: no rule can be applied.
    """
    return type_problems(request) or list(_request(request))


def _request(request: JobRequest) -> Iterator[Problem]:
    if request.tag != VOICE_SEPARATE:
        yield Problem("Tag", request.tag, VOICE_SEPARATE)
    yield from _key("Input.Object", request.input.object if request.input else None, required=True)
    yield from _operation(request.operation or _NOTHING)
    yield from id_problems("QueueId", request.queue_id)
    yield from _callback(request)


def _operation(operation: Operation) -> Iterator[Problem]:
    if operation.template_id is None and operation.voice_separate is None:
        yield Problem("Operation", "neither TemplateId nor VoiceSeparate", "one of the two")
    yield from id_problems("Operation.TemplateId", operation.template_id)
    # The service takes the template when both are given, so the parameters count only without it
    separate = operation.voice_separate if operation.template_id is None else None
    mode = separate.audio_mode if separate else None
    if separate is not None:
        yield from parameter_problems(separate, "Operation.VoiceSeparate.")
    yield from _output(operation.output or _NOTHING, mode)
    yield from choice_problems("Operation.JobLevel", operation.job_level, JOB_LEVELS)
    data = operation.user_data
    if data is not None and (len(data) > USER_DATA_MAX or not (data.isascii() and data.isprintable())):
        yield Problem("Operation.UserData", data, f"printable ASCII, at most {USER_DATA_MAX} characters")


def _output(output: Output, mode: str | None) -> Iterator[Problem]:
    at = "Operation.Output"
    if not BUCKET.fullmatch(output.bucket or ""):
        yield Problem(f"{at}.Bucket", output.bucket, "<name>-<appid>, for instance media-1250000001")
    if not REGION.fullmatch(output.region or ""):
        yield Problem(f"{at}.Region", output.region, "a region, for instance ap-guangzhou")
    keys = {name: getattr(output, name) for name in OUTPUTS}
    for name, key in keys.items():
        yield from _key(f"{at}.{OUTPUTS[name]}", key, required=False)
    needed = NEEDED_OUTPUTS.get(mode or "", ())
    for name in needed:
        if not keys[name]:
            yield Problem(f"{at}.{OUTPUTS[name]}", keys[name], f"an object key, because AudioMode is {mode}")
    if not needed and not keys["background_object"] and not keys["voice_object"]:
        yield Problem(f"{at}.Object and AuObject", None, "at least one of the two")
    given = [key for key in keys.values() if key]
    if len(set(given)) < len(given):
        yield Problem(f"{at}'s object keys", given, "different keys, or one result would overwrite another")


def _input_key_problems(field: str, key: str | None) -> Iterator[Problem]:
    if key is None or not is_object_key(key):
        return
    if key == "None":
        yield Problem(field, key, "an object key; this is the text that Python makes of None")
    elif object_address(key):
        yield address_problem(field, key)
    elif allowed := key_rule_broken(key):
        yield Problem(field, key, allowed)


def _callback(request: JobRequest) -> Iterator[Problem]:
    url = request.callback_url
    if url is not None and url != "no" and not is_web_address(url):
        yield Problem("CallBack", redact_address(url), "an absolute http or https URL, or no")
    yield from choice_problems("CallBackFormat", request.callback_format, _CALLBACK_FORMATS)
    yield from choice_problems("CallBackType", request.callback_type, _CALLBACK_TYPES)
    mq, kafka = request.callback_mq_config, request.callback_kafka_config
    for name, config, kind in (("CallBackMqConfig", mq, "TDMQ"), ("CallBackKafkaConfig", kafka, "Kafka")):
        if (config is not None) != (request.callback_type == kind):
            yield Problem(name, config, f"given exactly when CallBackType is {kind}")
    if mq is not None:
        yield from choice_problems("CallBackMqConfig.MqRegion", mq.mq_region or "", _MQ_REGIONS)
        yield from choice_problems("CallBackMqConfig.MqMode", mq.mq_mode or "", _MQ_MODES)
        yield from text_problems("CallBackMqConfig.MqName", mq.mq_name)
    if kafka is not None:
        if not REGION.fullmatch(kafka.region or ""):
            yield Problem("CallBackKafkaConfig.Region", kafka.region, "a region, for instance ap-guangzhou")
        yield from text_problems("CallBackKafkaConfig.InstanceId", kafka.instance_id)
        yield from text_problems("CallBackKafkaConfig.Topic", kafka.topic)


def _key(field: str, key: str | None, *, required: bool) -> Iterator[Problem]:
    if key is None and not required:
        return
    if not is_object_key(key) or (key or "").endswith("/"):
        allowed = "an object key that neither begins nor ends with / and has no control characters"
        yield Problem(field, key, allowed)
