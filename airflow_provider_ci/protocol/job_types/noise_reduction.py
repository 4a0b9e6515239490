"""Noise reduction (音频降噪): the documented rules of its parameters.

Sources: 1045/73375, 460/84796 (job), 460/94315 (template). Documents and SDKs spell the sample rate in two
ways; both are accepted.
"""

from __future__ import annotations

from types import MappingProxyType

from airflow_provider_ci.protocol.job_types.job_type import ASR, JobType
from airflow_provider_ci.protocol.rules import one_number_of, one_of

NOISE_REDUCTION = "NoiseReduction"
_SAMPLE_RATE = one_number_of(8000, 12000, 16000, 24000, 32000, 44100, 48000)

NOISE_REDUCTION_TYPE = JobType(
    tag=NOISE_REDUCTION,
    parameters=(NOISE_REDUCTION,),
    placeholders=(),  # the service returns no key, so what a placeholder became could not be known
    rules=MappingProxyType(
        {
            "NoiseReduction.Format": one_of("mp3", "m4a", "wav"),
            "NoiseReduction.Samplerate": _SAMPLE_RATE,
            "NoiseReduction.SampleRate": _SAMPLE_RATE,
        }
    ),
    service=ASR,
    submit_action="ci:CreateAsrJobs",
    is_listed=True,
    is_in_batches=True,
)
