"""What every operator has in common: a connection, and the bucket and region that its calls are about."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import BaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_ci.hooks.ci import CIHook


class Place(TypedDict):
    """Where the calls go, as the hook takes it; ``None`` leaves it to the connection."""

    bucket: str | None
    region: str | None


class CIOperator(BaseOperator):
    """Makes calls through a connection.

    :param ci_conn_id: the Airflow connection. (templated)
    :param bucket: ``<name>-<appid>``; default: the connection's. (templated)
    :param region: that bucket's region; default: the connection's. (templated)
    """

    template_fields: Sequence[str] = ("ci_conn_id", "bucket", "region")
    ui_color = "#d6e9ff"

    def __init__(
        self,
        *,
        ci_conn_id: str = "tencent_ci_default",
        bucket: str | None = None,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ci_conn_id = ci_conn_id
        self.bucket = bucket
        self.region = region

    @cached_property
    def hook(self) -> CIHook:
        """The hook of this task's connection."""
        from airflow_provider_ci.hooks.ci import CIHook

        return CIHook(self.ci_conn_id)

    @property
    def place(self) -> Place:
        """The bucket and region; a template may have rendered to nothing."""
        return {"bucket": self.bucket or None, "region": self.region or None}
