"""The calls about templates, queues and buckets: what is sent, what is refused, and what answers become."""

from __future__ import annotations

import pytest

from airflow_provider_ci.exceptions import (
    InvalidRequestError,
    InvalidResponseError,
    RequestValidationError,
)
from airflow_provider_ci.protocol.queues import (
    DescribedQueue,
    ListQueues,
    Queue,
    QueuesResponse,
    UpdateQueue,
)
from airflow_provider_ci.protocol.services import BucketBinding, OpenBucket
from airflow_provider_ci.protocol.templates import (
    CreateTemplate,
    DeleteTemplate,
    ListTemplates,
    TemplateRequest,
    TemplatesResponse,
    UpdateTemplate,
)
from airflow_provider_ci.protocol.voice_separation import AudioConfig
from airflow_provider_ci.protocol.wire import HttpRequest, Service

from .builders import error_body, response

TEMPLATE = TemplateRequest(
    tag="VoiceSeparate",
    name="stems_声-*1",
    audio_mode="IsAudio",
    audio_config=AudioConfig(codec="mp3", bitrate=128),
)
BODY = (
    "<?xml version='1.0' encoding='UTF-8'?>\n<Request><Tag>VoiceSeparate</Tag><Name>stems_声-*1</Name>"
    "<AudioMode>IsAudio</AudioMode><AudioConfig><Codec>mp3</Codec><Bitrate>128</Bitrate></AudioConfig></Request>"
).encode()
DESCRIBED = DescribedQueue(Queue(name="queue-1"), None)
MADE = (
    "<Response><RequestId>r</RequestId>"
    "<Template><TemplateId>t1</TemplateId><Name>a</Name></Template></Response>"
)


def ci(method: str, path: str, *params: tuple[str, str], body: bytes = b"") -> HttpRequest:
    return HttpRequest(method=method, service=Service.CI, path=path, params=params, body=body)


@pytest.mark.parametrize(
    ("call", "sent"),
    [
        (CreateTemplate(TEMPLATE), ci("POST", "/template", body=BODY)),
        (UpdateTemplate("t1", TEMPLATE), ci("PUT", "/template/t1", body=BODY)),
        (DeleteTemplate("t1"), ci("DELETE", "/template/t1")),
        (
            ListTemplates(),
            ci(
                "GET",
                "/template",
                ("tag", "All"),
                ("category", "Custom"),
                ("pageNumber", "1"),
                ("pageSize", "10"),
            ),
        ),
        (
            ListTemplates(tag="VoiceSeparate", ids=["t1", "t2"], name="声", page_number=3, page_size=100),
            ci(
                "GET",
                "/template",
                ("tag", "VoiceSeparate"),
                ("category", "Custom"),
                ("ids", "t1,t2"),
                ("name", "声"),
                ("pageNumber", "3"),
                ("pageSize", "100"),
            ),
        ),
        (
            ListQueues(queue_ids=["p1", "p2"], state="Paused"),
            ci(
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
            ci("GET", "/queue", ("category", "CateAll"), ("pageNumber", "1"), ("pageSize", "10")),
        ),
        (OpenBucket(), ci("POST", "/asrbucket")),
        (OpenBucket("media"), ci("POST", "/mediabucket")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_sent(call, sent):
    assert call.http_request() == sent


def test_only_creating_a_template_must_not_be_repeated():
    calls = [
        CreateTemplate(TEMPLATE),
        UpdateTemplate("t", TEMPLATE),
        DeleteTemplate("t"),
        ListTemplates(),
        ListQueues(),
        UpdateQueue("p", "Paused", DESCRIBED),
        OpenBucket(),
    ]
    assert [type(call) for call in calls if not call.idempotent] == [CreateTemplate]


class TestRefused:
    def says(self, call) -> str:
        with pytest.raises(RequestValidationError, match="Nothing was sent") as caught:
            call.http_request()
        return str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"name": None}, "Name is None, allowed: Chinese, letters, digits, _ - *, at most 64 characters"),
            ({"name": ""}, "Name is ''"),
            ({"name": "a" * 65}, "at most 64"),
            ({"name": "a b"}, "Name is 'a b'"),
            ({"name": "a\n"}, r"Name is 'a\n'"),
            ({"name": "é"}, "Name is 'é'"),
            ({"tag": "Transcode"}, "Tag is 'Transcode', allowed: VoiceSeparate"),
            ({"audio_mode": None}, "AudioMode is None"),
            ({"audio_mode": "Voice"}, "AudioMode is 'Voice', allowed: IsAudio"),
            ({"audio_config": None}, "AudioConfig is None"),
            ({"audio_config": AudioConfig(codec="ogg")}, "AudioConfig.Codec is 'ogg', allowed: aac"),
            (
                {"audio_config": AudioConfig(codec="mp3", samplerate=96000)},
                "AudioConfig.Samplerate is 96000",
            ),
            ({"audio_config": AudioConfig(bitrate="128")}, "AudioConfig.Bitrate is '128'"),
        ],
    )
    def test_templates(self, changes, says):
        from dataclasses import replace

        template = replace(TEMPLATE, **changes)
        assert says in self.says(CreateTemplate(template))
        assert says in self.says(UpdateTemplate("t1", template))

    def test_all_that_is_wrong_is_told_at_once(self):
        said = self.says(CreateTemplate(TemplateRequest(audio_config=AudioConfig())))
        assert all(name in said for name in ("Tag is", "Name is", "AudioMode is"))

    @pytest.mark.parametrize("bad", ["", "../jobs", "t1/x", "t1?a", "a,b", "t1\n", None, "t" * 129])
    def test_ids_never_reach_a_path(self, bad):
        for call in (UpdateTemplate(bad, TEMPLATE), DeleteTemplate(bad), ListTemplates(ids=[bad])):
            assert "template_id is" in self.says(call)
        for call in (UpdateQueue(bad, "Paused", DESCRIBED), ListQueues(queue_ids=[bad])):
            assert "queue_id is" in self.says(call)

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (ListTemplates(category="Own"), "category is 'Own', allowed: Custom, Official"),
            (ListTemplates(page_size=101), "page_size is 101, allowed: 1 to 100"),
            (ListTemplates(page_number=0), "page_number is 0, allowed: from 1"),
            (ListQueues(state="All"), "state is 'All', allowed: Active, Paused"),
            (ListQueues(queue_ids=[f"p{n}" for n in range(11)]), "queue_ids has 11 ids, allowed: at most 10"),
            (ListQueues(service="ai"), "service is 'ai', allowed: asr, media"),
            (OpenBucket("../x"), "service is '../x'"),
            (OpenBucket("pic"), "service is 'pic', allowed: asr, media"),
            (UpdateQueue("p1", "Paused", DESCRIBED, "x"), "service is 'x'"),
            (UpdateQueue("p1", "Stopped", DESCRIBED), "state is 'Stopped', allowed: Active, Paused"),
        ],
    )
    def test_lists_and_services(self, call, says):
        assert says in self.says(call)


class TestAnswers:
    @pytest.mark.parametrize("call", [CreateTemplate(TEMPLATE), UpdateTemplate("t1", TEMPLATE)])
    def test_a_template(self, call):
        assert call.parse(response(200, MADE)).template_id == "t1"
        for body in ("<Response/>", "<Response><Template><Name>a</Name></Template></Response>"):
            with pytest.raises(InvalidResponseError, match="the response has no TemplateId"):
                call.parse(response(200, body))

    @pytest.mark.parametrize("code", ["TemplateNotFound", "1107"])
    def test_deleting_what_is_gone(self, code):
        call = DeleteTemplate("t1")
        assert call.parse(
            response(200, "<Response><RequestId>r</RequestId><TemplateId>t1</TemplateId></Response>")
        )
        assert call.parse(response(204)), "no body is documented elsewhere"
        assert not call.parse(response(404, error_body(code)))
        with pytest.raises(InvalidRequestError):
            call.parse(response(400, error_body("InvalidArgument")))
        with pytest.raises(InvalidResponseError):
            call.parse(response(200, "<html/>"))

    @pytest.mark.parametrize("status", [200, 400, 403, 409])
    @pytest.mark.parametrize(
        "code",
        [
            *("MediaBucketAlreadyBinded", "BucketAlreadyBinded", "1100"),
            *("AsrBucketAlreadyBinded", "ASRBucketAlreadyBinded", "PicBucketAlreadyBinded"),
        ],
    )
    @pytest.mark.parametrize("service", ["asr", "media"])
    def test_opening_what_is_open(self, service, code, status):
        assert OpenBucket(service).parse(response(status, error_body(code))) is None

    def test_opening(self):
        for name in ("AsrBucket", "MediaBucket"):
            body = f"<Response><{name}><BucketId>a-1</BucketId></{name}></Response>"
            assert OpenBucket().parse(response(200, body)) == BucketBinding(bucket_id="a-1")
        assert OpenBucket().parse(response(200, "<Response/>")) == BucketBinding(), "opened, if tersely"
        with pytest.raises(InvalidRequestError):
            OpenBucket().parse(response(400, error_body("BindedBucketNumLimit")))

    def test_a_queue(self):
        body = "<Response><Queue><QueueId>p1</QueueId><MaxSize>10000</MaxSize></Queue></Response>"
        assert UpdateQueue("p1", "Paused", DESCRIBED).parse(response(200, body)).max_size == 10000
        with pytest.raises(InvalidResponseError, match="no Queue"):
            UpdateQueue("p1", "Paused", DESCRIBED).parse(response(200, "<Response/>"))


class TestPages:
    def answer(self, count: int, **paging: int) -> TemplatesResponse:
        items = "".join(f"<TemplateList><TemplateId>t{n}</TemplateId></TemplateList>" for n in range(count))
        names = {"total": "TotalCount", "number": "PageNumber", "size": "PageSize"}
        totals = "".join(f"<{names[key]}>{value}</{names[key]}>" for key, value in paging.items())
        return ListTemplates().parse(response(200, f"<Response>{totals}{items}</Response>"))

    def test_goes_on_while_the_service_counts_more(self):
        call = ListTemplates(name="a")
        following = call.next_page(self.answer(10, total=21, number=1, size=10))
        assert following == ListTemplates(name="a", page_number=2)
        last = following.next_page(self.answer(10, total=21, number=2, size=10))
        assert last is not None
        assert last.next_page(self.answer(1, total=21, number=3, size=10)) is None

    @pytest.mark.parametrize(
        ("count", "paging"),
        [
            (0, {"total": 99, "number": 1, "size": 10}),  # empty, whatever it counts
            (10, {"total": 10, "number": 1, "size": 10}),
            (10, {}),  # no total, as when ids are asked for
            (10, {"total": 99, "number": 7, "size": 10}),  # another page than asked for
        ],
    )
    def test_ends(self, count, paging):
        assert ListTemplates().next_page(self.answer(count, **paging)) is None

    def test_a_service_that_gives_smaller_pages_is_believed(self):
        following = ListTemplates(page_size=100).next_page(self.answer(20, total=50, number=1, size=20))
        assert following is not None
        assert following.page_number == 2

    def test_queues_alike(self):
        queues = "<Response><TotalCount>2</TotalCount><QueueList><QueueId>p1</QueueId></QueueList></Response>"
        call = ListQueues(page_size=1)
        answer: QueuesResponse = call.parse(response(200, queues))
        assert [queue.queue_id for queue in call.items(answer)] == ["p1"]
        assert call.next_page(answer) == ListQueues(page_size=1, page_number=2)
