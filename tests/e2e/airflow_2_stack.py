"""Airflow 2.11 as it runs in production, but on loopback: webserver, scheduler, triggerer, PostgreSQL."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.e2e.airflow_stack import AirflowStack
from tests.e2e.postgres_redis import postgres_and_redis
from tests.patience import SLOWNESS

_COMPONENTS = {
    "webserver": ["webserver", "--workers", "1"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}


class Airflow2Stack(AirflowStack):
    """Airflow 2's REST API differs from Airflow 3's in its path, its login, and some of its filters."""

    API = "/api/v1"
    SERVER = "webserver"

    def log_in(self) -> None:
        """Make the user ``admin``."""
        name = ["--username", "admin", "--password", self.password]
        person = ["--firstname", "A", "--lastname", "B", "--email", "admin@example.com", "--role", "Admin"]
        self.run("users", "create", *name, *person)
        encoded = base64.b64encode(f"admin:{self.password}".encode()).decode()
        self.authorization = f"Basic {encoded}"

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run of a DAG and return the run's id."""
        self.api("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", json={"conf": conf or {}})["dag_run_id"])

    def task_instances(self, dag_id: str, run_id: str, task_id: str) -> list[dict[str, Any]]:
        """Return the instances of a task, one for each map index."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = []
        while True:
            page = self.api("GET", f"{path}?limit=100&offset={len(found)}")
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return sorted(
                    (one for one in found if one["task_id"] == task_id), key=lambda one: int(one["map_index"])
                )

    def clear(self, dag_id: str, run_id: str, task_id: str, **options: Any) -> None:
        """Clear a task in all runs of a DAG, as the command does."""
        self.run("tasks", "clear", "--yes", "--task-regex", f"^{task_id}$", dag_id)

    def has_read(self, dag_id: str) -> bool:
        """Tell whether the scheduler has read a DAG's file."""
        return any(dag["dag_id"] == dag_id for dag in self.api("GET", "/dags?limit=100")["dags"])

    def _is_healthy(self) -> bool:
        try:
            health = requests.get(f"{self.url}/health", timeout=30).json()
        except requests.RequestException:
            return False
        # a DAG processor of its own is not started: the scheduler reads the files
        return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer"))


@contextmanager
def airflow_2(home: Path, dags: Path, environment: Mapping[str, str], python: str) -> Iterator[Airflow2Stack]:
    """Run it until the block is left.

    :param python: the interpreter of an environment with Airflow 2.11.
    """
    settings = {
        # the executor starts tasks by the command ``airflow``
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.basic_auth",
        "AIRFLOW__CORE__PARALLELISM": "8",
        # After so long a killed supervisor is noticed. One on a slow machine must not be taken for killed
        "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": str(round(20 * SLOWNESS)),
        "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": str(round(4 * SLOWNESS)),
    }
    with postgres_and_redis() as services:
        stack = Airflow2Stack(home, dags, {**environment, **settings, **services}, _COMPONENTS, python)
        port = stack.url.rpartition(":")[2]
        stack.environment |= {
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": port,
            "AIRFLOW__WEBSERVER__SECRET_KEY": stack.environment["AIRFLOW__API__SECRET_KEY"],
        }
        with stack:
            yield stack
