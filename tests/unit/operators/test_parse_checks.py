"""What is refused when a DAG is parsed, and what is left to when its tasks run."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset

from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from tests.integration.airflow_runs import dag_bag
from tests.scripted_server import ScriptedServer, job
from tests.unit.operators.minimal_operators import (
    BATCH,
    CANCEL,
    KAFKA,
    MINIMAL,
    MQ,
    ONE,
    SENSOR,
    TEMPLATE,
    make,
)

KEY = "${jobid}"
#: Wrong arguments, and what is said about them.
WRONG: list[tuple[type[Any], dict[str, Any], str]] = [
    *(
        case
        for owner in (ONE, BATCH, TEMPLATE)
        for case in (
            (owner, {"codec": "ogg"}, "codec is 'ogg', allowed: aac, flac, mp3, amr, wav"),
            (owner, {"samplerate": "44.1k"}, "samplerate is '44.1k', allowed: an integer"),
            (owner, {"bucket": "media"}, "bucket is 'media', allowed: <name>-<appid>"),
            (owner, {"region": "guangzhou"}, "region is 'guangzhou', allowed: a region"),
            (owner, {"tencent_ci_conn_id": ""}, "tencent_ci_conn_id is '', allowed"),
        )
    ),
    (ONE, {"poll_interval": "30"}, "poll_interval is '30', allowed: a number of seconds above 0"),
    (ONE, {"execution_timeout": timedelta.max}, "allowed: at most 3650 days"),
    (ONE, {"timeout": "{{ params.t }}"}, "this argument is not templated"),
    (ONE, {"on_ambiguous_submit": "retry"}, "on_ambiguous_submit is 'retry', allowed: fail, resubmit"),
    (ONE, {"outlets": [Asset("cos://media-1250000001/a")]}, "although the task does not wait for its job"),
    (ONE, {"output_bucket": "media"}, "output_bucket is 'media', allowed"),
    (
        ONE,
        {"callback_type": "TDMQ"},
        "callback_mq_config is None, allowed: given exactly when callback_type is",
    ),
    (ONE, {"audio_mode": "AudioAndBackground"}, "background_object is None, allowed: an object key, because"),
    (ONE, {"voice_object": None}, "background_object and voice_object are None, allowed: at least one"),
    (ONE, {"voice_object": "None"}, "a template rendered None"),
    (ONE, {"background_object": "['a']"}, "a template rendered a list"),
    (ONE, {"input_object": "/in/a.mp3"}, "input_object is '/in/a.mp3', allowed: an object key"),
    (ONE, {"input_object": Path("in/a.mp3")}, "input_object is PosixPath('in/a.mp3'), allowed: a string"),
    (BATCH, {"poll_interval": "30"}, "poll_interval is '30'"),
    (BATCH, {"prefix": None}, "no input is set, allowed: exactly one of"),
    (BATCH, {"voice_object": f"in/{KEY}"}, "would process this one's results"),
    (BATCH, {"name": "a b"}, "name is 'a b', allowed"),
    (BATCH, {"time_interval": {"start": "yesterday"}}, "time_interval.start is 'yesterday'"),
    (BATCH, {"prefix": None, "codec": "ogg", "queue_id": "p 1"}, "queue_id is 'p 1'"),
    (TEMPLATE, {"name": "a b"}, "name is 'a b', allowed"),
    (CANCEL, {"job_id": "a/b"}, "job_id is 'a/b', allowed"),
    (CANCEL, {"bucket": "media"}, "bucket is 'media'"),
    (SENSOR, {"job_id": ["j1", "None"]}, "job_id is 'None', allowed: an id; a template rendered None"),
    (SENSOR, {"region": "guangzhou"}, "region is 'guangzhou'"),
    (SENSOR, {"poke_interval": "5"}, "poke_interval is '5', allowed: a number of seconds from 0 on"),
    (SENSOR, {"timeout": "{{ params.t }}"}, "this argument is not templated"),
]
#: Nothing is wrong with these before they are rendered.
TEMPLATED: list[tuple[type[Any], dict[str, Any]]] = [
    *((owner, {"codec": "{{ c }}", "samplerate": 8000}) for owner in (ONE, BATCH, TEMPLATE)),
    (ONE, {"codec": "amr", "samplerate": "{{ c }}"}),
    (ONE, {"audio_mode": "{{ m }}", "samplerate": 1, "codec": "wav"}),
    (ONE, {"template_id": "{{ t }}", "codec": "mp3"}),
    (ONE, {"voice_object": "{{ k }}", "audio_mode": "IsAudio"}),
    (ONE, {"background_object": "{% if x %}a{% endif %}", "audio_mode": "IsAudio"}),
    (ONE, {"voice_object": "{{ k }}", "background_object": "{{ k }}"}),
    (ONE, {"output_bucket": "{{ b }}", "bucket": "{{ b }}", "region": "{{ r }}"}),
    (ONE, {"callback_type": "TDMQ", "callback_mq_config": MQ | {"mq_name": "{{ n }}"}}),
    (ONE, {"callback_type": "{{ t }}", "callback_mq_config": MQ}),
    (BATCH, {"callback_type": "{{ t }}", "callback_kafka_config": KAFKA | {"topic": "{{ k }}"}}),
    (BATCH, {"callback_type": "TDMQ", "callback_mq_config": "{{ c }}"}),
    (ONE, {"callback_type": "{{ t }}", "callback_url": "{{ u }}"}),
    (ONE, {"queue_id": lambda context, jinja_env: "p1", "job_level": "{{ 1 }}"}),
    (ONE, {"tencent_ci_conn_id": "{{ c }}"}),
    (BATCH, {"prefix": "{{ p }}"}),
    (BATCH, {"prefix": "in/", "manifest": "{{ m }}"}),
    (BATCH, {"prefix": "{{ p }}", "voice_object": f"{{{{ p }}}}/{KEY}"}),
    (BATCH, {"time_interval": {"start": "2025-01-01T00:00:00Z", "end": "{{ b }}"}}),
    (BATCH, {"time_interval": "{{ t }}"}),
    (BATCH, {"name": "{{ dag.dag_id }}"}),
    (TEMPLATE, {"name": "{{ n }}", "audio_mode": "{{ m }}"}),
    (CANCEL, {"job_id": "{{ ti.xcom_pull('a') }}"}),
    (SENSOR, {"job_id": ["{{ a }}", "j2"]}),
    (SENSOR, {"job_id": iter(["j1"])}),
]
#: Wrong whatever their templates render to.
WRONG_BESIDE_TEMPLATES: list[tuple[type[Any], dict[str, Any], str]] = [
    (ONE, {"input_object": "{{ k }}", "codec": "ogg"}, "'ogg'"),
    (ONE, {"tencent_ci_conn_id": "{{ c }}", "codec": "ogg"}, "'ogg'"),
    (ONE, {"input_object": "{{ k }}", "voice_object": None}, "at least one"),
    (
        ONE,
        {"voice_object": "{{ k }}", "background_object": "/x", "audio_mode": "IsBackground"},
        "'/x', allowed",
    ),
    (BATCH, {"prefix": "{{ p }}", "voice_object": "out/voice.mp3"}, "overwrite each other"),
    (BATCH, {"prefix": "{{ p }}", "codec": "ogg"}, "'ogg'"),
    (BATCH, {"name": "{{ n }}", "codec": "ogg"}, "'ogg'"),
    (SENSOR, {"job_id": "{{ j }}", "bucket": "media"}, "bucket is 'media'"),
    (
        BATCH,
        {"time_interval": {"start": "yesterday", "end": "{{ b }}"}},
        "time_interval.start is 'yesterday'",
    ),
    (BATCH, {"time_interval": {"strat": "{{ a }}"}}, "allowed: a dict with start and end"),
    (SENSOR, {"job_id": ["{{ a }}", "a/b"]}, "job_id is 'a/b', allowed"),
    (CANCEL, {"job_id": ("{{ a }}", "None")}, "job_id is 'None', allowed"),
    (
        ONE,
        {"callback_type": "TDMQ", "callback_mq_config": MQ | {"mq_name": "{{ n }}", "mq_mode": "x"}},
        "'x', allowed: Queue",
    ),
    (ONE, {"callback_type": "Url", "callback_mq_config": MQ}, "given exactly when"),
    (ONE, {"callback_type": "{{ t }}", "callback_mq_config": MQ | {"mq_region": "xx"}}, "'xx', allowed"),
]


@pytest.mark.parametrize(("owner", "arguments", "said"), WRONG + WRONG_BESIDE_TEMPLATES)
def test_arguments_that_cannot_work_are_refused(
    owner: type[Any], arguments: dict[str, Any], said: str
) -> None:
    with DAG("d", schedule=None), pytest.raises(TaskArgumentError) as caught:
        make(owner, **arguments)
    assert str(caught.value).startswith("Task 'task' cannot work: ")
    assert said in str(caught.value)
    assert "example/" not in str(caught.value)


@pytest.mark.parametrize(("owner", "arguments"), TEMPLATED)
def test_templates_are_left_to_when_they_are_rendered(owner: type[Any], arguments: dict[str, Any]) -> None:
    with DAG("d", schedule=None):
        make(owner, **arguments)


@pytest.mark.parametrize("owner", MINIMAL)
def test_templates_are_assigned_unchanged(owner: type[Any]) -> None:
    arguments: dict[str, Any] = {name: ["{{ a }}"] for name in owner.template_fields}
    operator = make(owner, **arguments)
    assert all(getattr(operator, name) is value for name, value in arguments.items())


@pytest.mark.parametrize("owner", [ONE, BATCH, TEMPLATE])
def test_the_rule_for_a_rate_does_not_name_a_codec_of_no_argument(owner: type[Any]) -> None:
    with DAG("d", schedule=None), pytest.raises(TaskArgumentError) as caught:
        make(owner, codec="{{ c }}", samplerate=5)
    assert str(caught.value).endswith("48000, 96000, depending on codec")


@pytest.mark.parametrize("owner", MINIMAL)
def test_the_examples_break_no_rule(owner: type[Any]) -> None:
    """Or a task would be refused although its templates may render to something that works."""
    for example in owner.parse_check_examples:
        kind = example.get("callback_type")
        # of the sources of a job or a batch only one may be given
        excluded = {"manifest", "url_file", "input_url"}
        excluded |= {"callback_mq_config"} if kind != "TDMQ" else set()
        excluded |= {"callback_kafka_config"} if kind != "Kafka" else set()
        with DAG("d", schedule=None):
            make(owner, **{name: value for name, value in example.items() if name not in excluded})


@pytest.mark.parametrize("owner", MINIMAL)
def test_every_template_field_has_an_example(owner: type[Any]) -> None:
    """Except those for which no value at all breaks no rule, and what is in every example. Of a dict of
    elements that is not known, nothing counts as missing.
    """
    no_value = {"template_id", "user_data", "bucket", "region", *owner.tree_arguments}
    always = {"tencent_ci_conn_id", "name"}
    assert {*owner.template_fields} <= {*owner.parse_check_examples[0]} | no_value | always


class TestMapped:
    @pytest.mark.parametrize(
        ("owner", "fixed", "said"),
        [
            (ONE, {"voice_object": "a", "codec": "ogg"}, "'ogg'"),
            (ONE, {"voice_object": "a", "timeout": timedelta(-1)}, "timeout is "),
            (ONE, {"bucket": "media"}, "bucket is 'media'"),
            (BATCH, {"voice_object": "out/voice.mp3"}, "overwrite each other"),
            (TEMPLATE, {"audio_mode": "Nonsense"}, "'Nonsense'"),
            (CANCEL, {"fail_if_running": "maybe"}, "fail_if_running is 'maybe'"),
            (SENSOR, {"deferrable": "maybe"}, "deferrable is 'maybe'"),
            (SENSOR, {"region": "guangzhou"}, "region is 'guangzhou'"),
            (SENSOR, {"poke_interval": "5"}, "poke_interval is '5'"),
            (SENSOR, {"execution_timeout": timedelta.max}, "allowed: at most 3650 days"),
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

    def test_default_args_are_checked_when_the_task_runs(self) -> None:
        with DAG("d", schedule=None, default_args={"timeout": "1 h"}):
            mapped = ONE.partial(task_id="mapped", voice_object="a").expand(input_object=["in/a"])
        with pytest.raises(AirflowFailException, match="timeout is '1 h'"):
            mapped.unmap({"input_object": "in/a"})

    @pytest.mark.parametrize("owner", MINIMAL)
    def test_what_is_mapped_is_not_checked(self, owner: type[Any]) -> None:
        for name, value in MINIMAL[owner].items():
            with DAG("d", schedule=None):
                fixed = {key: other for key, other in MINIMAL[owner].items() if key != name}
                owner.partial(task_id="task", **fixed).expand(**{name: [value]})
        with DAG("d", schedule=None):
            owner.partial(task_id="task").expand_kwargs([MINIMAL[owner]])

    @pytest.mark.parametrize(
        ("kind", "config"),
        [("TDMQ", {"callback_mq_config": MQ}), ("Kafka", {"callback_kafka_config": KAFKA})],
    )
    def test_the_kind_of_a_callback_may_be_mapped_over(self, kind: str, config: dict[str, Any]) -> None:
        with DAG("d", schedule=None):
            mapped = ONE.partial(task_id="task", **config, **MINIMAL[ONE]).expand_kwargs(
                [{"callback_type": kind}]
            )
            assert mapped.unmap({"callback_type": kind}).callback_type == kind

    @pytest.mark.parametrize(
        ("owner", "name", "value"), [(ONE, "durable", "perhaps"), (SENSOR, "poke_interval", "5")]
    )
    def test_a_mapped_value_that_cannot_work_fails_without_retry(
        self, owner: type[Any], name: str, value: str
    ) -> None:
        with DAG("d", schedule=None):
            mapped = owner.partial(task_id="task", **MINIMAL[owner]).expand(**{name: [value]})
        with pytest.raises(AirflowFailException, match=f"{name} is '{value}', allowed"):
            mapped.unmap({name: value})


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
