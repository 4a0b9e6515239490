"""The emulator behaves as a report of ``make live`` says that the service did."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest
from lxml import etree

from airflow_provider_ci.exceptions import PermissionDeniedError, ServiceError
from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import JOB, Client
from tests.emulator.receiver import Receiver
from tests.emulator.unit.test_observed import report
from tests.patience import PATIENCE, wait_until
from tests.recording import SHORT

START = 1_700_000_000.0
HELD = {"queue_seconds": 3600}
RUNNING = {"run_seconds": 3600}
SEPARATION = {
    "Tag": "VoiceSeparate",
    "Input": {"Object": "in/a.mp3"},
    "Operation": {
        "VoiceSeparate": {"AudioMode": "IsAudio"},
        "Output": {"AuObject": "out/v.mp3"},
        "UserData": "mine",
    },
}


class Service:
    """A running emulator, the provider's hook for it, and a plain client."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.hook = TencentCIHook()
        self.raw = Client(emulator)

    def submit(self, job=SEPARATION):
        return self.hook.submit_job(job)[0]

    def listed(self, **filters):
        return [job.job_id for job in self.hook.list_jobs(**filters)]

    def describe(self, job_id):
        (job,) = self.hook.describe_jobs([job_id]).jobs_detail
        return job

    def wait(self, seconds):
        self.emulator.clock.advance(seconds)


@pytest.fixture
def start(monkeypatch):
    """Return a function that starts an emulator with observations, on a virtual clock."""

    @contextmanager
    def run(settings=None, **observed):
        settings = {"skip_processing": True, **(settings or {})}
        with Emulator(clock=VirtualClock(START), as_observed=report(**observed), **settings) as emulator:
            monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
            service = Service(emulator)
            with service.hook:
                service.raw("PUT", "/in/a.mp3", b"no sound")
                yield service

    return run


@pytest.mark.parametrize("in_description", [True, False])
@pytest.mark.parametrize("in_list", [True, False])
def test_user_data_comes_back_where_it_did(start, in_description, in_list):
    with start(user_data_in_description=in_description, user_data_in_list=in_list) as service:
        submitted = service.submit()
        (listed,) = service.hook.list_jobs()
        expected = "mine" if in_description else None
        assert submitted.user_data == expected
        assert service.describe(submitted.job_id).user_data == expected
        assert listed.user_data == ("mine" if in_list else None)
        assert service.emulator.ledger.accepted_jobs()[0].user_data == "mine"


def test_lists_lag_behind_submissions(start):
    with start(HELD, list_lag_seconds=8) as service:
        job = service.submit()
        service.wait(7)
        assert service.listed() == []
        assert service.describe(job.job_id).state == "Submitted"
        service.wait(1)
        assert service.listed() == [job.job_id]


def test_the_longer_lag_counts_of_report_and_fault_plan(start):
    with start(HELD, list_lag_seconds=8) as service:
        service.emulator.faults.add("list", list_consistency_delay=20)
        job = service.submit()
        service.wait(19)
        assert service.listed() == []
        service.wait(1)
        assert service.listed() == [job.job_id]


def test_lists_lag_behind_the_ends_of_jobs(start):
    with start({"run_seconds": 60}, ended_lag_seconds=30) as service:
        job = service.submit()
        service.wait(89)
        assert service.describe(job.job_id).state == "Success"
        (listed,) = service.hook.list_jobs()
        assert (listed.state, listed.end_time) == ("Running", None)
        assert "MediaResult" not in listed.operation
        assert service.listed(states=["Success"]) == []
        assert service.listed(states=["Success", "Running"]) == [job.job_id]
        assert service.listed(states=["Running"]) == [job.job_id]
        service.wait(1)
        assert service.listed(states=["Success"]) == [job.job_id]
        assert service.listed(states=["Running"]) == []
        (listed,) = service.hook.list_jobs()
        assert listed.end_time is not None


def test_a_list_does_not_see_a_cancellation_at_once(start):
    with start(HELD, ended_lag_seconds=30) as service:
        job = service.submit()
        service.hook.cancel_jobs([job.job_id])
        assert service.describe(job.job_id).state == "Cancel"
        (listed,) = service.hook.list_jobs(states=["Submitted"])
        assert (listed.job_id, listed.state) == (job.job_id, "Submitted")


@pytest.mark.parametrize("order", ["honoured", "ignored"])
def test_the_order_of_lists(start, order):
    with start(HELD, list_order_by_time_asc=order) as service:
        ids = []
        for _ in range(3):
            ids.append(service.submit().job_id)
            service.wait(1)
        assert service.listed(order_by_time="Desc", size=1) == ids[::-1]
        assert service.listed(order_by_time="Asc", size=1) == (ids if order == "honoured" else ids[::-1])


@pytest.mark.parametrize("included", [True, False])
def test_the_ends_of_lists(start, included):
    with start(HELD, list_ends_included=included) as service:
        ids = []
        for _ in range(3):
            ids.append(service.submit().job_id)
            service.wait(1)
        first, last = (datetime.fromtimestamp(START + seconds, UTC) for seconds in (0, 2))
        listed = service.listed(start_creation_time=first, end_creation_time=last)
        assert listed == (ids[::-1] if included else [ids[1]])


def test_tags_that_can_be_listed(start):
    with start(HELD, listed_tags={"Tts": False, "VocalScore": True, "VoiceSeparate": False}) as service:
        service.submit()
        statuses = {
            tag: service.raw("GET", "/jobs", query=f"tag={tag}")[0].status
            for tag in ("Tts", "VocalScore", "VoiceSeparate", "Transcode", "FillConcat")
        }
    assert statuses == {
        "Tts": 400, "VocalScore": 200, "VoiceSeparate": 400, "Transcode": 200, "FillConcat": 400,
    }  # fmt: skip


def test_an_unknown_job_is_an_error(start):
    unknown = "j" + "0" * 32
    with start(HELD, unknown_job={"status": 404, "code": "NoSuchJob"}) as service:
        job = service.submit()
        assert service.raw.error("GET", f"/jobs/{unknown}")[:2] == (404, "NoSuchJob")
        described = service.hook.describe_jobs([job.job_id, unknown])
        assert described.non_exist_job_ids == (unknown,)


def test_an_unknown_job_is_an_empty_response(start):
    with start(unknown_job={"status": 200, "form": "empty"}) as service:
        _, body = service.raw("GET", f"/jobs/j{'0' * 32}")
        assert len(etree.fromstring(body)) == 0


def test_jobs_that_have_not_begun_cannot_be_cancelled(start):
    with start(HELD, cancel_submitted="refused") as service:
        job = service.submit()
        status, code, message, *_ = service.raw.error("PUT", f"/jobs/{job.job_id}", b"", query="cancel")
        assert (status, code) == (400, "InvalidArgument")
        assert message == f"The job provided can not be modified: {job.job_id}"
        assert service.describe(job.job_id).state == "Submitted"


@pytest.mark.parametrize(
    ("outcome", "response", "state"),
    [
        ({"status": 400, "effect": "none"}, (400, "InvalidArgument"), "Running"),
        ({"status": 403, "effect": "none", "code": "AccessDenied"}, (403, "AccessDenied"), "Running"),
        ({"status": 200, "effect": "none"}, (200, None), "Running"),
        ({"status": 200, "effect": "cancelled"}, (200, None), "Cancel"),
        ({"status": 409, "effect": "cancelled"}, (409, "InvalidArgument"), "Cancel"),
    ],
)
def test_cancelling_a_job_that_runs(start, outcome, response, state):
    with start(RUNNING, cancel_running=outcome) as service:
        job = service.submit()
        service.wait(60)
        assert service.describe(job.job_id).state == "Running"
        answered, body = service.raw("PUT", f"/jobs/{job.job_id}", b"", query="cancel")
        code = etree.fromstring(body).findtext("Code") if body else None
        assert (answered.status, code) == response
        assert service.describe(job.job_id).state == state
        service.wait(7200)
        ended = service.describe(job.job_id)
        assert ended.state == ("Success" if state == "Running" else "Cancel")
        # A job that was cancelled leaves no result
        assert service.raw("GET", "/out/v.mp3")[0].status == (200 if state == "Running" else 404)


@pytest.mark.parametrize(
    ("outcome", "status", "state"),
    [
        ({"status": 403, "effect": "none"}, 403, "Success"),
        ({"status": 200, "effect": "none"}, 200, "Success"),
        ({"status": 200, "effect": "cancelled"}, 200, "Cancel"),
    ],
)
def test_cancelling_a_job_that_has_ended(start, outcome, status, state):
    with start(cancel_ended=outcome) as service:
        job = service.submit()
        service.wait(1)
        assert service.describe(job.job_id).state == "Success"
        assert service.raw("PUT", f"/jobs/{job.job_id}", b"", query="cancel")[0].status == status
        assert service.describe(job.job_id).state == state
        assert service.raw("PUT", f"/jobs/j{'0' * 32}", b"", query="cancel")[0].status == status


def test_one_of_several_jobs_that_cannot_be_cancelled_keeps_the_others(start):
    with start(
        RUNNING | {"queue_max_concurrent": 1}, cancel_running={"status": 403, "effect": "none"}
    ) as service:
        running, waiting = service.submit(), service.submit()
        service.wait(60)
        answered = service.raw.error("PUT", f"/jobs/{waiting.job_id},{running.job_id}", b"", query="cancel")
        assert answered[0] == 403
        assert running.job_id in answered[2]
        assert waiting.job_id not in answered[2]
        assert service.describe(waiting.job_id).state == "Submitted"


def test_progress_may_be_absent(start):
    with start(RUNNING, progress="absent") as service:
        job = service.submit()
        service.wait(60)
        for path, query in ((f"/jobs/{job.job_id}", ""), ("/jobs", "tag=VoiceSeparate")):
            _, body = service.raw("GET", path, query=query)
            (detail,) = etree.fromstring(body).findall("JobsDetail")
            assert detail.findtext("State") == "Running"
            assert detail.find("Progress") is None


NEW = "new-1250000000"


def on_new_bucket(service, body=JOB):
    return service.raw("POST", "/jobs", body, host=f"{NEW}.ci.ap-guangzhou.myqcloud.com")


def make_bucket(service):
    assert service.raw("PUT", "/", b"", host=f"{NEW}.cos.ap-guangzhou.myqcloud.com")[0].status == 200


@pytest.mark.parametrize(
    ("observed", "status", "code"),
    [
        (None, 400, "MediaBucketUnBinded"),
        ({"status": 403, "code": "AccessDenied"}, 403, "AccessDenied"),
        ({"status": 404, "code": "BucketNotBound"}, 404, "BucketNotBound"),
        ("accepted", 200, None),
    ],
)
def test_a_new_bucket_has_no_services(start, observed, status, code):
    with start(**({"unbound_bucket": observed} if observed else {})) as service:
        make_bucket(service)
        answered, body = on_new_bucket(service)
        assert (answered.status, etree.fromstring(body).findtext("Code")) == (status, code)
        assert service.raw("POST", "/jobs", JOB)[0].status == 200  # the bucket of the settings has them


def test_the_hook_explains_a_new_bucket_and_opens_its_service(start):
    with start(unbound_bucket={"status": 403, "code": "MediaBucketUnBinded"}) as service:
        make_bucket(service)
        with pytest.raises(PermissionDeniedError):
            service.hook.submit_job(SEPARATION, bucket=NEW)
        assert (
            service.raw("POST", "/asrbucket", b"", host=f"{NEW}.ci.ap-guangzhou.myqcloud.com")[0].status
            == 200
        )
        job, _ = service.hook.submit_job(SEPARATION, bucket=NEW)
        assert service.hook.describe_jobs([job.job_id], bucket=NEW).jobs_detail[0].job_id == job.job_id


def test_a_bucket_under_the_host_of_another_region(start):
    with start(wrong_region={"status": 404, "code": "NoSuchBucket"}) as service:
        with pytest.raises(ServiceError) as caught:
            list(service.hook.list_jobs(region="ap-beijing"))
        assert (caught.value.status, caught.value.code) == (404, "NoSuchBucket")


def transcode(target, *, key="in/a.mp3", container="mp3", codec=None, more=""):
    audio = f"<Audio><Codec>{codec}</Codec></Audio>" if codec else "<Audio/>"
    job_input = key if key.startswith("<") else f"<Object>{key}</Object>"
    parameters = f"<Container><Format>{container}</Format></Container>{audio}"
    return (
        f"<Request><Tag>Transcode</Tag><Input>{job_input}</Input><Operation>"
        f"<Transcode>{parameters}</Transcode><UserData>mine</UserData>"
        f"<Output><Region>ap-guangzhou</Region><Bucket>demo-1250000000</Bucket><Object>{target}</Object>"
        f"</Output></Operation>{more}</Request>"
    )


def response_to(service, body):
    response, content = service.raw("POST", "/jobs", body)
    return response.status, etree.fromstring(content).findtext("Code")


def run_job(service, body):
    """Submit a job, let it end, and return it as it is described."""
    response, content = service.raw("POST", "/jobs", body)
    assert response.status == 200, content
    job_id = etree.fromstring(content).findtext("JobsDetail/JobId")
    service.wait(1)
    detail = etree.fromstring(service.raw("GET", f"/jobs/{job_id}")[1]).find("JobsDetail")
    assert detail.findtext("State") in ("Success", "Failed")
    return detail


def object_status(service, key):
    return service.raw("HEAD", f"/{key}", host=COS_HOST)[0].status


COS_HOST = "demo-1250000000.cos.ap-guangzhou.myqcloud.com"
LONG = "out/" + "x" * 847
REFUSAL = {"status": 422, "code": "Refused"}


def test_a_result_with_a_key_of_851_bytes_can_be_read_and_deleted(start):
    with start() as service:
        assert run_job(service, transcode(LONG)).findtext("State") == "Success"
        assert object_status(service, LONG) == 200
        assert service.raw("DELETE", f"/{LONG}", host=COS_HOST)[0].status == 204
        assert service.raw.error("GET", f"/{LONG}", host=COS_HOST)[:2] == (400, "KeyTooLong")


def test_a_result_with_a_key_of_851_bytes_is_refused(start):
    with start(long_result_key=REFUSAL) as service:
        assert response_to(service, transcode(LONG)) == (422, "Refused")
        assert response_to(service, transcode(LONG[:850])) == (200, None)


@pytest.mark.parametrize(("observed", "key"), [("literal", "out/${jobId}-a.mp3"), ("removed", "out/-a.mp3")])
def test_a_misspelt_placeholder(start, observed, key):
    with start(misspelt_placeholder=observed) as service:
        detail = run_job(service, transcode("out/${jobId}-a.${ext}"))
        assert detail.findtext("Operation/MediaResult/OutputFile/ObjectName") == key
        assert detail.findtext("Operation/Output/Object") == "out/${jobId}-a.${ext}"
        assert object_status(service, key) == 200


def test_a_misspelt_placeholder_is_refused(start):
    with start(misspelt_placeholder=REFUSAL) as service:
        assert response_to(service, transcode("out/${jobId}.mp3")) == (422, "Refused")
        assert response_to(service, transcode("out/${jobid}.${ext}")) == (200, None)


def test_the_placeholder_of_the_job_id_outside_voice_separation(start):
    with start(placeholder_jobid="literal") as service:
        run_job(service, transcode("out/${jobid}.${ext}"))
        assert object_status(service, "out/${jobid}.mp3") == 200
        separation = run_job(service, JOB.replace("out/v", "out/${jobid}"))
        assert object_status(service, f"out/{separation.findtext('JobId')}.mp3") == 200


@pytest.mark.parametrize("observed", ["overwritten", "kept", REFUSAL])
def test_the_key_of_a_result_that_is_taken(start, observed):
    with start(same_result_key=observed) as service:
        service.raw("PUT", "/out/a.mp3", b"old")
        if observed == REFUSAL:
            assert response_to(service, transcode("out/a.mp3")) == (422, "Refused")
        else:
            assert run_job(service, transcode("out/a.mp3")).findtext("State") == "Success"
        kept = service.raw("GET", "/out/a.mp3")[1] == b"old"
        assert kept == (observed != "overwritten")
        assert run_job(service, transcode("out/b.mp3")).findtext("State") == "Success"
        assert object_status(service, "out/b.mp3") == 200


@pytest.mark.parametrize("skip_processing", [True, False])
def test_a_format_that_cannot_be_read(start, skip_processing):
    observed = {"ogg": False, "mp3": True}
    with start({"skip_processing": skip_processing}, input_formats=observed) as service:
        for key in ("in/a.ogg", "in/b.mp3", "in/c.wav"):
            service.raw("PUT", f"/{key}", SHORT.read_bytes())
        job = run_job(service, transcode("out/a.mp3", key="in/a.ogg"))
        assert (job.findtext("State"), job.findtext("Code")) == ("Failed", "ResourceNotSupported")
        for key in ("in/b.mp3", "in/c.wav"):
            assert run_job(service, transcode("out/a.mp3", key=key)).findtext("State") == "Success"


def test_a_codec_that_a_container_does_not_take(start):
    with start(codec_containers={"mp4": {"mp3": False, "aac": True}}) as service:
        allowed = {
            (container, codec): response_to(service, transcode("out/a", container=container, codec=codec))[0]
            for container, codec in (("mp4", "mp3"), ("mp4", "aac"), ("mp4", "flac"), ("mkv", "mp3"))
        }
    assert allowed == {
        ("mp4", "mp3"): 400, ("mp4", "aac"): 200, ("mp4", "flac"): 200, ("mkv", "mp3"): 200,
    }  # fmt: skip


KAFKA = (
    "<CallBackType>Kafka</CallBackType><CallBackKafkaConfig><Region>ap-guangzhou</Region>"
    "<InstanceId>ckafka-1</InstanceId><Topic>none</Topic></CallBackKafkaConfig>"
)


@pytest.mark.parametrize(("observed", "status"), [("accepted", 200), (REFUSAL, 422)])
def test_callbacks_to_kafka(start, observed, status):
    with start(callback_kafka_config=observed) as service:
        assert response_to(service, transcode("out/a.mp3", more=KAFKA))[0] == status
        assert response_to(service, transcode("out/a.mp3"))[0] == 200


OWN_URL = f"<Url>https://{COS_HOST}/in/short.mp3?q-signature=x</Url>"
RECOGNITION = f"""<Request><Tag>SpeechRecognition</Tag><Input>{OWN_URL}</Input><Operation><SpeechRecognition>
<EngineModelType>16k_en</EngineModelType><ChannelNum>1</ChannelNum></SpeechRecognition><Output>
<Region>ap-guangzhou</Region><Bucket>demo-1250000000</Bucket><Object>out/t.txt</Object></Output></Operation></Request>"""


@pytest.mark.parametrize("observed", [True, False])
def test_the_address_of_an_input(start, observed):
    with start({"skip_processing": False}, input_url=observed) as service:
        service.raw("PUT", "/in/short.mp3", SHORT.read_bytes())
        by_url = transcode("out/a.mp3", key=OWN_URL)
        if observed:
            job = run_job(service, by_url)
            assert (job.findtext("State"), job.findtext("Message")) == ("Success", "")
        else:
            assert response_to(service, by_url) == (400, "InvalidArgument")
        assert response_to(service, RECOGNITION) == (200, None)


@pytest.mark.parametrize("observed", ["both", "Samplerate", "SampleRate"])
def test_the_spelling_of_the_sample_rate_of_noise_reduction(start, observed):
    with start({"skip_processing": False}, samplerate_spelling=observed) as service:
        service.raw("PUT", "/in/short.mp3", SHORT.read_bytes())
        for spelling in ("Samplerate", "SampleRate"):
            target = f"out/{spelling}.wav"
            body = transcode(target, key="in/short.mp3").replace("<Tag>Transcode", "<Tag>NoiseReduction")
            start_of, _, end = body.partition("<Transcode>")
            parameters = f"<NoiseReduction><Format>wav</Format><{spelling}>8000</{spelling}></NoiseReduction>"
            job = run_job(service, start_of + parameters + end.partition("</Transcode>")[2])
            is_known = observed in ("both", spelling)
            assert (job.find(f"Operation/NoiseReduction/{spelling}") is not None) == is_known
            (audio,) = service.hook.media_info(target).stream.audio
            assert audio.sample_rate == (8000 if is_known else 16_000)


def test_errors_for_templates_and_arguments(start):
    invalid, missing = {"status": 422, "code": "1015"}, {"status": 404, "code": "1107"}
    with start(HELD, invalid_argument=invalid, template_not_found=missing) as service:
        unknown = "t" + "0" * 32
        with_template = JOB.replace("<Output>", f"<TemplateId>{unknown}</TemplateId><Output>")
        assert response_to(service, with_template) == (404, "1107")
        assert service.raw.error("DELETE", f"/template/{unknown}")[:2] == (404, "1107")
        assert response_to(service, JOB.replace("IsAudio", "NoSuchMode")) == (422, "1015")
        assert service.raw.error("GET", "/jobs", query="tag=Tts&size=0")[:2] == (422, "1015")
        # Neither an object call nor a cancellation has that error
        assert service.raw.error("GET", "/", query="max-keys=x", host=COS_HOST)[:2] == (
            400,
            "InvalidArgument",
        )
        job = service.submit()
        service.hook.cancel_jobs([job.job_id])
        cancelled = service.raw.error("PUT", f"/jobs/{job.job_id}", b"", query="cancel")
        assert cancelled[:2] == (400, "InvalidArgument")


BATCH = """<Request><Name>batch</Name><Type>Job</Type><Input><Prefix>in/</Prefix></Input><Operation>
<Tag>VoiceSeparate</Tag><UserData>mine</UserData><JobParam><VoiceSeparate><AudioMode>IsAudio</AudioMode>
</VoiceSeparate></JobParam><Output><Region>ap-guangzhou</Region><Bucket>demo-1250000000</Bucket>
<AuObject>out/${InputName}.${ext}</AuObject></Output></Operation></Request>"""


@pytest.mark.parametrize("length", [9, 33, 64])
def test_the_length_of_ids(start, length):
    with start(HELD, job_id_length=length, batch_id_length=length + 1) as service:
        job = service.submit()
        assert len(job.job_id) == length
        assert service.describe(job.job_id).state == "Submitted"
        _, body = service.raw("POST", "/inventorytriggerjob", BATCH)
        batch_id = etree.fromstring(body).findtext("JobsDetail/JobId")
        assert len(batch_id) == length + 1
        assert service.hook.batches.describe(batch_id).jobs_detail[0].job_id == batch_id
        # Tencent's Python SDK with IP= asks the COS host about jobs
        assert service.raw("GET", f"/jobs/{job.job_id}", host=COS_HOST)[0].status == 200


@pytest.mark.parametrize("observed", [True, False])
def test_user_data_of_batch_jobs(start, observed):
    with start(HELD, batch_user_data=observed) as service:
        _, body = service.raw("POST", "/inventorytriggerjob", BATCH)
        created = etree.fromstring(body).find("JobsDetail")
        described = service.raw("GET", f"/inventorytriggerjob/{created.findtext('JobId')}")[1]
        for detail in (created, etree.fromstring(described).find("JobsDetail")):
            assert detail.findtext("Operation/UserData") == ("mine" if observed else None)
        (job,) = service.hook.list_jobs()
        assert job.user_data == "mine"


@pytest.mark.parametrize(
    ("observed", "written"),
    [("+0800", "2023-11-15T06:13:20+0800"), ("+0000", "2023-11-14T22:13:20+0000")],
)
def test_the_offset_of_times(start, observed, written):
    with start(HELD, timestamps_offset=observed) as service:
        job = service.submit()
        assert job.creation_time.timestamp() == START
        detail = etree.fromstring(service.raw("GET", f"/jobs/{job.job_id}")[1]).find("JobsDetail")
        assert detail.findtext("CreationTime") == written
        assert detail.findtext("EndTime") == "-"
        _, body = service.raw("GET", "/asrqueue")
        assert etree.fromstring(body).findtext("QueueList/CreateTime") == written


def test_a_callback_says_what_a_description_says(start):
    with (
        Receiver() as receiver,
        start(user_data_in_description=False, progress="absent", timestamps_offset="+0000") as service,
    ):
        run_job(service, transcode("out/a.mp3", more=f"<CallBack>{receiver.url}</CallBack>"))
        wait_until(lambda: receiver.received)
        detail = etree.fromstring(receiver.received[0].body).find("JobsDetail")
        assert detail.findtext("State") == "Success"
        assert detail.find("Progress") is None
        assert detail.find("Operation/UserData") is None
        assert detail.findtext("CreationTime").endswith("+0000")


@pytest.mark.parametrize("billed", [True, False])
def test_the_ledger_bills_a_cancelled_job_if_the_service_did(start, billed):
    with start(HELD, cancelled_job_billed=billed) as service:
        cancelled, other = service.submit(), service.submit()
        service.hook.cancel_jobs([cancelled.job_id])
        bills = {job.job_id: job.billed for job in service.emulator.ledger.accepted_jobs()}
        assert bills == {cancelled.job_id: billed, other.job_id: True}
        with urlopen(service.emulator.admin_url, timeout=PATIENCE) as page:
            assert f"Paid jobs: {1 + billed}".encode() in page.read()


def test_a_report_may_be_a_file(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report(progress="absent")))
    assert Emulator(as_observed=file).config.observed.progress == "absent"
    with pytest.raises(
        ValueError, match=r"observations\.progress\.observed is 5, allowed: percentage, absent"
    ):
        Emulator(as_observed=report(progress=5))
    with pytest.raises(OSError, match="absent"):
        Emulator(as_observed=Path(tmp_path / "absent.json"))
