"""The emulator's own check of signatures: published vectors, forgeries, and the provider's own signatures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.protocol.signing import sign
from tencent_ci_emulator.http.authentication import MalformedSignatureError, Signature

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "signing-vectors.json").read_text("utf-8"))
every_vector = pytest.mark.parametrize(
    "vector", VECTORS["vectors"], ids=[vector["id"] for vector in VECTORS["vectors"]]
)


def matches(vector, **changes):
    request = vector["input"] | changes
    params = request["signed_params"] + request["unsigned_params"]
    headers = request["signed_headers"] + request["unsigned_headers"]
    signature = Signature.parse(request.get("authorization", vector["expected"]["authorization"]))
    return signature.matches(
        request["method"],
        request["path_decoded"],
        [tuple(pair) for pair in params],
        [tuple(pair) for pair in headers],
        secret_key=request["secret_key"],
    )


@every_vector
def test_a_published_signature_matches_its_request_and_no_other(vector):
    request = vector["input"]
    assert matches(vector, unsigned_headers=request["unsigned_headers"] + [["x-extra", "1"]])
    assert matches(vector, method=request["method"].lower())
    assert not matches(vector, secret_key=request["secret_key"] + "x")
    assert not matches(vector, path_decoded=request["path_decoded"] + "x")
    assert not matches(vector, method="PATCH")
    for kind in ("signed_params", "signed_headers"):
        for position, (name, value) in enumerate(request[kind]):
            others = request[kind][:position] + request[kind][position + 1 :]
            assert not matches(vector, **{kind: others})
            assert not matches(vector, **{kind: [*others, [name, value + "x"]]})
    other_period = vector["expected"]["authorization"].replace(request["key_time"], "1;2")
    assert not matches(vector, authorization=other_period)


def test_the_fields_of_a_signature():
    vector = VECTORS["vectors"][0]
    signature = Signature.parse(vector["expected"]["authorization"])
    assert signature.secret_id == vector["input"]["secret_id"]
    for names, key in ((signature.headers, "header_list"), (signature.params, "url_param_list")):
        assert ";".join(sorted(names)) == vector["intermediate"][key]
    start, end = map(int, signature.period.split(";"))
    assert [signature.is_valid_at(now) for now in (start - 1, start, end, end + 1)] == [
        False,
        True,
        True,
        False,
    ]


GOOD = VECTORS["vectors"][0]["expected"]["authorization"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD + "&q-ak=x",
        GOOD + "&x=y",
        GOOD.replace("q-ak", "q-id"),
        GOOD.replace("q-sign-algorithm=sha1", "q-sign-algorithm=md5"),
        GOOD.replace("q-sign-time=1", "q-sign-time=2"),
        GOOD.replace(";15", ";-15"),
        GOOD.partition("&q-signature")[0],
    ],
)
def test_a_malformed_signature_is_refused(text):
    with pytest.raises(MalformedSignatureError):
        Signature.parse(text)


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
PAIRS = st.dictionaries(st.text("aB-/ ~+声", min_size=1, max_size=4), TEXTS, max_size=4)


@given(path=TEXTS, params=PAIRS, headers=PAIRS)
def test_the_emulator_accepts_the_signatures_of_the_provider(path, params, headers):
    """The provider signs and the emulator checks: two codes, from the same page."""
    request = ("PUT", "/" + path, list(params.items()), list(headers.items()))
    text = sign(*request, secret_id="id", secret_key="key", key_time=(1, 2))
    assert Signature.parse(text).matches(*request, secret_key="key")
    assert not Signature.parse(text).matches(*request, secret_key="other")
