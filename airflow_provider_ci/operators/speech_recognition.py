"""Speech recognition: a paid job that writes what is spoken in a recording."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.protocol.job_types.speech_recognition import SPEECH_RECOGNITION_TYPE


class SpeechRecognitionOperator(TypedJobOperator):
    """Submits a speech-recognition job (``SpeechRecognition``, 语音识别), and waits for it if asked to.

    The transcript is the file ``outputs["transcript"]`` of XCom ``job``, with ``outputs["detail"]`` beside it
    if the service has written one. It is in ``result["SpeechRecognitionResult"]``, too: ``Result`` (text with
    times), and ``ResultDetail`` or, in the fast mode, ``FlashResult`` (lists). That of a long recording is
    shortened there, and complete in ``TencentCIHook.job_result``. The input may be an object or a URL. The
    service needs to be opened for smart audio, and the account ``ci:CreateAsrJobs``.

    All other arguments are those of :class:`~airflow_provider_ci.operators.typed_job.TypedJobOperator` and
    :class:`~airflow_provider_ci.operators.job.TencentCIJobOperator`. The fields are on Tencent's page
    1045/73385.

    :param engine_model_type: the engine, for language and sample rate (``EngineModelType``), as ``16k_zh``,
        ``16k_en`` or ``8k_zh``. Required without a template. Tencent's list grows, so any name is sent.
        (templated)
    :param channel_num: ``1``, or ``2`` with ``8k_zh`` (``ChannelNum``). Required, except with ``flash_asr``,
        which does not allow it. (templated)
    :param res_text_format: detail of the result (``ResTextFormat``): 0 segments with times; 1 words; 2 words
        and punctuation; 3 split at punctuation, for subtitles. Not with ``flash_asr``. (templated)
    :param filter_dirty: swear words (``FilterDirty``): ``1`` removes and ``2`` masks them; this and the next
        two are for Chinese engines. (templated)
    :param filter_modal: modal particles (``FilterModal``): 0, 1 or 2. (templated)
    :param filter_punc: punctuation (``FilterPunc``): 0, 1 or 2. (templated)
    :param convert_num_mode: how numbers are written (``ConvertNumMode``): 0, 1 or 3. Not with ``flash_asr``.
        Tencent's pages contradict each other on the default. (templated)
    :param speaker_diarization: ``1`` tells speakers apart (``SpeakerDiarization``): only with one channel,
        and of the engines that documents name only with ``8k_zh``, ``16k_zh`` and ``16k_zh_video``.
        (templated)
    :param speaker_number: number of speakers (``SpeakerNumber``), 0 (the service counts) to 10, only with
        ``speaker_diarization``. Not with ``flash_asr``. (templated)
    :param sentence_max_length: characters of a subtitle (``SentenceMaxLength``): 0, or 6 to 40 with
        ``res_text_format=3``. (templated)
    :param output_file_type: ``txt`` or ``srt`` (``OutputFileType``). ``srt`` neither with ``flash_asr`` nor
        with ``res_text_format=3``. (templated)
    :param flash_asr: ``True``: the fast mode (``FlashAsr``), for at most two hours and 100 MB; otherwise the
        limits are five hours and 512 MB. (templated)
    :param format: format of the input (``Format``), required with ``flash_asr`` and only then: ``wav``,
        ``pcm``, ``ogg-opus``, ``speex``, ``silk``, ``mp3``, ``m4a`` or ``aac``. (templated)
    :param first_channel_only: ``1``, or ``0`` for all channels (``FirstChannelOnly``). Only with
        ``flash_asr``. (templated)
    :param word_info: times of words (``WordInfo``): 0, 1 or 2. Only with ``flash_asr``. (templated)
    """

    kind = SPEECH_RECOGNITION_TYPE
    examples = (
        {"engine_model_type": "16k_zh", "channel_num": 1, "res_text_format": 3, "speaker_diarization": 1},
        {"engine_model_type": "16k_zh", "flash_asr": True, "format": "wav"},
    )

    def __init__(
        self,
        *,
        engine_model_type: str | None = None,
        channel_num: int | str | None = None,
        res_text_format: int | str | None = None,
        filter_dirty: int | str | None = None,
        filter_modal: int | str | None = None,
        filter_punc: int | str | None = None,
        convert_num_mode: int | str | None = None,
        speaker_diarization: int | str | None = None,
        speaker_number: int | str | None = None,
        sentence_max_length: int | str | None = None,
        output_file_type: str | None = None,
        flash_asr: bool | str | None = None,
        format: str | None = None,  # noqa: A002 - Tencent's name
        first_channel_only: int | str | None = None,
        word_info: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.engine_model_type = engine_model_type
        self.channel_num = channel_num
        self.res_text_format = res_text_format
        self.filter_dirty = filter_dirty
        self.filter_modal = filter_modal
        self.filter_punc = filter_punc
        self.convert_num_mode = convert_num_mode
        self.speaker_diarization = speaker_diarization
        self.speaker_number = speaker_number
        self.sentence_max_length = sentence_max_length
        self.output_file_type = output_file_type
        self.flash_asr = flash_asr
        self.format = format
        self.first_channel_only = first_channel_only
        self.word_info = word_info
        check_when_parsed(self, SpeechRecognitionOperator)
