"""The TC3 signature, beside Tencent's own SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_mock import MockerFixture
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.common.profile.client_profile import ClientProfile

from airflow_provider_ci.protocol import tc3


def sign_by_the_sdk(
    host: str, body: dict[str, Any], key: tuple[str, str], timestamp: int, mocker: MockerFixture
) -> tuple[str, bytes]:
    """Return the Authorization that Tencent's SDK makes, and the body that it is for."""
    client = CommonClient("sts", "2018-08-13", Credential(*key), "ap-guangzhou", ClientProfile())
    request = RequestInternal(host, "POST", "/")
    mocker.patch("tencentcloud.common.abstract_client.time.time", return_value=timestamp)
    mocker.patch.object(client, "_get_endpoint", return_value=host)
    client._build_req_with_tc3_signature("AssumeRole", body, request)
    mocker.stopall()
    return request.header["Authorization"], request.data.encode()


@pytest.mark.parametrize("timestamp", [0, 1_700_000_000, 1_704_067_199, 1_704_067_200, 4_102_444_800])
@pytest.mark.parametrize("host", ["sts.tencentcloudapi.com", "127.0.0.1:8080"])
@pytest.mark.parametrize(
    ("key", "body"),
    [
        (("AKIDexample", "key"), {}),
        (("AKIDexample", "k/e+y=&%@:"), {"RoleArn": "qcs::cam::uin/1:roleName/r", "DurationSeconds": 7200}),
        (("x", "y" * 200), {"RoleSessionName": "söng 中文 \"'&"}),
    ],
)
def test_the_signature_equals_the_sdks(
    timestamp: int, host: str, key: tuple[str, str], body: dict[str, Any], mocker: MockerFixture
) -> None:
    expected, data = sign_by_the_sdk(host, body, key, timestamp, mocker)
    assert json.loads(data) == body
    assert (
        tc3.authorization(
            data, host=host, service="sts", secret_id=key[0], secret_key=key[1], timestamp=timestamp
        )
        == expected
    )
