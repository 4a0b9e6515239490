"""Noise reduction: a paid job that removes noise from a recording."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.protocol.job_types.noise_reduction import NOISE_REDUCTION_TYPE


class NoiseReductionOperator(TypedJobOperator):
    """Submits a noise-reduction job (``NoiseReduction``, 音频降噪), and waits for it if asked to.

    The result is ``outputs["file"]`` of XCom ``job``. The service does not say where it has written it, so
    ``output_object`` has no placeholders, and the file has no MD5. The input has at most 10 MB, and its first
    channel counts. The service needs to be opened for smart audio, and the account ``ci:CreateAsrJobs``.

    All other arguments are those of :class:`~airflow_provider_ci.operators.typed_job.TypedJobOperator` and
    :class:`~airflow_provider_ci.operators.job.TencentCIJobOperator`. The fields are on Tencent's page
    460/84796.

    :param format: the result's format (``Format``): ``mp3``, ``m4a`` or ``wav`` (the service's default).
        (templated)
    :param samplerate: Hz (``Samplerate``): 8000, 12000, 16000 (the service's default), 24000, 32000, 44100 or
        48000. Tencent's pages use two spellings; for the other one:
        ``operation={"NoiseReduction": {"SampleRate": 8000}}``. (templated)
    """

    kind = NOISE_REDUCTION_TYPE

    def __init__(
        self,
        *,
        format: str | None = None,  # noqa: A002 - Tencent's name
        samplerate: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.format = format
        self.samplerate = samplerate
        check_when_parsed(self, NoiseReductionOperator)
