"""The hook's calls about the services that are opened for a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from airflow_provider_ci.protocol.services import ASR, BucketBinding, CloseBucket, ListBuckets, OpenBucket

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook


class Services:
    """Opens and closes services: ``asr`` (smart audio, which voice separation needs) or ``media``."""

    def __init__(self, hook: TencentCIHook) -> None:
        self._hook = hook

    def open(
        self, service: str = ASR, *, bucket: str | None = None, region: str | None = None
    ) -> BucketBinding | None:
        """Open a service for a bucket, which also binds the bucket to CI.

        :return: the binding; ``None`` if the service was open already.
        """
        return self._hook.call(OpenBucket(service), bucket=bucket, region=region)

    def close(self, service: str = ASR, *, bucket: str | None = None, region: str | None = None) -> bool:
        """Close a service for a bucket; return ``False`` if it was not open."""
        return self._hook.call(CloseBucket(service), bucket=bucket, region=region)

    def list_buckets(
        self,
        service: str = ASR,
        *,
        regions: Sequence[str] = (),
        bucket_names: Sequence[str] = (),
        bucket_name: str | None = None,
        region: str | None = None,
    ) -> Iterator[BucketBinding]:
        """Return an iterator over the buckets for which a service is open, from the region's own host.

        :param regions: only buckets of these regions.
        :param bucket_names: only these buckets.
        :param bucket_name: begin of the bucket's name.
        """
        request = ListBuckets(
            service=service, regions=regions, bucket_names=bucket_names, bucket_name=bucket_name
        )
        return self._hook.pages(request, region=region)
