"""Whether results may overwrite an input, or become inputs themselves, if both are in one bucket.

The service accepts and bills such requests. Light: DAG files load it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.fields import LightModel, type_mismatches
from airflow_provider_ci.protocol.names import is_object_key, object_address
from airflow_provider_ci.protocol.result_keys import KnownInputs, Units, expanded, may_be, may_begin_with
from airflow_provider_ci.protocol.voice_separation import OUTPUTS, result_extension

if TYPE_CHECKING:  # DAG files load this module, and making all models takes too long for them
    from airflow_provider_ci.protocol.batches import BatchRequest
    from airflow_provider_ci.protocol.jobs import JobRequest

_NOTHING: Any = LightModel()


def refuse_overlap(overlap: dict[str, str], request: Any) -> None:
    """Refuse a request whose results overlap with its inputs.

    :param overlap: what :func:`overlap_of_job` or :func:`overlap_of_batch` has returned.
    :raises RequestValidationError: there is any, naming each result's field.
    """
    if overlap:
        output = request.operation.output
        raise RequestValidationError(
            [
                f"Operation.Output.{OUTPUTS[name]} is {getattr(output, name)!r}, allowed: {allowed}"
                for name, allowed in overlap.items()
            ]
        )


def overlap_of_job(request: JobRequest, bucket: str | None) -> dict[str, str]:
    """Return for each result that may overwrite the input, by its field, what is allowed.

    :param bucket: the input's bucket.
    """
    if any(type_mismatches(request)):
        return {}  # which the other checks refuse
    operation = request.operation or _NOTHING
    key: Any = (request.input or _NOTHING).object
    if not is_object_key(key):
        return {}
    extension = result_extension(operation.template_id, operation.voice_separate)
    return {
        name: f"another key than the input's, {key!r}, also when its placeholders are replaced"
        for name, _, units in _results_in(bucket, operation, KnownInputs(object=key), extension)
        if may_be(units, key)
    }


def overlap_of_batch(request: BatchRequest, bucket: str | None) -> dict[str, str]:
    """Return for each result that would be an input of the next batch job, and be paid for again, or
    overwrite the list of inputs, by its field, what is allowed.

    :param bucket: the inputs' bucket.
    """
    if any(type_mismatches(request)):
        return {}  # which the other checks refuse
    operation, given = request.operation or _NOTHING, request.input or _NOTHING
    param = operation.job_param or _NOTHING
    prefix: Any = given.prefix
    source: Any = given.object
    lists = [key for text in (given.manifest, given.url_file) if (key := _key_of(text))]
    overlap = {}
    inputs = KnownInputs(is_batch=True, object=source, prefix=prefix)
    extension = result_extension(param.template_id, param.voice_separate)
    for name, key, units in _results_in(bucket, operation, inputs, extension):
        if prefix and may_begin_with(units, prefix):
            why = (
                f"does not begin with the prefix {prefix!r}, whatever its placeholders become, or the"
                " next batch would separate this one's results"
            )
        elif is_object_key(source) and may_be(units, source):
            why = f"cannot be the input's, {source!r}, which would be overwritten"
        elif lists and key.startswith("${InputPath}"):
            why = "does not lie beside its input, or the next list would name it as an input"
        elif any(may_be(units, each) for each in lists):
            why = f"cannot be that of the list, {lists[0]!r}, which would be overwritten"
        else:
            continue
        overlap[name] = (
            f"a key that {why}, for instance"
            " 'out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}', or another bucket for the results"
        )
    return overlap


def _results_in(
    bucket: str | None, operation: Any, inputs: KnownInputs, extension: str | None
) -> Iterator[tuple[str, str, Units]]:
    """Yield the results that are stored in ``bucket``: field, key and what the key becomes."""
    output = operation.output or _NOTHING
    if (output.bucket or bucket) != bucket:
        return
    for name in OUTPUTS:
        if is_object_key(key := getattr(output, name)):
            yield name, key, expanded(key, inputs, extension)


def _key_of(text: Any) -> str | None:
    """Return the key of a list of inputs, which may be given by its URL."""
    address = object_address(text)
    return address.key if address else text if isinstance(text, str) else None
