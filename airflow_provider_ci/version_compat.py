"""The version of Airflow that is running. No other module asks for it."""

from __future__ import annotations

from importlib.metadata import version

#: Read from the distribution's metadata, because importing ``airflow`` is slow.
AIRFLOW_VERSION = version("apache-airflow")
#: As ``(3, 3)``.
AIRFLOW_MINOR = tuple(int(part) for part in AIRFLOW_VERSION.split(".")[:2])
