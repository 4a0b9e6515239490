"""The documented rules of a batch job's request (460/80155), checked before anything is sent.

DAG files load this module, so it loads neither the models nor the XML library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.fields import LightModel
from airflow_provider_ci.protocol.job_rules import request_problems
from airflow_provider_ci.protocol.names import (
    KEY_BYTES_MAX,
    is_object_key,
    object_address,
    redact_address,
    utf8_length,
)
from airflow_provider_ci.protocol.result_keys import KnownInputs, differs_between_inputs
from airflow_provider_ci.protocol.rules import Problem, name_problems, raise_if_any, type_problems
from airflow_provider_ci.protocol.voice_separation import OUTPUTS, result_problems

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.batches import BatchInput, BatchOperation, BatchRequest
    from airflow_provider_ci.protocol.jobs import Output

_EMPTY: Any = LightModel()

BATCH_NAME_MAX = 128
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")


def check_batch(batch: BatchRequest) -> None:
    """Check a batch job, also for results that the service would bill although they would be lost.

    :raises RequestValidationError: naming every field that breaks a rule, its value and what is allowed.
    """
    raise_if_any(type_problems(batch) or _problems(batch))


def _problems(batch: BatchRequest) -> Iterator[Problem | str]:
    yield from name_problems(batch.name, BATCH_NAME_MAX, asterisk=False)
    if batch.type != "Job":
        yield Problem("Type", batch.type, "Job (workflows are not supported here)")
    yield from _input_problems(batch.input or _EMPTY)
    operation, inputs = batch.operation or _EMPTY, known_inputs(batch)
    job = _job_of(operation)
    for problem in (*request_problems(job), *result_problems(job.operation, inputs)):
        yield replace(problem, field=_field_in_batch(problem.field))
    if inputs.are_several:
        yield from _shared_key_problems(operation.output or _EMPTY)
    interval = operation.time_interval or _EMPTY
    for name, time in (("Start", interval.start), ("End", interval.end)):
        if time is not None and not _TIME.fullmatch(time):
            yield Problem(f"Operation.TimeInterval.{name}", time, "a time as in 2025-01-01T00:00:00+0800")


def _job_of(operation: BatchOperation) -> Any:
    """Return the request of one of the jobs, as far as rules of jobs look at it."""
    parameters = operation.job_param or _EMPTY
    return LightModel(
        tag=operation.tag,
        input=LightModel(object="any"),
        operation=LightModel(
            template_id=parameters.template_id,
            voice_separate=parameters.voice_separate,
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


def _field_in_batch(field: str) -> str:
    """Return where a batch job has a field of a job: all are in its ``Operation``."""
    name = field.removeprefix("Operation.")
    is_parameter = name.startswith(("VoiceSeparate", "TemplateId"))
    return f"Operation.JobParam.{name}" if is_parameter else f"Operation.{name}"


def known_inputs(batch: BatchRequest) -> KnownInputs:
    """Return what the request says about its inputs."""
    source = batch.input or _EMPTY
    return KnownInputs(is_batch=True, object=source.object, prefix=source.prefix)


def _input_problems(source: BatchInput) -> Iterator[Problem | str]:
    values = {
        "Manifest": source.manifest,
        "UrlFile": source.url_file,
        "Prefix": source.prefix,
        "Object": source.object,
    }
    given = {name: value for name, value in values.items() if value is not None}
    if len(given) != 1:
        yield f"Input has {', '.join(given) or 'nothing'}, allowed: exactly one of {', '.join(values)}"
    for name, value in given.items():
        field = f"Input.{name}"
        yield from (
            _key_problems(field, value) if name in ("Prefix", "Object") else _file_problems(field, value)
        )


def _key_problems(field: str, key: str) -> Iterator[Problem | str]:
    if not is_object_key(key):
        kind = "an object key" if field == "Input.Object" else "a prefix of object keys"
        yield Problem(field, key, f"{kind}, which does not begin with /")
    elif address := object_address(key):
        yield Problem(field, redact_address(key), f"keys, here {address.key!r}")
    elif (length := utf8_length(key)) > KEY_BYTES_MAX:
        yield f"{field} has {length} bytes in UTF-8, allowed: at most {KEY_BYTES_MAX}"


def _file_problems(field: str, file: str) -> Iterator[Problem]:
    allowed = "the URL or key of a file"
    if not (file and file.isprintable()):
        yield Problem(field, file, allowed)
    elif (address := object_address(file)) and not file.lower().startswith(("http:", "https:")):
        yield Problem(field, redact_address(file), f"{allowed}, here {address.key!r}")


def _shared_key_problems(output: Output) -> Iterator[Problem]:
    """Yield a problem for each result key that several inputs could get, which would overwrite each other."""
    for name, element in OUTPUTS.items():
        key = getattr(output, name)
        if key and not differs_between_inputs(key):
            allowed = (
                "a key that differs between all inputs: one with ${jobid}, or with ${InputPath} and"
                " ${InputNameAndExt} and a / between them; or results overwrite each other"
            )
            yield Problem(f"Operation.Output.{element}", key, allowed)
