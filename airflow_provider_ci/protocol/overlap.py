"""Whether results may overwrite an input, or become inputs themselves, if both are in one bucket.

The service accepts and bills such requests. DAG files load this module, so it loads neither the models nor
the XML library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_ci.protocol.batch_rules import job_of_batch, known_inputs
from airflow_provider_ci.protocol.job_rules import output_field
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.names import is_object_key, object_address
from airflow_provider_ci.protocol.result_keys import (
    KeyPattern,
    KnownInputs,
    can_begin_with,
    can_equal,
    key_pattern,
)
from airflow_provider_ci.protocol.rules import Problem, raise_if_any
from airflow_provider_ci.protocol.tree import Tree, find, find_text, find_tree, structure_problems


def refuse_overlapping_results(overlap: dict[str, str], request: Tree) -> None:
    """Raise an error if results of ``request`` overlap with its inputs.

    :param overlap: from :func:`overlapping_results_of_job` or :func:`overlapping_results_of_batch`.
    :raises RequestValidationError: naming the field of each such result.
    """
    kind = job_type(request.get("Tag") or find(request, "Operation.Tag"))
    keys = kind.result_keys(find_tree(request, "Operation"))
    raise_if_any(
        Problem(output_field(kind, element), keys.get(element), allowed)
        for element, allowed in overlap.items()
    )


def overlapping_results_of_job(request: Tree, bucket: str | None) -> dict[str, str]:
    """Return what is allowed instead for each result that may overwrite the input, by its element in
    ``Output``.

    :param bucket: the input's bucket.
    """
    if structure_problems(request):
        return {}  # check_job rejects the request
    input_key = find(request, "Input.Object")
    keys = [input_key] if is_object_key(input_key) else []
    inputs = KnownInputs(
        job_placeholders=job_type(request.get("Tag")).placeholders, object=keys[0] if keys else None
    )
    operation = find_tree(request, "Operation")
    keys += _keys_of_addresses({name: operation[name] for name in operation if name != "Output"}, bucket)
    return {
        element: f"another key than the input's, {key!r}, also when its placeholders are replaced"
        for element, result_key, extension in _results_in(bucket, request)
        for key in keys
        if _can_equal(result_key, key, inputs, extension)
    }


def _can_equal(result_key: str, key: str, inputs: KnownInputs, extension: str | None) -> bool:
    # what comes before the first placeholder decides about most, and quickly: a bulk task has many
    fixed, placeholder, _ = result_key.partition("${")
    if not placeholder or not key.startswith(fixed):
        return result_key == key
    return can_equal(key_pattern(result_key, inputs, extension), key)


def _keys_of_addresses(value: Any, bucket: str | None) -> Iterator[str]:
    """Yield the keys of the objects in a bucket that an operation reads by their addresses, as the fragments
    of a concatenation.
    """
    if isinstance(value, Mapping | list | tuple):
        for child in value.values() if isinstance(value, Mapping) else value:
            yield from _keys_of_addresses(child, bucket)
    elif (address := object_address(value)) and bucket and address.bucket == bucket:
        yield address.key


def overlapping_results_of_batch(batch: Tree, bucket: str | None) -> dict[str, str]:
    """Return what is allowed instead for each result that may overwrite an input or the list of inputs, or
    that the next batch job would take as an input and pay for, by its element in ``Output``.

    :param bucket: the inputs' bucket.
    """
    if structure_problems(batch):
        return {}  # check_batch rejects the request
    inputs = known_inputs(batch)
    return {
        element: (
            f"a key that {rule}, for instance"
            " 'out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}', or another bucket for the results"
        )
        for element, key, extension in _results_in(bucket, job_of_batch(batch))
        if (rule := _broken_rule(find_tree(batch, "Input"), key, key_pattern(key, inputs, extension)))
    }


def _broken_rule(source: Tree, key: str, pattern: KeyPattern) -> str | None:
    """Return the rule that a result's key breaks for these inputs; ``None`` if it breaks none."""
    lists = [each for name in ("Manifest", "UrlFile") if (each := _key_of_file(source.get(name)))]
    prefix, input_key = source.get("Prefix"), source.get("Object")
    if isinstance(prefix, str) and prefix and can_begin_with(pattern, prefix):
        return (
            f"does not begin with the prefix {prefix!r}, whatever its placeholders become, or the"
            " next batch would process this one's results"
        )
    if isinstance(input_key, str) and is_object_key(input_key) and can_equal(pattern, input_key):
        return f"cannot be the input's, {input_key!r}, which would be overwritten"
    if lists and key.startswith("${InputPath}"):
        return "does not lie beside its input, or the next list would name it as an input"
    if any(can_equal(pattern, each) for each in lists):
        return f"cannot be that of the list, {lists[0]!r}, which would be overwritten"
    return None


def _results_in(bucket: str | None, request: Tree) -> Iterator[tuple[str, str, str | None]]:
    """Yield element, key and extension, if that is known, of each result that is stored in ``bucket``."""
    kind, operation = job_type(request.get("Tag")), find_tree(request, "Operation")
    if (find_text(operation, "Output.Bucket") or bucket) != bucket:
        return
    extension = kind.extension(operation)
    for element, key in kind.result_keys(operation).items():
        if is_object_key(key):
            yield element, key, extension


def _key_of_file(file: Any) -> str | None:
    """Return the key of a list of inputs, of which the request has the key or the URL."""
    if not isinstance(file, str):
        return None
    address = object_address(file)
    return address.key if address else file
