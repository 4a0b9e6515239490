"""The documented rules of a batch job's request (460/80155), checked before anything is sent.

DAG files load this module, so it loads neither the models nor the XML library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from airflow_provider_ci.protocol.job_rules import output_field, request_problems
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.names import (
    KEY_BYTES_MAX,
    is_object_key,
    object_address,
    redact_address,
    utf8_length,
)
from airflow_provider_ci.protocol.result_keys import KnownInputs, differs_between_inputs
from airflow_provider_ci.protocol.rules import Problem, name_problems, raise_if_any
from airflow_provider_ci.protocol.tree import Tree, find, find_tree, structure_problems

BATCH_NAME_MAX = 128
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")
_INPUTS = ("Manifest", "UrlFile", "Prefix", "Object")
_INPUT_COUNT = "Input has "
# What a batch job has in its Operation, and a job outside of it
_OUTSIDE_OF_OPERATION = (
    *("QueueId", "CallBack", "CallBackFormat", "CallBackType"),
    *("CallBackMqConfig", "CallBackKafkaConfig"),
)


def check_batch(batch: Tree) -> None:
    """Check a batch job, and that none of its results, which are paid for, would be lost.

    :param batch: the content of the element ``Request``.
    :raises RequestValidationError: naming every field that breaks a rule, its value and what is allowed.
    """
    raise_if_any(structure_problems(batch) or _problems(batch))


def _problems(batch: Tree) -> Iterator[Problem | str]:
    yield from name_problems(batch.get("Name"), BATCH_NAME_MAX, asterisk=False)
    if batch.get("Type") != "Job":
        yield Problem("Type", batch.get("Type"), "Job (workflows are not supported here)")
    yield from _input_problems(find_tree(batch, "Input"))
    job, inputs = job_of_batch(batch), known_inputs(batch)
    kind = job_type(job["Tag"])
    if not kind.is_in_batches:
        yield Problem("Operation.Tag", job["Tag"], "a type of job that batch jobs know")
    for problem in request_problems(job, kind, inputs):
        yield replace(problem, field=_field_in_batch(problem.field, kind.parameters))
    if inputs.are_several:
        for element, key in kind.result_keys(job["Operation"]).items():
            yield from _shared_key_problems(output_field(kind, element), key)
    for name in ("Start", "End"):
        time = find(batch, f"Operation.TimeInterval.{name}")
        if time is not None and not _TIME.fullmatch(str(time)):
            yield Problem(f"Operation.TimeInterval.{name}", time, "a time as in 2025-01-01T00:00:00+0800")


def job_of_batch(batch: Tree) -> dict[str, dict[str, object]]:
    """Return the request of one of the jobs that a batch job makes, without its input."""
    operation = find_tree(batch, "Operation")
    inside = {
        name: value
        for name, value in operation.items()
        if name not in (*_OUTSIDE_OF_OPERATION, "Tag", "JobParam", "TimeInterval")
    }
    outside = {name: operation[name] for name in _OUTSIDE_OF_OPERATION if name in operation}
    return {
        "Tag": operation.get("Tag"),
        "Operation": {**find_tree(operation, "JobParam"), **inside},
        **outside,
    }


def _field_in_batch(field: str, parameters: tuple[str, ...]) -> str:
    """Return where a batch job has a field of a job: all are in its ``Operation``."""
    name = field.removeprefix("Operation.")
    if name == "Operation":
        return "Operation.JobParam"
    is_parameter = name.partition(".")[0] in (*parameters, "TemplateId")
    return f"Operation.JobParam.{name}" if is_parameter else f"Operation.{name}"


def is_input_count_problem(problem: str) -> bool:
    """Tell whether a problem is that a batch job does not have exactly one source of inputs."""
    return problem.startswith(_INPUT_COUNT)


def known_inputs(batch: Tree) -> KnownInputs:
    """Return what the request says about its inputs."""
    key, prefix = find(batch, "Input.Object"), find(batch, "Input.Prefix")
    return KnownInputs(
        is_batch=True,
        job_placeholders=job_type(find(batch, "Operation.Tag")).placeholders,
        object=key if isinstance(key, str) else None,
        prefix=prefix if isinstance(prefix, str) else None,
    )


def _input_problems(source: Tree) -> Iterator[Problem | str]:
    given = {name: source[name] for name in _INPUTS if source.get(name) is not None}
    if len(given) != 1:
        yield f"{_INPUT_COUNT}{', '.join(given) or 'nothing'}, allowed: exactly one of {', '.join(_INPUTS)}"
    for name, value in given.items():
        field = f"Input.{name}"
        if not isinstance(value, str):
            yield Problem(field, value, "a string")
        else:
            yield from (_key_problems if name in ("Prefix", "Object") else _file_problems)(field, value)


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


def _shared_key_problems(field: str, key: str) -> Iterator[Problem]:
    """Yield a problem if several inputs could get the same result key, and overwrite each other's results."""
    if not differs_between_inputs(key):
        allowed = (
            "a key that differs between all inputs: one with ${jobid}, or with ${InputPath} and"
            " ${InputNameAndExt} and a / between them; or results overwrite each other"
        )
        yield Problem(field, key, allowed)
