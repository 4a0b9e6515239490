"""The types of jobs and of templates: what each needs, and the service that it belongs to.

The sources are the pages of each type, and Tencent's SDKs where there is none. A job of another tag is
accepted, too: its operation is kept and echoed as it was sent. The first letter of a job's id is that of
samples (``j``, ``s``, ``a``, ``c``, ``f``); ``c`` for ``ImageInspect``, ``ImageOCR`` and
``PosterProduction``, and ``j`` for all that nobody names, are guesses.
"""

from __future__ import annotations

from dataclasses import dataclass

from tencent_ci_emulator.jobs.bucket_services import BucketService

_ASR, _PICTURE, _AI, _FILE = (
    BucketService.SMART_AUDIO,
    BucketService.PICTURE,
    BucketService.AI,
    BucketService.FILE,
)


@dataclass(frozen=True, slots=True)
class JobType:
    """The properties of all jobs of one tag.

    :param needs: elements of ``Operation``; of those with a vertical bar between them, one is enough.
    :param service: the service that has to be open, and in whose queue the jobs wait.
    :param id_letter: the first letter of the jobs' ids.
    :param has_input: the jobs need an input.
    :param output: elements of ``Operation.Output`` of which one is needed beside bucket and region; ``None``:
        the jobs need no output.
    :param has_media_result: the result files are described in ``MediaResult``.
    :param is_listed: a list may ask for the tag (1045/49203, 1045/50305) before the bucket has such a job.
    """

    needs: tuple[str, ...] = ()
    service: BucketService = BucketService.MEDIA
    id_letter: str = "j"
    has_input: bool = True
    output: tuple[str, ...] | None = ("Object",)
    has_media_result: bool = True
    is_listed: bool = True


_TRANSCODE = "Transcode|TranscodeTemplateId"

JOB_TYPES = {
    # Media processing
    "Animation": JobType(("Animation|TemplateId",)),
    "Concat": JobType(("ConcatTemplate|TemplateId",), has_input=False),
    "DNA": JobType(("DnaConfig",), output=None, is_listed=False),
    "DigitalWatermark": JobType(("DigitalWatermark",)),
    "ExtractDigitalWatermark": JobType(("ExtractDigitalWatermark",), output=None),
    "FillConcat": JobType(("FillConcat",), has_input=False, is_listed=False),
    "GeneratePlayList": JobType(("Transcode",), is_listed=False),
    "MediaInfo": JobType(output=None),
    "QualityEstimate": JobType(output=None),
    "SDRtoHDR": JobType(("SDRtoHDR", _TRANSCODE)),
    "Segment": JobType(("Segment",)),
    "SmartCover": JobType(),
    "Snapshot": JobType(("Snapshot|TemplateId",), output=("Object", "SpriteObject")),
    "SplitVideoParts": JobType(("SplitVideoParts",), output=None, is_listed=False),
    "StreamExtract": JobType(output=("StreamExtract/Object",)),
    "SuperResolution": JobType(("SuperResolution|TemplateId", _TRANSCODE)),
    "Transcode": JobType(("Transcode|TemplateId",)),
    "VideoEnhance": JobType(("VideoEnhance|TemplateId",), is_listed=False),
    "VideoMontage": JobType(("VideoMontage|TemplateId",)),
    "VideoProcess": JobType(("VideoProcess|TemplateId", _TRANSCODE)),
    "VideoSynthesis": JobType(("VideoSynthesis",), has_input=False, is_listed=False),
    "VideoTag": JobType(("VideoTag",), output=None),
    "Watermark": JobType(("Watermark|WatermarkTemplateId",), is_listed=False),
    # Smart audio (460/84794 to 460/84798; of VocalScore by its subject)
    "NoiseReduction": JobType((), _ASR, has_media_result=False),
    "SoundHound": JobType((), _ASR, "s", output=None, is_listed=False),
    "SpeechRecognition": JobType(("SpeechRecognition|TemplateId",), _ASR, "s", has_media_result=False),
    "Tts": JobType(("TtsTpl|TemplateId", "TtsConfig"), _ASR, has_input=False),
    "VocalScore": JobType(("VocalScore",), _ASR, output=None, is_listed=False),
    "VoiceSeparate": JobType(("VoiceSeparate|TemplateId",), _ASR, output=()),
    # AI. The letter is documented; that the last two belong there is a guess from it
    "Translation": JobType(("Translation",), _AI, "a", output=None, has_media_result=False),
    "WordsGeneralize": JobType(("WordsGeneralize",), _AI, "a", output=None, has_media_result=False),
    "SegmentVideoBody": JobType(("SegmentVideoBody",), _AI, "a", output=None, is_listed=False),
    "VideoTargetRec": JobType(("VideoTargetRec|TemplateId",), _AI, "a", output=None, is_listed=False),
    # Pictures. The letter of the last three is a guess
    "PicProcess": JobType(("PicProcess|TemplateId",), _PICTURE, "c", has_media_result=False),
    "ImageInspect": JobType((), _PICTURE, "c", output=None, is_listed=False),
    "ImageOCR": JobType((), _PICTURE, "c", output=None, is_listed=False),
    "PosterProduction": JobType(
        ("PosterProduction",), _PICTURE, "c", has_input=False, has_media_result=False, is_listed=False
    ),
    # Files
    "FileCompress": JobType(
        ("FileCompressConfig",), _FILE, "f", has_input=False, has_media_result=False, is_listed=False
    ),
    "FileHashCode": JobType(("FileHashCodeConfig",), _FILE, "f", output=None, is_listed=False),
    "FileUncompress": JobType(("FileUncompressConfig",), _FILE, "f", output=(), is_listed=False),
    # Documents, which the pages submit to /doc_jobs
    "DocAIGCMetadata": JobType((), id_letter="d", output=None, is_listed=False),
    "DocProcess": JobType((), id_letter="d", output=None, is_listed=False),
    "DocWatermark": JobType((), id_letter="d", output=None, is_listed=False),
}


def job_type(tag: str | None) -> JobType:
    """Return the properties of a tag, also of one that no document names."""
    return JOB_TYPES.get(tag or "", JobType(output=None, is_listed=False))


@dataclass(frozen=True, slots=True)
class TemplateType:
    """The properties of all templates of one tag.

    :param job_tag: the tag of the jobs that may use it.
    :param element: the element of ``Operation`` that a job has the parameters in.
    :param described_as: the element that the parameters are in when a template is described.
    :param needs: the children that a template's request needs. It has the parameters in one of the name
        ``element``, unless ``is_flat``: then they are its own children.
    """

    job_tag: str
    element: str
    described_as: str
    needs: tuple[str, ...]
    is_flat: bool = False


def _nested(job_tag: str, element: str | None = None) -> TemplateType:
    name = element or job_tag
    return TemplateType(job_tag, name, name, (name,))


def _flat(
    job_tag: str, *needs: str, element: str | None = None, described_as: str | None = None
) -> TemplateType:
    name = element or job_tag
    return TemplateType(job_tag, name, described_as or name, needs, is_flat=True)


TEMPLATE_TYPES = {
    "Animation": _flat("Animation", "Container", described_as="TransTpl"),
    "Concat": _nested("Concat", "ConcatTemplate"),
    "HighSpeedHd": _flat("Transcode", "Container", described_as="TransTpl"),
    "NoiseReduction": _nested("NoiseReduction"),
    "PicProcess": _nested("PicProcess"),
    "SmartCover": _nested("SmartCover"),
    "Snapshot": _nested("Snapshot"),
    "SpeechRecognition": _nested("SpeechRecognition"),
    "SuperResolution": _flat("SuperResolution"),
    "Transcode": _flat("Transcode", "Container", described_as="TransTpl"),
    "TranscodePro": _flat("Transcode", "Container", described_as="TransProTpl"),
    "Tts": _flat("Tts", element="TtsTpl"),
    "VideoEnhance": _nested("VideoEnhance"),
    "VideoMontage": _flat("VideoMontage", "Container"),
    "VideoProcess": _flat("VideoProcess"),
    "VideoTargetRec": _nested("VideoTargetRec"),
    "VoiceSeparate": _flat("VoiceSeparate", "AudioMode", "AudioConfig"),
    "Watermark": _nested("Watermark"),
}


def template_elements(job_tag: str) -> set[str]:
    """Return the elements of ``Operation`` in which jobs of a tag may have a template's parameters."""
    return {one.element for one in TEMPLATE_TYPES.values() if one.job_tag == job_tag}
