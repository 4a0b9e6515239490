"""Refuses a task's arguments: when the DAG is parsed, as far as they are no templates, and when it runs.

A task whose arguments or connection cannot work fails without retry, for a retry would find the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_ci.exceptions import ConfigurationError, RequestValidationError, TencentCIError
from airflow_provider_ci.operators.arguments import LONGEST, is_settled, read_arguments, read_untemplated
from airflow_provider_ci.protocol.fields import LightModels
from airflow_provider_ci.protocol.names import BUCKET, REGION


class TaskArgumentError(RequestValidationError, AirflowFailException):
    """The arguments of a task cannot work: it fails without retry."""


class TaskConnectionError(ConfigurationError, AirflowFailException):
    """The connection of a task cannot work, or lacks what no argument gives: it fails without retry."""


@contextmanager
def without_retry() -> Iterator[None]:
    """Let the task fail at once when its arguments or its connection are wrong.

    Only for the checks that come before anything is sent. What the service refuses, a person may mend between
    two tries: a permission, a queue, an object that was not there yet.
    """
    try:
        yield
    except AirflowFailException:
        raise
    except RequestValidationError as error:
        raise _same(error, TaskArgumentError) from None
    except ConfigurationError as error:
        raise _same(error, TaskConnectionError) from None


def name_arguments(problem: str) -> str:
    """Return what is wrong with a request, with the operator's argument in place of Tencent's path."""
    parts = _PROBLEM.fullmatch(problem)
    if parts is None:
        return problem
    path, given = parts["path"], parts["given"]
    ends = (path.split(".", skipped)[-1] for skipped in range(path.count(".") + 1))
    argument = next((_ARGUMENT_OF[end] for end in ends if end in _ARGUMENT_OF), None)
    if argument is None:
        return problem
    what, allowed, rule = given.partition(", allowed: ")
    if " and " in argument:
        what = what.replace(" is ", " are ", 1)
    return f"{argument}{what}{allowed}{_MENTIONED.sub(_mentioned_argument, rule)}"


def _mentioned_argument(found: re.Match[str]) -> str:
    name = found[0].partition(" (")[0]
    return _ARGUMENT_OF.get(name) or _ARGUMENT_OF.get(f"Output.{name}") or found[0]


def _same(error: TencentCIError, kind: type[TencentCIError]) -> TencentCIError:
    message = error.message
    for problem in getattr(error, "problems", ()):
        message = message.replace(problem, name_arguments(problem))
    return kind(message, **error.details)


# What templates may render to: values that no rule refuses. No template_id, with which parameters are refused
_STAND_INS: dict[str, Any] = {
    "input_object": "stand-in/input",
    "background_object": "stand-in/object-${jobid}",
    "voice_object": "stand-in/voice_object-${jobid}",
    "bass_object": "stand-in/bass_object-${jobid}",
    "drum_object": "stand-in/drum_object-${jobid}",
    "output_bucket": "stand-in-1250000000",
    "output_region": "ap-guangzhou",
    "audio_mode": "MusicMode",  # in which rates are ignored
    "codec": "wav",  # for which all rates are allowed
    "samplerate": 44100,
    "bitrate": 128,
    "channels": 2,
    "job_level": 0,
    "queue_id": "stand-in",
    "callback_url": "no",
    "callback_format": "XML",
    "callback_type": "Url",  # or the kind whose configuration is given
    "callback_mq_config": {"mq_region": "sh", "mq_mode": "Queue", "mq_name": "stand-in"},
    "callback_kafka_config": {"region": "ap-guangzhou", "instance_id": "stand-in", "topic": "stand-in"},
    "prefix": "stand-in-prefix/",
    "manifest": "stand-in",
    "url_file": "stand-in",
    "name": "stand-in",
    "job_id": "stand-in",
    "tencent_ci_conn_id": "stand-in",
}
# Which callback_type each of these arguments is for
_TYPE_OF_CONFIG = {"callback_mq_config": "TDMQ", "callback_kafka_config": "Kafka"}
_DICTS = ("time_interval", *_TYPE_OF_CONFIG)
# What is never taken from anywhere else when nothing is given
_NOTHINGS = {name: _STAND_INS[name] for name in ("name", "tencent_ci_conn_id")}
# The element of a request, by the end of its path, and the argument that it is made of
_ARGUMENT_OF = {
    "Input.Object": "input_object",
    "Input.Prefix": "prefix",
    "Input.Manifest": "manifest",
    "Input.UrlFile": "url_file",
    "Output's object keys": "background_object, voice_object, bass_object and drum_object",
    "Output.Object and AuObject": "background_object and voice_object",
    "Output.Object": "background_object",
    "Output.AuObject": "voice_object",
    "Output.BassObject": "bass_object",
    "Output.DrumObject": "drum_object",
    "Output.Bucket": "output_bucket",
    "Output.Region": "output_region",
    "TemplateId": "template_id",
    "AudioMode": "audio_mode",
    "Codec": "codec",
    "Samplerate": "samplerate",
    "Bitrate": "bitrate",
    "Channels": "channels",
    "UserData": "user_data",
    "JobLevel": "job_level",
    "QueueId": "queue_id",
    "CallBack": "callback_url",
    "CallBackFormat": "callback_format",
    "CallBackType": "callback_type",
    "CallBackMqConfig": "callback_mq_config",
    "CallBackMqConfig.MqRegion": "callback_mq_config.mq_region",
    "CallBackMqConfig.MqMode": "callback_mq_config.mq_mode",
    "CallBackMqConfig.MqName": "callback_mq_config.mq_name",
    "CallBackKafkaConfig": "callback_kafka_config",
    "CallBackKafkaConfig.Region": "callback_kafka_config.region",
    "CallBackKafkaConfig.InstanceId": "callback_kafka_config.instance_id",
    "CallBackKafkaConfig.Topic": "callback_kafka_config.topic",
    "TimeInterval.Start": "time_interval.start",
    "TimeInterval.End": "time_interval.end",
    "Name": "name",
}
# What a rule says of other elements; what was given is in quotes, and stays as it is
_MENTIONED = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?:AudioMode|CallBackType|(?:Au|Bass|Drum)?Object)\b"""
    r"(?: \((?:background|voice)\))?"
)
_PROBLEM = re.compile(r"(?P<path>.+?)(?: \((?:background|voice)\))?(?P<given> (?:is|has) .*)", re.DOTALL)
_ENDPOINT = SimpleNamespace(bucket="the-connection-1250000000", region="ap-guangzhou")


def refuse(task_id: str, broken: Collection[str]) -> None:
    """Refuse a task while its DAG is parsed.

    :raises TaskArgumentError: there is something in ``broken``.
    """
    if broken:
        raise TaskArgumentError(f"Task {task_id!r} cannot work: {'; '.join(broken)}")


def check_when_parsed(operator: Any) -> None:
    """Refuse a new task whose arguments cannot work whatever its templates render to.

    The last thing that the constructor of an operator does. A class of a user's own may set attributes
    later, or understand arguments in its own way, so its request is looked at when it runs.

    :raises TaskArgumentError: naming each such argument, what was given and what is allowed.
    """
    broken = _untemplated_problems(operator, operator.__dict__)
    operator.templated_arguments = {
        name: getattr(operator, name)
        for name in operator.template_fields
        if not is_settled(getattr(operator, name, None))
    }
    if not broken and _is_ours(type(operator)):
        broken = _certain_problems(operator, operator.__dict__, operator.templated_arguments)
    refuse(operator.task_id, broken)


def check_mapped(operator_class: Any, partial: Any) -> None:
    """Refuse a task that is about to be mapped, if it cannot work whatever it is mapped over.

    :param partial: what the operator's ``partial`` has made.
    :raises TaskArgumentError: naming each such argument, what was given and what is allowed.
    """
    values = dict(partial.kwargs)
    broken = _untemplated_problems(operator_class, values)
    if not broken and _is_ours(operator_class):
        unknown = {
            name
            for name in operator_class.template_fields
            if name not in values or not is_settled(values[name])
        }
        broken = _certain_problems(operator_class, values, unknown)
    if broken:
        partial._expand_called = True  # or Airflow warns that the task was never mapped
    refuse(values["task_id"], broken)


def place_problems(operator: Any) -> list[str]:
    """Return what is wrong with the arguments that name the connection, the bucket and the region."""
    try:
        texts, _ = read_arguments(operator, ("tencent_ci_conn_id", "bucket", "region"))
    except RequestValidationError as error:
        return [*error.problems]
    if not texts["tencent_ci_conn_id"]:
        return [f"tencent_ci_conn_id is {operator.tencent_ci_conn_id!r}, allowed: the id of a connection"]
    return []


def _untemplated_problems(operator: Any, values: MutableMapping[str, Any]) -> list[str]:
    """Read what is never a template, and return what is wrong with it, also with what Airflow alone reads."""
    broken = read_untemplated(operator, values)
    limit = values.get("execution_timeout")
    if isinstance(limit, timedelta) and limit > LONGEST:
        broken.append(f"execution_timeout is {limit!r}, allowed: at most {LONGEST.days} days")
    return broken


def _is_ours(operator_class: type[Any]) -> bool:
    return operator_class.__module__.startswith("airflow_provider_ci.")


def _certain_problems(operator: Any, values: Mapping[str, Any], unknown: Collection[str]) -> list[str]:
    """Return the problems that there are when every template renders to a good value, and also when every one
    renders to nothing.
    """
    operator_class = operator if isinstance(operator, type) else type(operator)
    broken = _problems(operator_class, {**values, **_filled(unknown, values, _NOTHINGS)})
    if broken and unknown:
        stand_ins = dict(_STAND_INS)
        for name, kind in _TYPE_OF_CONFIG.items():
            if name not in unknown and values.get(name):
                stand_ins["callback_type"] = kind
        rendered = _problems(operator_class, {**values, **_filled(unknown, values, stand_ins)})
        also = {_subject(problem): problem for problem in rendered}
        broken = [problem for problem in broken if _subject(problem) in also]
        if "codec" in unknown:  # the rule of the stand-in, which allows what any codec allows
            said = f" with codec {stand_ins['codec']}"
            broken = [
                rule.replace(said, ", depending on codec")
                if (rule := also[_subject(each)]).endswith(said)
                else each
                for each in broken
            ]
    return broken


def _subject(problem: str) -> str:
    """Return which argument was given what; what is allowed may depend on others."""
    return problem.partition(", allowed")[0]


def _filled(
    unknown: Collection[str], values: Mapping[str, Any], stand_ins: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments that are not known, with stand-ins for what is a template. What is none is kept:
    one bound of a time interval beside another, one id among others.
    """
    filled = {}
    for name in unknown:
        value, stand_in = values.get(name), stand_ins.get(name)
        if name in _DICTS and isinstance(value, dict):
            parts = stand_in or {}
            kept = {key: part if is_settled(part) else parts.get(key) for key, part in value.items()}
            stand_in = {**parts, **kept}
        elif name == "job_id" and isinstance(value, list | tuple | set | frozenset):
            stand_in = [each for each in value if is_settled(each)]
        filled[name] = stand_in
    return filled


def _problems(operator_class: type[Any], values: Mapping[str, Any]) -> list[str]:
    draft = object.__new__(operator_class)
    draft.__dict__.update(values, models=LightModels(), templated_arguments={})
    try:
        draft.check_draft(_ENDPOINT)
    except RequestValidationError as error:
        return [*_form_problems(values), *map(name_arguments, error.problems)]
    return _form_problems(values)


def _form_problems(values: Mapping[str, Any]) -> list[str]:
    forms = (
        ("bucket", BUCKET, "<name>-<appid>, for instance media-1250000001"),
        ("region", REGION, "a region, for instance ap-guangzhou"),
    )
    return [
        f"{name} is {values[name]!r}, allowed: {allowed}"
        for name, form, allowed in forms
        if isinstance(values.get(name), str) and values[name] and not form.fullmatch(values[name])
    ]
