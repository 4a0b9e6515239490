"""Reads the arguments that decide how a task runs. Airflow does not render them, so this is done at once."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

from airflow_provider_ci.operators.templates import is_literal
from airflow_provider_ci.protocol.rules import Problem

#: Longer times lie beyond what Python and databases have dates for, which would fail after the job is paid.
MAX_DURATION = timedelta(days=3650)
# As Airflow reads booleans in its configuration and its environment
_TRUE = ("true", "t", "yes", "y", "on", "1")
_FALSE = ("false", "f", "no", "n", "off", "0")
# Their default depends on other settings
_OPTIONAL = ("wait_for_completion", "deferrable", "timeout")
# Arguments that are kept under another name, because Airflow's operators have a method of that name
_ARGUMENTS = {"is_dry_run": "dry_run"}


def convert_untemplated_arguments(operator: Any, values: MutableMapping[str, Any]) -> list[str]:
    """Convert the untemplated arguments among ``values``, in place, and return what is wrong with them.

    Booleans may be strings, since mapped tasks get their arguments from anywhere; times become seconds. An
    argument that a user's subclass has made a template field is converted only once it is rendered.

    :param operator: a task or its class, which names the arguments of each kind.
    """
    problems = []
    conversions = {
        **dict.fromkeys(operator.boolean_arguments, _to_boolean),
        **dict.fromkeys(operator.seconds_arguments, _to_seconds),
        **dict.fromkeys(operator.choice_arguments, _to_choice),
    }
    for name, convert in conversions.items():
        if name in values:
            value = values[name]
            if is_literal(value):
                try:
                    values[name] = convert(operator, name, value)
                except ValueError as error:
                    problems.append(Problem(_ARGUMENTS.get(name, name), value, str(error)))
            elif name not in operator.template_fields:
                argument = _ARGUMENTS.get(name, name)
                problems.append(Problem(argument, value, "a value, because this argument is not templated"))
    limit = values.get("execution_timeout")
    if isinstance(limit, timedelta) and limit > MAX_DURATION:  # Airflow accepts it
        problems.append(Problem("execution_timeout", limit, f"at most {MAX_DURATION.days} days"))
    return [*map(str, problems)]


def _to_boolean(operator: Any, name: str, value: Any) -> bool | None:  # noqa: ARG001 - like the others
    if isinstance(value, bool) or (value is None and name in _OPTIONAL):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    if text not in (*_TRUE, *_FALSE):
        raise ValueError("True or False, or a string such as 'true' or 'false'")
    return text in _TRUE


def _to_seconds(operator: Any, name: str, value: Any) -> float | None:
    if value is None and name in _OPTIONAL:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    is_in_range = is_number and 0 <= seconds <= MAX_DURATION.total_seconds()
    if is_in_range and (seconds > 0 or operator.seconds_may_be_zero):
        return seconds
    least = "from 0 on" if operator.seconds_may_be_zero else "above 0"
    raise ValueError(f"a number of seconds {least}, or a timedelta, at most {MAX_DURATION.days} days")


def _to_choice(operator: Any, name: str, value: Any) -> Any:
    choices = operator.choice_arguments[name]
    if value not in choices:
        raise ValueError(", ".join(choices))
    return value
