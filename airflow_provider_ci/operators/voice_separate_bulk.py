"""Voice separation of many media objects by one task, each of which is paid for once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.voice_separate import OUTPUT_KEYS
from airflow_provider_ci.operators.voice_separate_arguments import VoiceSeparateArguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class VoiceSeparateBulkOperator(VoiceSeparateArguments, TencentCIBulkJobOperator):
    """Submits a voice-separation job for each of many media objects, and waits for all.

    The arguments for results and parameters are those of
    :class:`~airflow_provider_ci.operators.voice_separate_arguments.VoiceSeparateArguments`, all others, and
    what is in XCom, those of :class:`~airflow_provider_ci.operators.bulk_job.TencentCIBulkJobOperator`. In
    the keys of results the provider replaces ``${InputName}``, ``${InputNameAndExt}`` and ``${InputPath}``,
    and the service ``${jobid}`` and ``${ext}``.

    .. seealso:: ``docs/operators.md``, and Tencent's page 460/84794 for the fields of the request.
    """

    template_fields: Sequence[str] = (
        *(name for name in TencentCIBulkJobOperator.template_fields if name != "tag"),
        *VoiceSeparateArguments.elements,
    )
    arguments_of_elements: Mapping[str, str] = {
        **TencentCIBulkJobOperator.arguments_of_elements,
        **OUTPUT_KEYS,
    }
    parse_check_examples = tuple(
        {**one, **other}
        for one, other in zip(
            TencentCIBulkJobOperator.parse_check_examples,
            VoiceSeparateArguments.parse_check_examples,
            strict=True,
        )
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_when_parsed(self, VoiceSeparateBulkOperator)
