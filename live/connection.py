"""Finds the connection to the account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CONN_ID = "tencent_ci_live"
CONN_VARIABLE = f"AIRFLOW_CONN_{CONN_ID.upper()}"
LOG_LEVEL_VARIABLE = "AIRFLOW__LOGGING__LOGGING_LEVEL"

HOW_TO_SET = f"""\
make live runs a few tiny jobs with your Tencent account, to find out what Tencent's documents leave open.
It needs a connection; nothing is created before you have seen what it may cost and agreed. Set for instance
  export {CONN_VARIABLE}='{{"conn_type": "tencent_ci", "login": "<SecretId>", "password": "<SecretKey>",
    "extra": {{"bucket": "<any of yours>-<appid>", "region": "ap-guangzhou"}}}}'
or name a connection of your Airflow: make live ARGS='--conn-id tencent_ci_default'. See docs/live.md."""


class NoConnectionError(Exception):
    """There is no connection. The text says what to do."""


def find_connection(conn_id: str | None) -> str:
    """Return the connection in the form of the variables ``AIRFLOW_CONN_…``.

    :param conn_id: of a connection in the user's Airflow; ``None``: that of the environment.
    :raises NoConnectionError: there is none.
    """
    if conn_id is None:
        if value := os.environ.get(CONN_VARIABLE):
            return _check_json(CONN_VARIABLE, value)
        raise NoConnectionError(HOW_TO_SET)
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if value := os.environ.get(variable):
        return _check_json(variable, value)
    return _ask_airflow(conn_id)


def use_private_airflow(home: Path, connection: str) -> None:
    """Let this process and its children have an Airflow of their own, which only knows the connection.

    To be called before Airflow is imported. The user's Airflow, its database above all, stays as it is.

    :param home: an empty folder.
    """
    for name in [*os.environ]:
        if name.startswith("AIRFLOW__") or name == "AIRFLOW_CONFIG":
            del os.environ[name]
    os.environ.update({"AIRFLOW_HOME": str(home), CONN_VARIABLE: connection, LOG_LEVEL_VARIABLE: "WARNING"})


def _check_json(variable: str, value: str) -> str:
    """Return the value of a variable, which is JSON or a URI."""
    if value.lstrip().startswith("{"):
        try:
            json.loads(value)
        except ValueError as error:  # its text has a place, and nothing of the value
            raise NoConnectionError(
                f"{variable} is no JSON: {error}. Correct it; see docs/live.md."
            ) from None
    return value


def _ask_airflow(conn_id: str) -> str:
    """Ask the user's own Airflow, with its own folder and configuration."""
    command = [sys.executable, "-m", "airflow", "connections", "get", conn_id, "--output", "json"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    begin = asked.stdout.find("[")
    if asked.returncode or begin < 0:
        raise NoConnectionError(
            f"Airflow has no connection {conn_id!r}, or cannot be asked for it: `airflow connections get"
            f" {conn_id}` ended with status {asked.returncode}. Check AIRFLOW_HOME and the id."
        )
    found: dict[str, Any] = json.loads(asked.stdout[begin:])[0]
    extra = found.get("extra_dejson") or {}
    return json.dumps(
        {
            "conn_type": found["conn_type"],
            "login": found["login"],
            "password": found["password"],
            "extra": json.loads(extra) if isinstance(extra, str) else extra,
        }
    )
