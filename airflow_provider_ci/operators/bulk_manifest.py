"""The manifest of a bulk task: its key, its address, and what the task reads from it again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import InvalidResponseError, NotFoundError, RequestValidationError

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.base import BucketAndRegion
    from airflow_provider_ci.operators.bulk_outcomes import BulkOutcomes
    from airflow_provider_ci.protocol.results import ResultObject
    from airflow_provider_ci.submission.tracking import Log

_NOT_IN_A_KEY = re.compile(r"[^\w.+:=@-]", re.ASCII)
_PART_MAX = 150  # characters of an id in the key


def default_key(ti: Any, task_digest: str) -> str:
    """Return a key that differs between all task instances, also of another Airflow."""
    parts = (ti.dag_id, ti.run_id, ti.task_id)
    folders = "/".join(_NOT_IN_A_KEY.sub("_", part)[:_PART_MAX].strip(".") or "_" for part in parts)
    return f"airflow/{folders}-{task_digest}.jsonl"


def address_of(manifest: ResultObject) -> str:
    """Return how messages name a manifest."""
    return f"cos://{manifest['bucket']}/{manifest['object']}"


def read_outcomes(
    hook: TencentCIHook, manifest: ResultObject, bucket_and_region: BucketAndRegion, log: Log
) -> BulkOutcomes | None:
    """Return what a manifest says; ``None`` if it is not there any more, or was changed."""
    from airflow_provider_ci.operators.bulk_outcomes import BulkOutcomes

    try:
        lines = hook.read_manifest(manifest["object"], md5=manifest["md5"], **bucket_and_region)
        return BulkOutcomes(lines)
    except (NotFoundError, InvalidResponseError, RequestValidationError) as error:
        log.warning(
            "The manifest %s was changed or deleted while the task waited, looking for its jobs: %s. Let"
            " nobody else write to it or delete it",
            address_of(manifest),
            error,
        )
        return None
