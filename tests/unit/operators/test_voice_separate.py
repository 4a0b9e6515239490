"""What the operator's arguments become, and what it refuses before anything is sent."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException, MappedOperator
from lxml import etree

from airflow_provider_ci.exceptions import (
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
    TencentCIError,
)
from airflow_provider_ci.operators.base_job import TencentCIBaseJobOperator
from airflow_provider_ci.operators.base_voice_separate import BaseVoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from tests.conftest import BUCKET, REGION
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


@pytest.fixture
def submitted(
    server: ScriptedServer, connection: Callable[..., str], make_context: Callable[..., dict[str, Any]]
) -> Callable[..., dict[str, str]]:
    """Return a function that runs an operator and gives what it submitted."""

    def submit(**arguments: Any) -> dict[str, str]:
        connection(server.url)
        server.play(job())
        # durable would add UserData; tests/unit/test_durability.py is about that
        operator = VoiceSeparateOperator(task_id="submit", durable=False, **(LEAST | arguments))
        assert operator.execute(make_context()) == "j1"
        return leaves(server.requests[-1].body)

    return submit


def test_the_least_that_is_needed(submitted: Callable[..., dict[str, str]]) -> None:
    assert submitted() == {
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
def test_every_argument_reaches_its_element(
    submitted: Callable[..., dict[str, str]], arguments: dict[str, Any], elements: dict[str, str]
) -> None:
    plain = submitted()
    if any(path.startswith((VOICE, "Operation/TemplateId")) for path in elements):
        plain.pop(VOICE)
    assert submitted(**arguments) == plain | elements


def test_the_table_above_has_every_argument() -> None:
    assert set(own_arguments()) <= set(ARGUMENTS)


def own_arguments() -> list[str]:
    """The arguments that a request is made of."""
    makers = (VoiceSeparateOperator.__init__, BaseVoiceSeparateOperator.__init__)
    parameters = [each for maker in makers for each in inspect.signature(maker).parameters.values()]
    # Airflow wraps the constructor; what it adds is positional or catches the rest
    names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    return [name for name in names if name != "check_input"]


@pytest.mark.parametrize("name", [name for name in own_arguments() if name != "input_object"])
@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_argument_is_one_not_given(
    submitted: Callable[..., dict[str, str]], name: str, empty: str | None
) -> None:
    others = {"background_object": "out/background.aac"}
    expected = submitted(**others)
    if name in ("background_object", "voice_object"):
        expected.pop(
            {"background_object": "Operation/Output/Object", "voice_object": "Operation/Output/AuObject"}[
                name
            ]
        )
    assert submitted(**(others | {name: empty})) == expected


def test_a_blank_text_is_not_given_either(submitted: Callable[..., dict[str, str]]) -> None:
    """Answers are read without it, so that a job that has it could not be found again."""
    assert submitted(user_data="  ", template_id=" ") == submitted()


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
        self, submitted: Callable[..., dict[str, str]], server: ScriptedServer, empty: str | None
    ) -> None:
        submitted(bucket=empty, region=empty)
        assert server.requests[0].header("Host") == f"{BUCKET}.ci.{REGION}.myqcloud.com"

    def test_of_the_input_are_the_defaults_of_the_output(
        self, submitted: Callable[..., dict[str, str]], server: ScriptedServer
    ) -> None:
        sent = submitted(bucket="in-1250000003", region="ap-shanghai")
        assert server.requests[0].header("Host") == "in-1250000003.ci.ap-shanghai.myqcloud.com"
        assert sent["Operation/Output/Bucket"] == "in-1250000003"
        assert sent["Operation/Output/Region"] == "ap-shanghai"

    def test_of_the_output_may_differ(
        self, submitted: Callable[..., dict[str, str]], server: ScriptedServer
    ) -> None:
        sent = submitted(output_bucket="out-1250000002", output_region="ap-beijing")
        assert server.requests[0].header("Host") == f"{BUCKET}.ci.{REGION}.myqcloud.com"
        assert sent["Operation/Output/Bucket"] == "out-1250000002"
        assert sent["Operation/Output/Region"] == "ap-beijing"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"input_object": ""}, "input_object"),
        ({"input_object": "/in/song.mp3"}, "input_object"),
        ({"input_object": None}, "input_object"),
        ({"input_object": 5}, "input_object is 5"),
        ({"voice_object": None}, "voice_object"),
        ({"background_object": ["a"]}, r"background_object is \['a'\]"),
        ({"voice_object": "out/"}, "voice_object"),
        ({"background_object": "out/voice.aac"}, "background_object"),
        ({"voice_object": "in/song.mp3"}, "voice_object is 'in/song.mp3'"),
        ({"background_object": "in/song.mp3", "output_bucket": BUCKET}, "background_object is 'in/song.mp3'"),
        (
            {"voice_object": "in/song.${ext}", "codec": "mp3"},
            "voice_object is 'in/song.*another key than the input's",
        ),
        ({"voice_object": "in/song.${ext}", "template_id": "t1"}, "another key than the input's"),
        ({"background_object": "out/voice.${ext}"}, r"a key that can never be that of background_object"),
        (
            {"background_object": "out/a.${ext}", "voice_object": "out/a.wav", "template_id": "t1"},
            "can never be that of",
        ),
        ({"input_object": "x" * 851}, "input_object is .*at most 850 bytes in UTF-8; this one has 851"),
        ({"voice_object": "声" * 284}, "voice_object .*at most 850 bytes in UTF-8.* this one has 852"),
        ({"voice_object": "x" * 818 + "${jobid}"}, "voice_object .*this one has 851"),
        ({"voice_object": "out/."}, "voice_object .*does not end in /"),
        ({"voice_object": "\\out"}, "voice_object .*does not begin with"),
        ({"input_object": "in/.."}, "input_object .*does not end in /"),
        ({"voice_object": "out/${JobId}.mp3"}, r"voice_object .*\$\{jobid\}, spelt exactly so"),
        ({"voice_object": "out/v.${Ext}"}, r"voice_object .*\$\{ext\}, spelt exactly so"),
        ({"voice_object": "out/${InputName}.mp3"}, "voice_object .*is for batch jobs"),
        (
            {"input_object": f"cos://{BUCKET}/in/a%20b.mp3"},
            f"input_object is .*allowed: an object key: write bucket='{BUCKET}', input_object='in/a b.mp3'",
        ),
        ({"input_object": "COS://bucket/in/a.mp3"}, "allowed: an object key, without scheme and bucket"),
        (
            {"input_object": f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/a.mp3?q-signature=hush"},
            f"write bucket='{BUCKET}', input_object='a.mp3'",
        ),
        ({"voice_object": f"cos://{BUCKET}/v"}, f"write output_bucket='{BUCKET}', voice_object='v'"),
        (
            {"audio_mode": "IsAudio", "background_object": "b"},
            "no key, because audio_mode IsAudio makes no such result",
        ),
        ({"audio_mode": "IsAudio", "bass_object": "b"}, "bass_object .*no key, because audio_mode IsAudio"),
        ({"audio_mode": "IsBackground", "background_object": "b"}, r"voice_object .*audio_mode IsBackground"),
        (
            {"audio_mode": "AudioAndBackground", "background_object": "b", "drum_object": "d"},
            "drum_object .*no key, because audio_mode AudioAndBackground",
        ),
        ({"bass_object": "\x00"}, "bass_object"),
        ({"drum_object": "/d"}, "drum_object"),
        ({"output_bucket": "no-appid"}, "output_bucket"),
        ({"output_bucket": 5}, "output_bucket is 5"),
        ({"output_region": "guangzhou"}, "output_region"),
        ({"bucket": "bad"}, "bucket is 'bad'"),
        ({"bucket": 1250000001}, "bucket is 1250000001"),
        ({"region": "bad"}, "region is 'bad'"),
        ({"template_id": "t/1"}, "template_id"),
        ({"template_id": "t1", "audio_mode": "IsAudio"}, "audio_mode is given.*template_id"),
        ({"template_id": "t1", "codec": "mp3", "bitrate": 0}, "codec is given.*bitrate is given"),
        ({"audio_mode": "Isaudio"}, "audio_mode"),
        ({"audio_mode": "AudioAndBackground"}, "background_object"),
        ({"codec": "ogg"}, "codec"),
        ({"codec": 3}, "codec is 3"),
        ({"samplerate": 44000}, "samplerate"),
        ({"samplerate": "44.1k"}, "samplerate is '44.1k'"),
        ({"samplerate": 44100.0}, "samplerate is 44100.0"),
        ({"bitrate": 7}, "bitrate"),
        ({"bitrate": "-8"}, "bitrate is '-8'"),
        ({"bitrate": True}, "bitrate is True"),
        ({"channels": 3}, "channels"),
        ({"channels": [2]}, r"channels is \[2\]"),
        ({"user_data": "ü"}, "user_data"),
        ({"user_data": "x" * 1025}, "user_data"),
        ({"job_level": 3}, "job_level"),
        ({"job_level": "high"}, "job_level is 'high'"),
        ({"queue_id": "p 1"}, "queue_id"),
        ({"callback_url": "ftp://a.example"}, "callback_url"),
        ({"callback_format": "xml"}, "callback_format"),
        ({"callback_type": "Mail"}, "callback_type"),
        ({"callback_mq_config": MQ}, "callback_mq_config"),
        ({"callback_type": "TDMQ"}, "callback_mq_config"),
        ({"callback_type": "TDMQ", "callback_mq_config": MQ | {"mq_region": "xx"}}, "mq_region"),
        (
            {"callback_type": "TDMQ", "callback_mq_config": {"region": "gz"}},
            "callback_mq_config is .*mq_region",
        ),
        ({"callback_type": "TDMQ", "callback_mq_config": "gz"}, "callback_mq_config is 'gz'"),
        (
            {"callback_type": "Kafka", "callback_kafka_config": KAFKA | {"topic": 5}},
            "callback_kafka_config.topic is 5",
        ),
        ({"callback_type": "Kafka", "callback_kafka_config": KAFKA | {"topic": [1]}}, r"topic is \[1\]"),
        (
            {"callback_type": "TDMQ", "callback_mq_config": MQ | {"mq_name": 5}},
            "mq_name is 5, allowed: a string",
        ),
        (
            {"callback_type": "TDMQ", "callback_mq_config": MQ | {"mq_name": "None"}},
            "mq_name is 'None', allowed",
        ),
        ({"callback_type": "Kafka", "callback_kafka_config": [KAFKA]}, "callback_kafka_config is "),
        ({"poll_interval": 0}, "poll_interval is 0"),
        ({"poll_interval": None}, "poll_interval is None"),
        ({"poll_interval": "30"}, "poll_interval is '30'"),
        ({"poll_interval": float("nan")}, "poll_interval is nan"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"timeout": -1}, "timeout is -1"),
        ({"timeout": True}, "timeout is True"),
    ],
)
@pytest.mark.parametrize("wait_for_completion", [False, True])
def test_a_bad_argument_is_named_before_anything_is_sent(
    server: ScriptedServer,
    connection: Callable[..., str],
    make_context: Callable[..., dict[str, Any]],
    arguments: dict[str, Any],
    named: str,
    wait_for_completion: bool,
) -> None:
    connection(server.url)
    context = make_context()
    operator = VoiceSeparateOperator(task_id="submit", wait_for_completion=wait_for_completion, **LEAST)
    for name, value in arguments.items():  # as rendering a template does
        setattr(operator, name, value)
    with pytest.raises(ValueError, match=named) as caught:
        operator.execute(context)
    assert isinstance(caught.value, RequestValidationError | ConfigurationError)
    assert isinstance(caught.value, AirflowFailException), "a retry would find the same"
    assert not server.requests
    assert not context["ti"].xcoms


def test_every_bad_argument_is_named_at_once(connection: Callable[..., str]) -> None:
    connection("http://127.0.0.1:1")
    operator = VoiceSeparateOperator(task_id="submit", **LEAST)
    operator.samplerate, operator.bitrate, operator.queue_id = "a", "b", 5  # type: ignore[assignment]
    with pytest.raises(RequestValidationError) as caught:
        operator.execute({})
    for said in ("queue_id is 5", "samplerate is 'a'", "bitrate is 'b'"):
        assert said in str(caught.value)


def test_the_receivers_secret_is_not_in_the_error(connection: Callable[..., str]) -> None:
    connection("http://127.0.0.1:1")
    url = "ftp://user:hush@a.example/b?key=hush#hush"
    with pytest.raises(TencentCIError, match=r"a\.example") as caught:
        VoiceSeparateOperator(task_id="submit", **LEAST, callback_url=url).execute({})
    assert "hush" not in str(caught.value)


class TestTheClass:
    def test_template_fields_are_the_arguments_that_a_request_is_made_of(self) -> None:
        assert sorted(VoiceSeparateOperator.template_fields) == sorted(
            ["tencent_ci_conn_id", "bucket", "region", *own_arguments()]
        )

    def test_arguments_are_assigned_unchanged(self) -> None:
        arguments: dict[str, Any] = {name: ["{{ a }}"] for name in VoiceSeparateOperator.template_fields}
        operator = VoiceSeparateOperator(task_id="submit", **arguments)
        for name, value in arguments.items():
            assert getattr(operator, name) is value

    def test_renderers_are_for_template_fields(self) -> None:
        assert set(VoiceSeparateOperator.template_fields_renderers) <= set(
            VoiceSeparateOperator.template_fields
        )

    def test_templates_are_rendered(self) -> None:
        with DAG("d", schedule=None):
            operator = VoiceSeparateOperator(
                task_id="submit",
                input_object="{{ params.key }}",
                voice_object="out/${jobid}.${ext}",
                bitrate="{{ 64 * 2 }}",
                callback_kafka_config={"topic": "{{ params.key }}"},
            )
        operator.render_template_fields({"params": {"key": "in/a.mp3"}})  # type: ignore[arg-type]
        assert operator.input_object == "in/a.mp3"
        assert operator.voice_object == "out/${jobid}.${ext}"
        assert operator.bitrate == "128"
        assert operator.callback_kafka_config == {"topic": "in/a.mp3"}

    def test_it_can_be_mapped_over_every_template_field(self) -> None:
        for name in VoiceSeparateOperator.template_fields:
            with DAG("d", schedule=None) as dag:
                others = {key: value for key, value in LEAST.items() if key != name}
                VoiceSeparateOperator.partial(task_id="submit", **others).expand(**{name: ["a", "b"]})
            assert isinstance(dag.get_task("submit"), MappedOperator)

    def test_a_mapped_task_gets_its_own_arguments(self) -> None:
        with DAG("d", schedule=None):
            mapped = VoiceSeparateOperator.partial(
                task_id="submit", voice_object="out/v", wait_for_completion=True, poll_interval=5
            ).expand(input_object=["a", "b"])
        one = mapped.unmap({"input_object": "b"})
        assert (one.input_object, one.voice_object, one.wait_for_completion, one.poll_interval) == (
            "b",
            "out/v",
            True,
            5,
        )

    def test_default_args_reach_it(self) -> None:
        with DAG(
            "d", schedule=None, default_args={"bucket": BUCKET, "cancel_on_kill": False, "codec": "mp3"}
        ):
            operator = VoiceSeparateOperator(task_id="submit", **LEAST)
        assert (operator.bucket, operator.cancel_on_kill, operator.codec) == (BUCKET, False, "mp3")

    def test_it_can_be_copied_and_pickled(self) -> None:
        operator = VoiceSeparateOperator(
            task_id="submit", **LEAST, callback_type="TDMQ", callback_mq_config=MQ
        )
        for other in (copy.deepcopy(operator), copy.copy(operator), pickle.loads(pickle.dumps(operator))):
            assert other.input_object == "in/song.mp3"
            assert other.callback_mq_config == MQ

    def test_an_unknown_argument_is_refused(self) -> None:
        # Airflow 2 raises its own
        with pytest.raises((TypeError, AirflowException), match="inputobject"):
            VoiceSeparateOperator(task_id="submit", **LEAST, inputobject="x")

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
            connection(server.url, max_attempts=1, read_timeout=5)
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
    def test_a_bad_input_costs_nothing(
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

    def test_a_retry_goes_on_with_its_job_though_the_input_is_gone(
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
