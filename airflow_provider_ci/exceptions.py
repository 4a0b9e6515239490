"""Public, typed errors.

Every error of this provider is a :class:`TencentCIError`, so one ``except`` (or one retry rule by dotted
path) catches all of them. They are not ``AirflowException``, because the protocol must not load Airflow; for
Airflow's task runner there is no difference. A module that needs a special base class of Airflow, such as
``AirflowFailException``, adds it to the error that it raises.

All are picklable, and none has a secret, a signature or a signed URL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_MESSAGE_MAX = 1000  # characters: a page of HTML must not flood logs and the UI
# The patterns below are slow on long texts, and would block the triggerer's event loop
_SEARCHED_MAX = 4 * _MESSAGE_MAX
_CODE_MAX = 200  # characters of a code or request id; real ones have less than 50
# In URLs, also escaped ones, in headers and in JSON
_AUTHORIZATION = re.compile(r"(?i)q-sign-algorithm(?:=|%3D)[^\s\"'<>]+")
_SIGNATURE = re.compile(
    r"(?i)(q-signature|\bsign|x-c(?:i|os)-security-token)(=|%3D|[\"']?: *[\"']?)[^&\s\"'<>]+"
)


def strip_signatures(text: str) -> str:
    """Return a text of the service without the signatures and tokens of URLs and headers that it may quote.

    A very long text is cut off.
    """
    return _SIGNATURE.sub(r"\1\2…", _AUTHORIZATION.sub("…", text[:_SEARCHED_MAX]))


class TencentCIError(Exception):
    """Base of all errors of this provider.

    :param message: what happened, in one sentence.
    :param status: HTTP status of the response, if there was one.
    :param code: the service's error code, verbatim (``Code``).
    :param service_message: the service's explanation, verbatim (``Message``), shortened to 1,000 characters.
    :param request_id: ``x-ci-request-id`` of the response. Tencent's support asks for it.
    :param job_id: the job that the error is about, if known.
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
        self.code = code and code[:_CODE_MAX]
        self.service_message = service_message and strip_signatures(service_message)[:_MESSAGE_MAX]
        self.request_id = request_id and request_id[:_CODE_MAX]
        self.job_id = job_id
        self.hint = hint

    @property
    def details(self) -> dict[str, Any]:
        """All but the message, as keyword arguments for an error of another class."""
        names = ("status", "code", "service_message", "request_id", "job_id", "hint")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        explanation = ": ".join(part for part in (self.code, self.service_message) if part)
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
        if explanation:
            text += f": {explanation}"
        if facts:
            text += f" ({facts})"
        if self.hint:
            text += f". {self.hint}"
        return text


class RequestValidationError(TencentCIError, ValueError):
    """The request breaks a documented rule; nothing was sent.

    :param problems: readable sentences, each naming a field, its value and what is allowed.
    """

    def __init__(self, problems: Sequence[str] | str, **details: Any) -> None:
        # Pickle rebuilds an exception from its message, a str
        message = problems if isinstance(problems, str) else "Nothing was sent: " + "; ".join(problems)
        super().__init__(message, **details)
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)


class ConfigurationError(TencentCIError, ValueError):
    """The Airflow connection or an argument cannot be used; nothing was sent."""


class CredentialsError(TencentCIError):
    """The credentials provider gave no usable credentials; nothing was sent to the service.

    :param transient: ``True`` if a later attempt may succeed.
    """

    def __init__(self, message: str, *, transient: bool = False, **details: Any) -> None:
        super().__init__(message, **details)
        self.transient = transient


class TransportError(TencentCIError):
    """No response arrived (connection lost, timeout, name not resolved).

    :param sent: ``False`` if the request certainly never reached the service; ``True`` if it may have.
    """

    def __init__(self, message: str, *, sent: bool = True, **details: Any) -> None:
        super().__init__(message, **details)
        self.sent = sent


class InvalidResponseError(TencentCIError):
    """The response is not the documented XML (a proxy's page, an incomplete or too large body), or its
    content has another MD5 than requested. ``final`` is ``True`` if a retry had the same result.
    """

    final: bool = False


class ResponseTooLargeError(InvalidResponseError):
    """The response is larger than any that is read. A retry would have the same result."""

    final: bool = True


class InvalidCallbackError(TencentCIError, ValueError):
    """A callback's body is not the documented XML or JSON, or is too large."""


class ServiceError(TencentCIError):
    """The service responded with an error."""


class AuthenticationError(ServiceError):
    """The service rejected SecretId, SecretKey, token or signature."""


class ClockSkewError(AuthenticationError):
    """By the service's clock, the signature is not valid yet or has expired.

    ``server_time`` is the service's time, Unix seconds, or ``None``. ``corrected`` is ``True`` if later calls
    use that time.
    """

    server_time: float | None = None
    corrected: bool = False


class PermissionDeniedError(ServiceError):
    """The account lacks a permission or the service role, or the service is not opened for the bucket."""


class NotFoundError(ServiceError):
    """The bucket, object, template, queue or address does not exist."""


class InvalidRequestError(ServiceError):
    """The service rejected the content of the request."""


class WrongEndpointError(ServiceError):
    """The service redirects: the region or the endpoint is wrong. Redirects are never followed."""


class ThrottledError(ServiceError):
    """Too many requests. ``retry_after`` is the service's advice in seconds, or ``None``."""

    retry_after: float | None = None


class QueueFullError(ServiceError):
    """The queue has its maximum of waiting jobs (``QueueSaturated``)."""


class QueuePausedError(ServiceError):
    """The queue is paused (``QueuePaused``)."""


class ServerError(ServiceError):
    """The service failed temporarily (5xx and some codes). ``retry_after`` is its advice in seconds, or
    ``None``.
    """

    retry_after: float | None = None


class AmbiguousSubmissionError(TencentCIError):
    """It is unknown whether the service accepted the job: it may run, and be billed.

    ``__cause__`` is the error for which there is no response.
    """


class StateStoreError(TencentCIError):
    """Airflow's task state store could not be read or written. Nothing was submitted without a record."""


class JobError(TencentCIError):
    """Base of errors about a job that was accepted. ``state`` is the job's last known state."""

    def __init__(self, message: str, *, state: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.state = state

    @property
    def details(self) -> dict[str, Any]:
        """The details of every error, and the state."""
        return {**super().details, "state": self.state}


class JobFailedError(JobError):
    """The job ended ``Failed``."""


class JobCancelledError(JobError):
    """The job ended ``Cancel``."""


class JobNotFoundError(JobError):
    """The service does not find the job id: bucket or region is wrong, or the job is older than a month."""


class JobTimeoutError(JobError):
    """The job did not end before the deadline."""


class TaskKilledError(JobError):
    """The task was killed (SIGTERM) and must not end as a success."""
