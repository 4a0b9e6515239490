from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_ci.protocol.signing import sign
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.http.authentication import authenticate
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.service_request import ServiceRequest

CONFIG = EmulatorConfig(data_dir=Path("unused"), secret_id="id", secret_key="key")
NOW = 1_700_000_000
CI, COS = "demo-1250000000.ci.ap-guangzhou.myqcloud.com", "demo-1250000000.cos.ap-guangzhou.myqcloud.com"


def signed(
    target="/jobs?tag=VoiceSeparate", *, method="GET", host=CI, sign_host=None, params=(), secret_id="id",
    secret_key="key", key_time=(NOW - 60, NOW + 600), headers=(), authorization=None,
):  # fmt: skip
    path = target.partition("?")[0]
    if authorization is None:
        authorization = sign(
            method, path, params, [("Host", sign_host or host)],
            secret_id=secret_id, secret_key=secret_key, key_time=key_time,
        )  # fmt: skip
    pairs = [("Host", host), *headers]
    if authorization:
        pairs.append(("Authorization", authorization))
    return ServiceRequest.read(method, target, pairs)


def refusal(request, config=CONFIG, now=NOW):
    with pytest.raises(ServiceError) as caught:
        authenticate(request, config, now)
    return caught.value.status, caught.value.code


def test_signed_parameters_and_headers_are_verified_and_others_ignored():
    authenticate(signed(), CONFIG, NOW)  # tag is there but not in the list
    params = [("tag", "VoiceSeparate")]
    authenticate(signed(params=params), CONFIG, NOW)
    assert refusal(signed("/jobs?tag=Transcode", params=params)) == (401, "InvalidAuthorization")
    assert refusal(signed("/jobs", params=params)) == (401, "InvalidAuthorization")


@pytest.mark.parametrize("signed_host", ["127.0.0.1", "127.0.0.1:8080"])
def test_host_is_signed_with_or_without_port(signed_host):
    authenticate(signed(host="127.0.0.1:8080", sign_host=signed_host), CONFIG, NOW)
    assert refusal(signed(host="127.0.0.1:8080", sign_host="127.0.0.1:80"))[0] == 401


@pytest.mark.parametrize(
    ("change", "ci", "cos"),
    [
        ({"secret_key": "wrong"}, (401, "InvalidAuthorization"), (403, "SignatureDoesNotMatch")),
        ({"secret_id": "other"}, (401, "SecretidNotExist"), (403, "InvalidAccessKeyId")),
        ({"authorization": ""}, (401, "MissingAuthorization"), (403, "AccessDenied")),
        ({"key_time": (NOW - 600, NOW - 1)}, (401, "SignatureExpired"), (403, "AccessDenied")),
        ({"key_time": (NOW + 1, NOW + 600)}, (401, "SignatureExpired"), (403, "AccessDenied")),
        ({"authorization": "Basic abc"}, (401, "InvalidAuthorization"), (403, "AccessDenied")),
        ({"authorization": "q-sign-algorithm=sha1"}, (401, "InvalidAuthorization"), (403, "AccessDenied")),
    ],
)
def test_each_refusal_has_its_documented_code(change, ci, cos):
    assert refusal(signed(**change)) == ci
    assert refusal(signed("/in/a.mp3", host=COS, **change)) == cos


@pytest.mark.parametrize("name", ["x-ci-security-token", "x-cos-security-token", "X-Ci-Security-Token"])
def test_a_token_is_read_in_either_spelling(name):
    config = EmulatorConfig(data_dir=Path("unused"), secret_id="id", secret_key="key", security_token="tok")
    authenticate(signed(headers=[(name, "tok")]), config, NOW)
    assert refusal(signed(headers=[(name, "wrong")]), config) == (401, "InvalidAuthorization")
    assert refusal(signed(), config) == (401, "InvalidAuthorization")


def test_the_decoded_path_is_verified():
    value = sign("GET", "/jobs/ja,jb", (), (), secret_id="id", secret_key="key", key_time=(NOW, NOW))
    request = ServiceRequest.read("GET", "/jobs/ja%2Cjb", [("Host", CI), ("Authorization", value)])
    authenticate(request, CONFIG, NOW)


def test_presigned_urls_are_for_objects_only():
    value = sign("GET", "/a", (), (), secret_id="id", secret_key="key", key_time=(NOW, NOW + 9))
    query = value.replace(";", "%3B")

    def read(path, host):
        return ServiceRequest.read("GET", f"{path}?{query}", [("Host", host)])

    authenticate(read("/a", COS), CONFIG, NOW)
    assert refusal(read("/b", COS)) == (403, "SignatureDoesNotMatch")
    assert refusal(read("/jobs", CI)) == (401, "MissingAuthorization")
