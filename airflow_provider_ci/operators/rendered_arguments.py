"""Reads template fields once they are rendered.

A template may give a string for a number, an empty string for no value, and ``None`` where it has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import argument_error
from airflow_provider_ci.operators.templates import (
    NONE_RENDERED,
    has_rendered_none_inside,
    is_literal,
    is_native_value,
    is_rendered_collection,
)
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.names import BUCKET, REGION, redact_address
from airflow_provider_ci.protocol.rules import Problem, as_integer, as_number, check_id, raise_if_any

_NOTHING = object()  # a value that a template rendered to nothing
# What is allowed, as messages say it
_A_TREE = "a dict with the names of Tencent's elements"
_A_STRING = "a string, or an empty one for no value"
_ONE_STRING = "one string; for a task for each of several strings, map over them with .expand()"
_STRING_NOT_COLLECTION = (
    "one string; a template rendered a list or dict: pass the other task's .output, or map over it with"
    " .expand()"
)
_STRING_NOT_NUMBER = (
    "a string; in a DAG with render_template_as_native_obj=True digits become a number unless the template"
    " has quotes inside, as in \"'{{ ds_nodash }}'\""
)


def read_arguments(operator: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the values of an operator's template fields: strings, integers, or ``None`` for no value.

    :raises RequestValidationError: names each that is something else, or that a template failed to render.
    """
    return _read_all((name, partial(_read_argument, operator, name)) for name in names)


def read_dict(operator: Any, name: str, keys: Iterable[str]) -> dict[str, str | None] | None:
    """Return an argument that is a dict of strings; ``None`` for no value.

    :raises RequestValidationError: it is not a dict, or has other keys; or names each value that is not a
        string, or that a template failed to render.
    """
    value = getattr(operator, name)
    if not value:
        return None
    if not isinstance(value, dict) or not set(value) <= set(keys):
        raise argument_error(name, value, f"a dict with {', '.join(keys)}")
    template = operator.templated_arguments.get(name)
    templates = template if isinstance(template, dict) else {}
    return _read_all(
        (key, partial(_read_string, f"{name}.{key}", value[key], templates.get(key))) for key in value
    )


def read_tree(operator: Any, name: str) -> dict[str, Any]:
    """Return an argument that is a dict of elements, after it has been rendered.

    A value that a template rendered to an empty string is left out.

    :raises RequestValidationError: it is no dict, or naming each value that a template failed to render.
    """
    value, template = getattr(operator, name), operator.templated_arguments.get(name)
    if value == "" or (value is None and template is None):
        return {}
    if not isinstance(value, dict):
        raise argument_error(name, value, f"{_A_TREE}{_reason(value)}")
    problems: list[str] = []
    tree: dict[str, Any] = _read_branch(name, value, template, problems)
    raise_if_any(problems)
    return tree


def _reason(value: Any) -> str:
    """Return why a template did not render to a tree, if that shows."""
    if value is None or value == "None":
        return f"; {NONE_RENDERED}"
    is_text = isinstance(value, str) and is_rendered_collection(value)
    return "; a template rendered text: pass the other task's .output" if is_text else ""


def _read_branch(path: str, value: Any, template: Any, problems: list[str]) -> Any:
    """Return a part of a tree, and add what is wrong with it to ``problems``.

    :param template: what the part was rendered from; ``None`` if that is not known.
    """
    if isinstance(template, str) and is_literal(template) and is_native_value(template, value):
        return template  # a string such as 1.10, of which render_template_as_native_obj has made a number
    if isinstance(value, dict):
        templates = template if isinstance(template, dict) else {}
        read = {
            key: _read_branch(f"{path}.{key}", child, templates.get(key), problems)
            for key, child in value.items()
        }
        return {key: child for key, child in read.items() if child is not _NOTHING}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):  # also the outputs of mapped tasks
        templates_of_list = template if isinstance(template, list | tuple) else [None] * len(value)
        entries = [
            _read_branch(f"{path}[{index}]", child, part, problems)
            for index, (child, part) in enumerate(zip(value, templates_of_list, strict=False))
        ]
        return [entry for entry in entries if entry is not _NOTHING]
    if template is None or is_literal(template) or not isinstance(value, str | None):
        return value
    try:
        text = _read_string(path, value, template)
    except RequestValidationError as error:
        problems += error.problems
        return _NOTHING
    return _NOTHING if text is None else text


def read_ids(name: str, value: Any) -> list[str]:
    """Return the ids of jobs, of which ``value`` is one or an iterable of several.

    :raises RequestValidationError: it is something else.
    """
    ids = [value] if isinstance(value, str) else value
    if isinstance(ids, Iterable) and not isinstance(ids, dict):
        ids = list(ids)
        if all(isinstance(job_id, str) and job_id for job_id in ids):
            _read_all((job_id, partial(_check_id, name, job_id)) for job_id in ids)  # for its errors only
            return ids
    reason = f"; {NONE_RENDERED}" if value in (None, "") else ""
    raise argument_error(name, value, f"an id or a list of ids{reason}")


def connection_argument_problems(operator: Any) -> list[str]:
    """Return what is wrong with the arguments that name the connection, the bucket and the region."""
    try:
        names = ("tencent_ci_conn_id", "bucket", "region")
        conn_id, bucket, region = _read_all(
            (name, partial(_read_strict_string, operator, name)) for name in names
        ).values()
    except RequestValidationError as error:
        return [*error.problems]
    problems = []
    if not conn_id:
        problems.append(Problem("tencent_ci_conn_id", operator.tencent_ci_conn_id, "the id of a connection"))
    if bucket and not BUCKET.fullmatch(bucket):
        problems.append(Problem("bucket", bucket, "<name>-<appid>, for instance media-1250000001"))
    if region and not REGION.fullmatch(region):
        problems.append(Problem("region", region, "a region, for instance ap-guangzhou"))
    return [*map(str, problems)]


def _read_all(reads: Iterable[tuple[str, Callable[[], Any]]]) -> dict[str, Any]:
    """Call each function, and return what they return, by name.

    :raises RequestValidationError: with the problems of all functions that raise it.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, read in reads:
        try:
            values[name] = read()
        except RequestValidationError as error:
            problems += error.problems
    raise_if_any(problems)
    return values


def _read_argument(operator: Any, name: str) -> str | float | bool | None:
    value = getattr(operator, name)
    if name in operator.elements:
        return _read_element(operator, name)
    if name in operator.integer_arguments:
        return _read_integer(name, value)
    if name in operator.free_text_arguments:
        return _read_free_text(name, value)
    if name in operator.nullable_arguments:
        return _read_string(name, value, None)
    return _read_strict_string(operator, name)


def _read_element(operator: Any, name: str) -> str | float | bool | None:
    """Return the value of an argument that is an element of ``Operation``.

    Numbers and booleans stay what they are: the rules of the type of job decide about them.
    """
    value = getattr(operator, name)
    rule = job_type(operator.tag).rules.get(operator.elements[name])
    if rule is None or rule.is_text:
        is_nullable = name in operator.nullable_arguments
        return _read_string(name, value, None) if is_nullable else _read_strict_string(operator, name)
    if isinstance(value, int | float):  # a boolean is an int
        return value
    if value in ("True", "False"):  # as a template renders a boolean
        return bool(value == "True")
    if value is None or isinstance(value, str):
        text = (value or "").strip()
        if not text or rule.accepts(text) or as_number(text) is not None:
            number = as_integer(text)  # without zeros before it, as the service returns it
            return str(number) if number is not None else text or None
    reason = f"; {NONE_RENDERED}" if value == "None" else ""
    raise argument_error(name, value, f"{rule.allowed}{reason}")


def _read_strict_string(operator: Any, name: str) -> str | None:
    """Read a string that is not free text; a template that rendered ``None`` for it has failed."""
    return _read_string(name, getattr(operator, name), operator.templated_arguments.get(name))


def _read_integer(name: str, value: Any) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    reason = f"; {NONE_RENDERED}" if value == "None" else ""
    raise argument_error(name, value, f"an integer{reason}")


def _read_free_text(name: str, value: Any) -> str | None:
    if isinstance(value, str):
        # whitespace in a response is read as nothing, so a job that was submitted with it could not be found
        return value if value.strip() else None
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise argument_error(name, value, _STRING_NOT_NUMBER)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        raise argument_error(name, value, _ONE_STRING)
    raise argument_error(name, value, "a string")


def _read_string(name: str, value: Any, template: Any) -> str | None:
    """Read a string that is not free text, such as a key or a codec.

    :param template: what ``value`` was rendered from; ``None`` if the argument may render to ``None``.
    """
    if value is None and template is not None:
        raise argument_error(name, None, f"{_A_STRING}; {NONE_RENDERED}")
    text = _read_free_text(name, value)
    if text is None:
        return None
    _refuse_misrendered(name, text, _A_STRING)
    if has_rendered_none_inside(template, text):
        shown = redact_address(text) if name == "callback_url" else text
        raise argument_error(name, shown, f"a string without None; {NONE_RENDERED}")
    return text


def _check_id(name: str, job_id: str) -> None:
    _refuse_misrendered(name, job_id, "an id")
    check_id(name, job_id)


def _refuse_misrendered(name: str, text: str, allowed: str) -> None:
    """Refuse a text that Python has made of ``None``, or of a list or dict."""
    if text.strip() == "None":
        raise argument_error(name, text, f"{allowed}; {NONE_RENDERED}")
    if is_rendered_collection(text):
        raise argument_error(name, text, _STRING_NOT_COLLECTION)
