"""Arguments that Airflow does not render, as DAG files, mapped tasks and ``default_args`` give them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, conf

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.untemplated_arguments import convert_untemplated_arguments
from tests.conftest import Logs
from tests.scripted_server import ScriptedServer, job
from tests.unit.operators.minimal_operators import BATCH, MINIMAL, ONE, SENSOR, make

ARGUMENTS = SimpleNamespace(
    template_fields=("key",),
    boolean_arguments=("durable", "deferrable"),
    seconds_arguments=("poll_interval", "timeout"),
    seconds_may_be_zero=False,
    choice_arguments={"mode": ("a", "b")},
)
BOOLEANS = [(owner, name) for owner in MINIMAL for name in owner.boolean_arguments]


def convert(name: str, value: Any) -> Any:
    values = {name: value}
    assert convert_untemplated_arguments(ARGUMENTS, values) == []
    return values[name]


def problem(name: str, value: Any) -> str:
    (problem,) = convert_untemplated_arguments(ARGUMENTS, {name: value})
    return problem


@pytest.mark.parametrize(
    ("value", "boolean"),
    [
        *((value, True) for value in ("true", "T", " yes ", "on", "1", 1, True)),
        *((value, False) for value in ("FALSE", "f", "no", "n", "off", "0", 0, False)),
    ],
)
def test_booleans_are_read_as_airflow_reads_them(value: Any, boolean: bool) -> None:
    assert convert("durable", value) is boolean


@pytest.mark.parametrize("value", ["", "maybe", "None", None, 2, [True], 1.0, b"true"])
def test_other_values_are_no_booleans(value: Any) -> None:
    assert problem("durable", value).startswith(f"durable is {value!r}, allowed: True or False, or a string")


def test_a_boolean_whose_default_depends_may_be_none() -> None:
    assert convert("deferrable", None) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(timedelta(minutes=5), 300), (1.5, 1.5), (timedelta(days=3650), 3650 * 86_400), (None, None)],
)
def test_times_become_seconds(value: Any, seconds: float | None) -> None:
    assert convert("timeout", value) == seconds


@pytest.mark.parametrize(
    "value", [0, -1, "30", True, float("nan"), timedelta(-1), sys.maxsize, timedelta.max, 10**400, 3e11, [1]]
)
def test_other_values_are_no_times(value: Any) -> None:
    text = problem("timeout", value)
    assert "allowed: a number of seconds above 0, or a timedelta, at most 3650 days" in text


def test_an_interval_between_polls_has_a_default_and_may_not_be_none() -> None:
    assert "poll_interval is None, allowed" in problem("poll_interval", None)


def test_one_of_some_choices() -> None:
    assert convert("mode", "a") == "a"
    assert problem("mode", "c") == "mode is 'c', allowed: a, b"


def test_airflows_own_limit_may_not_be_longer() -> None:
    assert "at most 3650 days" in problem("execution_timeout", timedelta.max)


def test_a_template_is_refused_because_it_would_not_be_rendered() -> None:
    assert problem("durable", "{{ x }}") == (
        "durable is '{{ x }}', allowed: a value, because this argument is not templated"
    )


def test_arguments_of_all_kinds_belong_to_the_operators() -> None:
    assert {name for _, name in BOOLEANS} == {
        *("wait_for_completion", "deferrable", "cancel_on_kill", "durable"),
        *("check_input", "allow_failed_jobs", "fail_if_running"),
    }
    for owner in (ONE, BATCH):
        assert tuple(owner.seconds_arguments) == ("poll_interval", "timeout")
        assert dict(owner.choice_arguments) == {"on_ambiguous_submit": ("fail", "resubmit")}


@pytest.mark.parametrize(("owner", "name"), BOOLEANS)
def test_every_operator_converts_its_own(owner: type[Any], name: str) -> None:
    assert getattr(make(owner, **{name: "yes"}), name) is True
    with pytest.raises(RequestValidationError, match=f"{name} is 'maybe', allowed: True or False"):
        make(owner, **{name: "maybe"})


def test_airflow_reads_the_times_of_a_sensor() -> None:
    sensor = make(SENSOR, timeout=timedelta(minutes=5), poke_interval=0)
    assert (sensor.timeout, sensor.poke_interval) == (300, 0)


def test_a_users_class_may_template_them(
    server: ScriptedServer, connection: Callable[..., str], make_context: Callable[..., dict[str, Any]]
) -> None:
    class Templated(ONE):  # type: ignore[valid-type,misc]
        template_fields = (*ONE.template_fields, "deferrable", "durable", "timeout")

    connection(server.url)
    server.play(job(state="Success"))
    templates = {name: f"{{{{ params.{name} }}}}" for name in ("deferrable", "durable", "timeout")}
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        operator = Templated(task_id="task", **MINIMAL[ONE], **templates)
    context = make_context() | {"params": {"deferrable": "true", "durable": "no", "timeout": 5}}
    operator.render_template_fields(context)
    operator.execute(context)
    operator.hook.close()
    assert (operator.wait_for_completion, operator.deferrable, operator.durable) == (True, True, False)
    assert operator.timeout == 5


class TestWhetherToWait:
    """``wait_for_completion`` and ``deferrable`` as they are given, and how the task waits."""

    @pytest.fixture
    def default_deferrable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
        assert conf.getboolean("operators", "default_deferrable")

    @pytest.mark.parametrize(
        ("arguments", "waits", "defers"),
        [
            ({}, False, None),
            ({"deferrable": True}, True, True),
            ({"deferrable": "true"}, True, True),
            ({"deferrable": False}, False, None),
            ({"wait_for_completion": True}, True, False),
            ({"wait_for_completion": False, "deferrable": True}, False, None),
        ],
    )
    def test_a_task_with_deferrable_waits(
        self, arguments: dict[str, Any], waits: bool, defers: bool | None
    ) -> None:
        operator = make(ONE, **arguments)
        assert operator.wait_for_completion is waits
        assert defers is None or operator.deferrable is defers

    @pytest.mark.usefixtures("default_deferrable")
    def test_a_sites_default_decides_where_but_not_whether(self) -> None:
        assert make(ONE).wait_for_completion is False
        waiting = make(ONE, wait_for_completion=True)
        assert waiting.wait_for_completion is waiting.deferrable is True
        assert make(ONE, wait_for_completion=True, deferrable=False).deferrable is False
        assert make(SENSOR).deferrable is True
        assert make(SENSOR, deferrable=False).deferrable is False

    def test_default_args_decide_too(self) -> None:
        with DAG("d", schedule=None, default_args={"deferrable": True}):
            assert make(ONE).wait_for_completion is True
            assert make(ONE, task_id="other", wait_for_completion=False).wait_for_completion is False

    @pytest.mark.parametrize("owner", [ONE, BATCH])
    @pytest.mark.parametrize("mapped", [{"deferrable": True}, {"deferrable": "yes", "durable": "no"}])
    def test_a_mapped_task_waits_alike(self, owner: type[Any], mapped: dict[str, Any]) -> None:
        with DAG("d", schedule=None):
            operator = owner.partial(task_id="task", **MINIMAL[owner]).expand_kwargs([mapped]).unmap(mapped)
        assert operator.wait_for_completion is operator.deferrable is True

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"timeout": 10, "poll_interval": timedelta(minutes=1)}, "poll_interval=60.0, timeout=10"),
            ({"deferrable": True, "wait_for_completion": False}, "deferrable=True"),
            ({"deferrable": False}, None),
            ({"timeout": 10, "wait_for_completion": True}, None),
        ],
    )
    def test_arguments_without_effect_are_named(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        logs: Logs,
        arguments: dict[str, Any],
        named: str | None,
    ) -> None:
        connection(server.url)
        server.play(job(state="Success"))
        operator = make(ONE, **arguments)
        operator.execute(make_context())
        operator.hook.close()
        warnings = [line for line in logs.at("warning") if "no effect" in line]
        assert [line.partition(": no effect")[0] for line in warnings] == ([named] if named else [])
