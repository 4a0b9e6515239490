"""The hook's calls about queues, in which jobs wait. A queue belongs to one bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import NotFoundError
from airflow_provider_ci.protocol.job_types.job_type import ASR
from airflow_provider_ci.protocol.queues import (
    DescribeQueue,
    ListQueues,
    Queue,
    UpdateQueue,
)

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook


class Queues:
    """Lists queues, pauses and resumes them."""

    def __init__(self, hook: TencentCIHook) -> None:
        self._hook = hook

    def list(
        self,
        *,
        service: str = ASR,
        queue_ids: Sequence[str] = (),
        state: str | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Iterator[Queue]:
        """Return an iterator over the queues of a bucket.

        :param service: ``asr`` (smart audio, where voice separation waits) or ``media``.
        :param queue_ids: only these, at most 10.
        :param state: ``Active`` or ``Paused``.
        """
        request = ListQueues(service=service, queue_ids=queue_ids, state=state)
        return self._hook.pages(request, bucket=bucket, region=region)

    def update(
        self,
        queue_id: str,
        *,
        state: str,
        service: str = ASR,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Queue:
        """Set the state of a queue; all else of it stays as it is.

        :param state: ``Active``; or ``Paused``, which holds waiting jobs and lets running ones finish.
        :raises NotFoundError: the bucket has no such queue.
        """
        described = self._hook.call(DescribeQueue(queue_id, service), bucket=bucket, region=region)
        if described is None:
            raise NotFoundError(
                f"Cannot update the queue: the bucket has no queue {queue_id} of the service {service}",
                hint="Check bucket, region and id: they belong together",
            )
        request = UpdateQueue(queue_id, state, described, service)
        return self._hook.call(request, bucket=bucket, region=region)
