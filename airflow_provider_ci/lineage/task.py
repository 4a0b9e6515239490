"""What operators and the sensor return to OpenLineage when it asks.

DAG files import this module, so it loads neither OpenLineage nor the models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.providers.openlineage.extractors import OperatorLineage

T = TypeVar("T")


def lineage_of_task(
    jobs: Sequence[T],
    log: Any,
    describe: Callable[[Sequence[T]], OperatorLineage[Any, Any]] | None = None,
) -> OperatorLineage[Any, Any] | None:
    """Return inputs, outputs and facets of a task's jobs. ``None`` if there are no jobs or anything goes
    wrong: lineage must not fail a task.

    :param describe: makes the lineage; default:
        :func:`~airflow_provider_ci.lineage.openlineage.lineage_of_jobs`.
    """
    if not jobs:
        return None
    try:
        if describe is None:
            from airflow_provider_ci.lineage.openlineage import lineage_of_jobs

            return lineage_of_jobs(jobs)  # type: ignore[arg-type]
        return describe(jobs)
    except ImportError as error:  # the extra openlineage is not installed
        log.debug("No lineage for OpenLineage: %s", error)
    except Exception as error:
        log.warning("No lineage for OpenLineage: %s: %s", type(error).__name__, error)
    return None
