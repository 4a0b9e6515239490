"""Jobs of SpeechRecognition and Tts."""

from __future__ import annotations

import hashlib
import io
import re
import wave

import av
import pytest
from lxml import etree

from tencent_ci_emulator.config import DEMO_BUCKET as BUCKET
from tencent_ci_emulator.media import recognition, synthesis
from tencent_ci_emulator.media.transcript import Sentence, Word
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import Client
from tests.emulator.integration.test_job_types import ended, submitted
from tests.recording import SHORT

OUTPUT = f"<Output><Bucket>{BUCKET}</Bucket><Region>ap-guangzhou</Region><Object>out/%s</Object></Output>"
ENGLISH = {"EngineModelType": "16k_en", "ChannelNum": "1", "ResTextFormat": "1"}
TEXT = "Good morning, everyone.\n你好，世界。\n"


def wav(seconds):
    """Return a recording of silence."""
    content = io.BytesIO()
    with wave.open(content, "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", None))
        writer.writeframes(bytes(int(seconds * 8000) * 2))
    return content.getvalue()


@pytest.fixture(scope="module")
def emulator():
    with Emulator() as running:
        yield running


@pytest.fixture
def upload(emulator):
    def put(key, content):
        assert Client(emulator)("PUT", f"/{key}", content)[0].status == 200
        return key

    return put


@pytest.fixture
def recording(upload):
    """The key of a recording of four seconds, of whose text nothing is known."""
    return upload("in/talk.wav", wav(4.0))


@pytest.fixture
def spoken(recording, upload, emulator):
    """The key of a recording whose text has been handed in."""
    transcript = upload(f"{recording}.transcript.txt", TEXT.encode())
    yield recording
    Client(emulator)("DELETE", f"/{transcript}")


def element(name, content):
    return f"<{name}>{''.join(f'<{child}>{text}</{child}>' for child, text in content.items())}</{name}>"


def recognition_of(key, parameters=ENGLISH, target="text.txt", **job_input):
    """Return the request for a job; without a key its input is ``job_input``."""
    job_input = element("Input", job_input or {"Object": key})
    operation = element("SpeechRecognition", parameters) + OUTPUT % target
    return f"<Request><Tag>SpeechRecognition</Tag>{job_input}<Operation>{operation}</Operation></Request>"


def speech_of(text, parameters=None, target="speech.wav", input_type="Text"):
    config = element("TtsConfig", {"InputType": input_type, "Input": text})
    operation = element("TtsTpl", parameters or {}) + config + OUTPUT % target
    return f"<Request><Tag>Tts</Tag><Operation>{operation}</Operation></Request>"


def run(emulator, request):
    return ended(emulator, submitted(Client(emulator), request).findtext("JobId"))


def failed(emulator, request):
    job = run(emulator, request)
    assert job.findtext("State") == "Failed"
    return job.findtext("Code"), job.findtext("Message")


def result_of(job):
    assert job.findtext("State") == "Success", etree.tostring(job)
    return job.find("Operation/SpeechRecognitionResult")


def content_of(emulator, key):
    response, content = Client(emulator)("GET", f"/{key}")
    return response.getheader("x-cos-meta-processed-by"), content


class TestATextThatIsHandedIn:
    def test_it_is_the_result_with_times_over_the_whole_recording(self, emulator, spoken):
        job = run(emulator, recognition_of(spoken))
        result = result_of(job)
        assert [child.tag for child in result] == [
            *("AudioTime", "Result", "ObjectName"),
            *("ResultDetail", "ResultDetail"),
        ]
        assert (result.findtext("AudioTime"), result.findtext("ObjectName")) == ("4.0", "out/text.txt")
        first, second = result.findtext("Result").splitlines()
        match = re.fullmatch(r"\[0:0\.000,(0:\d\.\d{3})\]  Good morning, everyone\.", first)
        assert second == f"[{match[1]},0:4.000]  你好，世界。"
        assert content_of(emulator, "out/text.txt") == (
            "nothing, the text was handed in as .transcript.txt beside the input",
            result.findtext("Result").encode(),
        )
        assert job.findtext("Message") in ("", None)

    def test_words_are_described_as_the_request_asks(self, emulator, spoken):
        def words(detail):
            result = result_of(run(emulator, recognition_of(spoken, {**ENGLISH, "ResTextFormat": detail})))
            return [
                [one.text for one in each.iterfind("Words/Word")] for each in result.iterfind("ResultDetail")
            ]

        assert words("0") == [[], []]
        assert words("1") == [["Good", "morning", "everyone"], [*"你好世界"]]
        assert words("2") == [["Good", "morning", ",", "everyone", "."], [*"你好，世界。"]]
        assert words("3") == [["Good", "morning", ","], ["everyone", "."], [*"你好，"], [*"世界。"]]

    def test_a_sentence_is_described_in_all_its_parts(self, emulator, spoken):
        result = result_of(run(emulator, recognition_of(spoken, {**ENGLISH, "ResTextFormat": "2"})))
        first, second = result.iterfind("ResultDetail")
        assert first.findtext("FinalSentence") == "Good morning, everyone."
        assert first.findtext("SliceSentence") == "Good morning everyone"
        assert (first.findtext("WordsNum"), first.findtext("SpeakerId")) == ("3", "0")
        assert (first.findtext("StartMs"), second.findtext("EndMs")) == ("0", "4000")
        assert first.findtext("EndMs") == second.findtext("StartMs")
        seconds = int(first.findtext("EndMs")) / 1000
        assert float(first.findtext("SpeechSpeed")) == pytest.approx(3 / seconds, abs=0.06)
        times = [
            (int(w.findtext("OffsetStartMs")), int(w.findtext("OffsetEndMs")))
            for w in second.iterfind("Words")
        ]
        assert times[0][0] == 0
        assert times[-1][1] == int(second.findtext("EndMs")) - int(second.findtext("StartMs"))
        assert [w.findtext("VoiceType") for w in second.iterfind("Words")] == ["0", "0", "1", "0", "0", "1"]

    def test_subtitles(self, emulator, spoken):
        parameters = {**ENGLISH, "OutputFileType": "srt"}
        run(emulator, recognition_of(spoken, parameters, "${jobid}.${ext}"))
        job = run(emulator, recognition_of(spoken, parameters, "${jobid}.${ext}"))
        key = result_of(job).findtext("ObjectName")
        assert key == f"out/{job.findtext('JobId')}.srt"
        lines = content_of(emulator, key)[1].decode().splitlines()
        assert (lines[0], lines[2], lines[3], lines[4], lines[6]) == (
            *("1", "Good morning, everyone.", "", "2", "你好，世界。"),
        )
        assert re.fullmatch(r"00:00:00,000 --> 00:00:0\d,\d{3}", lines[1])
        assert lines[5].endswith(" --> 00:00:04,000")

    @pytest.mark.parametrize(
        ("level", "sentences"),
        [
            ("1", ["Good morning, everyone", "你好，世界"]),
            ("2", ["Good morning everyone", "你好世界"]),
        ],
    )
    def test_punctuation_can_be_removed(self, emulator, spoken, level, sentences):
        result = result_of(run(emulator, recognition_of(spoken, {**ENGLISH, "FilterPunc": level})))
        assert [one.text for one in result.iterfind("ResultDetail/FinalSentence")] == sentences

    def test_a_longest_line_for_subtitles(self, emulator, spoken):
        parameters = {**ENGLISH, "ResTextFormat": "3", "SentenceMaxLength": "8"}
        result = result_of(run(emulator, recognition_of(spoken, parameters)))
        sentences = [one.text for one in result.iterfind("ResultDetail/FinalSentence")]
        assert sentences == ["Good", "morning,", "everyone.", "你好，", "世界。"]

    def test_fast_recognition_has_a_result_of_its_own(self, emulator, spoken):
        parameters = {"EngineModelType": "16k_zh", "FlashAsr": "true", "Format": "wav", "WordInfo": "1"}
        result = result_of(run(emulator, recognition_of(spoken, parameters)))
        assert [child.tag for child in result] == ["AudioTime", "ObjectName", "FlashResult"]
        flash = result.find("FlashResult")
        assert flash.findtext("channel_id") == "0"
        assert flash.findtext("text") == "Good morning, everyone. 你好，世界。"
        first, second = flash.iterfind("sentence_list")
        assert [one.text for one in first.iterfind("word_list/word")] == ["Good", "morning", "everyone"]
        assert second.findtext("end_time") == second.findall("word_list")[-1].findtext("end_time") == "4000"
        assert second.findtext("speaker_id") == "0"

    def test_a_transcript_that_cannot_be_read_fails_the_job(self, emulator, recording, upload):
        upload("in/other.wav", wav(1.0))
        upload("in/other.wav.transcript.txt", b"\xff\xfe\xff")
        code, message = failed(emulator, recognition_of("in/other.wav"))
        assert (code, "UnicodeDecodeError" in message) == ("ResourceNotSupported", True)
        upload("in/other.wav.transcript.txt", b"a" * (1024**2 + 1))
        assert "larger than 1 MB" in failed(emulator, recognition_of("in/other.wav"))[1]

    def test_what_xml_cannot_carry_is_replaced(self, emulator, upload):
        upload("in/odd.wav", wav(1.0))
        upload("in/odd.wav.transcript.txt", b"bad\x00\tword")
        assert "bad\ufffd word" in result_of(run(emulator, recognition_of("in/odd.wav"))).findtext("Result")


class TestTheRequest:
    def test_the_echo_has_the_defaults_of_what_was_not_sent(self, emulator, spoken):
        job = submitted(Client(emulator), recognition_of(spoken, {**ENGLISH, "ResTextFormat": ""}))
        echoed = {one.tag: one.text for one in job.find("Operation/SpeechRecognition")}
        numbers = (
            *("FilterDirty", "FilterModal", "FilterPunc", "ConvertNumMode", "SpeakerDiarization"),
            *("SpeakerNumber", "SentenceMaxLength", "ResTextFormat", "WordInfo"),
        )
        others = {"OutputFileType": "txt", "FlashAsr": "false", "FirstChannelOnly": "1"}
        assert echoed == {**ENGLISH, **others, **dict.fromkeys(numbers, "0")}

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"EngineModelType": ""}, "SpeechRecognition.EngineModelType is missing"),
            ({"ChannelNum": ""}, "SpeechRecognition.ChannelNum is missing"),
            ({"ChannelNum": "2"}, "only for the engine 8k_zh"),
            ({"ResTextFormat": "4"}, "SpeechRecognition.ResTextFormat is '4'"),
            ({"SentenceMaxLength": "5"}, "0, or 6 to 40"),
            ({"FlashAsr": "true"}, "SpeechRecognition.Format is missing"),
            ({"FlashAsr": "true", "Format": "mp3", "OutputFileType": "srt"}, "make only txt"),
            ({"ResTextFormat": "3", "OutputFileType": "srt"}, "make only txt"),
        ],
    )
    def test_its_rules_are_checked(self, emulator, changes, said):
        request = recognition_of("in/a", {**ENGLISH, **changes})
        status, code, message = Client(emulator).error("POST", "/jobs", request)[:3]
        assert (status, code) == (400, "InvalidArgument")
        assert said in message

    def test_fast_recognition_needs_no_number_of_channels(self, emulator, spoken):
        parameters = {"EngineModelType": "16k_zh", "FlashAsr": "true", "Format": "wav"}
        assert submitted(Client(emulator), recognition_of(spoken, parameters)) is not None

    def test_the_templates_parameters_count(self, emulator, spoken):
        client = Client(emulator)
        parameters = element("SpeechRecognition", {**ENGLISH, "ResTextFormat": "3"})
        body = f"<Request><Tag>SpeechRecognition</Tag><Name>captions</Name>{parameters}</Request>"
        template = etree.fromstring(client("POST", "/template", body)[1]).findtext("Template/TemplateId")
        request = recognition_of(spoken).replace(
            element("SpeechRecognition", ENGLISH), f"<TemplateId>{template}</TemplateId>"
        )
        job = run(emulator, request)
        assert len(result_of(job).findall("ResultDetail")) == 4
        assert job.find("Operation/SpeechRecognition") is None

    def test_parameters_without_effect_are_named(self, emulator, spoken):
        parameters = {**ENGLISH, "FilterDirty": "1", "ConvertNumMode": "3"}
        job = run(emulator, recognition_of(spoken, parameters))
        named = "SpeechRecognition.FilterDirty, SpeechRecognition.ConvertNumMode"
        assert job.findtext("Message") == f"not applied: {named}"


class TestTheInput:
    @pytest.mark.parametrize(
        "url",
        [
            f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/in/talk.wav?q-signature=abc",
            "http://127.0.0.1:8180/in/talk.wav",
            "http://localhost/in%2Ftalk.wav",
        ],
    )
    def test_a_url_of_the_emulators_own_hosts_is_read_as_its_object(self, emulator, spoken, url):
        result = result_of(run(emulator, recognition_of(None, Url=url)))
        assert "Good morning" in result.findtext("Result")

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("https://example.org/in/talk.wav?token=secret", "Input.Url is of the host 'example.org'"),
            ("http://[/in/talk.wav", "Input.Url is no URL"),
            ("http://localhost/in/none.wav", "Input.Url: in/none.wav does not exist"),
        ],
    )
    def test_nothing_is_downloaded_from_elsewhere(self, emulator, spoken, url, said):
        _, message = failed(emulator, recognition_of(None, Url=url))
        assert said in message
        assert "secret" not in message

    def test_the_object_wins_over_the_url(self, emulator, spoken):
        request = recognition_of(None, Object=spoken, Url="https://example.org/a.wav")
        assert result_of(run(emulator, request)) is not None

    @pytest.mark.parametrize(
        ("parameters", "limits", "said"),
        [
            (ENGLISH, "_LIMITS", "longer than 0 hours"),
            ({**ENGLISH, "FlashAsr": "true", "Format": "wav"}, "_FLASH_LIMITS", "longer than 0 hours"),
        ],
    )
    def test_a_recording_that_is_too_long_fails_the_job(
        self, emulator, spoken, mocker, parameters, limits, said
    ):
        module = "tencent_ci_emulator.jobs.types.speech_recognition"
        mocker.patch(f"{module}.{limits}", mocker.Mock(hours=0, megabytes=100))
        code, message = failed(emulator, recognition_of(spoken, parameters))
        assert (code, said in message) == ("ResourceNotSupported", True)

    def test_a_recording_that_is_too_large_fails_the_job(self, emulator, upload):
        large = wav(1.0) + bytes(100 * 1024**2)
        upload("in/large.wav", large)
        flash = {"EngineModelType": "16k_en", "FlashAsr": "true", "Format": "wav"}
        assert "larger than 100 MB" in failed(emulator, recognition_of("in/large.wav", flash))[1]

    @pytest.mark.parametrize("transcript", [b"", b"words"])
    def test_an_input_without_sound_fails_the_job(self, emulator, upload, transcript):
        upload("in/no-media.wav", b"no media")
        if transcript:
            upload("in/no-media.wav.transcript.txt", transcript)
        assert failed(emulator, recognition_of("in/no-media.wav"))[0] == "ResourceNotSupported"
        assert failed(emulator, recognition_of("in/none.wav"))[0] == "ResourceNotFound"


class TestWithoutARecognizer:
    def test_the_result_says_that_nothing_was_recognised(self, emulator, recording, mocker):
        mocker.patch.object(recognition, "is_installed", return_value=False)
        job = run(emulator, recognition_of(recording))
        assert job.findtext("State") == "Success"
        assert job.findtext("Message").startswith("not processed: install the emulator's extra 'recognition'")
        assert job.find("Operation/SpeechRecognitionResult") is None
        assert content_of(emulator, "out/text.txt") == ("nothing", f"{job.findtext('Message')}\n".encode())

    def test_only_english_is_recognised(self, emulator, recording, mocker):
        mocker.patch.object(recognition, "is_installed", return_value=True)
        job = run(emulator, recognition_of(recording, {**ENGLISH, "EngineModelType": "16k_zh"}))
        assert "not processed: the emulator recognises English only" in job.findtext("Message")

    def test_nothing_is_spoken(self, emulator, mocker):
        mocker.patch.object(synthesis, "is_installed", return_value=False)
        job = run(emulator, speech_of("Hello"))
        assert job.findtext("Message") == "not processed: install the emulator's extra 'synthesis'"
        assert job.find("Operation/MediaInfo") is None
        assert content_of(emulator, "out/speech.wav") == ("nothing", f"{job.findtext('Message')}\n".encode())


class TestRecognizedSpeech:
    """What becomes of what is heard; ``tests/emulator/unit/test_recognition.py`` listens."""

    def test_channels_of_fast_recognition(self, emulator, upload, mocker):
        def recognize(_path, _progress, *, channel=None):
            return [Sentence((Word(f"channel{channel}", 0.5, 1.0),))]

        mocker.patch.object(recognition, "is_installed", return_value=True)
        mocker.patch.object(recognition, "recognize", recognize)
        upload("in/stereo.mp3", SHORT.read_bytes())
        flash = {"EngineModelType": "16k_en", "FlashAsr": "true", "Format": "mp3"}

        def heard(parameters):
            return [
                one.findtext("text")
                for one in result_of(run(emulator, recognition_of("in/stereo.mp3", parameters))).iterfind(
                    "FlashResult"
                )
            ]

        assert heard(flash) == ["channel0"]
        assert heard({**flash, "FirstChannelOnly": "0"}) == ["channel0", "channel1"]
        job = run(emulator, recognition_of("in/stereo.mp3"))
        assert result_of(job).findtext("Result") == "[0:0.500,0:1.000]  channelNone\n"


@pytest.mark.usefixtures("with_synthesis")
class TestSpeech:
    def test_a_text_becomes_a_recording(self, emulator, tmp_path):
        job = run(
            emulator,
            speech_of("Hello, world", {"Mode": "Sync", "Codec": "mp3", "VoiceType": "alice"}, "a.mp3"),
        )
        method, content = content_of(emulator, "out/a.mp3")
        assert method == "speech synthesis, by eSpeak NG"
        (tmp_path / "a").write_bytes(content)
        with av.open(str(tmp_path / "a")) as container:
            assert (container.format.name, container.streams.audio[0].sample_rate) == ("mp3", 16_000)
        operation = job.find("Operation")
        assert operation.findtext("MediaInfo/Stream/Audio/SampleRate") == "16000"
        assert operation.findtext("MediaInfo/Format/Size") == str(len(content))
        # As in the page's sample: with a slash, although Output.Object has none
        written = operation.find("MediaResult/OutputFile")
        assert written.findtext("ObjectName") == written.findtext("Md5Info/ObjectName") == "/out/a.mp3"
        assert written.findtext("Md5Info/Md5") == hashlib.md5(content).hexdigest()
        assert operation.findtext("Output/Object") == "out/a.mp3"

    @pytest.mark.parametrize(
        ("mode", "magic", "extension"),
        [("Sync", b"RIFF", "wav"), ("Asyc", None, "pcm"), ("Async", None, "pcm"), ("", None, "pcm")],
    )
    def test_the_mode_chooses_the_codec(self, emulator, mode, magic, extension):
        job = run(emulator, speech_of("Hello", {"Mode": mode}, "${jobid}.${ext}"))
        key = job.findtext("Operation/MediaResult/OutputFile/ObjectName").removeprefix("/")
        assert key == f"out/{job.findtext('JobId')}.{extension}"
        content = content_of(emulator, key)[1]
        assert content.startswith(magic) if magic else content[:4] != b"RIFF"
        assert job.findtext("Operation/MediaInfo/Stream/Audio/CodecName") == "pcm_s16le"

    def test_volume_and_speed(self, emulator):
        def size(**parameters):
            run(emulator, speech_of("one two three four five six", {"Mode": "Sync", **parameters}))
            return len(content_of(emulator, "out/speech.wav")[1])

        usual = size()
        assert size(Speed="200") < 0.7 * usual
        assert size(Speed="50") > 1.5 * usual
        assert size(Volume="-10") == usual

    def test_a_text_in_an_object(self, emulator, upload):
        upload("in/text.txt", "早上好".encode())
        url = f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/in/text.txt"
        job = run(emulator, speech_of(url, {"Mode": "Sync"}, input_type="Url"))
        assert float(job.findtext("Operation/MediaInfo/Format/Duration")) > 0.4

    @pytest.mark.parametrize(
        ("content", "mode", "said"),
        [
            (b"a" * 301, "Sync", "301 characters, at most 300"),
            (b"a" * 10_001, "Async", "10001 characters, at most 10000"),
            (b"\xff", "Sync", "UnicodeDecodeError"),
            (b" ... ", "Sync", "the text has no words"),
            (b"a" * (10 * 1024**2 + 1), "Async", "larger than 10 MB"),
        ],
    )
    def test_an_object_that_is_not_spoken_fails_the_job(self, emulator, upload, content, mode, said):
        upload("in/text.txt", content)
        request = speech_of("http://localhost/in/text.txt", {"Mode": mode}, input_type="Url")
        assert said in failed(emulator, request)[1]

    def test_an_asynchronous_job_may_have_a_long_text(self, emulator, upload):
        upload("in/text.txt", b"a word " * 50)
        assert (
            run(emulator, speech_of("http://localhost/in/text.txt", input_type="Url")).findtext("State")
            == "Success"
        )

    def test_a_text_elsewhere_fails_the_job(self, emulator):
        request = speech_of("https://example.org/a.txt", input_type="Url")
        assert "TtsConfig.Input is of the host 'example.org'" in failed(emulator, request)[1]

    def test_an_emotion_is_not_applied(self, emulator):
        job = run(emulator, speech_of("Hello", {"VoiceType": "aixiaoxing", "Emotion": "arousal"}))
        assert job.findtext("Message") == "not applied: TtsTpl.Emotion"


@pytest.mark.parametrize(
    ("request_body", "said"),
    [
        (speech_of("a" * 301), "TtsConfig.Input has 301 characters, at most 300"),
        (speech_of(""), "TtsConfig.Input is missing"),
        (speech_of("a", input_type="File"), "TtsConfig.InputType is 'File'"),
        (speech_of("a", {"Volume": "11"}), "TtsTpl.Volume is '11', allowed: -10 to 10"),
        (speech_of("a", {"Volume": "--1"}), "TtsTpl.Volume"),
        (speech_of("a", {"Speed": "49"}), "TtsTpl.Speed"),
        (speech_of("a", {"Mode": "Later"}), "TtsTpl.Mode"),
        (speech_of("a", {"Codec": "aac"}), "TtsTpl.Codec"),
        (speech_of("a", {"VoiceType": "bob"}), "TtsTpl.VoiceType"),
        (re.sub("<TtsConfig>.*</TtsConfig>", "", speech_of("a")), "Operation needs TtsConfig"),
    ],
)
def test_the_rules_of_speech_are_checked(emulator, request_body, said):
    status, code, message = Client(emulator).error("POST", "/jobs", request_body)[:3]
    assert (status, code) == (400, "InvalidArgument")
    assert said in message
