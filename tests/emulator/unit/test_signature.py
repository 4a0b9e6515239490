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
    given = vector["input"] | changes
    params = given["signed_params"] + given["unsigned_params"]
    headers = given["signed_headers"] + given["unsigned_headers"]
    signature = Signature.parse(given.get("authorization", vector["expected"]["authorization"]))
    return signature.matches(
        given["method"],
        given["path_decoded"],
        [tuple(pair) for pair in params],
        [tuple(pair) for pair in headers],
        secret_key=given["secret_key"],
    )


@every_vector
def test_the_published_signatures_match_with_unsigned_extras(vector):
    assert matches(vector)
    extra = vector["input"]["unsigned_headers"] + [["x-extra", "1"]]
    assert matches(vector, unsigned_headers=extra)
    assert matches(vector, method=vector["input"]["method"].lower())


@every_vector
def test_nothing_that_is_signed_can_be_changed(vector):
    given = vector["input"]
    assert not matches(vector, secret_key=given["secret_key"] + "x")
    assert not matches(vector, path_decoded=given["path_decoded"] + "x")
    assert not matches(vector, method="PATCH")
    for kind in ("signed_params", "signed_headers"):
        for place, (name, value) in enumerate(given[kind]):
            others = given[kind][:place] + given[kind][place + 1 :]
            assert not matches(vector, **{kind: others})
            assert not matches(vector, **{kind: [*others, [name, value + "x"]]})
    other_period = vector["expected"]["authorization"].replace(given["key_time"], "1;2")
    assert not matches(vector, authorization=other_period)


@every_vector
def test_the_parts_are_read(vector):
    signature = Signature.parse(vector["expected"]["authorization"])
    assert (signature.secret_id, signature.period) == (
        vector["input"]["secret_id"],
        vector["input"]["key_time"],
    )
    for names, key in ((signature.headers, "header_list"), (signature.params, "url_param_list")):
        assert ";".join(sorted(names)) == vector["intermediate"][key]
    start, _, end = signature.period.partition(";")
    for now, valid in ((int(start), True), (int(end), True), (int(start) - 1, False), (int(end) + 1, False)):
        assert signature.is_valid_at(now) is valid


GOOD = VECTORS["vectors"][0]["expected"]["authorization"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "q",
        GOOD + "&q-ak=x",
        GOOD + "&x=y",
        GOOD.replace("q-ak", "q-id"),
        GOOD.replace("q-sign-algorithm=sha1", "q-sign-algorithm=md5"),
        GOOD.replace("q-sign-time=1", "q-sign-time=2"),
        GOOD.replace(";15", ";-15"),
        GOOD.partition("&q-signature")[0],
    ],
)
def test_other_forms_are_refused(text):
    with pytest.raises(MalformedSignatureError):
        Signature.parse(text)


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
PAIRS = st.dictionaries(st.text("aB-/ ~+声", min_size=1, max_size=4), TEXTS, max_size=4)


@given(path=TEXTS, params=PAIRS, headers=PAIRS)
def test_both_houses_agree_about_every_request(path, params, headers):
    """The provider signs and the emulator checks: two codes, from the same page."""
    request = ("PUT", "/" + path, list(params.items()), list(headers.items()))
    text = sign(*request, secret_id="id", secret_key="key", key_time=(1, 2))
    assert Signature.parse(text).matches(*request, secret_key="key")
    assert not Signature.parse(text).matches(*request, secret_key="other")
