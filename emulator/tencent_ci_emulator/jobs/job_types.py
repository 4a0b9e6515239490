"""What the documents say of each kind of job: its tag, its parameters, and the service that runs it.

A job of any tag is accepted, and its operation is kept and echoed as it came. Only voice separation is really
done; of the others a job needs no more than what is listed here.
"""

from __future__ import annotations

import re

from tencent_ci_emulator.jobs.voice_separation import VOICE_SEPARATE

TAG = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")

#: The element of ``Operation`` that a job needs unless it names a template, by tag
PARAMETERS = {
    VOICE_SEPARATE: VOICE_SEPARATE,
    "Animation": "Animation",
    "Concat": "ConcatTemplate",
    "PicProcess": "PicProcess",
    "SmartCover": "SmartCover",
    "Snapshot": "Snapshot",
    "SpeechRecognition": "SpeechRecognition",
    "Transcode": "Transcode",
    "Tts": "TtsTpl",
    "VideoEnhance": "VideoEnhance",
    "VideoMontage": "VideoMontage",
}
#: Tags of smart audio (460/84794 to 460/84798); all others belong to media processing
SMART_AUDIO = frozenset(
    (VOICE_SEPARATE, "NoiseReduction", "SoundHound", "SpeechRecognition", "Tts", "VocalScore")
)
#: Tags that a list may ask for (1045/49203, 1045/50305), even if the bucket has no such job
LISTED = frozenset(
    (
        *PARAMETERS,
        *("DigitalWatermark", "ExtractDigitalWatermark", "MediaInfo", "NoiseReduction", "QualityEstimate"),
        *(
            "SDRtoHDR",
            "Segment",
            "StreamExtract",
            "SuperResolution",
            "Translation",
            "VideoProcess",
            "VideoTag",
        ),
        *("WordsGeneralize", "SoundHound", "VocalScore"),
    )
)
#: Tags whose jobs have no input
WITHOUT_INPUT = frozenset(("FileCompress", "FillConcat", "PosterProduction", "Tts", "VideoSynthesis"))
