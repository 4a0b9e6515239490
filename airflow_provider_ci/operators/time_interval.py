"""Reads the argument ``time_interval``: when the inputs of a batch were uploaded."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import argument_error
from airflow_provider_ci.operators.templates import NONE_RENDERED
from airflow_provider_ci.protocol.fields import format_time
from airflow_provider_ci.protocol.rules import Problem, raise_if_any

# In the service's time zone its last hours are in a year that Python does not have
_MAX_YEAR = 9999


def read_time_interval(operator: Any) -> dict[str, str | None] | None:
    """Return ``start`` and ``end`` as the service writes times; ``None`` for no interval.

    The service counts whole seconds and includes both ends. The argument's ``end`` is excluded, so that of
    consecutive intervals each input is in exactly one: the last second is the one before it.

    :raises RequestValidationError: it is no interval, or a template failed to render a bound of it.
    """
    value = operator.time_interval
    _refuse_rendered_none(value, operator.templated_arguments.get("time_interval"))
    if value is None or value in ("", {}):
        return None
    if not isinstance(value, dict) or not set(value) <= {"start", "end"}:
        raise argument_error("time_interval", value, "a dict with start and end, or one of them")
    start, end = (_whole_second(name, value.get(name)) for name in ("start", "end"))
    if start is not None and end is not None and end <= start:
        raise RequestValidationError(
            [
                f"time_interval is from {value['start']} to {value['end']}, allowed: an end a second or more"
                " after the start; with Airflow 3's default timetable data_interval_start and"
                " data_interval_end are the same moment: give the DAG a CronDataIntervalTimetable"
            ]
        )
    elements = {
        "Start": format_time(start) if start else None,
        "End": format_time(end - timedelta(seconds=1)) if end else None,
    }
    return {name: value for name, value in elements.items() if value}


def _refuse_rendered_none(value: Any, template: Any) -> None:
    """Refuse a ``None`` that a template or another task gave. Without a bound, all objects would be separated
    and paid for.

    :param template: what ``value`` was rendered from; ``None`` if it was a literal.
    """
    if template is None:
        return
    names = ["time_interval"] if value is None else []
    if isinstance(value, dict):
        literals = template if isinstance(template, dict) else {}
        left_out = [name for name, literal in literals.items() if literal is None]
        names = [f"time_interval.{name}" for name in value if value[name] is None and name not in left_out]
    allowed = f"a time, or an empty string for no value; {NONE_RENDERED}"
    raise_if_any(Problem(name, None, allowed) for name in names)


def _whole_second(name: str, value: Any) -> datetime | None:
    """Return a time, as templates render it, without its fraction of a second: times of uploads have none."""
    if value is None or value == "":
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        second = datetime.fromtimestamp(math.floor(moment.timestamp()), UTC)
        if moment.tzinfo is not None and 1970 <= second.year < _MAX_YEAR:
            return second
    except (ValueError, OverflowError):
        pass
    raise argument_error(f"time_interval.{name}", value, "a time with zone, as 2025-01-01T00:00:00+08:00")
