"""Templates: requests, rules, responses and pages."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import InvalidRequestError, InvalidResponseError
from airflow_provider_ci.protocol.templates import (
    CreateTemplate,
    DeleteTemplate,
    ListTemplates,
    TemplateIds,
    TemplatesResponse,
    UpdateTemplate,
)

from .builders import ci_request, error_body, rejection, response

TEMPLATE: dict[str, Any] = {
    "Tag": "VoiceSeparate",
    "Name": "stems_声-*1",
    "AudioMode": "IsAudio",
    "AudioConfig": {"Codec": "mp3", "Bitrate": 128},
}
BODY = (
    "<?xml version='1.0' encoding='UTF-8'?>\n<Request><Tag>VoiceSeparate</Tag><Name>stems_声-*1</Name>"
    "<AudioMode>IsAudio</AudioMode><AudioConfig><Codec>mp3</Codec><Bitrate>128</Bitrate></AudioConfig></Request>"
).encode()
MADE = (
    "<Response><RequestId>r</RequestId>"
    "<Template><TemplateId>t1</TemplateId><Name>a</Name></Template></Response>"
)


def listed(content: str) -> TemplatesResponse:
    return ListTemplates().parse(response(200, f"<Response>{content}</Response>"))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (CreateTemplate(TEMPLATE), ci_request("POST", "/template", body=BODY)),
        (UpdateTemplate("t1", TEMPLATE), ci_request("PUT", "/template/t1", body=BODY)),
        (DeleteTemplate("t1"), ci_request("DELETE", "/template/t1")),
        (
            ListTemplates(),
            ci_request(
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
            ci_request(
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
    ],
)
def test_the_request_has_the_documented_form(call, expected):
    assert call.http_request() == expected


def test_only_creating_a_template_is_not_repeated():
    calls = [CreateTemplate(TEMPLATE), UpdateTemplate("t", TEMPLATE), DeleteTemplate("t"), ListTemplates()]
    assert [call.idempotent for call in calls] == [False, True, True, True]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"Name": None}, "Name is None, allowed: Chinese, letters, digits, _ - *, at most 64 characters"),
        ({"Name": ""}, "Name is ''"),
        ({"Name": "a" * 65}, "at most 64"),
        ({"Name": "a b"}, "Name is 'a b'"),
        ({"Name": "a\n"}, r"Name is 'a\n'"),
        ({"Name": "é"}, "Name is 'é'"),
        ({"Name": 5}, "Name is 5"),
        ({"Tag": "Voice Separate"}, "Tag is 'Voice Separate', allowed: the type of its jobs"),
        ({"Tag": None}, "Tag is None, allowed: the type of its jobs"),
        ({"AudioMode": None}, "AudioMode is None"),
        ({"AudioMode": "Voice"}, "AudioMode is 'Voice', allowed: IsAudio"),
        ({"AudioConfig": None}, "AudioConfig is None"),
        ({"AudioConfig": {"Codec": "ogg"}}, "AudioConfig.Codec is 'ogg', allowed: aac"),
        (
            {"AudioConfig": {"Codec": "mp3", "Samplerate": 96000}},
            "AudioConfig.Samplerate is 96000",
        ),
        ({"AudioConfig": {"Bitrate": "high"}}, "AudioConfig.Bitrate is 'high', allowed: an integer"),
    ],
)
def test_a_template_that_breaks_a_rule_is_rejected(changes, says):
    template = TEMPLATE | changes
    assert says in rejection(CreateTemplate(template))
    assert says in rejection(UpdateTemplate("t1", template))


def test_all_problems_are_reported_at_once():
    message = rejection(CreateTemplate({"Tag": "VoiceSeparate", "AudioConfig": {"Codec": "ogg"}}))
    assert all(name in message for name in ("Name is", "AudioMode is", "AudioConfig.Codec is"))


@pytest.mark.parametrize("bad", ["", "../jobs", "t1/x", "t1?a", "a,b", "t1\n", None, "t" * 129])
def test_what_is_not_an_id_never_becomes_part_of_a_path(bad):
    for call in (UpdateTemplate(bad, TEMPLATE), DeleteTemplate(bad), ListTemplates(ids=[bad])):
        assert "template_id is" in rejection(call)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (ListTemplates(category="Own"), "category is 'Own', allowed: Custom, Official"),
        (ListTemplates(page_size=101), "page_size is 101, allowed: 1 to 100"),
        (ListTemplates(page_number=0), "page_number is 0, allowed: from 1"),
    ],
)
def test_arguments_outside_the_documented_values_are_rejected(call, says):
    assert says in rejection(call)


@pytest.mark.parametrize("call", [CreateTemplate(TEMPLATE), UpdateTemplate("t1", TEMPLATE)])
def test_the_response_is_a_template_with_an_id(call):
    assert call.parse(response(200, MADE)).template_id == "t1"
    for body in ("<Response/>", "<Response><Template><Name>a</Name></Template></Response>"):
        with pytest.raises(InvalidResponseError, match="the response has no TemplateId"):
            call.parse(response(200, body))


@pytest.mark.parametrize("code", ["TemplateNotFound", "1107"])
def test_deleting_a_template_that_does_not_exist_is_no_error(code):
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


def test_a_list_of_templates_is_read():
    templates = listed(
        "<RequestId>r</RequestId><TotalCount>2</TotalCount><TemplateList><TemplateId>t1</TemplateId>"
        "<VoiceSeparate><AudioMode>IsAudio</AudioMode><AudioConfig/></VoiceSeparate>"
        "<CreateTime>2025-01-02T03:04:05+0800</CreateTime></TemplateList>"
        "<TemplateList><TemplateId>t2</TemplateId></TemplateList>"
        "<NonExistTIDs><TemplateId>t3</TemplateId><TemplateId>t4</TemplateId></NonExistTIDs>",
    )
    assert (templates.request_id, templates.total_count) == ("r", 2)
    first, second = templates.template_list
    assert [first.template_id, second.template_id] == ["t1", "t2"]
    assert first.parameters == {"AudioMode": "IsAudio", "AudioConfig": ""}
    assert first.content["VoiceSeparate"] == first.parameters
    assert second.parameters == {}
    assert first.create_time is not None
    assert first.create_time.isoformat() == "2025-01-02T03:04:05+08:00"
    assert templates.non_exist_tids == TemplateIds(template_id=("t3", "t4"))
    assert listed("<TemplateList><State>Normal</State></TemplateList>").template_list[0].state == "Normal"


@pytest.mark.parametrize(
    ("tag", "element"), [("Transcode", "TransTpl"), ("TranscodePro", "TransProTpl"), ("Tts", "TtsTpl")]
)
def test_the_parameters_have_the_name_that_the_service_gives_them(tag, element):
    body = f"<TemplateList><Tag>{tag}</Tag><{element}><Codec>mp3</Codec></{element}></TemplateList>"
    assert listed(body).template_list[0].parameters == {"Codec": "mp3"}


class TestPages:
    def page(self, count: int, **paging: int) -> TemplatesResponse:
        items = "".join(f"<TemplateList><TemplateId>t{n}</TemplateId></TemplateList>" for n in range(count))
        names = {"total": "TotalCount", "number": "PageNumber", "size": "PageSize"}
        totals = "".join(f"<{names[key]}>{value}</{names[key]}>" for key, value in paging.items())
        return ListTemplates().parse(response(200, f"<Response>{totals}{items}</Response>"))

    def test_another_page_follows_while_the_service_counts_more(self):
        call = ListTemplates(name="a")
        second = call.next_page(self.page(10, total=21, number=1, size=10))
        assert second == ListTemplates(name="a", page_number=2)
        last = second.next_page(self.page(10, total=21, number=2, size=10))
        assert last is not None
        assert last.next_page(self.page(1, total=21, number=3, size=10)) is None

    @pytest.mark.parametrize(
        ("count", "paging"),
        [
            (0, {"total": 99, "number": 1, "size": 10}),  # empty, whatever it counts
            (10, {"total": 10, "number": 1, "size": 10}),
            (10, {}),  # no total, as when ids are asked for
            (10, {"total": 99, "number": 7, "size": 10}),  # another page than asked for
        ],
    )
    def test_no_page_follows(self, count, paging):
        assert ListTemplates().next_page(self.page(count, **paging)) is None

    def test_pages_may_be_smaller_than_requested(self):
        second = ListTemplates(page_size=100).next_page(self.page(20, total=50, number=1, size=20))
        assert second is not None
        assert second.page_number == 2


def test_a_signed_address_is_not_in_the_repr():
    address = "https://h/a.png?sign=hunter2"
    watermark = {"Tag": "Watermark", "Name": "n", "Watermark": {"Image": {"Url": address}}}
    made = f"<Watermark><Image><Url>{address}</Url></Image></Watermark>"
    listed_template = listed(f"<TemplateList><TemplateId>t1</TemplateId>{made}</TemplateList>")
    for shown in (CreateTemplate(watermark), UpdateTemplate("t1", watermark), listed_template):
        assert "hunter2" not in repr(shown)
    assert listed_template.template_list[0].parameters == {"Image": {"Url": address}}
