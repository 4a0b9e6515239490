"""The signature: published vectors, and what holds for any text by the emulator's check of signatures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_ci.protocol.signing import sign
from tests.signatures import Authorization

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "signing-vectors.json").read_text("utf-8"))[
    "vectors"
]


def test_all_vectors_are_here():
    assert len(VECTORS) == 20


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_sign_gives_the_published_value(vector):
    given = vector["input"]
    start, end = map(int, given["key_time"].split(";"))
    authorization = sign(
        given["method"],
        given["path_decoded"],
        [tuple(pair) for pair in given["signed_params"]],
        [tuple(pair) for pair in given["signed_headers"]],
        secret_id=given["secret_id"],
        secret_key=given["secret_key"],
        key_time=(start, end),
    )
    assert authorization == vector["expected"]["authorization"]


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
    authorization = Authorization(text)
    assert (authorization.start, authorization.end) == key_time

    def disturbed(pairs):
        taken = {name.lower() for name, _ in pairs}
        unsigned = [(name, value) for name, value in extra if name.lower() not in taken]
        shuffled = data.draw(st.permutations(pairs + unsigned))
        return [(ascii_upper(name), value) for name, value in shuffled]

    assert authorization.fits(
        method.swapcase(), path, disturbed(params), disturbed(headers), secret_key="键 key"
    )


def ascii_upper(text: str) -> str:
    """Only ASCII letters have a case in a name: the others are escaped before names are lower-cased."""
    return "".join(letter.upper() if letter.isascii() else letter for letter in text)


@given(path=texts, other=texts, value=texts, changed=texts)
def test_another_path_or_value_never_verifies(path, other, value, changed):
    assume((path, value) != (other, changed))
    text = sign("GET", path, [("a", value)], [], secret_id="AKID", secret_key="key", key_time=(1, 2))
    assert not Authorization(text).fits("GET", other, [("a", changed)], [], secret_key="key")


def test_hex_digits_are_lower_case_in_names_and_upper_case_in_values():
    pair = [("A/b", "A/b")]
    text = sign("GET", "/", pair, [], secret_id="AKID", secret_key="key", key_time=(1, 2))
    assert "q-url-param-list=a%2fb&" in text
    assert Authorization(text).fits("GET", "/", [("a/B", "A/b")], [], secret_key="key")
    assert not Authorization(text).fits("GET", "/", [("A/b", "a/b")], [], secret_key="key")
