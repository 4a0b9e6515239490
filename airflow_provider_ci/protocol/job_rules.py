"""The documented rules of a job's request, checked before anything is sent. Those of the single types are in
:mod:`.job_types`.

DAG files load this module, so it loads neither the models nor the XML library.

Sources: 460/84794 (request), 1045/43605 and 436/13324 (object keys), 460/78927 (callback queues). A limit of
``UserData`` is documented for some types of job only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from airflow_provider_ci.protocol.job_types.job_type import JobType, Need
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.job_types.voice_separation import OUTPUT_LABELS, VOICE_SEPARATE
from airflow_provider_ci.protocol.names import (
    BUCKET,
    REGION,
    is_object_key,
    is_web_address,
    key_rule_violation,
    object_address,
    redact_address,
)
from airflow_provider_ci.protocol.result_keys import KnownInputs, cos_problem, placeholder_problem
from airflow_provider_ci.protocol.rules import (
    Problem,
    Rule,
    address_problem,
    id_problems,
    key_problems,
    one_number_of,
    one_of,
    raise_if_any,
    text_problems,
)
from airflow_provider_ci.protocol.tree import Tree, find, find_tree, structure_problems

JOB_LEVELS = (0, 1, 2)
#: In ``CallBack``, stands for the address of this Airflow's own endpoint, which the hook puts there.
AUTO = "auto"
USER_DATA_MAX = 1024
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")

_BUCKET = Rule(
    "<name>-<appid>, for instance media-1250000001", lambda value: bool(BUCKET.fullmatch(str(value)))
)
_REGION = Rule("a region, for instance ap-guangzhou", lambda value: bool(REGION.fullmatch(str(value))))
_USER_DATA = Rule(
    f"printable ASCII, at most {USER_DATA_MAX} characters",
    lambda value: (
        isinstance(value, str) and len(value) <= USER_DATA_MAX and value.isascii() and value.isprintable()
    ),
)
_JOB_LEVEL = one_number_of(*JOB_LEVELS)
_CALLBACK_RULES = MappingProxyType(
    {"CallBackFormat": one_of("XML", "JSON"), "CallBackType": one_of("Url", "TDMQ", "Kafka")}
)
_MQ_RULES = MappingProxyType(
    {
        "MqRegion": one_of("sh", "bj", "gz", "cd", "hk", is_required=True),
        "MqMode": one_of("Queue", "Topic", is_required=True),
    }
)


def check_job(request: Tree) -> None:
    """Check a request, and that none of its results, which are paid for, would be lost.

    :param request: the content of the element ``Request``.
    :raises RequestValidationError: naming every field that breaks a rule, its value and what is allowed.
    """
    raise_if_any(structure_problems(request) or _single_job_problems(request))


def _single_job_problems(request: Tree) -> Iterator[Problem]:
    kind, key = job_type(request.get("Tag")), find(request, "Input.Object")
    inputs = KnownInputs(job_placeholders=kind.placeholders, object=key if isinstance(key, str) else None)
    yield from request_problems(request, kind, inputs)


def request_problems(request: Tree, kind: JobType, inputs: KnownInputs) -> Iterator[Problem]:
    """Yield the rules that a request breaks.

    :param kind: the type of the job.
    :param inputs: what is known of its inputs, whose names may become part of the results' keys.
    """
    tag = request.get("Tag")
    if not (isinstance(tag, str) and _TAG.fullmatch(tag)):
        yield Problem("Tag", tag, "the type of the job, for instance VoiceSeparate")
    if not inputs.is_batch:
        yield from _input_problems(request.get("Input"), kind)
    operation = request.get("Operation")
    if operation is not None and not isinstance(operation, Mapping):  # a list would be several paid jobs
        yield Problem("Operation", operation, "a dict of elements")
        return
    yield from _operation_problems(operation or {}, kind, inputs)
    yield from id_problems("QueueId", request.get("QueueId"), optional=True)
    yield from _callback_problems(request)


def _input_problems(source: object, kind: JobType) -> Iterator[Problem]:
    key, url = find(source, "Object"), find(source, "Url")
    if kind.input is Need.FORBIDDEN:
        if source is not None:
            field = "Input.Object" if key is not None else "Input.Url" if url is not None else "Input"
            yield Problem(
                field, key or url or source, f"no input, because a job with Tag {kind.tag} has none"
            )
        return
    if source is not None and not isinstance(source, Mapping):
        yield Problem("Input", source, "a dict of elements")
        return
    if url is not None and url != "" and not is_web_address(str(url)):
        yield Problem("Input.Url", redact_address(str(url)), "an absolute http or https URL")
    if key is None and (url or kind.input is Need.OPTIONAL):
        return
    yield from key_problems("Input.Object", key)
    if not is_object_key(key):
        return
    if key == "None":
        yield Problem("Input.Object", key, "an object key; this is the string that Python makes of None")
    elif object_address(key):
        yield address_problem("Input.Object", key)
    elif allowed := key_rule_violation(key):
        yield Problem("Input.Object", key, allowed)


def _operation_problems(operation: Tree, kind: JobType, inputs: KnownInputs) -> Iterator[Problem]:
    yield from id_problems("Operation.TemplateId", operation.get("TemplateId"), optional=True)
    yield from _output_problems(operation, kind, inputs)
    yield from kind.operation_problems(operation, inputs)
    yield from _JOB_LEVEL.problems("Operation.JobLevel", operation.get("JobLevel"))
    yield from _USER_DATA.problems("Operation.UserData", operation.get("UserData"))


def _output_problems(operation: Tree, kind: JobType, inputs: KnownInputs) -> Iterator[Problem]:
    output = operation.get("Output")
    if kind.output is Need.FORBIDDEN:
        if output is not None:
            yield Problem(
                "Operation.Output", output, f"no output, because a job with Tag {kind.tag} makes no file"
            )
        return
    if output is None and kind.output is Need.OPTIONAL:
        return
    for name, rule in (("Bucket", _BUCKET), ("Region", _REGION)):
        value = find(output, name)
        if value is None or not rule.accepts(value):
            yield Problem(f"Operation.Output.{name}", value, rule.allowed)
    for element in kind.required_objects:
        if find(output, element) is None:
            yield Problem(output_field(kind, element), None, "an object key")
    extension = kind.extension(operation)
    for element, key in kind.result_key_values(operation):
        yield from _result_key_problems(output_field(kind, element), key, inputs, extension)
    keys = [*kind.result_keys(operation).values()]
    if len(set(keys)) < len(keys):
        allowed = "different keys, or one result would overwrite another"
        yield Problem("Operation.Output's object keys", keys, allowed)


def _result_key_problems(
    field: str, key: Any, inputs: KnownInputs, extension: str | None
) -> Iterator[Problem]:
    yield from key_problems(field, key)
    if not is_object_key(key):
        return
    if object_address(key):
        yield address_problem(field, key)
    elif allowed := placeholder_problem(key, inputs) or cos_problem(key, inputs, extension):
        yield Problem(field, key, allowed)


def output_field(kind: JobType, element: str) -> str:
    """Return how messages name the key of a result; of voice separation, with what the result is."""
    return f"Operation.Output.{OUTPUT_LABELS[element] if kind.tag == VOICE_SEPARATE else element}"


def _callback_problems(request: Tree) -> Iterator[Problem]:
    url = request.get("CallBack")
    if url not in (None, "no", AUTO) and not (isinstance(url, str) and is_web_address(url)):
        yield Problem("CallBack", redact_address(str(url)), f"an absolute http or https URL, {AUTO}, or no")
    if url == AUTO and request.get("CallBackType") not in (None, "Url"):
        yield Problem("CallBack", url, f"not {AUTO} if CallBackType is {request['CallBackType']}")
    for name, rule in _CALLBACK_RULES.items():
        yield from rule.problems(name, request.get(name))
    mq, kafka = find_tree(request, "CallBackMqConfig"), find_tree(request, "CallBackKafkaConfig")
    for name, receiver in (("CallBackMqConfig", "TDMQ"), ("CallBackKafkaConfig", "Kafka")):
        config = request.get(name)
        if (config is not None) != (request.get("CallBackType") == receiver):
            yield Problem(name, config, f"given exactly when CallBackType is {receiver}")
    if request.get("CallBackMqConfig") is not None:
        for name, rule in _MQ_RULES.items():
            yield from rule.problems(f"CallBackMqConfig.{name}", mq.get(name))
        yield from text_problems("CallBackMqConfig.MqName", mq.get("MqName"))
    if request.get("CallBackKafkaConfig") is not None:
        region = kafka.get("Region")
        if region is None or not _REGION.accepts(region):
            yield Problem("CallBackKafkaConfig.Region", region, _REGION.allowed)
        yield from text_problems("CallBackKafkaConfig.InstanceId", kafka.get("InstanceId"))
        yield from text_problems("CallBackKafkaConfig.Topic", kafka.get("Topic"))
