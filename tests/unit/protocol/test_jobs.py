"""Jobs: states, requests and responses."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import (
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    RequestValidationError,
    ServerError,
    ServiceError,
)
from airflow_provider_ci.protocol.fields import SERVICE_ZONE
from airflow_provider_ci.protocol.jobs import (
    STATES,
    SUBMITTED,
    CancelJobs,
    DescribeJobs,
    Job,
    JobsResponse,
    JobState,
    ListJobs,
    SeenTokens,
    SubmitJob,
    check_job_ids,
    with_output_location,
)
from airflow_provider_ci.protocol.objects import GetObject, PutObject
from airflow_provider_ci.protocol.wire import HttpRequest, Service
from airflow_provider_ci.protocol.xml import parse_document, read

from .builders import BUCKET, ENDPOINT, JOB_ID, OTHER_ID, REGION, error_body, operation, request, response

JOB = f"<JobsDetail><JobId>{JOB_ID}</JobId><State>Submitted</State></JobsDetail>"
SUBMIT = SubmitJob(request())
DESCRIBE = DescribeJobs([JOB_ID])
CANCEL = CancelJobs([JOB_ID])
LIST = ListJobs()
jobs_calls = pytest.mark.parametrize("call", [SUBMIT, DESCRIBE, LIST], ids=["submit", "describe", "list"])
all_calls = pytest.mark.parametrize(
    "call",
    [SUBMIT, DESCRIBE, CANCEL, LIST, GetObject("a"), PutObject("a", "md5")],
    ids=["submit", "describe", "cancel", "list", "get", "put"],
)


# --- requests -----------------------------------------------------------------------------------------------


def test_a_submission_has_exactly_the_documented_body():
    job = request(
        Operation=operation(
            VoiceSeparate={
                "AudioMode": "AudioAndBackground",
                "AudioConfig": {"Codec": "mp3", "Samplerate": 44100, "Bitrate": "128", "Channels": 2},
            },
            UserData="dag=demo;run=1",
            JobLevel=0,
            TemplateId=None,
        ),
        QueueId="p1",
        CallBack="https://example.org/ci?a=1&b=2",
        CallBackFormat="JSON",
        CallBackType="Url",
    )
    expected = (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        "<Request><Tag>VoiceSeparate</Tag><Input><Object>in/song.mp3</Object></Input><Operation>"
        "<VoiceSeparate><AudioMode>AudioAndBackground</AudioMode><AudioConfig><Codec>mp3</Codec>"
        "<Samplerate>44100</Samplerate><Bitrate>128</Bitrate><Channels>2</Channels></AudioConfig>"
        "</VoiceSeparate><Output><Region>ap-guangzhou</Region><Bucket>media-1250000001</Bucket>"
        "<Object>out/${jobid}/background.${ext}</Object><AuObject>out/${jobid}/voice.${ext}</AuObject>"
        "</Output><UserData>dag=demo;run=1</UserData><JobLevel>0</JobLevel></Operation>"
        "<QueueId>p1</QueueId><CallBack>https://example.org/ci?a=1&amp;b=2</CallBack>"
        "<CallBackFormat>JSON</CallBackFormat><CallBackType>Url</CallBackType></Request>"
    )
    assert SubmitJob(job).http_request() == HttpRequest(
        method="POST", service=Service.CI, path="/jobs", body=expected.encode()
    )


def test_a_submission_escapes_special_characters():
    body = SubmitJob(request(Input={"Object": "人声 <1>&]]>.mp3"})).http_request().body
    assert "<Object>人声 &lt;1&gt;&amp;]]&gt;.mp3</Object>".encode() in body


def test_a_job_that_breaks_a_rule_is_not_sent():
    with pytest.raises(RequestValidationError, match=r"^Nothing was sent: .*Input\.Object.*; .*Bucket"):
        SubmitJob({"Tag": "VoiceSeparate"}).http_request()


def test_only_a_submission_is_not_idempotent():
    assert not SUBMIT.idempotent
    assert all(call.idempotent for call in (DESCRIBE, CANCEL, LIST, GetObject("a"), PutObject("a", "m")))


def test_describe():
    sent = DescribeJobs([JOB_ID, OTHER_ID]).http_request()
    assert sent == HttpRequest(method="GET", service=Service.CI, path=f"/jobs/{JOB_ID},{OTHER_ID}")


def test_cancel():
    sent = CancelJobs([JOB_ID, OTHER_ID]).http_request()
    assert sent == HttpRequest(
        method="PUT", service=Service.CI, path=f"/jobs/{JOB_ID},{OTHER_ID}", params=(("cancel", ""),)
    )


@pytest.mark.parametrize("operation_class", [DescribeJobs, CancelJobs])
@pytest.mark.parametrize(
    ("job_ids", "says"),
    [
        pytest.param([], "job_ids has 0 ids, allowed: 1 to 10", id="none"),
        pytest.param(["j1"] * 11, "job_ids has 11 ids, allowed: 1 to 10", id="eleven"),
        pytest.param(["../queue"], "'../queue'", id="traversal"),
        pytest.param([".."], "'..'", id="dots"),
        pytest.param(["j1,j2"], "'j1,j2'", id="comma"),
        pytest.param(["j1/j2"], "'j1/j2'", id="slash"),
        pytest.param(["j1?cancel"], "'j1?cancel'", id="query"),
        pytest.param(["%2e%2e"], "'%2e%2e'", id="escape"),
        pytest.param([""], "job_id is ''", id="empty"),
        pytest.param(["j1\n"], r"'j1\n'", id="line-feed"),
        pytest.param(["j" * 129], "at most 128", id="long"),
        pytest.param([None], "job_id is None", id="not-a-text"),
        pytest.param(
            ["j1", "a b", "j2", "c d"], "'a b', allowed: letters, digits, _ and -", id="one-of-four"
        ),
    ],
)
def test_bad_ids_never_reach_a_path(operation_class, job_ids, says):
    with pytest.raises(RequestValidationError) as caught:
        operation_class(job_ids).http_request()
    assert says in str(caught.value)


def test_ten_ids_are_allowed_and_all_bad_ones_are_named():
    assert DescribeJobs([f"j{n}" for n in range(10)]).http_request().path.count(",") == 9
    with pytest.raises(RequestValidationError, match=r"'a b'.*; .*'c d'"):
        check_job_ids(["j1", "a b", "c d"])


def test_list_with_everything():
    start, end = datetime(2025, 1, 1, 19, 4, 5, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
    sent = ListJobs(
        tag="VoiceSeparate",
        queue_id="p1",
        workflow_id="w1",
        inventory_trigger_job_id="b1",
        input_object="in/人.mp3",
        states=["Submitted", SUBMITTED],
        order_by_time="Asc",
        start_creation_time=start,
        end_creation_time=end,
        size=10,
        next_token="n/=",
    ).http_request()
    assert (sent.method, sent.service, sent.path, sent.body) == ("GET", Service.CI, "/jobs", b"")
    assert sent.params == (
        ("tag", "VoiceSeparate"),
        ("queueId", "p1"),
        ("workflowId", "w1"),
        ("inventoryTriggerJobId", "b1"),
        ("inputObject", "in/人.mp3"),
        ("states", "Submitted,Submitted"),
        ("orderByTime", "Asc"),
        ("startCreationTime", "2025-01-02T03:04:05+0800"),
        ("endCreationTime", "2025-01-02T08:00:00+0800"),
        ("size", "10"),
        ("nextToken", "n/="),
    )


def test_list_with_defaults():
    assert LIST.http_request().params == (("tag", "VoiceSeparate"), ("orderByTime", "Desc"), ("size", "100"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"states": ["Paused"]}, "states is 'Paused', allowed: Submitted, Running, Success, Failed, Pause"),
        ({"states": "Failed"}, "states is the string 'Failed', allowed: a list"),
        ({"order_by_time": "desc"}, "order_by_time is 'desc', allowed: Desc, Asc"),
        ({"size": 0}, "size is 0, allowed: 1 to 100"),
        ({"size": 101}, "size is 101"),
        ({"start_creation_time": datetime(2025, 1, 1)}, "start_creation_time is datetime"),
        ({"end_creation_time": datetime(2025, 1, 1)}, "allowed: a time with its zone"),
        ({"input_object": "/a"}, "input_object is '/a', allowed: an object key"),
        ({"input_object": "cos://media-1250000001/in/a.mp3"}, "allowed: an object key, here 'in/a.mp3'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_list_arguments_outside_the_documented_values_are_rejected(arguments, says):
    with pytest.raises(RequestValidationError) as caught:
        ListJobs(**arguments).http_request()
    assert says in str(caught.value)


def test_objects():
    assert GetObject("a b/人").http_request() == HttpRequest(
        method="GET", service=Service.COS, path="/a b/人"
    )
    assert PutObject("a", "md5==").http_request() == HttpRequest(
        method="PUT", service=Service.COS, path="/a", headers=(("Content-MD5", "md5=="),)
    )


@pytest.mark.parametrize(
    "call", [GetObject(""), GetObject("/a"), PutObject("/a", "m"), GetObject(1.5), GetObject(["a"])], ids=str
)
def test_object_keys_are_checked(call):
    with pytest.raises(RequestValidationError, match="a key that does not begin with /"):
        call.http_request()


# --- answers ------------------------------------------------------------------------------------------------


@jobs_calls
def test_the_jobs_and_the_request_id_are_read(call):
    answer = call.parse(response(200, f"<Response>{JOB}{JOB}</Response>", x_ci_request_id="NjQ"))
    assert [job.job_id for job in answer.jobs_detail] == [JOB_ID, JOB_ID]
    assert answer.jobs_detail[0].job_state == SUBMITTED
    assert answer.request_id == "NjQ"


def test_the_request_id_of_the_body_is_used_without_header():
    answer = LIST.parse(response(200, "<Response><RequestId>body</RequestId></Response>"))
    assert answer.request_id == "body"


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        pytest.param("", (), id="none"),
        pytest.param("<NonExistJobIds/>", (), id="empty"),
        pytest.param("<NonExistJobIds>a</NonExistJobIds>", ("a",), id="one"),
        pytest.param("<NonExistJobIds>a, b,,</NonExistJobIds>", ("a", "b"), id="commas"),
        pytest.param(
            "<NonExistJobIds>a</NonExistJobIds><NonExistJobIds>b</NonExistJobIds>", ("a", "b"), id="repeated"
        ),
        pytest.param(
            "<NonExistJobIds>a,b</NonExistJobIds><NonExistJobIds>c</NonExistJobIds>",
            ("a", "b", "c"),
            id="both",
        ),
    ],
)
def test_unknown_ids_in_all_their_forms(body, missing):
    answer = DESCRIBE.parse(response(200, f"<Response>{body}</Response>"))
    assert answer.non_exist_job_ids == missing
    assert answer.jobs_detail == ()


@pytest.mark.parametrize(
    ("body", "token"),
    [("<NextToken>n/=</NextToken>", "n/="), ("<NextToken/>", None), ("", None)],
    ids=["token", "empty", "absent"],
)
def test_next_token(body, token):
    assert LIST.parse(response(200, f"<Response>{JOB}{body}</Response>")).next_token == token


@pytest.mark.parametrize(
    "body",
    [
        "<Response/>",
        "<Response><JobsDetail/></Response>",
        "<Response><JobsDetail><JobId/><State>Submitted</State></JobsDetail></Response>",
    ],
    ids=["no-job", "empty-job", "empty-id"],
)
def test_an_accepted_job_must_have_an_id(body):
    with pytest.raises(
        InvalidResponseError, match="Cannot submit the job: the response has no JobId"
    ) as caught:
        SUBMIT.parse(response(200, body, x_ci_request_id="NjQ"))
    assert caught.value.request_id == "NjQ"


@jobs_calls
@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param("", "not well-formed", id="empty"),
        pytest.param("<html><body>Login</body></html>", "the response is <html>, not <Response>", id="xhtml"),
        pytest.param("<!DOCTYPE html><html><br></html>", "document type", id="html"),
        pytest.param("<Request/>", "the response is <Request>, not <Response>", id="wrong-root"),
        pytest.param(f"<Response>{JOB}", "not well-formed", id="truncated"),
        pytest.param(b"\xff\xfe", "not UTF-8", id="binary"),
    ],
)
def test_a_response_that_is_not_documented_is_rejected(call, body, says):
    with pytest.raises(InvalidResponseError) as caught:
        call.parse(response(200, body, x_ci_request_id="NjQ"))
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"Cannot {call.purpose}: ")
    assert (caught.value.status, caught.value.request_id) == (200, "NjQ")


@pytest.mark.parametrize(
    "call", [SUBMIT, DESCRIBE, LIST, CANCEL], ids=["submit", "describe", "list", "cancel"]
)
@pytest.mark.parametrize("root", ["<Error>", "<Error xmlns='urn:x'>"], ids=["plain", "namespace"])
def test_an_error_with_status_200_is_an_error(call, root):
    body = error_body("InvalidArgument").replace("<Error>", root)
    with pytest.raises(InvalidRequestError, match="InvalidArgument") as caught:
        call.parse(response(200, body))
    assert caught.value.status == 200


@all_calls
def test_error_statuses_are_errors_whatever_the_body(call):
    for status in (301, 307, 400, 404, 500, 503):
        for body in ("", "<html>", f"<Response>{JOB}</Response>"):
            with pytest.raises(ServiceError, match=f"^Cannot {call.purpose}") as caught:
                call.parse(response(status, body))
            assert caught.value.status == status


@all_calls
def test_errors_keep_their_type(call):
    with pytest.raises(NotFoundError):
        call.parse(response(404, error_body("NoSuchKey")))
    with pytest.raises(ServerError):
        call.parse(response(500, error_body("InternalError")))


@pytest.mark.parametrize("body", ["", "\r\n", "<Response/>"], ids=["empty", "blank", "response"])
def test_the_response_to_a_cancellation_is_empty(body):
    assert CANCEL.parse(response(200, body)) is None


def test_a_proxys_page_is_an_invalid_response_to_a_cancellation():
    with pytest.raises(InvalidResponseError, match="Cannot cancel jobs"):
        CANCEL.parse(response(200, "<html><br></html>"))


@pytest.mark.parametrize("call", [GetObject("a"), PutObject("a", "m")], ids=["get", "put"])
@pytest.mark.parametrize("status", [200, 204, 206])
def test_responses_about_objects_are_not_parsed(call, status):
    assert call.parse(response(status, b"\x00\xff")) is None


def test_a_string_in_place_of_a_list_is_rejected():
    with pytest.raises(RequestValidationError, match="job_ids is the string 'jabc'"):
        DescribeJobs("jabc").http_request()


@pytest.mark.parametrize("key", ["in/a.mp3\n", "in/\ta", "in/\x7f", "in/\ud800", "/in/a", ""])
def test_an_input_object_that_is_not_a_key_is_rejected_by_the_list(key):
    with pytest.raises(RequestValidationError, match="input_object"):
        ListJobs(input_object=key).http_request()


# --- what XML cannot carry ----------------------------------------------------------------------------------

UNREADABLE = pytest.mark.parametrize(
    "message", [b"a&#x1b;b", b"a\x1bb", b"a\xffb", b"a&#0;b", b"a&#xFFFE;b", b"a&#xD800;b"], ids=ascii
)


@UNREADABLE
def test_a_message_that_xml_cannot_carry_hides_no_other_job(message):
    unreadable = (
        b"<JobsDetail><JobId>j2</JobId><State>Failed</State><Message>" + message + b"</Message></JobsDetail>"
    )
    body = b"\n<?xml version='1.0'?><Response>" + JOB.encode() + unreadable + JOB.encode() + b"</Response>"
    answer = DESCRIBE.parse(response(200, body))
    assert [job.job_id for job in answer.jobs_detail] == [JOB_ID, "j2", JOB_ID]
    assert answer.jobs_detail[1].message == "a\ufffdb"
    assert answer.jobs_detail[1].job_state == "Failed"


@UNREADABLE
def test_an_error_whose_message_xml_cannot_carry_keeps_its_code(message):
    body = (
        b" <?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>" + message + b"</Message></Error>"
    )
    with pytest.raises(NotFoundError) as caught:
        DESCRIBE.parse(response(404, body))
    assert (caught.value.code, caught.value.service_message) == ("NoSuchBucket", "a\ufffdb")


DOCUMENTED = """<?xml version="1.0" encoding="utf-8"?>
<Response>
  <JobsDetail>
    <Code>Success</Code><CreationTime>2025-01-02T03:04:05+0800</CreationTime>
    <EndTime>2025-01-02T03:05:05+0800</EndTime>
    <Input><BucketId>media-1250000001</BucketId><CosHeaders/><Object>in/song.mp3</Object>
      <Region>ap-guangzhou</Region></Input>
    <JobId>j1</JobId><Message/>
    <Operation>
      <JobLevel>0</JobLevel>
      <MediaInfo>
        <Format><Bitrate>128.034</Bitrate><Duration>4.20</Duration><FormatLongName>MP2/3</FormatLongName>
          <FormatName>mov,mp4,m4a</FormatName><NumProgram>0</NumProgram><NumStream>1</NumStream>
          <Size>67230</Size><StartTime>0.025057</StartTime></Format>
        <Stream>
          <Audio><Channel>2</Channel><ChannelLayout>stereo</ChannelLayout><CodecName>mp3</CodecName>
            <Index>0</Index><SampleRate>44100</SampleRate></Audio>
          <Audio><Index>0</Index></Audio>
          <Subtitle/><Video/>
        </Stream>
      </MediaInfo>
      <MediaResult><OutputFile><Bucket>media-1250000001</Bucket>
        <Md5Info><Md5>aa</Md5><ObjectName>out/voice.mp3</ObjectName></Md5Info>
        <Md5Info><Md5>bb</Md5><ObjectName>out/background.mp3</ObjectName></Md5Info>
        <ObjectName>out/voice.mp3</ObjectName><ObjectName>out/background.mp3</ObjectName>
        <ObjectPrefix/><Region>ap-guangzhou</Region></OutputFile></MediaResult>
      <Output><AuObject>out/voice.${ext}</AuObject><Bucket>media-1250000001</Bucket>
        <Object>out/background.${ext}</Object><Region>ap-guangzhou</Region></Output>
      <UserData>some-data</UserData>
      <VoiceSeparate><AudioConfig><Bitrate/><Codec>mp3</Codec></AudioConfig>
        <AudioMode>AudioAndBackground</AudioMode></VoiceSeparate>
    </Operation>
    <Progress>100</Progress><QueueId>p1</QueueId><StartTime>-</StartTime><State>Success</State>
    <Tag>VoiceSeparate</Tag><Workflow/>
  </JobsDetail>
</Response>"""


def test_all_of_a_documented_response_is_read():
    (job,) = read(JobsResponse, parse_document(DOCUMENTED.encode())).jobs_detail
    operation = job.operation
    assert (job.job_id, job.state, job.progress, job.queue_id) == ("j1", "Success", 100, "p1")
    assert job.creation_time == datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE)
    assert (job.start_time, job.message) == (None, None)
    assert job.workflow == ()
    assert job.input == {
        "BucketId": "media-1250000001",
        "CosHeaders": [],
        "Object": "in/song.mp3",
        "Region": "ap-guangzhou",
    }
    assert (job.input_object, job.user_data) == ("in/song.mp3", "some-data")
    assert operation is not None
    assert [*operation] == ["JobLevel", "MediaInfo", "MediaResult", "Output", "UserData", "VoiceSeparate"]
    assert operation["JobLevel"] == "0"
    assert operation["VoiceSeparate"] == {
        "AudioConfig": {"Bitrate": "", "Codec": "mp3"},
        "AudioMode": "AudioAndBackground",
    }
    assert operation["MediaInfo"]["Format"]["Size"] == "67230"
    streams = operation["MediaInfo"]["Stream"]
    assert [audio.get("SampleRate") for audio in streams["Audio"]] == ["44100", None]
    assert streams["Video"] == []
    files = operation["MediaResult"]["OutputFile"]
    assert files["ObjectName"] == ["out/voice.mp3", "out/background.mp3"]
    assert [info["Md5"] for info in files["Md5Info"]] == ["aa", "bb"]


def test_a_job_can_be_copied_without_the_document():
    job, expected = (read(JobsResponse, parse_document(DOCUMENTED.encode())).jobs_detail[0] for _ in "12")
    for same in (copy.deepcopy(job), pickle.loads(pickle.dumps(job))):
        assert same == expected
        assert type(same.operation) is dict


def test_an_output_without_location_gets_that_of_the_bucket():
    def located(output: Any) -> Any:
        job = {"Tag": "FileUncompress", "Operation": {"Output": output}}
        return with_output_location(job, ENDPOINT)["Operation"]["Output"]

    other = {"Bucket": "other-1250000001", "Region": "ap-beijing"}
    assert located({"Object": "a"}) == {"Object": "a", "Region": REGION, "Bucket": BUCKET}
    assert located({"Bucket": "", "Region": None}) == {"Region": REGION, "Bucket": BUCKET}
    assert located({}) == {"Region": REGION, "Bucket": BUCKET}
    assert located(other) == other
    assert located(None) is None
    assert with_output_location({"Tag": "MediaInfo"}, ENDPOINT) == {"Tag": "MediaInfo"}


@pytest.mark.parametrize(
    ("state", "known", "terminal", "successful", "waiting"),
    [
        ("Submitted", True, False, False, True),
        ("Running", True, False, False, False),
        ("Success", True, True, True, False),
        ("Failed", True, True, False, False),
        ("Pause", True, False, False, True),
        ("Cancel", True, True, False, False),
        ("Canceled", False, False, False, False),
        ("success", False, False, False, False),
        ("Done", False, False, False, False),
        ("", False, False, False, False),
    ],
)
def test_states(state, known, terminal, successful, waiting):
    value = Job(state=state).job_state
    assert value == state
    assert (value.is_known, value.is_terminal, value.is_successful, value.is_waiting) == (
        known,
        terminal,
        successful,
        waiting,
    )


def test_a_missing_or_padded_state():
    assert Job().job_state == ""
    assert Job(state=" Success\n").job_state.is_successful


def test_states_survive_copies():
    assert len(STATES) == 6
    for state in STATES:
        for same in (pickle.loads(pickle.dumps(state)), copy.deepcopy(state), JobState(str(state))):
            assert same == state
            assert type(same) is JobState


def test_a_callbacks_secret_is_not_in_the_repr():
    assert "hunter2" not in repr(SubmitJob(request(CallBack="https://h/?hunter2")))


def test_what_only_the_sdks_know_of_jobs_is_kept():
    elements = "".join(
        f"<{kind}><CreationTime>2021-09-01T00:00:00.000000Z</CreationTime></{kind}>"
        for kind in ("Video", "Audio", "Subtitle")
    )
    text = (
        "<Response><JobsDetail><QueueType>Speeching</QueueType><Operation><MediaInfo><Stream>"
        f"{elements}</Stream></MediaInfo></Operation></JobsDetail></Response>"
    )
    (job,) = read(JobsResponse, parse_document(text.encode())).jobs_detail
    assert job.queue_type == "Speeching"
    assert job.operation is not None
    expected = [{"CreationTime": "2021-09-01T00:00:00.000000Z"}]
    streams = job.operation["MediaInfo"]["Stream"]
    assert streams == dict.fromkeys(("Video", "Audio", "Subtitle"), expected)


def test_a_list_of_many_pages_holds_its_tokens_once():
    first = SeenTokens()
    tokens = first
    for number in range(10_000):
        tokens = tokens.with_token(str(number))
        assert tokens._positions is first._positions, "nothing was copied"
    assert "9999" in tokens
    assert "10000" not in tokens
    assert "0" not in first


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abcdef")), max_size=30))
def test_tokens_are_those_of_the_pages_before_although_a_page_was_requested_again(steps):
    """Each step continues from any page before: the second response to a page may differ from the first."""
    made = [(SeenTokens(), frozenset())]
    for back, token in steps:
        tokens, expected = made[max(len(made) - 1 - back, 0)]
        if token in expected:
            continue
        made.append((tokens.with_token(token), expected | {token}))
        for each, right in made:
            assert {one for one in "abcdef" if one in each} == right
