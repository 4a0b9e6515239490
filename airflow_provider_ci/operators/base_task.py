"""The common part of all operators that submit jobs: their arguments, how long they wait, and how a task ends
that is killed.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ci.assets.outlets import outlet_problems
from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.links.console import ConsoleLinks, TencentCIJobsLink, TencentCIResultsLink
from airflow_provider_ci.operators.argument_errors import refuse_task_if_any
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.cancellation import JobCancellation
from airflow_provider_ci.operators.job_arguments import resolve_wait
from airflow_provider_ci.operators.kill_guard import KillGuard
from airflow_provider_ci.operators.rendered_arguments import connection_argument_problems
from airflow_provider_ci.operators.templates import is_literal
from airflow_provider_ci.operators.try_state import TryState
from airflow_provider_ci.operators.untemplated_arguments import convert_untemplated_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.operators.bucket_jobs import JobApi
    from airflow_provider_ci.protocol.tree import Tree
    from airflow_provider_ci.protocol.wire import Endpoint

#: The end of a message about a wait that was too long.
AFTER_TIMEOUT = "after its timeout or execution_timeout"
# Seconds after the deadline at which Airflow itself ends a deferral, unless a running triggerer has done so
_SECONDS_FOR_TRIGGERER = 60


class TencentCIBaseTaskOperator(TencentCIBaseOperator):
    """Submits jobs, and waits for them if asked to. A subclass says which, and what comes of them.

    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the input's bucket, ``<name>-<appid>``; default: the connection's. (templated)
    :param region: that bucket's region; default: the connection's. (templated)
    :param wait_for_completion: wait for the job's end; otherwise the task succeeds once the job is accepted,
        although it may fail later. Default: ``True`` if ``deferrable=True``, else ``False``.
    :param deferrable: wait in the triggerer instead of on the worker. ``[operators] default_deferrable``
        decides where a task waits, but not whether it does. ``True`` has no effect together with
        ``wait_for_completion=False``.
    :param poll_interval: longest pause between two polls, seconds or a ``timedelta``. A pause is a quarter of
        the time waited so far, and at least 1 s.
    :param timeout: longest wait for the job, seconds or a ``timedelta``, at most 3,650 days; default:
        ``execution_timeout`` alone limits it, or seven days if there is none either, as for Airflow's
        sensors.
    :param cancel_on_kill: cancel the job when the task is killed or its wait times out. The service cancels
        only jobs that have not begun.
    :param durable: a retry continues with the job of an earlier try instead of paying for another; see
        ``docs/one-paid-job.md``.
    :param on_ambiguous_submit: what to do when it is unknown whether a job was accepted, and listing jobs is
        not permitted, or the list may not show jobs of this type: ``fail``, or ``resubmit`` at the risk of a
        second paid job.
    """

    operator_extra_links: Sequence[Any] = (TencentCIJobsLink(), TencentCIResultsLink())
    boolean_arguments: Sequence[str] = ("wait_for_completion", "deferrable", "cancel_on_kill", "durable")
    seconds_arguments: Sequence[str] = ("poll_interval", "timeout")
    choice_arguments: Mapping[str, Sequence[str]] = {"on_ambiguous_submit": ("fail", "resubmit")}
    #: Attributes that a copy must not share: objects that act on their operator, or hold the state of one
    #: process.
    not_copied: frozenset[str] = frozenset(
        {"hook", "job_api", "console_links", "_try_state", "_cancellation", "_kill_guard", "_was_killed"}
    )
    # True once wait_for_completion and deferrable have been resolved from the arguments
    _has_resolved_wait = False
    _ignores_deferrable = False
    _was_killed = False

    def __init__(
        self,
        *,
        wait_for_completion: bool | None = None,
        deferrable: bool | None = None,
        poll_interval: float | timedelta = 30.0,
        timeout: float | timedelta | None = None,
        cancel_on_kill: bool = True,
        durable: bool = True,
        on_ambiguous_submit: str = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        # _convert_arguments() makes these seconds
        self.poll_interval = cast("float", poll_interval)
        self.timeout = cast("float | None", timeout)
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self.on_ambiguous_submit = on_ambiguous_submit
        refuse_task_if_any(self.task_id, self._convert_arguments())

    def build_request(self, endpoint: Endpoint) -> Tree:
        """Return the request for the rendered arguments.

        :param endpoint: names the input's bucket and region.
        :raises RequestValidationError: an argument cannot be what the request needs.
        """
        raise NotImplementedError

    @cached_property
    def job_api(self) -> JobApi[Any]:
        """The hook's calls about jobs, for this task's bucket and region."""
        from airflow_provider_ci.operators.bucket_jobs import JobsOfBucket

        return JobsOfBucket(self.hook, self.bucket_and_region)

    @cached_property
    def hook(self) -> TencentCIHook:
        """The hook of this task's connection."""
        hook = super().hook
        hook.sleep = self._kill_guard.sleep  # a task that was killed must not send anything after a pause
        return hook

    def on_kill(self) -> None:
        """Cancel the job, best effort. In Airflow 3 ``execute`` continues afterwards, and raises."""
        self._was_killed = True
        self._kill_guard.on_kill()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: all but :attr:`not_copied`, which would act on this operator. Airflow
        copies operators before it executes them, and ``dag.test()`` in Airflow 2.11 also those that it has
        executed.
        """
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {name: value for name, value in state.items() if name not in self.not_copied}

    @cached_property
    def console_links(self) -> ConsoleLinks:
        """The links to Tencent's console that this process has pushed."""
        return ConsoleLinks()

    # How a task ends that is killed or has run out of time

    @cached_property
    def _try_state(self) -> TryState:
        return TryState(self.durable)

    @cached_property
    def _cancellation(self) -> JobCancellation:
        return JobCancellation(
            try_state=self._try_state,
            is_enabled=self.cancel_on_kill,
            hook=lambda: self.hook,
            job_api=lambda: self.job_api,
            log=self.log,
        )

    @cached_property
    def _kill_guard(self) -> KillGuard:
        return KillGuard(self._try_state, self._cancellation, self.log)

    @contextmanager
    def _executing(self, context: Context) -> Iterator[None]:
        kill_guard = self._kill_guard
        # the signal may have come while the guard was created, so that on_kill created another one
        if self._was_killed:
            kill_guard.on_kill()
        with kill_guard.executing(context):
            yield

    # Arguments

    def _convert_arguments(self) -> list[str]:
        """Convert the arguments that are not templates, in place, and return what is wrong with them."""
        problems = convert_untemplated_arguments(self, self.__dict__)
        if not problems and is_literal(self.wait_for_completion) and is_literal(self.deferrable):
            self._resolve_wait()
            problems += outlet_problems(self.outlets, waits=bool(self.wait_for_completion))
        return problems

    def _resolve_wait(self) -> None:
        if self._has_resolved_wait:
            return
        self._has_resolved_wait = True
        asks_to_defer = self.deferrable is True
        self.wait_for_completion, self.deferrable = resolve_wait(self.wait_for_completion, self.deferrable)
        self._ignores_deferrable = asks_to_defer and not self.wait_for_completion

    def _check_arguments(self) -> None:
        problems = [*self._convert_arguments(), *connection_argument_problems(self)]
        if problems:
            raise RequestValidationError(problems)
        self._pass_arguments_on()

    def _pass_arguments_on(self) -> None:
        """Give the converted arguments to the objects that were created with the raw ones. They differ if a
        subclass lets Airflow render them.
        """
        self._try_state.durable = self.durable
        self._cancellation.is_enabled = self.cancel_on_kill

    # Waiting

    def _who_waits(self) -> str:
        from airflow_provider_ci.submission.idempotency_key import NOBODY, TRIGGERER, WORKER

        if not self.wait_for_completion:
            return NOBODY
        return TRIGGERER if self.deferrable else WORKER

    def _deadline(self, context: Context) -> float:
        """Return the Unix time at which waiting ends. Airflow does not apply ``execution_timeout`` to
        deferred tasks.
        """
        from airflow_provider_ci.submission.waiting import DEFAULT_TIMEOUT

        ends = []
        if self.timeout is not None:
            ends.append(time.time() + self.timeout)
        if self.execution_timeout_of_dag is not None:
            started = context["ti"].start_date or datetime.now(UTC)
            ends.append((started + self.execution_timeout_of_dag).timestamp())
        return min(ends, default=time.time() + DEFAULT_TIMEOUT)

    @property
    def _longest_wait(self) -> float:
        """Longest wait on the worker, seconds."""
        from airflow_provider_ci.submission.waiting import DEFAULT_TIMEOUT

        if self.timeout is not None:
            return self.timeout
        # Airflow itself ends a task that runs for longer than its execution_timeout
        return DEFAULT_TIMEOUT if self.execution_timeout is None else math.inf

    def _latest_resumption(self, deadline: float) -> timedelta:
        """Return after which time Airflow itself ends a deferral. Two more intervals allow for a late poll.

        :param deadline: Unix time at which the wait ends.
        """
        return timedelta(
            seconds=max(deadline - time.time(), 0) + 2 * self.poll_interval + _SECONDS_FOR_TRIGGERER
        )
