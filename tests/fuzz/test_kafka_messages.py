"""Whatever somebody writes to a topic: a message becomes events or is skipped, and stops none behind it."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.protocol.callbacks import Callback
from airflow_provider_ci.protocol.jobs import Job
from tests.airflow_version import HAS_SHARED_STREAMS
from tests.fuzz import documents
from tests.fuzz.effort import effort

pytest.importorskip("confluent_kafka", reason="airflow-provider-ci[kafka] is not installed")
if not HAS_SHARED_STREAMS:
    pytest.skip("watchers share streams from Airflow 3.3 on", allow_module_level=True)

from airflow_provider_ci.triggers.kafka import TencentCIKafkaJobsEndedTrigger
from airflow_provider_ci.triggers.kafka_messages import Position, _ended_jobs

TRIGGERS = [
    TencentCIKafkaJobsEndedTrigger(["jobs"]),
    TencentCIKafkaJobsEndedTrigger(["jobs"], "kafka", "VoiceSeparate", "media-1", "in/", ["Success"]),
]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Callbacks about jobs that have ended, changed."""
    rng = random.Random(draw(st.integers(0, 2**64)))
    tree = documents.filled(Callback, rng)
    job = {**documents.filled(Job, rng), "JobId": "j1", "State": rng.choice(("Success", "Failed", "Cancel"))}
    tree["JobsDetail"] = job
    return documents.document(rng, tree, "Response", draw(st.integers(0, 8)))


@effort(400)
@given(messages() | documents.bodies())
def test_a_message_becomes_events_or_is_skipped(body: bytes) -> None:
    for event in _ended_jobs(body, Position("jobs", 0, 0)):
        assert event["job_id"]
        assert event["state"] in ("Success", "Failed", "Cancel")
        assert json.loads(json.dumps(event)) == event
        assert [trigger._wants(event) for trigger in TRIGGERS] in ([True, False], [True, True])
