"""Transcoding: a paid job that converts a media file."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.protocol.job_types.transcode import TRANSCODE_TYPE


class TranscodeOperator(TypedJobOperator):
    """Submits a transcoding job (``Transcode``, 音视频转码), and waits for it if asked to.

    The result is ``outputs["file"]`` of XCom ``job``. It has sound only if an argument ``audio_…`` is set,
    and a picture only if an argument ``video_…`` is set. Watermarks and all other elements are in
    ``operation``: ``{"Transcode": {"TransConfig": {…}}, "Watermark": [{…}]}``.

    All other arguments are those of :class:`~airflow_provider_ci.operators.typed_job.TypedJobOperator` and
    :class:`~airflow_provider_ci.operators.job.TencentCIJobOperator`. The fields are on Tencent's page
    1045/49911.

    :param container_format: ``mp4``, ``hls``, ``mkv``, ``ts``, ``flv``, ``avi``, ``mov``, ``dash`` or
        ``webm``; for sound only ``aac``, ``mp3``, ``flac``, ``amr``, ``adts``, ``m4a`` or ``wav``
        (``Container.Format``). Required without a template. (templated)
    :param audio_codec: ``aac``, ``mp3``, ``flac``, ``amr``, ``Vorbis``, ``opus`` or ``pcm_s16le``
        (``Audio.Codec``). (templated)
    :param audio_samplerate: Hz (``Audio.Samplerate``): 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100,
        48000, 88200, 96000. ``amr``: 8000. ``opus``: 8000, 16000, 24000 or 48000. (templated)
    :param audio_bitrate: kbit/s, 8 to 1000 (``Audio.Bitrate``). (templated)
    :param audio_channels: number of channels (``Audio.Channels``). ``aac`` and ``flac``: 1, 2, 4, 5, 6, 8.
        ``mp3``, ``opus`` and ``pcm_s16le``: 1, 2. ``Vorbis``: 2. ``amr``: 1. (templated)
    :param video_codec: ``H.264``, ``H.265``, ``VP8``, ``VP9`` or ``AV1`` (``Video.Codec``). (templated)
    :param video_width: pixels, an even number from 128 to 4096 (``Video.Width``). One of width and height
        alone keeps the ratio. (templated)
    :param video_height: pixels, an even number from 128 to 4096 (``Video.Height``). (templated)
    :param video_fps: pictures a second, at most 60 (``Video.Fps``). (templated)
    :param video_bitrate: kbit/s, 10 to 50000, or ``auto`` (``Video.Bitrate``). (templated)
    :param video_crf: quality, at most 51 (``Video.Crf``); it wins over ``video_bitrate``. (templated)
    :param time_interval_start: seconds at which the result begins (``TimeInterval.Start``). (templated)
    :param time_interval_duration: seconds (``TimeInterval.Duration``); default: to the end. (templated)
    """

    kind = TRANSCODE_TYPE
    examples = (
        {"container_format": "mp4"}
        | {"audio_codec": "aac", "audio_samplerate": 44100, "audio_bitrate": 128, "audio_channels": 2}
        | {"video_codec": "H.264", "video_width": 1280, "video_height": 720, "video_fps": 25}
        | {"video_bitrate": 1000, "video_crf": 25},
    )

    def __init__(
        self,
        *,
        container_format: str | None = None,
        audio_codec: str | None = None,
        audio_samplerate: int | str | None = None,
        audio_bitrate: int | str | None = None,
        audio_channels: int | str | None = None,
        video_codec: str | None = None,
        video_width: int | str | None = None,
        video_height: int | str | None = None,
        video_fps: float | str | None = None,
        video_bitrate: int | str | None = None,
        video_crf: float | str | None = None,
        time_interval_start: float | str | None = None,
        time_interval_duration: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.container_format = container_format
        self.audio_codec = audio_codec
        self.audio_samplerate = audio_samplerate
        self.audio_bitrate = audio_bitrate
        self.audio_channels = audio_channels
        self.video_codec = video_codec
        self.video_width = video_width
        self.video_height = video_height
        self.video_fps = video_fps
        self.video_bitrate = video_bitrate
        self.video_crf = video_crf
        self.time_interval_start = time_interval_start
        self.time_interval_duration = time_interval_duration
        check_when_parsed(self, TranscodeOperator)
