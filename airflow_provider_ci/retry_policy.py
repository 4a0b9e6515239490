"""When Airflow retries a task whose job could not be submitted or did not succeed (Airflow 3.3 or newer)."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    ClockSkewError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    QueuePausedError,
    RequestValidationError,
    ResponseTooLargeError,
    ThrottledError,
    WrongEndpointError,
)
from airflow_provider_ci.version_compat import AIRFLOW_MINOR, AIRFLOW_VERSION

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ExceptionRetryPolicy

log = logging.getLogger(__name__)

#: How long to wait after the service has asked for fewer requests.
THROTTLED_DELAY = timedelta(minutes=1)
#: How long to wait for a queue that is full or paused.
QUEUE_DELAY = timedelta(minutes=10)


def tencent_ci_retry_policy() -> ExceptionRetryPolicy | None:
    """Return a retry policy for tasks of this provider, to be set in ``default_args``::

        default_args={"retries": 5, "retry_policy": tencent_ci_retry_policy()}

    What only a person can correct fails at once; throttling is retried after a minute, a full or paused queue
    after ten. Everything else is retried after the task's own ``retry_delay``: an outage; a job that is not
    found, for which the retry looks before it submits another; missing credentials, which the next worker may
    have. No policy retries more often than the task's ``retries``.

    :return: ``None`` before Airflow 3.3, which has no retry policies: it ignores the entry of
        ``default_args``, and all errors are retried after ``retry_delay``.
    """
    if AIRFLOW_MINOR < (3, 3):
        log.info(
            "Airflow %s has no retry policies (3.3 has): retries and retry_delay of each task apply",
            AIRFLOW_VERSION,
        )
        return None
    from airflow.providers.common.compat.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

    return ExceptionRetryPolicy(
        [
            # before AuthenticationError, of which it is one: the process may only have been held up
            RetryRule(ClockSkewError, retry_delay=THROTTLED_DELAY, reason="The clocks differ"),
            RetryRule(ThrottledError, retry_delay=THROTTLED_DELAY, reason="The service throttles"),
            RetryRule(
                [QueueFullError, QueuePausedError],
                retry_delay=QUEUE_DELAY,
                reason="The queue takes no jobs",
            ),
            RetryRule(
                [RequestValidationError, ConfigurationError, InvalidRequestError, ResponseTooLargeError],
                action=RetryAction.FAIL,
                reason="The same request would be refused again",
            ),
            RetryRule(
                [AuthenticationError, PermissionDeniedError, NotFoundError, WrongEndpointError],
                action=RetryAction.FAIL,
                reason="Only a person can correct this",
            ),
        ]
    )
