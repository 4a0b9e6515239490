"""Arguments as mapped tasks, default_args and templates hand them over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, conf

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator
from airflow_provider_ci.operators.template import VoiceSeparateTemplateOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tests.conftest import Logs
from tests.scripted_server import ScriptedServer, job

JOB: dict[str, Any] = {"task_id": "task", "input_object": "in/a.mp3", "voice_object": "out/a"}
BATCH: dict[str, Any] = {"task_id": "task", "prefix": "in/", "voice_object": "out/${jobid}"}
TEMPLATE: dict[str, Any] = {"task_id": "task", "name": "stems", "audio_mode": "IsAudio"}
MQ = {"mq_region": "sh", "mq_mode": "Queue", "mq_name": "n"}
KAFKA = {"region": "ap-guangzhou", "instance_id": "i", "topic": "t"}
RENDERED: Any = {
    "nothing": None,
    "text": "song",
    "title": "Second to None of Them",
    "path_with_none": "in/None/x.mp3",
}
IDS: dict[str, Any] = {"task_id": "task", "job_id": "j1"}
LEAST: dict[type[Any], dict[str, Any]] = {
    VoiceSeparateOperator: JOB,
    VoiceSeparateBatchOperator: BATCH,
    VoiceSeparateTemplateOperator: TEMPLATE,
    TencentCICancelJobOperator: IDS,
    TencentCIJobSensor: IDS,
}
SUBMITTING = (VoiceSeparateOperator, VoiceSeparateBatchOperator)
BOOLEANS = [(owner, name) for owner in LEAST for name in owner.boolean_arguments]

Make = Callable[..., Any]


def make(owner: type[Any], **arguments: Any) -> Any:
    return owner(**(LEAST[owner] | arguments))


def without_effect(logs: Logs) -> list[str]:
    said = ": no effect, because this task does not wait"
    return [line.partition(said)[0] for line in logs.at("warning") if said in line]


@pytest.fixture
def default_deferrable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert conf.getboolean("operators", "default_deferrable")


class TestWhetherToWait:
    """(wait_for_completion, deferrable) as they were given, and how the task waits."""

    @pytest.mark.parametrize("owner", SUBMITTING)
    @pytest.mark.parametrize(
        ("given", "waits", "defers"),
        [
            ({}, False, None),
            ({"deferrable": True}, True, True),
            ({"deferrable": "true"}, True, True),
            ({"deferrable": False}, False, None),
            ({"wait_for_completion": True}, True, False),
            ({"wait_for_completion": True, "deferrable": True}, True, True),
            ({"wait_for_completion": False, "deferrable": True}, False, None),
        ],
    )
    def test_a_task_that_is_told_where_to_wait_waits(
        self, owner: type[Any], given: dict[str, Any], waits: bool, defers: bool | None
    ) -> None:
        operator = make(owner, **given)
        assert operator.wait_for_completion is waits
        assert defers is None or operator.deferrable is defers

    @pytest.mark.usefixtures("default_deferrable")
    @pytest.mark.parametrize("owner", SUBMITTING)
    def test_a_sites_default_decides_where_but_not_whether(self, owner: type[Any]) -> None:
        assert make(owner).wait_for_completion is False
        waiting = make(owner, wait_for_completion=True)
        assert waiting.wait_for_completion is waiting.deferrable is True
        assert make(owner, wait_for_completion=True, deferrable=False).deferrable is False

    @pytest.mark.usefixtures("default_deferrable")
    def test_of_a_sensor_too(self) -> None:
        assert make(TencentCIJobSensor).deferrable is True
        assert make(TencentCIJobSensor, deferrable=False).deferrable is False

    @pytest.mark.parametrize("owner", SUBMITTING)
    def test_in_default_args_it_is_told_too(self, owner: type[Any]) -> None:
        with DAG("d", schedule=None, default_args={"deferrable": True}):
            assert make(owner).wait_for_completion is True
            assert make(owner, task_id="other", wait_for_completion=False).wait_for_completion is False

    @pytest.mark.parametrize("owner", SUBMITTING)
    @pytest.mark.parametrize("mapped", [{"deferrable": True}, {"deferrable": "yes", "durable": "no"}])
    def test_a_mapped_task_waits_alike(self, owner: type[Any], mapped: dict[str, Any]) -> None:
        with DAG("d", schedule=None):
            task = owner.partial(**LEAST[owner]).expand_kwargs([mapped])
            operator = task.unmap(mapped)
        assert operator.wait_for_completion is operator.deferrable is True
        with DAG("e", schedule=None):
            arguments = dict(LEAST[owner])
            over = {"voice_object": [arguments.pop("voice_object")]}
            task = owner.partial(**arguments, deferrable=True).expand(**over)
            operator = task.unmap({"voice_object": over["voice_object"][0]})
        assert operator.wait_for_completion is operator.deferrable is True

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"timeout": 10}, ["timeout=10"]),
            ({"poll_interval": timedelta(minutes=1)}, ["poll_interval=60.0"]),
            ({"timeout": 10, "poll_interval": 5}, ["poll_interval=5, timeout=10"]),
            ({"deferrable": True, "wait_for_completion": False}, ["deferrable=True"]),
            ({"deferrable": False}, []),
            ({}, []),
        ],
    )
    def test_what_has_no_effect_is_named(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        logs: Logs,
        given: dict[str, Any],
        named: list[str],
    ) -> None:
        connection(server.url)
        server.play(job())
        operator = make(VoiceSeparateOperator, **given)
        operator.execute(make_context())
        operator.hook.close()
        assert without_effect(logs) == named

    def test_where_they_have_an_effect_nothing_is_named(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        logs: Logs,
    ) -> None:
        connection(server.url)
        server.play(job(state="Success"))
        operator = make(VoiceSeparateOperator, timeout=10, wait_for_completion=True)
        operator.execute(make_context())
        operator.hook.close()
        assert without_effect(logs) == []


class TestBooleans:
    def test_every_switch_is_read(self) -> None:
        names = {name for _, name in BOOLEANS}
        assert names == {
            *("wait_for_completion", "deferrable", "cancel_on_kill", "durable"),
            *("check_input", "allow_failed_jobs", "fail_if_running"),
        }

    @pytest.mark.parametrize(("owner", "name"), BOOLEANS)
    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            *((text, True) for text in ("true", "True", "T", " yes ", "on", "1", 1, True)),
            *((text, False) for text in ("false", "FALSE", "f", "no", "n", "off", "0", 0, False)),
        ],
    )
    def test_texts_are_read_as_airflow_reads_them(
        self, owner: type[Any], name: str, text: Any, meant: bool
    ) -> None:
        assert getattr(make(owner, **{name: text}), name) is meant

    @pytest.mark.parametrize(("owner", "name"), BOOLEANS)
    @pytest.mark.parametrize("value", ["", "maybe", "None", 2, [True], {"a": 1}, 1.0, b"true"])
    def test_anything_else_is_refused(self, owner: type[Any], name: str, value: Any) -> None:
        with pytest.raises(RequestValidationError) as caught:
            make(owner, **{name: value})
        assert f"{name} is {value!r}, allowed: True or False" in str(caught.value)

    @pytest.mark.parametrize(("owner", "name"), BOOLEANS)
    def test_a_template_is_refused_for_it_would_not_be_rendered(self, owner: type[Any], name: str) -> None:
        with pytest.raises(RequestValidationError, match=f"{name} is .*, allowed: a value, .* not templated"):
            make(owner, **{name: "{{ params.x }}"})

    @pytest.mark.parametrize(("owner", "name"), BOOLEANS)
    def test_nothing_is_the_default_only_where_that_depends(self, owner: type[Any], name: str) -> None:
        if name in ("wait_for_completion", "deferrable"):
            make(owner, **{name: None})
            return
        with pytest.raises(RequestValidationError, match=f"{name} is None, allowed"):
            make(owner, **{name: None})

    def test_a_users_class_may_template_them(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
    ) -> None:
        class Templated(VoiceSeparateOperator):
            template_fields = (*VoiceSeparateOperator.template_fields, "deferrable", "durable", "timeout")

        connection(server.url)
        server.play(job(state="Success"))
        with DAG("d", schedule=None, render_template_as_native_obj=True):
            operator = Templated(
                **JOB, deferrable="{{ params.a }}", durable="{{ params.b }}", timeout="{{ params.c }}"
            )
        context = make_context() | {"params": {"a": "true", "b": "no", "c": 5}}
        operator.render_template_fields(context)
        operator.execute(context)
        operator.hook.close()
        assert (operator.wait_for_completion, operator.deferrable, operator.durable) == (True, True, False)
        assert operator.timeout == 5


class TestSeconds:
    @pytest.mark.parametrize("owner", SUBMITTING)
    @pytest.mark.parametrize("name", ["timeout", "poll_interval"])
    def test_a_timedelta_is_as_good(self, owner: type[Any], name: str) -> None:
        operator = make(owner, **{name: timedelta(minutes=5)})
        assert getattr(operator, name) == 300.0
        with DAG("d", schedule=None, default_args={name: timedelta(seconds=1.5)}):
            assert getattr(make(owner), name) == 1.5

    @pytest.mark.parametrize("owner", SUBMITTING)
    @pytest.mark.parametrize("name", ["timeout", "poll_interval"])
    @pytest.mark.parametrize("value", [0, -1, "30", True, float("nan"), timedelta(), timedelta(-1), [1]])
    def test_what_is_none_is_refused(self, owner: type[Any], name: str, value: Any) -> None:
        with pytest.raises(RequestValidationError, match=f"{name} is .* seconds .* or a timedelta"):
            make(owner, **{name: value})

    def test_airflow_does_it_for_the_sensor(self) -> None:
        sensor = make(TencentCIJobSensor, timeout=timedelta(minutes=5), poke_interval=timedelta(seconds=30))
        assert (sensor.timeout, sensor.poke_interval) == (300, 30)
        sensor = make(TencentCIJobSensor, timeout=0, poke_interval=0)
        assert (sensor.timeout, sensor.poke_interval) == (0, 0)

    @pytest.mark.parametrize("owner", SUBMITTING)
    def test_ten_years_are_the_longest(self, owner: type[Any]) -> None:
        operator = make(owner, timeout=timedelta(days=3650), poll_interval=3650 * 86_400)
        assert operator.timeout == operator.poll_interval == 3650 * 86_400


KEYS = ("input_object", "background_object", "voice_object", "bass_object", "drum_object")
MISRENDERED: list[tuple[type[Any], str]] = [
    *((VoiceSeparateOperator, name) for name in KEYS),
    *(
        (VoiceSeparateOperator, name)
        for name in ("output_bucket", "output_region", "template_id", "queue_id")
    ),
    *(
        (VoiceSeparateBatchOperator, name)
        for name in ("prefix", "manifest", "url_file", "name", "voice_object")
    ),
    (VoiceSeparateTemplateOperator, "name"),
    (TencentCICancelJobOperator, "job_id"),
    (TencentCIJobSensor, "job_id"),
    *((owner, name) for owner in LEAST for name in ("bucket", "region", "tencent_ci_conn_id")),
]


class TestTemplatesThatWentWrong:
    @pytest.fixture
    def run(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        make_context: Callable[..., dict[str, Any]],
    ) -> Callable[..., str]:
        """Return a function that runs a task that a template's value is bad for, and what it says."""

        def run(owner: type[Any], name: str, rendered: Any) -> str:
            connection(server.url)
            operator = make(owner, **{name: "{{ rendered }}"})
            setattr(operator, name, rendered)
            with pytest.raises(RequestValidationError) as caught:
                operator.execute(make_context())
            assert isinstance(caught.value, AirflowFailException), "a retry would find the same"
            assert not server.requests
            return str(caught.value)

        return run

    @pytest.mark.parametrize(("owner", "name"), MISRENDERED)
    @pytest.mark.parametrize("rendered", ["None", " None "])
    def test_none_is_no_name(
        self, run: Callable[..., str], owner: type[Any], name: str, rendered: str
    ) -> None:
        said = run(owner, name, rendered)
        assert f"{name} is {rendered!r}, allowed: " in said
        if name != "job_id" or rendered == "None":
            assert "a template rendered None, so what it reads is not there" in said

    @pytest.mark.parametrize(
        ("owner", "name"), [each for each in MISRENDERED if each != (TencentCICancelJobOperator, "job_id")]
    )
    def test_nor_is_a_native_none(self, run: Callable[..., str], owner: type[Any], name: str) -> None:
        said = run(owner, name, None)
        assert f"{name} is None, allowed: " in said or name == "name"

    @pytest.mark.parametrize(("owner", "name"), MISRENDERED)
    @pytest.mark.parametrize(
        "rendered",
        [
            "['a', 'b']",
            "[]",
            "{'job_id': 'j1'}",
            "('a',)",
            "LazySelectSequence([3 items])",
            "LazyXComSequence(<?>)",
        ],
    )
    def test_nor_is_a_list_that_became_a_text(
        self, run: Callable[..., str], owner: type[Any], name: str, rendered: str
    ) -> None:
        said = run(owner, name, rendered)
        assert f"{name} is {rendered!r}, allowed: one string; a template rendered a list or dict" in said

    @pytest.mark.parametrize(
        ("owner", "name"),
        [
            (VoiceSeparateOperator, "input_object"),
            (VoiceSeparateTemplateOperator, "name"),
            (TencentCICancelJobOperator, "job_id"),
            (TencentCIJobSensor, "job_id"),
        ],
    )
    def test_what_is_needed_may_not_be_empty(
        self, run: Callable[..., str], owner: type[Any], name: str
    ) -> None:
        assert " is ''" in run(owner, name, "") or " is None" in run(owner, name, "")

    @pytest.fixture
    def render_and_run(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        make_context: Callable[..., dict[str, Any]],
    ) -> Callable[..., str]:
        """Return a function that renders a task and runs it, and returns what it says before anything is
        sent, or nothing if it submits.
        """

        def render_and_run(owner: type[Any], *, native: bool = False, **arguments: Any) -> str:
            connection(server.url)
            server.always("POST", job())
            with DAG("d", schedule=None, render_template_as_native_obj=native):
                operator = make(owner, **arguments)
            operator.render_template_fields(RENDERED)
            refusal = ""
            try:
                operator.execute(make_context())
            except TaskArgumentError as error:
                refusal = str(error)
            operator.hook.close()
            assert bool(server.requests) is not bool(refusal)
            return refusal

        return render_and_run

    @pytest.mark.parametrize("native", [False, True])
    @pytest.mark.parametrize(
        ("name", "template"),
        [
            ("input_object", "in/{{ nothing }}.mp3"),
            ("input_object", "in/{% if true %}{{ nothing }}{% endif %}/x.mp3"),
            ("input_object", "in/{% if true %}sub/{{ nothing }}{% endif %}/x.mp3"),
            ("input_object", "{% set key = nothing %}in/{{ key }}/x.mp3"),
            ("input_object", "in/{% for each in (1, nothing) %}{{ each }}-{% endfor %}x.mp3"),
            ("input_object", "in/{# the run #}{{ nothing }}/{# the file #}x.mp3"),
            ("input_object", "in/{{ text }}/{# not None #}{{ nothing }}"),
            ("input_object", "in/ {{- nothing }}/x.mp3"),
            ("input_object", "in/{{ nothing -}} \n .mp3"),
            ("input_object", "in/{% if true -%} {{ nothing }} {%- endif %}.mp3"),
            ("input_object", "in/{{ nothing }}.mp3\n"),
            ("input_object", "in/{{ {'}}': nothing}['}}'] }}.mp3"),
            ("input_object", "in/{% raw %}{{ x }}{% endraw %}/{{ nothing }}.mp3"),
            ("input_object", "{{ nothing ~ '/y' }}"),
            ("input_object", "{{ 'in/' ~ nothing ~ '.mp3' }}"),
            ("input_object", "{{ 'r-%s' % nothing }}"),
            ("input_object", "{{ 'in/{}.mp3'.format(nothing) }}"),
            ("input_object", "{{ ['in', nothing] | join('/') }}"),
            ("input_object", "{{ path_with_none }}"),
            ("voice_object", "out/{{ text }}/${jobid}-{{ nothing }}.${ext}"),
            ("output_bucket", "{{ nothing }}-1250000000"),
            ("callback_url", "https://{{ nothing }}/cb"),
            ("callback_url", "https://user:secret@example.com/{{ nothing }}?token=secret"),
        ],
    )
    def test_nor_is_a_part_of_a_text(
        self, render_and_run: Callable[..., str], name: str, template: str, native: bool
    ) -> None:
        said = render_and_run(VoiceSeparateOperator, native=native, **{name: template})
        assert f"{name} is '" in said
        assert "allowed: a string without None; a template rendered None" in said
        assert "secret" not in said

    @pytest.mark.parametrize(
        "template",
        [
            "in/{{ title }}.mp3",  # a title that has None in it
            "in/{{ title }} - {{ text }}.mp3",
            "{{ 'in/' ~ title ~ '.mp3' }}",
            "in/None/{{ text }}.mp3",
            "{{ 'in/None/' ~ text }}",
            "{% if text %}in/None/{% endif %}{{ text }}.mp3",
            "in/{{ text if text is not none else 'None' }}.mp3",
        ],
    )
    def test_other_texts_may_have_none_in_them(
        self, render_and_run: Callable[..., str], template: str
    ) -> None:
        assert not render_and_run(VoiceSeparateOperator, input_object=template)

    @pytest.mark.parametrize("native", [False, True])
    @pytest.mark.parametrize(
        ("kind", "name", "config", "part"),
        [
            ("TDMQ", "callback_mq_config", MQ, "mq_name"),
            ("Kafka", "callback_kafka_config", KAFKA, "topic"),
            ("Kafka", "callback_kafka_config", KAFKA, "instance_id"),
        ],
    )
    @pytest.mark.parametrize("template", ["{{ nothing }}", "ci-{{ nothing }}"])
    def test_nor_is_where_a_callback_goes(
        self,
        render_and_run: Callable[..., str],
        kind: str,
        name: str,
        config: dict[str, Any],
        part: str,
        template: str,
        native: bool,
    ) -> None:
        given = {"callback_type": kind, name: config | {part: template}}
        said = render_and_run(VoiceSeparateOperator, native=native, **given)
        assert " is None, allowed: a string" in said or f"{name}.{part} is '" in said
        assert not render_and_run(VoiceSeparateOperator, native=native, **(given | {name: config}))

    @pytest.mark.parametrize(
        ("written", "native", "said"),
        [
            ({"start": "{{ nothing }}", "end": None}, True, "time_interval.start is None, allowed: a time"),
            (
                {"start": "{{ nothing }}", "end": None},
                False,
                "time_interval.start is 'None', allowed: a time",
            ),
            ("{{ nothing }}", True, "time_interval is None, allowed: a time"),
            ("{{ nothing }}", False, "time_interval is 'None', allowed: a dict"),
            ("{{ {'start': nothing} }}", True, "time_interval.start is None, allowed: a time"),
            ("{{ {'start': nothing} }}", False, "allowed: a dict with start and end"),
            ("{{ [] }}", True, "time_interval is [], allowed: a dict"),
            ("{{ 0 }}", True, "time_interval is 0, allowed: a dict"),
        ],
    )
    def test_a_time_that_a_template_lost_is_not_left_out(
        self, render_and_run: Callable[..., str], written: Any, native: bool, said: str
    ) -> None:
        assert said in render_and_run(VoiceSeparateBatchOperator, native=native, time_interval=written)

    @pytest.mark.parametrize("written", [None, {}, "", {"start": None}, "{{ '' }}", {"end": "{{ '' }}"}])
    def test_a_time_that_is_left_out_on_purpose_is(
        self, connection: Callable[..., str], written: Any
    ) -> None:
        connection("http://127.0.0.1:1")
        with DAG("d", schedule=None):
            operator = make(VoiceSeparateBatchOperator, time_interval=written)
        operator.render_template_fields(RENDERED)
        operator.validate_arguments(operator.hook.settings.endpoint())

    @pytest.mark.parametrize("given", [["in/a.mp3"], ("in/a.mp3",), {"in/a.mp3": 1}])
    def test_a_list_for_a_text_is_to_be_mapped_over(self, run: Callable[..., str], given: Any) -> None:
        said = run(VoiceSeparateOperator, "input_object", given)
        assert f"input_object is {given!r}, allowed: one string; " in said
        assert "map over them with .expand()" in said

    def test_digits_that_became_a_number(self, run: Callable[..., str]) -> None:
        assert "quotes inside, as in \"'{{ ds_nodash }}'\"" in run(
            VoiceSeparateOperator, "input_object", 20260101
        )

    def test_the_text_with_quotes_inside_stays_one(self) -> None:
        with DAG("d", schedule=None, render_template_as_native_obj=True):
            number = make(VoiceSeparateOperator, task_id="number", input_object="{{ key }}")
            text = make(VoiceSeparateOperator, task_id="text", input_object="'{{ key }}'")
        for operator in (number, text):
            operator.render_template_fields({"key": "20260101"})
        assert (number.input_object, text.input_object) == (20260101, "20260101")

    @pytest.mark.parametrize("key", ["None.mp3", "in/None", "[live].mp3", "(1)", "none", "LazySequence.mp3"])
    def test_other_keys_are_keys(self, key: str) -> None:
        assert make(VoiceSeparateOperator, input_object=key).input_object == key

    def test_the_users_own_text_may_be_anything(self) -> None:
        for text in ("None", '{"a": 1}', "[]"):
            assert make(VoiceSeparateOperator, user_data=text).user_data == text

    def test_an_empty_text_or_a_literal_none_gives_nothing(self) -> None:
        for nothing in ("", None):
            make(VoiceSeparateOperator, queue_id=nothing, background_object=nothing, bucket=nothing)
