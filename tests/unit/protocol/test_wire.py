"""Endpoints, and the bytes that are sent."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import ConfigurationError, RequestValidationError
from airflow_provider_ci.protocol.wire import (
    CLOCK_SKEW_TOLERANCE,
    SIGNATURE_TTL,
    Credentials,
    Endpoint,
    HttpRequest,
    Service,
    SignedRequest,
    content_md5,
    sign_request,
)
from tests.signatures import Authorization

from .builders import BUCKET, ENDPOINT, REGION, response

SECRET = "hunter2-secret-key"
TOKEN = "hunter2-token/with+chars=="
KEYS = Credentials("AKIDtest", SECRET)
TEMPORARY = Credentials("AKIDtest", SECRET, TOKEN)
NOW = 1_700_000_000.9


def endpoint(url: str | None = None, **changes) -> Endpoint:
    return Endpoint(**{"bucket": BUCKET, "region": REGION, "base_url": url} | changes)


def send(path="/jobs", *, credentials=KEYS, to=ENDPOINT, service=Service.CI, method="GET", **parts):
    request = HttpRequest(method=method, service=service, path=path, **parts)
    return sign_request(request, to, credentials, now=NOW)


def on_the_wire_verifies(sent: SignedRequest, secret_key: str = SECRET) -> bool:
    """Verify as a server does: from the URL and the headers alone."""
    parts = urlsplit(sent.url)
    params = parse_qsl(parts.query, keep_blank_values=True)
    authorization = Authorization(sent.headers["Authorization"])
    return authorization.fits(
        sent.method, unquote(parts.path), params, sent.headers.items(), secret_key=secret_key
    )


# --- endpoint -----------------------------------------------------------------------------------------------


def test_virtual_hosts():
    assert ENDPOINT.host(Service.CI) == "media-1250000001.ci.ap-guangzhou.myqcloud.com"
    assert ENDPOINT.origin(Service.CI) == "https://media-1250000001.ci.ap-guangzhou.myqcloud.com"
    assert ENDPOINT.origin(Service.COS) == "https://media-1250000001.cos.ap-guangzhou.myqcloud.com"
    assert not ENDPOINT.is_loopback


INTERNAL = "cos-internal.{region}.tencentcos.cn"


def test_other_hosts_of_tencent_cloud():
    inside = Endpoint(bucket=BUCKET, region=REGION, ci_host="ci.{region}.tencentci.cn", cos_host=INTERNAL)
    assert inside.host(Service.CI) == f"{BUCKET}.ci.{REGION}.tencentci.cn"
    assert inside.origin(Service.COS) == f"https://{BUCKET}.cos-internal.{REGION}.tencentcos.cn"
    accelerated = Endpoint(bucket=BUCKET, region=REGION, cos_host="cos.accelerate.myqcloud.com")
    assert accelerated.host(Service.COS) == f"{BUCKET}.cos.accelerate.myqcloud.com"
    assert accelerated.host(Service.CI) == ENDPOINT.host(Service.CI)


@pytest.mark.parametrize(
    "host",
    [
        *("", "ci", "myqcloud.com", "cos.{region}.example.com", "cos.{region}.myqcloud.com.example.com"),
        *(f"{BUCKET}.{INTERNAL}", f"https://{INTERNAL}", f"{INTERNAL}:443", f"{INTERNAL}/", f"{INTERNAL}\n"),
        *(
            "ci.{region}.tencentci.cn",
            "cos.{Region}.myqcloud.com",
            "cos.{}.myqcloud.com",
            "cos..myqcloud.com",
        ),
        "COS.{region}.myqcloud.com",
    ],
)
def test_a_host_of_another_form_is_rejected(host):
    with pytest.raises(
        ConfigurationError, match=r"cos_host is .*, allowed: a host name of Tencent Cloud"
    ) as caught:
        Endpoint(bucket=BUCKET, region=REGION, cos_host=host)
    assert repr(host) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin", "loopback"),
    [
        ("https://gateway.example.org", "https://gateway.example.org", False),
        ("https://gateway.example.org:8443/", "https://gateway.example.org:8443", False),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000", True),
        ("http://127.8.8.8", "http://127.8.8.8", True),
        ("http://LocalHost:1", "http://LocalHost:1", True),
        ("http://[::1]:9000/", "http://[::1]:9000", True),
        ("https://[2001:db8::1]", "https://[2001:db8::1]", False),
    ],
)
def test_base_url(url, origin, loopback):
    found = endpoint(url)
    assert found.origin(Service.CI) == found.origin(Service.COS) == origin
    assert found.is_loopback is loopback
    assert found.host(Service.CI) == ENDPOINT.host(Service.CI)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateway.example.org",
        "//gateway.example.org",
        "ftp://gateway.example.org",
        "https://",
        "https://:443",
        "https://user:hunter2@gateway.example.org",
        "https://hunter2@gateway.example.org",
        "https://@gateway.example.org",
        "https://gateway.example.org/hunter2",
        "https://gateway.example.org?hunter2",
        "https://gateway.example.org?",
        "https://gateway.example.org#hunter2",
        "https://gateway.example.org/#",
        "https://gateway.example.org:99999",
        "https://gateway.example.org:x",
        "https://[::1",
        "https://gate way.example.org",
        " https://gateway.example.org",
        "https://gateway.example.org\n",
        "https://gate\tway.example.org",
        "https://gateway.example.org\\@127.0.0.1",
        "https://gateway\\example.org",
        "https://gateway%2eexample.org",
        "https://ｇateway.example.org",
    ],
)
def test_an_invalid_base_url_is_rejected(url):
    with pytest.raises(ConfigurationError, match="endpoint_url does not have the allowed form") as caught:
        endpoint(url, allow_http=True)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("gateway.example.org:8080", "'gateway.example.org:8080'"),
        ("ftp://me:hunter2@gateway.example.org/a?b", "'ftp://gateway.example.org/…'"),
        ("https://me:hunter2", "'https://me:…'"),
        ("https://gate way.example.org\n", r"'https://gate way.example.org\n'"),
        ("x" * 5000, f"'{'x' * 100}'"),
    ],
)
def test_a_rejected_base_url_is_quoted_without_its_password(url, shown):
    with pytest.raises(ConfigurationError, match="endpoint_url does not have the allowed form") as caught:
        endpoint(url)
    assert f"it is {shown}, allowed: scheme://host[:port]" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example.org",
        "HTTP://10.0.0.1",
        "http://127.1",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "http://[2001:db8::1]",
    ],
)
def test_plain_http_is_for_loopback_or_when_allowed(url):
    with pytest.raises(ConfigurationError, match="plain http"):
        endpoint(url)
    assert endpoint(url, allow_http=True).origin(Service.CI) == url


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bucket": "media"}, "bucket is 'media', allowed: <name>-<appid>"),
        ({"bucket": "evil.com/-12345"}, "bucket is 'evil.com/-12345'"),
        ({"bucket": ""}, "bucket is ''"),
        ({"region": "x.evil.com"}, "region is 'x.evil.com', allowed: a region"),
        ({"region": ""}, "region is ''"),
        ({"region": "ap-" + "x" * 61}, "region is 'ap-xxx"),
    ],
)
def test_bucket_and_region_are_checked_before_they_are_a_host(changes, says):
    with pytest.raises(ConfigurationError) as caught:
        endpoint(**changes)
    assert says in str(caught.value)


@pytest.mark.parametrize("value", ["\ud800", "a\udcff", None, 5, ("x",)], ids=ascii)
def test_a_parameter_that_no_query_can_carry_is_named(value):
    with pytest.raises(RequestValidationError, match=r"Nothing was sent: queueId is .*, allowed: a string"):
        HttpRequest(method="GET", service=Service.CI, path="/jobs", params=(("queueId", value),))


# --- signed request -----------------------------------------------------------------------------------------


def test_a_read():
    sent = send("/jobs/j1,j2", params=(("tag", "a b"), ("cancel", "")))
    assert sent.method == "GET"
    assert sent.url == f"https://{BUCKET}.ci.{REGION}.myqcloud.com/jobs/j1%2Cj2?tag=a%20b&cancel"
    assert sent.body == b""
    assert set(sent.headers) == {"Host", "Authorization"}
    authorization = Authorization(sent.headers["Authorization"])
    assert authorization.header_list == ("host",)
    assert authorization.url_param_list == ("cancel", "tag")
    assert (authorization.start, authorization.end) == (
        1_700_000_000 - CLOCK_SKEW_TOLERANCE,
        1_700_000_000 + SIGNATURE_TTL,
    )
    assert on_the_wire_verifies(sent)
    assert not on_the_wire_verifies(sent, "another key")


@pytest.mark.parametrize(
    ("service", "header"),
    [(Service.CI, "x-ci-security-token"), (Service.COS, "x-cos-security-token")],
    ids=["ci", "cos"],
)
def test_the_token_header_is_the_services_and_signed(service, header):
    sent = send(credentials=TEMPORARY, service=service)
    assert sent.headers[header] == TOKEN
    assert sum(name.endswith("security-token") for name in sent.headers) == 1
    assert header in Authorization(sent.headers["Authorization"]).header_list
    assert sent.headers["Host"] == ENDPOINT.host(service)
    assert on_the_wire_verifies(sent)
    sent.headers[header] = "another"
    assert not on_the_wire_verifies(sent)


@pytest.mark.parametrize("token", [None, ""], ids=["none", "empty"])
def test_without_token_there_is_no_token_header(token):
    assert set(send(credentials=Credentials("a", SECRET, token)).headers) == {"Host", "Authorization"}


def test_the_body_is_bound_by_its_md5():
    body = "<Request>人</Request>".encode()
    sent = send(method="POST", body=body)
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    assert sent.body == body
    assert sent.headers["Content-MD5"] == content_md5(body) == md5
    assert sent.headers["Content-Type"] == "application/xml"
    assert Authorization(sent.headers["Authorization"]).header_list == ("content-md5", "host")
    assert on_the_wire_verifies(sent)
    sent.headers["Content-MD5"] = content_md5(b"another")
    assert not on_the_wire_verifies(sent)


def test_an_operations_headers_are_signed():
    sent = send(method="PUT", service=Service.COS, headers=(("x-cos-acl", "private"),))
    assert Authorization(sent.headers["Authorization"]).header_list == ("host", "x-cos-acl")
    assert on_the_wire_verifies(sent)


def test_a_base_url_changes_the_connection_and_nothing_else():
    local = send(to=endpoint("http://127.0.0.1:9000/"))
    plain = send()
    assert local.url == "http://127.0.0.1:9000/jobs"
    assert local.headers == plain.headers


@pytest.mark.parametrize(
    ("path", "escaped"),
    [
        ("/a,b", "/a%2Cb"),
        ("/a b", "/a%20b"),
        ("/a+b", "/a%2Bb"),
        ("/a%20b", "/a%2520b"),
        ("/人声", "/%E4%BA%BA%E5%A3%B0"),
        ("/a?b#c", "/a%3Fb%23c"),
        ("/a//b", "/a//b"),
        ("/a~b-c_d.e", "/a~b-c_d.e"),
        ("/./a", "/.%2Fa"),
        ("/../a", "/..%2Fa"),
        ("/a/../../b", "/a/..%2F..%2Fb"),
        ("/a./b", "/a.%2Fb"),
        ("/a..", "/a.."),
        ("/...", "/..."),
        ("/a\r\nb", "/a%0D%0Ab"),
        ("/a/..\n", "/a/..%0A"),
    ],
)
def test_paths_reach_the_service_unchanged(path, escaped):
    sent = send(path)
    assert sent.url == f"https://{ENDPOINT.host(Service.CI)}{escaped}"
    assert on_the_wire_verifies(sent)
    # HTTP libraries normalise paths
    assert unquote(requests.Request("GET", sent.url).prepare().path_url) == path


@pytest.mark.parametrize("path", ["/.", "/..", "/a/.", "/a/.."])
def test_a_path_that_http_libraries_cannot_send_is_rejected(path):
    with pytest.raises(RequestValidationError) as caught:
        send(path)
    assert repr(path[1:]) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("a b", "a%20b"),
        ("a+b", "a%2Bb"),
        ("2025-01-02T03:04:05+0800", "2025-01-02T03%3A04%3A05%2B0800"),
        ("人", "%E4%BA%BA"),
        ("a&b=c", "a%26b%3Dc"),
        ("a/b,c", "a%2Fb%2Cc"),
        ("%20", "%2520"),
    ],
)
def test_queries_are_escaped(value, escaped):
    sent = send(params=(("startTime", value),))
    assert sent.url.endswith(f"/jobs?startTime={escaped}")
    assert on_the_wire_verifies(sent)


utf8 = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@given(path=utf8, params=st.dictionaries(utf8.filter(bool), utf8, max_size=4), body=st.binary(max_size=9))
def test_any_request_verifies_as_it_is_on_the_wire(path, params, body):
    names = {name.lower() for name in params}
    pairs = tuple(params.items()) if len(names) == len(params) else ()
    path = f"/{path}x"
    sent = send(path, params=pairs, body=body, credentials=TEMPORARY)
    assert on_the_wire_verifies(sent)
    assert unquote(urlsplit(sent.url).path) == path
    assert sent.url.isascii()


def test_no_repr_shows_a_secret():
    body = b"<Request><CallBack>https://h/?hunter2</CallBack></Request>"
    request = HttpRequest(method="POST", service=Service.CI, path="/jobs", body=body)
    sent = sign_request(request, ENDPOINT, TEMPORARY, now=NOW)
    shown = f"{TEMPORARY!r} {TEMPORARY} {request!r} {sent!r} {sent}"
    assert "AKIDtest" in shown
    assert "hunter2" not in shown
    assert "q-signature" not in shown
    assert TOKEN not in sent.url


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x_ci_request_id": "ci", "x_cos_request_id": "cos"}, "ci"),
        ({"x_cos_request_id": "cos"}, "cos"),
        ({}, None),
    ],
    ids=["ci-first", "cos", "none"],
)
def test_request_id(headers, expected):
    assert response(**headers).request_id == expected
