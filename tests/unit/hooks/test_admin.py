"""The hook's calls about templates, queues, buckets, batch jobs and objects, against scripted answers.

``tests/integration/test_hook_on_emulator.py`` makes the same calls on the emulator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    QueueFullError,
    RequestValidationError,
    TencentCIError,
    TransportError,
)
from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.batches import (
    BatchInput,
    CancelBatch,
    CreateBatch,
    DescribeBatch,
    ListBatches,
)
from airflow_provider_ci.protocol.jobs import ListJobs, Output
from airflow_provider_ci.protocol.objects import GetMediaInfo, HeadObject
from airflow_provider_ci.protocol.queues import ListQueues, NotifyConfig, UpdateQueue
from airflow_provider_ci.protocol.services import CloseBucket, ListBuckets, OpenBucket
from airflow_provider_ci.protocol.templates import CreateTemplate, DeleteTemplate, ListTemplates
from airflow_provider_ci.protocol.voice_separation import AudioConfig, VoiceSeparate
from tests.conftest import BUCKET, CREDENTIALS, REGION, Logs
from tests.scripted_server import (
    Answer,
    ScriptedServer,
    error,
    hang_up,
    http,
    job_xml,
    jobs,
    reset_after_reading,
)
from tests.unit.protocol.test_admin_operations import QUEUE, TEMPLATE
from tests.unit.protocol.test_batch_operations import BATCH

MakeHook = Callable[..., TencentCIHook]
VOICE = VoiceSeparate(audio_mode="IsAudio", audio_config=AudioConfig(codec="mp3"))


def template_xml(
    tag: str = "Template", name: str = "stems", template_id: str = "t1", bitrate: str = ""
) -> str:
    return (
        f"<{tag}><TemplateId>{template_id}</TemplateId><Name>{name}</Name><VoiceSeparate>"
        "<AudioMode>IsAudio</AudioMode><AudioConfig><Codec>MP3</Codec>"
        f"<Bitrate>{bitrate}</Bitrate></AudioConfig></VoiceSeparate></{tag}>"
    )


def templates(*details: str, total: int | None = None, number: int = 1, size: int | None = None) -> Answer:
    count = len(details) if total is None else total
    paging = (
        f"<TotalCount>{count}</TotalCount><PageNumber>{number}</PageNumber>"
        f"<PageSize>{size or len(details)}</PageSize>"
    )
    return http(f"<Response>{paging}{''.join(details)}</Response>")


def listed(*names: str, **paging: Any) -> Answer:
    return templates(*(template_xml("TemplateList", name, f"t{n}") for n, name in enumerate(names)), **paging)


MADE = http(f"<Response>{template_xml()}</Response>")
QUEUE_XML = (
    "<QueueId>p1</QueueId><Name>queue-1</Name><State>Active</State><NotifyConfig><State>On</State>"
    "<Url>https://example.org/?k=1</Url><Event>TaskFinish</Event><Type>Url</Type>"
    "<ResultFormat>JSON</ResultFormat></NotifyConfig>"
)
QUEUES = http(f"<Response><QueueList>{QUEUE_XML}</QueueList></Response>")


class TestTemplates:
    @pytest.mark.parametrize(
        "lost", [hang_up(), reset_after_reading(), error(500, "InternalError"), http("")]
    )
    def test_one_whose_answer_got_lost_is_found_by_its_name(
        self, hook: TencentCIHook, server: ScriptedServer, logs: Logs, lost: Answer
    ) -> None:
        server.play(lost, listed("stems-2", "stems"))
        assert hook.templates.create("stems", VOICE).template_id == "t1"
        assert server.methods() == ["POST", "GET"]
        assert server.requests[1].params["name"] == "stems"
        assert any("template t1 was created" in line for line in logs.at("warning"))

    def test_one_that_was_not_created_is_an_error(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(hang_up(), listed("stems-2"))
        with pytest.raises(TransportError):
            hook.templates.create("stems", VOICE)
        server.play(hang_up(), templates(template_xml("TemplateList", bitrate="64")))
        with pytest.raises(TransportError):  # somebody else's of that name
            hook.templates.create("stems", VOICE)

    def test_a_refusal_is_not_looked_into(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(error(400, "TemplateNameDuplicate"))
        with pytest.raises(InvalidRequestError, match="TemplateNameDuplicate"):
            hook.templates.create("stems", VOICE)
        with pytest.raises(RequestValidationError):
            hook.templates.create("a b", VOICE)

    def test_the_parameters_are_sent_without_container_and_with_an_encoding(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(MADE, MADE)
        hook.templates.create("stems", VoiceSeparate(audio_mode="IsAudio"))
        hook.templates.update("t1", "stems", VOICE)
        body = b"<AudioMode>IsAudio</AudioMode><AudioConfig/></Request>"
        assert server.requests[0].body.endswith(body)
        assert (server.requests[1].method, server.requests[1].path) == ("PUT", "/template/t1")

    def test_finding_by_name_ends_with_the_match(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(listed("a1", "a2", total=9), listed("a", "a3", total=9, number=2))
        found = hook.templates.find("a")
        assert found is not None
        assert found.name == "a"
        assert [sent.params["pageNumber"] for sent in server.requests] == ["1", "2"]
        server.play(listed("a1"))
        assert hook.templates.find("a") is None

    def test_listing_is_lazy(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(listed("a", "b", total=3))
        found = hook.templates.list()
        assert not server.requests
        assert (next(found).name, next(found).name) == ("a", "b")
        assert len(server.requests) == 1
        server.play(listed("c", total=3, number=2, size=2))
        assert [template.name for template in found] == ["c"]

    def test_ids_are_asked_for_ten_to_a_request_each_once(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        ids = [f"t{n}" for n in range(12)]
        server.play(listed(*"abcdefghij"), listed("k"))
        assert len(hook.templates.get([*ids, "t3"])) == 11
        assert [len(sent.params["ids"].split(",")) for sent in server.requests] == [10, 2]
        assert hook.templates.get([]) == []

    def test_a_text_is_no_list(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        for field, call in {
            "template_ids": lambda: hook.templates.get("abc"),
            "queue_ids": lambda: list(hook.queues.list(queue_ids="abc")),
            "regions": lambda: list(hook.services.list_buckets(regions="abc")),
            "bucket_names": lambda: list(hook.services.list_buckets(bucket_names="abc")),
        }.items():
            with pytest.raises(RequestValidationError, match=f"{field} is the text 'abc', allowed: a list"):
                call()
        assert not server.requests

    def test_deleting_twice(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(http("<Response><TemplateId>t1</TemplateId></Response>"), error(404, "TemplateNotFound"))
        assert [hook.templates.delete("t1"), hook.templates.delete("t1")] == [True, False]


class TestQueues:
    def test_what_is_not_given_stays_as_it_is(self, hook: TencentCIHook, server: ScriptedServer) -> None:
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
    def test_what_no_page_names_is_written_back_as_it_was_read(
        self, hook: TencentCIHook, server: ScriptedServer, notify: str
    ) -> None:
        named = "<QueueId>p1</QueueId><Name>queue 1</Name><State>Frozen</State>"
        queue = f"{named}<NotifyConfig>{notify}</NotifyConfig>"
        described = http(f"<Response><QueueList>{queue}</QueueList></Response>")
        updated = http(f"<Response><Queue>{queue}</Queue></Response>")
        server.play(described, updated, described, updated, described)
        hook.queues.update("p1", state="Paused")
        hook.queues.update("p1", name="mine")
        _, paused, _, renamed = server.requests
        assert f"<State>Paused</State><NotifyConfig>{notify}</NotifyConfig>".encode() in paused.body
        assert b"<Name>queue 1</Name>" in paused.body
        assert b"<Name>mine</Name><State>Frozen</State>" in renamed.body
        with pytest.raises(RequestValidationError, match="State is 'Stopped', allowed: Active, Paused"):
            hook.queues.update("p1", state="Stopped")

    def test_an_empty_element_is_not_written_back(self, hook: TencentCIHook, server: ScriptedServer) -> None:
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

    def test_what_is_given_wins(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(QUEUES, http(f"<Response><Queue>{QUEUE_XML}</Queue></Response>"))
        hook.queues.update("p1", name="mine", notify_config=NotifyConfig(state="Off"), service="media")
        assert server.requests[1].path == "/queue/p1"
        assert b"<Name>mine</Name><State>Active</State><NotifyConfig><State>Off</State></NotifyConfig>" in (
            server.requests[1].body
        )

    def test_an_unknown_queue_is_not_updated(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(http("<Response><NonExistPIDs>p1</NonExistPIDs></Response>"))
        with pytest.raises(NotFoundError, match="no queue p1 of the service asr"):
            hook.queues.update("p1", state="Paused")


class TestBuckets:
    def test_opening_may_be_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(hang_up(), error(403, "MediaBucketAlreadyBinded"))
        assert hook.services.open() is None
        assert [(sent.method, sent.path) for sent in server.requests] == [("POST", "/asrbucket")] * 2

    def test_closing_too(self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]) -> None:
        server.play(hang_up(), error(403, "MediaBucketUnBinded"))
        assert hook.services.close() is False

    @pytest.mark.parametrize(("service", "name"), [("asr", "Asr"), ("media", "Media")])
    def test_each_service(self, hook: TencentCIHook, server: ScriptedServer, service: str, name: str) -> None:
        server.play(error(400, f"{name}BucketAlreadyBinded"), http("<Response/>"))
        server.play(error(400, f"{name}BucketUnBinded"))
        assert hook.services.open(service=service) is None
        assert [hook.services.close(service=service) for _ in range(2)] == [True, False]
        assert {sent.path for sent in server.requests} == {f"/{service}bucket"}

    def test_lists_come_from_the_regions_host_without_any_bucket(
        self, make_hook: MakeHook, server: ScriptedServer
    ) -> None:
        hook = make_hook(bucket=None)
        server.play(http("<Response><AsrBucketList><BucketId>a-1</BucketId></AsrBucketList></Response>"))
        server.play(http("<Response/>"))
        assert [bound.bucket_id for bound in hook.services.list_buckets()] == ["a-1"]
        assert list(hook.services.list_buckets(service="media", region="ap-beijing")) == []
        assert [sent.header("Host") for sent in server.requests] == [
            f"ci.{REGION}.myqcloud.com",
            "ci.ap-beijing.myqcloud.com",
        ]
        assert server.requests[0].is_signed_with(CREDENTIALS.secret_key)
        with pytest.raises(ConfigurationError, match="No bucket"):
            hook.services.open()


class TestBatches:
    @pytest.mark.parametrize("lost", [hang_up(), error(500, "InternalError"), http("<Response/>")])
    def test_a_lost_answer_is_ambiguous_and_never_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, lost: Answer
    ) -> None:
        server.play(lost)
        with pytest.raises(AmbiguousSubmissionError):
            hook.batches.create(BATCH)
        assert server.methods() == ["POST"]

    def test_a_refusal_is_not(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(error(403, "QueueSaturated"))
        with pytest.raises(QueueFullError):
            hook.batches.create(BATCH)

    @pytest.mark.parametrize(
        ("source", "key", "says"),
        [
            ({"prefix": "in/"}, "in/${jobid}.mp3", "does not begin with the prefix 'in/'"),
            ({"object": "in/a.mp3"}, "${InputPath}/${InputNameAndExt}", "cannot be the input's, 'in/a.mp3'"),
            ({"url_file": "l/a.txt"}, "${InputPath}/${jobid}", "does not lie beside its input"),
        ],
    )
    def test_results_that_would_be_inputs_are_refused(
        self, hook: TencentCIHook, server: ScriptedServer, source: dict[str, str], key: str, says: str
    ) -> None:
        operation = BATCH.operation
        assert operation is not None
        output = Output(bucket=BUCKET, region=REGION, voice_object=key)
        batch = replace(BATCH, input=BatchInput(**source), operation=replace(operation, output=output))
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
        operation = BATCH.operation
        assert operation is not None
        output = Output(voice_object="out/${jobid}.${ext}")
        server.play(jobs(job_xml("b1")), jobs(job_xml("b2")))
        hook.batches.create(replace(BATCH, operation=replace(operation, output=output)), region="ap-beijing")
        hook.batches.create(BATCH, bucket="in-1250000002", region="ap-beijing")
        sent = [request.body.decode() for request in server.requests]
        assert [
            f"<Region>{region}</Region><Bucket>{BUCKET}</Bucket>" in body
            for region, body in zip(("ap-beijing", REGION), sent, strict=True)
        ] == [True, True]

    def test_describing(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(jobs(unknown=("b1",)), jobs(job_xml("b1", "Running")))
        assert hook.batches.describe("b1").non_exist_job_ids == ("b1",)
        assert [batch.job_state for batch in hook.batches.describe("b1").jobs_detail] == ["Running"]

    def test_listing(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(jobs(job_xml("b1"), next_token="t"), jobs(job_xml("b2"), next_token="t"))
        assert [batch.job_id for batch in hook.batches.list(name="n", states=["Running"])] == ["b1", "b2"]
        assert [sent.params.get("nextToken") for sent in server.requests] == [None, "t"]

    def test_cancelling(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(http(), http())
        hook.batches.cancel("b1")
        hook.call_within(CancelBatch("b1"), 4)
        assert [(sent.path, sent.params) for sent in server.requests] == [
            ("/inventorytriggerjob/b1", {"cancel": ""})
        ] * 2
        assert server.requests[0].connection != server.requests[1].connection


class TestObjects:
    def test_head(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.always("HEAD", http(b"", 200, length=7, x_cos_storage_class="ARCHIVE", keep_alive=False))
        head = hook.head_object("in/a")
        assert (head.size, head.is_archived) == (7, True)
        assert server.requests[0].header("Host") == f"{BUCKET}.cos.{REGION}.myqcloud.com"

    def test_missing(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.always("HEAD", http(b"", 404))
        with pytest.raises(NotFoundError, match="Check bucket, region and id"):
            hook.head_object("in/a")


CALLS: list[tuple[ApiRequest[Any], Answer]] = [
    (CreateTemplate(TEMPLATE), MADE),
    (DeleteTemplate("t1"), http("<Response/>")),
    (ListTemplates(name="声+ "), listed("a")),
    (ListQueues(), QUEUES),
    (UpdateQueue("p1", QUEUE), http(f"<Response><Queue>{QUEUE_XML}</Queue></Response>")),
    (OpenBucket(), http("<Response/>")),
    (CloseBucket(), http("<Response/>")),
    (ListBuckets(), http("<Response/>")),
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
        endpoint = hook.settings.endpoint(regional=call.regional)
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
