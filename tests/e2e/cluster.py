"""Airflow on several machines: CeleryExecutor with two workers and two triggerers, PostgreSQL and Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.airflow_stack import COMPONENTS, AirflowStack
from tests.e2e.postgres_redis import postgres_and_redis

WORKERS = ("worker", "worker-2")
TRIGGERERS = ("triggerer", "triggerer-2")


@contextmanager
def cluster(
    home: Path,
    dags: Path,
    environment: Mapping[str, str],
    workers: Sequence[str] = WORKERS,
    concurrency: int = 4,
) -> Iterator[AirflowStack]:
    """Run it until the block is left.

    :param home: as ``dags`` and ``environment`` of :class:`AirflowStack`.
    :param workers: names of the workers.
    :param concurrency: how many tasks each of them runs at once.
    """
    components = COMPONENTS | dict.fromkeys(TRIGGERERS, COMPONENTS["triggerer"])
    for name in workers:
        options = ["--concurrency", str(concurrency), "--celery-hostname", name]
        components[name] = ["celery", "worker", "--skip-serve-logs", *options]
    settings = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "tests.e2e.airflow_stack.machine",
        # a task that a killed worker had taken from Redis but not begun is sent anew
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    }
    with (
        postgres_and_redis() as services,
        AirflowStack(home, dags, {**environment, **settings, **services}, components) as running,
    ):
        yield running
