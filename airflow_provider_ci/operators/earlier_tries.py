"""What Airflow knows of earlier tries of a task instance."""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_ci.version_compat import AIRFLOW_MINOR

log = logging.getLogger(__name__)

#: Clearing a task while a worker runs it raises ``max_tries``, as a clear at any other time does. Before, the
#: task becomes one that is up for retry.
CLEAR_OF_RUNNING_TASK_RAISES_MAX_TRIES = AIRFLOW_MINOR >= (3, 1)


def may_have_earlier_try(ti: Any) -> bool:
    """Tell whether there may have been an earlier try since the task instance was created or cleared.

    A first ``try_number`` does not tell that there was none on Airflow 2.11: ``airflow tasks run
    --ignore-all-dependencies`` runs a task that is up for retry under the number of the try before. Its
    database holds that try.
    """
    if ti.try_number > 1 or AIRFLOW_MINOR >= (3, 0):
        return bool(ti.try_number > 1)
    try:
        return _has_recorded_try(ti)
    except Exception as error:  # a worker without the database looks rather once too often
        log.warning("Airflow's earlier tries of this task could not be read, assuming one: %s", error)
        return True


def _has_recorded_try(ti: Any) -> bool:
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from airflow.utils.session import create_session
    from sqlalchemy import select

    wanted: Any = TaskInstanceHistory
    with create_session() as session:
        found = session.execute(
            select(wanted.try_number)
            .where(
                wanted.dag_id == ti.dag_id,
                wanted.task_id == ti.task_id,
                wanted.run_id == ti.run_id,
                wanted.map_index == ti.map_index,
                wanted.max_tries == ti.max_tries,
            )
            .limit(1)
        ).first()
    return found is not None
