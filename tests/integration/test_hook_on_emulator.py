"""The hook's calls on the emulator.

``tests/unit/hooks/test_transports.py`` shows that the asynchronous client sends the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.exceptions import InvalidRequestError, NotFoundError, PermissionDeniedError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.api_request import ApiRequest, parse_response
from airflow_provider_ci.protocol.batches import CancelBatch, CreateBatch, DescribeBatch, ListBatches
from airflow_provider_ci.protocol.jobs import ListJobs
from airflow_provider_ci.protocol.objects import GetMediaInfo, HeadObject
from airflow_provider_ci.protocol.queues import DescribeQueue, ListQueues, UpdateQueue
from airflow_provider_ci.protocol.services import OpenBucket
from airflow_provider_ci.protocol.templates import (
    CreateTemplate,
    DeleteTemplate,
    ListTemplates,
    UpdateTemplate,
)
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service
from tencent_ci_emulator.server import Emulator
from tests.patience import wait_until
from tests.recording import SHORT, SHORT_SECONDS
from tests.unit.hooks.transports import Send, by_hook, by_loop

VOICE = {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3", "Bitrate": 128}}


class _CloseService(ApiRequest[None]):
    """Closes smart audio for the bucket, which the hook does not offer."""

    purpose = "close the service"
    cam_actions = ()

    def http_request(self) -> HttpRequest:
        return HttpRequest(method="DELETE", service=Service.CI, path="/asrbucket")

    def parse(self, response: HttpResponse) -> None:
        parse_response(response, self.purpose)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(buckets=["archive-1250000000", "demo2-1250000000"]) as running:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(running.connection))
        yield running


@pytest.fixture
def hook(emulator: Emulator) -> Iterator[TencentCIHook]:
    hook = TencentCIHook()
    yield hook
    hook.close()


def batch(emulator: Emulator, **given: str) -> dict[str, Any]:
    output = {"Region": emulator.region, "Bucket": emulator.bucket, "AuObject": "out/${jobid}.${ext}"}
    return {
        "Name": "stems",
        "Type": "Job",
        "Input": given,
        "Operation": {"Tag": "VoiceSeparate", "JobParam": {"VoiceSeparate": VOICE}, "Output": output},
    }


def test_templates_are_created_listed_updated_and_deleted(hook: TencentCIHook) -> None:
    def request(name: str, **changes: Any) -> dict[str, Any]:
        audio: dict[str, Any] = {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3"}}
        return {"Tag": "VoiceSeparate", "Name": name, **audio, **changes}

    made = [hook.call(CreateTemplate(request(f"a-{n}_声*"))) for n in range(12)]
    assert hook.call(CreateTemplate(request("b", AudioConfig={}))).name == "b"
    assert [one.name for one in list(hook.pages(ListTemplates(name="a-1", page_size=1)))] == [
        "a-11_声*",
        "a-10_声*",
        "a-1_声*",
    ]
    assert len(list(hook.pages(ListTemplates()))) == 13
    first = made[0].template_id
    with pytest.raises(InvalidRequestError, match="TemplateNameDuplicate"):
        hook.call(CreateTemplate(request("b")))
    updated = hook.call(UpdateTemplate(first, request("c", AudioMode="IsBackground")))
    assert (updated.template_id, updated.parameters["AudioMode"]) == (first, "IsBackground")
    asked = hook.call(ListTemplates(ids=[first, "t0"]))
    assert [one.name for one in asked.template_list] == ["c"]
    assert asked.non_exist_tids.template_id == ("t0",)
    assert [hook.call(DeleteTemplate(first)), hook.call(DeleteTemplate(first))] == [True, False]
    with pytest.raises(NotFoundError, match="TemplateNotFound"):
        hook.call(UpdateTemplate(first, request("c")))


@pytest.mark.parametrize("service", ["asr", "media"])
def test_queues_are_listed_paused_and_resumed(hook: TencentCIHook, service: str) -> None:
    (queue,) = hook.pages(ListQueues(service=service))
    assert (queue.state, queue.max_size) == ("Active", 10000)
    assert list(hook.pages(ListQueues(service=service, state="Paused"))) == []
    described = hook.call(DescribeQueue(queue.queue_id, service))
    assert hook.call(UpdateQueue(queue.queue_id, "Paused", described, service)).state == "Paused"
    resumed = hook.queues.update(queue.queue_id, state="Active", service=service)
    assert (resumed.state, resumed.name) == ("Active", queue.name)
    answer = hook.call(ListQueues(service=service, queue_ids=[queue.queue_id, "p0"]))
    assert (len(answer.queue_list), answer.non_exist_pids) == (1, ("p0",))


def test_a_service_is_opened_once(hook: TencentCIHook, emulator: Emulator) -> None:
    hook.call(_CloseService())
    opened = hook.call(OpenBucket())
    assert (opened.bucket_id, opened.region) == (emulator.bucket, emulator.region)
    assert hook.call(OpenBucket()) is None
    assert hook.call(OpenBucket("media")) is None


def test_objects_are_uploaded_and_looked_at(hook: TencentCIHook) -> None:
    hook.upload_file(SHORT, "in/ä 人.mp3")
    head = hook.call(HeadObject("in/ä 人.mp3"))
    assert (head.size, head.is_archived) == (SHORT.stat().st_size, False)
    info = hook.call(GetMediaInfo("in/ä 人.mp3"))
    assert info.format.duration == pytest.approx(SHORT_SECONDS, abs=0.1)
    assert [stream.codec_name for stream in info.stream.audio] == ["mp3"]
    for call in (HeadObject("in/none"), GetMediaInfo("in/none")):
        with pytest.raises(NotFoundError):
            hook.call(call)
    assert hook.head_object("in/ä 人.mp3") == head
    assert hook.media_info("in/ä 人.mp3") == info


@pytest.mark.parametrize("key", ["jobs", "jobs/x.mp3", "queue", "template/t1"])
def test_keys_that_look_like_calls_are_objects(hook: TencentCIHook, key: str, tmp_path: Path) -> None:
    hook.upload_file(SHORT, key)
    assert hook.head_object(key).size == SHORT.stat().st_size
    assert hook.media_info(key).format.duration == pytest.approx(SHORT_SECONDS, abs=0.1)
    hook.download_file(key, tmp_path / "again.mp3")
    assert (tmp_path / "again.mp3").read_bytes() == SHORT.read_bytes()


@pytest.mark.parametrize("kind", ["Prefix", "Manifest", "UrlFile"])
def test_a_batch_makes_a_job_for_each_input(
    hook: TencentCIHook, emulator: Emulator, kind: str, tmp_path: Path
) -> None:
    hook.upload_file(SHORT, "in/a.mp3")
    names = count()

    def uploaded(text: str) -> str:
        path = tmp_path / str(next(names))
        path.write_text(text, "utf-8")
        hook.upload_file(path, f"lists/{path.name}")
        return f"lists/{path.name}"

    given = {
        "Prefix": lambda: "in/",
        "UrlFile": lambda: uploaded(
            f"https://{emulator.bucket}.cos.{emulator.region}.myqcloud.com/in/a.mp3\nin/none.mp3\n"
        ),
        "Manifest": lambda: uploaded(
            json.dumps({"fileSchema": "Bucket, Key", "files": [{"key": uploaded('"demo","in/a.mp3"\n')}]})
        ),
    }[kind]()
    made = hook.call(CreateBatch(batch(emulator, **{kind: given}))).jobs_detail[0]
    assert made.state == "Submitted"
    wait_until(lambda: hook.call(DescribeBatch(made.job_id)).jobs_detail[0].job_state.is_terminal)
    children = hook.pages(ListJobs(inventory_trigger_job_id=made.job_id, size=1))
    states = {child.input_object: child.state for child in children}
    assert states == {"in/a.mp3": "Success"} | ({"in/none.mp3": "Failed"} if kind == "UrlFile" else {})


def test_batches_are_listed_and_cancelled(hook: TencentCIHook, emulator: Emulator) -> None:
    (queue,) = hook.queues.list()
    hook.queues.update(str(queue.queue_id), state="Paused")
    hook.upload_file(SHORT, "in/a.mp3")
    ids = [hook.call(CreateBatch(batch(emulator, Prefix="in/"))).jobs_detail[0].job_id for _ in range(3)]
    assert [one.job_id for one in hook.pages(ListBatches(size=1, order_by_time="Asc"))] == ids
    assert [one.job_id for one in hook.pages(ListBatches(job_id=ids[1]))] == ids[1:2]
    assert list(hook.pages(ListBatches(name="other"))) == []
    assert hook.call(CancelBatch(ids[0])) is None
    assert hook.call(DescribeBatch(ids[0])).jobs_detail[0].state == "Cancel"
    assert [one.job_id for one in hook.batches.list(states=["Cancel"])] == ids[:1]
    assert hook.call(DescribeBatch("b0")).non_exist_job_ids == ("b0",)
    with pytest.raises(InvalidRequestError, match="can not be modified"):
        hook.call(CancelBatch(ids[0]))


def test_a_template_whose_response_is_lost_is_created_once(hook: TencentCIHook, emulator: Emulator) -> None:
    emulator.faults.add("create_template", nth=1, drop=True, when="after")
    made = hook.templates.create("VoiceSeparate", "stems", {"VoiceSeparate": VOICE})
    assert [one.template_id for one in hook.templates.list()] == [made.template_id]
    assert emulator.ledger.count("create_template") == 1


def test_a_service_whose_response_is_lost_is_opened(hook: TencentCIHook, emulator: Emulator) -> None:
    hook.call(_CloseService())
    emulator.faults.add("open_asr", nth=1, drop=True, when="after")
    assert hook.open_service() is None
    assert emulator.ledger.count("open_asr") == 2


def test_a_batch_without_an_open_service_says_so(hook: TencentCIHook, emulator: Emulator) -> None:
    hook.call(_CloseService())
    with pytest.raises(PermissionDeniedError, match="open the smart audio service"):
        hook.batches.create(batch(emulator, Prefix="in/"))


@pytest.mark.parametrize("send", [by_hook, by_loop])
def test_other_hosts_of_tencent_cloud_are_called(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, send: Send
) -> None:
    connection = emulator.connection
    connection["extra"] |= {"ci_host": "ci.{region}.tencentci.cn", "cos_host": "cos.{region}.tencentcos.cn"}
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(connection))
    hook = TencentCIHook()
    hook.upload_file(SHORT, "in/a.mp3")
    assert hook.download_file("in/a.mp3", tmp_path / "a.mp3").size == SHORT.stat().st_size
    hook.close()
    jobs, head = send("tencent_ci_default", ListJobs(), HeadObject("in/a.mp3"))
    assert jobs.jobs_detail == ()
    assert head.size == SHORT.stat().st_size


@pytest.mark.parametrize("send", [by_hook, by_loop])
@pytest.mark.parametrize("skew", [7200, -7200])
def test_a_wrong_clock_is_corrected_by_the_response_to_a_head(
    hook: TencentCIHook, emulator: Emulator, send: Send, skew: float
) -> None:
    hook.upload_file(SHORT, "in/a.mp3")
    emulator.faults.add("head_object", clock_skew=skew)
    (head,) = send("tencent_ci_default", HeadObject("in/a.mp3"))
    assert head.size == SHORT.stat().st_size
    assert emulator.ledger.count("head_object") == 2
