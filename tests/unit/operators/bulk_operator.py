"""Bulk tasks as they are when they run."""

from __future__ import annotations

from typing import Any, TypeVar

from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator

O = TypeVar("O", bound=TencentCIBulkJobOperator)  # noqa: E741


def rendered(cls: type[O], **arguments: Any) -> O:
    """Return a task whose templates became these arguments, which are not checked when it is parsed."""
    templates = {
        name: "{{ x }}" if name in cls.template_fields else value for name, value in arguments.items()
    }
    operator = cls(task_id="bulk", **templates)
    vars(operator).update(arguments, templated_arguments={})
    return operator
