"""Every documented rule (460/84794, 436/120977, 460/78927): one good and one bad case each."""

from __future__ import annotations

import pytest

from airflow_provider_ci.protocol.job_rules import request_problems
from airflow_provider_ci.protocol.jobs import CallbackKafkaConfig, CallbackMqConfig, Input, JobRequest, Output
from airflow_provider_ci.protocol.names import BUCKET, ID, REGION
from airflow_provider_ci.protocol.rules import Problem, type_problems
from airflow_provider_ci.protocol.voice_separation import AUDIO_MODES, VoiceSeparate

from .builders import encoding, operation, output, request

MQ = CallbackMqConfig(mq_region="gz", mq_mode="Queue", mq_name="done")
KAFKA = CallbackKafkaConfig(region="ap-guangzhou", instance_id="ckafka-1", topic="done")
CONFIG = "Operation.VoiceSeparate.AudioConfig"
OUTPUT = "Operation.Output"


def problems(bad: JobRequest) -> list[Problem]:
    return type_problems(bad) or list(request_problems(bad))


def with_operation(**changes) -> JobRequest:
    return request(operation=operation(**changes))


def with_output(mode: str | None = None, **changes) -> JobRequest:
    return with_operation(
        output=output(**changes), voice_separate=VoiceSeparate(audio_mode=mode or "AudioAndBackground")
    )


def with_mq(**changes) -> JobRequest:
    values = {"mq_region": "gz", "mq_mode": "Queue", "mq_name": "done"} | changes
    return request(callback_type="TDMQ", callback_mq_config=CallbackMqConfig(**values))


def with_kafka(**changes) -> JobRequest:
    values = {"region": "ap-guangzhou", "instance_id": "ckafka-1", "topic": "done"} | changes
    return request(callback_type="Kafka", callback_kafka_config=CallbackKafkaConfig(**values))


GOOD = {
    "smallest": request(),
    "template": with_operation(voice_separate=None, template_id="t0123"),
    "template wins over bad parameters": with_operation(
        voice_separate=VoiceSeparate(audio_mode="Nonsense"), template_id="t0123"
    ),
    "template, background alone": with_operation(
        template_id="t1", voice_separate=None, output=output(voice_object=None)
    ),
    "no mode, voice alone": with_operation(
        voice_separate=VoiceSeparate(), output=output(background_object=None)
    ),
    "queue": request(queue_id="p2242ab62c7c94486915508540933a2c6"),
    "four outputs": with_output("MusicMode", bass_object="out/b.mp3", drum_object="out/d.mp3"),
    "outputs that the mode does not make": with_output("IsAudio", bass_object="out/b", drum_object="out/d"),
    "keys as users have them": request(input=Input(object="人声 +1/./a,b&c.mp3")),
    "level": with_operation(job_level=2),
    "user data": with_operation(user_data=" ~" * 512),
    "user data, empty": with_operation(user_data=""),
    "callback": request(callback_url="https://example.org/ci?secret=1", callback_format="JSON"),
    "callback, http": request(callback_url="http://example.org:8080/", callback_type="Url"),
    "no callback": request(callback_url="no", callback_format="XML"),
    "queue callback": with_mq(),
    "topic callback": with_mq(mq_mode="Topic"),
    "kafka callback": with_kafka(),
    "no encoding": encoding(),
    "aac by default": encoding(samplerate=96000, channels=8),
    "bitrate, least": encoding(bitrate=8),
    "bitrate, most": encoding(bitrate=1000),
    "upper case codec": encoding(codec="AAC"),
    "flac": encoding(codec="flac", samplerate=11025, channels=6),
    "mp3": encoding(codec="mp3", samplerate=48000, channels=2),
    "amr": encoding(codec="amr", samplerate=8000, channels=1),
    "wav": encoding(codec="wav", samplerate=8000, channels=4),
    "MusicMode ignores the rest": encoding("MusicMode", codec="mp3", samplerate=1, channels=99),
} | {mode: with_output(mode) for mode in AUDIO_MODES}


@pytest.mark.parametrize("name", GOOD)
def test_a_valid_request_has_no_problems(name):
    assert problems(GOOD[name]) == []


# name: (request, field of the one problem, what its text says)
BAD = {
    "tag": (request(tag="Transcode"), "Tag", ["'Transcode'", "VoiceSeparate"]),
    "no tag": (request(tag=None), "Tag", ["None", "VoiceSeparate"]),
    "no input": (request(input=None), "Input.Object", ["None", "object key"]),
    "empty input": (request(input=Input(object="")), "Input.Object", ["''", "object key"]),
    "input begins with /": (request(input=Input(object="/a")), "Input.Object", ["'/a'", "begins"]),
    "input ends with /": (request(input=Input(object="a/")), "Input.Object", ["'a/'", "ends with /"]),
    "input has a control character": (request(input=Input(object="a\x00")), "Input.Object", ["'a\\x00'"]),
    "input has a lone surrogate": (request(input=Input(object="\ud800")), "Input.Object", ["'\\ud800'"]),
    "neither template nor parameters": (
        with_operation(voice_separate=None),
        "Operation",
        ["neither TemplateId nor VoiceSeparate", "one of the two"],
    ),
    "template id": (
        with_operation(template_id="../t"),
        "Operation.TemplateId",
        ["'../t'", "letters, digits, _ and -"],
    ),
    "empty template id": (with_operation(template_id=""), "Operation.TemplateId", ["''"]),
    "queue id": (request(queue_id="p,q"), "QueueId", ["'p,q'", "letters, digits, _ and -, at most 128"]),
    "long queue id": (request(queue_id="p" * 129), "QueueId", ["… (131 characters)", "at most 128"]),
    "level": (with_operation(job_level=3), "Operation.JobLevel", ["is 3", "0, 1, 2"]),
    "user data, long": (
        with_operation(user_data="x" * 1025),
        "Operation.UserData",
        ["… (1027 characters)", "at most 1024"],
    ),
    "user data, CJK": (with_operation(user_data="人"), "Operation.UserData", ["'人'", "printable ASCII"]),
    "user data, line feed": (with_operation(user_data="a\n"), "Operation.UserData", ["'a\\n'"]),
    "mode": (
        with_output("Vocals"),
        "Operation.VoiceSeparate.AudioMode",
        ["'Vocals'", "IsAudio, IsBackground, AudioAndBackground, MusicMode"],
    ),
    "codec": (encoding(codec="opus"), f"{CONFIG}.Codec", ["'opus'", "aac, flac, mp3, amr, wav"]),
    "codec with MusicMode": (
        encoding("MusicMode", codec="flac"),
        f"{CONFIG}.Codec",
        ["'flac'", "mp3, wav, aac with MusicMode"],
    ),
    "bitrate, low": (encoding(bitrate=7), f"{CONFIG}.Bitrate", ["is 7", "8 to 1000 (kbit/s)"]),
    "bitrate, high": (encoding(bitrate=1001), f"{CONFIG}.Bitrate", ["is 1001", "8 to 1000 (kbit/s)"]),
    "bitrate with MusicMode": (encoding("MusicMode", bitrate=0), f"{CONFIG}.Bitrate", ["is 0"]),
    "aac rate": (encoding(samplerate=8000), f"{CONFIG}.Samplerate", ["is 8000", "11025,", "with codec aac"]),
    "flac rate": (encoding(codec="flac", samplerate=8000), f"{CONFIG}.Samplerate", ["with codec flac"]),
    "mp3 rate, low": (encoding(codec="mp3", samplerate=8000), f"{CONFIG}.Samplerate", ["with codec mp3"]),
    "mp3 rate, high": (
        encoding(codec="mp3", samplerate=96000),
        f"{CONFIG}.Samplerate",
        ["is 96000", "11025, 22050, 32000, 44100, 48000 with codec mp3"],
    ),
    "amr rate": (encoding(codec="amr", samplerate=44100), f"{CONFIG}.Samplerate", ["8000 with codec amr"]),
    "wav rate": (encoding(codec="wav", samplerate=1), f"{CONFIG}.Samplerate", ["is 1,", "with codec wav"]),
    "aac channels": (encoding(channels=3), f"{CONFIG}.Channels", ["is 3", "1, 2, 4, 5, 6, 8"]),
    "flac channels": (encoding(codec="flac", channels=7), f"{CONFIG}.Channels", ["is 7"]),
    "mp3 channels": (encoding(codec="mp3", channels=4), f"{CONFIG}.Channels", ["1, 2 with codec mp3"]),
    "amr channels": (encoding(codec="amr", channels=2), f"{CONFIG}.Channels", ["allowed: 1 with codec amr"]),
    "wav channels": (encoding(codec="wav", channels=0), f"{CONFIG}.Channels", ["is 0"]),
    "bucket": (with_output(bucket="media"), f"{OUTPUT}.Bucket", ["'media'", "<name>-<appid>"]),
    "bucket with a host": (with_output(bucket="m-12345.evil.com"), f"{OUTPUT}.Bucket", ["<name>-<appid>"]),
    "no bucket": (with_output(bucket=None), f"{OUTPUT}.Bucket", ["None", "<name>-<appid>"]),
    "region": (with_output(region="Guangzhou"), f"{OUTPUT}.Region", ["'Guangzhou'", "ap-guangzhou"]),
    "no region": (with_output(region=None), f"{OUTPUT}.Region", ["None", "ap-guangzhou"]),
    "output key": (
        with_output(background_object="/b"),
        f"{OUTPUT}.Object (background)",
        ["'/b'", "object key"],
    ),
    "bass key": (with_output(bass_object="b/"), f"{OUTPUT}.BassObject", ["'b/'", "object key"]),
    "drum key": (with_output(drum_object=""), f"{OUTPUT}.DrumObject", ["''", "object key"]),
    "IsAudio without voice": (
        with_output("IsAudio", voice_object=None),
        f"{OUTPUT}.AuObject (voice)",
        ["None", "an object key, because AudioMode is IsAudio"],
    ),
    "IsBackground without background": (
        with_output("IsBackground", background_object=None),
        f"{OUTPUT}.Object (background)",
        ["AudioMode is IsBackground"],
    ),
    "both without voice": (
        with_output(voice_object=None),
        f"{OUTPUT}.AuObject (voice)",
        ["AudioAndBackground"],
    ),
    "MusicMode without background": (
        with_output("MusicMode", background_object=None),
        f"{OUTPUT}.Object (background)",
        ["AudioMode is MusicMode"],
    ),
    "template without keys": (
        with_operation(template_id="t1", output=output(background_object=None, voice_object=None)),
        f"{OUTPUT}.Object and AuObject",
        ["None", "at least one of the two"],
    ),
    "same key twice": (
        with_output(background_object="out/a", voice_object="out/a"),
        f"{OUTPUT}'s object keys",
        ["['out/a', 'out/a']", "different keys"],
    ),
    "callback, relative": (
        request(callback_url="/ci"),
        "CallBack",
        ["'/ci'", "an absolute http or https URL"],
    ),
    "callback, scheme": (
        request(callback_url="ftp://h/ci"),
        "CallBack",
        ["'ftp://h/ci'", "http or https", "or no"],
    ),
    "callback, no host": (request(callback_url="https:///ci"), "CallBack", ["'https:///ci'"]),
    "callback, blank": (request(callback_url="https://h/a b"), "CallBack", ["'https://h/a b'"]),
    "callback, unreadable": (request(callback_url="https://[::1/"), "CallBack", ["'https://[::1/'"]),
    "callback, empty": (request(callback_url=""), "CallBack", ["''"]),
    "callback format": (request(callback_format="YAML"), "CallBackFormat", ["'YAML'", "XML, JSON"]),
    "callback type": (request(callback_type="Mail"), "CallBackType", ["'Mail'", "Url, TDMQ, Kafka"]),
    "TDMQ without queue": (request(callback_type="TDMQ"), "CallBackMqConfig", ["None", "is TDMQ"]),
    "queue without TDMQ": (
        request(callback_mq_config=MQ),
        "CallBackMqConfig",
        ["mq_name='done'", "is TDMQ"],
    ),
    "Kafka without topic": (request(callback_type="Kafka"), "CallBackKafkaConfig", ["None", "is Kafka"]),
    "topic without Kafka": (
        request(callback_type="Url", callback_kafka_config=KAFKA),
        "CallBackKafkaConfig",
        ["topic='done'", "is Kafka"],
    ),
    "mq region": (
        with_mq(mq_region="ap-guangzhou"),
        "CallBackMqConfig.MqRegion",
        ["'ap-guangzhou'", "sh, bj, gz, cd, hk"],
    ),
    "no mq region": (with_mq(mq_region=None), "CallBackMqConfig.MqRegion", ["sh, bj, gz, cd, hk"]),
    "mq mode": (with_mq(mq_mode="queue"), "CallBackMqConfig.MqMode", ["'queue'", "Queue, Topic"]),
    "no mq mode": (with_mq(mq_mode=None), "CallBackMqConfig.MqMode", ["Queue, Topic"]),
    "no mq name": (with_mq(mq_name=None), "CallBackMqConfig.MqName", ["None", "not empty"]),
    "mq name": (with_mq(mq_name="\x07"), "CallBackMqConfig.MqName", ["'\\x07'", "no control characters"]),
    "kafka region": (with_kafka(region="gz"), "CallBackKafkaConfig.Region", ["'gz'", "ap-guangzhou"]),
    "no kafka instance": (with_kafka(instance_id=""), "CallBackKafkaConfig.InstanceId", ["''", "not empty"]),
    "no kafka topic": (with_kafka(topic=None), "CallBackKafkaConfig.Topic", ["None", "not empty"]),
    "number as text": (encoding(bitrate="128"), f"{CONFIG}.Bitrate", ["'128'", "an integer"]),
    "number with fraction": (encoding(samplerate=44100.0), f"{CONFIG}.Samplerate", ["an integer"]),
    "truth for a number": (with_operation(job_level=True), "Operation.JobLevel", ["True", "an integer"]),
    "number for a text": (with_output(background_object=7), f"{OUTPUT}.Object", ["is 7", "a string"]),
    "dict for a part": (request(operation={}), "Operation", ["{}", "Operation"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_request_that_breaks_a_rule_is_rejected(name):
    bad, field, texts = BAD[name]
    (problem,) = problems(bad)
    assert problem.field == field
    assert str(problem).startswith(f"{field} is ")
    assert ", allowed: " in str(problem)
    for text in texts:
        assert text in str(problem)


def test_all_problems_are_reported_at_once():
    bad = JobRequest(tag="x", queue_id="?", callback_url="x")
    assert [problem.field for problem in problems(bad)] == [
        "Tag",
        "Input.Object",
        "Operation",
        f"{OUTPUT}.Bucket",
        f"{OUTPUT}.Region",
        f"{OUTPUT}.Object and AuObject",
        "QueueId",
        "CallBack",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/ci?hunter2",
        "ftp://user:hunter2@example.org/ci",
        "ftp:/user:hunter2@example.org/ci",
        "ftp://example.org/ci#hunter2",
        "https:///?a=b@c&hunter2",
        "?hunter2",
    ],
)
def test_a_callbacks_secret_never_appears(url):
    bad = request(callback_url=url)
    (problem,) = problems(bad)
    assert "hunter2" not in f"{problem} {problem!r} {bad!r}"


def test_long_values_are_shortened():
    text = str(Problem("Field", "x" * 10_000, "less"))
    assert len(text) < 160
    assert "(10002 characters)" in text


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (
            BUCKET,
            ["media-1250000001", "a-12345", "0a-b-12345"],
            [
                "Media-1250000001",
                "-a-12345",
                "media",
                "a-1234",
                "a.b-12345",
                "a-12345\n",
                "a/-12345",
                "a_b-12345",
            ],
        ),
        (
            REGION,
            ["ap-guangzhou", "ap-beijing-1", "na-siliconvalley", "ap-shanghai-fsi"],
            ["guangzhou", "ap-", "-ap", "ap--x", "AP-X", "ap-x.evil.com", "ap-x\n", "ap-x/", ""],
        ),
        (
            ID,
            ["j8d1", "a_b-C", "x" * 128],
            ["", "a,b", "a/b", "..", "a b", "a\n", "人", "x" * 129, "a?b", "%2e"],
        ),
    ],
    ids=["bucket", "region", "id"],
)
def test_patterns_match_complete_names_only(pattern, good, bad):
    assert [text for text in good if not pattern.fullmatch(text)] == []
    assert [text for text in bad if pattern.fullmatch(text)] == []


def test_an_output_is_needed():
    fields = {problem.field for problem in problems(with_operation(output=None))}
    assert {f"{OUTPUT}.Bucket", f"{OUTPUT}.Region"} < fields
    assert fields == {problem.field for problem in problems(with_operation(output=Output()))}
