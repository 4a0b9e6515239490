"""The only place that asks which Airflow is running."""

from __future__ import annotations

from importlib.metadata import version

#: For the user agent: the distribution's own word, without importing the heavy ``airflow`` package.
AIRFLOW_VERSION = version("apache-airflow")
#: As ``(3, 3)``.
AIRFLOW_MINOR = tuple(int(part) for part in AIRFLOW_VERSION.split(".")[:2])
