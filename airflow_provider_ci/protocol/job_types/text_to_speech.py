"""Text to speech (语音合成, Tag ``Tts``): the documented rules of its parameters.

Sources: 1045/73380, 460/84797 (job), 1045/49913, 460/84499 (template). The documents spell the asynchronous
mode in two ways, and contradict each other about which voice has which mode; both are accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from airflow_provider_ci.protocol.job_types.job_type import ASR, JobType, Need
from airflow_provider_ci.protocol.names import is_web_address, redact_address
from airflow_provider_ci.protocol.result_keys import KnownInputs
from airflow_provider_ci.protocol.rules import Problem, integer, one_of, string
from airflow_provider_ci.protocol.tree import Tree, find_tree, without_none

TTS = "Tts"
#: The voice that the service uses if a request names none.
DEFAULT_VOICE = "ruxue"
#: Characters of a text in a request; a longer one is an object in COS.
TEXT_MAX = 300


def source_problems(field: str, kind: object, source: object) -> Iterator[Problem]:
    """Yield what is wrong with a text that is to be spoken, or with the address of one.

    :param field: how messages name it.
    :param kind: ``Text`` or ``Url`` (``InputType``).
    """
    if kind == "Text" and len(str(source)) > TEXT_MAX:
        yield Problem(field, source, f"at most {TEXT_MAX} characters; a longer text is an object in COS")
    if kind == "Url" and not is_web_address(str(source)):
        yield Problem(field, redact_address(str(source)), "the http or https address of a text in COS")


def _relation_problems(operation: Tree) -> Iterator[Problem]:
    config = find_tree(operation, "TtsConfig")
    if config:
        yield from source_problems("Operation.TtsConfig.Input", config["InputType"], config["Input"])
    if operation.get("TtsTpl") is not None and not without_none(find_tree(operation, "TtsTpl")):
        yield Problem("Operation.TtsTpl", operation["TtsTpl"], "at least one element, for instance VoiceType")


def _missing_source(operation: Tree, inputs: KnownInputs) -> Iterator[Problem]:
    # the inputs of a batch job may be the texts: it is not documented
    if operation.get("TtsConfig") is None and not inputs.is_batch:
        yield Problem("Operation.TtsConfig", None, "InputType and Input: what is to be spoken")


TTS_TYPE = JobType(
    tag=TTS,
    parameters=("TtsTpl", "TtsConfig"),
    needs_parameters=True,
    beside_template=("TtsConfig",),
    input=Need.FORBIDDEN,
    rules=MappingProxyType(
        {
            "TtsConfig.InputType": one_of("Text", "Url", is_required=True),
            "TtsConfig.Input": string("what is to be spoken", is_required=True),
            "TtsTpl.Mode": one_of("Sync", "Asyc", "Async"),
            "TtsTpl.Codec": one_of("wav", "mp3", "pcm"),
            "TtsTpl.VoiceType": string("a voice, for instance ruxue"),
            "TtsTpl.Volume": integer(-10, 10),
            "TtsTpl.Speed": integer(50, 200),
            "TtsTpl.Emotion": string("an emotion of the voice"),
        }
    ),
    relation_problems=_relation_problems,
    result_problems=_missing_source,
    service=ASR,
    is_listed=True,
    is_in_batches=True,
)
