"""What the service's errors mean: which exception, whether a retry helps, and what the user should do.

One code may come with several HTTP statuses, so a rule is looked up by status and code, then by code, then by
status. Some causes share a general code and are recognised by the message.

Sources: 460/42867 (CI codes), 1045/33700 (numeric codes), 436/7730 (COS codes).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    ClockSkewError,
    CredentialsError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    QueuePausedError,
    ServerError,
    ServiceError,
    TencentCIError,
    ThrottledError,
    TransportError,
    WrongEndpointError,
)
from airflow_provider_ci.protocol.wire import HttpResponse
from airflow_provider_ci.protocol.xml import XMLError, parse_response, read

_BODY_MAX = 64 * 1024
_RETRY_AFTER_MAX = 300.0
_MESSAGE_SEARCHED = 1000  # characters of a message that are searched for its cause


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """What is kept of an error response. Elements such as COS's ``StringToSign`` never are."""

    code: str | None = None
    message: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The exception for an error, and what the user should do about it."""

    exception: type[ServiceError]
    hint: str


_BAD_FIELD = Rule(InvalidRequestError, "Correct the field that the message names")
_BUG = Rule(InvalidRequestError, "This is a fault of the client: report it with the request id")
_CREDENTIALS = Rule(
    AuthenticationError,
    "Check the connection's SecretId (login) and SecretKey (password), and the token if temporary",
)
_NO_HEADER = Rule(AuthenticationError, "A proxy on the way may remove the Authorization header: check it")
_CLOCK = Rule(
    ClockSkewError,
    "Synchronise this machine's clock; if it is right, the process was held up, and a retry is enough",
)
_MAY_BE_SIGNATURE = (
    "and then the SecretKey and this machine's clock: a wrong or expired signature may get the same response"
)
_REFUSED = Rule(
    PermissionDeniedError,
    "Check the account's CAM policy (ci: actions, cam:PassRole), that the bucket is bound to CI with the"
    f" smart audio service opened, {_MAY_BE_SIGNATURE}",
)
_ROLE = Rule(
    PermissionDeniedError, "Authorise CI once in its console, which creates the service role CI_QCSRole"
)
_RESOURCE_ACCESS = Rule(PermissionDeniedError, "Give the role CI_QCSRole access to the bucket and object")
_MISSING_OBJECT = Rule(NotFoundError, "Check bucket, region and object key, and that the upload has finished")
_MISSING = Rule(NotFoundError, "Check bucket, region and id: they belong together")
_DOWNLOAD = Rule(
    ServerError,
    "Try again later; if it persists, check that the object is not archived and that the service reaches the"
    " input's address",
)
_MEDIA = Rule(InvalidRequestError, "Check that the media file is complete and of a supported format")
_ENDPOINT = Rule(WrongEndpointError, "Check bucket, region and endpoint_url of the connection")
_SLOW_DOWN = Rule(ThrottledError, "Send fewer requests: poll less often, or run fewer tasks at once")
_QUEUE_FULL = Rule(
    QueueFullError, "Wait, run fewer tasks at once, use another queue or ask Tencent for a larger one"
)
_QUEUE_PAUSED = Rule(QueuePausedError, "Resume the queue in the console, or use another queue")
_SERVER = Rule(ServerError, "Try again later; if it persists, give the request id to Tencent's support")
_GATEWAY = Rule(
    ServerError,
    "A gateway does not find the service: try again later; if it persists, check endpoint_url and proxies",
)
_BLOCKED = Rule(PermissionDeniedError, "The account is blocked or in arrears: contact Tencent's support")
_CONFLICT = Rule(
    InvalidRequestError, "Something of this name or state exists already: check it in the console"
)
_LIMIT = Rule(InvalidRequestError, "A quota is used up: remove what is not needed, or ask Tencent for more")
_UNBOUND = Rule(
    PermissionDeniedError,
    "Bind the bucket to CI and open the smart audio service for it (or, for other types of job, the service"
    " that they belong to): in the console of CI, or by TencentCIHook().open_service()",
)
_NOT_OPENED = Rule(
    PermissionDeniedError,
    "Open the smart audio service for the bucket: in the console of CI, or by TencentCIHook().open_service()"
    " (POST /asrbucket)",
)
_OTHER_NOT_OPENED = Rule(
    PermissionDeniedError,
    "Bind the bucket to CI and open the service that the code names for it in the console of CI",
)
_PASS_ROLE = Rule(PermissionDeniedError, "Allow the account cam:PassRole on the role CI_QCSRole")
_STRICT = Rule(
    PermissionDeniedError,
    "The bucket's strict signature mode requires a signature over a header that this client does not sign:"
    " remove the header from that mode's rules",
)
_NOT_CANCELLABLE = Rule(
    InvalidRequestError, "The job has begun or ended, and cannot be cancelled any more: wait for its end"
)
_ARCHIVED = Rule(InvalidRequestError, "The object is archived: restore it first")

_BY_STATUS_AND_CODE: dict[tuple[int, str], Rule] = {
    (413, "InvalidContent"): Rule(InvalidRequestError, "The request is too large: shorten it"),
    (400, "RequestTimeout"): _SERVER,
    (400, "UserNetworkTooSlow"): _SERVER,
}
_BY_CODE: dict[str, Rule] = {
    "PermanentRedirect": _ENDPOINT,
    "TemporaryRedirect": _ENDPOINT,
    "InvalidHost": _ENDPOINT,
    "InvalidUrl": _ENDPOINT,
    "InvalidArgument": _BAD_FIELD,
    "InvalidRequest": _BAD_FIELD,
    "InvalidContent": _BUG,
    "InvalidContentType": _BUG,
    "MissingContent": _BUG,
    "MissingContentLength": _BUG,
    "MalformedXML": _BUG,
    "BadDigest": _BUG,
    "MissingAuthorization": _NO_HEADER,
    "ResourceNotFound": _MISSING_OBJECT,
    "ResourceAccessDenied": _RESOURCE_ACCESS,
    "ResourceDownloadFailed": _DOWNLOAD,
    "ResourceNotSupported": _MEDIA,
    "CIRoleNotExist": _ROLE,
    "NoProcessAuthority": _UNBOUND,
    "InvalidAuthorization": _CREDENTIALS,
    "SecretidNotExist": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "SignatureExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "AccessDenied": _REFUSED,
    "MediaBucketAlreadyBinded": _CONFLICT,
    "AsrBucketAlreadyBinded": _CONFLICT,
    "BucketAlreadyBinded": _CONFLICT,
    "TemplateNameDuplicate": _CONFLICT,
    "ActiveWorkflowForbiddenUpdate": _CONFLICT,
    "QueueSaturated": _QUEUE_FULL,
    "QueuePaused": _QUEUE_PAUSED,
    "AuditingJobNotFound": _MISSING,
    "QueueNotFound": _MISSING,
    "TemplateNotFound": _MISSING,
    "NoSuchBucket": _MISSING,
    "NoSuchKey": _MISSING_OBJECT,
    "MediaBucketUnBinded": _UNBOUND,
    "AsrBucketUnBinded": _NOT_OPENED,
    "PicBucketUnBinded": _OTHER_NOT_OPENED,
    "AIBucketUnBinded": _OTHER_NOT_OPENED,
    "WriteTargetBucketDenied": _RESOURCE_ACCESS,
    "BindedBucketNumLimit": _LIMIT,
    "CreatedTemplateNumLimit": _LIMIT,
    "WorkFlowNumLimit": _LIMIT,
    "QueueNumLimit": _LIMIT,
    "InvalidObjectState": _ARCHIVED,
    "PaymentRequired": _BLOCKED,
    "UnavailableForLegalReasons": _BLOCKED,
    "DomainAuditFailed": _BLOCKED,
    "SlowDown": _SLOW_DOWN,
    "KmsFreqControl": _SLOW_DOWN,
    "PathConflict": _SERVER,
    "UploadConflict": _SERVER,
    "InternalError": _SERVER,
    "ServiceUnavailable": _SERVER,
}
_BY_STATUS: dict[int, Rule] = {
    401: _REFUSED,
    402: _BLOCKED,
    403: _REFUSED,
    404: _MISSING,
    407: Rule(ServiceError, "The network's proxy wants a login: check the proxy settings"),
    408: _SERVER,
    429: _SLOW_DOWN,
    451: _BLOCKED,
    501: Rule(ServerError, "The service does not offer this call: check region and endpoint_url"),
}
# Each service has codes of this form, such as FileBucketUnBinded; only some of them are documented
_ALREADY_BINDED_CODE = re.compile(r"\w*BucketAlreadyBinded", re.IGNORECASE | re.ASCII)
_UNBINDED_CODE = re.compile(r"\w*BucketUnBinded", re.IGNORECASE | re.ASCII)
_NOT = r"(?:\bnot|\bnever|n't)\b"
_EXPIRED = re.compile(r"request has expired", re.IGNORECASE)
# Only the wordings of the first two rules and of the last are documented
_BY_MESSAGE: tuple[tuple[str, Rule], ...] = (
    (_EXPIRED.pattern, _CLOCK),
    (r"strict signature", _STRICT),
    (r"pass\s?role", _PASS_ROLE),
    (
        rf"ci_qcsrole|\brole\b.{{0,30}}(?:{_NOT}|\bmissing\b)|\b(no|missing|without)\b.{{0,20}}\brole\b|角色",
        _ROLE,
    ),
    (rf"\bun-?(bind|bound)|{_NOT}.{{0,20}}\b(bind|binded|bound)\b|未绑定", _UNBOUND),
    (
        r"\b(service|function|feature|audio|asr|media|ci|cloud infinite)\b.{0,40}"
        rf"(?:{_NOT}.{{0,20}}\b(open|opened|activated|enabled)\b|\b(unopened|disabled)\b)|未开通",
        _NOT_OPENED,
    ),
    (
        r"wrong region|region mismatch"
        rf"|\bbucket\b.{{0,60}}(?:{_NOT}|\b(another|different)\b).{{0,30}}\bregion\b",
        _ENDPOINT,
    ),
    (r"can ?not be modified", _NOT_CANCELLABLE),
)
# Causes that may be gone when a job is submitted again. All others are in its request, input or account
_PASSING = (ServerError, ThrottledError, QueueFullError, QueuePausedError)
# Likewise: each try may sign the address of an input anew
_PASSING_CODES = frozenset(("ExpiredToken", "RequestTimeTooSkewed", "SignatureExpired"))
# These do not pass, and have no rule of their own: for a response, its status says enough
_OTHER_LASTING_CODES = frozenset(
    (
        *("EntitySizeNotMatch", "IncompleteBody", "InvalidBucketName", "InvalidRange", "InvalidRegionName"),
        *("InvalidURI", "MethodNotAllowed", "NotImplemented", "PreconditionFailed", "XMLSizeLimit"),
    )
)
# Codes that leave the cause to the message
_GENERAL_CODES = frozenset(("AccessDenied", "InvalidArgument", "InvalidRequest", "ResourceNotFound"))
_HOST_REGION = re.compile(
    r"\.(?:ci|cos)(?:-internal)?\.((?=[a-z0-9-]{3,40}\.)[a-z0-9]+(?:-[a-z0-9]+)+)\.[a-z]+\."
)
_NUMERIC_CODES = {
    "1007": "InternalError",
    "1010": "InvalidUrl",
    "1011": "InvalidContent",
    "1012": "MissingAuthorization",
    "1013": "InvalidAuthorization",
    "1014": "SignatureExpired",
    "1015": "InvalidArgument",
    "1016": "MissingContent",
    "1017": "InvalidHost",
    "1018": "AccessDenied",
    "1019": "SecretidNotExist",
    "1020": "SlowDown",
    "1021": "InvalidContentType",
    "1100": "BucketAlreadyBinded",
    "1103": "ResourceNotFound",
    "1106": "QueueNotFound",
    "1107": "TemplateNotFound",
    "1109": "BindedBucketNumLimit",
    "1110": "CreatedTemplateNumLimit",
    "1111": "MediaBucketUnBinded",
    "1112": "TemplateNameDuplicate",
    "1114": "ActiveWorkflowForbiddenUpdate",
    "1120": "WorkFlowNumLimit",
    "1124": "WriteTargetBucketDenied",
    "1145": "QueueNumLimit",
}


def service_error(response: HttpResponse, purpose: str, *, has_body: bool = True) -> ServiceError:
    """Return the exception for an error response, whatever its body is (a gateway's HTML, nothing at all).

    :param purpose: what was attempted, for the message: ``describe jobs``.
    :param has_body: whether the service's own errors have a body; those for ``HEAD`` have none.
    """
    body = _error_body(response)
    rule = _rule(response.status, body.code, (body.message or "")[:_MESSAGE_SEARCHED])
    # A response of a gateway, with a body but without a code, says nothing about the signature
    is_of_service = body.code or not response.body
    if rule is _REFUSED and is_of_service and _was_signature_invalid(response):
        rule = _CLOCK
    if response.status == 404 and has_body and not body.code:
        rule = _GATEWAY
    error = rule.exception(
        f"Cannot {purpose}",
        status=response.status,
        code=body.code,
        service_message=body.message,
        request_id=response.request_id or body.request_id,
        hint=rule.hint + _redirection_hint(response),
    )
    if isinstance(error, ThrottledError | ServerError):
        error.retry_after = _retry_after(response)
    if isinstance(error, ClockSkewError):
        error.server_time = server_time(response)
    return error


def is_retryable(error: TencentCIError) -> bool:
    """Tell whether a retry may succeed after this error, if the call is idempotent.

    It may after throttling, a 5xx, or without a readable response.
    """
    if isinstance(error, ServerError):
        return error.status != 501
    if isinstance(error, CredentialsError):
        return error.transient
    if isinstance(error, InvalidResponseError):
        return not error.final
    return isinstance(error, TransportError | ThrottledError)


def is_not_accepted(error: TencentCIError) -> bool:
    """Tell whether this error proves that a submission was not accepted: it never arrived, or was rejected.

    A 5xx, a gateway's 408, a connection lost after sending, and an unreadable response prove nothing.
    """
    if isinstance(error, TransportError):
        return not error.sent
    if isinstance(error, CredentialsError):
        return True
    if not isinstance(error, ServiceError) or error.status is None:
        return False
    return 300 <= error.status < 500 and error.status != 408


def refuses_content(error: TencentCIError) -> bool:
    """Tell whether the service refused a field of the request, so that the same request is refused again."""
    if error.status is None or error.status >= 500:
        return False
    return _rule(error.status, error.code, error.service_message or "") is _BAD_FIELD


def is_lasting_failure(code: str | None, message: str | None = None) -> bool:
    """Tell whether the same job would fail again after one that ended ``Failed`` with this code and message.

    No list of the codes of jobs is published, but those that are seen are those of responses. A code that is
    not documented may mean anything, so it may pass.
    """
    name = _name(code)
    if name in _OTHER_LASTING_CODES:
        return True
    if name in _GENERAL_CODES and _EXPIRED.search(message or ""):
        return False  # the signature of the input's address was too old
    rule = _rule_of_code(name)
    return rule is not None and name not in _PASSING_CODES and not issubclass(rule.exception, _PASSING)


def is_about_download(error: TencentCIError) -> bool:
    """Tell whether the service could not download the input of a request: those of others it may."""
    return error.code == "ResourceDownloadFailed"


def lacks_service(error: TencentCIError) -> bool:
    """Tell whether the service rejected a call because a service is not opened for the bucket."""
    return error.status is not None and (
        _rule(error.status, error.code, error.service_message or "")
        in (_UNBOUND, _NOT_OPENED, _OTHER_NOT_OPENED)
    )


def is_open_already(error: ServiceError) -> bool:
    """Tell whether a service could not be opened for a bucket because it is open already."""
    return bool(_ALREADY_BINDED_CODE.fullmatch(_name(error.code)))


def rejects_credentials(error: TencentCIError) -> bool:
    """Tell whether the service rejected the credentials themselves, not their permissions."""
    return (
        isinstance(error, AuthenticationError)
        and not isinstance(error, ClockSkewError)
        and _name(error.code) != "MissingAuthorization"
    )


def may_reject_credentials(error: TencentCIError) -> bool:
    """Tell whether the service may have rejected the credentials, although it does not say so.

    That may be so without a code (a response to ``HEAD`` has no body), and for ``AccessDenied`` with status
    401, which the service sends for a missing permission, and for wrong keys and signatures too.
    """
    if not isinstance(error, ServiceError) or isinstance(error, ClockSkewError):
        return False
    if error.code is None:
        return error.status in (400, 401, 403)
    if error.status != 401 or _name(error.code) != "AccessDenied":
        return False
    return may_lack_permission(error)


def may_lack_permission(error: TencentCIError) -> bool:
    """Tell whether the service may have rejected a call because the account's policy does not allow it."""
    return error.status is not None and (
        _rule(error.status, error.code, error.service_message or "") is _REFUSED
    )


def name_action(error: TencentCIError, actions: Sequence[str]) -> None:
    """Let the hint of an error name the action of the call, if the account's policy may not allow it.

    :param actions: of the call. One of several depends on its arguments, and is not named.
    """
    is_refused = isinstance(error, PermissionDeniedError) and may_lack_permission(error)
    if not is_refused or len(actions) != 1:
        return
    if actions[0].startswith("cos:"):  # what CI needs does not matter
        error.hint = f"Check that the account's CAM policy allows {actions[0]}, {_MAY_BE_SIGNATURE}"
    else:
        error.hint = f"{error.hint}. This call needs the action {actions[0]}"


def _name(code: str | None) -> str:
    """Return the name of a code, which may be a number (1045/33700)."""
    return _NUMERIC_CODES.get(code or "", code or "")


def _rule(status: int, code: str | None, message: str) -> Rule:
    name = _name(code)
    is_general = name in _GENERAL_CODES or name not in _BY_CODE
    is_temporary = status >= 500 or status in (408, 429)
    if is_general and not is_temporary:
        for pattern, rule in _BY_MESSAGE:
            if re.search(pattern, message, re.IGNORECASE):
                return rule
    return _rule_by_code(status, name)


def _rule_of_code(name: str) -> Rule | None:
    """Return the rule of a code, whatever the status; ``None``: the code is unknown."""
    if rule := _BY_CODE.get(name):
        return rule
    if _UNBINDED_CODE.fullmatch(name):
        return _OTHER_NOT_OPENED
    return _CONFLICT if _ALREADY_BINDED_CODE.fullmatch(name) else None


def _rule_by_code(status: int, name: str) -> Rule:
    if rule := _BY_STATUS_AND_CODE.get((status, name)) or _rule_of_code(name):
        return rule
    if rule := _BY_STATUS.get(status):
        return rule
    if 300 <= status < 400:
        return _ENDPOINT
    if status >= 500:
        return _SERVER
    return Rule(InvalidRequestError, "See the message; Tencent's page 460/42867 lists the codes")


def _redirection_hint(response: HttpResponse) -> str:
    """Return a hint that names the region of a redirection, and nothing else of its address."""
    if response.status >= 400:
        return ""
    found = _HOST_REGION.search(response.headers.get("location", ""))
    return f"; the service points to region {found[1]}" if found else ""


def _was_signature_invalid(response: HttpResponse) -> bool:
    """Tell whether the request's signature was invalid by the service's clock at the time of the response."""
    responded_at = server_time(response)
    if responded_at is None or response.validity is None:
        return False
    first, last = response.validity
    return not first <= responded_at <= last


def _error_body(response: HttpResponse) -> ErrorBody:
    try:
        return read(ErrorBody, parse_response(response.body, max_bytes=_BODY_MAX))
    except XMLError:
        return ErrorBody()


def _retry_after(response: HttpResponse) -> float | None:
    """Return the seconds of ``Retry-After``. This service does not use the header's other form, a date."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, _RETRY_AFTER_MAX) if seconds >= 0 else None


def server_time(response: HttpResponse) -> float | None:
    """Return the service's time (header ``Date``) as Unix seconds; ``None`` if the response has none."""
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return None
