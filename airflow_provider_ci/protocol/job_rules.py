"""The documented rules of a job's request, checked before anything is sent.

Rules of what the job does are those of its type: :mod:`.voice_separation`. DAG files load this module, so it
loads neither the models nor the XML library.

Sources: 460/84794 (request), 1045/43605 and 436/13324 (object keys), 460/78927 (callback queues). A limit of
``UserData`` is documented for other types of job only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.fields import LightModel
from airflow_provider_ci.protocol.names import (
    BUCKET,
    REGION,
    is_object_key,
    is_web_address,
    key_rule_violation,
    object_address,
    redact_address,
)
from airflow_provider_ci.protocol.result_keys import KnownInputs
from airflow_provider_ci.protocol.rules import (
    Problem,
    address_problem,
    choice_problems,
    id_problems,
    key_problems,
    raise_if_any,
    text_problems,
    type_problems,
)
from airflow_provider_ci.protocol.voice_separation import (
    VOICE_SEPARATE,
    output_key_problems,
    parameter_problems,
    result_problems,
)

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.jobs import JobRequest, Operation, Output

_EMPTY: Any = LightModel()

JOB_LEVELS = (0, 1, 2)
USER_DATA_MAX = 1024
_CALLBACK_FORMATS = ("XML", "JSON")
_CALLBACK_TYPES = ("Url", "TDMQ", "Kafka")
_MQ_REGIONS = ("sh", "bj", "gz", "cd", "hk")
_MQ_MODES = ("Queue", "Topic")


def check_job(request: JobRequest) -> None:
    """Check a request, also for results that the service would bill although they would be lost.

    :raises RequestValidationError: naming every field that breaks a rule, its value and what is allowed.
    """
    raise_if_any(type_problems(request) or _problems(request))


def _problems(request: JobRequest) -> Iterator[Problem]:
    yield from request_problems(request)
    key = request.input.object if request.input else None
    if key is not None and is_object_key(key):
        yield from _input_key_problems(key)
    yield from result_problems(request.operation or _EMPTY, KnownInputs(object=key))


def request_problems(request: JobRequest) -> Iterator[Problem]:
    """Yield the rules that the request breaks and for which the service would reject it.

    The values must have the types of their fields.
    """
    if request.tag != VOICE_SEPARATE:
        yield Problem("Tag", request.tag, VOICE_SEPARATE)
    yield from key_problems("Input.Object", request.input.object if request.input else None)
    yield from _operation_problems(request.operation or _EMPTY)
    yield from id_problems("QueueId", request.queue_id, optional=True)
    yield from _callback_problems(request)


def _operation_problems(operation: Operation) -> Iterator[Problem]:
    if operation.template_id is None and operation.voice_separate is None:
        yield Problem("Operation", "neither TemplateId nor VoiceSeparate", "one of the two")
    yield from id_problems("Operation.TemplateId", operation.template_id, optional=True)
    # If both are given, the service uses the template and ignores the parameters
    parameters = operation.voice_separate if operation.template_id is None else None
    if parameters is not None:
        yield from parameter_problems(parameters, "Operation.VoiceSeparate.")
    yield from _output_problems(operation.output or _EMPTY, parameters.audio_mode if parameters else None)
    yield from choice_problems("Operation.JobLevel", operation.job_level, JOB_LEVELS, optional=True)
    data = operation.user_data
    if data is not None and (len(data) > USER_DATA_MAX or not (data.isascii() and data.isprintable())):
        yield Problem("Operation.UserData", data, f"printable ASCII, at most {USER_DATA_MAX} characters")


def _output_problems(output: Output, audio_mode: str | None) -> Iterator[Problem]:
    if not BUCKET.fullmatch(output.bucket or ""):
        allowed = "<name>-<appid>, for instance media-1250000001"
        yield Problem("Operation.Output.Bucket", output.bucket, allowed)
    yield from _region_problems("Operation.Output.Region", output.region)
    yield from output_key_problems(output, audio_mode)


def _region_problems(field: str, region: str | None) -> Iterator[Problem]:
    if not REGION.fullmatch(region or ""):
        yield Problem(field, region, "a region, for instance ap-guangzhou")


def _input_key_problems(key: str) -> Iterator[Problem]:
    if key == "None":
        yield Problem("Input.Object", key, "an object key; this is the string that Python makes of None")
    elif object_address(key):
        yield address_problem("Input.Object", key)
    elif allowed := key_rule_violation(key):
        yield Problem("Input.Object", key, allowed)


def _callback_problems(request: JobRequest) -> Iterator[Problem]:
    url = request.callback_url
    if url is not None and url != "no" and not is_web_address(url):
        yield Problem("CallBack", redact_address(url), "an absolute http or https URL, or no")
    yield from choice_problems("CallBackFormat", request.callback_format, _CALLBACK_FORMATS, optional=True)
    yield from choice_problems("CallBackType", request.callback_type, _CALLBACK_TYPES, optional=True)
    mq, kafka = request.callback_mq_config, request.callback_kafka_config
    for name, config, kind in (("CallBackMqConfig", mq, "TDMQ"), ("CallBackKafkaConfig", kafka, "Kafka")):
        if (config is not None) != (request.callback_type == kind):
            yield Problem(name, config, f"given exactly when CallBackType is {kind}")
    if mq is not None:
        yield from choice_problems("CallBackMqConfig.MqRegion", mq.mq_region or "", _MQ_REGIONS)
        yield from choice_problems("CallBackMqConfig.MqMode", mq.mq_mode or "", _MQ_MODES)
        yield from text_problems("CallBackMqConfig.MqName", mq.mq_name)
    if kafka is not None:
        yield from _region_problems("CallBackKafkaConfig.Region", kafka.region)
        yield from text_problems("CallBackKafkaConfig.InstanceId", kafka.instance_id)
        yield from text_problems("CallBackKafkaConfig.Topic", kafka.topic)
