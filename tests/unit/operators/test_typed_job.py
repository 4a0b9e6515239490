"""The operators for one type of job: what their arguments become, and what they refuse."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator
from itertools import chain, combinations
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, MappedOperator, task

from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.operators.mapped_keys import check_result_keys
from airflow_provider_ci.operators.noise_reduction import NoiseReductionOperator
from airflow_provider_ci.operators.speech_recognition import SpeechRecognitionOperator
from airflow_provider_ci.operators.text_to_speech import TextToSpeechOperator
from airflow_provider_ci.operators.transcode import TranscodeOperator
from airflow_provider_ci.operators.typed_job import TypedJobOperator
from airflow_provider_ci.protocol.wire import Endpoint
from tests.conftest import BUCKET, REGION

ENDPOINT = Endpoint(bucket=BUCKET, region=REGION)
OUTPUT = {"Region": REGION, "Bucket": BUCKET, "Object": "out/a"}
INPUT: dict[str, Any] = {"input_object": "in/a.mp3"}
KEYS: dict[str, Any] = {**INPUT, "output_object": "out/a"}
#: The least arguments of each operator.
LEAST: dict[type[TypedJobOperator], dict[str, Any]] = {
    SpeechRecognitionOperator: {**KEYS, "engine_model_type": "16k_zh", "channel_num": 1},
    NoiseReductionOperator: KEYS,
    TextToSpeechOperator: {"output_object": "out/a", "text": "早上好"},
    TranscodeOperator: {**KEYS, "container_format": "mp3", "audio_codec": "mp3"},
}
each_operator = pytest.mark.parametrize("operator_class", LEAST, ids=lambda each: each.__name__)


def build(operator_class: type[TencentCIJobOperator], **arguments: Any) -> dict[str, Any]:
    return dict(operator_class(task_id="task", **arguments).build_request(ENDPOINT))


#: All arguments of each operator in sets that are allowed together, and what they become.
ARGUMENTS: list[tuple[type[TypedJobOperator], dict[str, Any], dict[str, Any]]] = [
    (
        SpeechRecognitionOperator,
        {
            "engine_model_type": "16k_zh",
            "channel_num": 1,
            "res_text_format": 3,
            "filter_dirty": 1,
            "filter_modal": 2,
            "filter_punc": 0,
            "convert_num_mode": 3,
            "speaker_diarization": 1,
            "speaker_number": 2,
            "sentence_max_length": 20,
            "output_file_type": "txt",
        },
        {
            "SpeechRecognition": {
                "EngineModelType": "16k_zh",
                "ChannelNum": 1,
                "ResTextFormat": 3,
                "FilterDirty": 1,
                "FilterModal": 2,
                "FilterPunc": 0,
                "ConvertNumMode": 3,
                "SpeakerDiarization": 1,
                "SpeakerNumber": 2,
                "SentenceMaxLength": 20,
                "OutputFileType": "txt",
            }
        },
    ),
    (
        SpeechRecognitionOperator,
        {
            "engine_model_type": "16k_en",
            "flash_asr": True,
            "format": "mp3",
            "first_channel_only": 0,
            "word_info": 2,
        },
        {
            "SpeechRecognition": {
                "EngineModelType": "16k_en",
                "FlashAsr": True,
                "Format": "mp3",
                "FirstChannelOnly": 0,
                "WordInfo": 2,
            }
        },
    ),
    (SpeechRecognitionOperator, {"template_id": "t1"}, {"TemplateId": "t1"}),
    (NoiseReductionOperator, {}, {}),
    (
        NoiseReductionOperator,
        {"format": "m4a", "samplerate": "8000"},
        {"NoiseReduction": {"Format": "m4a", "Samplerate": "8000"}},
    ),
    (NoiseReductionOperator, {"samplerate": " 08000"}, {"NoiseReduction": {"Samplerate": "8000"}}),
    (NoiseReductionOperator, {"template_id": "t1"}, {"TemplateId": "t1"}),
    (
        TextToSpeechOperator,
        {"text": "a", "mode": "Sync", "codec": "mp3", "voice_type": "aixiaoxing"}
        | {"volume": -1, "speed": 120, "emotion": "arousal"},
        {
            "TtsTpl": {
                "Mode": "Sync",
                "Codec": "mp3",
                "VoiceType": "aixiaoxing",
                "Volume": -1,
                "Speed": 120,
                "Emotion": "arousal",
            },
            "TtsConfig": {"InputType": "Text", "Input": "a"},
        },
    ),
    (
        TextToSpeechOperator,
        {"text_url": "https://example.com/a.txt"},
        # the service demands an element, and this voice is its default
        {
            "TtsTpl": {"VoiceType": "ruxue"},
            "TtsConfig": {"InputType": "Url", "Input": "https://example.com/a.txt"},
        },
    ),
    (
        TextToSpeechOperator,
        {"text": "a", "template_id": "t1"},
        {"TemplateId": "t1", "TtsConfig": {"InputType": "Text", "Input": "a"}},
    ),
    (
        TranscodeOperator,
        {"container_format": "mp4", "audio_codec": "aac", "audio_samplerate": 44100, "audio_bitrate": 128}
        | {"audio_channels": 2, "video_codec": "H.264", "video_width": 1280, "video_height": 720}
        | {"video_fps": 25, "video_bitrate": 1000, "video_crf": 23.5}
        | {"time_interval_start": 1.5, "time_interval_duration": "10"},
        {
            "Transcode": {
                "Container": {"Format": "mp4"},
                "Audio": {"Codec": "aac", "Samplerate": 44100, "Bitrate": 128, "Channels": 2},
                "Video": {
                    "Codec": "H.264",
                    "Width": 1280,
                    "Height": 720,
                    "Fps": 25,
                    "Bitrate": 1000,
                    "Crf": 23.5,
                },
                "TimeInterval": {"Start": 1.5, "Duration": "10"},
            }
        },
    ),
    (
        TranscodeOperator,
        {"container_format": "mp3", "audio_bitrate": 128},
        {"Transcode": {"Container": {"Format": "mp3"}, "Audio": {"Bitrate": 128}}},
    ),
    (TranscodeOperator, {"template_id": "t1"}, {"TemplateId": "t1"}),
]


def keys_of(operator_class: type[TypedJobOperator]) -> dict[str, Any]:
    return {"output_object": "out/a"} if operator_class is TextToSpeechOperator else KEYS


@pytest.mark.parametrize(("operator_class", "arguments", "operation"), ARGUMENTS)
def test_arguments_become_elements(
    operator_class: type[TypedJobOperator], arguments: dict[str, Any], operation: dict[str, Any]
) -> None:
    request = build(operator_class, **keys_of(operator_class), **arguments)
    has_input = operator_class is not TextToSpeechOperator
    assert request == {
        "Tag": operator_class.kind.tag,
        **({"Input": {"Object": "in/a.mp3"}} if has_input else {}),
        "Operation": {**operation, "Output": OUTPUT},
    }


@each_operator
def test_the_table_above_has_every_argument(operator_class: type[TypedJobOperator]) -> None:
    parameters = inspect.signature(operator_class.__init__).parameters.values()
    own = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    shown = {name for owner, names, _ in ARGUMENTS if owner is operator_class for name in names}
    assert own | {"template_id"} == shown - ({"output_object"} - own)
    assert own <= {*operator_class.elements, *operator_class.further_fields}, "or it would not be sent"
    assert {*own, "output_object", "output_bucket", "template_id"} <= {*operator_class.template_fields}
    assert "tag" not in operator_class.template_fields


@each_operator
@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_argument_is_no_argument(operator_class: type[TypedJobOperator], empty: str | None) -> None:
    least = LEAST[operator_class]
    others = {*operator_class.elements, *operator_class.further_fields} - least.keys()
    assert build(operator_class, **least, **dict.fromkeys(others, empty)) == build(operator_class, **least)


def test_results_go_where_the_arguments_say() -> None:
    request = build(NoiseReductionOperator, **KEYS, output_bucket="a-1250000002", output_region="ap-beijing")
    assert request["Operation"]["Output"] == {
        "Bucket": "a-1250000002",
        "Region": "ap-beijing",
        "Object": "out/a",
    }


def test_a_transcript_of_an_address() -> None:
    arguments = {**LEAST[SpeechRecognitionOperator], "input_object": None}
    request = build(SpeechRecognitionOperator, **arguments, input_url="https://example.com/a.mp3")
    assert request["Input"] == {"Url": "https://example.com/a.mp3"}


def test_a_boolean_as_a_template_renders_it() -> None:
    arguments = {**KEYS, "engine_model_type": "16k_zh", "flash_asr": "True", "format": "mp3"}
    request = build(SpeechRecognitionOperator, **arguments)
    assert request["Operation"]["SpeechRecognition"]["FlashAsr"] is True


REFUSED: list[tuple[type[TencentCIJobOperator], dict[str, Any], list[str]]] = [
    *(
        case
        for owner in LEAST
        for case in (
            (owner, {"output_object": None}, ["output_object is None, allowed: an object key"]),
            (owner, {"output_object": "/a"}, ["output_object is '/a', allowed: an object key that neither"]),
            (owner, {"output_bucket": "media"}, ["output_bucket is 'media', allowed: <name>-<appid>"]),
            (owner, {"output_region": "a b"}, ["output_region is 'a b', allowed: a region"]),
            (owner, {"job_level": 3}, ["job_level is 3, allowed: 0, 1, 2"]),
        )
    ),
    *(
        (owner, {"input_object": None}, ["input_object is None, allowed: an object key"])
        for owner in LEAST
        if owner is not TextToSpeechOperator
    ),
    *(
        (owner, {"output_object": "in/a.mp3"}, ["output_object is 'in/a.mp3', allowed: another key than"])
        for owner in LEAST
        if owner is not TextToSpeechOperator
    ),
    (
        SpeechRecognitionOperator,
        {"engine_model_type": "16k_en", "channel_num": 2, "word_info": 1},
        [
            "word_info is 1, allowed: no value, as flash_asr is False",
            "channel_num is 2, allowed: 1 with engine 16k_en",
        ],
    ),
    (
        SpeechRecognitionOperator,
        {"channel_num": None},
        ["channel_num is None, allowed: 1, 2, as flash_asr is False"],
    ),
    (
        SpeechRecognitionOperator,
        {"sentence_max_length": 6},
        ["sentence_max_length is 6, allowed: 0 unless res_text_format is 3"],
    ),
    (SpeechRecognitionOperator, {"input_url": "a/b"}, ["input_url is 'a/b', allowed: an absolute http"]),
    (
        SpeechRecognitionOperator,
        {"template_id": "t1"},
        [
            "engine_model_type is set, allowed: not together with template_id, which wins",
            "channel_num is set, allowed: not together with template_id, which wins",
        ],
    ),
    (
        SpeechRecognitionOperator,
        {"operation": {"SpeechRecognition": {"EngineModelType": "16k_en"}}},
        ["engine_model_type is set, allowed: not together with operation.SpeechRecognition.EngineModelType"],
    ),
    (
        SpeechRecognitionOperator,
        {"flash_asr": "None"},
        ["flash_asr is 'None', allowed: true, false; a template"],
    ),
    (NoiseReductionOperator, {"template_id": "a b"}, ["template_id is 'a b', allowed: letters"]),
    (NoiseReductionOperator, {"samplerate": 11025}, ["samplerate is 11025, allowed: 8000, 12000"]),
    (NoiseReductionOperator, {"format": "flac"}, ["format is 'flac', allowed: mp3, m4a, wav"]),
    (NoiseReductionOperator, {"output_object": "a/${jobid}"}, ["output_object is 'a/${jobid}', allowed: no"]),
    (
        NoiseReductionOperator,
        {"samplerate": 8000, "template_id": "t1"},
        ["samplerate is set, allowed: not together with template_id, which wins"],
    ),
    (TextToSpeechOperator, {"text": None}, ["text or text_url is None, allowed: what is to be spoken"]),
    (TextToSpeechOperator, {"text": "None"}, ["text is 'None', allowed: a string, or an empty one"]),
    (TextToSpeechOperator, {"text": "a" * 301}, ["(303 characters), allowed: at most 300 characters"]),
    (
        TextToSpeechOperator,
        {"text_url": "https://example.com/a.txt"},
        ["text and text_url are set, allowed: one of them"],
    ),
    (
        TextToSpeechOperator,
        {"text": None, "text_url": "in/a.txt"},
        ["text_url is 'in/a.txt', allowed: the http or https address of a text in COS"],
    ),
    (
        TextToSpeechOperator,
        {"operation": {"TtsConfig": {"InputType": "Text", "Input": "a"}}},
        ["text is set, allowed: not together with operation.TtsConfig"],
    ),
    (
        TextToSpeechOperator,
        {"input_object": "in/a.txt"},
        ["input_object is 'in/a.txt', allowed: no input, because a job with Tag Tts has none"],
    ),
    (TextToSpeechOperator, {"volume": 11}, ["volume is 11, allowed: an integer from -10 to 10"]),
    (
        TextToSpeechOperator,
        {"codec": "wav", "template_id": "t1"},
        ["codec is set, allowed: not together with template_id, which wins"],
    ),
    (
        TranscodeOperator,
        {"audio_codec": None},
        ["audio_… and video_… are None, allowed: at least one of them, or the result would have neither"],
    ),
    (TranscodeOperator, {"container_format": None}, ["container_format is None, allowed: mp4, hls"]),
    (
        TranscodeOperator,
        {"video_width": 640},
        ["video_width is 640, allowed: no value, because a file of format mp3 has no picture"],
    ),
    (TranscodeOperator, {"audio_channels": 6}, ["audio_channels is 6, allowed: 1, 2 with codec mp3"]),
    (
        TranscodeOperator,
        {"time_interval_start": "soon"},
        ["time_interval_start is 'soon', allowed: a number, at least 0 (seconds)"],
    ),
    (
        TranscodeOperator,
        {"operation": {"Transcode": {"Audio": {"Codec": "aac"}}}},
        ["audio_codec is set, allowed: not together with operation.Transcode.Audio.Codec"],
    ),
]


@pytest.mark.parametrize(("operator_class", "arguments", "said"), REFUSED)
def test_an_error_when_a_dag_is_parsed_names_the_argument(
    operator_class: type[TypedJobOperator], arguments: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(TaskArgumentError) as caught:
        operator_class(task_id="task", **{**LEAST[operator_class], **arguments})
    for each in said:
        assert each in str(caught.value)


class TestOperationBesideArguments:
    def test_it_has_the_elements_without_an_argument(self) -> None:
        request = build(
            TranscodeOperator,
            **LEAST[TranscodeOperator],
            operation={
                "Transcode": {"TransConfig": {"DeleteMetadata": True}, "Audio": {"KeepTwoTracks": True}},
                "FreeTranscode": True,
            },
        )
        assert request["Operation"] == {
            "Transcode": {
                "TransConfig": {"DeleteMetadata": True},
                "Audio": {"KeepTwoTracks": True, "Codec": "mp3"},
                "Container": {"Format": "mp3"},
            },
            "FreeTranscode": True,
            "Output": OUTPUT,
        }

    def test_it_may_have_all_of_the_parameters(self) -> None:
        parameters = {"EngineModelType": "16k_zh", "ChannelNum": 1}
        request = build(SpeechRecognitionOperator, **KEYS, operation={"SpeechRecognition": parameters})
        assert request["Operation"]["SpeechRecognition"] == parameters

    def test_it_may_name_the_template(self) -> None:
        request = build(
            TranscodeOperator, **KEYS, operation={"TemplateId": "t1", "Watermark": [{"Type": "Text"}]}
        )
        assert request["Operation"] == {
            "TemplateId": "t1",
            "Watermark": [{"Type": "Text"}],
            "Output": OUTPUT,
        }

    def test_it_may_say_what_is_spoken(self) -> None:
        config = {"InputType": "Text", "Input": "a"}
        request = build(TextToSpeechOperator, output_object="out/a", operation={"TtsConfig": config})
        assert request["Operation"]["TtsConfig"] == config

    def test_the_other_spelling_of_the_sample_rate(self) -> None:
        request = build(NoiseReductionOperator, **KEYS, operation={"NoiseReduction": {"SampleRate": 8000}})
        assert request["Operation"]["NoiseReduction"] == {"SampleRate": 8000}


#: Arguments that work together, also those of operators whose other arguments may all be templates.
WORKING: list[tuple[type[TencentCIJobOperator], dict[str, Any]]] = [
    *((owner, {**keys_of(owner), **arguments}) for owner, arguments, _ in ARGUMENTS if len(arguments) < 8),
    (
        SpeechRecognitionOperator,
        {**LEAST[SpeechRecognitionOperator], "res_text_format": 3, "sentence_max_length": 20}
        | {"speaker_diarization": 1, "speaker_number": 2},
    ),
    (
        SpeechRecognitionOperator,
        {**KEYS, "engine_model_type": "8k_zh", "channel_num": 2, "output_file_type": "srt"},
    ),
    (
        SpeechRecognitionOperator,
        {"input_url": "https://example.com/a", "output_object": "out/a", "template_id": "t1"},
    ),
    (
        SpeechRecognitionOperator,
        {**KEYS, "operation": {"SpeechRecognition": {"EngineModelType": "16k_en", "ChannelNum": 1}}},
    ),
    (
        TranscodeOperator,
        {**KEYS, "container_format": "mp3", "audio_codec": "amr", "audio_channels": 1}
        | {"audio_samplerate": 8000},
    ),
    *(
        (TranscodeOperator, {**KEYS, "container_format": "mp4", name: value})
        for name, value in (
            ("video_width", 128),
            ("video_height", 128),
            ("video_fps", 1),
            ("video_bitrate", "auto"),
            ("video_crf", 1),
            ("audio_samplerate", 96000),
            ("audio_bitrate", 8),
            ("audio_channels", 8),
        )
    ),
    (
        TranscodeOperator,
        {**KEYS, "container_format": "webm", "audio_codec": "opus", "audio_samplerate": 48000}
        | {"video_codec": "VP9"},
    ),
    (
        TencentCIJobOperator,
        {"tag": "Snapshot", **INPUT, "operation": {"Snapshot": {"Count": 1}, "Output": {"Object": "a"}}},
    ),
    (
        TencentCIJobOperator,
        {
            "tag": "Concat",
            "operation": {"ConcatTemplate": {"Container": {"Format": "mp3"}}, "Output": {"Object": "a"}},
        },
    ),
    (
        TencentCIJobOperator,
        {"tag": "Translation", "input_elements": {"Object": "a", "Lang": "zh"}}
        | {"operation": {"Translation": {"Lang": "en"}, "Output": {"Object": "b"}}},
    ),
]


def subsets(names: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    return chain.from_iterable(combinations(names, count) for count in range(len(names) + 1))


@pytest.mark.parametrize(("operator_class", "arguments"), WORKING)
class TestWhatMayWorkIsNotRefused:
    """Whichever of some arguments that work together are not known while the DAG is parsed."""

    def test_templates(self, operator_class: type[TencentCIJobOperator], arguments: dict[str, Any]) -> None:
        for templated in subsets(arguments):
            unknown = dict.fromkeys(templated, "{{ params.a }}")
            operator_class(task_id="task", **{**arguments, **unknown})

    def test_mapped_arguments(
        self, operator_class: type[TencentCIJobOperator], arguments: dict[str, Any]
    ) -> None:
        for number, mapped in enumerate(subsets(arguments)):
            if not mapped:
                continue
            fixed = {name: value for name, value in arguments.items() if name not in mapped}
            with DAG(f"d{number}", schedule=None) as dag:
                operator_class.partial(task_id="task", **fixed).expand(
                    **{name: [arguments[name]] for name in mapped}
                )
            assert isinstance(dag.get_task("task"), MappedOperator)


def test_an_element_of_a_template_may_have_any_children() -> None:
    """Airflow renders it to a dict in a DAG with ``render_template_as_native_obj``."""
    for elements in (
        {"Transcode": "{{ a }}", "Output": {"Object": "b"}},
        {"Transcode": {}, "Output": "{{ a }}"},
    ):
        TencentCIJobOperator(task_id="task", tag="Transcode", **INPUT, operation=elements)


@pytest.mark.parametrize(
    ("operator_class", "arguments"),
    [
        (TencentCIJobOperator, {"tag": "Snapshot", **INPUT, "operation": "…"}),
        (
            TencentCIJobOperator,
            {"tag": "Snapshot", **INPUT, "operation": {"Snapshot": "…", "Output": {"Object": "b"}}},
        ),
        (
            TencentCIJobOperator,
            {"tag": "Snapshot", **INPUT, "operation": {"Snapshot": {"Count": 1}, "Output": "…"}},
        ),
        (
            TencentCIJobOperator,
            {
                "tag": "Transcode",
                **INPUT,
                "operation": {"Transcode": {"Container": "…", "Audio": {}}, "Output": {"Object": "b"}},
            },
        ),
        (
            TencentCIJobOperator,
            {"tag": "Translation", "input_elements": "…", "operation": {"Translation": {}}},
        ),
        (TranscodeOperator, {**KEYS, "operation": {"Transcode": "…"}}),
        (TranscodeOperator, {**KEYS, "container_format": "mp3", "operation": {"Transcode": {"Audio": "…"}}}),
    ],
)
def test_elements_from_another_task_may_have_any_children(
    operator_class: type[TencentCIJobOperator], arguments: dict[str, Any]
) -> None:
    @task
    def make_elements() -> dict[str, Any]:
        return {}

    def replace(value: Any, elements: Any) -> Any:
        if isinstance(value, dict):
            return {name: replace(child, elements) for name, child in value.items()}
        return elements if value == "…" else value

    with DAG("d", schedule=None):
        operator_class(task_id="task", **replace(arguments, make_elements()))


def test_a_mapped_task_whose_fixed_arguments_cannot_work_is_refused() -> None:
    with pytest.raises(TaskArgumentError, match="speed is 300, allowed: an integer from 50 to 200"):
        TextToSpeechOperator.partial(task_id="task", speed=300)
    with pytest.raises(TaskArgumentError, match="job_level is 3"):
        TencentCIJobOperator.partial(task_id="task", tag="Snapshot", job_level=3)


@pytest.mark.parametrize(
    ("operator_class", "advice"),
    [(NoiseReductionOperator, "{{ ti.map_index }}"), (TranscodeOperator, "${jobid}")],
)
def test_mapped_tasks_with_one_key_are_told_what_makes_a_difference(
    operator_class: type[TypedJobOperator], advice: str
) -> None:
    fixed = {name: value for name, value in LEAST[operator_class].items() if name != "input_object"}
    with DAG("d", schedule=None):
        mapped = operator_class.partial(task_id="task", **fixed).expand(input_object=["in/a", "in/b"])
    instance = mapped.unmap({"input_object": "in/a"})
    with pytest.raises(TaskArgumentError) as caught:
        check_result_keys(instance, {"ti": SimpleNamespace(map_index=0)})
    assert str(caught.value).endswith(f"a key that differs between them, for instance by {advice}")


@each_operator
def test_it_can_be_copied_and_pickled(operator_class: type[TypedJobOperator]) -> None:
    operator = operator_class(task_id="task", **LEAST[operator_class])
    for other in (copy.deepcopy(operator), copy.copy(operator), pickle.loads(pickle.dumps(operator))):
        assert other.build_request(ENDPOINT) == operator.build_request(ENDPOINT)


def test_a_users_subclass_keeps_the_arguments() -> None:
    class Subtitles(SpeechRecognitionOperator):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(output_file_type="srt", **kwargs)

    request = build(Subtitles, **LEAST[SpeechRecognitionOperator])
    assert request["Operation"]["SpeechRecognition"]["OutputFileType"] == "srt"
    assert Subtitles.template_fields == SpeechRecognitionOperator.template_fields
