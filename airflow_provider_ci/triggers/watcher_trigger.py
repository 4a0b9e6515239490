"""What triggers for an ``AssetWatcher`` have in common, with the classes of Airflow 3.3 that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.version_compat import AIRFLOW_MINOR, AIRFLOW_VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow.triggers.base import BaseEventTrigger, TriggerEvent
    from airflow.triggers.shared_stream import SharedStreamProducer
elif AIRFLOW_MINOR >= (3, 3):
    from airflow.triggers.base import BaseEventTrigger
    from airflow.triggers.shared_stream import SharedStreamProducer
else:
    from airflow.triggers.base import BaseTrigger as BaseEventTrigger

    SharedStreamProducer = object

__all__ = ["SharedStreamProducer", "WatcherTrigger"]


class WatcherTrigger(BaseEventTrigger):
    """A trigger that Airflow runs by a shared stream of events.

    :raises ConfigurationError: Airflow is older than 3.3.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if AIRFLOW_MINOR < (3, 3):
            raise ConfigurationError(
                f"{type(self).__name__} needs Airflow 3.3 or newer, this is {AIRFLOW_VERSION}",
                hint="Wait for jobs with TencentCIJobSensor or an operator with deferrable=True",
            )

    def run(self) -> AsyncIterator[TriggerEvent]:
        """Refuse to run for a task: Airflow runs a watcher's trigger by ``filter_shared_stream``.

        :raises ConfigurationError: always.
        """
        raise ConfigurationError(
            f"{type(self).__name__} is for an AssetWatcher, not for a task",
            hint="Let tasks wait for their own jobs with TencentCIJobSensor or deferrable=True",
        )
