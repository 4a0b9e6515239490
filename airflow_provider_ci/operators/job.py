"""Any type of job: a paid job of Cloud Infinite for an object in COS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import NotFoundError, RequestValidationError
from airflow_provider_ci.operators.base_job import TencentCIBaseJobOperator
from airflow_provider_ci.operators.job_request import JobRequestOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.protocol.job_rules import AUTO
from airflow_provider_ci.protocol.tree import find_text

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.jobs import Job  # noqa: F401 - the base class names it
    from airflow_provider_ci.protocol.tree import Tree


class TencentCIJobOperator(JobRequestOperator, TencentCIBaseJobOperator["Job"]):
    """Submits a job of any type (``POST /jobs``), and waits for it if asked to.

    The job is billed, and the service cannot tell a repeated submission from a new one. XCom ``return_value``
    is the JobId, pushed as soon as the service has accepted the job. XCom ``job`` is a
    :class:`~airflow_provider_ci.protocol.results.JobResult`.

    A type that ``docs/job-types.md`` names is checked before anything is sent, as far as its documents say
    what is allowed; of another one only the structure is checked.

    The arguments for the request are those of
    :class:`~airflow_provider_ci.operators.job_request.JobRequestOperator`; those for the connection and for
    waiting are those of :class:`~airflow_provider_ci.operators.base_task.TencentCIBaseTaskOperator`.

    .. seealso:: ``docs/operators.md``
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_when_parsed(self, TencentCIJobOperator)

    def execute(self, context: Context) -> str:
        """Find or submit the job, wait for it if asked to, and return its id.

        :raises TaskArgumentError: another instance of this mapped task writes to the same key.
        """
        from airflow_provider_ci.operators.mapped_keys import check_result_keys

        check_result_keys(self, context)
        return super().execute(context)

    @property
    def expects_callback(self) -> bool:
        """Whether ``callback_url`` is the endpoint of this Airflow."""
        return self.callback_url == AUTO

    def _before_submission(self, request: Tree) -> None:
        key = find_text(request, "Input.Object")
        if self.check_input and key is not None:
            self._check_input_object(key)

    def _check_input_object(self, key: str) -> None:
        try:
            head = self.hook.head_object(key, **self.bucket_and_region)
        except NotFoundError as error:
            raise NotFoundError(
                f"No job was submitted: the input object {key!r} does not exist",
                status=error.status,
                code=error.code,
                request_id=error.request_id,
                hint="Check bucket, region and key, and that the upload has finished",
            ) from error
        if not head.size:
            raise RequestValidationError(
                f"No job was submitted: the input object {key!r} is empty",
                hint="Check that the upload has finished",
            )
        if head.is_archived:
            raise RequestValidationError(
                f"No job was submitted: the input object {key!r} is archived"
                f" ({head.tier or head.storage_class}), and must be restored first",
                hint="Restore it in the console of COS, then clear the task",
            )
