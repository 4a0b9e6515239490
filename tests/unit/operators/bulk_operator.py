"""The arguments of a bulk task, without its life."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.operators.job_request import JobRequestOperator
from airflow_provider_ci.operators.voice_separate_arguments import VoiceSeparateArguments


class BulkJob(JobRequestOperator):
    def __init__(
        self,
        *,
        input_objects: Any = None,
        prefix: str | None = None,
        include: Any = None,
        exclude: Any = None,
        input_manifest: str | None = None,
        max_jobs: int = 100_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_objects = input_objects
        self.prefix = prefix
        self.include = include
        self.exclude = exclude
        self.input_manifest = input_manifest
        self.max_jobs = max_jobs


class VoiceSeparateBulk(VoiceSeparateArguments, BulkJob):
    pass
