"""Template fields once they are rendered, and what they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.rendered_arguments import (
    connection_argument_problems,
    read_arguments,
    read_dict,
    read_ids,
)
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

NONE_RENDERED = "; a template rendered None, so what it reads is not there"


def operator(*, template: Any = None, **arguments: Any) -> Any:
    """Return something with arguments, all of which were rendered from ``template``."""
    return SimpleNamespace(
        **arguments,
        integer_arguments=("bitrate",),
        free_text_arguments=("user_data",),
        nullable_arguments=("codec",),
        elements={},
        templated_arguments=dict.fromkeys(arguments, template) if template else {},
    )


def read(name: str, value: Any, template: Any = None) -> Any:
    return read_arguments(operator(template=template, **{name: value}), (name,))[name]


def refusal(name: str, value: Any, template: Any = None) -> str:
    with pytest.raises(RequestValidationError) as caught:
        read(name, value, template)
    return str(caught.value).removeprefix("Nothing was sent: ")


@pytest.mark.parametrize(
    ("name", "value", "meaning"),
    [
        ("key", "in/None of it.mp3", "in/None of it.mp3"),
        ("key", "", None),
        ("key", "  ", None),
        ("key", None, None),
        ("codec", "mp3", "mp3"),
        ("bitrate", " 128 ", 128),
        ("bitrate", 0, 0),
        ("bitrate", "", None),
        ("bitrate", None, None),
        ("user_data", "None", "None"),
        ("user_data", "['a']", "['a']"),
        ("user_data", " ", None),
    ],
)
def test_what_is_read(name: str, value: Any, meaning: Any) -> None:
    assert read(name, value) == meaning


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("key", "None", f"a string, or an empty one for no value{NONE_RENDERED}"),
        ("codec", " None ", f"a string, or an empty one for no value{NONE_RENDERED}"),
        (
            "key",
            "['a', 'b']",
            "one string; a template rendered a list or dict: pass the other task's .output",
        ),
        ("key", ["a"], "one string; for a task for each of several strings, map over them with .expand()"),
        ("key", {"a": 1}, "one string; for a task for each"),
        (
            "key",
            20260101,
            "a string; in a DAG with render_template_as_native_obj=True digits become a number",
        ),
        ("key", b"a", "a string"),
        ("key", True, "a string"),
        ("user_data", 5, "a string; in a DAG with"),
        ("bitrate", "128k", "an integer"),
        ("bitrate", "-8", "an integer"),
        ("bitrate", 128.0, "an integer"),
        ("bitrate", True, "an integer"),
        ("bitrate", "None", f"an integer{NONE_RENDERED}"),
    ],
)
def test_what_is_refused(name: str, value: Any, allowed: str) -> None:
    assert refusal(name, value).startswith(f"{name} is {value!r}, allowed: {allowed}")


def test_a_rendered_none_is_refused_unless_the_argument_has_a_default() -> None:
    assert NONE_RENDERED in refusal("key", None, template="{{ a }}")
    assert read("codec", None, template="{{ a }}") is None
    assert read("user_data", None, template="{{ a }}") is None


def test_so_is_a_none_inside_a_string() -> None:
    said = refusal("key", "in/None.mp3", template="in/{{ a }}.mp3")
    assert said == f"key is 'in/None.mp3', allowed: a string without None{NONE_RENDERED}"


def test_a_long_value_is_shortened() -> None:
    assert len(refusal("key", ["a" * 9000])) < 300


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(RequestValidationError) as caught:
        read_arguments(operator(key=5, bitrate="a"), ("key", "bitrate"))
    assert len(caught.value.problems) == 2


class TestDict:
    def read(self, value: Any, template: Any = None) -> Any:
        return read_dict(operator(template=template, config=value), "config", ("topic", "region"))

    def test_of_strings(self) -> None:
        assert self.read({"topic": "a", "region": " "}) == {"topic": "a", "region": None}

    @pytest.mark.parametrize("nothing", [None, "", {}])
    def test_no_value(self, nothing: Any) -> None:
        assert self.read(nothing) is None

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("a", "config is 'a', allowed: a dict with topic, region"),
            ([{}], "config is [{}], allowed: a dict with topic, region"),
            ({"subject": "a"}, "config is {'subject': 'a'}, allowed: a dict"),
            ({"topic": 5, "region": ["a"]}, "config.topic is 5, allowed: a string; "),
            ({"topic": "None"}, "config.topic is 'None', allowed: a string"),
        ],
    )
    def test_anything_else_is_refused(self, value: Any, said: str) -> None:
        with pytest.raises(RequestValidationError) as caught:
            self.read(value)
        assert said in str(caught.value)

    @pytest.mark.parametrize("rendered", [None, "ci-None"])
    def test_a_part_that_a_template_failed_to_render(self, rendered: Any) -> None:
        with pytest.raises(RequestValidationError, match="a template rendered None"):
            self.read({"topic": rendered}, {"topic": "ci-{{ a }}"})


class TestIds:
    @pytest.mark.parametrize(
        ("value", "ids"), [("j1", ["j1"]), (["j1", "j2"], ["j1", "j2"]), (iter(["j1"]), ["j1"]), ([], [])]
    )
    def test_of_one_or_several_jobs(self, value: Any, ids: list[str]) -> None:
        assert read_ids("job_id", value) == ids

    @pytest.mark.parametrize("value", [5, None, "", {"j1": 1}, ["j1", None], ["j1", ""], [["j1"]]])
    def test_anything_else_is_refused(self, value: Any) -> None:
        with pytest.raises(RequestValidationError, match=r"job_id is .*, allowed: an id or a list of ids"):
            read_ids("job_id", value)

    @pytest.mark.parametrize(
        ("job_id", "allowed"),
        [
            ("../x", "letters, digits, _ and -, at most 128"),
            ("None", f"an id{NONE_RENDERED}"),
            ("['j1']", "one string; a template rendered a list or dict"),
        ],
    )
    def test_what_is_no_id(self, job_id: str, allowed: str) -> None:
        with pytest.raises(RequestValidationError) as caught:
            read_ids("job_id", ["j1", job_id])
        assert f"job_id is {job_id!r}, allowed: {allowed}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tencent_ci_conn_id": ""}, "tencent_ci_conn_id is '', allowed: the id of a connection"),
        ({"tencent_ci_conn_id": None}, "tencent_ci_conn_id is None, allowed: the id of a connection"),
        ({"bucket": "media"}, "bucket is 'media', allowed: <name>-<appid>, for instance media-1250000001"),
        ({"bucket": 1250000001}, "bucket is 1250000001, allowed: a string"),
        ({"region": "guangzhou"}, "region is 'guangzhou', allowed: a region, for instance ap-guangzhou"),
    ],
)
def test_connection_bucket_and_region(arguments: dict[str, Any], said: str) -> None:
    least = {"tencent_ci_conn_id": "c", "bucket": None, "region": ""}
    assert connection_argument_problems(operator(**least)) == []
    (problem,) = connection_argument_problems(operator(**least | arguments))
    assert problem.startswith(said)


KEYS = ("input_object", "background_object", "voice_object", "bass_object", "drum_object")
NAMES: list[tuple[type[Any], str]] = [
    *((ONE, name) for name in (*KEYS, "output_bucket", "output_region", "template_id", "queue_id")),
    *((BATCH, name) for name in ("prefix", "manifest", "url_file", "name", "voice_object")),
    (TEMPLATE, "name"),
    (CANCEL, "job_id"),
    (SENSOR, "job_id"),
    *((owner, name) for owner in MINIMAL for name in ("bucket", "region", "tencent_ci_conn_id")),
]


class TestOperators:
    """Every operator reads its template fields so, before anything is sent, and fails without retry."""

    @pytest.mark.parametrize(
        ("owner", "name", "rendered"),
        [
            # None for job_id is the output of a task that got no job, which cancels nothing
            *((*one, rendered) for one in NAMES for rendered in ("None", None) if one != (CANCEL, "job_id")),
            (CANCEL, "job_id", "None"),
            *((owner, "bucket", "['a', 'b']") for owner in MINIMAL),
        ],
    )
    def test_a_template_that_failed(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        make_context: Callable[..., dict[str, Any]],
        owner: type[Any],
        name: str,
        rendered: Any,
    ) -> None:
        connection(server.url)
        operator = make(owner, **{name: "{{ rendered }}"})
        setattr(operator, name, rendered)
        with pytest.raises(
            RequestValidationError, match=rf"{name} is .*, allowed: .*a template rendered"
        ) as caught:
            operator.execute(make_context())
        assert isinstance(caught.value, AirflowFailException)
        assert not server.requests

    @pytest.fixture
    def render_and_run(
        self,
        connection: Callable[..., str],
        server: ScriptedServer,
        make_context: Callable[..., dict[str, Any]],
    ) -> Callable[..., str]:
        """Return a function that renders a task and runs it, and returns why it was refused before anything
        was sent, or nothing if it submits.
        """

        def render_and_run(owner: type[Any], *, native: bool = False, **arguments: Any) -> str:
            connection(server.url)
            server.always("POST", job())
            with DAG("d", schedule=None, render_template_as_native_obj=native):
                operator = make(owner, **arguments)
            operator.render_template_fields({"nothing": None, "digits": "20260101"})
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
            ("voice_object", "out/${jobid}-{{ nothing }}.${ext}"),
            ("output_bucket", "{{ nothing }}-1250000000"),
            ("callback_url", "https://user:secret@example.com/{{ nothing }}?token=secret"),
            ("input_url", "https://user:secret@example.com/{{ nothing }}?token=secret"),
        ],
    )
    def test_a_none_inside_a_string(
        self, render_and_run: Callable[..., str], name: str, template: str, native: bool
    ) -> None:
        said = render_and_run(ONE, native=native, **{name: template})
        assert f"{name} is '" in said
        assert f"allowed: a string without None{NONE_RENDERED}" in said
        assert "secret" not in said

    @pytest.mark.parametrize("native", [False, True])
    @pytest.mark.parametrize(
        ("kind", "name", "config", "part"),
        [
            ("TDMQ", "callback_mq_config", MQ, "mq_name"),
            ("Kafka", "callback_kafka_config", KAFKA, "topic"),
        ],
    )
    @pytest.mark.parametrize("template", ["{{ nothing }}", "ci-{{ nothing }}"])
    def test_a_receiver_of_callbacks(
        self,
        render_and_run: Callable[..., str],
        kind: str,
        name: str,
        config: dict[str, Any],
        part: str,
        template: str,
        native: bool,
    ) -> None:
        arguments = {"callback_type": kind, name: config | {part: template}}
        assert f"{name}.{part} is " in render_and_run(ONE, native=native, **arguments)
        assert not render_and_run(ONE, native=native, **(arguments | {name: config}))

    def test_digits_in_a_native_dag(self, render_and_run: Callable[..., str]) -> None:
        said = render_and_run(ONE, native=True, input_object="{{ digits }}")
        assert "quotes inside, as in \"'{{ ds_nodash }}'\"" in said
        assert not render_and_run(ONE, native=True, input_object="'{{ digits }}'")
