"""Text to speech (语音合成, Tag ``Tts``): the documented rules of its parameters.

Sources: 1045/73380, 460/84797 (job), 1045/49913, 460/84499 (template). The documents spell the asynchronous
mode in two ways, and contradict each other about which voice has which mode; both are accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from airflow_provider_ci.protocol.job_types.job_type import ASR, JobType, Need
from airflow_provider_ci.protocol.names import is_web_address, redact_address
from airflow_provider_ci.protocol.rules import Problem, integer, one_of, string
from airflow_provider_ci.protocol.tree import Tree, find, find_text

TTS = "Tts"
#: The voice that the service uses if a request names none.
DEFAULT_VOICE = "ruxue"
#: Characters of a text in a request; a longer one is an object in COS.
TEXT_MAX = 300


def _relation_problems(operation: Tree) -> Iterator[Problem]:
    kind, source = find_text(operation, "TtsConfig.InputType"), find_text(operation, "TtsConfig.Input")
    if find(operation, "TtsConfig") is None:
        yield Problem("Operation.TtsConfig", None, "InputType and Input: what is to be spoken")
    elif kind == "Text" and source and len(source) > TEXT_MAX:
        allowed = f"at most {TEXT_MAX} characters; a longer text is an object in COS, with InputType Url"
        yield Problem("Operation.TtsConfig.Input", source, allowed)
    elif kind == "Url" and source and not is_web_address(source):
        allowed = "the http or https address of a text in COS"
        yield Problem("Operation.TtsConfig.Input", redact_address(source), allowed)
    if operation.get("TtsTpl") == {}:
        yield Problem("Operation.TtsTpl", {}, "at least one element, for instance VoiceType")


TTS_TYPE = JobType(
    tag=TTS,
    parameters=("TtsTpl", "TtsConfig"),
    needs_parameters=True,
    beside_template=("TtsConfig",),
    input=Need.NONE,
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
    service=ASR,
    is_listed=True,
    is_in_batches=True,
)
