"""A realistic job of every type that Tencent's documents or SDKs name, and of one that nobody knows.

The elements are those of Tencent's own samples: of the pages, or of the SDKs where there is no page.
"""

from __future__ import annotations

from typing import Any

SOUND, FILM, PICTURE, TEXT, ARCHIVE = (
    "in/sound.mp3",
    "in/film.mkv",
    "in/picture.png",
    "in/text.txt",
    "in/a.zip",
)
#: A type that no document names.
UNKNOWN = "Unheard"

_MP3 = {"Container": {"Format": "mp3"}, "Audio": {"Codec": "mp3", "Samplerate": 44100, "Bitrate": "64"}}
_MP4 = {
    "Container": {"Format": "mp4"},
    "Video": {"Codec": "H.264", "Width": 128, "Fps": "5"},
    "Audio": {"Codec": "aac", "Samplerate": "44100"},
}
_WATERMARK = {
    "Type": "Text",
    "Pos": "TopRight",
    "LocMode": "Absolute",
    "Dx": 4,
    "Dy": "4",
    "Text": {"Text": "水印 <1> & more", "FontSize": 20, "FontType": "simfang.ttf", "FontColor": "0x000000"},
}
#: What is in ``Operation`` beside ``Output``.
_OPERATIONS: dict[str, dict[str, Any]] = {
    "VoiceSeparate": {"VoiceSeparate": {"AudioMode": "AudioAndBackground", "AudioConfig": {"Codec": "mp3"}}},
    "SpeechRecognition": {
        "SpeechRecognition": {
            "EngineModelType": "16k_zh",
            "ChannelNum": 1,
            "ResTextFormat": 1,
            "FilterDirty": 0,
            "ConvertNumMode": 0,
            "OutputFileType": "txt",
        }
    },
    "NoiseReduction": {"NoiseReduction": {"Format": "wav", "Samplerate": 16000}},
    "Tts": {
        "TtsTpl": {"Mode": "Sync", "Codec": "mp3", "VoiceType": "ruxue", "Volume": "0", "Speed": 100},
        "TtsConfig": {"InputType": "Text", "Input": "床前明月光，<疑>是地上霜 & so on."},
    },
    "SoundHound": {},
    "VocalScore": {"VocalScore": {"StandardObject": SOUND}},
    "Transcode": {"Transcode": _MP3},
    "Concat": {
        "ConcatTemplate": {
            "ConcatFragment": [
                {"Url": "{origin}/in/film.mkv", "FragmentIndex": "0"},
                {"Url": "{origin}/in/film.mkv", "FragmentIndex": "1"},
            ],
            "Audio": {"Codec": "mp3"},
            "Container": {"Format": "mp3"},
            "Index": 0,
        }
    },
    "Segment": {"Segment": {"Format": "mp3", "Duration": "5"}},
    "Snapshot": {"Snapshot": {"Mode": "Interval", "Start": "0", "TimeInterval": "0.5", "Count": 2}},
    "Animation": {
        "Animation": {
            "Container": {"Format": "gif"},
            "Video": {"Codec": "gif", "Width": "128", "AnimateFramesPerSecond": 2},
            "TimeInterval": {"Start": 0, "Duration": "0.5"},
        }
    },
    "SmartCover": {
        "SmartCover": {
            "Format": "jpg",
            "Width": "128",
            "Height": 128,
            "Count": 2,
            "DeleteDuplicates": False,
        }
    },
    "VideoMontage": {"VideoMontage": {"Duration": "1", "Scene": "Video", **_MP4}},
    "SDRtoHDR": {"SDRtoHDR": {"HdrMode": "HLG"}, "Transcode": _MP4},
    "VideoProcess": {
        "VideoProcess": {
            "ColorEnhance": {"Enable": True, "Contrast": 10, "Correction": "", "Saturation": None},
            "MsSharpen": {"Enable": "false", "SharpenLevel": ""},
        },
        "Transcode": _MP4,
        "Watermark": [_WATERMARK],
    },
    "SuperResolution": {
        "SuperResolution": {"Resolution": "sdtohd", "EnableScaleUp": True, "Version": "Enhance"},
        "Transcode": _MP4,
    },
    "VideoEnhance": {
        "VideoEnhance": {
            "Transcode": _MP4,
            "SuperResolution": {"Resolution": "sdtohd"},
            "FrameEnhance": {"FrameDoubling": "true"},
        }
    },
    "Watermark": {"Watermark": [_WATERMARK, {**_WATERMARK, "Pos": "BottomLeft"}]},
    "DigitalWatermark": {
        "DigitalWatermark": {"Message": "123456789ab", "Type": "Text", "Version": "V1", "IgnoreError": True}
    },
    "ExtractDigitalWatermark": {"ExtractDigitalWatermark": {"Type": "Text", "Version": "V1"}},
    "StreamExtract": {},
    "VideoTag": {"VideoTag": {"Scenario": "Stream"}},
    "MediaInfo": {},
    "QualityEstimate": {"QualityEstimateConfig": {"Rotate": "90", "Mode": "general"}},
    "VideoTargetRec": {"VideoTargetRec": {"Body": "true", "Pet": True, "Car": False}},
    "SegmentVideoBody": {"SegmentVideoBody": {"Mode": "Mask", "SegmentType": "HumanSeg"}},
    "SplitVideoParts": {"SplitVideoParts": {"Mode": "SHOTDETECT"}},
    "FillConcat": {
        "FillConcat": {
            "Format": "mp4",
            "FillInput": [
                {"Url": "{origin}/in/film.mkv"},
                {"FillTime": "1.5"},
                {"Url": "{origin}/in/film.mkv"},
            ],
            "RefMode": "Custom",
            "RefIndex": 0,
        }
    },
    "VideoSynthesis": {
        "VideoSynthesis": {
            "KeepAudioTrack": "false",
            "SpliceInfo": [
                {"Url": "{origin}/in/film.mkv", "X": "0", "Y": 0, "Width": "640", "Height": "360"},
                {"Url": "{origin}/in/film.mkv", "X": "640", "Y": 0, "Width": "640", "Height": "360"},
            ],
        },
        "Transcode": _MP4,
    },
    "DNA": {"DnaConfig": {"RuleType": "GetFingerPrint", "DnaDbId": "xxx", "VideoId": "xxx"}},
    "GeneratePlayList": {
        "Transcode": {
            "Container": {"Format": "hls", "ClipConfig": {"Duration": 5}},
            "Video": {"Codec": "H.264", "Width": 256},
            "Audio": {"Codec": "aac"},
            "TransConfig": {"InitialClipNum": 2, "CosTag": "DEMO=a&b"},
        }
    },
    "Translation": {"Translation": {"Lang": "en", "Type": "txt"}},
    "WordsGeneralize": {"WordsGeneralize": {"NerMethod": "DL", "SegMethod": "MIX"}},
    "PicProcess": {"PicProcess": {"IsPicInfo": True, "ProcessRule": "imageMogr2/thumbnail/!50p"}},
    "ImageInspect": {"ImageInspect": {"AutoProcess": False}},
    "ImageOCR": {"TemplateId": "t" + "1" * 32},
    "PosterProduction": {
        "PosterProduction": {
            "TemplateId": "6450ebbd0e3b1b4a",
            "Info": {"main": "{origin}/in/picture.png", "text_1": "夏"},
        }
    },
    "FileHashCode": {"FileHashCodeConfig": {"Type": "MD5", "AddToHeader": "false"}},
    "FileUncompress": {"FileUncompressConfig": {"Prefix": "out/{name}/", "PrefixReplaced": "1"}},
    "FileCompress": {
        "FileCompressConfig": {"Flatten": 0, "Format": "zip", "Key": [TEXT, PICTURE], "IgnoreError": "true"}
    },
    UNKNOWN: {"Unheard": {"Of": [{"Level": 1}, {"Level": 2}], "Empty": {}, "Text": "<&>"}},
}
_FILMS = (
    *("VideoMontage", "SDRtoHDR", "VideoProcess", "SuperResolution", "VideoEnhance", "Watermark"),
    *("DigitalWatermark", "SegmentVideoBody", "VideoSynthesis"),
)
#: The names of the result files, by element of ``Output``.
_OUTPUTS: dict[str, dict[str, Any]] = {
    "VoiceSeparate": {"Object": "background-${jobid}.${ext}", "AuObject": "voice-${jobid}.${ext}"},
    "SpeechRecognition": {"Object": "transcript.txt"},
    "NoiseReduction": {"Object": "clean.wav"},
    "Tts": {"Object": "speech.mp3"},
    "Segment": {"Object": "part-${Number}"},
    "Snapshot": {"Object": "shot-${Number}.jpg"},
    "SmartCover": {"Object": "cover-${Number}.jpg"},
    "StreamExtract": {
        "StreamExtract": [{"Index": "0", "Object": "stream-0.mp4"}, {"Index": 1, "Object": "stream-1.aac"}]
    },
    "FillConcat": {"Object": "filled.${ext}"},
    "GeneratePlayList": {"Object": "list.${ext}"},
    "Translation": {"Object": "translated.txt"},
    "PicProcess": {"Object": "small.png"},
    "PosterProduction": {"Object": "poster.jpg"},
    "FileUncompress": {},
    "FileCompress": {"Object": "packed.zip"},
    UNKNOWN: {"Object": "unheard"},
    "Transcode": {"Object": "sound.mp3"},
    "Concat": {"Object": "sound.mp3"},
    "Animation": {"Object": "film.gif"},
    **{tag: {"Object": "film.mp4"} for tag in _FILMS},
}
#: Those whose input is not the film. ``None``: a job of this type has none.
_INPUTS: dict[str, str | None] = {
    **dict.fromkeys(
        ("VoiceSeparate", "SpeechRecognition", "NoiseReduction", "SoundHound", "VocalScore", "Transcode"),
        SOUND,
    ),
    "Segment": SOUND,
    **dict.fromkeys(("Tts", "FillConcat", "VideoSynthesis", "FileCompress", "PosterProduction"), None),
    **dict.fromkeys(("Translation", "WordsGeneralize"), TEXT),
    **dict.fromkeys(("PicProcess", "ImageInspect", "ImageOCR"), PICTURE),
    "FileUncompress": ARCHIVE,
}
_INPUT_ELEMENTS = {"Translation": {"Lang": "zh", "Type": "txt"}}

#: All types.
TAGS = tuple(_OPERATIONS)


def job_of(tag: str, name: str, origin: str) -> dict[str, Any]:
    """Return the arguments of ``TencentCIJobOperator`` for a job of a type.

    :param name: its results are under ``out/<name>/``.
    :param origin: the address of the bucket.
    """
    operation = _replace(_OPERATIONS[tag], {"{origin}": origin, "{name}": name})
    if tag in _OUTPUTS:
        operation["Output"] = _with_folder(_OUTPUTS[tag], f"out/{name}/")
    return {
        "tag": tag,
        "input_object": _INPUTS.get(tag, FILM),
        "input_elements": _INPUT_ELEMENTS.get(tag),
        "operation": operation,
    }


def request_of(tag: str, name: str, bucket: str, region: str) -> dict[str, Any]:
    """Return the content of ``Request`` for the same job, as Tencent's SDKs want it."""
    return request_for(job_of(tag, name, f"https://{bucket}.cos.{region}.myqcloud.com"), bucket, region)


def request_for(job: dict[str, Any], bucket: str, region: str) -> dict[str, Any]:
    """Return the content of ``Request`` for the arguments of an operator."""
    operation = _without_none(job["operation"])
    if "Output" in operation:
        operation["Output"] = {"Region": region, "Bucket": bucket, **operation["Output"]}
    request = {"Tag": job["tag"], "Operation": operation}
    if job["input_object"]:
        request["Input"] = {"Object": job["input_object"], **(job["input_elements"] or {})}
    return request


def has_all(returned: Any, sent: Any) -> bool:
    """Tell whether all that was sent is returned, as texts. A list of one entry may be that entry."""
    if isinstance(sent, dict):
        found = returned or {}
        return all(has_all(found.get(name), value) for name, value in sent.items() if value is not None)
    if isinstance(sent, list):
        entries = returned if isinstance(returned, list) else [returned]
        return len(entries) == len(sent) and all(map(has_all, entries, sent))
    text = str(sent).lower() if isinstance(sent, bool) else str(sent)
    return bool((returned or "") == text)


def _replace(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _replace(child, texts) for name, child in value.items()}
    if isinstance(value, list):
        return [_replace(entry, texts) for entry in value]
    if isinstance(value, str):
        for old, new in texts.items():
            value = value.replace(old, new)
    return value


def _with_folder(output: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return ``Output`` with keys in a folder."""
    return {
        element: [{**each, "Object": folder + each["Object"]} for each in value]
        if isinstance(value, list)
        else folder + value
        for element, value in output.items()
    }


def _without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(child) if isinstance(child, dict) else child
        for name, child in value.items()
        if child is not None
    }
