"""The documented rules of templates, queues and batch jobs, checked before anything is sent.

Sources: 436/84510 (templates), 460/42324 (queues), 460/80155 (batch jobs). What a job and a batch job have in
common is checked by :mod:`.validation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.fields import Draft, Drafts, mistyped
from airflow_provider_ci.protocol.names import (
    ACTIVE,
    KEY_BYTES_MAX,
    PAUSED,
    VOICE_SEPARATE,
    object_address,
    shown_address,
    utf8_length,
)
from airflow_provider_ci.protocol.result_keys import KnownInputs, is_of_its_own
from airflow_provider_ci.protocol.validation import (
    ID,
    OUTPUTS,
    is_object_key,
    is_web_address,
    parameter_problems,
    problems,
    result_problems,
)

if TYPE_CHECKING:  # DAG files load this module, and making all models takes too long for them
    from airflow_provider_ci.protocol.admin_models import (
        BatchInput,
        BatchOperation,
        BatchRequest,
        NotifyConfig,
        Queue,
        QueueRequest,
        TemplateRequest,
    )
    from airflow_provider_ci.protocol.models import Output, VoiceSeparateRequest

TEMPLATE_NAME_MAX = 64
QUEUE_NAME_MAX = 128
BATCH_NAME_MAX = 128

_NOTHING: Any = Draft()
_CHINESE = "\u3400-\u9fff"
_NAME = re.compile(f"[{_CHINESE}A-Za-z0-9_*-]+")
_BATCH_NAME = re.compile(f"[{_CHINESE}A-Za-z0-9_-]+")
# The last one is known from samples of Tencent's SDKs only
_EVENTS = ("TaskFinish", "WorkflowFinish", "TransCodingFinish")
_NOTIFY_TYPES = ("Url", "TDMQ", "Kafka")
_FORMATS = ("XML", "JSON")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")


def check_id(field: str, value: object) -> None:
    """Refuse what cannot be an id before it reaches a path.

    :raises RequestValidationError: naming the field.
    """
    if not (isinstance(value, str) and ID.fullmatch(value)):
        raise RequestValidationError(
            [f"{field} is {value!r}, allowed: letters, digits, _ and -, at most 128"]
        )


def check_choice(field: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value outside a list.

    :raises RequestValidationError: naming the field.
    """
    if value not in allowed:
        raise RequestValidationError([f"{field} is {value!r}, allowed: {', '.join(allowed)}"])


def check_template(template: TemplateRequest) -> None:
    """Refuse a template that breaks a documented rule.

    :raises RequestValidationError: naming every such field, what was given and what is allowed.
    """
    _refuse(_wrong_types(template) or list(_template(template)))


def check_queue(queue: QueueRequest, as_read: Queue | None = None) -> None:
    """Refuse a queue's definition that breaks a documented rule.

    :param as_read: the queue as the service described it. What is kept of it is not checked: the service has
        values that no page names.
    :raises RequestValidationError: naming every such field, what was given and what is allowed.
    """
    _refuse(_wrong_types(queue) or list(_queue(queue, as_read or _NOTHING)))


def check_batch(batch: BatchRequest) -> None:
    """Refuse a batch job that breaks a documented rule, or in which results would overwrite each other.

    :raises RequestValidationError: naming every such field, what was given and what is allowed.
    """
    _refuse(_wrong_types(batch) or list(_batch(batch)))


def job_of_batch(operation: BatchOperation, input_object: str) -> VoiceSeparateRequest:
    """Return the request for one job of a batch job."""
    from airflow_provider_ci.protocol import models

    job: VoiceSeparateRequest = _job_of_batch(operation, input_object, models)
    return job


def _job_of_batch(operation: BatchOperation, input_object: str, models: Any) -> Any:
    param = operation.job_param or _NOTHING
    return models.VoiceSeparateRequest(
        tag=operation.tag,
        input=models.Input(object=input_object),
        operation=models.Operation(
            template_id=param.template_id,
            voice_separate=param.voice_separate,
            output=operation.output,
            user_data=operation.user_data,
            job_level=operation.job_level,
        ),
        queue_id=operation.queue_id,
        callback_url=operation.callback_url,
        callback_format=operation.callback_format,
        callback_type=operation.callback_type,
        callback_mq_config=operation.callback_mq_config,
        callback_kafka_config=operation.callback_kafka_config,
    )


def _refuse(broken: list[str]) -> None:
    if broken:
        raise RequestValidationError(broken)


def _wrong_types(request: Any) -> list[str]:
    kinds = {str: "a text", int: "a whole number"}
    return [
        f"{field} is {value!r}, allowed: {kinds.get(kind, kind.__name__)}"
        for field, value, kind in mistyped(request)
    ]


def _name(name: str | None, longest: int, allowed: re.Pattern[str], words: str) -> Iterator[str]:
    if not name or len(name) > longest or not allowed.fullmatch(name):
        yield f"Name is {name!r}, allowed: Chinese, letters, digits, {words}, at most {longest} characters"


def _template(template: TemplateRequest) -> Iterator[str]:
    if template.tag != VOICE_SEPARATE:
        yield f"Tag is {template.tag!r}, allowed: {VOICE_SEPARATE}"
    yield from _name(template.name, TEMPLATE_NAME_MAX, _NAME, "_ - *")
    if template.audio_mode is None:
        yield "AudioMode is None, allowed: a mode; a template must name one"
    if template.audio_config is None:
        yield "AudioConfig is None, allowed: a container, which may be empty; the service demands it"
    parameters: Any = Draft(audio_mode=template.audio_mode, audio_config=template.audio_config)
    yield from map(str, parameter_problems(parameters, ""))


def _queue(queue: QueueRequest, as_read: Queue) -> Iterator[str]:
    if queue.name is None or queue.name != as_read.name:
        yield from _name(queue.name, QUEUE_NAME_MAX, _NAME, "_ - *")
    if queue.state is None or queue.state not in (ACTIVE, PAUSED, as_read.state):
        yield f"State is {queue.state!r}, allowed: {ACTIVE}, {PAUSED}"
    if queue.notify_config is None:
        yield "NotifyConfig is None, allowed: the queue's callbacks; the service demands them"
    elif queue.notify_config != as_read.notify_config:
        yield from _notify(queue.notify_config)


def _notify(notify: NotifyConfig) -> Iterator[str]:
    is_on = notify.state == "On"
    for name, value, allowed in (
        ("State", notify.state, ("On", "Off")),
        ("ResultFormat", notify.result_format, _FORMATS),
        ("Type", notify.type, _NOTIFY_TYPES),
    ):
        if value not in (None, *allowed):
            yield f"NotifyConfig.{name} is {value!r}, allowed: {', '.join(allowed)}"
    events = [part for part in (notify.event or "").split(",") if part]
    if (is_on and not events) or not set(events) <= set(_EVENTS):
        yield f"NotifyConfig.Event is {notify.event!r}, allowed: a comma list of {', '.join(_EVENTS)}"
    if is_on and notify.type is None:
        yield f"NotifyConfig.Type is None, allowed: {', '.join(_NOTIFY_TYPES)}, when State is On"
    if is_on and notify.type == "Url" and not _is_callback_address(notify.url or ""):
        shown = shown_address(notify.url or "")
        yield (
            "NotifyConfig.Url is not an absolute http or https URL, which it must be when Type is Url: it is"
            f" {shown!r}"
        )
    if is_on and notify.type == "TDMQ" and not (notify.mq_mode and notify.mq_region and notify.mq_name):
        yield "NotifyConfig lacks MqMode, MqRegion or MqName, which must be given when Type is TDMQ"
    if is_on and notify.type == "Kafka" and notify.kafka_config is None:
        yield "NotifyConfig.KafkaConfig is None, allowed: given when Type is Kafka"


def _is_callback_address(text: str) -> bool:
    """Tell whether a queue can have this address; samples of Tencent's SDKs have one without scheme."""
    host = re.split("[:/?#]", text, maxsplit=1)[0]
    return is_web_address(text) or ("." in host and is_web_address(f"http://{text}"))


def _batch(batch: BatchRequest) -> Iterator[str]:
    yield from _name(batch.name, BATCH_NAME_MAX, _BATCH_NAME, "_ -")
    if batch.type != "Job":
        yield f"Type is {batch.type!r}, allowed: Job (workflows are not supported here)"
    yield from _batch_input(batch.input or _NOTHING)
    operation = batch.operation or _NOTHING
    job, inputs = _job_of_batch(operation, "any", Drafts()), known_inputs(batch)
    for problem in (*problems(job), *result_problems(job.operation or _NOTHING, inputs)):
        field = problem.field.removeprefix("Operation.")
        if field.startswith(("VoiceSeparate", "TemplateId")):
            field = f"JobParam.{field}"
        yield f"Operation.{field}{str(problem)[len(problem.field) :]}"
    if inputs.are_several:
        yield from _keys_of_their_own(operation.output or _NOTHING)
    interval = operation.time_interval
    for name, text in (("Start", interval.start), ("End", interval.end)) if interval else ():
        if text is not None and not _TIME.fullmatch(text):
            yield (
                f"Operation.TimeInterval.{name} is {text!r}, allowed: a time as in 2025-01-01T00:00:00+0800"
            )


def known_inputs(batch: BatchRequest) -> KnownInputs:
    """Return what a batch job's request tells of its inputs."""
    given = batch.input or _NOTHING
    return KnownInputs(is_batch=True, object=given.object, prefix=given.prefix)


def _batch_input(given: BatchInput) -> Iterator[str]:
    values = {
        "Manifest": given.manifest,
        "UrlFile": given.url_file,
        "Prefix": given.prefix,
        "Object": given.object,
    }
    named = {name: value for name, value in values.items() if value is not None}
    if len(named) != 1:
        yield f"Input has {', '.join(named) or 'nothing'}, allowed: exactly one of {', '.join(values)}"
    for name, value in named.items():
        if name in ("Prefix", "Object") and not is_object_key(value):
            yield f"Input.{name} is {value!r}, allowed: {name.lower()} of keys, without / at its begin"
        elif name in ("Manifest", "UrlFile") and not (value and value.isprintable()):
            yield f"Input.{name} is {value!r}, allowed: the URL or key of a file"
        elif problem := _address_instead_of_key(name, value):
            yield problem
        elif name in ("Prefix", "Object") and utf8_length(value) > KEY_BYTES_MAX:
            yield f"Input.{name} has {utf8_length(value)} bytes in UTF-8, allowed: at most {KEY_BYTES_MAX}"


def _address_instead_of_key(name: str, value: str) -> str | None:
    address = object_address(value)
    if address is None or (name in ("Manifest", "UrlFile") and value.lower().startswith(("http:", "https:"))):
        return None
    wanted = {"Manifest": "the URL or key of a file", "UrlFile": "the URL or key of a file"}.get(name, "keys")
    return f"Input.{name} is {shown_address(value)!r}, allowed: {wanted}, here {address.key!r}"


def _keys_of_their_own(output: Output) -> Iterator[str]:
    """Each input needs result keys of its own, or the results overwrite each other."""
    for name, element in OUTPUTS.items():
        key = getattr(output, name)
        if key and not is_of_its_own(key):
            yield (
                f"Operation.Output.{element} is {key!r}, allowed: a key that differs between all inputs: one"
                " with ${jobid}, or with ${InputPath} and ${InputNameAndExt} and a / between them; or results"
                " overwrite each other"
            )
