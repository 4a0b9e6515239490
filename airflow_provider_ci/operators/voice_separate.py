"""Voice separation: a paid job that splits a media file into voice and background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import NotFoundError, RequestValidationError
from airflow_provider_ci.operators.base_voice_separate import BaseVoiceSeparateOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.protocol.job_rules import check_job
from airflow_provider_ci.protocol.overlap import overlap_of_job
from airflow_provider_ci.protocol.rules import Problem, raise_if_any
from airflow_provider_ci.protocol.voice_separation import VOICE_SEPARATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.jobs import Job, JobRequest  # noqa: F401 - the base class names both
    from airflow_provider_ci.protocol.wire import Endpoint


class VoiceSeparateOperator(BaseVoiceSeparateOperator["JobRequest", "Job"]):
    """Submits a voice-separation job (``VoiceSeparate``, 人声分离) for a media object in COS.

    The job is billed by the duration of its results, and the service cannot tell a repeated submission from
    a new one. XCom ``return_value`` is the JobId, pushed as soon as the service has accepted the job. XCom
    ``job`` is a :class:`~airflow_provider_ci.protocol.results.JobResult`.

    The arguments for results and parameters are those of
    :class:`~airflow_provider_ci.operators.base_voice_separate.BaseVoiceSeparateOperator`, those for the
    connection and for waiting of :class:`~airflow_provider_ci.operators.base_job.TencentCIBaseJobOperator`.
    In the keys of results the service replaces ``${jobid}`` and ``${ext}``.

    .. seealso:: ``docs/operators.md``, and Tencent's page 460/84794 for the fields of the request.

    :param input_object: key of the media object (``Input.Object``). (templated)
    :param check_input: submit a job only if the input exists, is not empty and not archived. Needs the
        permission ``cos:HeadObject``.
    """

    template_fields: Sequence[str] = ("input_object", *BaseVoiceSeparateOperator.template_fields)
    boolean_arguments = (*BaseVoiceSeparateOperator.boolean_arguments, "check_input")
    assumed_when_parsed = tuple(
        {**example, "input_object": "example/input"}
        for example in BaseVoiceSeparateOperator.assumed_when_parsed
    )

    def __init__(self, *, input_object: str, check_input: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_object = input_object
        self.check_input = check_input
        check_when_parsed(self)

    def execute(self, context: Context) -> str:
        """Find or submit the job, wait for it if asked to, and return its id.

        :raises TaskArgumentError: another instance of this mapped task writes to the same key.
        """
        from airflow_provider_ci.operators.mapped_keys import check_result_keys

        check_result_keys(self, context)
        return super().execute(context)

    def build_request(self, endpoint: Endpoint) -> JobRequest:
        """Return the request made of the rendered arguments.

        :param endpoint: the input's bucket and region; results go there unless the arguments say otherwise.
        :raises RequestValidationError: an argument cannot be used, or a result would overwrite the input.
        """
        arguments = self._read_arguments("input_object")
        request: JobRequest = self.models.JobRequest(
            tag=VOICE_SEPARATE,
            input=self.models.Input(object=arguments["input_object"]),
            operation=self.models.Operation(
                template_id=arguments["template_id"],
                voice_separate=self._build_parameters(arguments),
                output=self._build_output(arguments, endpoint),
                user_data=arguments["user_data"],
                job_level=arguments["job_level"],
            ),
            queue_id=arguments["queue_id"],
            **self._build_callback(arguments),
        )
        overlap = overlap_of_job(request, endpoint.bucket)
        raise_if_any(Problem(name, arguments[name], allowed) for name, allowed in overlap.items())
        check_job(request)
        return request

    def _before_submission(self, request: JobRequest) -> None:
        if self.check_input:
            self._check_input_object(request)

    def _check_input_object(self, request: JobRequest) -> None:
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
