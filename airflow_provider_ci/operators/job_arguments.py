"""The arguments of an operator that submits jobs: its inputs, whether and where it waits, and where it may
run.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_ci.exceptions import RequestValidationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context


def resolve_wait(wait_for_completion: bool | None, deferrable: bool | None) -> tuple[bool, bool]:
    """Return whether a task waits, and whether it waits in the triggerer. The site's default only decides
    where.
    """
    if wait_for_completion is None:
        wait_for_completion = deferrable is True
    if deferrable is None:
        deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
    return wait_for_completion, deferrable


def source_problems(operator: Any, sources: Collection[str], used: Sequence[str]) -> Iterator[str]:
    """Yield a problem unless exactly one argument says which inputs to take.

    :param sources: the arguments that may say it.
    :param used: those of them that have a value.
    """
    allowed = f"allowed: exactly one of {', '.join(sources)}"
    if len(used) > 1:
        yield f"{' and '.join(used)} are set, {allowed}"
    elif not used:
        empty = [f"{name} is {value!r}" for name in sources if (value := getattr(operator, name)) is not None]
        shown = f" ({', '.join(empty)})" if empty else ""
        yield f"no input is set{shown}, {allowed}"


def warn_of_ignored_arguments(operator: Any, base: type[Any], *, ignores_deferrable: bool) -> None:
    """Warn if arguments suggest that a task waits that does not. They may come from the DAG's
    ``default_args``, where they are meant for other tasks, so this is not an error.

    :param base: the class whose defaults say which arguments the user has set.
    """
    if operator.wait_for_completion:
        return
    defaults = signature(base.__init__).parameters
    ignored = [
        f"{name}={getattr(operator, name)!r}"
        for name in operator.seconds_arguments
        if getattr(operator, name) != defaults[name].default
    ]
    if ignores_deferrable:
        ignored.append("deferrable=True")
    if ignored:
        operator.log.warning(
            "%s: no effect, because this task does not wait: it succeeds once the job is accepted."
            " Set wait_for_completion=True to wait",
            ", ".join(ignored),
        )


def refuse_nested_call(operator: Any, context: Context) -> None:
    """Refuse to run inside another task: its identity would stand for several jobs, which a retry could not
    tell apart, and Airflow would call neither ``on_kill`` nor ``execute_complete``.

    :raises RequestValidationError: Airflow is running another task.
    """
    # In Airflow 3.0 the context's task is the one from before Airflow made a copy of it to execute
    running = (getattr(context.get("ti"), "task", None), context.get("task"))
    if running == (None, None) or any(task is operator for task in running):  # equal ones are not the same
        return
    raise RequestValidationError(
        [
            f"{type(operator).__name__} {operator.task_id!r} is executed inside task"
            f" {context['ti'].task_id!r}; allowed: as a task itself, for several inputs with .expand();"
            " inside other tasks use TencentCIHook.submit_job"
        ]
    )
