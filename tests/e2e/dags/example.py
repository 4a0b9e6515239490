"""The example DAG of the README, in this Airflow's folder."""

from __future__ import annotations

from example_dags.example_voice_separate import dag

__all__ = ["dag"]
