"""The emulator as an object: start it, use its URL, stop it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av  # noqa: F401 - first of the dependencies, so that this one is named when they are missing
from aiohttp import web

from tencent_ci_emulator.admin.admin_calls import AdminCalls
from tencent_ci_emulator.admin.status_page import StatusPage
from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import DEMO_BUCKET, EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.faults.fault_plan import FaultPlan
from tencent_ci_emulator.http.application import Application
from tencent_ci_emulator.jobs.batches import BatchCalls, BatchRunner
from tencent_ci_emulator.jobs.bucket_services import BucketServices
from tencent_ci_emulator.jobs.callbacks import Callbacks
from tencent_ci_emulator.jobs.engine import JobEngine
from tencent_ci_emulator.jobs.job_calls import JobCalls
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.jobs.queue_scheduler import QueueScheduler
from tencent_ci_emulator.jobs.queues import Queues
from tencent_ci_emulator.jobs.submission import Submission
from tencent_ci_emulator.jobs.templates import Templates
from tencent_ci_emulator.ledger import Ledger
from tencent_ci_emulator.objects.buckets import Buckets
from tencent_ci_emulator.objects.data_folder import DATABASE, lock_data_folder
from tencent_ci_emulator.objects.multipart import UploadStore
from tencent_ci_emulator.objects.object_calls import ObjectCalls
from tencent_ci_emulator.objects.object_store import ObjectStore
from tencent_ci_emulator.observed import ObservedBehaviour

_log = logging.getLogger(__name__)

_START_SECONDS = 120  # generous, for a machine that is busy with other work
# The tables of the ids that paths of CI name, by the first part of the path
_TABLES_OF_IDS = {
    "jobs": "jobs",
    "inventorytriggerjob": "batches",
    "template": "templates",
    **dict.fromkeys(("queue", "asrqueue", "picqueue", "ai_queue", "file_queue"), "queues"),
}


class Emulator:
    """A COS and CI service that runs in threads of this process.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`::

        with Emulator() as emulator:
            print(emulator.url)

    The arguments are those of :class:`~tencent_ci_emulator.config.EmulatorConfig`; without ``data_dir`` a
    temporary folder is used, and removed by :meth:`stop`. ``buckets`` adds buckets to ``bucket``, the default
    one.

    :param clock: another clock than the machine's, such as :class:`~tencent_ci_emulator.clock.VirtualClock`.
    :param faults: a fault plan, or the file that holds one.
    :param as_observed: a report of ``make live``, or the JSON file that holds one: the emulator behaves as
        the service did, where no document says how
        (:class:`~tencent_ci_emulator.observed.ObservedBehaviour`).
    :ivar faults: the fault plan, a :class:`~tencent_ci_emulator.faults.fault_plan.FaultPlan`.
    :ivar ledger: the requests, jobs and callbacks, a :class:`~tencent_ci_emulator.ledger.Ledger`.
    :ivar bucket: the default bucket.
    :ivar region: the region of all buckets.
    :ivar secret_id: the one SecretId that is known.
    :ivar secret_key: its key.
    :ivar admin_token: the token of the admin path, for the header ``X-Emulator-Token``.
    :raises ValueError: a setting, the fault plan or the report is not allowed.
    :raises OSError: the file of the fault plan or of the report cannot be read.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        bucket: str = DEMO_BUCKET,
        buckets: Sequence[str] = (),
        admin_token: str | None = None,
        clock: Clock | None = None,
        faults: Path | str | Mapping[str, Any] | None = None,
        as_observed: Path | str | Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self._is_temporary = data_dir is None
        if admin_token is not None:
            settings["admin_token"] = admin_token
        if as_observed is not None:
            settings["observed"] = ObservedBehaviour.read(as_observed)
        # The folder is made by start(), so that an emulator that is never started leaves nothing behind
        folder = Path(tempfile.gettempdir()) if data_dir is None else Path(data_dir)
        names = tuple(dict.fromkeys((bucket, *buckets)))
        self.config = config = EmulatorConfig(data_dir=folder, buckets=names, **settings)
        self.bucket, self.region = config.default_bucket, config.region
        self.secret_id, self.secret_key = config.secret_id, config.secret_key
        self.admin_token = config.admin_token
        self.clock = clock or Clock()
        self.faults = FaultPlan()
        self.ledger = Ledger()
        if faults is not None:
            self.faults.load(faults)
        self._server: _Server | None = None

    def start(self) -> Emulator:
        """Start serving; return when requests are served.

        :raises OSError: the port is taken, or the folder cannot be used or is in use by another emulator.
        :raises ValueError: the folder holds files that no emulator has made.
        :raises RuntimeError: it is running already.
        """
        if self._server is not None:
            raise RuntimeError("the emulator is running already")
        if self._is_temporary:
            folder = Path(tempfile.mkdtemp(prefix="airflow-ci-emulator-"))
            self.config = replace(self.config, data_dir=folder)
        try:
            server = _Server(self.config, self.clock, self.faults, self.ledger)
            server.start()
        except BaseException:
            self._remove_temporary_folder()
            raise
        self._server = server
        return self

    def stop(self) -> None:
        """Stop at once: close the port, end the threads, remove a temporary folder.

        Does nothing if it is not running. The next start on the same folder runs unfinished jobs.
        """
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            self._remove_temporary_folder()

    def buckets(self) -> list[str]:
        """Return the names of all buckets, those that clients have made too.

        :raises RuntimeError: the emulator is not running.
        """
        return self._require_server().bucket_names()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The TCP port.

        :raises RuntimeError: the emulator is not running.
        """
        return self._require_server().port

    @property
    def url(self) -> str:
        """The address, ``http://127.0.0.1:<port>``, without a slash at its end.

        :raises RuntimeError: the emulator is not running.
        """
        host = self.config.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def admin_url(self) -> str:
        """The address of the admin path, which shows the status page.

        :raises RuntimeError: the emulator is not running.
        """
        return f"{self.url}/_emulator/"

    @property
    def connection(self) -> dict[str, Any]:
        """An Airflow connection to this emulator, in the JSON form of ``AIRFLOW_CONN_*`` variables."""
        extra = {"bucket": self.bucket, "region": self.region, "endpoint_url": self.url}
        if self.config.security_token is not None:
            extra["security_token"] = self.config.security_token
        return {
            "conn_type": "tencent_ci",
            "login": self.secret_id,
            "password": self.secret_key,
            "extra": extra,
        }

    def _require_server(self) -> _Server:
        if self._server is None:
            raise RuntimeError("the emulator is not running")
        return self._server

    def _remove_temporary_folder(self) -> None:
        if self._is_temporary:
            shutil.rmtree(self.config.data_dir, ignore_errors=True)


class _Server:
    """One run: everything that is opened by start and closed by stop."""

    def __init__(self, config: EmulatorConfig, clock: Clock, faults: FaultPlan, ledger: Ledger) -> None:
        self._config = config
        self._clock = clock
        self._faults = faults
        self._ledger = ledger
        self._has_started = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="emulator-server", daemon=True)
        self.port = 0
        self.bucket_names: Callable[[], list[str]] = list

    def start(self) -> None:
        self._thread.start()
        if not self._has_started.wait(_START_SECONDS):
            raise TimeoutError(f"the emulator did not start within {_START_SECONDS} seconds")
        if self._error is not None:
            self._thread.join()
            raise self._error

    def stop(self) -> None:
        if self._stop is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._open_folder_and_serve())
        except BaseException as error:
            self._error = error
            if self._has_started.is_set():
                _log.exception("the emulator has failed")
        finally:
            self._has_started.set()

    async def _open_folder_and_serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), (stop := asyncio.Event())
        with lock_data_folder(self._config.data_dir):
            database = Database(self._config.data_dir / DATABASE)
            self._ledger.attach(database, self._config.observed)
            try:
                parts = _Parts(self._config, database, self._clock, self._faults, self._ledger)
                self.bucket_names = parts.buckets.names
                await self._serve(parts, stop)
            finally:
                self._ledger.attach(None)
                database.close()

    async def _serve(self, parts: _Parts, stop: asyncio.Event) -> None:
        runner = web.AppRunner(
            parts.application, access_log=None, auto_decompress=False, shutdown_timeout=1.0
        )
        await runner.setup()
        try:
            await parts.callbacks.open()
            # Before the first request, whose job start() would otherwise schedule a second time
            parts.engine.start()
            parts.batch_runner.start()
            try:
                site = web.TCPSite(runner, self._config.host, self._config.port)
                await site.start()
                self.port = runner.addresses[0][1]
                self._has_started.set()
                await stop.wait()
            finally:
                await parts.callbacks.close()
                await asyncio.to_thread(parts.batch_runner.stop)
                await asyncio.to_thread(parts.engine.stop)
        finally:
            await runner.cleanup()


class _Parts:
    """Makes the parts of a running emulator and connects them."""

    def __init__(
        self, config: EmulatorConfig, database: Database, clock: Clock, faults: FaultPlan, ledger: Ledger
    ) -> None:
        objects, jobs = ObjectStore(database, config.data_dir), JobStore(database)
        self.buckets = buckets = Buckets(config, database, clock)
        services = BucketServices(config, database, clock, buckets)
        templates = Templates(config, database, clock)
        queues = Queues(config, database, clock, buckets, services, jobs)
        self.callbacks = Callbacks(
            jobs,
            faults,
            ledger,
            clock,
            allow_remote=config.allow_remote_callbacks,
            observed=config.observed,
            call_at=lambda seconds, action: self.engine.call_at(seconds, action),
            notify_config_of_queue=queues.callbacks_of,
        )
        self.engine = JobEngine(
            jobs,
            objects,
            clock,
            queue_seconds=config.queue_seconds,
            run_seconds=config.run_seconds,
            workers=config.workers,
            skip_processing=config.skip_processing,
            ready_jobs=QueueScheduler(queues.limits),
            faults=faults,
            before_end=self.callbacks.before_end,
            observed=config.observed,
        )
        submission = Submission(
            config, database, clock, buckets, objects, jobs, templates, queues, self.engine
        )
        self.batch_runner = BatchRunner(database, clock, jobs, objects, submission)
        self.engine.on_end(self.callbacks.after_end)
        self.engine.on_end(lambda _job: self.batch_runner.wake())
        queues.on_change(self.engine.wake)
        queues.on_change(self.batch_runner.wake)
        job_calls = JobCalls(config, database, clock, jobs, submission, self.batch_runner.wake)
        batch_calls = BatchCalls(config, database, clock, jobs, submission, self.batch_runner)
        handlers = {
            name: handler
            for calls in (job_calls, templates, queues, services, batch_calls)
            for name, handler in calls.handlers().items()
        }

        def has_ids(bucket: str, kind: str, ids: list[str]) -> bool:
            """Return whether a bucket has one of the ids that a path of CI names."""
            return database.count(_TABLES_OF_IDS[kind], {"bucket": bucket, "id": tuple(ids)}) > 0

        self.application = Application(
            config,
            buckets,
            time.time,
            clock.now,
            handlers,
            has_ids,
            ObjectCalls(config, clock, buckets, objects, UploadStore(database, objects, config.data_dir)),
            faults,
            ledger,
            AdminCalls(
                config, clock, faults, ledger, StatusPage(config, database, clock, buckets, queues, objects)
            ),
        ).build()
