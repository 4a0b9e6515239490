"""Voice separation: a paid job that splits a media file into voice and background."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import NotFoundError, RequestValidationError
from airflow_provider_ci.operators.base_voice_separate import RESULTS, SeparationOperator
from airflow_provider_ci.operators.validation import TaskArgumentError, check_when_parsed
from airflow_provider_ci.protocol.job_rules import check
from airflow_provider_ci.protocol.names import VOICE_SEPARATE
from airflow_provider_ci.protocol.overlap import overlap_of_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.operators.services import BoundService
    from airflow_provider_ci.protocol.jobs import Job, JobRequest
    from airflow_provider_ci.protocol.wire import Endpoint


class VoiceSeparateOperator(SeparationOperator["JobRequest", "Job"]):
    """Submits a voice-separation job (``VoiceSeparate``, 人声分离) for a media object in COS.

    The job is billed by the duration of its results, and the service has no way to tell a repeated submission
    from a new one. XCom ``return_value`` is the JobId, pushed as soon as the job is accepted, in every mode;
    key ``job`` holds a :class:`~airflow_provider_ci.protocol.results.JobResult`.

    The arguments for results and parameters are those of
    :class:`~airflow_provider_ci.operators.base_voice_separate.SeparationOperator`, those for the connection
    and for waiting of :class:`~airflow_provider_ci.operators.base_job.TencentCIBaseJobOperator`.
    In the keys of results the service
    replaces ``${jobid}`` and ``${ext}``.

    .. seealso:: ``docs/operators.md``, and Tencent's page 460/84794 for the fields of the request.

    :param input_object: key of the media object (``Input.Object``). (templated)
    :param check_input: before a new job is submitted, look whether the input is there, not empty and not
        archived. Needs ``cos:HeadObject``.
    """

    template_fields: Sequence[str] = ("input_object", *SeparationOperator.template_fields)
    boolean_arguments = (*SeparationOperator.boolean_arguments, "check_input")

    def __init__(self, *, input_object: str, check_input: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_object = input_object
        self.check_input = check_input
        check_when_parsed(self)

    @cached_property
    def service(self) -> BoundService[JobRequest, Job]:
        """The hook's calls about jobs, bound to this task's bucket and region."""
        from airflow_provider_ci.operators.services import BoundJobs

        return BoundJobs(self, prepare=self._check_input if self.check_input else None)

    def execute(self, context: Context) -> str:
        """Get the job, wait for it if asked to, and return its id."""
        self._refuse_shared_keys(context)
        return super().execute(context)

    def build_request(self, endpoint: Endpoint) -> JobRequest:
        """Return the request; results go to the input's bucket unless the arguments say otherwise."""
        texts, numbers = self._given("input_object")
        request: JobRequest = self.models.JobRequest(
            tag=VOICE_SEPARATE,
            input=self.models.Input(object=texts["input_object"]),
            operation=self.models.Operation(
                template_id=texts["template_id"],
                voice_separate=self._parameters(texts, numbers),
                output=self._output(texts, endpoint),
                user_data=texts["user_data"],
                job_level=numbers["job_level"],
            ),
            queue_id=texts["queue_id"],
            **self._callback_fields(texts),
        )
        if overlap := overlap_of_job(request, endpoint.bucket):
            raise RequestValidationError(
                [f"{name} is {texts[name]!r}, allowed: {allowed}" for name, allowed in overlap.items()]
            )
        return request

    def check_draft(self, endpoint: Any) -> None:
        """Check the request."""
        super().check_draft(endpoint)
        check(self.build_request(endpoint))

    def _refuse_shared_keys(self, context: Context) -> None:
        """Refuse keys to which other instances of this mapped task write too, as far as that is certain."""
        operator: Any = self  # Airflow does not annotate it
        map_index = getattr(context.get("ti"), "map_index", -1)
        if map_index < 0 or not operator.has_dag() or self.task_id not in operator.dag.task_dict:
            return
        from airflow_provider_ci.operators.mapped_keys import Sharing, sharing_of

        of_the_dag = operator.dag.task_dict[self.task_id]
        shared = {name: sharing_of(self, of_the_dag, name, map_index) for name in RESULTS}
        if broken := [name for name, sharing in shared.items() if sharing is Sharing.CERTAIN]:
            raise TaskArgumentError(
                [
                    f"{name} is {getattr(self, name)!r} in more than one instance of this mapped task,"
                    " allowed: a key that differs between them, for instance by ${jobid}, or results"
                    " overwrite each other"
                    for name in broken
                ]
            )
        for name in (name for name, sharing in shared.items() if sharing is Sharing.PERHAPS):
            self.log.warning(
                "%s is %r: if it is the same in another instance of this mapped task, their results overwrite"
                " each other, and each is paid for. A key with ${jobid} is never the same",
                name,
                getattr(self, name),
            )

    def _check_input(self, request: JobRequest) -> None:
        key = str(request.input.object if request.input else None)
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
            raise RequestValidationError(f"No job was submitted: the input object {key!r} is empty")
        if head.is_archived:
            raise RequestValidationError(
                f"No job was submitted: the input object {key!r} is archived"
                f" ({head.tier or head.storage_class}), and must be restored first"
            )
