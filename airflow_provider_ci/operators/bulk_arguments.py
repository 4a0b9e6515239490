"""The rules of the arguments that only a bulk task has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow_provider_ci.operators.job_arguments import source_problems
from airflow_provider_ci.operators.templates import is_literal
from airflow_provider_ci.protocol.rules import Problem, file_key_problems

#: The arguments that say which inputs to take.
SOURCES = ("input_objects", "prefix", "input_manifest")
# Most jobs in a second: an argument above it is a mistake
_RATE_MAX = 1000
_SHARE = "an integer from 0 on, or a share between 0 and 1, as 0.05"


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return _is_integer(value, 0) or (isinstance(value, float) and 0 <= value <= 1)


_LIMITS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_submissions_per_second": (
        lambda value: _is_number(value) and 0 < value <= _RATE_MAX,
        f"a number above 0, at most {_RATE_MAX}",
    ),
    "max_active_jobs": (lambda value: _is_integer(value, 1), "an integer from 1 on"),
    "allow_failed": (_is_share, _SHARE),
    "max_jobs": (lambda value: _is_integer(value, 1), "an integer from 1 on"),
    "max_minutes": (
        lambda value: value is None or (_is_number(value) and value > 0),
        "a number of minutes above 0",
    ),
    "media_info_samples": (
        lambda value: value == "all" or _is_integer(value, 1),
        "an integer from 1 on, or 'all'",
    ),
}
#: Arguments of a single job that have no place in a bulk task: what is allowed, and why.
_REFUSED: Mapping[str, tuple[Any, str]] = {
    "input_object": (None, "in an item of input_objects"),
    "input_url": (None, "in an item of input_objects"),
    "user_data": (None, "None, because the idempotency key of each item takes its place"),
    "wait_for_completion": (
        True,
        "True, because a bulk task always waits for its jobs; deferrable says where",
    ),
    "durable": (True, "True, because a retry of a bulk task pays only for what has no successful job"),
}


def bulk_argument_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the arguments that are no templates.

    :param values: the arguments by name; those that are missing have their defaults.
    """
    for name, (is_allowed, allowed) in _LIMITS.items():
        if name not in values:
            continue
        if not is_literal(values[name]):
            yield Problem(name, values[name], "a value, because this argument is not templated")
        elif not is_allowed(values[name]):
            yield Problem(name, values[name], allowed)
    for name, (only, allowed) in _REFUSED.items():
        if values.get(name, only) not in (only, None):
            yield Problem(name, values[name], allowed)


def bulk_source_problems(operator: Any) -> Iterator[str]:
    """Yield a problem unless exactly one argument says which inputs to take, and only it has patterns."""
    used = [name for name in SOURCES if getattr(operator, name) not in (None, "")]
    yield from source_problems(operator, SOURCES, used)
    if isinstance(operator.input_objects, list | tuple) and not operator.input_objects:
        yield "input_objects is [], allowed: at least one item"
    for name in ("include", "exclude"):
        if getattr(operator, name) not in (None, "", []) and not operator.prefix:
            yield f"{name} is set, allowed: only together with prefix"


def manifest_key_problems(operator: Any) -> Iterator[Problem]:
    """Yield a problem if no manifest can be written under its key. The jobs would be paid for by then."""
    if isinstance(operator.manifest_object, str) and operator.manifest_object:
        yield from file_key_problems("manifest_object", operator.manifest_object)
