"""What the operator's arguments become, and what it refuses before anything is sent."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, MappedOperator
from lxml import etree

from airflow_provider_ci.exceptions import (
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
    TencentCIError,
)
from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.base_job import TencentCIBaseJobOperator
from airflow_provider_ci.operators.base_request import BaseRequestOperator
from airflow_provider_ci.operators.job_request import JobRequestOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_arguments import VoiceSeparateArguments
from airflow_provider_ci.protocol.wire import Endpoint
from airflow_provider_ci.protocol.xml import tree_to_bytes
from tests.conftest import BUCKET, REGION
from tests.patience import PATIENCE
from tests.scripted_server import Answer, ScriptedServer, error, http, job

LEAST = {"input_object": "in/song.mp3", "voice_object": "out/voice.aac"}
VOICE = "Operation/VoiceSeparate"


def leaves(body: bytes) -> dict[str, str]:
    """Return the texts of a body by their paths."""

    def walk(element: Any, path: str) -> Iterator[tuple[str, str]]:
        for child in element:
            at = f"{path}{child.tag}"
            if len(child):
                yield from walk(child, f"{at}/")
            else:
                yield at, child.text or ""

    return dict(walk(etree.fromstring(body), ""))


def body(**arguments: Any) -> dict[str, str]:
    """Return the texts of the request that an operator builds."""
    operator = VoiceSeparateOperator(task_id="submit", **(LEAST | arguments))
    endpoint = Endpoint(bucket=arguments.get("bucket") or BUCKET, region=arguments.get("region") or REGION)
    return leaves(tree_to_bytes(operator.build_request(endpoint), "Request"))


def test_the_least_that_is_needed() -> None:
    assert body() == {
        "Tag": "VoiceSeparate",
        "Input/Object": "in/song.mp3",
        "Operation/Output/Region": REGION,
        "Operation/Output/Bucket": BUCKET,
        "Operation/Output/AuObject": "out/voice.aac",
        VOICE: "",
    }


MQ = {"mq_region": "gz", "mq_mode": "Topic", "mq_name": "done"}
KAFKA = {"region": "ap-beijing", "instance_id": "ckafka-1", "topic": "done"}
# (arguments, the elements that they add or change)
ARGUMENTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "input_object": ({"input_object": "in/中文 &.mp3"}, {"Input/Object": "in/中文 &.mp3"}),
    "background_object": (
        {"background_object": "out/${jobid}.${ext}"},
        {"Operation/Output/Object": "out/${jobid}.${ext}"},
    ),
    "voice_object": ({"voice_object": "out/v"}, {"Operation/Output/AuObject": "out/v"}),
    "bass_object": ({"bass_object": "out/bass"}, {"Operation/Output/BassObject": "out/bass"}),
    "drum_object": ({"drum_object": "out/drum"}, {"Operation/Output/DrumObject": "out/drum"}),
    "output_bucket": ({"output_bucket": "out-1250000002"}, {"Operation/Output/Bucket": "out-1250000002"}),
    "output_region": ({"output_region": "ap-beijing"}, {"Operation/Output/Region": "ap-beijing"}),
    "template_id": ({"template_id": "t1"}, {"Operation/TemplateId": "t1"}),
    "audio_mode": ({"audio_mode": "IsAudio"}, {f"{VOICE}/AudioMode": "IsAudio"}),
    "codec": ({"codec": "MP3"}, {f"{VOICE}/AudioConfig/Codec": "mp3"}),
    "samplerate": ({"samplerate": 44100}, {f"{VOICE}/AudioConfig/Samplerate": "44100"}),
    "bitrate": ({"bitrate": 128}, {f"{VOICE}/AudioConfig/Bitrate": "128"}),
    "channels": ({"channels": 2}, {f"{VOICE}/AudioConfig/Channels": "2"}),
    "operation": (
        {"operation": {"VoiceSeparate": {"AudioMode": "IsAudio"}, "JobLevel": 1}},
        {f"{VOICE}/AudioMode": "IsAudio", "Operation/JobLevel": "1"},
    ),
    "input_elements": ({"input_elements": {"BucketId": BUCKET}}, {"Input/BucketId": BUCKET}),
    "user_data": ({"user_data": "a=<b>&c"}, {"Operation/UserData": "a=<b>&c"}),
    "job_level": ({"job_level": 0}, {"Operation/JobLevel": "0"}),
    "queue_id": ({"queue_id": "p1"}, {"QueueId": "p1"}),
    "callback_url": ({"callback_url": "https://a.example/b?c=d"}, {"CallBack": "https://a.example/b?c=d"}),
    "callback_format": ({"callback_format": "JSON"}, {"CallBackFormat": "JSON"}),
    "callback_type": ({"callback_type": "Url"}, {"CallBackType": "Url"}),
    "callback_mq_config": (
        {"callback_type": "TDMQ", "callback_mq_config": MQ},
        {
            "CallBackType": "TDMQ",
            "CallBackMqConfig/MqRegion": "gz",
            "CallBackMqConfig/MqMode": "Topic",
            "CallBackMqConfig/MqName": "done",
        },
    ),
    "callback_kafka_config": (
        {"callback_type": "Kafka", "callback_kafka_config": KAFKA},
        {
            "CallBackType": "Kafka",
            "CallBackKafkaConfig/Region": "ap-beijing",
            "CallBackKafkaConfig/InstanceId": "ckafka-1",
            "CallBackKafkaConfig/Topic": "done",
        },
    ),
    "samplerate as rendered": ({"samplerate": "44100"}, {f"{VOICE}/AudioConfig/Samplerate": "44100"}),
    "bitrate as rendered": ({"bitrate": " 128 "}, {f"{VOICE}/AudioConfig/Bitrate": "128"}),
    "channels as rendered": ({"channels": "2"}, {f"{VOICE}/AudioConfig/Channels": "2"}),
    "job_level as rendered": ({"job_level": "2"}, {"Operation/JobLevel": "2"}),
    "template_id without the rest": (
        {"template_id": "t1", "audio_mode": "", "codec": None, "bitrate": ""},
        {"Operation/TemplateId": "t1"},
    ),
}


@pytest.mark.parametrize(("arguments", "elements"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_every_argument_reaches_its_element(arguments: dict[str, Any], elements: dict[str, str]) -> None:
    least = body()
    if any(path.startswith((VOICE, "Operation/TemplateId")) for path in elements):
        del least[VOICE]
    assert body(**arguments) == least | elements


def test_the_table_above_has_every_argument() -> None:
    assert set(own_arguments()) <= set(ARGUMENTS)


def own_arguments() -> list[str]:
    """The arguments that a request is made of."""
    classes = (JobRequestOperator, VoiceSeparateArguments, BaseRequestOperator)
    parameters = [p for each in classes for p in inspect.signature(each.__init__).parameters.values()]
    # Airflow wraps the constructor; what it adds is positional or catches the rest
    names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    # the tag is that of the class, and an address takes the place of the key
    return [name for name in names if name not in ("check_input", "tag", "input_url")]


@pytest.mark.parametrize("empty", ["", None, " "])
def test_an_empty_argument_is_no_argument(empty: str | None) -> None:
    """Responses are read without mere whitespace, so that a job that has it could not be found again."""
    numbers = ("samplerate", "bitrate", "channels", "job_level")
    names = [name for name in own_arguments() if name not in LEAST and not (empty == " " and name in numbers)]
    configs = dict.fromkeys(
        ("callback_mq_config", "callback_kafka_config", "operation", "input_elements"), None
    )
    assert body(**(dict.fromkeys(names, empty) | configs)) == body()


def test_a_subclass_may_have_template_fields_of_any_kind(
    connection: Callable[..., str], server: ScriptedServer, make_context: Callable[..., Any]
) -> None:
    class Labelled(VoiceSeparateOperator):
        template_fields = (*VoiceSeparateOperator.template_fields, "labels")

        def __init__(self, *, labels: dict[str, str], **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.labels = labels

    connection(server.url)
    server.play(job("j1"))
    operator = Labelled(task_id="submit", labels={"a": "b"}, input_object="in/a.mp3", voice_object="out/a")
    assert operator.execute(make_context()) == "j1"
    operator.hook.close()


class TestBucketAndRegion:
    @pytest.mark.parametrize("empty", ["", None])
    def test_of_the_connection_are_the_defaults(
        self, connection: Callable[..., str], empty: str | None
    ) -> None:
        connection("http://127.0.0.1:1")
        operator = VoiceSeparateOperator(task_id="submit", **LEAST, bucket=empty, region=empty)
        endpoint = operator.hook.settings.endpoint(**operator.bucket_and_region)
        assert (endpoint.bucket, endpoint.region) == (BUCKET, REGION)

    def test_of_the_input_are_the_defaults_of_the_output(self) -> None:
        sent = body(bucket="in-1250000003", region="ap-shanghai")
        assert sent["Operation/Output/Bucket"] == "in-1250000003"
        assert sent["Operation/Output/Region"] == "ap-shanghai"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"input_object": "/in/song.mp3"}, "input_object is '/in/song.mp3'"),
        ({"input_object": 5}, "input_object is 5"),
        ({"voice_object": "in/song.mp3"}, "voice_object is 'in/song.mp3'"),
        ({"background_object": "in/song.mp3", "output_bucket": BUCKET}, "background_object is 'in/song.mp3'"),
        ({"voice_object": "in/song.${ext}", "codec": "mp3"}, "allowed: another key than the input's"),
        ({"voice_object": "in/song.${ext}", "template_id": "t1"}, "allowed: another key than the input's"),
        ({"background_object": "out/voice.${ext}"}, "a key that can never be that of voice_object"),
        ({"voice_object": "out/${JobId}.mp3"}, r"voice_object .*\$\{jobid\}, spelt exactly so"),
        (
            {"input_object": f"cos://{BUCKET}/in/a%20b.mp3"},
            f"input_object is .*allowed: an object key, here 'in/a b.mp3', and the bucket, '{BUCKET}', apart",
        ),
        ({"input_object": "COS://bucket/in/a.mp3"}, "allowed: an object key, here 'in/a.mp3'"),
        (
            {"input_object": f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/a.mp3?q-signature=hush"},
            "myqcloud.com/a.mp3', allowed: an object key, here 'a.mp3'",
        ),
        ({"voice_object": f"cos://{BUCKET}/v"}, "voice_object is .*an object key, here 'v', and the bucket"),
        (
            {"audio_mode": "IsAudio", "background_object": "b"},
            "no key, because audio_mode IsAudio makes no such result",
        ),
        ({"template_id": "t1", "codec": "mp3", "bitrate": 0}, "codec is set.*bitrate is set"),
        ({"job_level": 3}, "job_level is 3"),
        ({"user_data": "x" * 1025}, "user_data is"),
        ({"callback_url": "ftp://a.example"}, "callback_url is 'ftp://a.example'"),
        (
            {"callback_type": "TDMQ", "callback_mq_config": MQ | {"mq_region": "xx"}},
            "callback_mq_config.mq_region",
        ),
        ({"timeout": -1}, "timeout is -1"),
        (
            {"queue_id": 5, "samplerate": "a"},
            "queue_id is 5.*samplerate is 'a'|samplerate is 'a'.*queue_id is 5",
        ),
    ],
)
def test_a_bad_argument_is_named_before_anything_is_sent(
    server: ScriptedServer,
    connection: Callable[..., str],
    make_context: Callable[..., dict[str, Any]],
    arguments: dict[str, Any],
    named: str,
) -> None:
    connection(server.url)
    context = make_context()
    operator = VoiceSeparateOperator(task_id="submit", **LEAST)
    for name, value in arguments.items():  # as rendering a template does
        setattr(operator, name, value)
    with pytest.raises(RequestValidationError, match=named) as caught:
        operator.execute(context)
    assert isinstance(caught.value, TaskArgumentError)
    assert not server.requests
    assert not context["ti"].xcoms


def test_an_error_does_not_show_the_secret_of_a_callback_url(connection: Callable[..., str]) -> None:
    connection("http://127.0.0.1:1")
    url = "ftp://user:hush@a.example/b?key=hush#hush"
    with pytest.raises(TencentCIError, match=r"a\.example") as caught:
        VoiceSeparateOperator(task_id="submit", **LEAST, callback_url=url).execute({})
    assert "hush" not in str(caught.value)


class TestTheClass:
    def test_template_fields_are_the_arguments_that_a_request_is_made_of(self) -> None:
        assert sorted(VoiceSeparateOperator.template_fields) == sorted(
            ["tencent_ci_conn_id", "bucket", "region", "input_url", *own_arguments()]
        )

    def test_renderers_are_for_template_fields(self) -> None:
        assert set(VoiceSeparateOperator.template_fields_renderers) <= set(
            VoiceSeparateOperator.template_fields
        )

    def test_it_can_be_mapped_over_every_template_field(self) -> None:
        for name in VoiceSeparateOperator.template_fields:
            with DAG("d", schedule=None) as dag:
                others = {key: value for key, value in LEAST.items() if key != name}
                VoiceSeparateOperator.partial(task_id="submit", **others).expand(**{name: ["a", "b"]})
            assert isinstance(dag.get_task("submit"), MappedOperator)

    def test_it_can_be_copied_and_pickled(self) -> None:
        operator = VoiceSeparateOperator(
            task_id="submit", **LEAST, callback_type="TDMQ", callback_mq_config=MQ
        )
        for other in (copy.deepcopy(operator), copy.copy(operator), pickle.loads(pickle.dumps(operator))):
            assert other.input_object == "in/song.mp3"
            assert other.callback_mq_config == MQ

    def test_the_base_leaves_the_request_to_its_subclasses(self) -> None:
        with pytest.raises(NotImplementedError):
            TencentCIBaseJobOperator(task_id="submit").build_request(None)  # type: ignore[arg-type]


class TestCheckInput:
    @pytest.fixture
    def checked(
        self, server: ScriptedServer, connection: Callable[..., str], make_context: Callable[..., Any]
    ) -> Callable[..., str]:
        """Return a function that runs the operator with ``check_input`` against ``HEAD``'s answer."""

        def run(answer: Answer, context: Any = None, **arguments: Any) -> str:
            connection(server.url, max_attempts=1, read_timeout=PATIENCE)
            server.always("HEAD", answer)
            operator = VoiceSeparateOperator(
                task_id="submit",
                input_object="in/a.mp3",
                voice_object="out/a",
                **({"check_input": True} | arguments),
            )
            try:
                return operator.execute(context or make_context())
            finally:
                operator.hook.close()

        return run

    def found(self, size: int = 7, **headers: str) -> Answer:
        return http(b"", length=size, keep_alive=False, **headers)

    def test_a_good_input_is_submitted(self, checked: Callable[..., str], server: ScriptedServer) -> None:
        server.play(job())
        assert checked(self.found()) == "j1"
        assert server.methods() == ["HEAD", "POST"]
        assert server.requests[0].path == "/in/a.mp3"
        assert server.requests[0].header("Host") == f"{BUCKET}.cos.{REGION}.myqcloud.com"

    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize(
        ("answer", "kind", "says"),
        [
            (http(b"", 404), NotFoundError, "the input object 'in/a.mp3' does not exist"),
            (http(b"", 403), PermissionDeniedError, "Cannot look at the object"),
            (http(b"", length=0), RequestValidationError, "the input object 'in/a.mp3' is empty"),
            (
                http(b"", length=7, keep_alive=False, x_cos_storage_class="DEEP_ARCHIVE"),
                RequestValidationError,
                r"is archived \(DEEP_ARCHIVE\), and must be restored first",
            ),
        ],
        ids=["missing", "forbidden", "empty", "archived"],
    )
    def test_for_a_bad_input_nothing_is_submitted(
        self,
        checked: Callable[..., str],
        server: ScriptedServer,
        answer: Answer,
        kind: type[Exception],
        says: str,
        durable: bool,
    ) -> None:
        with pytest.raises(kind, match=says):
            checked(answer, durable=durable)
        assert server.methods() == ["HEAD"]

    def test_a_retry_continues_with_its_job_after_the_input_was_deleted(
        self, checked: Callable[..., str], server: ScriptedServer, make_context: Callable[..., Any]
    ) -> None:
        class Store(dict[str, Any]):
            def set(self, key: str, value: Any) -> None:
                self[key] = value

            def delete(self, key: str) -> None:
                del self[key]

        context = make_context()
        store = context["task_state_store"] = Store()
        server.play(job("j1", "Submitted"), error(403, "AccessDenied"))
        with pytest.raises(PermissionDeniedError):
            checked(self.found(), context, wait_for_completion=True, deferrable=True)
        assert store["ci_submission"]["job_id"] == "j1"
        context["ti"].try_number = 2
        server.play(job("j1", "Success"))
        assert checked(http(b"", 404), context) == "j1"
        assert server.methods() == ["HEAD", "POST", "GET", "GET"]

    def test_it_is_off_by_default(self, checked: Callable[..., str], server: ScriptedServer) -> None:
        server.play(job())
        assert checked(http(b"", 404), check_input=False) == "j1"
        assert server.methods() == ["POST"]
