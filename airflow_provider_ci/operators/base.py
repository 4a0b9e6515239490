"""What every operator has: a connection, a bucket and a region, and rules for reading its arguments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_ci.operators.argument_errors import suggest_similar_arguments
from airflow_provider_ci.operators.parse_checks import check_mapped
from airflow_provider_ci.operators.rendered_arguments import connection_argument_problems
from airflow_provider_ci.protocol.rules import raise_if_any
from airflow_provider_ci.version_compat import AIRFLOW_MINOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.hooks.ci import TencentCIHook


class BucketAndRegion(TypedDict):
    """Arguments of the hook's methods; ``None`` stands for the connection's bucket or region."""

    bucket: str | None
    region: str | None


class TencentCIBaseOperator(BaseOperator):
    """Makes calls through a connection.

    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: ``<name>-<appid>``; default: the connection's. (templated)
    :param region: that bucket's region, as ``ap-guangzhou``; default: the connection's. (templated)
    """

    template_fields: Sequence[str] = ("tencent_ci_conn_id", "bucket", "region")
    ui_color = "#d6e9ff"
    #: Arguments that are no template fields, by what they are. They are read when the task is constructed.
    boolean_arguments: Sequence[str] = ()
    seconds_arguments: Sequence[str] = ()
    seconds_may_be_zero = False
    choice_arguments: Mapping[str, Sequence[str]] = {}
    #: Template fields that are integers, and those that are the user's own text. All others are strings that
    #: name something; a template that renders ``None`` for one has failed, except for the nullable ones.
    integer_arguments: Sequence[str] = ()
    free_text_arguments: Sequence[str] = ()
    nullable_arguments: Sequence[str] = ()
    #: Template fields that are dicts of elements.
    tree_arguments: Sequence[str] = ()
    #: Template fields before they are rendered: those that are no literals, and all dicts of elements.
    templated_arguments: Mapping[str, Any] = {}
    #: The arguments of an operator for one type of job, and the paths of their elements in ``Operation``.
    elements: ClassVar[Mapping[str, str]] = {}
    #: Arguments by the element that they become, where one name does not follow from the other.
    arguments_of_elements: Mapping[str, str] = {}
    #: Values of template fields that break no rule. They stand for what is not known when a DAG is parsed.
    parse_check_examples: Sequence[Mapping[str, Any]] = ({},)
    _execution_timeout_of_dag: timedelta | None = None

    def __init__(
        self,
        *,
        tencent_ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        with suggest_similar_arguments(type(self), kwargs):
            super().__init__(**kwargs)
        self.tencent_ci_conn_id = tencent_ci_conn_id
        self.bucket = bucket
        self.region = region

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin a mapped task, and refuse it if it cannot work whatever it is mapped over."""
        with suggest_similar_arguments(cls, kwargs):
            partial = super().partial(**kwargs)
        check_mapped(cls, partial)
        return partial

    def validate_arguments(self, endpoint: Any) -> None:  # noqa: ARG002 - subclasses need it
        """Check the arguments and what would be sent to ``endpoint``, without the connection.

        :raises RequestValidationError: names each argument that cannot work.
        """
        raise_if_any(connection_argument_problems(self))

    def pre_execute(self, context: Context) -> None:
        """Run the user's own hook, and let a task that was deferred run.

        Airflow 2 counts the time in the triggerer as a part of ``execution_timeout``. It would end a task
        that resumes after that before the task could cancel its job, or be skipped by ``soft_fail``. So such
        a task gets another ``execution_timeout``, as it does from Airflow 3.
        """
        super().pre_execute(context)
        ti: Any = context["ti"]
        if AIRFLOW_MINOR < (3, 0) and self.execution_timeout and ti.next_method and ti.start_date:
            self._execution_timeout_of_dag = self.execution_timeout
            self.execution_timeout += datetime.now(UTC) - ti.start_date

    @property
    def execution_timeout_of_dag(self) -> timedelta | None:
        """The ``execution_timeout`` of the DAG file, which limits the whole wait of a deferred task."""
        return self._execution_timeout_of_dag or self.execution_timeout

    @cached_property
    def hook(self) -> TencentCIHook:
        """The hook of this task's connection."""
        from airflow_provider_ci.hooks.ci import TencentCIHook

        return TencentCIHook(self.tencent_ci_conn_id)

    @property
    def bucket_and_region(self) -> BucketAndRegion:
        """The bucket and region of this task's calls. A template may render ''."""
        return {"bucket": self.bucket or None, "region": self.region or None}
