"""Errors about a task's arguments and connection: they name its arguments, and end it without retry."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    conf,
)

from airflow_provider_ci.exceptions import ConfigurationError, InvalidRequestError, RequestValidationError
from airflow_provider_ci.protocol.rules import Problem
from airflow_provider_ci.protocol.tree import find

_PROBLEM = re.compile(
    r"(?P<element>[A-Z].*?)(?: \((?:background|voice)\))?(?P<value> (?:is|has) .*?)"
    r"(?P<rule>, allowed: .*)?",
    re.DOTALL,
)
# A quoted value stays as it is, even if it has an element's name in it
_QUOTED_OR_ELEMENT = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?P<element>[A-Z]\w+)(?: \((?:background|voice)\))?"""
)


class TaskArgumentError(RequestValidationError, AirflowFailException):
    """The arguments of a task cannot work. It fails without retry, because a retry would find the same."""


class TaskConnectionError(ConfigurationError, AirflowFailException):
    """The connection of a task does not exist, cannot work, or lacks what no argument gives. The task fails
    without retry.
    """


class RefusedRequestError(InvalidRequestError, AirflowFailException):
    """The service refused a field of a task's request. It fails without retry, because a retry would send the
    same.
    """


def argument_error(name: str, value: Any, allowed: str) -> RequestValidationError:
    """Return the error for one argument that cannot be used."""
    return RequestValidationError([str(Problem(name, value, allowed))])


@contextmanager
def fail_without_retry(operator: Any) -> Iterator[None]:
    """Turn an error about arguments or connection into one that ends the task without retry.

    Only for the checks that come before anything is sent. For what the service refuses there is
    :func:`fail_if_content_is_refused`.
    """
    try:
        yield
    except AirflowFailException:
        raise
    except RequestValidationError as error:
        message = error.message
        for problem in error.problems:
            message = message.replace(problem, name_argument(problem, operator))
        raise TaskArgumentError(message, **error.details) from None
    except ConfigurationError as error:
        raise TaskConnectionError(error.message, **error.details) from None
    except AirflowNotFoundException as error:
        if _has_secrets_backend():
            raise  # Airflow says the same while the backend does not respond, so a retry may find it
        raise TaskConnectionError(
            f"{error}",
            hint="Add it where the task runs (airflow connections add), or name another one in"
            " tencent_ci_conn_id. Airflow says the same of a URI that it cannot read: write it as JSON",
        ) from None


def _has_secrets_backend() -> bool:
    return bool(
        conf.get("secrets", "backend", fallback="") or conf.get("workers", "secrets_backend", fallback="")
    )


@contextmanager
def fail_if_content_is_refused() -> Iterator[None]:
    """Turn the service's refusal of a field into an error that ends the task without retry.

    Other refusals stay as they are: a permission, a quota or a missing object may be corrected between two
    tries.
    """
    try:
        yield
    except InvalidRequestError as error:
        # not at the top: DAG files load this module
        from airflow_provider_ci.protocol.errors import refuses_content

        if not refuses_content(error):
            raise
        raise RefusedRequestError(error.message, **error.details) from error


@contextmanager
def suggest_similar_arguments(operator_class: type[Any], arguments: Collection[str]) -> Iterator[None]:
    """Add to Airflow's error about an unknown argument the known one whose name is most similar.

    :param arguments: the names of what was passed.
    """
    try:
        yield
    except (TypeError, AirflowException) as error:  # the latter in Airflow 2
        known = {
            name
            for each in operator_class.__mro__
            if "__init__" in vars(each)
            for name, parameter in inspect.signature(vars(each)["__init__"]).parameters.items()
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        }
        for name in sorted({*arguments} - known):
            for similar in get_close_matches(name, known, n=1):
                error.add_note(f"{operator_class.__name__} has no argument {name}. Did you mean {similar}?")
        raise


def refuse_task_if_any(task_id: str, problems: Collection[str]) -> None:
    """Refuse a task while its DAG is parsed, if there are any problems.

    :raises TaskArgumentError: names them.
    """
    if problems:
        raise TaskArgumentError(f"Task {task_id!r} cannot work: {'; '.join(problems)}")


def name_argument(problem: str, operator: Any) -> str:
    """Return a problem of a request with the operator's arguments in place of Tencent's elements.

    ``Operation.Output.AuObject (voice) is 'a', allowed: …`` becomes ``voice_object is 'a', allowed: …``.

    :param operator: a task or its class.
    """
    parts = _PROBLEM.fullmatch(problem)
    if parts is None:
        return problem
    argument = _argument_of(parts["element"], operator)
    if argument is None:
        return problem
    value, rule = parts["value"], parts["rule"] or ""
    if " and " in argument:
        value = value.replace(" is ", " are ", 1)

    def replace(found: re.Match[str]) -> str:
        return (found["element"] and _argument_of(found["element"], operator)) or found[0]

    return f"{argument}{value}{_QUOTED_OR_ELEMENT.sub(replace, rule)}"


def _argument_of(path: str, operator: Any) -> str | None:
    """Return the argument that becomes an element, or ``None`` if no argument does.

    :param path: the element's path in the request, or its last part. ``A and B`` are two elements.
    """
    *parents, element = path.split(".")
    if " and " in element:
        arguments = [_argument_of(each, operator) for each in element.split(" and ")]
        if all(arguments):
            return " and ".join(map(str, arguments))
    in_operation = path.removeprefix("Operation.").removeprefix("JobParam.")
    is_in_operation = in_operation != path
    if path == "Operation.JobParam":
        return "operation"
    if is_in_operation and find(getattr(operator, "operation", None), in_operation) is not None:
        return f"operation.{in_operation}"
    for name, element_path in operator.elements.items():
        if f".{element_path}".endswith(f".{in_operation}"):
            return str(name)
    parent = parents[-1] if parents else ""
    exceptions = operator.arguments_of_elements
    for end_of_path in (f"{parent}.{element}", element):
        if end_of_path in exceptions:
            return str(exceptions[end_of_path])
        # Some elements of Operation have arguments of their own. The others are in a dict
        if parent != "Operation" and _snake_case(parent) in operator.template_fields:
            return f"{_snake_case(parent)}.{_snake_case(element)}"
    name = _snake_case(element)
    if name in operator.template_fields and len(parents) < 2:
        return name
    return (
        f"operation.{in_operation}" if is_in_operation and "operation" in operator.template_fields else None
    )


def _snake_case(element: str) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", element.replace("CallBack", "Callback")).lower()
