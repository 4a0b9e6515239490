"""The documented rules of a batch job's request (460/80155), checked before anything is sent.

DAG files load this module, so it loads neither the models nor the XML library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.fields import LightModel, LightModels
from airflow_provider_ci.protocol.job_rules import problems
from airflow_provider_ci.protocol.names import (
    KEY_BYTES_MAX,
    is_object_key,
    object_address,
    redact_address,
    utf8_length,
)
from airflow_provider_ci.protocol.result_keys import KnownInputs, is_of_its_own
from airflow_provider_ci.protocol.rules import (
    Problem,
    name_problems,
    raise_if_any,
    type_problems,
)
from airflow_provider_ci.protocol.voice_separation import (
    OUTPUTS,
    result_problems,
)

if TYPE_CHECKING:  # DAG files load this module, and making all models takes too long for them
    from airflow_provider_ci.protocol.batches import BatchInput, BatchOperation, BatchRequest
    from airflow_provider_ci.protocol.jobs import JobRequest, Output

_NOTHING: Any = LightModel()

BATCH_NAME_MAX = 128
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")


def check_batch(batch: BatchRequest) -> None:
    """Refuse a batch job that breaks a documented rule, or in which results would overwrite each other.

    :raises RequestValidationError: naming every such field, what was given and what is allowed.
    """
    raise_if_any(type_problems(batch) or _batch(batch))


def job_of_batch(operation: BatchOperation, input_object: str) -> JobRequest:
    """Return the request for one job of a batch job."""
    from airflow_provider_ci.protocol import jobs as models

    job: JobRequest = _job_of_batch(operation, input_object, models)
    return job


def _job_of_batch(operation: BatchOperation, input_object: str, models: Any) -> Any:
    param = operation.job_param or _NOTHING
    return models.JobRequest(
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


def _batch(batch: BatchRequest) -> Iterator[Problem | str]:
    yield from name_problems(batch.name, BATCH_NAME_MAX, asterisk=False)
    if batch.type != "Job":
        yield f"Type is {batch.type!r}, allowed: Job (workflows are not supported here)"
    yield from _batch_input(batch.input or _NOTHING)
    operation = batch.operation or _NOTHING
    job, inputs = _job_of_batch(operation, "any", LightModels()), known_inputs(batch)
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
    return f"Input.{name} is {redact_address(value)!r}, allowed: {wanted}, here {address.key!r}"


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
