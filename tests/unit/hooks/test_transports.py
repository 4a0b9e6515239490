"""Hook and asynchronous client send every call in the same bytes, and read the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ci.exceptions import (
    TencentCIError,
)
from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.batches import (
    CancelBatch,
    CreateBatch,
    DescribeBatch,
    ListBatches,
)
from airflow_provider_ci.protocol.jobs import ListJobs
from airflow_provider_ci.protocol.objects import GetMediaInfo, HeadObject
from airflow_provider_ci.protocol.queues import DescribedQueue, ListQueues, Queue, UpdateQueue
from airflow_provider_ci.protocol.services import OpenBucket
from airflow_provider_ci.protocol.templates import CreateTemplate, DeleteTemplate, ListTemplates
from tests.conftest import CREDENTIALS
from tests.scripted_server import (
    Answer,
    ScriptedServer,
    error,
    http,
    job_xml,
    jobs,
)
from tests.unit.hooks.test_queues import QUEUE_XML, QUEUES
from tests.unit.hooks.test_templates import MADE, listed
from tests.unit.protocol.test_admin_operations import TEMPLATE
from tests.unit.protocol.test_batch_operations import BATCH

CALLS: list[tuple[ApiRequest[Any], Answer]] = [
    (CreateTemplate(TEMPLATE), MADE),
    (DeleteTemplate("t1"), http("<Response/>")),
    (ListTemplates(name="声+ "), listed("a")),
    (ListQueues(), QUEUES),
    (
        UpdateQueue("p1", "Paused", DescribedQueue(Queue(name="q"), None)),
        http(f"<Response><Queue>{QUEUE_XML}</Queue></Response>"),
    ),
    (OpenBucket(), http("<Response/>")),
    (CreateBatch(BATCH), jobs(job_xml("b1"))),
    (DescribeBatch("b1"), jobs(job_xml("b1"))),
    (ListBatches(), jobs(job_xml("b1"))),
    (CancelBatch("b1"), http()),
    (HeadObject("in/ä a"), http(b"", length=0)),
    (GetMediaInfo("in/a"), http("<Response><MediaInfo><Format/><a><b/></a></MediaInfo></Response>")),
]


def asynchronously(conn_id: str, act: Callable[[AsyncClient], Any]) -> Any:
    async def main() -> Any:
        async with AsyncClient(await load_settings(conn_id)) as client:
            return await act(client)

    return asyncio.run(main())


class TestAsynchronously:
    @pytest.mark.parametrize(("call", "answer"), CALLS, ids=lambda value: type(value).__name__)
    def test_the_same_bytes(
        self, hook: TencentCIHook, server: ScriptedServer, call: ApiRequest[Any], answer: Answer
    ) -> None:
        server.play(answer, answer)
        expected = hook.call(call)
        endpoint = hook.settings.endpoint()
        assert asynchronously(hook.tencent_ci_conn_id, lambda client: client.call(call, endpoint)) == expected
        one, other = server.requests
        assert (one.method, one.target, one.body) == (other.method, other.target, other.body)
        signed_later = ("authorization",)  # in another second
        assert sorted(pair for pair in one.headers if pair[0].lower() not in signed_later) == sorted(
            pair for pair in other.headers if pair[0].lower() not in signed_later
        )
        assert other.is_signed_with(CREDENTIALS.secret_key)

    def test_pages_are_lazy_and_end_alike(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        async def first_two(client: AsyncClient) -> list[str | None]:
            pages = client.pages(ListJobs(), hook.settings.endpoint())
            found = [(await anext(pages)).job_id, (await anext(pages)).job_id]
            assert len(server.requests) == 2
            return [*found, *[job.job_id async for job in pages]]

        tokens = ["t1", "t2", "t1"]
        server.play(*(jobs(job_xml(f"j{n}"), next_token=token) for n, token in enumerate(tokens)))
        assert asynchronously(hook.tencent_ci_conn_id, first_two) == ["j0", "j1", "j2"]
        assert [sent.params.get("nextToken") for sent in server.requests] == [None, "t1", "t2"]

    def test_an_error_ends_the_pages(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        async def everything(client: AsyncClient) -> list[Any]:
            return [item async for item in client.pages(ListTemplates(), hook.settings.endpoint())]

        server.play(listed("a", total=2), error(403, "AccessDenied"))
        with pytest.raises(TencentCIError, match="Cannot list templates"):
            asynchronously(hook.tencent_ci_conn_id, everything)
