"""The hook's calls about queues and services, against scripted responses."""

from __future__ import annotations

import pytest

from airflow_provider_ci.exceptions import (
    NotFoundError,
    RequestValidationError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from tests.scripted_server import (
    ScriptedServer,
    error,
    hang_up,
    http,
)

QUEUE_XML = (
    "<QueueId>p1</QueueId><Name>queue-1</Name><State>Active</State><NotifyConfig><State>On</State>"
    "<Url>https://example.org/?k=1</Url><Event>TaskFinish</Event><Type>Url</Type>"
    "<ResultFormat>JSON</ResultFormat></NotifyConfig>"
)
QUEUES = http(f"<Response><QueueList>{QUEUE_XML}</QueueList></Response>")


class TestQueues:
    def test_an_update_keeps_all_but_the_state(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(QUEUES, http(f"<Response><Queue>{QUEUE_XML}</Queue></Response>"))
        assert hook.queues.update("p1", state="Paused").queue_id == "p1"
        get, put = server.requests
        assert (get.path, get.params["queueIds"]) == ("/asrqueue", "p1")
        assert (put.method, put.path) == ("PUT", "/asrqueue/p1")
        assert put.body.endswith(
            b"<Request><Name>queue-1</Name><State>Paused</State><NotifyConfig><State>On</State>"
            b"<Url>https://example.org/?k=1</Url><Event>TaskFinish</Event><Type>Url</Type>"
            b"<ResultFormat>JSON</ResultFormat></NotifyConfig></Request>"
        )

    @pytest.mark.parametrize(
        "notify",
        [
            "<State>On</State><Url>test.com</Url><Event>TransCodingFinish</Event><Type>Url</Type>",
            "<State>On</State><Url>test.com/ci</Url><Event>TaskFinish,New</Event><Type>New</Type>",
            "<State>on</State><Type>TDMQ</Type><ResultFormat>xml</ResultFormat>",
            "<State>Off</State><Weird>1</Weird><Deep><One>a &lt; b</One><One>2</One></Deep>",
            "<State>On</State><Type>Kafka</Type><KafkaConfig><Topic>t</Topic><New>1</New></KafkaConfig>",
            "<Weird>1</Weird>",
        ],
    )
    def test_values_that_no_page_documents_are_sent_back_unchanged(
        self, hook: TencentCIHook, server: ScriptedServer, notify: str
    ) -> None:
        named = "<QueueId>p1</QueueId><Name>queue 1</Name><State>Frozen</State>"
        queue = f"{named}<NotifyConfig>{notify}</NotifyConfig>"
        described = http(f"<Response><QueueList>{queue}</QueueList></Response>")
        updated = http(f"<Response><Queue>{queue}</Queue></Response>")
        server.play(described, updated, described)
        hook.queues.update("p1", state="Paused")
        _, paused = server.requests
        assert f"<State>Paused</State><NotifyConfig>{notify}</NotifyConfig>".encode() in paused.body
        assert b"<Name>queue 1</Name>" in paused.body
        with pytest.raises(RequestValidationError, match="state is 'Stopped', allowed: Active, Paused"):
            hook.queues.update("p1", state="Stopped")

    def test_empty_elements_are_not_sent_back(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        queue = (
            "<QueueId>p1</QueueId><Name>q</Name><State>Active</State>"
            '<NotifyConfig xmlns="urn:x"><State>Off</State><Url/><Weird> </Weird><Deep a="b"/></NotifyConfig>'
        )
        server.play(
            http(f"<Response><QueueList>{queue}</QueueList></Response>"),
            http(f"<Response><Queue>{queue}</Queue></Response>"),
        )
        hook.queues.update("p1", state="Paused")
        assert b"</State><NotifyConfig><State>Off</State></NotifyConfig></Request>" in server.requests[1].body

    def test_media_queues_have_another_path(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(QUEUES, http(f"<Response><Queue>{QUEUE_XML}</Queue></Response>"))
        hook.queues.update("p1", state="Paused", service="media")
        assert [sent.path for sent in server.requests] == ["/queue", "/queue/p1"]

    def test_a_queue_without_callbacks_gets_none(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        queue = "<QueueId>p1</QueueId><Name>q</Name><State>Active</State>"
        server.play(
            http(f"<Response><QueueList>{queue}</QueueList></Response>"),
            http(f"<Response><Queue>{queue}</Queue></Response>"),
        )
        hook.queues.update("p1", state="Paused")
        assert b"<NotifyConfig><State>Off</State></NotifyConfig></Request>" in server.requests[1].body

    def test_an_unknown_queue_is_not_updated(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(http("<Response><NonExistPIDs>p1</NonExistPIDs></Response>"))
        with pytest.raises(NotFoundError, match="no queue p1 of the service asr"):
            hook.queues.update("p1", state="Paused")


class TestOpenService:
    def test_opening_may_be_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(hang_up(), error(403, "MediaBucketAlreadyBinded"))
        assert hook.open_service() is None
        assert [(sent.method, sent.path) for sent in server.requests] == [("POST", "/asrbucket")] * 2

    def test_media_processing_has_another_path(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(http("<Response><MediaBucket><BucketId>a-1</BucketId></MediaBucket></Response>"))
        binding = hook.open_service("media")
        assert binding is not None
        assert binding.bucket_id == "a-1"
        assert server.requests[0].path == "/mediabucket"
