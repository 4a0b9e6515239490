"""Every call around jobs on the emulator, by the hook and by the asynchronous client: one definition, two
transports.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.exceptions import InvalidRequestError, NotFoundError, PermissionDeniedError
from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.api_request import ApiRequest, parse_response
from airflow_provider_ci.protocol.batches import (
    BatchInput,
    BatchJobParam,
    BatchOperation,
    BatchRequest,
    CancelBatch,
    CreateBatch,
    DescribeBatch,
    ListBatches,
)
from airflow_provider_ci.protocol.jobs import ListJobs, Output
from airflow_provider_ci.protocol.lists import PagedRequest
from airflow_provider_ci.protocol.objects import GetMediaInfo, HeadObject
from airflow_provider_ci.protocol.queues import DescribeQueue, ListQueues, UpdateQueue
from airflow_provider_ci.protocol.services import OpenBucket
from airflow_provider_ci.protocol.templates import (
    CreateTemplate,
    DeleteTemplate,
    ListTemplates,
    TemplateRequest,
    UpdateTemplate,
)
from airflow_provider_ci.protocol.voice_separation import AudioConfig, VoiceSeparate
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service
from tencent_ci_emulator.server import Emulator
from tests.patience import wait_until

MEDIA = Path(__file__).resolve().parents[2] / "example_dags" / "media" / "speech_over_music.mp3"
VOICE = VoiceSeparate(audio_mode="IsAudio", audio_config=AudioConfig(codec="mp3", bitrate=128))


class _CloseService(ApiRequest[None]):
    """Closes smart audio for the bucket, which the hook does not offer."""

    purpose = "close the service"
    cam_actions = ()

    def http_request(self) -> HttpRequest:
        return HttpRequest(method="DELETE", service=Service.CI, path="/asrbucket")

    def parse(self, response: HttpResponse) -> None:
        parse_response(response, self.purpose)


class Sync:
    """Makes a call as the hook does."""

    def __init__(self, hook: TencentCIHook) -> None:
        self.hook = hook

    def call(self, call: ApiRequest[Any]) -> Any:
        return self.hook.call(call)

    def items(self, call: PagedRequest[Any, Any]) -> list[Any]:
        return list(self.hook.pages(call))


class Async(Sync):
    """Makes a call as a trigger does."""

    def call(self, call: ApiRequest[Any]) -> Any:
        async def main() -> Any:
            settings = await load_settings(self.hook.tencent_ci_conn_id)
            async with AsyncClient(settings) as client:
                return await client.call(call, settings.endpoint())

        return asyncio.run(main())

    def items(self, call: PagedRequest[Any, Any]) -> list[Any]:
        async def main() -> list[Any]:
            settings = await load_settings(self.hook.tencent_ci_conn_id)
            async with AsyncClient(settings) as client:
                endpoint = settings.endpoint()
                return [item async for item in client.pages(call, endpoint)]

        return asyncio.run(main())


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


@pytest.fixture(params=[Sync, Async])
def way(request: pytest.FixtureRequest, hook: TencentCIHook) -> Sync:
    made: Sync = request.param(hook)
    return made


def batch(emulator: Emulator, **given: str) -> BatchRequest:
    return BatchRequest(
        name="stems",
        type="Job",
        input=BatchInput(**given),
        operation=BatchOperation(
            tag="VoiceSeparate",
            job_param=BatchJobParam(voice_separate=VOICE),
            output=Output(region=emulator.region, bucket=emulator.bucket, voice_object="out/${jobid}.${ext}"),
        ),
    )


def test_templates(way: Sync) -> None:
    def request(name: str, **changes: Any) -> TemplateRequest:
        audio: dict[str, Any] = {"audio_mode": "IsAudio", "audio_config": AudioConfig(codec="mp3")}
        return TemplateRequest(tag="VoiceSeparate", name=name, **(audio | changes))

    made = [way.call(CreateTemplate(request(f"a-{n}_声*"))) for n in range(12)]
    assert way.call(CreateTemplate(request("b", audio_config=AudioConfig()))).name == "b"
    assert [one.name for one in way.items(ListTemplates(name="a-1", page_size=1))] == [
        "a-11_声*",
        "a-10_声*",
        "a-1_声*",
    ]
    assert len(way.items(ListTemplates())) == 13
    first = made[0].template_id
    with pytest.raises(InvalidRequestError, match="TemplateNameDuplicate"):
        way.call(CreateTemplate(request("b")))
    updated = way.call(UpdateTemplate(first, request("c", audio_mode="IsBackground")))
    assert (updated.template_id, updated.voice_separate.audio_mode) == (first, "IsBackground")
    asked = way.call(ListTemplates(ids=[first, "t0"]))
    assert [one.name for one in asked.template_list] == ["c"]
    assert asked.non_exist_tids.template_id == ("t0",)
    assert [way.call(DeleteTemplate(first)), way.call(DeleteTemplate(first))] == [True, False]
    with pytest.raises(NotFoundError, match="TemplateNotFound"):
        way.call(UpdateTemplate(first, request("c")))


@pytest.mark.parametrize("service", ["asr", "media"])
def test_queues(way: Sync, hook: TencentCIHook, service: str) -> None:
    (queue,) = way.items(ListQueues(service=service))
    assert (queue.state, queue.max_size) == ("Active", 10000)
    assert way.items(ListQueues(service=service, state="Paused")) == []
    described = way.call(DescribeQueue(queue.queue_id, service))
    assert way.call(UpdateQueue(queue.queue_id, "Paused", described, service)).state == "Paused"
    resumed = hook.queues.update(queue.queue_id, state="Active", service=service)
    assert (resumed.state, resumed.name) == ("Active", queue.name)
    answer = way.call(ListQueues(service=service, queue_ids=[queue.queue_id, "p0"]))
    assert (len(answer.queue_list), answer.non_exist_pids) == (1, ("p0",))


def test_a_service_is_opened_once(way: Sync, emulator: Emulator) -> None:
    way.call(_CloseService())
    opened = way.call(OpenBucket())
    assert (opened.bucket_id, opened.region) == (emulator.bucket, emulator.region)
    assert way.call(OpenBucket()) is None
    assert way.call(OpenBucket("media")) is None


def test_objects(way: Sync, hook: TencentCIHook) -> None:
    hook.upload_file(MEDIA, "in/ä 人.mp3")
    head = way.call(HeadObject("in/ä 人.mp3"))
    assert (head.size, head.is_archived) == (MEDIA.stat().st_size, False)
    info = way.call(GetMediaInfo("in/ä 人.mp3"))
    assert info.format.duration == pytest.approx(13, abs=0.2)
    assert [stream.codec_name for stream in info.stream.audio] == ["mp3"]
    for call in (HeadObject("in/none"), GetMediaInfo("in/none")):
        with pytest.raises(NotFoundError):
            way.call(call)
    assert hook.head_object("in/ä 人.mp3") == head
    assert hook.media_info("in/ä 人.mp3") == info


@pytest.mark.parametrize("key", ["jobs", "jobs/x.mp3", "queue", "template/t1"])
def test_objects_whose_keys_look_like_calls(hook: TencentCIHook, key: str, tmp_path: Path) -> None:
    hook.upload_file(MEDIA, key)
    assert hook.head_object(key).size == MEDIA.stat().st_size
    assert hook.media_info(key).format.duration == pytest.approx(13, abs=0.2)
    hook.download_file(key, tmp_path / "again.mp3")
    assert (tmp_path / "again.mp3").read_bytes() == MEDIA.read_bytes()


@pytest.mark.parametrize("kind", ["prefix", "manifest", "url_file"])
def test_batches_over(way: Sync, hook: TencentCIHook, emulator: Emulator, kind: str, tmp_path: Path) -> None:
    hook.upload_file(MEDIA, "in/a.mp3")
    names = count()

    def uploaded(text: str) -> str:
        path = tmp_path / str(next(names))
        path.write_text(text, "utf-8")
        hook.upload_file(path, f"lists/{path.name}")
        return f"lists/{path.name}"

    given = {
        "prefix": lambda: "in/",
        "url_file": lambda: uploaded(
            f"https://{emulator.bucket}.cos.{emulator.region}.myqcloud.com/in/a.mp3\nin/none.mp3\n"
        ),
        "manifest": lambda: uploaded(
            json.dumps({"fileSchema": "Bucket, Key", "files": [{"key": uploaded('"demo","in/a.mp3"\n')}]})
        ),
    }[kind]()
    made = way.call(CreateBatch(batch(emulator, **{kind: given}))).jobs_detail[0]
    assert made.state == "Submitted"
    wait_until(lambda: way.call(DescribeBatch(made.job_id)).jobs_detail[0].job_state.is_terminal)
    children = way.items(ListJobs(inventory_trigger_job_id=made.job_id, size=1))
    states = {child.input.object: child.state for child in children}
    assert states == {"in/a.mp3": "Success"} | ({"in/none.mp3": "Failed"} if kind == "url_file" else {})


def test_batches_are_listed_and_cancelled(way: Sync, hook: TencentCIHook, emulator: Emulator) -> None:
    (queue,) = hook.queues.list()
    hook.queues.update(str(queue.queue_id), state="Paused")
    hook.upload_file(MEDIA, "in/a.mp3")
    ids = [way.call(CreateBatch(batch(emulator, prefix="in/"))).jobs_detail[0].job_id for _ in range(3)]
    assert [one.job_id for one in way.items(ListBatches(size=1, order_by_time="Asc"))] == ids
    assert [one.job_id for one in way.items(ListBatches(job_id=ids[1]))] == ids[1:2]
    assert way.items(ListBatches(name="other")) == []
    assert way.call(CancelBatch(ids[0])) is None
    assert way.call(DescribeBatch(ids[0])).jobs_detail[0].state == "Cancel"
    assert [one.job_id for one in hook.batches.list(states=["Cancel"])] == ids[:1]
    assert way.call(DescribeBatch("b0")).non_exist_job_ids == ("b0",)
    with pytest.raises(InvalidRequestError, match="can not be modified"):
        way.call(CancelBatch(ids[0]))


def test_a_template_whose_answer_is_lost(hook: TencentCIHook, emulator: Emulator) -> None:
    emulator.faults.add("create_template", nth=1, drop=True, when="after")
    made = hook.templates.create("stems", VOICE)
    assert [one.template_id for one in hook.templates.list()] == [made.template_id]
    assert emulator.ledger.count("create_template") == 1


def test_a_binding_whose_answer_is_lost(hook: TencentCIHook, emulator: Emulator) -> None:
    hook.call(_CloseService())
    emulator.faults.add("open_asr", nth=1, drop=True, when="after")
    assert hook.open_service() is None
    assert emulator.ledger.count("open_asr") == 2


def test_what_needs_an_open_service_says_so(hook: TencentCIHook, emulator: Emulator) -> None:
    hook.call(_CloseService())
    with pytest.raises(PermissionDeniedError, match="open the smart audio service"):
        hook.batches.create(batch(emulator, prefix="in/"))


def test_other_hosts_of_tencent_cloud(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connection = emulator.connection
    connection["extra"] |= {"ci_host": "ci.{region}.tencentci.cn", "cos_host": "cos.{region}.tencentcos.cn"}
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(connection))
    hook = TencentCIHook()
    for way in (Sync(hook), Async(hook)):
        assert way.items(ListJobs()) == []
    hook.upload_file(MEDIA, "in/a.mp3")
    assert hook.download_file("in/a.mp3", tmp_path / "a.mp3").size == MEDIA.stat().st_size
    hook.close()


@pytest.mark.parametrize("skew", [7200, -7200])
def test_a_wrong_clock_is_put_right_though_a_head_is_what_meets_it_first(
    way: Sync, hook: TencentCIHook, emulator: Emulator, skew: float
) -> None:
    hook.upload_file(MEDIA, "in/a.mp3")
    emulator.faults.add("head_object", clock_skew=skew)
    assert way.call(HeadObject("in/a.mp3")).size == MEDIA.stat().st_size
    assert emulator.ledger.count("head_object") == 2
