"""Refuses the inputs of a bulk task that cannot be processed, before a job is paid for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import NotFoundError, RequestValidationError
from airflow_provider_ci.operators.concurrent_reads import read_concurrently

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.base import BucketAndRegion
    from airflow_provider_ci.operators.bulk_items import BulkItems

#: The inputs that an error names, at most.
INPUTS_MAX = 20


def check_inputs(
    items: BulkItems,
    indexes: Sequence[int],
    hook: TencentCIHook,
    bucket_and_region: BucketAndRegion,
    raise_if_killed: Callable[[], None],
) -> None:
    """Refuse items whose input object does not exist, is empty, or is archived. Costs one ``HEAD`` for each
    (``cos:HeadObject``); for the objects under a prefix only for those that may be archived, because the list
    shows the rest.

    :param indexes: the items that are to be submitted.
    :param raise_if_killed: raises an error if the task was killed.
    :raises RequestValidationError: names the first 20 such inputs.
    """
    hook.get_conn()  # before each thread makes one
    targets = _inputs_to_check(items, indexes)

    def find_problem(key: str) -> str | None:
        listed = (items.suspects or {}).get(targets[key])
        is_known_as_empty = listed is not None and not listed.size
        return f"{key!r} is empty" if is_known_as_empty else _problem_of_object(hook, key, bucket_and_region)

    with closing(read_concurrently(find_problem, targets, raise_if_killed)) as problems:
        first = [*islice(filter(None, problems), INPUTS_MAX)]
    if first:
        more = "; there may be more" if len(first) == INPUTS_MAX else ""
        raise RequestValidationError(
            f"No job was submitted by this try, because of its input objects: {'; '.join(first)}{more}",
            hint="Check bucket, region and keys, and that the upload has finished",
        )


def _inputs_to_check(items: BulkItems, indexes: Sequence[int]) -> dict[str, int]:
    """Return the keys of the inputs of which it is not known whether they can be processed, and an item of
    each.
    """
    suspects = items.suspects
    unknown = indexes if suspects is None else [index for index in indexes if index in suspects]
    return {key: index for index in unknown if (key := items.input_object(index))}


def _problem_of_object(hook: TencentCIHook, key: str, bucket_and_region: BucketAndRegion) -> str | None:
    try:
        head = hook.head_object(key, **bucket_and_region)
    except NotFoundError:
        return f"{key!r} does not exist"
    if not head.size:
        return f"{key!r} is empty"
    if head.is_archived:
        return f"{key!r} is archived ({head.tier or head.storage_class}), and must be restored first"
    return None
