"""The token of a run: all names that the run creates have it."""

from __future__ import annotations

import re
import secrets

_BEGIN = "airflow-ci-live"
TOKEN = re.compile(rf"{_BEGIN}-[0-9a-f]{{12}}")


def new_token() -> str:
    """Return the token of a new run."""
    return f"{_BEGIN}-{secrets.token_hex(6)}"
