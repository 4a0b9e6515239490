"""Voice separation of many media objects by one batch job: the service makes a job for each input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.operators.batch_job import TencentCIBatchJobOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.voice_separate import OUTPUT_KEYS
from airflow_provider_ci.operators.voice_separate_arguments import VoiceSeparateArguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class VoiceSeparateBatchOperator(VoiceSeparateArguments, TencentCIBatchJobOperator):
    """Submits one batch job that separates all media objects under a prefix, in an inventory or in a list.

    The arguments for results and parameters are those of
    :class:`~airflow_provider_ci.operators.voice_separate_arguments.VoiceSeparateArguments`, all others, and
    what is in XCom, those of :class:`~airflow_provider_ci.operators.batch_job.TencentCIBatchJobOperator`. The
    key of each result must differ between all inputs: it needs ``${jobid}``, or ``${InputPath}`` and
    ``${InputNameAndExt}``.

    .. seealso:: ``docs/operators.md``, and Tencent's page 460/80155 for the fields of the request.
    """

    template_fields: Sequence[str] = (
        *(name for name in TencentCIBatchJobOperator.template_fields if name != "tag"),
        *VoiceSeparateArguments.elements,
    )
    arguments_of_elements: Mapping[str, str] = {
        **TencentCIBatchJobOperator.arguments_of_elements,
        **OUTPUT_KEYS,
    }
    parse_check_examples = tuple(
        {**one, **other}
        for one, other in zip(
            TencentCIBatchJobOperator.parse_check_examples,
            VoiceSeparateArguments.parse_check_examples,
            strict=True,
        )
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_when_parsed(self, VoiceSeparateBatchOperator)
