"""Queues: requests, responses and pages."""

from __future__ import annotations

import pytest

from airflow_provider_ci.exceptions import InvalidResponseError
from airflow_provider_ci.protocol.queues import (
    DescribedQueue,
    ListQueues,
    NotifyConfig,
    Queue,
    QueuesResponse,
    UpdateQueue,
)

from .builders import ci_request, parsed, rejection, response

DESCRIBED = DescribedQueue(Queue(name="queue-1"), None)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            ListQueues(queue_ids=["p1", "p2"], state="Paused"),
            ci_request(
                "GET",
                "/asrqueue",
                ("queueIds", "p1,p2"),
                ("state", "Paused"),
                ("pageNumber", "1"),
                ("pageSize", "10"),
            ),
        ),
        (
            ListQueues(service="media"),
            ci_request("GET", "/queue", ("category", "CateAll"), ("pageNumber", "1"), ("pageSize", "10")),
        ),
    ],
)
def test_the_request_has_the_documented_form(call, expected):
    assert call.http_request() == expected


@pytest.mark.parametrize("bad", ["", "../jobs", "p1/x", "p1?a", "a,b", "p1\n", None, "p" * 129])
def test_what_is_not_an_id_never_becomes_part_of_a_path(bad):
    for call in (UpdateQueue(bad, "Paused", DESCRIBED), ListQueues(queue_ids=[bad])):
        assert "queue_id is" in rejection(call)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (ListQueues(state="All"), "state is 'All', allowed: Active, Paused"),
        (ListQueues(queue_ids=[f"p{n}" for n in range(11)]), "queue_ids has 11 ids, allowed: at most 10"),
        (ListQueues(service="ai"), "service is 'ai', allowed: asr, media, pic, ai_, file_"),
        (UpdateQueue("p1", "Paused", DESCRIBED, "x"), "service is 'x'"),
        (UpdateQueue("p1", "Stopped", DESCRIBED), "state is 'Stopped', allowed: Active, Paused"),
    ],
)
def test_arguments_outside_the_documented_values_are_rejected(call, says):
    assert says in rejection(call)


def test_the_response_to_an_update_has_the_queue():
    body = "<Response><Queue><QueueId>p1</QueueId><MaxSize>10000</MaxSize></Queue></Response>"
    assert UpdateQueue("p1", "Paused", DESCRIBED).parse(response(200, body)).max_size == 10000
    with pytest.raises(InvalidResponseError, match="no Queue"):
        UpdateQueue("p1", "Paused", DESCRIBED).parse(response(200, "<Response/>"))


def test_a_list_of_queues_is_read():
    queues = parsed(
        QueuesResponse,
        "<QueueList><QueueId>p1</QueueId><NotifyConfig><State>On</State><Url>http://x/?s=1</Url><Event/>"
        "<MqMode>Queue</MqMode></NotifyConfig><MaxSize>10000</MaxSize></QueueList>"
        "<NonExistPIDs>p2</NonExistPIDs><NonExistPIDs>p3</NonExistPIDs>",
    )
    [queue] = queues.queue_list
    assert queue.notify_config == NotifyConfig(state="On", url="http://x/?s=1", mq_mode="Queue")
    assert queue.max_size == 10000
    assert queues.non_exist_pids == ("p2", "p3")
    assert "s=1" not in repr(queues)  # the receiver's secret


def test_another_page_follows_while_the_service_counts_more():
    body = "<Response><TotalCount>2</TotalCount><QueueList><QueueId>p1</QueueId></QueueList></Response>"
    call = ListQueues(page_size=1)
    page: QueuesResponse = call.parse(response(200, body))
    assert [queue.queue_id for queue in call.items(page)] == ["p1"]
    assert call.next_page(page) == ListQueues(page_size=1, page_number=2)
