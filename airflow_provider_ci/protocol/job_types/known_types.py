"""The types of jobs that Tencent's documents or SDKs name; ``docs/job-types.md`` has the table with sources.

Sources: of ``is_listed`` 1045/49203 (tags that only the older 1045/50305 names do not count); of
``is_in_batches`` 1045/50369, and the batch model of Tencent's Go SDK; of ``submit_action`` 460/84796,
460/84798 and 460/83087; of the keys with a number 1045/48936, 1045/48937 and 1045/48938.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from airflow_provider_ci.protocol.job_types.job_type import AI, ASR, FILE, PICTURE, JobType, Need
from airflow_provider_ci.protocol.job_types.noise_reduction import NOISE_REDUCTION_TYPE
from airflow_provider_ci.protocol.job_types.speech_recognition import SPEECH_RECOGNITION_TYPE
from airflow_provider_ci.protocol.job_types.text_to_speech import TTS_TYPE
from airflow_provider_ci.protocol.job_types.transcode import TRANSCODE_TYPE
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATION_TYPE
from airflow_provider_ci.protocol.result_keys import JOB_PLACEHOLDERS, KnownInputs
from airflow_provider_ci.protocol.rules import Problem, as_number
from airflow_provider_ci.protocol.tree import Tree, find, find_text


def _number_problems(operation: Tree, reason: str) -> Iterator[Problem]:
    """Yield a problem if all files of a series would get one key, and overwrite each other."""
    key = find_text(operation, "Output.Object")
    if key is not None and "${number}" not in key.lower():
        yield Problem("Operation.Output.Object", key, f"a key with ${{Number}}, because {reason}")


def _segment_problems(operation: Tree, _: KnownInputs) -> Iterator[Problem]:
    is_playlist = find_text(operation, "Segment.Format") in ("hls", "m3u8")
    if find_text(operation, "Segment.Duration") is not None and not is_playlist:
        yield from _number_problems(operation, "there is a file for each Duration")


def _snapshot_problems(operation: Tree, _: KnownInputs) -> Iterator[Problem]:
    is_replaced = operation.get("TemplateId") is not None
    count = None if is_replaced else as_number(find(operation, "Snapshot.Count"))
    if count is not None and count > 1:
        yield from _number_problems(operation, f"Count is {count:g}")


def _cover_problems(operation: Tree, _: KnownInputs) -> Iterator[Problem]:
    yield from _number_problems(operation, "there may be several covers")


_SERIES: dict[str, Any] = {"placeholders": (*JOB_PLACEHOLDERS, "Number", "number")}
_WATERMARKS = ("Watermark", "WatermarkTemplateId")
_TRANSCODING = ("Transcode", "TranscodeTemplateId", *_WATERMARKS)
_BESIDE_TEMPLATE: dict[str, Any] = {"beside_template": _TRANSCODING}
_NO_FILES: dict[str, Any] = {
    "output": Need.FORBIDDEN,
    "output_objects": MappingProxyType({}),
    "required_objects": (),
}
_OPTIONAL_FILES: dict[str, Any] = {"output": Need.OPTIONAL, "required_objects": ()}
_NO_INPUT: dict[str, Any] = {"input": Need.FORBIDDEN}
_LISTED_AND_IN_BATCHES: dict[str, Any] = {"is_listed": True, "is_in_batches": True}
_SEGMENTS: dict[str, Any] = {"result_problems": _segment_problems, **_SERIES, **_LISTED_AND_IN_BATCHES}
_AI: dict[str, Any] = {"service": AI, "is_in_batches": True}
_FILE: dict[str, Any] = {"service": FILE}

_TYPES = (
    VOICE_SEPARATION_TYPE,
    SPEECH_RECOGNITION_TYPE,
    NOISE_REDUCTION_TYPE,
    TTS_TYPE,
    JobType(tag="SoundHound", service=ASR, **_NO_FILES),
    JobType(
        tag="VocalScore",
        parameters=("VocalScore",),
        needs_parameters=True,
        service=ASR,
        is_in_batches=True,
        **_NO_FILES,
    ),
    TRANSCODE_TYPE,
    JobType(
        tag="Concat",
        parameters=("ConcatTemplate",),
        needs_parameters=True,
        input=Need.OPTIONAL,
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(tag="Segment", parameters=("Segment",), needs_parameters=True, **_SEGMENTS),
    JobType(
        tag="Snapshot",
        parameters=("Snapshot",),
        needs_parameters=True,
        output_objects=MappingProxyType({"file": "Object", "sprite": "SpriteObject"}),
        required_objects=(),
        result_problems=_snapshot_problems,
        **_SERIES,
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(tag="Animation", parameters=("Animation",), needs_parameters=True, **_LISTED_AND_IN_BATCHES),
    JobType(
        tag="SmartCover",
        parameters=("SmartCover",),
        result_problems=_cover_problems,
        **_SERIES,
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(
        tag="VideoMontage", parameters=("VideoMontage",), needs_parameters=True, **_LISTED_AND_IN_BATCHES
    ),
    JobType(
        tag="SDRtoHDR",
        parameters=("SDRtoHDR", *_TRANSCODING),
        needs_parameters=True,
        **_BESIDE_TEMPLATE,
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(
        tag="VideoProcess",
        parameters=("VideoProcess", *_TRANSCODING),
        needs_parameters=True,
        **_BESIDE_TEMPLATE,
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(
        tag="SuperResolution",
        parameters=("SuperResolution", *_TRANSCODING),
        needs_parameters=True,
        **_BESIDE_TEMPLATE,
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(tag="VideoEnhance", parameters=("VideoEnhance",), needs_parameters=True),
    JobType(tag="Watermark", parameters=_WATERMARKS, needs_parameters=True),
    JobType(
        tag="DigitalWatermark",
        parameters=("DigitalWatermark",),
        needs_parameters=True,
        keeps_result_in_parameters=True,
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(
        tag="ExtractDigitalWatermark",
        parameters=("ExtractDigitalWatermark",),
        keeps_result_in_parameters=True,
        **_NO_FILES,
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(
        tag="StreamExtract",
        output_objects=MappingProxyType({"stream": "StreamExtract"}),
        required_objects=(),
        **_LISTED_AND_IN_BATCHES,
    ),
    JobType(
        tag="VideoTag", parameters=("VideoTag",), needs_parameters=True, **_NO_FILES, **_LISTED_AND_IN_BATCHES
    ),
    JobType(tag="MediaInfo", **_NO_FILES, **_LISTED_AND_IN_BATCHES),
    JobType(
        tag="QualityEstimate", parameters=("QualityEstimateConfig",), **_NO_FILES, **_LISTED_AND_IN_BATCHES
    ),
    # Input.Object, or for a live stream Input.Url; the latter has an Output
    JobType(
        tag="VideoTargetRec",
        parameters=("VideoTargetRec",),
        needs_parameters=True,
        input=Need.OPTIONAL,
        **_OPTIONAL_FILES,
    ),
    JobType(tag="SegmentVideoBody", parameters=("SegmentVideoBody",), **_OPTIONAL_FILES),
    JobType(tag="SplitVideoParts", parameters=("SplitVideoParts",), **_NO_FILES),
    JobType(tag="FillConcat", parameters=("FillConcat",), needs_parameters=True, **_NO_INPUT),
    JobType(
        tag="VideoSynthesis",
        parameters=("VideoSynthesis", *_TRANSCODING),
        needs_parameters=True,
        **_BESIDE_TEMPLATE,
        **_NO_INPUT,
    ),
    JobType(tag="DNA", parameters=("DnaConfig",), needs_parameters=True, is_in_batches=True, **_NO_FILES),
    JobType(tag="GeneratePlayList", parameters=_TRANSCODING, needs_parameters=True),
    JobType(
        tag="Translation",
        parameters=("Translation",),
        needs_parameters=True,
        placeholders=(),
        **_OPTIONAL_FILES,
        **_AI,
    ),
    JobType(tag="WordsGeneralize", parameters=("WordsGeneralize",), **_OPTIONAL_FILES, **_AI),
    JobType(
        tag="PicProcess",
        parameters=("PicProcess",),
        needs_parameters=True,
        service=PICTURE,
        is_in_batches=True,
    ),
    JobType(
        tag="ImageInspect", parameters=("ImageInspect",), service=PICTURE, is_in_batches=True, **_NO_FILES
    ),
    JobType(tag="ImageOCR", parameters=("ImageOCR",), service=PICTURE, is_in_batches=True, **_OPTIONAL_FILES),
    JobType(
        tag="PosterProduction",
        parameters=("PosterProduction",),
        needs_parameters=True,
        input=Need.OPTIONAL,
        service=PICTURE,
    ),
    JobType(
        tag="FileHashCode", parameters=("FileHashCodeConfig",), needs_parameters=True, **_NO_FILES, **_FILE
    ),
    JobType(
        tag="FileUncompress",
        parameters=("FileUncompressConfig",),
        needs_parameters=True,
        submit_action="ci:CreateFileProcessJobs",
        output_objects=MappingProxyType({}),
        required_objects=(),
        **_FILE,
    ),
    JobType(
        tag="FileCompress", parameters=("FileCompressConfig",), needs_parameters=True, **_NO_INPUT, **_FILE
    ),
)

#: By tag.
JOB_TYPES = MappingProxyType({each.tag: each for each in _TYPES})
#: The CAM actions of submissions.
SUBMIT_ACTIONS = tuple(dict.fromkeys(each.submit_action for each in _TYPES))


def job_type(tag: object) -> JobType:
    """Return the type with this tag; for an unknown tag, one that accepts everything."""
    known = JOB_TYPES.get(str(tag))
    return known or JobType(
        tag=str(tag), input=Need.OPTIONAL, placeholders=None, is_in_batches=True, **_OPTIONAL_FILES
    )
