"""A look at the queues, as docs/troubleshooting.md shows it."""

# ruff: noqa: T201

from __future__ import annotations

# [START queues]
from airflow_provider_ci.hooks.ci import TencentCIHook

hook = TencentCIHook()
for queue in hook.queues.list():
    waiting = sum(1 for _ in hook.list_jobs(queue_id=queue.queue_id, states=["Submitted", "Pause"]))
    print(queue.queue_id, queue.name, queue.state, f"{waiting} jobs wait")
# [END queues]
