"""What operators and sensor tell of their jobs: to Airflow by their outlets' events, and to OpenLineage.

A DAG file imports this: it loads neither OpenLineage nor the models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.assets.outlets import add_results_to_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_ci.protocol.jobs import Job


class LineageMixin:
    """A task that has seen jobs, and tells of them."""

    #: The jobs as they were last seen; set before a task can fail over them.
    seen_jobs: Sequence[Any] = ()

    outlets: list[Any]
    log: Any

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Return inputs, outputs and facets for OpenLineage, which calls this at the task's end, also when it
        has failed. ``None`` if there is nothing to tell or anything goes wrong: it never fails.
        """
        try:
            return self._lineage() if self.seen_jobs else None
        except ImportError as error:  # only OpenLineage's provider calls this, but anybody can
            self.log.debug("OpenLineage is not told of the jobs: %s", error)
        except Exception as error:
            self.log.warning("OpenLineage is not told of the jobs: %s: %s", type(error).__name__, error)
        return None

    def _lineage(self) -> OperatorLineage[Any, Any]:
        from airflow_provider_ci.lineage.openlineage import lineage_of_jobs

        jobs: Sequence[Job] = self.seen_jobs
        return lineage_of_jobs(jobs)

    def _emit_asset_events(self, context: Context) -> None:
        """Say in the outlets' events what the jobs, which all succeeded, have made."""
        add_results_to_events(context, self.outlets, self.seen_jobs, self.log)
