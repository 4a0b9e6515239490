"""Voice separation: a paid job that splits a media file into voice and background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.operators.job_request import INPUT_EXAMPLE
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.voice_separate_arguments import VoiceSeparateArguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What a message calls the keys of all results.
OUTPUT_KEYS = {"Output's object keys": "background_object, voice_object, bass_object and drum_object"}


class VoiceSeparateOperator(VoiceSeparateArguments, TencentCIJobOperator):
    """Submits a voice-separation job (``VoiceSeparate``, 人声分离) for a media object in COS.

    The input is a file with sound. Tencent's FAQ (1045/54377) lists MP4, AVI, MOV, FLAC, WAV, AMR, MP3, AAC.
    The job is billed by the duration of its results. XCom ``return_value`` is the JobId, pushed as soon as
    the service has accepted the job. XCom ``job`` is a
    :class:`~airflow_provider_ci.protocol.results.JobResult`.

    The arguments for results and parameters are those of
    :class:`~airflow_provider_ci.operators.voice_separate_arguments.VoiceSeparateArguments`, all others those
    of :class:`~airflow_provider_ci.operators.job.TencentCIJobOperator`. In the keys of results the service
    replaces ``${jobid}`` and ``${ext}``.

    .. seealso:: ``docs/operators.md``, and Tencent's page 460/84794 for the fields of the request.
    """

    template_fields: Sequence[str] = (
        *(name for name in TencentCIJobOperator.template_fields if name != "tag"),
        *VoiceSeparateArguments.elements,
    )
    arguments_of_elements: Mapping[str, str] = {
        **TencentCIJobOperator.arguments_of_elements,
        **OUTPUT_KEYS,
    }
    parse_check_examples = tuple(
        {**example, **INPUT_EXAMPLE} for example in VoiceSeparateArguments.parse_check_examples
    )

    def __init__(self, *, input_object: str, **kwargs: Any) -> None:
        super().__init__(input_object=input_object, **kwargs)
        check_when_parsed(self, VoiceSeparateOperator)
