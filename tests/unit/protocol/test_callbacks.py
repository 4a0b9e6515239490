"""Callbacks in both forms (460/76959, 460/84821, 436/48042), in the odd shapes of JSON, and garbage."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import InvalidCallbackError, TencentCIError
from airflow_provider_ci.protocol import callbacks
from airflow_provider_ci.protocol.callbacks import (
    HEAD_BYTES,
    MAX_BUCKETS,
    MAX_JOB_IDS,
    Callback,
    CosHeader,
    WorkflowTask,
    find_job_ids,
    parse_callback,
)
from airflow_provider_ci.protocol.fields import SERVICE_ZONE
from airflow_provider_ci.protocol.jobs import Job, Workflow
from airflow_provider_ci.protocol.results import job_result
from airflow_provider_ci.protocol.tree import find_tree
from airflow_provider_ci.protocol.xml import tree_to_bytes

from .builders import BUCKET, JOB_ID, OTHER_ID, REGION

JOB_XML = f"""<JobsDetail>
    <Code>Success</Code><CreationTime>2025-01-02T03:04:05+0800</CreationTime><EndTime>-</EndTime>
    <Input><BucketId>{BUCKET}</BucketId>
      <CosHeaders><Key>Content-Type</Key><Value>audio/mpeg</Value></CosHeaders>
      <CosHeaders><Key>x-cos-meta-a</Key><Value>1</Value></CosHeaders>
      <Object>in/song.mp3</Object><Region>{REGION}</Region></Input>
    <JobId>{JOB_ID}</JobId><Message/>
    <Operation><JobLevel>0</JobLevel>
      <MediaInfo><Format><Duration>13.7</Duration></Format><Stream>
        <Audio><SampleRate>44100</SampleRate></Audio><Audio><SampleRate>44100</SampleRate></Audio>
        <Subtitle/><Video/></Stream></MediaInfo>
      <MediaResult><OutputFile><Bucket>{BUCKET}</Bucket>
        <Md5Info><Md5>aa</Md5><ObjectName>out/voice.mp3</ObjectName></Md5Info>
        <Md5Info><Md5>bb</Md5><ObjectName>out/background.mp3</ObjectName></Md5Info>
        <ObjectName>out/voice.mp3</ObjectName><ObjectName>out/background.mp3</ObjectName>
        <ObjectPrefix/><Region>{REGION}</Region></OutputFile></MediaResult>
      <Output><AuObject>out/voice.${{ext}}</AuObject><Object>out/background.${{ext}}</Object></Output>
      <TemplateId>t1</TemplateId><TemplateName>stems</TemplateName><UserData>mine</UserData></Operation>
    <QueueId>p1</QueueId><State>Success</State><Tag>VoiceSeparate</Tag>
    <Workflow><Name>n1</Name><RunId>i1</RunId><WorkflowId>w1</WorkflowId><WorkflowName>stems</WorkflowName></Workflow>
  </JobsDetail>"""
XML = (
    f"<?xml version='1.0' encoding='utf-8'?>\n<Response><EventName>TaskFinish</EventName>{JOB_XML}</Response>"
)

JOB_JSON: dict[str, Any] = {
    "Code": "Success",
    "CreationTime": "2025-01-02T03:04:05+0800",
    "EndTime": "-",
    "Input": {
        "BucketId": BUCKET,
        "CosHeaders": [{"Key": "Content-Type", "Value": "audio/mpeg"}, {"Key": "x-cos-meta-a", "Value": "1"}],
        "Object": "in/song.mp3",
        "Region": REGION,
    },
    "JobId": JOB_ID,
    "Message": "",
    "Operation": {
        "JobLevel": "0",
        "MediaInfo": {
            "Format": {"Duration": "13.7"},
            "Stream": {
                "Audio": [{"SampleRate": "44100"}, {"SampleRate": "44100"}],
                "Subtitle": [],
                "Video": [],
            },
        },
        "MediaResult": {
            "OutputFile": {
                "Bucket": BUCKET,
                "Md5Info": [
                    {"Md5": "aa", "ObjectName": "out/voice.mp3"},
                    {"Md5": "bb", "ObjectName": "out/background.mp3"},
                ],
                "ObjectName": ["out/voice.mp3", "out/background.mp3"],
                "ObjectPrefix": "",
                "Region": REGION,
            }
        },
        "Output": {"AuObject": "out/voice.${ext}", "Object": "out/background.${ext}"},
        "TemplateId": "t1",
        "TemplateName": "stems",
        "UserData": "mine",
    },
    "QueueId": "p1",
    "State": "Success",
    "Tag": "VoiceSeparate",
    "Workflow": [{"Name": "n1", "RunId": "i1", "WorkflowId": "w1", "WorkflowName": "stems"}],
}
JSON = {"EventName": "TaskFinish", "JobsDetail": [JOB_JSON]}


def as_json(said: Any) -> bytes:
    return json.dumps(said, ensure_ascii=False).encode()


def job_of(said: Any) -> Job:
    (job,) = parse_callback(as_json(said)).jobs
    return job


class TestDocumentedForms:
    def test_xml(self) -> None:
        callback = parse_callback(XML.encode())
        assert callback.event_name == callbacks.TASK_FINISH
        assert callback.workflow_execution is None
        assert callback.job_ids == (JOB_ID,)
        (job,) = callback.jobs
        assert job.job_state.is_successful
        assert job.creation_time == datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE)
        assert (job.end_time, job.message) == (None, None)
        assert job.workflow == (Workflow(name="n1", run_id="i1", workflow_id="w1", workflow_name="stems"),)
        assert job.input == {
            "BucketId": BUCKET,
            "CosHeaders": [
                {"Key": "Content-Type", "Value": "audio/mpeg"},
                {"Key": "x-cos-meta-a", "Value": "1"},
            ],
            "Object": "in/song.mp3",
            "Region": REGION,
        }
        operation = job.operation
        assert operation is not None
        assert operation["MediaResult"]["OutputFile"] == {
            "Bucket": BUCKET,
            "Md5Info": [
                {"Md5": "aa", "ObjectName": "out/voice.mp3"},
                {"Md5": "bb", "ObjectName": "out/background.mp3"},
            ],
            "ObjectName": ["out/voice.mp3", "out/background.mp3"],
            "ObjectPrefix": "",
            "Region": REGION,
        }
        assert operation["MediaInfo"]["Format"] == {"Duration": "13.7"}
        stream = operation["MediaInfo"]["Stream"]
        assert (len(stream["Audio"]), stream["Video"], stream["Subtitle"]) == (2, [], [])
        assert (operation["TemplateName"], operation["JobLevel"]) == ("stems", "0")
        assert job.user_data == "mine"
        assert set(job_result(job)["outputs"]) == {"voice", "background"}

    def test_json_and_xml_have_the_same_content(self) -> None:
        assert parse_callback(as_json(JSON)) == parse_callback(XML.encode())

    def test_the_form_of_2020_has_no_event_name(self) -> None:
        callback = parse_callback(f"<Response>{JOB_XML}</Response>".encode())
        assert callback.event_name is None
        assert callback.job_ids == (JOB_ID,)

    WORKFLOW = """<Response><EventName>WorkflowFinish</EventName><WorkflowExecution>
        <WorkflowId>w1</WorkflowId><WorkflowName>stems</WorkflowName><RunId>i1</RunId><State>Success</State>
        <BucketId>media-1250000001</BucketId><Object>in/song.mp3</Object>
        <CreateTime>2022-08-09 14:54:17+0800</CreateTime>
        <CosHeaders><Key>Content-Type</Key><Value>audio/mpeg</Value></CosHeaders>
        <Tasks><Type>VoiceSeparate</Type><CreateTime>2022-08-09 14:54:40+0800</CreateTime>
          <State>Success</State><JobId>j1</JobId><Name>VoiceSeparate_1</Name><TemplateId>t1</TemplateId></Tasks>
        <Tasks><Type>Transcode</Type><State>Failed</State><JobId>j2</JobId><Code>InternalError</Code></Tasks>
        <Tasks><Type>Delete</Type><State>Success</State></Tasks>
        </WorkflowExecution></Response>"""

    def test_a_workflow(self) -> None:
        callback = parse_callback(self.WORKFLOW.encode())
        assert callback.event_name == callbacks.WORKFLOW_FINISH
        assert callback.jobs == ()
        assert callback.job_ids == ("j1", "j2")
        execution = callback.workflow_execution
        assert execution is not None
        assert (execution.run_id, execution.state, execution.object) == ("i1", "Success", "in/song.mp3")
        assert execution.create_time == datetime(2022, 8, 9, 14, 54, 17, tzinfo=SERVICE_ZONE)
        assert execution.cos_headers == (CosHeader(key="Content-Type", value="audio/mpeg"),)
        assert execution.tasks[1] == WorkflowTask(
            type="Transcode", state="Failed", job_id="j2", code="InternalError"
        )

    def test_a_workflow_in_json(self) -> None:
        said = {
            "EventName": "WorkflowFinish",
            "WorkflowExecution": {"RunId": "i1", "Tasks": {"JobId": "j1", "State": "Success"}},
        }
        execution = parse_callback(as_json(said)).workflow_execution
        assert execution is not None
        assert execution.tasks == (WorkflowTask(job_id="j1", state="Success"),)


EMPTY: list[Any] = ["", {}, None, [], [None], [""], [{}], [[]]]


class TestOddShapes:
    @pytest.mark.parametrize("empty", EMPTY, ids=repr)
    def test_empty_containers(self, empty: Any) -> None:
        operation = JOB_JSON["Operation"] | {
            "MediaInfo": {"Format": empty, "Stream": {"Audio": empty, "Video": empty}},
            "MediaResult": {"OutputFile": {"ObjectName": empty, "Md5Info": empty}},
            "Output": empty,
            "UserData": empty,
        }
        job = job_of({"JobsDetail": [JOB_JSON | {"Operation": operation, "Input": empty, "Workflow": empty}]})
        assert job.input is None
        assert job.workflow == ()
        assert job.operation is not None
        assert find_tree(job.operation, "Output") == {}
        assert job.user_data is None
        assert job.operation["JobLevel"] == "0"
        assert job_result(job)["outputs"] == {}

    @pytest.mark.parametrize("empty", EMPTY, ids=repr)
    @pytest.mark.parametrize("event", [{"EventName": "TaskFinish"}, {}], ids=["event", "no event"])
    def test_no_jobs(self, empty: Any, event: dict[str, str]) -> None:
        callback = parse_callback(as_json(event | {"JobsDetail": empty, "NonExistJobIds": [OTHER_ID]}))
        assert callback == Callback(event_name=event.get("EventName"))
        assert callback.job_ids == ()

    def test_no_jobs_in_xml(self) -> None:
        assert parse_callback(b"<Response><JobsDetail/></Response>") == Callback()

    def test_single_objects_instead_of_lists(self) -> None:
        written = {"ObjectName": "out/a.mp3", "Md5Info": {"ObjectName": "out/a.mp3", "Md5": "aa"}}
        operation = {
            "MediaResult": {"OutputFile": written},
            "MediaInfo": {"Stream": {"Audio": {"SampleRate": "8000"}}},
        }
        job = job_of({"JobsDetail": {"JobId": "j1", "Operation": operation, "Workflow": {"RunId": "i1"}}})
        assert job.operation == {
            "MediaResult": {
                "OutputFile": {
                    "ObjectName": ["out/a.mp3"],
                    "Md5Info": [{"ObjectName": "out/a.mp3", "Md5": "aa"}],
                }
            },
            "MediaInfo": {"Stream": {"Audio": [{"SampleRate": "8000"}]}},
        }
        assert job.workflow == (Workflow(run_id="i1"),)

    def test_a_list_where_one_is_expected(self) -> None:
        job = job_of({"JobsDetail": [{"JobId": ["j1", "j2"], "Operation": [{"Output": [{"Object": "a"}]}]}]})
        assert job.job_id == "j1"
        assert job.operation == {"Output": {"Object": "a"}}

    def test_several_jobs(self) -> None:
        callback = parse_callback(
            as_json({"JobsDetail": [{"JobId": "j1"}, {"JobId": "j2"}, {"JobId": "j1"}]})
        )
        assert [job.job_id for job in callback.jobs] == ["j1", "j2", "j1"]
        assert callback.job_ids == ("j1", "j2")

    def test_numbers_may_replace_strings(self) -> None:
        operation = {"JobLevel": 2, "FlashAsr": True}
        job = job_of({"JobsDetail": [{"JobId": "j1", "Progress": 100, "Operation": operation}]})
        assert job.progress == 100
        assert job.operation == {"JobLevel": "2", "FlashAsr": "true"}

    def test_names_with_underscores_are_read(self) -> None:
        words = {"sentence_list": [{"text": "a"}]}
        operation = {"SpeechRecognitionResult": {"FlashResult": words}}
        job = job_of({"JobsDetail": {"JobId": "j1", "Operation": operation}})
        assert job.operation == {"SpeechRecognitionResult": {"FlashResult": [words]}}

    def test_unknown_parts_are_skipped(self) -> None:
        extra = {"a b": 1, "": 2, "New": {"Deep": [1, {"x": True}]}, "<x>": "y", "xmlns:a": "b", "人": "声"}
        assert parse_callback(as_json(JSON | extra)) == parse_callback(as_json(JSON))

    def test_an_object_wrapped_as_xml_is(self) -> None:
        assert parse_callback(as_json({"Response": JSON})) == parse_callback(as_json(JSON))

    @pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n"])
    def test_a_byte_order_mark_and_blanks(self, before: bytes) -> None:
        assert parse_callback(before + as_json(JSON)) == parse_callback(as_json(JSON))
        without_declaration = XML[XML.index("<Response>") :].encode()
        assert parse_callback(before + without_declaration) == parse_callback(XML.encode())

    @pytest.mark.parametrize(
        ("written", "read_as"),
        [
            (b"a\\u001b[31mb", "a\ufffd[31mb"),
            (b"\\u0000", "\ufffd"),
            (b"\\ud800", "\ufffd"),
            (b"\\ufffe\\uffff", "\ufffd\ufffd"),
            (b"\\ud83c\\udfb5", "\U0001f3b5"),
            (b"a\x1bb", "a\ufffdb"),
            (b"a\x00b", "a\ufffdb"),
            (b"a\tb", "a\tb"),
            ("\xe4".encode("latin-1"), "\ufffd"),
            ("人".encode()[:2], "\ufffd"),
        ],
        ids=ascii,
    )
    def test_characters_that_xml_cannot_carry(self, written: bytes, read_as: str) -> None:
        body = b'{"JobsDetail": [{"JobId": "j1", "Message": "' + written + b'", "State": "Failed"}]}'
        (job,) = parse_callback(body).jobs
        assert (job.job_id, job.message, job.state) == ("j1", read_as, "Failed")

    @pytest.mark.parametrize("spoilt", [b"\x1b", b"&#x1b;", b"\xff", b"&#xD800;"], ids=ascii)
    def test_characters_that_xml_cannot_carry_in_xml(self, spoilt: bytes) -> None:
        body = b"\n<?xml version='1.0'?><Response><JobsDetail><JobId>j1</JobId><Message>" + spoilt
        (job,) = parse_callback(body + b"</Message></JobsDetail></Response>").jobs
        assert (job.job_id, job.message) == ("j1", "\ufffd")

    def test_strings_are_kept_unchanged(self) -> None:
        text = '人声 <a>&amp; "\\ \u2028'
        assert job_of({"JobsDetail": {"JobId": "j1", "Message": text}}).message == text


REFUSED = {
    "nothing": b"",
    "whitespace": b" \n",
    "text": b"hello",
    "a form": b"EventName=TaskFinish&JobId=j1",
    "html": b"<html><body>Hello</body></html>",
    "another document": b"<Error><Code>SlowDown</Code></Error>",
    "xml of nothing": b"<Response/>",
    "xml of something else": b"<Response><MediaInfo/></Response>",
    "cut off xml": XML.encode()[:-5],
    "cut off json": as_json(JSON)[:-5],
    "json of nothing": b"{}",
    "json of something else": b'{"Hello": "World"}',
    "a json list": as_json([JSON]),
    "a json text": b'"TaskFinish"',
    "a json number": b"1",
    "utf-16": XML.encode("utf-16"),
    "document type": b'<!DOCTYPE Response [<!ENTITY a "b">]><Response><EventName>&a;</EventName></Response>',
    "external entity": b'<!DOCTYPE Response SYSTEM "file:///etc/passwd"><Response><EventName/></Response>',
    "deep xml": b"<Response>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</Response>",
    "deep json": b'{"EventName": ' * 40 + b'"x"' + b"}" * 40,
    "very deep json": b'{"a":' * 100_000,
    "very deep list": b"[" * 100_000,
    "a number without end": b'{"EventName": ' + b"9" * 10_000 + b"}",
    "too large": b'{"EventName": "' + b"x" * callbacks.MAX_BYTES + b'"}',
    "another root": b"<Request><EventName>TaskFinish</EventName></Request>",
    "a root of a long name": b"<" + b"x" * 10_000 + b"/>",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_is_not_a_callback_is_rejected(body: bytes) -> None:
    with pytest.raises(InvalidCallbackError) as caught:
        parse_callback(body)
    assert isinstance(caught.value, TencentCIError | ValueError)
    assert len(str(caught.value)) < 300, "nobody floods the log"


def test_the_largest_that_is_read() -> None:
    body = as_json(JSON)
    padded = body + b" " * (callbacks.MAX_BYTES - len(body))
    assert parse_callback(padded) == parse_callback(body)
    with pytest.raises(InvalidCallbackError, match="16777217 bytes, allowed: 16777216"):
        parse_callback(padded + b" ")


def read_or_refused(body: bytes) -> None:
    try:
        callback = parse_callback(body)
    except InvalidCallbackError:
        return
    assert all(isinstance(job_id, str) and job_id for job_id in callback.job_ids)
    for job in callback.jobs:
        result = job_result(job)
        assert json.loads(json.dumps(result)) == result


NAMES = st.sampled_from(
    [
        *sorted({"EventName", "WorkflowExecution", "Tasks", "Response", *JOB_JSON, *JOB_JSON["Operation"]}),
        *("DigitalWatermark", "SubErrCode", "ObjectName", "Object", "PicProcessResult", "sentence_list"),
        "x y",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("-")
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=30,
)


class TestAnything:
    @given(st.binary(max_size=300))
    def test_bytes(self, body: bytes) -> None:
        read_or_refused(body)

    @given(st.dictionaries(NAMES, VALUES, max_size=5), VALUES)
    def test_json(self, said: dict[str, Any], jobs: Any) -> None:
        read_or_refused(json.dumps(said | {"JobsDetail": jobs}).encode())

    @given(st.data())
    def test_a_valid_body_with_a_replaced_part_is_read_or_rejected(self, data: st.DataObject) -> None:
        body = data.draw(st.sampled_from([XML.encode(), as_json(JSON)]))
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 40)))
        piece = data.draw(
            st.binary(max_size=20) | st.sampled_from([b"<", b">", b"{}", b"[]", b'""', b"null", b"&#0;"])
        )
        read_or_refused(body[:start] + piece + body[end:])

    @given(st.dictionaries(NAMES.filter(str.isidentifier), st.text(max_size=10), min_size=1, max_size=4))
    def test_what_is_written_is_read(self, texts: dict[str, str]) -> None:
        letters = {name: "".join(c for c in text if c.isalnum()) or "x" for name, text in texts.items()}
        message, operation = " ".join(letters.values()), {"VoiceSeparate": letters}
        said = {
            "EventName": "TaskFinish",
            "JobsDetail": {"JobId": "j1", "Message": message, "Operation": operation},
        }
        expected = Job(job_id="j1", message=message, operation=operation)
        for body in (tree_to_bytes(said, "Response"), as_json(said)):
            assert parse_callback(body).jobs == (expected,)


class TestFindingIds:
    """Without reading the rest of a body, which may be large or not what it seems."""

    @pytest.mark.parametrize(
        "body",
        [
            f"<Response>{JOB_XML}</Response>",
            f"<Response><JobId>\n {JOB_ID} </JobId>",  # cut off
            json.dumps({"JobsDetail": {"JobId": JOB_ID}}),
            json.dumps({"JobsDetail": [{"JobId": JOB_ID}, {"JobId": JOB_ID}]}, indent=2),
            f'{{"JobsDetail": [{{"JobId"  :"{JOB_ID}", "Operation": {{"SpeechRecog',
        ],
    )
    def test_in_either_form(self, body: str) -> None:
        assert [*find_job_ids(body.encode())] == [JOB_ID]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\x00\xff",
            b"<JobId></JobId>",
            b"<JobId>../x</JobId>",
            b"<JobId>" + b"a" * 129 + b"</JobId>",
            b'{"JobId": 5}',
            b'{"jobid": "j1"}',
            b"<InventoryTriggerJobId>j1</InventoryTriggerJobId>",
            b" " * HEAD_BYTES + b"<JobId>j1</JobId>",
        ],
    )
    def test_of_something_else_there_are_none(self, body: bytes) -> None:
        assert find_job_ids(body) == {}

    def test_there_are_not_too_many(self) -> None:
        body = "".join(f"<JobId>j{number}</JobId>" for number in range(1000))
        assert [*find_job_ids(body.encode())] == [f"j{number}" for number in range(MAX_JOB_IDS)]

    @given(st.binary(max_size=200))
    def test_any_bytes_can_be_read(self, body: bytes) -> None:
        assert all(len(job_id) <= 128 for job_id in find_job_ids(body))

    def test_they_are_those_that_reading_finds(self) -> None:
        body = f"<Response>{JOB_XML}</Response>".encode()
        assert tuple(find_job_ids(body)) == parse_callback(body).job_ids

    @pytest.mark.parametrize(
        ("said", "named"),
        [
            (
                f"<Input><BucketId>{BUCKET}</BucketId><Object>a</Object><Region>{REGION}</Region></Input>",
                [REGION],
            ),
            (f"<Input><Region>{REGION}</Region><BucketId> {BUCKET}\n</BucketId></Input>", [REGION]),
            (f'"Input": {{"BucketId": "{BUCKET}", "Object": "a", "Region": "{REGION}"}}', [REGION]),
            (f'"WorkflowExecution": {{"BucketId" :"{BUCKET}"}}', [None]),
            (f'"Output": {{"Bucket": "{BUCKET}", "Region": "{REGION}"}}', [REGION]),
            # the nearest
            (
                f"<Region>eu-x</Region><A>{'x' * 99}</A><BucketId>{BUCKET}</BucketId><Region>eu-y</Region>",
                ["eu-y"],
            ),
            (f"<BucketId>{BUCKET}</BucketId><Region>a</Region>", [None]),
            ("<BucketId>media</BucketId>", []),
            (f"<BucketId>{BUCKET}/../x</BucketId>", []),
            ('"BucketId": 5, "Bucket": null', []),
        ],
    )
    def test_where_the_jobs_may_be(self, said: str, named: list[str | None]) -> None:
        for body in (f"<JobId>j1</JobId>{said}", f'{said}, "JobId": "j1"'):
            assert find_job_ids(body.encode()) == {"j1": tuple((BUCKET, region) for region in named)}

    def test_an_output_is_elsewhere_than_the_input(self) -> None:
        body = JOB_XML.replace(f"<Bucket>{BUCKET}", "<Bucket>results-1250000001")
        assert find_job_ids(body.encode()) == {JOB_ID: ((BUCKET, REGION),)}

    def test_there_are_not_too_many_buckets(self) -> None:
        body = "<JobId>j1</JobId>" + "".join(
            f"<BucketId>b{number // 2}-1250000001</BucketId>" for number in range(1000)
        )
        (buckets,) = find_job_ids(body.encode()).values()
        assert [name for name, _ in buckets] == [f"b{number}-1250000001" for number in range(MAX_BUCKETS)]

    def test_a_forged_body_takes_no_longer_than_reading_it(self, mocker: MockerFixture) -> None:
        """It has as many regions and buckets as fit, which are to be compared."""
        distances = mocker.patch.object(callbacks, "abs", create=True, side_effect=abs)
        body = "<JobId>j1</JobId>" + f"<BucketId>{BUCKET}</BucketId>" * 900 + "<Region>abc</Region>" * 1100
        assert len(body) < HEAD_BYTES
        assert find_job_ids(body.encode()) == {"j1": ((BUCKET, "abc"),)}
        assert distances.call_count <= 400
