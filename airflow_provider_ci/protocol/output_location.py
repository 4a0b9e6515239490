"""Bucket and region that the results of a job go to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_ci.protocol.jobs import Output
from airflow_provider_ci.protocol.wire import Endpoint


def with_output_location(operation: Any, endpoint: Endpoint) -> Any:
    """Return the ``operation`` of a job or batch job with its results in bucket and region of ``endpoint``.

    Where it names others, they stay.
    """
    output = getattr(operation, "output", None)
    if not isinstance(output, Output) or (output.bucket and output.region):
        return operation
    bucket, region = output.bucket or endpoint.bucket, output.region or endpoint.region
    return replace(operation, output=replace(output, bucket=bucket, region=region))
