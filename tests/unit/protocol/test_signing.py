"""The signature: published vectors, forgeries, and what holds for any text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_ci.protocol.signing import Authorization, SignatureFormatError, sign, verify

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "signing-vectors.json").read_text("utf-8"))[
    "vectors"
]
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])


class Signed:
    """A vector in the form that the functions under test take."""

    def __init__(self, vector: dict[str, Any]) -> None:
        given = vector["input"]
        self.method: str = given["method"]
        self.path: str = given["path_decoded"]
        self.params = [tuple(pair) for pair in given["signed_params"]]
        self.headers = [tuple(pair) for pair in given["signed_headers"]]
        self.secret_key: str = given["secret_key"]
        self.secret_id: str = given["secret_id"]
        start, _, end = given["key_time"].partition(";")
        self.key_time = (int(start), int(end))
        self.authorization = Authorization.parse(vector["expected"]["authorization"])

    def verifies(self, **changes: Any) -> bool:
        values = {name: getattr(self, name) for name in ("method", "path", "params", "headers")} | changes
        return verify(
            values.pop("authorization", self.authorization),
            values.pop("method"),
            values.pop("path"),
            values.pop("params"),
            values.pop("headers"),
            secret_key=values.pop("secret_key", self.secret_key),
        )


def test_all_vectors_are_here():
    assert len(VECTORS) == 20


@every_vector
def test_sign_gives_the_published_value(vector):
    case = Signed(vector)
    made = sign(
        case.method,
        case.path,
        case.params,
        case.headers,
        secret_id=case.secret_id,
        secret_key=case.secret_key,
        key_time=case.key_time,
    )
    assert made == vector["expected"]["authorization"]


@every_vector
def test_parse_reads_the_published_value(vector):
    case, parsed = Signed(vector), Signed(vector).authorization
    assert parsed.secret_id == case.secret_id
    assert (parsed.start, parsed.end) == case.key_time
    assert ";".join(parsed.header_list) == vector["intermediate"]["header_list"]
    assert ";".join(parsed.url_param_list) == vector["intermediate"]["url_param_list"]
    assert parsed.signature == vector["expected"]["signature"]


@every_vector
def test_verify_accepts_with_unsigned_extras(vector):
    case = Signed(vector)
    assert case.verifies()
    assert case.verifies(
        params=[*case.params, ("Unsigned/参数", "x"), ("q-sign-algorithm", "sha1")],
        headers=[*case.headers, ("User-Agent", "test"), ("X-Cos-Unsigned", "1")],
    )


@every_vector
def test_verify_refuses_any_forgery(vector):
    case = Signed(vector)
    start, end = case.key_time
    assert not case.verifies(path=case.path + "x")
    assert not case.verifies(method="DELETE" if case.method != "DELETE" else "GET")
    assert not case.verifies(secret_key=case.secret_key + "x")
    assert not case.verifies(authorization=replace(case.authorization, key_time=f"{start};{end + 1}"))
    assert not case.verifies(authorization=replace(case.authorization, signature="0" * 40))
    for name in ("params", "headers"):
        pairs = getattr(case, name)
        for at, (key, value) in enumerate(pairs):
            others = pairs[:at] + pairs[at + 1 :]
            assert not case.verifies(**{name: [*others, (key, value + "x")]}), f"{key} changed"
            assert not case.verifies(**{name: others}), f"{key} left out"
            assert not case.verifies(**{name: [*pairs, (key, value)]}), f"{key} repeated"


def test_presigned_query_pairs_correspond_to_the_parsed_fields():
    (vector,) = (vector for vector in VECTORS if vector["id"] == "presign-get-cjk-key")
    case = Signed(vector)
    pairs = [tuple(pair) for pair in vector["expected"]["presigned_query_pairs_decoded"]]
    fields = "&".join(f"{name}={value}" for name, value in pairs if name.startswith("q-"))
    assert Authorization.parse(fields) == case.authorization
    # the seven fields travel as parameters too, and must not disturb the check
    assert case.verifies(params=pairs)


GOOD = (
    "q-sign-algorithm=sha1&q-ak=AKID&q-sign-time=1;2&q-key-time=1;2"
    "&q-header-list=host&q-url-param-list=a%2fb;c&q-signature=00ff"
)


def test_parse_takes_the_fields_in_any_order():
    parsed = Authorization.parse("&".join(reversed(GOOD.split("&"))))
    assert parsed == Authorization("AKID", "1;2", "1;2", ("host",), ("a%2fb", "c"), "00ff")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param(GOOD, "", "malformed", id="empty"),
        pytest.param(GOOD, "Basic dXNlcjpwYXNz", "malformed", id="another-scheme"),
        pytest.param("&q-ak=AKID", "", "lacks q-ak", id="lacks-ak"),
        pytest.param("&q-header-list=host", "", "lacks q-header-list", id="lacks-header-list"),
        pytest.param("&q-signature=00ff", "", "lacks q-signature", id="lacks-signature"),
        pytest.param("&q-ak=AKID", "&q-ak=AKID&q-ak=AKID", "repeated", id="repeated"),
        pytest.param("&q-ak=AKID", "&q-ak=AKID&q-more=1", "unknown", id="unknown"),
        pytest.param("q-ak=AKID", "q-ak", "malformed", id="no-equals-sign"),
        pytest.param("=sha1", "=sha256", "q-sign-algorithm must be sha1", id="algorithm"),
        pytest.param("q-sign-time=1;2", "q-sign-time=1", "q-sign-time must be <", id="sign-time-no-end"),
        pytest.param("q-key-time=1;2", "q-key-time=a;2", "q-key-time must be <", id="key-time-no-number"),
        pytest.param("q-key-time=1;2", "q-key-time=1;2\n", "q-key-time must be <", id="key-time-line-feed"),
        pytest.param("q-key-time=1;2", "q-key-time=１;2", "q-key-time must be <", id="key-time-other-digits"),
        pytest.param("q-key-time=1;2", "q-key-time=-1;2", "q-key-time must be <", id="key-time-negative"),
        pytest.param(
            "q-key-time=1;2", f"q-key-time={'9' * 16};2", "q-key-time must be <", id="key-time-huge"
        ),
        pytest.param("q-key-time=1;2", "q-key-time=1;3", "must be equal", id="times-differ"),
    ],
)
def test_parse_refuses(old, new, says):
    assert old in GOOD
    with pytest.raises(SignatureFormatError, match=says):
        Authorization.parse(GOOD.replace(old, new, 1))


def test_a_format_error_does_not_repeat_what_it_was_given():
    with pytest.raises(SignatureFormatError) as caught:
        Authorization.parse(f"{GOOD}&secret=hunter2")
    assert "hunter2" not in str(caught.value)


# Any text that a UTF-8 wire can carry, and undecodable bytes as servers hand them over (surrogateescape).
texts = st.text(max_size=12) | st.binary(max_size=8).map(lambda raw: raw.decode(errors="surrogateescape"))
names = st.text(min_size=1, max_size=12)
times = st.tuples(st.integers(0, 10**12), st.integers(0, 10**12))


def distinct(pairs: list[tuple[str, str]]) -> bool:
    return len({name.lower() for name, _ in pairs}) == len(pairs)


pairs_of_distinct_names = st.lists(st.tuples(names, texts), max_size=5).filter(distinct)


@given(
    method=st.sampled_from(["GET", "put", "Post", "DELETE"]),
    path=texts.map("/".__add__),
    params=pairs_of_distinct_names,
    headers=pairs_of_distinct_names,
    extra=pairs_of_distinct_names,
    key_time=times,
    data=st.data(),
)
def test_what_was_signed_verifies_in_any_order_and_case(method, path, params, headers, extra, key_time, data):
    text = sign(method, path, params, headers, secret_id="AKID", secret_key="键 key", key_time=key_time)
    authorization = Authorization.parse(text)
    assert (authorization.start, authorization.end) == key_time

    def disturbed(pairs):
        taken = {name.lower() for name, _ in pairs}
        unsigned = [(name, value) for name, value in extra if name.lower() not in taken]
        shuffled = data.draw(st.permutations(pairs + unsigned))
        return [(ascii_upper(name), value) for name, value in shuffled]

    assert verify(
        authorization, method.swapcase(), path, disturbed(params), disturbed(headers), secret_key="键 key"
    )


def ascii_upper(text: str) -> str:
    """Only ASCII letters have a case in a name: the others are escaped before names are lower-cased."""
    return "".join(letter.upper() if letter.isascii() else letter for letter in text)


@given(pairs=pairs_of_distinct_names.filter(bool), key_time=times, data=st.data())
def test_a_listed_name_that_is_missing_never_verifies(pairs, key_time, data):
    text = sign("GET", "/", pairs, pairs, secret_id="AKID", secret_key="key", key_time=key_time)
    authorization = Authorization.parse(text)
    rest = list(pairs)
    rest.remove(data.draw(st.sampled_from(pairs)))
    assert not verify(authorization, "GET", "/", rest, pairs, secret_key="key")
    assert not verify(authorization, "GET", "/", pairs, rest, secret_key="key")


@pytest.mark.parametrize("name", ["header_list", "url_param_list"])
def test_a_list_cannot_claim_what_was_not_signed(name):
    # the lists are no part of what is signed, so anyone can lengthen them
    text = sign("GET", "/", [], [], secret_id="AKID", secret_key="key", key_time=(1, 2))
    claiming = replace(Authorization.parse(text), **{name: ("host",)})
    assert not verify(claiming, "GET", "/", [], [], secret_key="key")


@given(path=texts, other=texts, value=texts, changed=texts)
def test_another_path_or_value_never_verifies(path, other, value, changed):
    assume((path, value) != (other, changed))
    text = sign("GET", path, [("a", value)], [], secret_id="AKID", secret_key="key", key_time=(1, 2))
    assert not verify(Authorization.parse(text), "GET", other, [("a", changed)], [], secret_key="key")


def test_hex_digits_are_lower_case_in_names_and_upper_case_in_values():
    pair = [("A/b", "A/b")]
    text = sign("GET", "/", pair, [], secret_id="AKID", secret_key="key", key_time=(1, 2))
    assert "q-url-param-list=a%2fb&" in text
    assert verify(Authorization.parse(text), "GET", "/", [("a/B", "A/b")], [], secret_key="key")
    assert not verify(Authorization.parse(text), "GET", "/", [("A/b", "a/b")], [], secret_key="key")


def test_a_forged_signature_that_is_not_ascii_is_refused_quietly():
    authorization = Authorization("AKID", "1;2", "1;2", (), (), "签\udcff")
    assert not verify(authorization, "GET", "/", [], [], secret_key="key")
