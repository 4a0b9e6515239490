"""The hook: job and object calls of one Airflow connection, signed, retried and typed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    ClockSkewError,
    ConfigurationError,
    CredentialsError,
    InvalidResponseError,
    PermissionDeniedError,
    TencentCIError,
    TransportError,
)
from airflow_provider_ci.hooks import form, transport
from airflow_provider_ci.hooks.admin import AdminCalls
from airflow_provider_ci.hooks.batch import BatchCalls
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.hooks.files import FileCalls
from airflow_provider_ci.hooks.recovery import Recovery
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.jobs import (
    IDS_PER_REQUEST,
    CancelJobs,
    DescribeJobs,
    Job,
    JobRequest,
    JobsResponse,
    ListJobs,
    SubmitJob,
    check_job_ids,
)
from airflow_provider_ci.protocol.lists import LIST_SIZE_MAX
from airflow_provider_ci.protocol.names import VOICE_SEPARATE
from airflow_provider_ci.protocol.overlap import overlap_of_job, refuse_overlap
from airflow_provider_ci.protocol.retry import RetryPolicy
from airflow_provider_ci.protocol.rules import check_list
from airflow_provider_ci.protocol.wire import Credentials, Endpoint, SignedRequest, sign_request

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

# However little time is left, an answer that comes as fast as usual is read
_SHORTEST_TIMEOUT = 5.0


class TencentCIHook(FileCalls, AdminCalls, BatchCalls, BaseHook):
    """Talks to Tencent Cloud Infinite (CI) through an Airflow connection of type ``tencent_ci``.

    Nothing is looked up or sent before the first call. Reads are repeated on lost connections, timeouts,
    throttling and 5xx; a submission only when it certainly was not accepted. One hook has one connection
    pool; it may be used by several threads.

    .. seealso:: ``docs/connections.md``

    :param tencent_ci_conn_id: id of the Airflow connection. Its bucket and region are defaults that each call
        can override.
    """

    conn_name_attr = "tencent_ci_conn_id"
    default_conn_name = "tencent_ci_default"
    conn_type = "tencent_ci"
    hook_name = "Tencent Cloud Infinite (CI)"
    # Airflow before 3.2 looks for these in the class itself, and does not see inherited ones
    get_ui_field_behaviour = staticmethod(form.ui_field_behaviour)
    get_connection_form_widgets = staticmethod(form.connection_form_widgets)

    def __init__(self, tencent_ci_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.tencent_ci_conn_id = tencent_ci_conn_id
        #: Pauses between attempts, if not ``time.sleep``: a task's own ends when the task is told to stop.
        self.sleep: Callable[[float], None] | None = None
        self._attempts = math.inf
        self._end = math.inf

    @contextmanager
    def limited(self, *, attempts: float = math.inf, seconds: float = math.inf) -> Iterator[None]:
        """Limit the calls inside the block: for whoever waits, repeats calls himself, and has a deadline.

        :param attempts: how often each is tried at most; never more often than the connection says.
        :param seconds: no pause before another attempt ends later than that, and hardly any answer is waited
            for longer. A block inside another one cannot make this longer.
        """
        before = self._attempts, self._end
        self._attempts, self._end = attempts, min(self._end, monotonic() + seconds)
        try:
            yield
        finally:
            self._attempts, self._end = before

    @property
    def _timeouts(self) -> tuple[float, float]:
        longest = max(self._end - monotonic(), _SHORTEST_TIMEOUT)
        connect, read = self.settings.timeouts
        return min(connect, longest), min(read, longest)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: not the connection, with its secrets and locks, and what it opened. A copy
        reads it again when it is needed.
        """
        return {name: value for name, value in vars(self).items() if name not in ("settings", "_session")}

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection, read and checked once.

        :raises ConfigurationError: a field is missing or has a value that is not allowed.
        """
        from airflow.providers.common.compat.sdk import mask_secret

        settings = ConnectionSettings.from_connection(self.get_connection(self.tencent_ci_conn_id))
        for secret in settings.secrets:
            mask_secret(secret)
        return settings

    @cached_property
    def _session(self) -> transport.Session:
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
        job: JobRequest,
        *,
        expires_at: float | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> tuple[Job, str | None]:
        """Submit ``job`` once and return it as accepted, with the request id.

        Results go to the bucket and region that the call goes to, unless ``job`` names others.

        :param expires_at: time by :meth:`now` after which the service shall refuse the submission.
        :param bucket: the input's bucket, ``<name>-<appid>``.
        :raises RequestValidationError: the job breaks a documented rule; nothing was sent.
        :raises AmbiguousSubmissionError: it is unknown whether the job was accepted.
        :raises ClockSkewError: it has ``expires_at``, but the service's clock is another than was thought.
            :meth:`now` goes by it if that is ``corrected``.
        :raises ServiceError: the service refused it.
        """
        job = replace(job, operation=self._with_output_place(job.operation, bucket, region))
        overlap = overlap_of_job(job, self.settings.endpoint(bucket, region).bucket)
        refuse_overlap(overlap, job)
        answer = self._submit(SubmitJob(job, expires_at), bucket, region)
        return answer.jobs_detail[0], answer.request_id

    def describe_jobs(
        self, job_ids: Sequence[str], *, bucket: str | None = None, region: str | None = None
    ) -> JobsResponse:
        """Return the jobs, in the order of the service, and the ids that it does not know.

        Any number of ids, also none; one request for each ten of them. ``request_id`` is the last request's.

        :raises RequestValidationError: a value is not a job id, or this is no list; nothing was sent.
        """
        ids = _distinct(job_ids)
        whole = JobsResponse()
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
        size: int = LIST_SIZE_MAX,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Iterator[Job]:
        """Return an iterator over the jobs of a bucket that fit, newest first, page after page as they are
        consumed.

        :param size: jobs to a page; the default is the most. 1 is enough to know whether there is any.

        Parameters as in :class:`~airflow_provider_ci.protocol.jobs.ListJobs`.
        """
        return self._pages(
            ListJobs(
                tag=tag,
                queue_id=queue_id,
                workflow_id=workflow_id,
                inventory_trigger_job_id=inventory_trigger_job_id,
                input_object=input_object,
                states=states,
                order_by_time=order_by_time,
                start_creation_time=start_creation_time,
                end_creation_time=end_creation_time,
                size=size,
            ),
            bucket,
            region,
        )

    def cancel_jobs(
        self, job_ids: Sequence[str], *, bucket: str | None = None, region: str | None = None
    ) -> None:
        """Ask the service to cancel jobs that have not begun; describe them afterwards to know what became of
        it.

        Any number of ids, also none; one request for each ten of them.

        :raises RequestValidationError: a value is not a job id, or this is no list; nothing was sent.
        """
        ids = _distinct(job_ids)
        for start in range(0, len(ids), IDS_PER_REQUEST):
            self._call(CancelJobs(tuple(ids[start : start + IDS_PER_REQUEST])), bucket, region)

    def cancel_job_within(
        self, job_id: str, seconds: float, *, bucket: str | None = None, region: str | None = None
    ) -> None:
        """Ask once, on a connection of its own, to cancel a job: for a process that is about to be killed.

        :param seconds: how long it may take, with everything.
        :raises TransportError: there was no answer in time; the service may have cancelled the job.
        """
        self._call_within(CancelJobs((job_id,)), seconds, bucket, region)

    def test_connection(self) -> tuple[bool, str]:
        """Do a cheap signed read and say which of credentials, permission, bucket or region is wrong."""
        try:
            endpoint = self.settings.endpoint()
        except ConfigurationError as error:
            return False, f"The connection is incomplete or wrong: {error}"
        try:
            self._call_at(endpoint, ListJobs(size=1), RetryPolicy(max_attempts=1))
        except TencentCIError as error:
            return False, f"{_diagnosis(error, self.settings.source.name)}: {error}"
        return True, f"Bucket {endpoint.bucket} in {endpoint.region} answers, and its jobs may be listed"

    def _call(self, call: ApiRequest[T], bucket: str | None, region: str | None) -> T:
        return self._call_at(self.settings.endpoint(bucket, region, regional=call.regional), call)

    def _call_at(self, endpoint: Endpoint, call: ApiRequest[T], retry: RetryPolicy | None = None) -> T:
        def attempt(credentials: Credentials) -> T:
            send = self._signed(call, endpoint, credentials)
            return call.parse(transport.exchange(self._session, send, self._timeouts))

        return self._repeat(call, attempt, retry)

    def _call_within(self, call: ApiRequest[T], seconds: float, bucket: str | None, region: str | None) -> T:
        answer: Future[T] = Future()

        def attempt() -> None:
            try:
                answer.set_result(self._call_alone(call, (seconds, seconds), bucket, region))
            except BaseException as error:
                answer.set_exception(error)

        # a thread bounds all of it: name lookup, credentials, a lock that the interrupted code holds
        threading.Thread(target=attempt, name="ci-cancel", daemon=True).start()
        try:
            return answer.result(seconds)
        except TimeoutError:
            raise TransportError(f"No answer within {seconds:g} s", sent=True) from None

    def _call_alone(
        self, call: ApiRequest[T], timeout: tuple[float, float], bucket: str | None, region: str | None
    ) -> T:
        endpoint, provider = self.settings.endpoint(bucket, region), self.settings.provider
        # those at hand, though newer ones may be due: there is no time to ask for them
        send = self._signed(call, endpoint, provider.held() or provider.get())
        with transport.new_session(loopback=self.settings.is_loopback) as session:
            return call.parse(transport.exchange(session, send, timeout))

    def _repeat(
        self,
        call: ApiRequest[Any],
        attempt: Callable[[Credentials], T],
        retry: RetryPolicy | None = None,
    ) -> T:
        retry, recovery, count = retry or self.settings.retry, Recovery(self.settings, call), 0
        while True:
            try:
                return attempt(recovery.begin())
            except TencentCIError as error:
                if recovery.should_retry_after_refresh(error):
                    continue
                count += 1
                left = self._end - monotonic()
                if call.expires_at is not None:
                    left = min(left, int(call.expires_at) - self.now())
                pause = retry.pause(count, error, idempotent=call.idempotent, time_left=left)
                if pause is None or count >= self._attempts:
                    raise
                self.log.warning("Attempt %d failed, again in %.1f s: %s", count, pause, error)
                (self.sleep or time.sleep)(pause)

    def _signed(self, call: ApiRequest[Any], endpoint: Endpoint, credentials: Credentials) -> SignedRequest:
        # for each attempt anew: a signature expires
        return sign_request(
            call.http_request(), endpoint, credentials, now=self.now(), expires_at=call.expires_at
        )


def _distinct(job_ids: Sequence[str]) -> list[str]:
    check_list("job_ids", job_ids)
    ids = list(job_ids)  # what can be read only once, too
    check_job_ids(ids)
    return list(dict.fromkeys(ids))


def _diagnosis(error: TencentCIError, source: str) -> str:
    if isinstance(error, ConfigurationError):
        return "The environment of this process is wrong"
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
