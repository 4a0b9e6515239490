"""What the parts of the hook have in common: how a call is made. :mod:`.ci` says how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_ci.exceptions import AmbiguousSubmissionError, JobError, TencentCIError
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.errors import is_not_accepted
from airflow_provider_ci.protocol.jobs import Output
from airflow_provider_ci.protocol.lists import PagedRequest

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.connection import ConnectionSettings
    from airflow_provider_ci.hooks.transport import Session
    from airflow_provider_ci.protocol.wire import Credentials, Endpoint, SignedRequest

T = TypeVar("T")
Item = TypeVar("Item")


class Calls:
    """Makes calls; the base of the parts of the hook."""

    if TYPE_CHECKING:

        @property
        def settings(self) -> ConnectionSettings: ...  # noqa: D102

        @property
        def log(self) -> Any: ...  # noqa: D102

        @property
        def _session(self) -> Session: ...

        def _call(self, call: ApiRequest[T], bucket: str | None, region: str | None) -> T: ...

        def _call_within(
            self, call: ApiRequest[T], seconds: float, bucket: str | None, region: str | None
        ) -> T: ...

        def _repeat(self, call: ApiRequest[Any], attempt: Callable[[Credentials], T]) -> T: ...

        def _signed(
            self, call: ApiRequest[Any], endpoint: Endpoint, credentials: Credentials
        ) -> SignedRequest: ...

    def _pages(self, call: PagedRequest[Any, Item], bucket: str | None, region: str | None) -> Iterator[Item]:
        """Yield what is on each page; a page is asked for when the one before has been consumed."""
        following: PagedRequest[Any, Item] | None = call
        while following is not None:
            answer = self._call(following, bucket, region)
            yield from following.items(answer)
            following = following.next_page(answer)

    def _with_output_place(self, operation: Any, bucket: str | None, region: str | None) -> Any:
        """Return the ``operation`` of a job or batch job with its results in the bucket that the call goes
        to, unless it names another one.
        """
        output = getattr(operation, "output", None)
        if not isinstance(output, Output) or (output.bucket and output.region):
            return operation
        endpoint = self.settings.endpoint(bucket, region)
        output = replace(
            output, bucket=output.bucket or endpoint.bucket, region=output.region or endpoint.region
        )
        return replace(operation, output=output)

    def _submit(self, call: ApiRequest[T], bucket: str | None, region: str | None) -> T:
        """Make a paid call.

        :raises AmbiguousSubmissionError: it is unknown whether the service accepted it.
        """
        try:
            return self._call(call, bucket, region)
        except TencentCIError as error:
            if isinstance(error, ValueError | JobError) or is_not_accepted(error):
                raise
            raise AmbiguousSubmissionError(
                "It is unknown whether the service accepted the job: it may run and be billed",
                status=error.status,
                code=error.code,
                service_message=error.service_message or error.message,
                request_id=error.request_id,
                hint="Look for it in the job list (by input object and time) before submitting again",
            ) from error
