"""Jobs that one list has. A module of its own, because a trigger is loaded before its libraries."""

from __future__ import annotations

from typing import NamedTuple


class JobGroup(NamedTuple):
    """The jobs of one type whose input is in one bucket; default of bucket and region: the connection's."""

    tencent_ci_conn_id: str
    bucket: str | None
    region: str | None
    tag: str

    def __str__(self) -> str:
        """Return the group for a message."""
        bucket = f"bucket {self.bucket}" if self.bucket else "the bucket"
        return f"type {self.tag} in {bucket} of connection {self.tencent_ci_conn_id!r}"
