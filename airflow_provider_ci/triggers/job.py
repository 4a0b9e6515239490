"""Waits for jobs in the triggerer, so that no worker has to."""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_ci.exceptions import RequestValidationError, TencentCIError
from airflow_provider_ci.protocol.names import ID

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.aio import AsyncClient
    from airflow_provider_ci.protocol.api_request import ApiRequest
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.wire import Endpoint
    from airflow_provider_ci.submission.tracking import JobTracker

#: The ``status`` of an event: the jobs have ended (successfully or not), the deadline has passed, or the
#: waiting itself failed.
ENDED, TIMEOUT, ERROR = "ended", "timeout", "error"

#: How many polls of a job in a row the service may refuse: somebody may correct the SecretKey
#: meanwhile, for instance. Outages do not count; they are waited out until the deadline.
REFUSALS_TOLERATED = 10
# Ids in an event or a log line: thousands would not fit
_MAX_IDS_LISTED = 20
# Airflow gives up after 30 s ([triggerer] on_kill_timeout)
_CANCEL_SECONDS = 20.0
# Of these, for asking first which jobs have ended
_DESCRIBE_SECONDS = 5.0
# Keeps the tasks alive that cancel jobs: the event loop has weak references only
_cancelling: set[asyncio.Task[None]] = set()


async def load(module: str) -> None:
    """Import a module in a thread. On the event loop, its libraries would hold all other triggers up for a
    third of a second.
    """
    found = sys.modules.get(module)
    # A module that another thread still imports is there already, but an import would wait for that thread
    if found is None or getattr(found.__spec__, "_initializing", False):
        await asyncio.to_thread(import_module, module)


def _check(name: str, value: Any, is_allowed: object, allowed: str) -> None:
    if not is_allowed:
        raise RequestValidationError([f"{name} is {value!r:.200}, allowed: {allowed}"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class TencentCIJobTrigger(BaseTrigger):
    """Waits until all jobs have ended, or one has failed, or the deadline has passed; then fires one event.

    The event is a dict. ``status`` is ``ended`` (all have, or one without success), ``timeout`` or ``error``;
    ``job_ids`` has the first 20. It holds no results: ask the service for them. One poller serves all
    triggers of a triggerer that use the same connection, bucket and region.

    :param job_ids: the jobs, one or more.
    :param tencent_ci_conn_id: the Airflow connection.
    :param bucket: the bucket of the jobs' input; default: the connection's.
    :param region: its region; default: the connection's.
    :param poll_interval: longest pause between two polls, seconds.
    :param deadline: Unix time at which waiting ends; default: seven days after ``started_at``.
    :param cancel_on_kill: cancel the jobs when a user clears the waiting task or marks it failed (Airflow
        3.3 or newer).
    :param started_at: Unix time at which the wait began; default: now. With it a wait continues after a
        restart of the triggerer.
    :param expects_callback: Airflow's callback endpoint resumes the task when the job has ended, so all
        pauses last ``poll_interval``, also the first ones.
    :raises RequestValidationError: naming the argument that cannot work. In the triggerer the error would
        come after the jobs have been paid for.
    """

    def __init__(
        self,
        job_ids: Sequence[str],
        tencent_ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        poll_interval: float = 30.0,
        deadline: float | None = None,
        cancel_on_kill: bool = True,
        started_at: float | None = None,
        expects_callback: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_ids = self._read_ids(job_ids)
        is_conn_id = isinstance(tencent_ci_conn_id, str)
        _check("tencent_ci_conn_id", tencent_ci_conn_id, is_conn_id, "the id of a connection")
        for name, value in (("bucket", bucket), ("region", region)):
            _check(name, value, value is None or isinstance(value, str), "a string")
        is_interval = _is_number(poll_interval) and poll_interval > 0
        _check("poll_interval", poll_interval, is_interval, "seconds above 0")
        for name, unix_time in (("deadline", deadline), ("started_at", started_at)):
            _check(name, unix_time, unix_time is None or _is_number(unix_time), "a Unix time")
        # the string "false" would count as true
        for name, flag in (("cancel_on_kill", cancel_on_kill), ("expects_callback", expects_callback)):
            _check(name, flag, isinstance(flag, bool), "True or False")
        self.tencent_ci_conn_id = tencent_ci_conn_id
        self.bucket = bucket
        self.region = region
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.cancel_on_kill = cancel_on_kill
        self.started_at = time.time() if started_at is None else started_at
        self.expects_callback = expects_callback

    @staticmethod
    def _read_ids(job_ids: Any) -> list[str]:
        # a string would be taken for a list of its characters, each of which would be waited for
        is_list = isinstance(job_ids, Iterable) and not isinstance(job_ids, str | bytes | bytearray | Mapping)
        ids = list(job_ids) if is_list else []
        if not ids:
            raise RequestValidationError([f"job_ids is {job_ids!r}, allowed: a list of one or more job ids"])
        for job_id in ids:
            # a template renders an id that does not exist as "None"
            is_id = isinstance(job_id, str) and ID.fullmatch(job_id) and job_id != "None"
            _check("an element of job_ids", job_id, is_id, "an id of 1 to 128 letters, digits, _ and -")
        return ids

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and exactly the constructor's arguments, JSON-native."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_ids": self.job_ids,
                "tencent_ci_conn_id": self.tencent_ci_conn_id,
                "bucket": self.bucket,
                "region": self.region,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "cancel_on_kill": self.cancel_on_kill,
                "started_at": self.started_at,
                "expects_callback": self.expects_callback,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the event."""
        await load("airflow_provider_ci.submission.waiting")
        from airflow_provider_ci.submission.waiting import DEFAULT_TIMEOUT

        deadline = self.started_at + DEFAULT_TIMEOUT if self.deadline is None else self.deadline
        try:
            async with asyncio.timeout(max(deadline - time.time(), 0.0)):
                event = await self._wait()
        except TimeoutError:
            event = self._event(TIMEOUT)
        except TencentCIError as error:
            if len(self.job_ids) == 1:
                error.job_id = self.job_ids[0]
            failure = {"error": type(error).__name__, "message": error.message, "details": error.details}
            event = self._event(ERROR) | failure
        if self.expects_callback:  # the event of a callback does not have it
            event["fired_at"] = time.time()
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the jobs if a user has cleared or ended the task. Airflow calls this from 3.3 on.

        Airflow also calls it when a callback has resumed the task, and when another triggerer has taken over
        the triggers of this one, which was held up. So the first step is to ask Airflow for the task's state,
        and the second to ask the service which jobs have not ended. If Airflow cannot be asked, nothing is
        cancelled.
        """
        if not self.cancel_on_kill:
            return
        # Airflow 3.3 cancels this coroutine again each second until the trigger has ended
        work = asyncio.create_task(self._cancel_jobs())
        _cancelling.add(work)
        work.add_done_callback(_cancelling.discard)
        await asyncio.shield(work)

    async def _cancel_jobs(self) -> None:
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                reason = await self._reason_not_to_cancel()
                if reason is None:
                    reason = await self._cancel_pending_jobs()
        except Exception as error:  # best effort: the user has ended the task already
            message = str(error) or type(error).__name__
            self.log.warning("Jobs %s could not be cancelled: %s", self._shown_ids, message)
            return
        if reason is None:
            self.log.info("Asked to cancel jobs %s; only jobs that have not started can be", self._shown_ids)
        else:
            self.log.info("Jobs %s are not cancelled: %s", self._shown_ids, reason)

    async def _reason_not_to_cancel(self) -> str | None:
        """Return why the jobs may still belong to the task, or ``None`` if a user has cleared or ended it, as
        far as Airflow can say.
        """
        from airflow_provider_ci import current_try

        ti: Any = self.task_instance
        try:
            state = await asyncio.to_thread(current_try.state_of_task, ti)
            if self.expects_callback and state in ("scheduled", "queued"):
                return f"the task is {state} after a callback, or was cleared and its next try cancels them"
            if state == "success" and await asyncio.to_thread(current_try.pushed_state, ti) == "Success":
                return "the task has succeeded with them"  # quicker than the triggerer
            needs_jobs = state in current_try.WAITING
            if state == "running":
                # The task was resumed after another triggerer's event, or this is a new try. A new try first
                # deletes what earlier ones have pushed, so it has no id yet. It finds the job and continues
                # with it, or cancels it itself
                pushed_id = await asyncio.to_thread(current_try.pushed_id, ti)
                is_new_try = pushed_id is None
                needs_jobs = is_new_try or pushed_id in self.job_ids
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise TencentCIError(f"Airflow could not be asked for the task's state: {reason}") from error
        return f"the task is {state} and still needs them" if needs_jobs else None

    async def _cancel_pending_jobs(self) -> str | None:
        """Ask the service to cancel the jobs that have not ended. Return the reason if there are none."""
        await load("airflow_provider_ci.hooks.aio")
        from airflow_provider_ci.hooks.aio import AsyncClient, load_settings

        settings = await load_settings(self.tencent_ci_conn_id)
        endpoint = settings.endpoint(self.bucket, self.region)
        async with AsyncClient(settings) as client:
            job_ids = await self._pending_ids(client, endpoint)
            for request in self._cancel_requests(job_ids):
                await client.call(request, endpoint)
        return None if job_ids else "they have begun or ended"

    async def _pending_ids(self, client: AsyncClient, endpoint: Endpoint) -> list[str]:
        """Return the jobs that have not ended, as far as the service can say within one attempt."""
        from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, DescribeJobs

        if len(self.job_ids) > IDS_PER_REQUEST:
            return list(self.job_ids)  # the time is needed to cancel them
        ended: set[str | None] = set()
        with suppress(TencentCIError, TimeoutError):
            async with asyncio.timeout(_DESCRIBE_SECONDS):
                response = await client.call(DescribeJobs(tuple(self.job_ids)), endpoint, max_attempts=1)
            ended.update(job.job_id for job in response.jobs_detail if job.job_state.is_terminal)
        return [job_id for job_id in self.job_ids if job_id not in ended]

    def _cancel_requests(self, job_ids: Sequence[str]) -> list[ApiRequest[None]]:
        from airflow_provider_ci.protocol.jobs import CancelJobs

        return [CancelJobs(ids) for ids in self._requested_together(job_ids)]

    @staticmethod
    def _requested_together(job_ids: Sequence[str]) -> list[tuple[str, ...]]:
        from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST

        starts = range(0, len(job_ids), IDS_PER_REQUEST)
        return [tuple(job_ids[start : start + IDS_PER_REQUEST]) for start in starts]

    async def _wait(self) -> dict[str, Any]:
        await load("airflow_provider_ci.triggers.poller")
        from airflow_provider_ci.submission.tracking import JobTracker
        from airflow_provider_ci.submission.waiting import FIRST_DELAY, is_outage
        from airflow_provider_ci.triggers.poller import Group, subscribe

        tracker: JobTracker[Job] = JobTracker(self.job_ids, self.log)
        failing: set[str] = set()  # jobs whose last poll failed; one poll covers only some of all jobs
        refusals: Counter[str] = Counter()  # polls in a row that were refused, by job
        group = Group(self.tencent_ci_conn_id, self.bucket, self.region)
        async with subscribe(
            group,
            self.job_ids,
            self.poll_interval,
            self._waited,
            shortest_pause=self.poll_interval if self.expects_callback else FIRST_DELAY,
        ) as updates:
            while tracker.pending and not tracker.unsuccessful:
                job_ids, response, error = await updates.get()
                if response is not None:
                    tracker.update(response, time.monotonic(), asked=job_ids)
                    failing.difference_update(job_ids)
                    for job_id in job_ids:
                        refusals.pop(job_id, None)
                if error is None:
                    continue
                if not failing:
                    self.log.warning("Poll failed, will keep trying: %s", error)
                failing.update(job_ids)
                if not is_outage(error):
                    refusals.update(job_ids)
                    if max(refusals[job_id] for job_id in job_ids) > REFUSALS_TOLERATED:
                        raise error
        return self.ended_event()

    async def _look_until_over(
        self, is_over: Callable[[AsyncClient, Endpoint, float], Awaitable[bool]]
    ) -> None:
        """Ask the service by requests of this trigger alone, until there is nothing more to wait for.

        :param is_over: makes the requests; called with the client, the endpoint of the jobs' bucket, and the
            seconds since the wait began.
        """
        from airflow_provider_ci.hooks.aio import AsyncClient
        from airflow_provider_ci.submission.waiting import Wait, first_delay
        from airflow_provider_ci.triggers.settings import provider_errors_only, recent_settings

        wait = Wait(
            self.poll_interval,
            self.log,
            time.monotonic,
            elapsed=self._waited,
            refusals_tolerated=REFUSALS_TOLERATED,
        )
        client = None
        # the worker has looked just before
        pause = first_delay(wait.elapsed, self.poll_interval, random.random())  # noqa: S311 - not for security
        async with AsyncExitStack() as stack:
            while True:
                await asyncio.sleep(pause)
                with wait.poll(), provider_errors_only():
                    if client is None:
                        opened = AsyncClient(await recent_settings(self.tencent_ci_conn_id))
                        client = await stack.enter_async_context(opened)
                    elif wait.failure is not None:  # the connection may have new keys
                        with suppress(Exception):  # then the present settings have to do
                            client.settings = await recent_settings(self.tencent_ci_conn_id)
                    endpoint = client.settings.endpoint(self.bucket, self.region)
                    if await is_over(client, endpoint, wait.elapsed):
                        return
                pause = wait.pause()

    def ended_event(self) -> dict[str, Any]:
        """Return the event of jobs that have ended, or of which one has failed."""
        return self._event(ENDED)

    @property
    def _waited(self) -> float:
        """Seconds since the wait began. The worker's clock may differ, so they may be wrong."""
        return max(time.time() - self.started_at, 0.0)

    def _event(self, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "job_ids": self.job_ids[:_MAX_IDS_LISTED],
            "job_count": len(self.job_ids),
            "deadline": self.deadline,
            "started_at": self.started_at,
        }

    @property
    def _shown_ids(self) -> str:
        more = len(self.job_ids) - _MAX_IDS_LISTED
        return ", ".join(self.job_ids[:_MAX_IDS_LISTED]) + (f" and {more} more" if more > 0 else "")
