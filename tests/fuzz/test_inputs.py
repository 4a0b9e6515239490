"""Callbacks, signatures and the settings of connections: nothing but the typed errors, soon."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import ConfigurationError, InvalidCallbackError, TencentCIError
from airflow_provider_ci.get_provider_info import CONN_FIELDS
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.protocol import tc3
from airflow_provider_ci.protocol.callbacks import MAX_BYTES, parse_callback
from airflow_provider_ci.protocol.results import job_result
from airflow_provider_ci.protocol.signing import sign
from airflow_provider_ci.protocol.wire import Endpoint, Service, check_origin, is_loopback_url
from tests.signatures import Authorization
from tests.unit.protocol.test_callbacks import JSON as CALLBACK
from tests.unit.protocol.test_callbacks import NAMES

from .documents import TEXTS, bodies
from .effort import effort, quickly
from .models import check_model

# as a server reads them from the wire: bytes that are no UTF-8 are half characters
WIRE_TEXTS = st.sampled_from(TEXTS) | st.binary(max_size=20).map(
    lambda raw: raw.decode(errors="surrogateescape")
)
LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    (
        *TEXTS,
        None,
        True,
        0,
        -1,
        10**400,
        1e308,
        float("nan"),
        float("inf"),
        "\ud800",
        "\x00",
        [],
        {},
        [[]],
        [None],
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=40,
)


@st.composite
def said(draw: st.DrawFn) -> bytes:
    """A callback in JSON, some of whose values have been replaced."""
    whole = json.loads(json.dumps(CALLBACK))
    for _ in range(draw(st.integers(0, 4))):
        place: Any = whole
        while isinstance(place, dict) and place:
            name = draw(st.sampled_from(sorted(place)))
            if not isinstance(place[name], dict) or draw(st.booleans()):
                place[name] = draw(VALUES)
                break
            place = place[name]
    return json.dumps(whole).encode()


def _deep(opening: bytes, closing: bytes, depth: int) -> bytes:
    return b'{"EventName":' + opening * depth + b"1" + closing * depth + b"}"


DEEP = st.builds(
    _deep, st.sampled_from((b"[", b'{"a":')), st.sampled_from((b"]", b"}", b"")), st.integers(0, 2000)
)
LARGE = st.builds(
    lambda unit, count: b"<Response>" + unit * count + b"</Response>",
    st.sampled_from((b"<a/>", b"<JobsDetail><JobId>j</JobId></JobsDetail>", b"&#65;", b"x")),
    st.integers(0, MAX_BYTES // 4),
)


@effort(200)
@given(bodies() | said() | DEEP)
def test_a_callback_is_read_or_rejected(body: bytes) -> None:
    with quickly():
        try:
            callback = parse_callback(body)
        except InvalidCallbackError as error:
            assert len(str(error)) < 300
            return
        check_model(callback)
        for job in callback.jobs:
            json.dumps(job_result(job), allow_nan=False)


@effort(8)
@given(LARGE)
def test_a_large_callback_is_read_or_rejected(body: bytes) -> None:
    with quickly(5):
        try:
            parse_callback(body)
        except InvalidCallbackError as error:
            assert len(str(error)) < 300


PAIRS = st.lists(st.tuples(WIRE_TEXTS, WIRE_TEXTS), max_size=6)


@effort(100)
@given(WIRE_TEXTS, WIRE_TEXTS, PAIRS, PAIRS, st.integers(0, 2**40), st.integers(0, 2**40))
def test_what_is_signed_verifies_and_nothing_else(
    method: str,
    path: str,
    params: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    start: int,
    end: int,
) -> None:
    text = sign(method, path, params, headers, secret_id="AKID", secret_key="k", key_time=(start, end))
    assert "\n" not in text
    authorization = Authorization(text)
    assert (authorization.start, authorization.end) == (start, end)
    named = [name for name, _ in (*params, *headers)]
    if all(named):  # a name that is empty cannot be distinguished from none
        assert authorization.fits(method, path, params, headers, secret_key="k")
    assert not authorization.fits(method, f"{path}x", params, headers, secret_key="k")


@effort(150)
@given(
    st.binary(max_size=40),
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS).filter(str.isprintable),
    st.integers(0, 253_402_300_799),
)
def test_a_tc3_signature_is_one_line(body: bytes, host: str, secret_id: str, timestamp: int) -> None:
    with quickly():
        text = tc3.authorization(
            body,
            host=host,
            service="sts",
            secret_id=secret_id,
            secret_key="the-secret-key",
            timestamp=timestamp,
        )
    assert "\n" not in text
    assert "the-secret-key" not in text


URLS = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(
            ("https://", "http://", "HTTPS://", "//", "ftp://", "https:", "https:///", "file://", "")
        ),
        st.sampled_from(("", "user@", "user:pass@", "@", "a%40", "[", "::1]@")),
        st.sampled_from(
            (
                *(
                    "gateway.example.org",
                    "127.0.0.1",
                    "localhost",
                    "127.0.0.1.example.org",
                    "localhost.example.org",
                ),
                *(
                    "[::1]",
                    "[::ffff:127.0.0.1]",
                    "[::1%25lo]",
                    "[v1.a]",
                    "0x7f.1",
                    "2130706433",
                    "127.1",
                    "LOCALHOST",
                ),
                *(
                    "ｅxample.org",
                    "еxample.org",
                    "xn--e1afmkfd",
                    "ex\u3002ample.org",
                    "a..b",
                    ".",
                    "-",
                    "a_b",
                    "ﬀ.org",
                ),
                *("a b", "a\tb", "a\r\nb", "a\x00b", "a\\b", "a#b", "a?b", "a;b", "a,b", "x" * 5000),
            )
        ),
        st.sampled_from(
            (
                "",
                "/",
                ":443",
                ":0",
                ":99999",
                ":x",
                ":",
                ":443/",
                "//",
                "/a",
                "?",
                "#",
                "/..",
                "/%2f",
                "\\@e.org",
                "\n",
            )
        ),
    ),
    WIRE_TEXTS,
)


@effort(200)
@given(URLS, st.booleans())
def test_an_address_is_an_origin_or_rejected(url: str, allow_http: bool) -> None:
    with quickly():
        try:
            check_origin("endpoint_url", url, allow_http=allow_http)
        except ConfigurationError as error:
            assert str(error).startswith("endpoint_url ")
            assert "pass" not in str(error)
            return
        endpoint = Endpoint(
            bucket="media-1250000001", region="ap-guangzhou", base_url=url, allow_http=allow_http
        )
        origin = endpoint.origin(Service.CI)
    parts = urlsplit(f"{origin}/jobs?a=b")
    assert (parts.path, parts.query, parts.fragment, parts.username) == ("/jobs", "a=b", "", None)
    assert parts.hostname == urlsplit(url).hostname
    assert origin.isascii()
    assert origin.isprintable()
    assert parts.scheme == "https" or allow_http or is_loopback_url(url)
    assert endpoint.host(Service.CI) == "media-1250000001.ci.ap-guangzhou.myqcloud.com"


class Connection:
    """The part of Airflow's that is read."""

    def __init__(self, login: Any, password: Any, extra: Any) -> None:
        self.conn_type, self.schema = "tencent_ci", None
        self.conn_id, self.login, self.password, self.extra_dejson = (
            "tencent_ci_default",
            login,
            password,
            extra,
        )


SOURCES = st.sampled_from(
    ("static", "environment", "file", "instance_role", "assume_role", "web_identity", None)
)
EXTRAS = st.builds(
    lambda given, source, more: given | ({"credential_source": source} if source else {}) | more,
    st.dictionaries(st.sampled_from(sorted(CONN_FIELDS)), LEAVES, max_size=4),
    SOURCES,
    st.dictionaries(
        st.sampled_from((*sorted(CONN_FIELDS), "proxies", "headers", "verify", "")), LEAVES, max_size=2
    ),
)


@effort(150)
@given(
    st.sampled_from(("AKIDmarked", *TEXTS, None)),
    st.sampled_from(("the-secret-key-of-the-tests", *TEXTS, None)),
    EXTRAS | LEAVES,
)
def test_a_connection_is_read_or_rejected_by_field(login: Any, password: Any, extra: Any) -> None:
    with quickly():
        try:
            settings = ConnectionSettings.from_connection(Connection(login, password, extra))  # type: ignore[arg-type]
            endpoint = settings.endpoint()
        except TencentCIError as error:
            assert isinstance(error, ConfigurationError)
            assert "the-secret-key-of-the-tests" not in repr(error) + str(error)
            return
    assert "the-secret-key-of-the-tests" not in repr(settings)
    host = endpoint.host(Service.CI)
    assert re.fullmatch(r"[a-z0-9-]+\.ci\.[a-z0-9-]+\.myqcloud\.com", host)
    assert all(0 < seconds < float("inf") for seconds in settings.timeouts)
