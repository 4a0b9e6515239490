"""Speech recognition: a paid job that writes what is spoken in a recording."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.protocol.job_types.speech_recognition import SPEECH_RECOGNITION_TYPE


class SpeechRecognitionOperator(TypedJobOperator):
    """Submits a speech-recognition job (``SpeechRecognition``, 语音识别), and waits for it if asked to.

    The transcript is the file ``outputs["transcript"]`` of XCom ``job``, and in its ``result`` under
    ``SpeechRecognitionResult``; that of a long recording is shortened there, and complete in
    ``TencentCIHook.job_result``. The input may be an object or a URL.

    All other arguments are those of :class:`~airflow_provider_ci.operators.typed_job.TypedJobOperator` and
    :class:`~airflow_provider_ci.operators.job.TencentCIJobOperator`. The fields are on Tencent's page
    1045/73385.

    :param engine_model_type: the engine (``EngineModelType``), as ``16k_zh`` or ``16k_en``. (templated)
    :param channel_num: ``1``, or ``2`` with ``8k_zh`` (``ChannelNum``), unless ``flash_asr``. (templated)
    :param res_text_format: detail of the result (``ResTextFormat``), 0 to 3; 3 is for subtitles. (templated)
    :param filter_dirty: ``1`` removes and ``2`` masks swear words (``FilterDirty``). (templated)
    :param filter_modal: filter of modal particles (``FilterModal``), 0 to 2. (templated)
    :param filter_punc: filter of punctuation (``FilterPunc``), 0 to 2. (templated)
    :param convert_num_mode: spelling of numbers (``ConvertNumMode``): 0, 1 or 3. (templated)
    :param speaker_diarization: ``1`` tells speakers apart (``SpeakerDiarization``). (templated)
    :param speaker_number: number of speakers (``SpeakerNumber``), 0 (automatic) to 10. (templated)
    :param sentence_max_length: characters of a subtitle (``SentenceMaxLength``), 6 to 40. (templated)
    :param output_file_type: ``txt`` or ``srt`` (``OutputFileType``). (templated)
    :param flash_asr: the fast mode (``FlashAsr``). (templated)
    :param format: format of the input, for the fast mode (``Format``). (templated)
    :param first_channel_only: ``0``: all channels, in the fast mode (``FirstChannelOnly``). (templated)
    :param word_info: times of words, in the fast mode (``WordInfo``), 0 to 2. (templated)
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
