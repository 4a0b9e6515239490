"""Noise reduction (音频降噪): the documented rules of its parameters.

Sources: 1045/73375, 460/84796 (job), 460/94315 (template). The template's page and all SDKs write
``Samplerate``, the samples of the job's pages ``SampleRate``; which of them the service reads is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from airflow_provider_ci.protocol.job_types.job_type import ASR, JobType
from airflow_provider_ci.protocol.rules import Problem, as_number, one_number_of, one_of
from airflow_provider_ci.protocol.tree import Tree, find

NOISE_REDUCTION = "NoiseReduction"
_SAMPLE_RATE = one_number_of(8000, 12000, 16000, 24000, 32000, 44100, 48000)


def _relation_problems(operation: Tree) -> Iterator[Problem]:
    one, other = (find(operation, f"{NOISE_REDUCTION}.{name}") for name in ("Samplerate", "SampleRate"))
    if one is not None and other is not None and as_number(one) != as_number(other):
        yield Problem(
            f"Operation.{NOISE_REDUCTION}.SampleRate", other, f"{one!r}, as Samplerate, or no value"
        )


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
    relation_problems=_relation_problems,
    service=ASR,
    submit_action="ci:CreateAsrJobs",
    is_listed=True,
    is_in_batches=True,
)
