"""What the documented rules say of a request."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.protocol.job_rules import check_job
from airflow_provider_ci.protocol.rules import problems_of

OUTPUT = {"Region": "ap-guangzhou", "Bucket": "media-1250000001", "Object": "out/a"}
INPUT = {"Object": "in/a.mp3"}


def problems(
    tag: str, operation: dict[str, Any], source: dict[str, Any] | None = INPUT, **output: Any
) -> list[str]:
    """Return what is wrong with a job that has this operation.

    :param source: ``Input``; ``None`` for none.
    :param output: elements of ``Output``, besides bucket, region and a key.
    """
    request = {
        "Tag": tag,
        "Input": source,
        "Operation": {**operation, "Output": {**OUTPUT, **output}},
    }
    return problems_of(check_job, {name: value for name, value in request.items() if value is not None})
