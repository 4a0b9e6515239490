"""What is recorded of a submission, as other versions of the provider read it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.submission.record import STORE_KEY, SubmissionRecord
from tests.unit.submission.simulated_world import PLACE, REQUEST, World, submission


@pytest.mark.parametrize("stored", [None, "text", 5, {"max_tries": 0}, {"unknown": 1}, []])
def test_a_value_that_is_not_a_record_is_ignored(stored: Any) -> None:
    assert SubmissionRecord.from_json(stored) is None


def test_a_record_of_a_later_version_of_the_provider_is_read() -> None:
    world = World()
    submission(world).get_or_submit(REQUEST, PLACE)
    world.stored[STORE_KEY]["added_later"] = 1
    world.listable = False
    assert submission(world, 2).get_or_submit(REQUEST, PLACE).job_id == "j1"
