"""What the probes work with: the hook, the place of the run, and what was seen of its jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    PermissionDeniedError,
    QueueFullError,
    ServerError,
    ServiceError,
    ThrottledError,
)
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.jobs import Job
from live.watched_batch import WatchedBatch
from live.watched_jobs import JobWatch, WatchedJob

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from live.journal import Journal, Place

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe has found, and one line about how. Neither names anything of the account."""

    value: Any
    evidence: str


class NotObservedError(Exception):
    """A probe could not settle its question. The text says why, and names nothing of the account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowJob:
    """A job that an operator has submitted in Airflow.

    :param extension: the format of its input.
    :param is_accepted: the service has accepted it, or may have.
    :param description: the service's newest one; ``None`` if there is no job, or none could be read.
    :param is_successful: the task that waited for it has succeeded.
    """

    extension: str | None
    is_accepted: bool
    description: Job | None
    is_successful: bool


@dataclass(kw_only=True)
class Facts:
    """What is known so far.

    :param occupied_etag: the ETag of the object that has the key of a result before the job.
    :param airflow_jobs: by name; empty before Airflow has run.
    :param undeletable: the error, if a template may not be deleted.
    """

    hook: TencentCIHook
    journal: Journal
    token: str
    watch: JobWatch
    occupied_etag: str | None = None
    airflow_jobs: Mapping[str, AirflowJob] = field(default_factory=dict)
    undeletable: PermissionDeniedError | None = None

    @property
    def place(self) -> Place:
        """Where the run works."""
        return self.journal.place

    @property
    def where(self) -> dict[str, Any]:
        """Bucket and region, as arguments of the hook's methods."""
        return {"bucket": self.place.bucket, "region": self.place.region}

    def job(self, name: str) -> WatchedJob:
        """Return a job that the hook has submitted.

        :raises NotObservedError: there is none.
        """
        job = self.watch.jobs.get(name)
        if job is None:
            raise NotObservedError("its job was not submitted in this run")
        if job.error is not None:
            raise NotObservedError(f"it is not known whether its job was accepted: {describe(job.error)}")
        return job

    def accepted_job(self, name: str) -> WatchedJob:
        """Return a job that the service has accepted.

        :raises NotObservedError: there is none.
        """
        job = self.job(name)
        if job.job_id is None:
            raise NotObservedError(f"its job was refused: {describe(next(iter(job.refusals.values())))}")
        return job

    def successful_job(self, name: str) -> WatchedJob:
        """Return a job that has ended ``Success``.

        :raises NotObservedError: there is none.
        """
        job = self.accepted_job(name)
        if not job.state.is_successful:
            raise NotObservedError(f"its job ended {outcome(job.description)}")
        return job

    def accepted_batch(self) -> WatchedBatch:
        """Return the batch job that the service has accepted.

        :raises NotObservedError: there is none.
        """
        batch = self.watch.batch
        if batch is None:
            raise NotObservedError("no batch job was created in this run")
        if batch.job_id is None:
            what = (
                "it is not known whether the batch job was accepted" if batch.may_exist else "it was refused"
            )
            raise NotObservedError(f"{what}: {describe(batch.error)}" if batch.error else what)
        return batch

    def jobs(self) -> list[WatchedJob]:
        """Return the jobs that the hook has submitted and the service accepted.

        :raises NotObservedError: there are none.
        """
        accepted = [job for job in self.watch.jobs.values() if job.job_id]
        if not accepted:
            raise NotObservedError("no job was accepted in this run")
        return accepted


def describe(error: Exception) -> str:
    """Return an error for the report: not its message, which may name the bucket."""
    status, code = getattr(error, "status", None), getattr(error, "code", None)
    name = type(error).__name__
    return f"{name}, HTTP {status}, code {shown_code(code)}" if status else name


def shown_code(code: str | None) -> str:
    """Return a code of the service for the report, if it has the form of one; others may quote anything."""
    return code if code and _CODE.fullmatch(code) else "none that can be shown"


def refusal(error: ServiceError) -> dict[str, Any]:
    """Return status and code of an error, as the report has them.

    :raises NotObservedError: it has no code, or says nothing about the request because the service was busy.
    """
    if isinstance(error, ThrottledError | ServerError | QueueFullError | AuthenticationError):
        raise NotObservedError(f"the service could not answer this time: {describe(error)}; run it again")
    if shown_code(error.code) != error.code:
        raise NotObservedError(f"the service refused without a code that can be reported: {describe(error)}")
    return {"status": error.status, "code": error.code}


def outcome(job: Job | BatchJob | None) -> str:
    """Return how a job or batch job has ended, for the report."""
    if job is None:
        return "unseen"
    if not job.job_state.is_terminal:
        return f"not in time: it was still {job.job_state}"
    return (
        f"{job.job_state}, code {shown_code(job.code)}" if job.job_state == "Failed" else str(job.job_state)
    )


def variant_or_refusal(job: WatchedJob, tried: str) -> dict[str, Any] | None:
    """Return ``None`` if the variant was accepted, and the refusal if only the plain request was.

    :raises NotObservedError: the plain request was refused too.
    """
    if job.variant == tried:
        return None
    if job.variant is None:
        raise NotObservedError(
            f"its job was refused without it, too: {describe([*job.refusals.values()][-1])}"
        )
    return refusal(job.refusals[tried])
