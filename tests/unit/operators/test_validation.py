"""What is refused when a DAG is parsed, and what is left to when its tasks run."""

from __future__ import annotations

import gc
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException, Asset

from airflow_provider_ci.exceptions import ConfigurationError, RequestValidationError
from airflow_provider_ci.operators.argument_errors import (
    TaskArgumentError,
    TaskConnectionError,
    fail_without_retry,
    name_argument,
)
from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator
from airflow_provider_ci.operators.template import VoiceSeparateTemplateOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.protocol.batches import BatchRequest
from airflow_provider_ci.protocol.fields import slots
from airflow_provider_ci.protocol.jobs import JobRequest
from airflow_provider_ci.protocol.templates import TemplateRequest
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.integration.airflow_runs import dag_bag
from tests.scripted_server import ScriptedServer, error, job

from .test_arguments import LEAST, make

ONE, BATCH, TEMPLATE = VoiceSeparateOperator, VoiceSeparateBatchOperator, VoiceSeparateTemplateOperator
KEY = "${jobid}"
MQ = {"mq_region": "sh", "mq_mode": "Queue", "mq_name": "n"}
KAFKA = {"region": "ap-guangzhou", "instance_id": "i", "topic": "t"}
ENCODINGS: list[tuple[dict[str, Any], str]] = [
    ({"codec": "ogg"}, "'ogg', allowed: aac, flac, mp3, amr, wav"),
    ({"audio_mode": "Nonsense"}, "'Nonsense', allowed: IsAudio"),
    ({"samplerate": 44000}, "44000, allowed"),
    ({"samplerate": "44.1k"}, "samplerate is '44.1k', allowed: a whole number"),
    ({"codec": "amr", "samplerate": 44100}, "44100, allowed: 8000"),
    ({"bitrate": 5000}, "5000, allowed: 8 to 1000"),
    ({"channels": 3}, "3, allowed"),
    ({"bucket": "media"}, "bucket is 'media', allowed: <name>-<appid>"),
    ({"region": "guangzhou"}, "region is 'guangzhou', allowed: a region"),
    ({"tencent_ci_conn_id": ""}, "tencent_ci_conn_id is '', allowed"),
    ({"tencent_ci_conn_id": None}, "tencent_ci_conn_id is None, allowed"),
]
WAITING: list[tuple[dict[str, Any], str]] = [
    ({"poll_interval": "30"}, "poll_interval is '30', allowed: a number of seconds above 0, or a timedelta"),
    ({"timeout": -5}, "timeout is -5, allowed"),
    (
        {"timeout": sys.maxsize},
        f"timeout is {sys.maxsize}, allowed: a number of seconds above 0, or a timedelta, at most",
    ),
    ({"timeout": timedelta.max}, "or a timedelta, at most 3650 days"),
    ({"timeout": 3e11}, "at most 3650 days"),
    ({"timeout": 10**400}, "at most 3650 days"),
    ({"poll_interval": 1e15}, "poll_interval is 1000000000000000.0, allowed"),
    ({"execution_timeout": timedelta.max}, "allowed: at most 3650 days"),
    ({"timeout": "{{ params.t }}"}, "this argument is not templated"),
    ({"on_ambiguous_submit": "retry"}, "on_ambiguous_submit is 'retry', allowed: fail, resubmit"),
    ({"durable": "perhaps"}, "durable is 'perhaps', allowed: True or False"),
    ({"outlets": [Asset("cos://media-1250000001/a")]}, "although the task does not wait for its job"),
    ({"output_bucket": "media"}, "'media', allowed"),
    ({"job_level": 7}, "7, allowed: 0, 1, 2"),
    ({"queue_id": "p 1"}, "'p 1', allowed"),
    ({"user_data": "ü"}, "'ü', allowed: printable ASCII"),
    ({"callback_url": "ftp://a.example"}, "allowed: an absolute http or https URL, or no"),
    ({"callback_type": "TDMQ"}, "None, allowed: given exactly when"),
    ({"template_id": "t1", "codec": "mp3"}, "codec is given, allowed: not together with template_id"),
    ({"audio_mode": "AudioAndBackground"}, "None, allowed: an object key, because audio_mode"),
    ({"voice_object": None}, "at least one of the two"),
    ({"voice_object": "None"}, "a template rendered None"),
    ({"background_object": "['a']"}, "a template rendered a list"),
]
WRONG: list[tuple[type[Any], dict[str, Any], str]] = [
    *((owner, *case) for owner in (ONE, BATCH, TEMPLATE) for case in ENCODINGS),
    *((owner, *case) for owner in (ONE, BATCH) for case in WAITING),
    (ONE, {"input_object": "/in/a.mp3"}, "'/in/a.mp3', allowed: an object key"),
    (ONE, {"voice_object": "in/a.mp3"}, "allowed: another key than the input's"),
    (ONE, {"input_object": Path("in/a.mp3")}, "input_object is PosixPath('in/a.mp3'), allowed: a string"),
    (ONE, {"check_input": "maybe"}, "check_input is 'maybe'"),
    (BATCH, {"prefix": None}, "no input is given, allowed: exactly one of"),
    (BATCH, {"manifest": "m.json"}, "allowed: exactly one of"),
    (BATCH, {"voice_object": "out/voice.mp3"}, "overwrite each other"),
    (BATCH, {"voice_object": f"in/{KEY}"}, "would separate this one's results"),
    (BATCH, {"name": "a b"}, "'a b', allowed"),
    (BATCH, {"time_interval": {"start": "yesterday"}}, "time_interval.start is 'yesterday'"),
    (TEMPLATE, {"name": "a b"}, "'a b', allowed"),
    (TencentCICancelJobOperator, {"job_id": "a/b"}, "job_id is 'a/b', allowed"),
    (TencentCICancelJobOperator, {"fail_if_running": "maybe"}, "fail_if_running is 'maybe'"),
    (TencentCICancelJobOperator, {"bucket": "media"}, "bucket is 'media'"),
    (
        TencentCIJobSensor,
        {"job_id": ["j1", "None"]},
        "job_id is 'None', allowed: an id; a template rendered None",
    ),
    (TencentCIJobSensor, {"job_id": 5}, "job_id is 5, allowed: an id or a list of ids"),
    (TencentCIJobSensor, {"deferrable": "maybe"}, "deferrable is 'maybe'"),
    (TencentCIJobSensor, {"region": "guangzhou"}, "region is 'guangzhou'"),
    (
        TencentCIJobSensor,
        {"poke_interval": "5"},
        "poke_interval is '5', allowed: a number of seconds from 0 on",
    ),
    (TencentCIJobSensor, {"poke_interval": -1}, "poke_interval is -1, allowed"),
    (TencentCIJobSensor, {"poke_interval": float("inf")}, "poke_interval is inf, allowed"),
    (TencentCIJobSensor, {"timeout": "1 h"}, "timeout is '1 h', allowed"),
    (TencentCIJobSensor, {"timeout": sys.maxsize}, f"timeout is {sys.maxsize}, allowed"),
    (TencentCIJobSensor, {"timeout": "{{ params.t }}"}, "this argument is not templated"),
]
#: Nothing is wrong with these before they are rendered.
TEMPLATED: list[tuple[type[Any], dict[str, Any]]] = [
    *((owner, {"codec": "{{ c }}", "samplerate": 8000}) for owner in (ONE, BATCH, TEMPLATE)),
    *((owner, {"codec": "{{ c }}", "samplerate": 96000, "channels": 8}) for owner in (ONE, BATCH, TEMPLATE)),
    *((owner, {"codec": "amr", "samplerate": "{{ c }}"}) for owner in (ONE, BATCH, TEMPLATE)),
    *((owner, {"audio_mode": "{{ m }}", "samplerate": 1, "codec": "wav"}) for owner in (ONE, BATCH)),
    *((owner, {"template_id": "{{ t }}", "codec": "mp3"}) for owner in (ONE, BATCH)),
    *((owner, {"voice_object": "{{ k }}", "audio_mode": "IsAudio"}) for owner in (ONE, BATCH)),
    *(
        (owner, {"background_object": "{% if x %}a{% endif %}", "audio_mode": "IsAudio"})
        for owner in (ONE, BATCH)
    ),
    *((owner, {"voice_object": "{{ k }}", "background_object": "{{ k }}"}) for owner in (ONE, BATCH)),
    *(
        (owner, {"output_bucket": "{{ b }}", "bucket": "{{ b }}", "region": "{{ r }}"})
        for owner in (ONE, BATCH)
    ),
    *(
        (owner, {"callback_type": "TDMQ", "callback_mq_config": MQ | {"mq_name": "{{ n }}"}})
        for owner in (ONE,)
    ),
    *((owner, {"callback_type": "{{ t }}", "callback_mq_config": MQ}) for owner in (ONE, BATCH)),
    *((owner, {"callback_type": "{{ t }}", "callback_kafka_config": KAFKA}) for owner in (ONE, BATCH)),
    *(
        (owner, {"callback_type": "{{ t }}", "callback_kafka_config": KAFKA | {"topic": "{{ k }}"}})
        for owner in (ONE, BATCH)
    ),
    *((owner, {"callback_type": "TDMQ", "callback_mq_config": "{{ c }}"}) for owner in (ONE, BATCH)),
    *((owner, {"callback_type": "{{ t }}", "callback_url": "{{ u }}"}) for owner in (ONE, BATCH)),
    *(
        (owner, {"queue_id": lambda context, jinja_env: "p1", "job_level": "{{ 1 }}"})
        for owner in (ONE, BATCH)
    ),
    (ONE, {"input_object": "in/{{ ds }}.mp3"}),
    (BATCH, {"prefix": "{{ p }}"}),
    (BATCH, {"prefix": "{{ p }}", "manifest": "{{ m }}"}),
    (BATCH, {"prefix": "in/", "manifest": "{{ m }}"}),
    (BATCH, {"prefix": "{{ p }}", "voice_object": f"{{{{ p }}}}/{KEY}"}),
    (BATCH, {"time_interval": {"start": "{{ a }}", "end": "{{ b }}"}}),
    (BATCH, {"name": "{{ dag.dag_id }}"}),
    (TEMPLATE, {"name": "{{ n }}", "audio_mode": "{{ m }}"}),
    (TencentCICancelJobOperator, {"job_id": "{{ ti.xcom_pull('a') }}"}),
    (BATCH, {"time_interval": {"start": "2025-01-01T00:00:00Z", "end": "{{ b }}"}}),
    (BATCH, {"time_interval": "{{ t }}"}),
    (TencentCIJobSensor, {"job_id": ["{{ a }}", "j2"]}),
    (TencentCIJobSensor, {"job_id": iter(["j1"])}),
]


@pytest.mark.parametrize(("owner", "arguments", "said"), WRONG)
def test_what_is_no_template_is_checked_when_the_dag_is_parsed(
    owner: type[Any], arguments: dict[str, Any], said: str
) -> None:
    with DAG("d", schedule=None), pytest.raises(TaskArgumentError) as caught:
        make(owner, **arguments)
    assert str(caught.value).startswith("Task 'task' cannot work: ")
    assert said in str(caught.value)
    assert "LightModel" not in str(caught.value)


@pytest.mark.parametrize(("owner", "arguments"), TEMPLATED)
def test_templates_are_left_to_when_they_are_rendered(owner: type[Any], arguments: dict[str, Any]) -> None:
    with DAG("d", schedule=None):
        make(owner, **arguments)


@pytest.mark.parametrize(
    ("owner", "arguments", "said"),
    [
        (ONE, {"input_object": "{{ k }}", "codec": "ogg"}, "'ogg'"),
        (ONE, {"input_object": "{{ k }}", "voice_object": None}, "at least one"),
        (
            ONE,
            {"voice_object": "{{ k }}", "background_object": "/x", "audio_mode": "IsBackground"},
            "'/x', allowed",
        ),
        (BATCH, {"prefix": "{{ p }}", "voice_object": "out/voice.mp3"}, "overwrite each other"),
        (BATCH, {"prefix": "{{ p }}", "codec": "ogg"}, "'ogg'"),
        (TencentCIJobSensor, {"job_id": "{{ j }}", "bucket": "media"}, "bucket is 'media'"),
        (
            BATCH,
            {"time_interval": {"start": "yesterday", "end": "{{ b }}"}},
            "time_interval.start is 'yesterday'",
        ),
        (BATCH, {"time_interval": {"strat": "{{ a }}"}}, "allowed: a dict with start and end"),
        (TencentCIJobSensor, {"job_id": ["{{ a }}", "a/b"]}, "job_id is 'a/b', allowed"),
        (TencentCICancelJobOperator, {"job_id": ("{{ a }}", "None")}, "job_id is 'None', allowed"),
        (
            ONE,
            {"callback_type": "TDMQ", "callback_mq_config": MQ | {"mq_name": "{{ n }}", "mq_mode": "x"}},
            "'x', allowed: Queue",
        ),
        (ONE, {"callback_type": "Url", "callback_mq_config": MQ}, "given exactly when"),
        (
            ONE,
            {"callback_type": "{{ t }}", "callback_mq_config": MQ | {"mq_region": "xx"}},
            "'xx', allowed",
        ),
    ],
)
def test_what_is_wrong_whatever_they_render_to_is_named(
    owner: type[Any], arguments: dict[str, Any], said: str
) -> None:
    with DAG("d", schedule=None), pytest.raises(TaskArgumentError) as caught:
        make(owner, **arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize("owner", [ONE, BATCH, TEMPLATE])
def test_what_is_allowed_of_a_rate_does_not_name_a_codec_that_nobody_gave(owner: type[Any]) -> None:
    with DAG("d", schedule=None), pytest.raises(TaskArgumentError) as caught:
        make(owner, codec="{{ c }}", samplerate=5)
    assert str(caught.value).endswith("48000, 96000, depending on codec")


@pytest.mark.parametrize(
    ("model", "owner"), [(JobRequest, ONE), (BatchRequest, BATCH), (TemplateRequest, TEMPLATE)]
)
def test_every_element_has_an_argument(model: type[Any], owner: type[Any]) -> None:
    """Except those that no argument decides, and those of answers only."""
    fixed = {"Tag", "Type", "Operation.Tag", "Operation.QueueType", "Operation.WorkflowIds"}
    of_answers = ("Operation.Media", "Operation.TemplateName", "Input.BucketId", "Input.Region", "Input.Cos")
    unnamed = {
        path
        for path in _leaves(model)
        if not path.startswith(of_answers)
        and not re.fullmatch(r"[a-z_.]+ is 1, allowed: 2", name_argument(f"{path} is 1, allowed: 2", owner))
    }
    assert unnamed <= fixed


def _leaves(model: type[Any], at: str = "") -> Iterator[str]:
    for slot in slots(model):
        path = f"{at}{slot.names[0]}"
        if slot.nested:
            yield from _leaves(slot.kind, f"{path}.")
        else:
            yield path


@pytest.mark.parametrize(
    ("problem", "named"),
    [
        (
            "Operation.Output.Object and AuObject is None, allowed: 1",
            "background_object and voice_object are None, allowed: 1",
        ),
        (
            "Operation.Output.AuObject (voice) is 'AudioMode', allowed: not Object (background), 'a/Object'",
            "voice_object is 'AudioMode', allowed: not background_object, 'a/Object'",
        ),
        ("Input.Prefix has 900 bytes, allowed: 850", "prefix has 900 bytes, allowed: 850"),
        ("input_object is 'Codec is 5', allowed: 1", "input_object is 'Codec is 5', allowed: 1"),
        ("no input is given", "no input is given"),
    ],
)
def test_operators_name_their_arguments(problem: str, named: str) -> None:
    assert name_argument(problem, VoiceSeparateBatchOperator) == named
    with pytest.raises(TaskArgumentError) as caught, fail_without_retry(BATCH):
        raise RequestValidationError([problem, problem])
    assert str(caught.value) == f"Nothing was sent: {named}; {named}"


class TestMapped:
    @pytest.mark.parametrize(
        ("owner", "fixed", "said"),
        [
            (ONE, {"voice_object": "a", "codec": "ogg"}, "'ogg'"),
            (ONE, {"voice_object": "a", "poll_interval": "30"}, "poll_interval is '30'"),
            (ONE, {"voice_object": "a", "timeout": timedelta(-1)}, "timeout is "),
            (ONE, {"on_ambiguous_submit": "retry"}, "on_ambiguous_submit is 'retry'"),
            (ONE, {"cancel_on_kill": "maybe"}, "cancel_on_kill is 'maybe'"),
            (ONE, {"bucket": "media"}, "bucket is 'media'"),
            (BATCH, {"voice_object": "out/voice.mp3"}, "overwrite each other"),
            (TEMPLATE, {"audio_mode": "Nonsense"}, "'Nonsense'"),
            (TencentCICancelJobOperator, {"fail_if_running": "maybe"}, "fail_if_running is 'maybe'"),
            (TencentCIJobSensor, {"deferrable": "maybe"}, "deferrable is 'maybe'"),
            (TencentCIJobSensor, {"region": "guangzhou"}, "region is 'guangzhou'"),
            (TencentCIJobSensor, {"poke_interval": "5"}, "poke_interval is '5'"),
            (TencentCIJobSensor, {"timeout": timedelta(-1)}, "timeout is "),
            (TencentCIJobSensor, {"execution_timeout": timedelta.max}, "allowed: at most 3650 days"),
        ],
    )
    def test_what_is_not_mapped_is_checked(self, owner: type[Any], fixed: dict[str, Any], said: str) -> None:
        with DAG("d", schedule=None), pytest.raises(TaskArgumentError) as caught:
            owner.partial(task_id="mapped", **fixed)
        assert str(caught.value).startswith("Task 'mapped' cannot work: ")
        assert said in str(caught.value)

    def test_airflow_does_not_warn_that_it_was_never_mapped(self) -> None:
        with DAG("d", schedule=None), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with suppress(TaskArgumentError):
                ONE.partial(task_id="mapped", codec="ogg")
            gc.collect()
        assert [str(each.message) for each in warned if "never mapped" in str(each.message)] == []

    def test_airflow_shows_default_args_when_the_task_runs(self) -> None:
        with DAG("d", schedule=None, default_args={"timeout": "1 h"}):
            mapped = ONE.partial(task_id="mapped", voice_object="a").expand(input_object=["in/a"])
        with pytest.raises(AirflowFailException, match="timeout is '1 h'"):
            mapped.unmap({"input_object": "in/a"})

    @pytest.mark.parametrize("owner", LEAST)
    def test_what_is_mapped_is_not(self, owner: type[Any]) -> None:
        for name, value in LEAST[owner].items():
            if name == "task_id":
                continue
            with DAG("d", schedule=None):
                fixed = {key: given for key, given in LEAST[owner].items() if key != name}
                owner.partial(**fixed).expand(**{name: [value]})
        with DAG("d", schedule=None):
            owner.partial(task_id="task").expand_kwargs([LEAST[owner]])

    @pytest.mark.parametrize(
        ("owner", "kind", "config"),
        [
            (owner, kind, config)
            for owner in (ONE, BATCH)
            for kind, config in (
                ("TDMQ", {"callback_mq_config": MQ}),
                ("Kafka", {"callback_kafka_config": KAFKA}),
            )
        ],
    )
    def test_the_kind_of_a_callback_may_be_mapped_over(
        self, owner: type[Any], kind: str, config: dict[str, Any]
    ) -> None:
        with DAG("d", schedule=None):
            mapped = owner.partial(**config, **LEAST[owner]).expand_kwargs([{"callback_type": kind}])
            assert mapped.unmap({"callback_type": kind}).callback_type == kind

    def test_a_value_that_came_by_mapping_fails_without_retry(self) -> None:
        with DAG("d", schedule=None):
            mapped = ONE.partial(task_id="task", voice_object="a").expand_kwargs([{"input_object": "in/a"}])
        with pytest.raises(AirflowFailException, match="durable is 'perhaps'"):
            mapped.unmap({"input_object": "in/a", "durable": "perhaps"})

    @pytest.mark.parametrize("name", ["poke_interval", "timeout"])
    def test_nor_are_times_of_a_sensor_retried(self, name: str) -> None:
        with DAG("d", schedule=None):
            mapped = TencentCIJobSensor.partial(task_id="task", job_id="j1").expand(**{name: [5, "5"]})
        assert getattr(mapped.unmap({name: 5}), name) == 5
        with pytest.raises(AirflowFailException, match=f"{name} is '5', allowed"):
            mapped.unmap({name: "5"})


def test_a_users_class_is_checked_when_it_runs(
    server: ScriptedServer, connection: Callable[..., str], make_context: Callable[..., dict[str, Any]]
) -> None:
    class Later(VoiceSeparateOperator):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.voice_object = "out/a"

    connection(server.url)
    server.play(job())
    operator = Later(task_id="task", input_object="in/a.mp3")
    operator.execute(make_context())
    operator.hook.close()
    with pytest.raises(TaskArgumentError, match="poll_interval is '30'"):
        Later(task_id="task", input_object="in/a.mp3", poll_interval="30")


def test_the_import_error_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from airflow.providers.common.compat.sdk import DAG\n"
        "from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator\n"
        "with DAG('wrong', schedule=None):\n"
        "    VoiceSeparateOperator(task_id='submit', input_object='a', voice_object='out/a', codec='ogg')\n"
    )
    bag = dag_bag(str(tmp_path))
    (said,) = bag.import_errors.values()
    last_line = said.strip().splitlines()[-1]
    assert "TaskArgumentError: Task 'submit' cannot work: codec is 'ogg'" in last_line
    assert last_line.endswith(", allowed: aac, flac, mp3, amr, wav")


class TestWithoutRetry:
    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            (RequestValidationError(["a is 1, allowed: 2"]), TaskArgumentError),
            (ConfigurationError("No bucket", hint="Name one"), TaskConnectionError),
        ],
    )
    def test_keeps_what_was_said(self, raised: Any, kind: type[Exception]) -> None:
        with pytest.raises(kind) as caught, fail_without_retry(BATCH):
            raise raised
        assert isinstance(caught.value, AirflowFailException)
        assert isinstance(caught.value, type(raised))
        assert str(caught.value) == str(raised)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(raised)

    def test_leaves_other_errors_as_they_are(self) -> None:
        raised = OSError("x")
        with pytest.raises(OSError, match="x") as caught, fail_without_retry(BATCH):
            raise raised
        assert caught.value is raised

    @pytest.mark.parametrize("owner", LEAST)
    def test_a_connection_that_lacks_what_no_argument_gives(
        self,
        owner: type[Any],
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
    ) -> None:
        connection("http://127.0.0.1:1", bucket=None)
        operator = make(owner)
        with pytest.raises(AirflowFailException, match="No bucket: give it as an argument") as caught:
            operator.execute(make_context())
        assert isinstance(caught.value, ConfigurationError)

    @pytest.mark.parametrize("owner", [ONE, BATCH, TEMPLATE, TencentCICancelJobOperator])
    @pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (404, "NoSuchBucket")])
    def test_what_a_person_may_mend_is_retried(
        self,
        owner: type[Any],
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        status: int,
        code: str,
    ) -> None:
        connection(server.url)
        server.play(error(status, code))
        operator = make(owner)
        with pytest.raises(Exception, match=code) as caught:
            operator.execute(make_context())
        operator.hook.close()
        assert not isinstance(caught.value, AirflowFailException)

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize("forgiving", ["soft_fail", "never_fail", "silent_fail"])
    def test_arguments_that_cannot_work_are_no_reason_to_skip(
        self,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        deferrable: bool,
        forgiving: str,
    ) -> None:
        connection("http://127.0.0.1:1")
        sensor = TencentCIJobSensor(
            task_id="wait", job_id="{{ x }}", deferrable=deferrable, **{forgiving: True}
        )
        sensor.job_id = "None"
        with pytest.raises(AirflowFailException) as caught:
            sensor.execute(make_context())
        assert not isinstance(caught.value, AirflowSkipException)
        assert isinstance(caught.value, RequestValidationError)
