"""The hook: job and object calls of one Airflow connection, signed, retried and typed."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    AuthenticationError,
    CIError,
    ClockSkewError,
    ConfigurationError,
    CredentialsError,
    InvalidResponseError,
    JobError,
    PermissionDeniedError,
    RequestValidationError,
    TransportError,
)
from airflow_provider_ci.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_ci.hooks import transport
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.hooks.recovery import Recovery
from airflow_provider_ci.protocol.errors import is_not_accepted
from airflow_provider_ci.protocol.models import VOICE_SEPARATE, Job, JobsAnswer, VoiceSeparateRequest
from airflow_provider_ci.protocol.objects import GetObject, PutObject
from airflow_provider_ci.protocol.operations import (
    IDS_PER_REQUEST,
    CancelJobs,
    DescribeJobs,
    ListJobs,
    RemoteCall,
    SubmitJob,
    check_job_ids,
)
from airflow_provider_ci.protocol.retry import RetryPolicy
from airflow_provider_ci.protocol.wire import Endpoint, SignedRequest, signed

if TYPE_CHECKING:
    import requests

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that went from or to COS: its ``size`` in bytes and hex ``md5``."""

    path: str
    size: int
    md5: str


class CIHook(BaseHook):
    """Talks to Tencent Cloud Infinite (CI) through an Airflow connection of type ``tencent_ci``.

    Nothing is looked up or sent before the first call. Reads are repeated on lost connections, timeouts,
    throttling and 5xx; a submission only when it certainly was not accepted. One hook has one connection
    pool; it may be used by several threads.

    .. seealso:: ``docs/connections.md``

    :param ci_conn_id: id of the Airflow connection. Its bucket and region are defaults that each call can
        override.
    """

    conn_name_attr = "ci_conn_id"
    default_conn_name = "tencent_ci_default"
    conn_type = "tencent_ci"
    hook_name = "Tencent Cloud Infinite (CI)"

    def __init__(self, ci_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.ci_conn_id = ci_conn_id
        #: Pauses between attempts, if not ``time.sleep``: a task's own ends when the task is told to stop.
        self.sleep: Callable[[float], None] | None = None

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection, read and checked once.

        :raises ConfigurationError: a field is missing or has a value that is not allowed.
        """
        from airflow.providers.common.compat.sdk import mask_secret

        settings = ConnectionSettings.from_connection(self.get_connection(self.ci_conn_id))
        for secret in settings.secrets:
            mask_secret(secret)
        return settings

    @cached_property
    def _session(self) -> requests.Session:
        return transport.new_session(loopback=self.settings.is_loopback)

    def now(self) -> float:
        """Return the Unix time by the service's clock: this machine's, unless that proved to be wrong."""
        return time.time() + self.settings.clock.offset

    def get_conn(self) -> requests.Session:
        """Return the pooled HTTP session of this hook."""
        return self._session

    def close(self) -> None:
        """Close the pooled connections; the next call opens new ones."""
        session = self.__dict__.pop("_session", None)
        if session is not None:
            session.close()

    def submit_job(
        self,
        job: VoiceSeparateRequest,
        *,
        expires: float | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> tuple[Job, str | None]:
        """Submit ``job`` once and return it as accepted, with the request id.

        :param expires: time by :meth:`now` after which the service shall refuse the submission.
        :param bucket: the input's bucket, ``<name>-<appid>``.
        :raises RequestValidationError: the job breaks a documented rule; nothing was sent.
        :raises AmbiguousSubmissionError: it is unknown whether the job was accepted.
        :raises ClockSkewError: it has ``expires``, but the service's clock is another than was thought.
            :meth:`now` goes by it if that is ``corrected``.
        :raises ServiceError: the service refused it.
        """
        call = SubmitJob(job, expires)
        try:
            answer = self._call(call, bucket, region)
        except CIError as error:
            if isinstance(error, ValueError | JobError) or is_not_accepted(error):
                raise
            raise AmbiguousSubmissionError(
                "It is unknown whether the service accepted the job: it may run and be billed",
                status=error.status,
                code=error.code,
                service_message=error.service_message or error.message,
                request_id=error.request_id,
                hint="Look for it in the job list (by input object and time) before submitting again",
            ) from error
        return answer.jobs_detail[0], answer.request_id

    def describe_jobs(
        self, job_ids: Sequence[str], *, bucket: str | None = None, region: str | None = None
    ) -> JobsAnswer:
        """Return the jobs, in the order of the service, and the ids that it does not know.

        Any number of ids; one request for each ten of them. ``request_id`` is the last request's.

        :raises RequestValidationError: a value is not a job id; nothing was sent.
        """
        ids = _distinct(job_ids)
        whole = JobsAnswer()
        for start in range(0, len(ids), IDS_PER_REQUEST):
            part = self._call(DescribeJobs(tuple(ids[start : start + IDS_PER_REQUEST])), bucket, region)
            whole = replace(
                part,
                jobs_detail=whole.jobs_detail + part.jobs_detail,
                non_exist_job_ids=whole.non_exist_job_ids + part.non_exist_job_ids,
            )
        return whole

    def list_jobs(
        self,
        *,
        tag: str = VOICE_SEPARATE,
        queue_id: str | None = None,
        workflow_id: str | None = None,
        inventory_trigger_job_id: str | None = None,
        input_object: str | None = None,
        states: Sequence[str] = (),
        order_by_time: str = "Desc",
        start_creation_time: datetime | None = None,
        end_creation_time: datetime | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Iterator[Job]:
        """Yield the jobs of a bucket that fit, newest first, page after page as they are consumed.

        Parameters as in :class:`~airflow_provider_ci.protocol.operations.ListJobs`.
        """
        call = ListJobs(
            tag=tag,
            queue_id=queue_id,
            workflow_id=workflow_id,
            inventory_trigger_job_id=inventory_trigger_job_id,
            input_object=input_object,
            states=states,
            order_by_time=order_by_time,
            start_creation_time=start_creation_time,
            end_creation_time=end_creation_time,
        )
        seen: set[str] = set()
        while True:
            page = self._call(call, bucket, region)
            yield from page.jobs_detail
            # how a listing ends is not documented, so three signs of it count
            if not page.next_token or page.next_token in seen or not page.jobs_detail:
                return
            seen.add(page.next_token)
            call = replace(call, next_token=page.next_token)

    def cancel_jobs(
        self, job_ids: Sequence[str], *, bucket: str | None = None, region: str | None = None
    ) -> None:
        """Ask the service to cancel jobs that have not begun; describe them afterwards to know what became of
        it.

        Any number of ids; one request for each ten of them.

        :raises RequestValidationError: a value is not a job id; nothing was sent.
        """
        ids = _distinct(job_ids)
        for start in range(0, len(ids), IDS_PER_REQUEST):
            self._call(CancelJobs(tuple(ids[start : start + IDS_PER_REQUEST])), bucket, region)

    def cancel_job_within(
        self, job_id: str, seconds: float, *, bucket: str | None = None, region: str | None = None
    ) -> None:
        """Ask once, on a connection of its own, to cancel a job: for a process that is about to be killed.

        :param seconds: how long it may take; a connection and an answer get half of it each.
        """
        endpoint = self.settings.endpoint(bucket, region)
        with transport.new_session(loopback=self.settings.is_loopback) as session:
            self._once(CancelJobs((job_id,)), endpoint, session, (seconds / 2, seconds / 2))

    def download_file(
        self,
        key: str,
        path: str | os.PathLike[str],
        *,
        md5: str | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> StoredFile:
        """Download a COS object into ``path``, which appears only when it is complete.

        :param md5: hex MD5 that the content must have, for instance ``outputs["voice"]["md5"]`` of a job's
            result.
        :raises NotFoundError: there is no such object.
        :raises InvalidResponseError: the content's MD5 differs.
        """
        call, endpoint = GetObject(key), self.settings.endpoint(bucket, region)
        target = Path(path)

        def attempt() -> StoredFile:
            send = self._signed(call, endpoint)
            with transport.open_answer(self._session, send, self.settings.timeouts) as answer:
                if answer.status_code != 200:
                    call.parse(transport.whole(answer, self.settings.read_timeout))
                    raise InvalidResponseError(
                        f"HTTP {answer.status_code} is not the whole object", status=answer.status_code
                    )
                return _write_whole(transport.pieces(answer), target, md5)

        return self._repeat(call, attempt)

    def upload_file(
        self,
        path: str | os.PathLike[str],
        key: str,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> StoredFile:
        """Upload a file of at most 5 GB as a COS object; the service checks its MD5."""
        source, endpoint = Path(path), self.settings.endpoint(bucket, region)
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "md5")
        call = PutObject(key, base64.b64encode(digest.digest()).decode())

        def attempt() -> StoredFile:
            size = source.stat().st_size
            with source.open("rb") as file:
                # requests would send an empty file in chunks, without the length that the service asks for
                data = file if size else None
                send = self._signed(call, endpoint)
                call.parse(transport.exchange(self._session, send, self.settings.timeouts, data=data))
            return StoredFile(str(source), size, digest.hexdigest())

        return self._repeat(call, attempt)

    def test_connection(self) -> tuple[bool, str]:
        """Do a cheap signed read and say which of credentials, permission, bucket or region is wrong."""
        try:
            endpoint = self.settings.endpoint()
            call, timeouts = ListJobs(size=1), self.settings.timeouts
            self._repeat(
                call, lambda: self._once(call, endpoint, self._session, timeouts), RetryPolicy(max_attempts=1)
            )
        except CIError as error:
            settings = self.__dict__.get("settings")  # none if they were the problem
            return False, f"{_diagnosis(error, settings.source.name if settings else '')}: {error}"
        return True, f"Bucket {endpoint.bucket} in {endpoint.region} answers, and its jobs may be listed"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's standard fields for Airflow before 3.2, which does not read them from provider
        info.
        """
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow before 3.2, made from the same description."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import BooleanField, FloatField, IntegerField, PasswordField, StringField
        from wtforms.validators import Optional

        fields = {"string": StringField, "number": FloatField, "integer": IntegerField}
        widgets = {}
        for name, field in CONN_FIELDS.items():
            kind, label, text = field["schema"]["type"][0], field["label"], field["description"]
            if kind == "boolean":
                widgets[name] = BooleanField(label, description=text)
            elif field["schema"].get("format") == "password":
                widgets[name] = PasswordField(label, widget=BS3PasswordFieldWidget(), description=text)
            else:
                widgets[name] = fields[kind](
                    label, widget=BS3TextFieldWidget(), description=text, validators=[Optional()]
                )
        return widgets

    def _call(self, call: RemoteCall[T], bucket: str | None, region: str | None) -> T:
        endpoint = self.settings.endpoint(bucket, region)
        return self._repeat(call, lambda: self._once(call, endpoint, self._session, self.settings.timeouts))

    def _once(
        self, call: RemoteCall[T], endpoint: Endpoint, session: requests.Session, timeout: tuple[float, float]
    ) -> T:
        return call.parse(transport.exchange(session, self._signed(call, endpoint), timeout))

    def _repeat(self, call: RemoteCall[Any], attempt: Callable[[], T], retry: RetryPolicy | None = None) -> T:
        retry, recovery, count = retry or self.settings.retry, Recovery(self.settings), 0
        while True:
            try:
                recovery.begin()
                return attempt()
            except CIError as error:
                if recovery.can_save(error, expires=call.valid_until is not None):
                    continue
                count += 1
                left = None if call.valid_until is None else int(call.valid_until) - self.now()
                pause = retry.pause(count, error, idempotent=call.idempotent, time_left=left)
                if pause is None:
                    raise
                self.log.warning("Attempt %d failed, again in %.1f s: %s", count, pause, error)
                (self.sleep or time.sleep)(pause)

    def _signed(self, call: RemoteCall[Any], endpoint: Endpoint) -> SignedRequest:
        # for each attempt anew: a signature expires
        provider = self.settings.provider
        return signed(
            call.request(),
            endpoint,
            provider.held() or provider.get(),
            now=self.now(),
            valid_until=call.valid_until,
        )


def _distinct(job_ids: Sequence[str]) -> list[str]:
    if isinstance(job_ids, str):  # its characters would pass as ids
        raise RequestValidationError([f"job_ids is {job_ids!r}, allowed: a list of JobIds"])
    ids = list(dict.fromkeys(job_ids))
    check_job_ids(ids)
    return ids


def _write_whole(pieces: Iterator[bytes], target: Path, md5: str | None) -> StoredFile:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    part = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with part.open("xb") as file:
            for piece in pieces:
                size += file.write(piece)
                digest.update(piece)
        if md5 is not None and digest.hexdigest() != md5.lower():
            raise InvalidResponseError(f"What arrived for {target} has MD5 {digest.hexdigest()}, not {md5}")
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return StoredFile(str(target), size, digest.hexdigest())


def _diagnosis(error: CIError, source: str) -> str:
    if isinstance(error, ConfigurationError):
        return "The connection is incomplete or wrong"
    if isinstance(error, CredentialsError):
        return f"There are no credentials from source {source}"
    if isinstance(error, ClockSkewError):
        return "This machine's clock is wrong"
    if isinstance(error, AuthenticationError):
        return f"The credentials (source {source}) are wrong"
    if isinstance(error, PermissionDeniedError):
        return (
            f"The credentials (source {source}) are not permitted to list the bucket's jobs, or the SecretKey"
            " is wrong"
        )
    if isinstance(error, TransportError):
        return "The service cannot be reached: the region or the endpoint may be wrong"
    if isinstance(error, InvalidResponseError):
        return "Something else than the service answers: the endpoint or a proxy may be wrong"
    if error.status in (301, 307, 308, 400, 404):
        return "Bucket or region is wrong"
    return "The service does not work at the moment"
