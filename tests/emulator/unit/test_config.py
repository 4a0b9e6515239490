from __future__ import annotations

from pathlib import Path

import pytest

from tencent_ci_emulator.config import EmulatorConfig, is_loopback


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"buckets": ()}, "bucket"),
        ({"buckets": ("nodigits",)}, "nodigits"),
        ({"region": "GZ"}, "region"),
        ({"secret_key": ""}, "secret_key"),
        ({"secret_id": " id"}, "secret_id"),
        ({"port": 70_000}, "port"),
        ({"workers": 0}, "workers"),
        ({"run_seconds": -1}, "times"),
        ({"host": "0.0.0.0"}, "--allow-remote"),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(setting, named):
    with pytest.raises(ValueError, match=named):
        EmulatorConfig(data_dir=Path("unused"), **setting)


def test_remote_hosts_only_when_allowed():
    own = {"secret_id": "my-id", "secret_key": "my-key"}
    assert EmulatorConfig(data_dir=Path("x"), host="0.0.0.0", allow_remote=True, **own).host == "0.0.0.0"
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9", "10.0.0.1", "")] == [
        True, True, True, True, False, False
    ]  # fmt: skip


@pytest.mark.parametrize("own", [{}, {"secret_id": "my-id"}, {"secret_key": "my-key"}])
def test_other_machines_are_not_served_with_the_public_keys(own):
    with pytest.raises(ValueError, match="AIRFLOW_CI_EMULATOR_SECRET_KEY"):
        EmulatorConfig(data_dir=Path("x"), allow_remote=True, **own)


def test_secrets_are_not_shown():
    shown = repr(EmulatorConfig(data_dir=Path("x"), secret_key="hush-key", security_token="hush-token"))
    assert "hush" not in shown
