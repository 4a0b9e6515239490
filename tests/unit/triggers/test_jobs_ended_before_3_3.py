"""What watches a bucket in Airflow 3.3 can be imported in older releases, and says there what it needs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_ci.assets.ended_jobs import unread_ended_jobs
from airflow_provider_ci.exceptions import ConfigurationError
from airflow_provider_ci.triggers.jobs_ended import TencentCIJobsEndedTrigger
from tests.airflow_version import HAS_SHARED_STREAMS


@pytest.mark.skipif(HAS_SHARED_STREAMS, reason="this Airflow has all that is needed")
def test_the_trigger_names_the_release_that_it_needs():
    with pytest.raises(ConfigurationError, match=r"needs Airflow 3\.3 or newer, this is"):
        TencentCIJobsEndedTrigger()


def test_events_cannot_be_read_without_the_state_store_of_the_asset():
    asset: Any = SimpleNamespace(name="jobs")
    with (
        pytest.raises(
            ConfigurationError, match="The asset 'jobs' is no inlet of the task, or Airflow is older"
        ),
        unread_ended_jobs(asset, {}),
    ):
        pass
