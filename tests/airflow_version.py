"""Which Airflow the tests run on, and what it has: docs/compatibility.md says the same."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.version import Version

from airflow_provider_ci.version_compat import AIRFLOW_VERSION

AIRFLOW = Version(AIRFLOW_VERSION)

#: Workers talk to the database themselves, and DAGs need not be stored to be run.
IS_AIRFLOW_2 = Version("3.0") > AIRFLOW
#: Tasks have a state store, which their tries share.
HAS_STATE_STORE = Version("3.3") <= AIRFLOW
needs_state_store = pytest.mark.skipif(
    not HAS_STATE_STORE, reason="Airflow before 3.3 has no task state store"
)
needs_no_state_store = pytest.mark.skipif(HAS_STATE_STORE, reason="Airflow has a task state store since 3.3")

#: A policy decides by the error whether a task is retried, and when.
HAS_RETRY_POLICIES = Version("3.3") <= AIRFLOW

#: The API server takes the service's callbacks.
HAS_CALLBACK_ENDPOINT = Version("3.3") <= AIRFLOW

#: Clearing a task discards what its tries have stored, unless ``keep_task_state`` is asked for.
CLEAR_DISCARDS_STATE = Version("3.4.0b1") <= AIRFLOW

#: The connection's form comes from the provider's description alone, and no hook is imported for it.
FORM_NEEDS_NO_HOOK = Version("3.3") <= AIRFLOW
#: Hooks are asked for the form with libraries that the API server has stand-ins for, and the CLI has not.
CLI_SHOWS_NO_FORM = Version("3.0") <= AIRFLOW < Version("3.2")

#: The API server shows extra fields of a connection only where flask-appbuilder is installed.
FORM_NEEDS_FAB = Version("3.0") <= AIRFLOW < Version("3.1")

#: In ``dag.test()`` Airflow reads the time of a sensor's first poke as a text, and fails to subtract it.
CANNOT_RESCHEDULE_IN_DAG_TEST = Version("3.0") <= AIRFLOW < Version("3.1")

#: A sensor may be given no timeout of its own; before, Airflow itself demands one.
ALLOWS_NO_TIMEOUT = Version("3.3") <= AIRFLOW

SECRETS_MASKER = (
    "airflow.utils.log.secrets_masker"
    if IS_AIRFLOW_2
    else "airflow.sdk.execution_time.secrets_masker"
    if Version("3.1") > AIRFLOW
    else "airflow.sdk._shared.secrets_masker"
)


def outlet_event_accessors() -> Any:
    """Return what the task runner puts in a task's context as ``outlet_events``."""
    try:
        from airflow.sdk.execution_time.context import OutletEventAccessors
    except ImportError:  # Airflow 2.11
        from airflow.utils.context import OutletEventAccessors
    return OutletEventAccessors()


#: Watchers of assets share streams of events, and have a state store.
HAS_SHARED_STREAMS = Version("3.3") <= AIRFLOW
