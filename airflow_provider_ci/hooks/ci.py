"""The hook: signs, retries and parses the calls of one Airflow connection."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    ConfigurationError,
    JobError,
    JobNotFoundError,
    ResponseTooLargeError,
    TencentCIError,
    TransportError,
)
from airflow_provider_ci.hooks import form, manifest, objects, result_files, transport
from airflow_provider_ci.hooks.attempts import Attempts
from airflow_provider_ci.hooks.batches import Batches
from airflow_provider_ci.hooks.callback_address import hide_callback_secret, with_callback_address
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.hooks.objects import StoredFile
from airflow_provider_ci.hooks.probable_cause import probable_cause
from airflow_provider_ci.hooks.queues import Queues
from airflow_provider_ci.hooks.templates import Templates
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.errors import is_not_accepted
from airflow_provider_ci.protocol.job_types.job_type import ASR
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE
from airflow_provider_ci.protocol.jobs import (
    IDS_PER_REQUEST,
    LIST_SIZE_MAX,
    CancelJobs,
    DescribeJobs,
    Job,
    JobsResponse,
    ListJobs,
    SubmitJob,
    check_job_ids,
    merge_responses,
    with_output_location,
)
from airflow_provider_ci.protocol.lists import PagedRequest
from airflow_provider_ci.protocol.media_info import MediaInfo
from airflow_provider_ci.protocol.objects import (
    GetMediaInfo,
    GetObject,
    HeadObject,
    ListedObject,
    ListObjects,
    ObjectHead,
    PutObject,
)
from airflow_provider_ci.protocol.overlap import overlapping_results_of_job, refuse_overlapping_results
from airflow_provider_ci.protocol.rules import check_list
from airflow_provider_ci.protocol.services import BucketBinding, OpenBucket
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import Endpoint, SignedRequest

if TYPE_CHECKING:
    import requests

    from airflow_provider_ci.hooks.manifest import ManifestLine
    from airflow_provider_ci.protocol.results import JobResult

T = TypeVar("T")
Item = TypeVar("Item")

# Shortest timeout in seconds, so that a normal response is still read close to the deadline
_MIN_TIMEOUT = 5.0


class TencentCIHook(BaseHook):
    """Makes calls to Tencent Cloud Infinite (CI) through an Airflow connection of type ``tencent_ci``.

    Nothing is read or sent before the first call. Reads are repeated after lost connections, timeouts,
    throttling and 5xx; a submission only if it certainly was not accepted. One hook has one connection pool,
    which several threads may use, and which ``with TencentCIHook() as hook:`` closes at the end.

    The methods are about jobs and objects; those about other subjects are in :attr:`batches`,
    :attr:`templates` and :attr:`queues`.

    .. seealso:: ``docs/connections.md``

    :param tencent_ci_conn_id: id of the Airflow connection. Its bucket and region are defaults that each call
        can override.
    """

    conn_name_attr = "tencent_ci_conn_id"
    default_conn_name = "tencent_ci_default"
    conn_type = "tencent_ci"
    hook_name = "Tencent Cloud Infinite (CI)"
    # Airflow before 3.2 looks for these in the class itself, and does not find inherited ones
    get_ui_field_behaviour = staticmethod(form.ui_field_behaviour)
    get_connection_form_widgets = staticmethod(form.connection_form_widgets)
    #: Waits between two attempts of a call. An operator replaces it by one that ends when its task is killed.
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def __init__(self, tencent_ci_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.tencent_ci_conn_id = tencent_ci_conn_id
        self._max_attempts = math.inf
        self._deadline = math.inf

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the connection, with its secrets and locks, and the session; a copy makes its own."""
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

    @property
    def batches(self) -> Batches:
        """Calls about batch jobs."""
        return Batches(self)

    @property
    def templates(self) -> Templates:
        """Calls about voice-separation templates."""
        return Templates(self)

    @property
    def queues(self) -> Queues:
        """Calls about queues."""
        return Queues(self)

    def now(self) -> float:
        """Return the service's Unix time: this machine's, unless the service has shown that it is wrong."""
        return self.settings.clock.now()

    def get_conn(self) -> requests.Session:
        """Return the pooled HTTP session of this hook."""
        return self._session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections; the next call opens new ones."""
        session = self.__dict__.pop("_session", None)
        if session is not None:
            session.close()

    @contextmanager
    def limit(self, *, attempts: float = math.inf, seconds: float = math.inf) -> Iterator[None]:
        """Limit the calls inside the block, for callers that repeat calls themselves or have a deadline.

        :param attempts: how often each call is tried at most; never more often than the connection says.
        :param seconds: no attempt begins later. Timeouts are shortened to the time that is left, but not to
            less than 5 s. An inner block cannot extend the time of an outer one.
        """
        outer = self._max_attempts, self._deadline
        self._max_attempts, self._deadline = attempts, min(self._deadline, monotonic() + seconds)
        try:
            yield
        finally:
            self._max_attempts, self._deadline = outer

    def call(self, request: ApiRequest[T], *, bucket: str | None = None, region: str | None = None) -> T:
        """Send any request of :mod:`airflow_provider_ci.protocol`, and return its parsed response.

        :raises TencentCIError: an error of the request's ``parse``, or :class:`TransportError`.
        """

        def send(signed_request: SignedRequest) -> T:
            return request.parse(transport.send(self._session, signed_request, self._timeouts))

        return self._repeat(request, self.settings.endpoint(bucket, region), send)

    def call_paid(self, request: ApiRequest[T], *, bucket: str | None = None, region: str | None = None) -> T:
        """Send a request that costs money.

        :raises AmbiguousSubmissionError: it is unknown whether the service accepted it.
        """
        try:
            return self.call(request, bucket=bucket, region=region)
        except TencentCIError as error:
            if _is_certainly_not_accepted(error):
                raise
            raise AmbiguousSubmissionError(
                "It is unknown whether the service accepted the job: it may run and be billed",
                status=error.status,
                code=error.code,
                service_message=error.service_message or error.message,
                request_id=error.request_id,
                hint="Look for it in the job list (by input object and time) before submitting again",
            ) from error

    def call_within(
        self,
        request: ApiRequest[T],
        seconds: float,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> T:
        """Send ``request`` once, on a new connection, and return or raise within ``seconds``.

        For a process that is about to be killed.

        :raises TransportError: no response in time; the service may have carried out the request.
        """
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(self._call_once(request, seconds, self.settings.endpoint(bucket, region)))
            except BaseException as error:
                result.set_exception(error)

        # A thread, so that the limit also covers name lookup, credentials, and locks held by the code that a
        # signal has interrupted
        threading.Thread(target=run, name="ci-cancel", daemon=True).start()
        try:
            return result.result(seconds)
        except TimeoutError:
            raise TransportError(f"No response within {seconds:g} s", sent=True) from None

    def pages(
        self, request: PagedRequest[Any, Item], *, bucket: str | None = None, region: str | None = None
    ) -> Iterator[Item]:
        """Yield the items of each page; the next page is requested when they have been consumed."""
        next_request: PagedRequest[Any, Item] | None = request
        while next_request is not None:
            try:
                page = self.call(next_request, bucket=bucket, region=region)
            except ResponseTooLargeError:
                smaller = next_request.smaller()
                if smaller is None:
                    raise
                next_request = smaller
                continue
            yield from next_request.items(page)
            next_request = next_request.next_page(page)

    def submit_job(
        self,
        job: Tree,
        *,
        expires_at: float | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> tuple[Job, str | None]:
        """Submit a job once; return it as accepted, and the request id.

        Results go to the input's bucket and region, unless ``job`` names others. The address of the
        connection's callback endpoint replaces ``auto`` in ``CallBack``. The hook records nothing: after an
        ``AmbiguousSubmissionError`` look for the job before you submit it again.

        :param job: a dict with the names of Tencent's elements.
        :param expires_at: time by :meth:`now` after which the service refuses the submission.
        :param bucket: the input's bucket, ``<name>-<appid>``.
        :raises RequestValidationError: the job breaks a documented rule; nothing was sent.
        :raises AmbiguousSubmissionError: it is unknown whether the job was accepted.
        :raises ClockSkewError: ``expires_at`` was computed with a wrong clock. If the error is ``corrected``,
            :meth:`now` is right from now on, and the job can be submitted with a new ``expires_at``.
        :raises ServiceError: the service refused the job.
        """
        endpoint = self.settings.endpoint(bucket, region)
        job = with_output_location(job, endpoint)
        refuse_overlapping_results(overlapping_results_of_job(job, endpoint.bucket), job)
        submission = SubmitJob(with_callback_address(job, self.settings), expires_at)
        with hide_callback_secret(self.settings):
            response = self.call_paid(submission, bucket=bucket, region=region)
        return response.jobs_detail[0], response.request_id

    def describe_jobs(
        self, job_ids: Sequence[str], *, bucket: str | None = None, region: str | None = None
    ) -> JobsResponse:
        """Return the jobs, in the service's order, and the ids that it does not find.

        Any number of ids, also none; one request for each ten of them, or for fewer if their results are
        large. ``request_id`` is the last request's.

        :raises RequestValidationError: a value is not a job id, or ``job_ids`` is no list; nothing was sent.
        """
        merged = JobsResponse()
        for ids in _group_ids(job_ids):
            merged = merge_responses(merged, self._describe(ids, bucket, region))
        return merged

    def _describe(self, ids: tuple[str, ...], bucket: str | None, region: str | None) -> JobsResponse:
        """Describe jobs, fewer at a time if their results are too large for one response."""
        try:
            return self.call(DescribeJobs(ids), bucket=bucket, region=region)
        except ResponseTooLargeError:
            if len(ids) == 1:
                raise
        half = (len(ids) + 1) // 2
        first = self._describe(ids[:half], bucket, region)
        return merge_responses(first, self._describe(ids[half:], bucket, region))

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
        """Return an iterator over the matching jobs of a bucket, newest first.

        Each page is requested when the one before has been consumed.

        :param size: jobs on a page; the default is the maximum. 1 is enough to know whether there is any.

        Parameters as in :class:`~airflow_provider_ci.protocol.jobs.ListJobs`.
        """
        request = ListJobs(
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
        )
        return self.pages(request, bucket=bucket, region=region)

    def cancel_jobs(
        self, job_ids: Sequence[str], *, bucket: str | None = None, region: str | None = None
    ) -> None:
        """Ask the service to cancel jobs that have not begun. Describe them afterwards to see which it did.

        Any number of ids, also none; one request for each ten of them.

        :raises RequestValidationError: a value is not a job id, or ``job_ids`` is no list; nothing was sent.
        """
        for ids in _group_ids(job_ids):
            self.call(CancelJobs(ids), bucket=bucket, region=region)

    def job_result(self, job_id: str, *, bucket: str | None = None, region: str | None = None) -> JobResult:
        """Return a job as operators push it to XCom, but with all of its ``result``, however long.

        :param bucket: the input's bucket.
        :raises JobNotFoundError: the service does not find the job.
        """
        from airflow_provider_ci.protocol.results import job_result

        response = self.describe_jobs([job_id], bucket=bucket, region=region)
        found = next((job for job in response.jobs_detail if job.job_id == job_id), None)
        if found is None:
            raise JobNotFoundError(
                f"The service does not find job {job_id}",
                request_id=response.request_id,
                job_id=job_id,
                hint="Check bucket and region: they must be the input's. Jobs are kept for a month",
            )
        return job_result(found, max_bytes=None)

    def download_results(
        self,
        job: JobResult | str,
        folder: str | PathLike[str],
        *,
        names: Sequence[str] | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> dict[str, StoredFile]:
        """Download the files that a job has written into a folder, which is made if it does not exist.

        The files have the last part of their keys as names. If it is the same for several, the result's name
        is added. A file of that name that is already there is replaced.

        :param job: XCom ``job`` of an operator or sensor, or a job id.
        :param names: which files: names in ``outputs``; ``other_0``, ``other_1``, … are those in
            ``other_objects``. Default: all.
        :param bucket: the input's bucket, where a job id is looked for.
        :return: the files by their names; empty if the job has written none.
        :raises RequestValidationError: the job has not ended with ``Success``, or has no such result.
        :raises JobNotFoundError: the service does not find the job.
        :raises InvalidResponseError: a file's MD5 is not the one that the service named.
        """
        result = self.job_result(job, bucket=bucket, region=region) if isinstance(job, str) else job
        if isinstance(result, Mapping) and result.get("omitted_files"):
            result = self.job_result(
                str(result["job_id"]),
                bucket=result["input"]["bucket"] or bucket,
                region=result["input"]["region"] or region,
            )
        found = result_files.choose_files(result, names)
        paths = result_files.paths_of(result_files.files_of(result), folder)
        Path(folder).mkdir(parents=True, exist_ok=True)
        return {
            name: self.download_file(
                file["object"],
                paths[name],
                md5=file["md5"],
                bucket=file["bucket"] or bucket,
                region=file["region"] or region,
            )
            for name, file in found.items()
        }

    def download_folder(
        self,
        prefix: str,
        folder: str | PathLike[str],
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> dict[str, StoredFile]:
        """Download all objects whose keys begin with ``prefix``. The folder is made if it does not exist.

        For results of a batch or of streaming, of which no job names all files. Objects below ``prefix`` get
        folders of their own; characters that a file system may not have become ``_``. A file that is already
        there is replaced.

        :param prefix: as ``out/b123/``; the part after its last ``/`` belongs to the files' names.
        :return: the files by their keys; empty if there are none.
        :raises RequestValidationError: two objects would be the same file. Nothing was downloaded.
        """
        listed = self.list_objects(prefix, bucket=bucket, region=region)
        paths = result_files.paths_below((each.key for each in listed), prefix, folder)
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        return {
            key: self.download_file(key, path, bucket=bucket, region=region) for key, path in paths.items()
        }

    def head_object(self, key: str, *, bucket: str | None = None, region: str | None = None) -> ObjectHead:
        """Return size, storage class and other properties of an object, without its content.

        :raises NotFoundError: there is no such object.
        :raises PermissionDeniedError: ``cos:HeadObject`` is not permitted, or the SecretKey is wrong.
        """
        return self.call(HeadObject(key), bucket=bucket, region=region)

    def media_info(self, key: str, *, bucket: str | None = None, region: str | None = None) -> MediaInfo:
        """Return format and streams of a media object, measured by the service."""
        return self.call(GetMediaInfo(key), bucket=bucket, region=region)

    def download_file(
        self,
        key: str,
        path: str | PathLike[str],
        *,
        md5: str | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> StoredFile:
        """Download an object to ``path``, where the file appears only when it is complete.

        :param md5: hex MD5 that the content must have, for instance ``outputs["voice"]["md5"]`` of a job's
            result. Content that differs is downloaded once more.
        :raises RequestValidationError: ``md5`` is not an MD5.
        :raises NotFoundError: there is no such object.
        :raises InvalidResponseError: the content's MD5 differs.
        """
        request = GetObject(key)
        download = objects.Download(request, path, md5)

        def send(signed_request: SignedRequest) -> StoredFile:
            with transport.open_response(self._session, signed_request, self.settings.timeouts) as response:
                return download.receive(response, signed_request, self.settings.read_timeout)

        return self._repeat(request, self.settings.endpoint(bucket, region), send)

    def upload_file(
        self,
        path: str | PathLike[str],
        key: str,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> StoredFile:
        """Upload a file of at most 5 GB as an object; the service checks its MD5.

        The object's content type is guessed from the end of the key, else from that of the path. An object
        that is already there is replaced.
        """
        upload = objects.Upload(path, key)
        request = PutObject(key, upload.content_md5, upload.content_type)

        def send(signed_request: SignedRequest) -> StoredFile:
            with upload.open() as data:
                response = transport.send(self._session, signed_request, self.settings.timeouts, data=data)
            request.parse(response)
            return upload.stored

        return self._repeat(request, self.settings.endpoint(bucket, region), send)

    def list_objects(
        self, prefix: str = "", *, bucket: str | None = None, region: str | None = None
    ) -> Iterator[ListedObject]:
        """Return an iterator over the objects whose keys begin with ``prefix``, in the order of their UTF-8.

        Each page of 1,000 is requested when the one before has been consumed. An object that was uploaded a
        moment ago may not be listed yet (436/7734).
        """
        return self.pages(ListObjects(prefix), bucket=bucket, region=region)

    def read_manifest(
        self,
        key: str,
        states: Iterable[str | None] = (),
        *,
        md5: str | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Iterator[ManifestLine]:
        """Return an iterator over the lines of the manifest that a bulk task has written.

        It reads one line at a time, from a temporary file that is removed afterwards.

        :param key: of the manifest: ``object`` in ``manifest`` of the task's result.
        :param states: only items whose job is in one of these states; ``None`` is an item without a job.
        :param md5: hex MD5 that the manifest must have.
        :raises InvalidResponseError: the manifest's MD5 differs.
        :raises RequestValidationError: the object is no such manifest, or ``states`` has no state of a job.
        :raises NotFoundError: there is no such object.
        """
        chosen = manifest.read_states(states)
        return manifest.read_manifest(self, key, chosen, md5=md5, bucket=bucket, region=region)

    def write_manifest(
        self,
        lines: Iterable[ManifestLine],
        key: str,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> StoredFile:
        """Upload lines, of which only one at a time is in memory, as a manifest."""
        return manifest.write_manifest(self, lines, key, bucket=bucket, region=region)

    def open_service(
        self, service: str = ASR, *, bucket: str | None = None, region: str | None = None
    ) -> BucketBinding | None:
        """Open a service for a bucket, which also binds the bucket to CI.

        :param service: ``asr`` (smart audio, which voice separation needs), ``media``, ``pic``, ``ai_`` or
            ``file_``; ``docs/job-types.md`` says which type of job needs which.
        :return: the binding; ``None`` if the service was open already.
        """
        return self.call(OpenBucket(service), bucket=bucket, region=region)

    def test_connection(self) -> tuple[bool, str]:
        """List one job, and say which of credentials, permission, bucket or region is wrong."""
        try:
            endpoint = self.settings.endpoint()
        except ConfigurationError as error:
            return False, f"The connection is incomplete or wrong: {error}"
        try:
            with self.limit(attempts=1):
                self.call(ListJobs(size=1))
        except TencentCIError as error:
            return False, f"{probable_cause(error, self.settings.credentials_provider.name)}: {error}"
        return True, f"Bucket {endpoint.bucket} in {endpoint.region} responds, and its jobs may be listed"

    @property
    def _timeouts(self) -> tuple[float, float]:
        longest = max(self._deadline - monotonic(), _MIN_TIMEOUT)
        connect, read = self.settings.timeouts
        return min(connect, longest), min(read, longest)

    def _repeat(self, request: ApiRequest[Any], endpoint: Endpoint, send: Callable[[SignedRequest], T]) -> T:
        """Sign ``request`` and call ``send`` with it, until that succeeds or must not be repeated."""
        attempts = Attempts(request, endpoint, self.settings, max_attempts=self._max_attempts)
        while True:
            try:
                credentials = self.settings.credentials.get(newer_than=attempts.refused_credentials)
                return send(attempts.sign(credentials))
            except TencentCIError as error:
                # raises the error if there is no further attempt; 0 if the signature was corrected
                pause = attempts.recover_from(error, time_left=self._deadline - monotonic())
                if pause == 0:
                    continue
                self.log.warning("Attempt %d failed, retrying in %.1f s: %s", attempts.failed, pause, error)
            self.sleep(pause)

    def _call_once(self, request: ApiRequest[T], seconds: float, endpoint: Endpoint) -> T:
        credentials = self.settings.credentials
        # the cached ones, even if they should be refreshed: there is no time for that
        usable = credentials.cached() or credentials.get()
        signed_request = Attempts(request, endpoint, self.settings).sign(usable)
        with transport.new_session(loopback=self.settings.is_loopback) as session:
            return request.parse(transport.send(session, signed_request, (seconds, seconds)))


def _is_certainly_not_accepted(error: TencentCIError) -> bool:
    """Tell whether a call that costs money failed, and the service has certainly not accepted it."""
    if isinstance(error, ValueError):  # the request or the connection is wrong: nothing was sent
        return True
    # the task was killed in the pause before a repetition; only a submission that the service has certainly
    # refused is repeated
    if isinstance(error, JobError):
        return True
    return is_not_accepted(error)


def _group_ids(job_ids: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the distinct ids, in groups that one request can name."""
    check_list("job_ids", job_ids)
    ids = list(job_ids)  # an iterator can be read only once
    check_job_ids(ids)
    ids = list(dict.fromkeys(ids))
    return [tuple(ids[start : start + IDS_PER_REQUEST]) for start in range(0, len(ids), IDS_PER_REQUEST)]
