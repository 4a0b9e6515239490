"""The calls about batch jobs: what is sent, what is refused, and what answers become."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_ci.exceptions import InvalidRequestError, InvalidResponseError, RequestValidationError
from airflow_provider_ci.protocol.batches import (
    BatchesResponse,
    BatchJob,
    CancelBatch,
    CreateBatch,
    DescribeBatch,
    ListBatches,
)
from airflow_provider_ci.protocol.wire import HttpRequest, Service

from .builders import BUCKET, REGION, error_body, parsed, response

OUTPUT = {"Region": REGION, "Bucket": BUCKET, "AuObject": "out/${InputName}-${jobid}.${ext}"}
OPERATION: dict[str, Any] = {
    "Tag": "VoiceSeparate",
    "JobParam": {"VoiceSeparate": {"AudioMode": "IsAudio"}},
    "Output": OUTPUT,
}
BOTH = {"VoiceSeparate": {"AudioMode": "AudioAndBackground"}}
BATCH: dict[str, Any] = {
    "Name": "stems-1_声",
    "Type": "Job",
    "Input": {"Prefix": "in/"},
    "Operation": OPERATION,
}
DETAIL = "<JobsDetail><JobId>b1</JobId><State>Submitted</State></JobsDetail>"


def changed(**operation: Any) -> dict[str, Any]:
    return BATCH | {"Operation": OPERATION | operation}


def test_what_is_sent():
    batch = changed(
        TimeInterval={"Start": "2025-01-01T00:00:00+0800"},
        UserData="mine",
        JobLevel=1,
        CallBack="https://example.org/ci",
    )
    sent = CreateBatch(batch).http_request()
    assert (sent.method, sent.service, sent.path) == ("POST", Service.CI, "/inventorytriggerjob")
    assert sent.body.decode().partition("\n")[2] == (
        "<Request><Name>stems-1_声</Name><Type>Job</Type><Input><Prefix>in/</Prefix></Input><Operation>"
        "<Tag>VoiceSeparate</Tag><JobParam><VoiceSeparate><AudioMode>IsAudio</AudioMode></VoiceSeparate>"
        "</JobParam><Output><Region>ap-guangzhou</Region><Bucket>media-1250000001</Bucket>"
        "<AuObject>out/${InputName}-${jobid}.${ext}</AuObject></Output>"
        "<TimeInterval><Start>2025-01-01T00:00:00+0800</Start></TimeInterval><UserData>mine</UserData>"
        "<JobLevel>1</JobLevel><CallBack>https://example.org/ci</CallBack></Operation></Request>"
    )


def test_the_other_calls():
    def ci(method, path, *params):
        return HttpRequest(method=method, service=Service.CI, path=path, params=params)

    assert DescribeBatch("b1").http_request() == ci("GET", "/inventorytriggerjob/b1")
    assert CancelBatch("b1").http_request() == ci("PUT", "/inventorytriggerjob/b1", ("cancel", ""))
    assert ListBatches().http_request() == ci(
        "GET", "/inventorytriggerjob", ("type", "Job"), ("orderByTime", "Desc"), ("size", "100")
    )
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    assert ListBatches(
        type="Workflow",
        workflow_id="w1",
        job_id="b1",
        name="n",
        states=["Running"],
        start_creation_time=moment,
        end_creation_time=moment,
        size=5,
        next_token="t",
    ).http_request().params == (
        ("type", "Workflow"),
        ("workflowId", "w1"),
        ("jobId", "b1"),
        ("name", "n"),
        ("states", "Running"),
        ("orderByTime", "Desc"),
        ("startCreationTime", "2025-01-01T08:00:00+0800"),
        ("endCreationTime", "2025-01-01T08:00:00+0800"),
        ("size", "5"),
        ("nextToken", "t"),
    )


def test_only_a_creation_must_not_be_repeated_and_it_may_expire():
    calls = [CreateBatch(BATCH), DescribeBatch("b"), CancelBatch("b"), ListBatches()]
    assert [call.idempotent for call in calls] == [False, True, True, True]
    assert (CreateBatch(BATCH, 5.0).expires_at, CreateBatch(BATCH).expires_at) == (5.0, None)


def test_other_types_of_jobs_have_their_own_rules():
    output = {"Region": REGION, "Bucket": BUCKET, "Object": "out/${jobid}-${Number}.jpg"}
    operation = {"Tag": "Snapshot", "JobParam": {"Snapshot": {"Count": 3}}, "Output": output}
    sent = CreateBatch(BATCH | {"Operation": operation}).http_request().body
    assert b"<JobParam><Snapshot><Count>3</Count></Snapshot></JobParam>" in sent
    CreateBatch(BATCH | {"Operation": operation | {"Tag": "NewType", "JobParam": None}}).http_request()
    CreateBatch(BATCH | {"Operation": {"Tag": "VideoTag", "JobParam": {"VideoTag": {}}}}).http_request()


class TestRefused:
    @pytest.mark.parametrize(
        ("batch", "says"),
        [
            (
                BATCH | {"Name": "a*"},
                "Name is 'a*', allowed: Chinese, letters, digits, _ -, at most 128",
            ),
            (BATCH | {"Name": None}, "Name is None"),
            (BATCH | {"Name": "a" * 129}, "at most 128"),
            (BATCH | {"Type": "Workflow"}, "Type is 'Workflow', allowed: Job"),
            (BATCH | {"Input": None}, "Input has nothing, allowed: exactly one of Manifest, UrlFile"),
            (
                BATCH | {"Input": {"Prefix": "in/", "Manifest": "m"}},
                "Input has Manifest, Prefix, allowed: exactly one",
            ),
            (BATCH | {"Input": {"Prefix": ""}}, "Input.Prefix is ''"),
            (BATCH | {"Input": {"Prefix": "/in"}}, "Input.Prefix is '/in'"),
            (BATCH | {"Input": {"Prefix": "in/\n"}}, "Input.Prefix is"),
            (BATCH | {"Input": {"UrlFile": ""}}, "Input.UrlFile is ''"),
            (
                BATCH | {"Input": {"Prefix": "声" * 284}},
                "Input.Prefix has 852 bytes in UTF-8, allowed",
            ),
            (BATCH | {"Input": {"Object": "x" * 851}}, "Input.Object has 851 bytes in UTF-8"),
            (BATCH | {"Input": {"Prefix": 5}}, "Input.Prefix is 5, allowed: a string"),
            (changed(Tag=None), "Operation.Tag is None, allowed: the type of the job"),
            (
                changed(Tag="VideoEnhance"),
                "Operation.Tag is 'VideoEnhance', allowed: a type of job that batch jobs know",
            ),
            (
                changed(JobParam=None),
                "Operation.JobParam is 'without parameters', allowed: with TemplateId or VoiceSeparate",
            ),
            (
                changed(JobParam={"VoiceSeparate": {"AudioMode": "x"}}),
                "Operation.JobParam.VoiceSeparate.AudioMode is 'x'",
            ),
            (
                changed(JobParam={"TemplateId": "a b"}),
                "Operation.JobParam.TemplateId is 'a b'",
            ),
            (changed(Output=None), "Operation.Output.Bucket is None"),
            (changed(JobLevel=3), "Operation.JobLevel is 3"),
            (changed(UserData="分"), "Operation.UserData is"),
            (BATCH | {"Name": 5}, "Name is 5, allowed: Chinese"),
            (BATCH | {"Operation": "x"}, "Operation.Tag is None"),
            (BATCH | {"Input": [{"Prefix": "in/"}]}, "Input has nothing"),
            (
                changed(Output=OUTPUT | {"AuObject": "${InputName}"}) | {"Input": {"Object": 5}},
                "Input.Object is 5, allowed: a string",
            ),
            (changed(QueueId="p 1"), "Operation.QueueId is 'p 1'"),
            (changed(CallBack="x"), "Operation.CallBack is"),
            (
                changed(TimeInterval={"Start": "yesterday"}),
                "Operation.TimeInterval.Start is 'yesterday', allowed: a time as in 2025-01-01T00:00:00+0800",
            ),
            (changed(TimeInterval={"End": "2025-01-01"}), "Operation.TimeInterval.End is"),
        ],
    )
    def test_what_breaks_a_rule(self, batch, says):
        with pytest.raises(RequestValidationError, match="Nothing was sent") as caught:
            CreateBatch(batch).http_request()
        assert says in str(caught.value)

    @pytest.mark.parametrize(
        "key",
        [
            "out/voice.mp3",
            "out/${InventoryTriggerJobId}.${ext}",
            "${InputPath}/voice.${ext}",
            "out/${InputName}.${ext}",
            "out/${InputNameAndExt}",
            "out/${InputPath}/${InputName}.${ext}",
            "out/${InputPath}${InputNameAndExt}",
            "out/${InputPath}-${InputNameAndExt}",
        ],
    )
    def test_results_that_would_overwrite_each_other(self, key):
        with pytest.raises(
            RequestValidationError,
            match=r"Operation\.Output\.AuObject \(voice\) is .* \$\{jobid\}.* overwrite",
        ):
            CreateBatch(changed(Output=OUTPUT | {"AuObject": key})).http_request()

    @pytest.mark.parametrize(
        "key",
        [
            "${jobid}.${ext}",
            "out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}",
            "out/${InputPath}/${InputNameAndExt}/voice.${ext}",
            "out/${InputNameAndExt}/of/${InputPath}",
        ],
    )
    def test_but_not_keys_of_their_own(self, key):
        CreateBatch(changed(Output=OUTPUT | {"AuObject": key})).http_request()

    def test_one_input_has_a_key_of_its_own_in_any_case(self):
        only = changed(Output=OUTPUT | {"AuObject": "out/a.mp3"}) | {"Input": {"Object": "in/a.mp3"}}
        CreateBatch(only).http_request()

    @pytest.mark.parametrize(
        ("background", "voice"),
        [
            # of other inputs: bg-a.mp3's voice is where a.mp3's background is
            ("out/${InputPath}/bg-${InputNameAndExt}", "out/${InputPath}/${InputNameAndExt}"),
            ("out/${InputPath}/${InputNameAndExt}", "out/${InputPath}/${InputNameAndExt}/${InputName}"),
        ],
    )
    def test_a_voice_where_another_inputs_background_is(self, background, voice):
        output = OUTPUT | {"Object": background, "AuObject": voice}
        with pytest.raises(RequestValidationError, match="one result would overwrite another"):
            CreateBatch(changed(Output=output, JobParam=BOTH)).http_request()

    @pytest.mark.parametrize(
        ("background", "voice"),
        [
            ("out/${InputName}-bg-${jobid}.${ext}", "out/${InputName}-${jobid}.${ext}"),
            ("out/${InputPath}/${InputNameAndExt}/b", "out/${InputPath}/${InputNameAndExt}/v"),
            ("bg/${InputPath}/${InputNameAndExt}", "voice/${InputPath}/${InputNameAndExt}"),
            ("out/${InputPath}/bg-${InputNameAndExt}", "out/${InputPath}/voice-${InputNameAndExt}"),
        ],
    )
    def test_voices_and_backgrounds_that_never_meet(self, background, voice):
        output = OUTPUT | {"Object": background, "AuObject": voice}
        CreateBatch(changed(Output=output, JobParam=BOTH)).http_request()

    @pytest.mark.parametrize(
        "source", [{"Prefix": "cos://media-1250000001/in/"}, {"UrlFile": "cos://b/urls.txt"}]
    )
    def test_addresses_for_keys(self, source):
        with pytest.raises(RequestValidationError, match=r"Input\.\w+ is 'cos://.*', allowed: .*, here '"):
            CreateBatch(BATCH | {"Input": source}).http_request()

    def test_the_list_of_inputs_may_be_a_url(self):
        url = "https://media-1250000001.cos.ap-guangzhou.myqcloud.com/urls.txt"
        CreateBatch(BATCH | {"Input": {"UrlFile": url}}).http_request()

    @pytest.mark.parametrize("bad", ["", "b1,b2", "../jobs", "b1\n", None])
    def test_ids_never_reach_a_path(self, bad):
        for call in (DescribeBatch(bad), CancelBatch(bad)):
            with pytest.raises(RequestValidationError, match="job_id is"):
                call.http_request()

    @pytest.mark.parametrize(
        "arguments", [{"type": "All"}, {"states": ["Paused"]}, {"size": 101}, {"order_by_time": "Up"}]
    )
    def test_lists(self, arguments):
        with pytest.raises(RequestValidationError, match=next(iter(arguments))):
            ListBatches(**arguments).http_request()


class TestAnswers:
    def test_a_batch_job(self):
        for call in (CreateBatch(BATCH), DescribeBatch("b1"), ListBatches()):
            answer = call.parse(response(200, f"<Response>{DETAIL}</Response>", x_ci_request_id="NjQ"))
            assert [(batch.job_id, batch.job_state) for batch in answer.jobs_detail] == [("b1", "Submitted")]
            assert answer.request_id == "NjQ"

    @pytest.mark.parametrize("state", ["Submitted", "Running", "Pause", "Strange", ""])
    def test_what_has_not_ended_may_be_cancelled(self, state):
        body = f"<Response><JobsDetail><JobId>b1</JobId><State>{state}</State></JobsDetail></Response>"
        (batch,) = DescribeBatch("b1").parse(response(200, body)).jobs_detail
        assert batch.may_be_cancelled
        for ended in ("Success", "Failed", "Cancel"):
            assert not replace(batch, state=ended).may_be_cancelled

    @pytest.mark.parametrize("body", ["<Response/>", "<Response><JobsDetail/></Response>"])
    def test_an_accepted_one_must_have_an_id(self, body):
        with pytest.raises(InvalidResponseError, match="no JobId"):
            CreateBatch(BATCH).parse(response(200, body))

    @pytest.mark.parametrize("name", ["NonExistJobIds", "NonExistJobId"])
    def test_unknown_ids(self, name):
        body = f"<Response><{name}>b1,b2</{name}><{name}>b3</{name}></Response>"
        assert DescribeBatch("b1").parse(response(200, body)).non_exist_job_ids == ("b1", "b2", "b3")

    def test_pages(self):
        body = f"<Response>{DETAIL}<NextToken>t1</NextToken></Response>"
        call = ListBatches(name="n")
        answer = call.parse(response(200, body))
        following = call.next_page(answer)
        assert following is not None
        assert (following.next_token, following.name) == ("t1", "n")
        assert following.next_page(answer) is None, "it repeats a token"
        assert call.next_page(call.parse(response(200, f"<Response>{DETAIL}</Response>"))) is None
        no_jobs = call.parse(response(200, "<Response><NextToken>t1</NextToken></Response>"))
        assert call.next_page(no_jobs) is None

    def test_a_cancellation(self):
        assert CancelBatch("b1").parse(response(200)) is None
        with pytest.raises(InvalidRequestError):
            CancelBatch("b1").parse(response(200, error_body("InvalidArgument")))


def test_both_spellings_of_unknown_ids_are_read():
    batches = parsed(
        BatchesResponse,
        "<JobsDetail><JobId>b1</JobId><StartTime>-</StartTime><Input><UrlFile>u</UrlFile></Input></JobsDetail>"
        "<NonExistJobId>b2</NonExistJobId><NonExistJobIds>b3</NonExistJobIds><NextToken/>",
    )
    [job] = batches.jobs_detail
    assert (job.job_id, job.start_time, job.input["UrlFile"]) == ("b1", None, "u")
    assert batches.non_exist_job_ids == ("b2", "b3")  # both spellings


def test_what_only_the_sdks_document_is_read():
    batches = parsed(
        BatchesResponse,
        "<JobsDetail><JobId>b1</JobId><Tag>VoiceSeparate</Tag><Progress>40</Progress><QueueId>p1</QueueId>"
        "</JobsDetail>",
    )
    assert batches.jobs_detail[0] == BatchJob(job_id="b1", tag="VoiceSeparate", progress=40, queue_id="p1")
