"""Public, typed errors.

Every error of this provider is a :class:`TencentCIError`, so one ``except`` (or one retry rule by dotted
path) catches all of them. They are plain exceptions, not ``AirflowException``: this module is imported by the
protocol layer, which must not load Airflow, and for Airflow's task runner both count alike (the task fails
and its retries apply). Where Airflow gives a base class a meaning of its own (a sensor's
``AirflowFailException``), the raising module adds that base.

All are picklable, and none carries a secret, a signature or a signed URL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_MAX_TEXT = 1000  # a service message is shown in logs and in the UI: a page of HTML must not flood them
# The rest of longer texts is not looked at: the patterns below would hold the triggerer's event loop up
_MAX_READ = 4 * _MAX_TEXT
_MAX_NAME = 200  # a code or request id; the real ones have less than 50 characters
# As in URLs, also escaped ones, in headers and in JSON
_AUTHORIZATION = re.compile(r"(?i)q-sign-algorithm(?:=|%3D)[^\s\"'<>]+")
_SIGNATURE = re.compile(
    r"(?i)(q-signature|\bsign|x-c(?:i|os)-security-token)(=|%3D|[\"']?: *[\"']?)[^&\s\"'<>]+"
)


def strip_signatures(text: str) -> str:
    """Return ``text``, which the service said, without the signatures and tokens of URLs and headers that it
    may quote. A very long one is cut off.
    """
    return _SIGNATURE.sub(r"\1\2…", _AUTHORIZATION.sub("…", text[:_MAX_READ]))


class TencentCIError(Exception):
    """Base of all errors of this provider.

    :param message: what happened, in one sentence.
    :param status: HTTP status of the answer, where there was one.
    :param code: the service's error code, verbatim (``Code``).
    :param service_message: the service's explanation, verbatim (``Message``), shortened to 1,000 characters.
    :param request_id: ``x-ci-request-id`` of the answer; Tencent's support asks for it.
    :param job_id: the job concerned, where known.
    :param hint: what the user should do next.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        service_message: str | None = None,
        request_id: str | None = None,
        job_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code and code[:_MAX_NAME]
        self.service_message = service_message and strip_signatures(service_message)[:_MAX_TEXT]
        self.request_id = request_id and request_id[:_MAX_NAME]
        self.job_id = job_id
        self.hint = hint

    @property
    def details(self) -> dict[str, Any]:
        """What is known besides the message, as keyword arguments of an error of another class."""
        names = ("status", "code", "service_message", "request_id", "job_id", "hint")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        said = ": ".join(part for part in (self.code, self.service_message) if part)
        facts = ", ".join(
            f"{name} {value}"
            for name, value in (
                ("HTTP", self.status),
                ("job", self.job_id if self.job_id and self.job_id not in self.message else None),
                ("request id", self.request_id),
            )
            if value
        )
        text = self.message
        if said:
            text += f": {said}"
        if facts:
            text += f" ({facts})"
        if self.hint:
            text += f". {self.hint}"
        return text


class RequestValidationError(TencentCIError, ValueError):
    """The request breaks a documented rule; nothing was sent.

    :param problems: readable sentences, each naming the field, what was given and what is allowed.
    """

    def __init__(self, problems: Sequence[str] | str, **details: Any) -> None:
        # A str is what pickle hands back: it rebuilds an exception from its formatted message.
        message = problems if isinstance(problems, str) else "Nothing was sent: " + "; ".join(problems)
        super().__init__(message, **details)
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)


class ConfigurationError(TencentCIError, ValueError):
    """The Airflow connection or an argument cannot be used as it stands; nothing was sent."""


class CredentialsError(TencentCIError):
    """No usable credentials could be had from their source; nothing was sent to the service.

    :param transient: ``True`` when the same attempt may succeed a little later.
    """

    def __init__(self, message: str, *, transient: bool = False, **details: Any) -> None:
        super().__init__(message, **details)
        self.transient = transient


class TransportError(TencentCIError):
    """No answer arrived (connection lost, timeout, name not resolved).

    :param sent: ``False`` when the request provably never reached the service; ``True`` when it may have.
    """

    def __init__(self, message: str, *, sent: bool = True, **details: Any) -> None:
        super().__init__(message, **details)
        self.sent = sent


class InvalidResponseError(TencentCIError):
    """An answer arrived that is not the documented XML (a proxy's page, a cut-off body, too large), or
    content of another MD5 than was asked for. ``final`` tells that a repetition brought the same.
    """

    final: bool = False


class InvalidCallbackError(TencentCIError, ValueError):
    """What was received as a callback is none: not XML or JSON as documented, or too large."""


class ServiceError(TencentCIError):
    """The service answered with an error."""


class AuthenticationError(ServiceError):
    """SecretId, SecretKey, token or signature refused."""


class ClockSkewError(AuthenticationError):
    """The signature is outside its validity by the service's clock. ``server_time`` holds what that clock
    showed, Unix seconds, or ``None``; ``corrected`` tells that calls from now on go by it.
    """

    server_time: float | None = None
    corrected: bool = False


class PermissionDeniedError(ServiceError):
    """The account may not do this: policy, service role, or the service is not opened for the bucket."""


class NotFoundError(ServiceError):
    """The bucket, object, template, queue or address does not exist."""


class InvalidRequestError(ServiceError):
    """The service refused the content of the request."""


class WrongEndpointError(ServiceError):
    """The service redirects elsewhere: the region or the endpoint is wrong. Redirects are never followed."""


class ThrottledError(ServiceError):
    """Too many requests. ``retry_after`` holds the service's advice in seconds, or ``None``."""

    retry_after: float | None = None


class QueueFullError(ServiceError):
    """The queue holds as many waiting jobs as it may (``QueueSaturated``)."""


class QueuePausedError(ServiceError):
    """The queue is paused (``QueuePaused``)."""


class ServerError(ServiceError):
    """The service failed for the moment (5xx, and what it counts as temporary). ``retry_after`` holds the
    service's advice in seconds, or ``None``.
    """

    retry_after: float | None = None


class AmbiguousSubmissionError(TencentCIError):
    """It is unknown whether the service accepted the job: it may run, and be billed.

    Its ``__cause__`` is the error that hid the answer.
    """


class StateStoreError(TencentCIError):
    """Airflow's task state store could not be read or written. Nothing was submitted without a record."""


class JobError(TencentCIError):
    """Base of what can go wrong with a job that was accepted. ``state`` is the job's last known state."""

    def __init__(self, message: str, *, state: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.state = state

    @property
    def details(self) -> dict[str, Any]:
        """Those of every error, and the state."""
        return {**super().details, "state": self.state}


class JobFailedError(JobError):
    """The job ended ``Failed``."""


class JobCancelledError(JobError):
    """The job ended ``Cancel``."""


class JobNotFoundError(JobError):
    """The service does not know the job id: wrong bucket or region, or older than its records (about a
    month).
    """


class JobTimeoutError(JobError):
    """The job did not end before the deadline."""


class TaskKilledError(JobError):
    """The task was killed (SIGTERM) and must not end as a success."""
