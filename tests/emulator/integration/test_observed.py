"""The emulator behaves as a report of ``make live`` says that the service did."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from airflow_provider_ci.exceptions import PermissionDeniedError, ServiceError
from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import JOB, Client
from tests.emulator.unit.test_observed import report

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
        assert service.listed(states=["Submitted"]) == [job.job_id]


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
