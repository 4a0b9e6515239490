"""Waits for jobs in the triggerer, so that no worker has to."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_ci.exceptions import RequestValidationError, TencentCIError
from airflow_provider_ci.protocol.names import ID

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.api_request import ApiRequest
    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.submission.tracking import JobTracker

#: What an event's ``status`` may be: the jobs have ended (well or not), the deadline has passed, or waiting
#: failed.
ENDED, TIMEOUT, ERROR = "ended", "timeout", "error"

#: Polls of a job in a row that may fail although no outage explains it: keys that are refused, for instance,
#: may be corrected. An outage is waited out until the deadline.
FAILURES_TOLERATED = 10
_NAMED_AT_MOST = 20
# Airflow gives up after 30 s ([triggerer] on_kill_timeout)
_CANCEL_SECONDS = 20.0
# The event loop itself does not keep tasks that nobody waits for
_cancelling: set[asyncio.Task[None]] = set()


async def load(module: str) -> None:
    """Import a module off the loop: its libraries take up to a third of a second, in which no other trigger
    would run.
    """
    found = sys.modules.get(module)
    # while another trigger's thread imports it, it is there, but importing from it would wait for that thread
    if found is None or getattr(found.__spec__, "_initializing", False):
        await asyncio.to_thread(import_module, module)


def _check(name: str, value: Any, is_allowed: object, allowed: str) -> None:
    if not is_allowed:
        raise RequestValidationError([f"{name} is {value!r:.200}, allowed: {allowed}"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class TencentCIJobTrigger(BaseTrigger):
    """Waits until all jobs have ended, or one has failed, or the deadline has passed; then fires one event.

    The event is small and holds no result: the worker asks the service itself what became of the jobs. All
    triggers of a triggerer that use the same connection, bucket and region are served by one poller.

    :param job_ids: the jobs, one or more.
    :param tencent_ci_conn_id: the Airflow connection.
    :param bucket: the bucket of the jobs' input; default: the connection's.
    :param region: its region; default: the connection's.
    :param poll_interval: longest pause between two polls, seconds.
    :param deadline: Unix time at which waiting ends; default: seven days after ``started_at``.
    :param cancel_on_kill: cancel the jobs when a user clears or fails the waiting task (Airflow 3.3 or
        newer).
    :param started_at: Unix time at which waiting began, so that it does not begin anew when the triggerer
        restarts; default: now.
    :raises RequestValidationError: naming the argument that cannot work, which otherwise would show only in
        the triggerer, after the jobs have been paid for.
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
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_ids = self._read_ids(job_ids)
        _check(
            "tencent_ci_conn_id",
            tencent_ci_conn_id,
            isinstance(tencent_ci_conn_id, str),
            "the id of a connection",
        )
        for name, place in (("bucket", bucket), ("region", region)):
            _check(name, place, place is None or isinstance(place, str), "a text")
        _check(
            "poll_interval", poll_interval, _is_number(poll_interval) and poll_interval > 0, "seconds above 0"
        )
        for name, moment in (("deadline", deadline), ("started_at", started_at)):
            _check(name, moment, moment is None or _is_number(moment), "a Unix time")
        # the text "false" would count as true
        _check("cancel_on_kill", cancel_on_kill, isinstance(cancel_on_kill, bool), "True or False")
        self.tencent_ci_conn_id = tencent_ci_conn_id
        self.bucket = bucket
        self.region = region
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.cancel_on_kill = cancel_on_kill
        self.started_at = time.time() if started_at is None else started_at

    @staticmethod
    def _read_ids(job_ids: Any) -> list[str]:
        # a text would be taken for a list of its letters, each of which would be waited for
        is_list = isinstance(job_ids, Iterable) and not isinstance(job_ids, str | bytes | bytearray | Mapping)
        ids = list(job_ids) if is_list else []
        if not ids:
            raise RequestValidationError([f"job_ids is {job_ids!r}, allowed: a list of one or more job ids"])
        for each in ids:
            # None as a text is what a template makes of an id that is not there
            is_id = isinstance(each, str) and ID.fullmatch(each) and each != "None"
            _check("an element of job_ids", each, is_id, "an id of 1 to 128 letters, digits, _ and -")
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
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire the event."""
        await load("airflow_provider_ci.submission.tracking")
        from airflow_provider_ci.submission.tracking import DEFAULT_TIMEOUT

        deadline = self.started_at + DEFAULT_TIMEOUT if self.deadline is None else self.deadline
        try:
            async with asyncio.timeout(max(deadline - time.time(), 0.0)):
                event = await self._wait()
        except TimeoutError:
            event = self._event(TIMEOUT)
        except TencentCIError as error:
            event = self._event(ERROR) | {
                "error": type(error).__name__,
                "message": error.message,
                "status_code": error.status,
                "code": error.code,
                "service_message": error.service_message,
                "request_id": error.request_id,
                "job_id": error.job_id,
                "hint": error.hint,
            }
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the jobs if a user has cleared or ended the task. Airflow calls this from 3.3 on.

        It is also called in a triggerer that was held up for so long that another one has taken over its
        triggers: then the task waits on, and nothing is cancelled. So Airflow is asked first, and if it
        cannot be asked, nothing is cancelled.
        """
        if not self.cancel_on_kill:
            return
        # Airflow 3.3 cancels the trigger again each second until it has ended, which would end this too
        work = asyncio.create_task(self._cancel_jobs())
        _cancelling.add(work)
        work.add_done_callback(_cancelling.discard)
        await asyncio.shield(work)

    async def _cancel_jobs(self) -> None:
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                if reason := await self._reason_not_to_cancel():
                    self.log.info("Jobs %s are not cancelled: %s", self._shown_ids, reason)
                    return
                await load("airflow_provider_ci.hooks.aio")
                from airflow_provider_ci.hooks.aio import AsyncClient, load_settings

                settings = await load_settings(self.tencent_ci_conn_id)
                endpoint = settings.endpoint(self.bucket, self.region)
                async with AsyncClient(settings) as client:
                    for call in self._cancel_calls():
                        await client.call(call, endpoint)
        except Exception as error:  # best effort: the task has been ended by the user already
            why = str(error) or type(error).__name__
            self.log.warning("Jobs %s could not be cancelled: %s", self._shown_ids, why)
        else:
            self.log.info("Asked to cancel jobs %s (only jobs that have not begun are)", self._shown_ids)

    async def _reason_not_to_cancel(self) -> str | None:
        """Return why the jobs still belong to the task, or ``None`` if a user has cleared or ended it."""
        from airflow_provider_ci import current_try

        ti: Any = self.task_instance
        try:
            state = await asyncio.to_thread(current_try.state_of_task, ti)
            goes_on = state in current_try.WAITING
            if state == "running":
                # resumed after another triggerer's event, or a new try: it begins with deleting what earlier
                # ones have pushed, and which abandons and cancels the job itself if it does not find it again
                goes_on = await asyncio.to_thread(current_try.pushed_id, ti) in (None, *self.job_ids)
        except Exception as error:
            why = str(error) or type(error).__name__
            raise TencentCIError(f"Airflow could not be asked what has become of the task: {why}") from error
        return f"the task is {state} and goes on with them" if goes_on else None

    def _cancel_calls(self) -> list[ApiRequest[None]]:
        from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST, CancelJobs

        starts = range(0, len(self.job_ids), IDS_PER_REQUEST)
        return [CancelJobs(tuple(self.job_ids[start : start + IDS_PER_REQUEST])) for start in starts]

    async def _wait(self) -> dict[str, Any]:
        await load("airflow_provider_ci.triggers.poller")
        from airflow_provider_ci.submission.tracking import JobTracker, is_outage
        from airflow_provider_ci.triggers.poller import Group, subscribe

        tracker: JobTracker[Job] = JobTracker(self.job_ids, self.log)
        failing: set[str] = set()  # jobs whose last poll failed: a poll is about some of them only
        refusals: Counter[str] = Counter()
        start = time.monotonic()
        group = Group(self.tencent_ci_conn_id, self.bucket, self.region)
        async with subscribe(group, self.job_ids, self.poll_interval, self._waited) as updates:
            while tracker.pending and not tracker.unsuccessful:
                update = await updates.get()
                if update.answer is not None:
                    tracker.update(update.answer, time.monotonic() - start, asked=update.job_ids)
                    failing.difference_update(update.job_ids)
                    for job_id in update.job_ids:
                        del refusals[job_id]
                elif update.error is not None:
                    if not failing:
                        self.log.warning("Poll failed, will keep trying: %s", update.error)
                    failing.update(update.job_ids)
                    if not is_outage(update.error):
                        refusals.update(update.job_ids)
                        if max(refusals[job_id] for job_id in update.job_ids) > FAILURES_TOLERATED:
                            raise update.error
        return self._event(ENDED)

    @property
    def _waited(self) -> float:
        """Seconds since the wait began, if the clocks of the two machines agree."""
        return max(time.time() - self.started_at, 0.0)

    def _event(self, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "job_ids": self.job_ids[:_NAMED_AT_MOST],
            "job_count": len(self.job_ids),
            "deadline": self.deadline,
            "started_at": self.started_at,
        }

    @property
    def _shown_ids(self) -> str:
        more = len(self.job_ids) - _NAMED_AT_MOST
        return ", ".join(self.job_ids[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
