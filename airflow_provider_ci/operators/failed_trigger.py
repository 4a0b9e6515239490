"""How Airflow resumes a task for which no triggerer has waited to the end."""

from __future__ import annotations

#: If the triggerer failed or none was running, Airflow resumes a task with this method instead of the one
#: that the task deferred with.
TRIGGER_FAILED = "__fail__"


def is_timeout(error: Exception) -> bool:
    """Tell whether no trigger has fired in time. Class and wording of the error vary by Airflow's version.

    :param error: with which Airflow resumes the task.
    """
    return "timeout" in str(error)
