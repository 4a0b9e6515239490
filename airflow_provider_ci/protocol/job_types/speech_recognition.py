"""Speech recognition (语音识别): the documented rules of its parameters.

Sources: 1045/73385, 460/84798 (job), 436/50157 (template), 1045/49789. The list of engines grows:
any is accepted, and for one that is not named here, two channels and telling speakers apart are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from airflow_provider_ci.protocol import rules
from airflow_provider_ci.protocol.job_types.job_type import ASR, JobType
from airflow_provider_ci.protocol.rules import Problem
from airflow_provider_ci.protocol.tree import Tree, find_tree, format_value

SPEECH_RECOGNITION = "SpeechRecognition"
# Only this one takes two channels
_TWO_CHANNEL_ENGINE = "8k_zh"
# Only these tell speakers apart
_SPEAKER_ENGINES = (_TWO_CHANNEL_ENGINE, "16k_zh", "16k_zh_video")
_OTHER_ENGINES = (
    *("8k_zh_s", "8k_en", "16k_en", "16k_ca", "16k_ja", "16k_zh_edu", "16k_en_edu", "16k_zh_medical"),
    *("16k_th", "16k_zh_dialect", "16k_ms", "16k_zh-PY"),
)
# Parameters of fast recognition (FlashAsr) only, and of the other one only
_ONLY_FAST = ("Format", "FirstChannelOnly", "WordInfo")
_NEVER_FAST = ("ChannelNum", "ResTextFormat", "ConvertNumMode", "SpeakerNumber", "SentenceMaxLength")
_RULES = {
    "EngineModelType": rules.string("an engine, for instance 16k_zh or 16k_en", is_required=True),
    "ChannelNum": rules.one_number_of(1, 2),
    "ResTextFormat": rules.one_number_of(0, 1, 2, 3),
    "FilterDirty": rules.one_number_of(0, 1, 2),
    "FilterModal": rules.one_number_of(0, 1, 2),
    "FilterPunc": rules.one_number_of(0, 1, 2),
    "ConvertNumMode": rules.one_number_of(0, 1, 3),
    "SpeakerDiarization": rules.one_number_of(0, 1),
    "SpeakerNumber": rules.integer(0, 10),
    "SentenceMaxLength": rules.one_number_of(0, *range(6, 41)),
    "OutputFileType": rules.one_of("txt", "srt"),
    "FlashAsr": rules.boolean(),
    "Format": rules.one_of("wav", "pcm", "ogg-opus", "speex", "silk", "mp3", "m4a", "aac"),
    "FirstChannelOnly": rules.one_number_of(0, 1),
    "WordInfo": rules.one_number_of(0, 1, 2),
}


def _relation_problems(operation: Tree) -> Iterator[Problem]:
    given = find_tree(operation, SPEECH_RECOGNITION)
    if not given:
        return

    def problem(name: str, allowed: str) -> Problem:
        return Problem(f"Operation.{SPEECH_RECOGNITION}.{name}", given.get(name), allowed)

    engine, numbers = given["EngineModelType"], {name: rules.as_number(given.get(name)) for name in _RULES}
    is_fast = format_value(given.get("FlashAsr")) == "true"
    has_speakers, is_stereo = numbers["SpeakerDiarization"] == 1, numbers["ChannelNum"] == 2
    needed, refused = ("Format", _NEVER_FAST) if is_fast else ("ChannelNum", _ONLY_FAST)
    if given.get(needed) is None:
        yield problem(needed, f"{_RULES[needed].allowed}, as FlashAsr is {is_fast}")
    for name in refused:
        if given.get(name) is not None:
            yield problem(name, f"no value, as FlashAsr is {is_fast}")
    if is_stereo and engine in (*_SPEAKER_ENGINES, *_OTHER_ENGINES) and engine != _TWO_CHANNEL_ENGINE:
        yield problem("ChannelNum", f"1 with engine {engine}")
    if has_speakers and (is_stereo or engine in _OTHER_ENGINES):
        yield problem("SpeakerDiarization", f"0 with two channels, or with engine {engine}")
    if numbers["SpeakerNumber"] and not has_speakers:
        yield problem("SpeakerNumber", "0 unless SpeakerDiarization is 1")
    if numbers["SentenceMaxLength"] and numbers["ResTextFormat"] != 3:
        yield problem("SentenceMaxLength", "0 unless ResTextFormat is 3")
    if given.get("OutputFileType") == "srt" and (is_fast or numbers["ResTextFormat"] == 3):
        yield problem("OutputFileType", "txt if FlashAsr is true or ResTextFormat is 3")


SPEECH_RECOGNITION_TYPE = JobType(
    tag=SPEECH_RECOGNITION,
    parameters=(SPEECH_RECOGNITION,),
    needs_parameters=True,
    output_objects=MappingProxyType({"transcript": "Object"}),
    rules=MappingProxyType({f"{SPEECH_RECOGNITION}.{name}": rule for name, rule in _RULES.items()}),
    relation_problems=_relation_problems,
    service=ASR,
    submit_action="ci:CreateAsrJobs",
    # is_listed is False: of the pages about lists, only the older ones (1045/50305) name it
    is_in_batches=True,
)
