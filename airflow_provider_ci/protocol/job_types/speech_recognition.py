"""Speech recognition (语音识别): the documented rules of its parameters.

Sources: 1045/73385, 460/84798 (job), 436/50157 (template), 1045/49789. The list of engines grows, so any is
accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from airflow_provider_ci.protocol.job_types.job_type import ASR, JobType
from airflow_provider_ci.protocol.rules import (
    Problem,
    as_number,
    boolean,
    integer,
    one_number_of,
    one_of,
    string,
)
from airflow_provider_ci.protocol.tree import Tree, find_text, find_tree, format_value

SPEECH_RECOGNITION = "SpeechRecognition"
_SPEAKER_ENGINES = ("8k_zh", "16k_zh", "16k_zh_video")
_FORMATS = ("wav", "pcm", "ogg-opus", "speex", "silk", "mp3", "m4a", "aac")
_NOT_FAST = ("ChannelNum", "ResTextFormat", "ConvertNumMode", "SpeakerNumber", "SentenceMaxLength")
_ONLY_FAST = ("Format", "FirstChannelOnly", "WordInfo")

_RULES = {
    "EngineModelType": string("an engine, for instance 16k_zh or 16k_en", is_required=True),
    "ChannelNum": one_number_of(1, 2),
    "ResTextFormat": one_number_of(0, 1, 2, 3),
    "FilterDirty": one_number_of(0, 1, 2),
    "FilterModal": one_number_of(0, 1, 2),
    "FilterPunc": one_number_of(0, 1, 2),
    "ConvertNumMode": one_number_of(0, 1, 3),
    "SpeakerDiarization": one_number_of(0, 1),
    "SpeakerNumber": integer(0, 10),
    "SentenceMaxLength": one_number_of(0, *range(6, 41)),
    "OutputFileType": one_of("txt", "srt"),
    "FlashAsr": boolean(),
    "Format": one_of(*_FORMATS),
    "FirstChannelOnly": one_number_of(0, 1),
    "WordInfo": one_number_of(0, 1, 2),
}


def _relation_problems(operation: Tree) -> Iterator[Problem]:
    parameters = find_tree(operation, SPEECH_RECOGNITION)
    engine = find_text(parameters, "EngineModelType")
    values = {name: as_number(parameters.get(name)) for name in _RULES}
    is_fast = format_value(parameters.get("FlashAsr", False)) == "true"
    has_speakers, is_stereo = values["SpeakerDiarization"] == 1, values["ChannelNum"] == 2
    needed, has_lines = "Format" if is_fast else "ChannelNum", is_fast or values["ResTextFormat"] == 3
    no_speakers = is_stereo or engine not in _SPEAKER_ENGINES
    too_long = values["SentenceMaxLength"] and values["ResTextFormat"] != 3
    broken: dict[str, tuple[object, str]] = {
        needed: (parameters.get(needed) is None, f"{_RULES[needed].allowed}, as FlashAsr is {is_fast}"),
        "SpeakerDiarization": (has_speakers and no_speakers, f"0 with two channels, or with engine {engine}"),
        "SpeakerNumber": (values["SpeakerNumber"] and not has_speakers, "0 unless SpeakerDiarization is 1"),
        "SentenceMaxLength": (too_long, "0 unless ResTextFormat is 3"),
        "OutputFileType": (
            parameters.get("OutputFileType") == "srt" and has_lines,
            "txt if FlashAsr is true or ResTextFormat is 3",
        ),
    }
    if is_stereo and engine != "8k_zh":
        broken["ChannelNum"] = (True, f"1 with engine {engine}")
    for name in _NOT_FAST if is_fast else _ONLY_FAST:
        if parameters.get(name) is not None:
            broken[name] = (True, f"no value, as FlashAsr is {is_fast}")
    for name, (is_broken, allowed) in broken.items() if parameters else ():
        if is_broken:
            yield Problem(f"Operation.{SPEECH_RECOGNITION}.{name}", parameters.get(name), allowed)


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
