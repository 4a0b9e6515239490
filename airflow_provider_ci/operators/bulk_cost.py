"""What a bulk task would cost: for how many minutes of media it would submit jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import (
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    RequestValidationError,
    TencentCIError,
)
from airflow_provider_ci.operators.concurrent_reads import read_concurrently
from airflow_provider_ci.protocol.errors import is_about_download

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.base import BucketAndRegion
    from airflow_provider_ci.operators.bulk_items import BulkItems
    from airflow_provider_ci.submission.tracking import Log

#: ``media_info_samples`` for all inputs.
ALL = "all"
# What a file that cannot be measured may cause. Anything but this and a failed download would be the same for
# all files
_ERRORS_OF_ONE_FILE = (NotFoundError, InvalidRequestError, InvalidResponseError)


@dataclass(frozen=True, slots=True)
class MediaLength:
    """How long the inputs of some items are together.

    :param items: the number of these items.
    :param minutes: ``None`` if no input could be measured. If not all were measured, the others count as long
        as these are on average.
    :param measured: the number of items whose inputs were measured.
    """

    items: int
    minutes: float | None
    measured: int


def estimate_length(
    items: BulkItems,
    indexes: Sequence[int],
    samples: int | str,
    hook: TencentCIHook,
    bucket_and_region: BucketAndRegion,
    raise_if_killed: Callable[[], None],
    log: Log,
) -> MediaLength:
    """Measure inputs with ``media_info``, one request each (``cos:GetObject``).

    :param indexes: the items that are to be submitted.
    :param samples: of how many of them the inputs are measured, evenly distributed over their order; or
        ``all``.
    :param raise_if_killed: raises an error if the task was killed.
    :raises TencentCIError: none of the inputs could be measured, or any error that is not about one file.
    """
    chosen = _choose([index for index in indexes if items.input_object(index)], samples)
    keys = {str(items.input_object(index)) for index in chosen}
    seconds, errors = _measure(sorted(keys), hook, bucket_and_region, raise_if_killed)
    if errors and not seconds:
        raise errors[0]
    if len(seconds) < len(keys):
        reason = errors[0] if errors else "media_info shows no duration"
        log.warning(
            "The length of %d of %d inputs is unknown and taken as the average. Check that they are media"
            " files: %s",
            len(keys) - len(seconds),
            len(keys),
            reason,
        )
    lengths = [seconds[key] for index in chosen if (key := str(items.input_object(index))) in seconds]
    if not lengths:
        return MediaLength(len(indexes), None if indexes else 0.0, 0)
    return MediaLength(len(indexes), sum(lengths) / len(lengths) * len(indexes) / 60, len(lengths))


def refuse_too_many_minutes(length: MediaLength, max_minutes: float | None) -> None:
    """Refuse to submit jobs for more minutes of media than allowed.

    :raises RequestValidationError: it would be more, or it is unknown how many.
    """
    if max_minutes is None:
        return
    if length.minutes is None:
        raise RequestValidationError(
            f"max_minutes is {max_minutes:g}, allowed: None, because the length of the inputs is unknown"
        )
    if length.minutes > max_minutes:
        about = "" if length.measured == length.items else "about "
        raise RequestValidationError(
            f"No job was submitted by this try: the inputs have {about}{length.minutes:.1f} minutes of media"
            f" ({length.measured} of {length.items} measured), allowed: at most {max_minutes:g} (max_minutes)"
        )


def _choose(indexes: Sequence[int], samples: int | str) -> Sequence[int]:
    """Return so many of the items, evenly distributed over their order."""
    if samples == ALL or int(samples) >= len(indexes):
        return indexes
    count = int(samples)
    return [indexes[number * len(indexes) // count] for number in range(count)]


def _measure(
    keys: Sequence[str],
    hook: TencentCIHook,
    bucket_and_region: BucketAndRegion,
    raise_if_killed: Callable[[], None],
) -> tuple[dict[str, float], list[TencentCIError]]:
    """Return the seconds of each media file that has a length, and the errors of the others."""

    def ask(key: str) -> float | TencentCIError | None:
        try:
            info = hook.media_info(key, **bucket_and_region)
        except TencentCIError as error:
            if not isinstance(error, _ERRORS_OF_ONE_FILE) and not is_about_download(error):
                raise
            return error
        return info.format.duration if info.format else None

    hook.get_conn()  # before each thread makes one
    seconds: dict[str, float] = {}
    errors: list[TencentCIError] = []
    with closing(read_concurrently(ask, keys, raise_if_killed)) as results:
        for key, found in zip(keys, results, strict=True):
            if isinstance(found, TencentCIError):
                errors.append(found)
            elif found is not None:
                seconds[key] = found
    return seconds, errors
