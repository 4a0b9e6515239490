"""What every operator has in common: a connection, and the bucket and region that its calls are about."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.validation import check_mapped, place_problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_ci.hooks.ci import TencentCIHook


class BucketAndRegion(TypedDict):
    """Where the calls go, as the hook takes it; ``None`` leaves it to the connection."""

    bucket: str | None
    region: str | None


class TencentCIBaseOperator(BaseOperator):
    """Makes calls through a connection.

    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: ``<name>-<appid>``; default: the connection's. (templated)
    :param region: that bucket's region; default: the connection's. (templated)
    """

    template_fields: Sequence[str] = ("tencent_ci_conn_id", "bucket", "region")
    ui_color = "#d6e9ff"
    #: The module of ``protocol`` that has the request's classes.
    models_module = "jobs"
    #: Arguments that are read when the DAG is parsed, as they are no template fields.
    boolean_arguments: Sequence[str] = ()
    seconds_arguments: Sequence[str] = ()
    seconds_may_be_zero = False
    choice_arguments: Mapping[str, Sequence[str]] = {}
    #: Template fields as they were when the DAG was parsed: those that were a template or another's output.
    templated_arguments: Mapping[str, Any] = {}

    def __init__(
        self,
        *,
        tencent_ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tencent_ci_conn_id = tencent_ci_conn_id
        self.bucket = bucket
        self.region = region

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin a mapped task, as every operator does, and refuse what cannot work whatever it is mapped
        over.
        """
        made = super().partial(**kwargs)
        check_mapped(cls, made)
        return made

    @cached_property
    def models(self) -> Any:
        """The module with the request's classes; it is not loaded while a DAG is parsed."""
        return import_module(f"airflow_provider_ci.protocol.{self.models_module}")

    def check_draft(self, endpoint: Any) -> None:  # noqa: ARG002 - subclasses need it
        """Check what would be sent to ``endpoint``, without the connection and without sending anything.

        :raises RequestValidationError: naming each argument that cannot work.
        """
        if broken := place_problems(self):
            raise RequestValidationError(broken)

    @cached_property
    def hook(self) -> TencentCIHook:
        """The hook of this task's connection."""
        from airflow_provider_ci.hooks.ci import TencentCIHook

        return TencentCIHook(self.tencent_ci_conn_id)

    @property
    def bucket_and_region(self) -> BucketAndRegion:
        """The bucket and region; a template may have rendered to nothing."""
        return {"bucket": self.bucket or None, "region": self.region or None}
