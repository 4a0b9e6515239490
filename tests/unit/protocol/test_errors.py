"""Every documented code (460/42867, 436/7730, 1045/33700), and answers that follow no document."""

from __future__ import annotations

import re

import pytest

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    AuthenticationError,
    ClockSkewError,
    CredentialsError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    QueuePausedError,
    RequestValidationError,
    ServerError,
    ServiceError,
    TencentCIError,
    ThrottledError,
    TransportError,
    WrongEndpointError,
)
from airflow_provider_ci.protocol import errors
from airflow_provider_ci.protocol.errors import (
    is_lasting_failure,
    is_not_accepted,
    is_retryable,
    refuses_content,
    rejects_credentials,
    service_error,
)

from .builders import error_body, response

NO, YES = False, True

# status, code, exception, whether an idempotent call is repeated, a word of the hint
CI_CODES = [
    (301, "PermanentRedirect", WrongEndpointError, NO, "region"),
    (307, "TemporaryRedirect", WrongEndpointError, NO, "endpoint_url"),
    (400, "InvalidArgument", InvalidRequestError, NO, "field"),
    (400, "MissingContent", InvalidRequestError, NO, "report"),
    (400, "InvalidContent", InvalidRequestError, NO, "report"),
    (400, "InvalidHost", WrongEndpointError, NO, "bucket"),
    (400, "ResourceNotFound", NotFoundError, NO, "upload"),
    (400, "ResourceAccessDenied", PermissionDeniedError, NO, "CI_QCSRole"),
    (400, "ResourceDownloadFailed", ServerError, YES, "archived"),
    (400, "CIRoleNotExist", PermissionDeniedError, NO, "console"),
    (400, "ResourceNotSupported", InvalidRequestError, NO, "media file"),
    (401, "MissingAuthorization", AuthenticationError, NO, "proxy"),
    (401, "InvalidAuthorization", AuthenticationError, NO, "SecretKey"),
    (401, "AccessDenied", PermissionDeniedError, NO, "cam:PassRole"),
    (401, "SecretidNotExist", AuthenticationError, NO, "SecretId"),
    (401, "SignatureExpired", ClockSkewError, NO, "clock"),
    (403, "AccessDenied", PermissionDeniedError, NO, "policy"),
    (403, "MediaBucketAlreadyBinded", InvalidRequestError, NO, "exists already"),
    (403, "QueueSaturated", QueueFullError, NO, "another queue"),
    (403, "QueuePaused", QueuePausedError, NO, "Resume"),
    (404, "InvalidUrl", WrongEndpointError, NO, "endpoint_url"),
    (404, "AuditingJobNotFound", NotFoundError, NO, "id"),
    (411, "MissingContentLength", InvalidRequestError, NO, "report"),
    (413, "InvalidContent", InvalidRequestError, NO, "too large"),
    (429, "SlowDown", ThrottledError, YES, "fewer requests"),
    (451, "UnavailableForLegalReasons", PermissionDeniedError, NO, "arrears"),
    (500, "InternalError", ServerError, YES, "later"),
    (501, "NotImplemented", ServerError, NO, "does not offer"),
    (503, "ServiceUnavailable", ServerError, YES, "later"),
]
COS_CODES = [
    (400, "ExpiredToken", AuthenticationError, NO, "token"),
    (400, "RequestTimeout", ServerError, YES, "later"),
    (400, "UserNetworkTooSlow", ServerError, YES, "later"),
    (400, "InvalidRequest", InvalidRequestError, NO, "field"),
    (400, "InvalidArgument", InvalidRequestError, NO, "field"),
    (400, "MalformedXML", InvalidRequestError, NO, "report"),
    (400, "InvalidURI", InvalidRequestError, NO, "message"),
    (400, "InvalidBucketName", InvalidRequestError, NO, "message"),
    (400, "InvalidRegionName", InvalidRequestError, NO, "message"),
    (400, "BadDigest", InvalidRequestError, NO, "report"),
    (400, "EntitySizeNotMatch", InvalidRequestError, NO, "message"),
    (400, "IncompleteBody", InvalidRequestError, NO, "message"),
    (400, "XMLSizeLimit", InvalidRequestError, NO, "message"),
    (402, "PaymentRequired", PermissionDeniedError, NO, "arrears"),
    (403, "AccessDenied", PermissionDeniedError, NO, "clock"),
    (403, "InvalidAccessKeyId", AuthenticationError, NO, "SecretId"),
    (403, "SignatureDoesNotMatch", AuthenticationError, NO, "SecretKey"),
    (403, "RequestTimeTooSkewed", ClockSkewError, NO, "clock"),
    (403, "InvalidObjectState", InvalidRequestError, NO, "restore"),
    (409, "InvalidObjectState", InvalidRequestError, NO, "restore"),
    (403, "NoProcessAuthority", PermissionDeniedError, NO, "console"),
    (404, "NoSuchBucket", NotFoundError, NO, "bucket"),
    (404, "NoSuchKey", NotFoundError, NO, "key"),
    (405, "MethodNotAllowed", InvalidRequestError, NO, "message"),
    (409, "PathConflict", ServerError, YES, "later"),
    (409, "UploadConflict", ServerError, YES, "later"),
    (411, "MissingContentLength", InvalidRequestError, NO, "report"),
    (412, "PreconditionFailed", InvalidRequestError, NO, "message"),
    (416, "InvalidRange", InvalidRequestError, NO, "message"),
    (451, "DomainAuditFailed", PermissionDeniedError, NO, "support"),
    (500, "InternalError", ServerError, YES, "later"),
    (503, "ServiceUnavailable", ServerError, YES, "later"),
    (503, "SlowDown", ThrottledError, YES, "fewer requests"),
    (503, "KmsFreqControl", ThrottledError, YES, "fewer requests"),
]
# the names that the numbers stand for are tested above, or have no documented status
OTHER_CODES = [
    (403, "BucketAlreadyBinded", InvalidRequestError, NO, "exists already"),
    (404, "QueueNotFound", NotFoundError, NO, "id"),
    (404, "TemplateNotFound", NotFoundError, NO, "id"),
    (400, "BindedBucketNumLimit", InvalidRequestError, NO, "quota"),
    (400, "CreatedTemplateNumLimit", InvalidRequestError, NO, "quota"),
    (400, "WorkFlowNumLimit", InvalidRequestError, NO, "quota"),
    (400, "QueueNumLimit", InvalidRequestError, NO, "quota"),
    *(
        (status, code, PermissionDeniedError, NO, hint)
        for status in (400, 403)
        for code, hint in {
            "MediaBucketUnBinded": "Bind the bucket",
            "AsrBucketUnBinded": "TencentCIHook().open_service()",
            "PicBucketUnBinded": "the service that the code names",
            "AIBucketUnBinded": "the service that the code names",
            # no source has these; they are named alike
            "FileBucketUnBinded": "the service that the code names",
            "BucketUnBinded": "the service that the code names",
        }.items()
    ),
    *(
        (status, f"{service}BucketAlreadyBinded", InvalidRequestError, NO, "exists already")
        for status in (400, 403)
        for service in ("Asr", "Pic", "AI")
    ),
    (400, "TemplateNameDuplicate", InvalidRequestError, NO, "exists already"),
    (400, "ActiveWorkflowForbiddenUpdate", InvalidRequestError, NO, "state"),
    (403, "WriteTargetBucketDenied", PermissionDeniedError, NO, "CI_QCSRole"),
    (400, "InvalidContentType", InvalidRequestError, NO, "report"),
]
ALL_CODES = CI_CODES + COS_CODES + OTHER_CODES


@pytest.mark.parametrize(
    ("status", "code", "exception", "retryable", "hint"),
    ALL_CODES,
    ids=[f"{status}-{code}" for status, code, *_ in ALL_CODES],
)
def test_documented_codes(status, code, exception, retryable, hint):
    error = service_error(response(status, error_body(code, "Why."), x_ci_request_id="NjQ"), "list jobs")
    assert type(error) is exception
    assert (error.status, error.code, error.service_message) == (status, code, "Why.")
    assert error.request_id == "NjQ"
    assert hint in error.hint
    assert is_retryable(error) is retryable
    assert is_not_accepted(error) is (status < 500)
    assert str(error).startswith(f"Cannot list jobs: {code}: Why. (HTTP {status}, request id NjQ). ")


NUMBERS = {
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


@pytest.mark.parametrize(("number", "name"), NUMBERS.items())
def test_numeric_codes_mean_their_names(number, name):
    by_number = service_error(response(400, error_body(number)), "x")
    by_name = service_error(response(400, error_body(name)), "x")
    assert type(by_number) is type(by_name)
    assert by_number.hint == by_name.hint
    assert by_number.code == number, "kept as the service sent it"


def test_every_number_has_a_rule():
    assert errors._NUMERIC_CODES == NUMBERS
    assert set(NUMBERS.values()) <= set(errors._BY_CODE)


UNKNOWN = [
    (302, WrongEndpointError),
    (308, WrongEndpointError),
    (400, InvalidRequestError),
    (401, PermissionDeniedError),
    (402, PermissionDeniedError),
    (403, PermissionDeniedError),
    (404, NotFoundError),
    (407, ServiceError),
    (408, ServerError),
    (418, InvalidRequestError),
    (429, ThrottledError),
    (451, PermissionDeniedError),
    (500, ServerError),
    (502, ServerError),
    (504, ServerError),
    (599, ServerError),
]
BODIES = {
    "unknown code": error_body("NeverSeen"),
    "empty code": error_body(""),
    "unknown number": error_body("9999"),
    "empty body": "",
    "html": "<!DOCTYPE html><html><head><title>Bad gateway</title></head><br></html>",
    "xhtml": "<html><body>Bad gateway</body></html>",
    "json": '{"Code": "SlowDown"}',
    "binary": b"\xff\x00",
    "cut off": "<Error><Code>SlowDown</Code>",
    "too large": error_body("SlowDown", "x" * 70_000),
    "entity bomb": '<!DOCTYPE Error [<!ENTITY a "b">]>' + error_body("SlowDown", "&a;"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_unknown_responses_are_classified_by_status(body):
    # each of the service's own errors has a code: a 404 without one is a gateway's
    without_code = (
        {404: ServerError} if body not in (BODIES["unknown code"], BODIES["unknown number"]) else {}
    )
    for status, exception in (dict(UNKNOWN) | without_code).items():
        error = service_error(response(status, body, x_cos_request_id="cos"), "list jobs")
        assert type(error) is exception
        assert error.request_id == "cos"
        assert error.hint
        assert f"HTTP {status}" in str(error)
        assert len(str(error)) < 500, "no page of HTML in the log"


def test_the_request_id_of_the_body_is_used_without_header():
    body = error_body("SlowDown", extra="<RequestId>body</RequestId><TraceId>t</TraceId>")
    assert service_error(response(429, body), "x").request_id == "body"
    assert service_error(response(429, body, x_ci_request_id="header"), "x").request_id == "header"


def test_children_come_in_any_order_and_namespace():
    body = "<Error xmlns='urn:x'><RequestId>r</RequestId><Message>m</Message><Code>SlowDown</Code></Error>"
    error = service_error(response(429, body), "x")
    assert (error.code, error.service_message, error.request_id) == ("SlowDown", "m", "r")


def test_what_the_service_computed_of_the_signature_is_not_repeated():
    body = error_body(
        "SignatureDoesNotMatch",
        extra="<StringToSign>sha1\n1;2\nhunter2\n</StringToSign><FormatString>get\nhunter2</FormatString>"
        "<Resource>hunter2</Resource><ServerTime>2025-01-02T03:04:05Z</ServerTime>",
    )
    error = service_error(response(403, body), "x")
    assert "hunter2" not in f"{error} {error!r} {error.__dict__}"


COS_REFUSAL = """<?xml version='1.0' encoding='utf-8' ?>
<Error>
  <Code>SignatureDoesNotMatch</Code>
  <Message>The Signature you specified is invalid.</Message>
  <StringToSign>sha1
1735787045;1735790645
0f8b2f0c1d7f3a0e4c2f3b1a9d8e7c6b5a493827
</StringToSign>
  <FormatString>get
/in/song.mp3

host=media-1250000001.cos.ap-guangzhou.myqcloud.com&amp;x-cos-security-token=the-token
</FormatString>
  <Resource>media-1250000001.cos.ap-guangzhou.myqcloud.com/in/song.mp3</Resource>
  <RequestId>NjdhYmNk</RequestId>
  <TraceId>OGVmYzZi</TraceId>
</Error>"""


def test_an_error_in_the_form_of_cos_is_read():
    error = service_error(response(403, COS_REFUSAL), "download the object")
    assert type(error) is AuthenticationError
    assert str(error) == (
        "Cannot download the object: SignatureDoesNotMatch: The Signature you specified is invalid."
        " (HTTP 403, request id NjdhYmNk). Check the connection's SecretId (login) and SecretKey (password),"
        " and the token if temporary"
    )
    said = f"{error} {error!r} {error.__dict__}"
    assert not [text for text in ("sha1", "0f8b2f0c", "the-token", "host=") if text in said]


QUOTED = {
    "header": "Invalid Authorization: q-sign-algorithm=sha1&q-ak=AKID1&q-signature=hunter2",
    "url": "Cannot read https://b.cos.r.myqcloud.com/a?q-signature=hunter2&x-cos-security-token=hunter2 now",
    "old form": "GET /a?sign=hunter2%3D HTTP/1.1",
    "token header": "x-ci-security-token: hunter2, Host: b.ci.r.myqcloud.com",
    "upper case": "Q-SIGNATURE=hunter2",
    "in JSON": 'Headers: {"x-ci-security-token": "hunter2", "a": "b"}',
    "escaped": "GET: /a%3Fq-ak%3DAKID1%26q-signature%3Dhunter2%26a",
    "whole and escaped": "Authorization: q-sign-algorithm%3Dsha1%26q-ak%3DAKID1%26q-signature%3Dhunter2",
}


@pytest.mark.parametrize("message", QUOTED.values(), ids=QUOTED)
def test_a_signature_that_the_service_quotes_is_not_repeated(message):
    body = error_body("InvalidAuthorization", message.replace("&", "&amp;"))
    error = service_error(response(401, body), "list jobs")
    assert "hunter2" not in f"{error} {error!r} {error.__dict__}"
    assert "q-sign-algorithm" not in str(error)
    name = re.split("[=:]", message)[0]
    assert error.service_message.startswith(name), "the rest stays readable"


# message, exception, a word of the hint
TELLING_MESSAGES = [
    ("Request has expired", ClockSkewError, "clock"),
    ("Strict signature missing header host", PermissionDeniedError, "strict signature mode"),
    ("no permission for cam:PassRole", PermissionDeniedError, "cam:PassRole on the role"),
    ("sub account is not allowed to pass role", PermissionDeniedError, "cam:PassRole on the role"),
    ("CI_QCSRole does not exist", PermissionDeniedError, "Authorise CI"),
    ("The service role isn't authorized", PermissionDeniedError, "Authorise CI"),
    ("role not exist", PermissionDeniedError, "Authorise CI"),
    ("missing the service role", PermissionDeniedError, "Authorise CI"),
    ("服务角色不存在", PermissionDeniedError, "Authorise CI"),
    ("The bucket is unbound", PermissionDeniedError, "Bind the bucket"),
    ("the bucket has not been bound to CI", PermissionDeniedError, "Bind the bucket"),
    ("bucket not bind ci", PermissionDeniedError, "Bind the bucket"),
    ("存储桶未绑定", PermissionDeniedError, "Bind the bucket"),
    ("The smart audio service is not enabled", PermissionDeniedError, "Open the smart audio service"),
    ("asr function hasn't been opened", PermissionDeniedError, "Open the smart audio service"),
    ("media service never activated for this bucket", PermissionDeniedError, "Open the smart audio service"),
    ("CI is disabled", PermissionDeniedError, "Open the smart audio service"),
    ("未开通智能语音", PermissionDeniedError, "Open the smart audio service"),
    ("The bucket is in another region", WrongEndpointError, "region"),
    ("bucket does not belong to this region", WrongEndpointError, "region"),
    ("wrong region", WrongEndpointError, "region"),
    ("The job provided can not be modified", InvalidRequestError, "has begun or ended"),
]


@pytest.mark.parametrize(("message", "exception", "hint"), TELLING_MESSAGES, ids=lambda v: str(v)[:40])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (401, "1018"),
        (400, "InvalidArgument"),
        (400, "ResourceNotFound"),
        (403, "NeverSeen"),
    ],
)
def test_some_causes_are_recognised_by_the_message(status, code, message, exception, hint):
    error = service_error(response(status, error_body(code, message)), "submit the job")
    assert type(error) is exception
    assert hint in error.hint
    assert message in str(error), "printed in full"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "ServiceUnavailable"),
        (500, "AccessDenied"),
        (429, "NeverSeen"),
        (403, "QueueSaturated"),
        (408, "x"),
    ],
)
def test_a_message_does_not_overrule_what_is_known(status, code):
    plain = service_error(response(status, error_body(code, "Why.")), "x")
    telling = service_error(response(status, error_body(code, "The service is disabled")), "x")
    assert (type(telling), telling.hint) == (type(plain), plain.hint)


@pytest.mark.parametrize(
    "message",
    [
        "Operation.Output.Region is not valid",
        "The field Operation.Output.Bucket is not valid",
        "No permission to the bucket media-1250000001",
        "in/role.mp3 is broken",
        "The Object is not found",
    ],
)
def test_other_messages_change_nothing(message):
    plain = service_error(response(400, error_body("InvalidArgument", "Why.")), "x")
    other = service_error(response(400, error_body("InvalidArgument", message)), "x")
    assert (type(other), other.hint) == (type(plain), plain.hint)


@pytest.mark.parametrize(
    ("location", "reported"),
    [
        (
            "https://media-1250000001.ci.ap-shanghai.myqcloud.com/jobs",
            "; the service points to region ap-shanghai",
        ),
        ("https://media-1250000001.cos.na-ashburn.tencentcos.cn/?q-signature=hunter2", "region na-ashburn"),
        ("https://media-1250000001.cos-internal.ap-beijing-1.tencentcos.cn/", "region ap-beijing-1"),
        ("https://media-1250000001.ci.ap-nanjing.tencentci.cn/", "region ap-nanjing"),
        ("https://example.org/?x=hunter2", "endpoint_url of the connection"),
        ("", "endpoint_url of the connection"),
    ],
)
def test_the_hint_of_a_redirection_names_the_region_only(location, reported):
    error = service_error(response(307, error_body("TemporaryRedirect"), location=location), "list jobs")
    assert type(error) is WrongEndpointError
    assert error.hint.endswith(reported)
    assert "hunter2" not in str(error)
    assert "example.org" not in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": " 1.5 "}, 1.5),
        ({"retry_after": "86400"}, 300.0),
        ({"retry_after": "inf"}, 300.0),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "Wed, 21 Oct 2025 07:28:00 GMT"}, None),
        ({"retry_after": ""}, None),
        ({}, None),
    ],
    ids=lambda value: value.get("retry_after", "absent") if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(status, header, seconds):
    assert service_error(response(status, **header), "x").retry_after == seconds


def test_retry_after_means_nothing_elsewhere():
    assert not hasattr(service_error(response(403, retry_after="7"), "x"), "retry_after")


OUTCOMES = {
    # name: (error, may an idempotent call be repeated, was a submission certainly not accepted)
    "never sent": (TransportError("x", sent=False), YES, YES),
    "lost after sending": (TransportError("x"), YES, NO),
    "unreadable": (InvalidResponseError("x", status=200), YES, NO),
    "throttled by CI": (ThrottledError("x", status=429), YES, YES),
    "throttled by 503": (ThrottledError("x", status=503), YES, NO),
    "internal": (ServerError("x", status=500), YES, NO),
    "gateway": (ServerError("x", status=504), YES, NO),
    "not implemented": (ServerError("x", status=501), NO, NO),
    "slow upload": (ServerError("x", status=400), YES, YES),
    "refused": (InvalidRequestError("x", status=400), NO, YES),
    "queue full": (QueueFullError("x", status=403), NO, YES),
    "redirect": (WrongEndpointError("x", status=307), NO, YES),
    "error in a 200 answer": (InvalidRequestError("x", status=200), NO, NO),
    "internal in a 200 answer": (ServerError("x", status=200), YES, NO),
    "status unknown": (ServiceError("x"), NO, NO),
    "ambiguous": (AmbiguousSubmissionError("x"), NO, NO),
    "not sent at all": (RequestValidationError(["x"]), NO, NO),
    "any other": (TencentCIError("x", status=400), NO, NO),
}


@pytest.mark.parametrize(("error", "retryable", "not_accepted"), OUTCOMES.values(), ids=OUTCOMES)
def test_what_may_be_repeated(error, retryable, not_accepted):
    assert is_retryable(error) is retryable
    assert is_not_accepted(error) is not_accepted


def test_every_rule_has_a_hint():
    rules = [*errors._BY_CODE.values(), *errors._BY_STATUS.values(), *errors._BY_STATUS_AND_CODE.values()]
    assert all(rule.hint[0].isupper() and not rule.hint.endswith(".") for rule in rules)


def test_a_gateways_timeout_leaves_a_submission_open():
    # unlike every other 4xx: the gateway gave up, the service may not have
    assert not is_not_accepted(service_error(response(408, b""), "submit the job"))
    assert is_not_accepted(service_error(response(409, error_body("PathConflict")), "submit the job"))


@pytest.mark.parametrize(
    ("status", "code", "message", "date", "expected"),
    [
        (401, "SignatureExpired", "", "Wed, 15 Nov 2023 06:13:20 GMT", 1_700_028_800.0),
        (403, "AccessDenied", "Request has expired", "Wed, 15 Nov 2023 06:13:20 GMT", 1_700_028_800.0),
        (403, "RequestTimeTooSkewed", "", "soon", None),
        (403, "RequestTimeTooSkewed", "", None, None),
    ],
)
def test_a_clock_skew_error_has_the_services_time(status, code, message, date, expected):
    headers = {} if date is None else {"date": date}
    error = service_error(response(status, error_body(code, message), **headers), "list jobs")
    assert type(error) is ClockSkewError
    assert error.server_time == expected
    assert not error.corrected
    assert is_not_accepted(error)


def test_missing_credentials():
    """Nothing was sent, and whether repeating helps is what the source said."""
    assert is_not_accepted(CredentialsError("x"))
    assert [is_retryable(CredentialsError("x", transient=transient)) for transient in (True, False)] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ExpiredToken", True),
        (401, "SecretidNotExist", True),
        (401, "1019", True),
        (403, "InvalidAccessKeyId", True),
        (401, "InvalidAuthorization", True),
        (401, "MissingAuthorization", False),
        (401, "1012", False),
        (401, "SignatureExpired", False),
        (401, "AccessDenied", False),
        (403, "AccessDenied", False),
        (500, "InternalError", False),
    ],
)
def test_which_errors_reject_the_credentials(status, code, expected):
    assert rejects_credentials(service_error(response(status, error_body(code, "Why.")), "x")) is expected


def test_the_cause_is_looked_for_in_the_beginning_of_a_message_only():
    """Its patterns would take half a second for 64 kB, in the triggerer's event loop too."""

    def error(message: str) -> ServiceError:
        return service_error(response(403, error_body("AccessDenied", message)), "do it")

    assert "strict signature mode" in str(error("x" * 900 + " strict signature").hint)
    assert "strict signature mode" not in str(error("x" * 1000 + " strict signature").hint)


#: Codes of failed jobs after which the same job may succeed.
PASSING = {
    *(
        "InternalError",
        "ServiceUnavailable",
        "RequestTimeout",
        "UserNetworkTooSlow",
        "ResourceDownloadFailed",
    ),
    *("SlowDown", "KmsFreqControl", "QueueSaturated", "QueuePaused", "PathConflict", "UploadConflict"),
    *("ExpiredToken", "SignatureExpired", "RequestTimeTooSkewed"),
}


def test_a_failed_job_would_fail_again_unless_its_cause_may_pass() -> None:
    documented = {code for _, code, *_ in ALL_CODES} | set(errors._BY_CODE)
    assert {code for code in documented if not is_lasting_failure(code)} == PASSING
    numbers = {number for number in NUMBERS if not is_lasting_failure(number)}
    assert {NUMBERS[number] for number in numbers} == {"InternalError", "SlowDown", "SignatureExpired"}


@pytest.mark.parametrize("code", ["AccessDenied", "1018"])
def test_an_input_whose_address_was_signed_too_long_ago_may_be_read_later(code: str) -> None:
    assert is_lasting_failure(code, "Access Denied.")
    assert not is_lasting_failure(code, "Request has expired")


@pytest.mark.parametrize("code", [None, "", "Success", "NeverSeen", "9999"])
def test_a_job_that_failed_for_an_unknown_reason_may_succeed(code: str | None) -> None:
    assert not is_lasting_failure(code)


def test_the_service_refuses_the_content_of_a_request_by_two_codes_alone() -> None:
    """Every other cause may be gone at the next try of a task."""
    refusing = {
        code
        for status, code, *_ in ALL_CODES
        if refuses_content(service_error(response(status, error_body(code)), "submit the job"))
    }
    assert refusing == {"InvalidArgument", "InvalidRequest"}


@pytest.mark.parametrize(
    ("status", "code", "message", "refuses"),
    [
        (400, "1015", "AudioMode is not supported", True),
        (400, "InvalidArgument", "", True),
        (400, "InvalidArgument", "the asr service is not opened", False),
        (400, "InvalidRequest", "the bucket is not in this region", False),
        (503, "InvalidArgument", "", False),
        (400, None, "bad request", False),
        (404, None, "", False),
    ],
)
def test_the_message_decides_whether_the_content_is_refused(
    status: int, code: str | None, message: str, refuses: bool
) -> None:
    error = service_error(response(status, error_body(code or "", message)), "submit the job")
    assert refuses_content(error) is refuses


def test_an_error_without_a_response_refuses_no_content() -> None:
    assert not refuses_content(TransportError("lost"))
