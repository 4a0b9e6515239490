"""The kit's Airflow is its own: the user's is neither read nor changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from live.connection import NoConnectionError, find_connection, use_private_airflow


def test_no_setting_of_the_users_airflow_reaches_the_kits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://airflow@example.org/airflow",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD": "cat /run/secrets/database",
        "AIRFLOW__SECRETS__BACKEND": "example.Backend",
        "AIRFLOW_CONFIG": "/etc/airflow.cfg",
        "AIRFLOW_HOME": "/opt/airflow",
        "AIRFLOW_CONN_TENCENT_CI_LIVE": "tencent-ci://",
        "UNRELATED": "stays",
    }
    monkeypatch.setattr(os, "environ", settings)
    use_private_airflow(tmp_path, '{"conn_type": "tencent_ci"}')
    assert os.environ == {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONN_TENCENT_CI_LIVE": '{"conn_type": "tencent_ci"}',
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "UNRELATED": "stays",
    }


@pytest.mark.parametrize("conn_id", [None, "mine"])
def test_a_connection_that_is_no_json_is_named_but_not_shown(
    conn_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"AIRFLOW_CONN_{(conn_id or 'tencent_ci_live').upper()}"
    monkeypatch.setenv(variable, '{"conn_type": "tencent_ci", "password": "very-secret"')
    with pytest.raises(NoConnectionError, match=f"{variable} is no JSON") as raised:
        find_connection(conn_id)
    assert "very-secret" not in str(raised.value)
