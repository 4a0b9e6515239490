"""The hook's calls about batch jobs, against scripted responses."""

from __future__ import annotations

import pytest

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    QueueFullError,
    RequestValidationError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.batches import (
    CancelBatch,
)
from airflow_provider_ci.protocol.tree import with_value
from tests.conftest import BUCKET, REGION
from tests.scripted_server import (
    Answer,
    ScriptedServer,
    error,
    hang_up,
    http,
    job_xml,
    jobs,
)
from tests.unit.hooks.transports import BATCH


class TestBatches:
    @pytest.mark.parametrize("lost", [hang_up(), error(500, "InternalError"), http("<Response/>")])
    def test_a_lost_response_is_ambiguous_and_the_request_is_not_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, lost: Answer
    ) -> None:
        server.play(lost)
        with pytest.raises(AmbiguousSubmissionError):
            hook.batches.create(BATCH)
        assert server.methods() == ["POST"]

    def test_a_refusal_is_not_ambiguous(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(error(403, "QueueSaturated"))
        with pytest.raises(QueueFullError):
            hook.batches.create(BATCH)

    @pytest.mark.parametrize(
        ("source", "key", "says"),
        [
            ({"Prefix": "in/"}, "in/${jobid}.mp3", "does not begin with the prefix 'in/'"),
            ({"Object": "in/a.mp3"}, "${InputPath}/${InputNameAndExt}", "cannot be the input's, 'in/a.mp3'"),
            ({"UrlFile": "l/a.txt"}, "${InputPath}/${jobid}", "does not lie beside its input"),
        ],
    )
    def test_results_that_would_be_inputs_are_refused(
        self, hook: TencentCIHook, server: ScriptedServer, source: dict[str, str], key: str, says: str
    ) -> None:
        batch = with_value({**BATCH, "Input": source}, "Operation.Output.AuObject", key)
        with pytest.raises(RequestValidationError) as caught:
            hook.batches.create(batch)
        assert f"Operation.Output.AuObject (voice) is {key!r}, allowed: a key that {says}" in str(
            caught.value
        )
        assert not server.requests
        server.play(jobs(job_xml("b1")))
        hook.batches.create(batch, bucket="in-1250000002")
        assert server.methods() == ["POST"]

    def test_results_go_to_the_bucket_of_the_call_unless_the_request_names_another(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        without_place = with_value(BATCH, "Operation.Output", {"AuObject": "out/${jobid}.${ext}"})
        server.play(jobs(job_xml("b1")), jobs(job_xml("b2")))
        hook.batches.create(without_place, region="ap-beijing")
        hook.batches.create(BATCH, bucket="in-1250000002", region="ap-beijing")
        sent = [request.body.decode() for request in server.requests]
        assert [
            f"<Region>{region}</Region><Bucket>{BUCKET}</Bucket>" in body
            for region, body in zip(("ap-beijing", REGION), sent, strict=True)
        ] == [True, True]

    def test_describing_returns_the_batch_or_its_unknown_id(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(jobs(unknown=("b1",)), jobs(job_xml("b1", "Running")))
        assert hook.batches.describe("b1").non_exist_job_ids == ("b1",)
        assert [batch.job_state for batch in hook.batches.describe("b1").jobs_detail] == ["Running"]

    def test_listing_follows_the_pages(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(jobs(job_xml("b1"), next_token="t"), jobs(job_xml("b2"), next_token="t"))
        assert [batch.job_id for batch in hook.batches.list(name="n", states=["Running"])] == ["b1", "b2"]
        assert [sent.params.get("nextToken") for sent in server.requests] == [None, "t"]

    def test_cancelling_within_a_time_limit_opens_a_new_connection(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(http(), http())
        hook.batches.cancel("b1")
        hook.call_within(CancelBatch("b1"), 4)
        assert [(sent.path, sent.params) for sent in server.requests] == [
            ("/inventorytriggerjob/b1", {"cancel": ""})
        ] * 2
        assert server.requests[0].connection != server.requests[1].connection
