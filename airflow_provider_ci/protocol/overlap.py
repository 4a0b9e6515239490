"""Whether results may overwrite an input, or become inputs themselves, if both are in one bucket.

The service accepts and bills such requests. DAG files load this module, so it loads neither the models nor
the XML library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.batch_rules import known_inputs
from airflow_provider_ci.protocol.fields import LightModel
from airflow_provider_ci.protocol.names import is_object_key, object_address
from airflow_provider_ci.protocol.result_keys import (
    KeyPattern,
    KnownInputs,
    can_begin_with,
    can_equal,
    key_pattern,
)
from airflow_provider_ci.protocol.rules import Problem, raise_if_any, type_problems
from airflow_provider_ci.protocol.voice_separation import OUTPUTS, keys_by_field, result_extension

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.batches import BatchRequest
    from airflow_provider_ci.protocol.jobs import JobRequest

_EMPTY: Any = LightModel()


def refuse_overlap(overlap: dict[str, str], request: JobRequest | BatchRequest) -> None:
    """Raise an error if results of ``request`` overlap with its inputs.

    :param overlap: what :func:`overlap_of_job` or :func:`overlap_of_batch` has returned.
    :raises RequestValidationError: naming the field of each such result.
    """
    if not overlap:
        return
    output = (request.operation or _EMPTY).output
    raise_if_any(
        Problem(f"Operation.Output.{OUTPUTS[name]}", getattr(output, name), allowed)
        for name, allowed in overlap.items()
    )


def overlap_of_job(request: JobRequest, bucket: str | None) -> dict[str, str]:
    """Return what is allowed instead for each result that may overwrite the input, by the result's field.

    :param bucket: the input's bucket.
    """
    if type_problems(request):
        return {}  # check_job rejects the request
    input_key: Any = (request.input or _EMPTY).object
    if not is_object_key(input_key):
        return {}
    operation = request.operation or _EMPTY
    extension = result_extension(operation.template_id, operation.voice_separate)
    return {
        name: f"another key than the input's, {input_key!r}, also when its placeholders are replaced"
        for name, _, pattern in _results_in(bucket, operation, KnownInputs(object=input_key), extension)
        if can_equal(pattern, input_key)
    }


def overlap_of_batch(request: BatchRequest, bucket: str | None) -> dict[str, str]:
    """Return what is allowed instead for each result that may overwrite an input or the list of inputs, or
    that the next batch job would take as an input and pay for, by the result's field.

    :param bucket: the inputs' bucket.
    """
    if type_problems(request):
        return {}  # check_batch rejects the request
    operation = request.operation or _EMPTY
    parameters = operation.job_param or _EMPTY
    extension = result_extension(parameters.template_id, parameters.voice_separate)
    return {
        name: (
            f"a key that {rule}, for instance"
            " 'out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}', or another bucket for the results"
        )
        for name, key, pattern in _results_in(bucket, operation, known_inputs(request), extension)
        if (rule := _broken_rule(request.input or _EMPTY, key, pattern))
    }


def _broken_rule(source: Any, key: str, pattern: KeyPattern) -> str | None:
    """Return the rule that a result's key breaks for these inputs; ``None`` if it breaks none."""
    lists = [each for file in (source.manifest, source.url_file) if (each := _key_of_file(file))]
    if source.prefix and can_begin_with(pattern, source.prefix):
        return (
            f"does not begin with the prefix {source.prefix!r}, whatever its placeholders become, or the"
            " next batch would separate this one's results"
        )
    if is_object_key(source.object) and can_equal(pattern, source.object):
        return f"cannot be the input's, {source.object!r}, which would be overwritten"
    if lists and key.startswith("${InputPath}"):
        return "does not lie beside its input, or the next list would name it as an input"
    if any(can_equal(pattern, each) for each in lists):
        return f"cannot be that of the list, {lists[0]!r}, which would be overwritten"
    return None


def _results_in(
    bucket: str | None, operation: Any, inputs: KnownInputs, extension: str | None
) -> Iterator[tuple[str, str, KeyPattern]]:
    """Yield field, key and pattern of each result that is stored in ``bucket``."""
    output = operation.output or _EMPTY
    if (output.bucket or bucket) != bucket:
        return
    for name, key in keys_by_field(operation).items():
        yield name, key, key_pattern(key, inputs, extension)


def _key_of_file(file: Any) -> str | None:
    """Return the key of a list of inputs, of which the request has the key or the URL."""
    if not isinstance(file, str):
        return None
    address = object_address(file)
    return address.key if address else file
