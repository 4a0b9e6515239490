"""Every documented rule (460/84794, 436/120977, 460/78927): one good and one bad case each."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.protocol.job_rules import check_job
from airflow_provider_ci.protocol.jobs import SubmitJob
from airflow_provider_ci.protocol.names import BUCKET, ID, REGION
from airflow_provider_ci.protocol.rules import Problem, problems_of

from .builders import encoding, operation, output, request

MQ = {"MqRegion": "gz", "MqMode": "Queue", "MqName": "done"}
KAFKA = {"Region": "ap-guangzhou", "InstanceId": "ckafka-1", "Topic": "done"}
CONFIG = "Operation.VoiceSeparate.AudioConfig"
OUTPUT = "Operation.Output"


def problems(request: dict[str, Any]) -> list[str]:
    return problems_of(check_job, request)


def with_operation(**changes) -> dict[str, Any]:
    return request(Operation=operation(**changes))


def with_output(mode: str | None = None, **changes) -> dict[str, Any]:
    return with_operation(Output=output(**changes), VoiceSeparate={"AudioMode": mode or "AudioAndBackground"})


def with_mq(**changes) -> dict[str, Any]:
    return request(CallBackType="TDMQ", CallBackMqConfig=MQ | changes)


def with_kafka(**changes) -> dict[str, Any]:
    return request(CallBackType="Kafka", CallBackKafkaConfig=KAFKA | changes)


GOOD = {
    "smallest": request(),
    "template": with_operation(VoiceSeparate=None, TemplateId="t0123"),
    "template wins over bad parameters": with_operation(
        VoiceSeparate={"AudioMode": "Nonsense"}, TemplateId="t0123"
    ),
    "template, background alone": with_operation(
        TemplateId="t1", VoiceSeparate=None, Output=output(AuObject=None)
    ),
    "no mode, voice alone": with_operation(VoiceSeparate={}, Output=output(Object=None)),
    "queue": request(QueueId="p2242ab62c7c94486915508540933a2c6"),
    "four outputs": with_output("MusicMode", BassObject="out/b.mp3", DrumObject="out/d.mp3"),
    "keys as users have them": request(Input={"Object": "人声 +1/./a,b&c.mp3"}),
    "level": with_operation(JobLevel=2),
    "user data": with_operation(UserData=" ~" * 512),
    "user data, empty": with_operation(UserData=""),
    "callback": request(CallBack="https://example.org/ci?secret=1", CallBackFormat="JSON"),
    "callback, http": request(CallBack="http://example.org:8080/", CallBackType="Url"),
    "no callback": request(CallBack="no", CallBackFormat="XML"),
    "queue callback": with_mq(),
    "topic callback": with_mq(MqMode="Topic"),
    "kafka callback": with_kafka(),
    "no encoding": encoding(),
    "aac by default": encoding(Samplerate=96000, Channels=8),
    "bitrate, least": encoding(Bitrate=8),
    "bitrate, most": encoding(Bitrate=1000),
    "upper case codec": encoding(Codec="AAC"),
    "flac": encoding(Codec="flac", Samplerate=11025, Channels=6),
    "mp3": encoding(Codec="mp3", Samplerate=48000, Channels=2),
    "amr": encoding(Codec="amr", Samplerate=8000, Channels=1),
    "wav": encoding(Codec="wav", Samplerate=8000, Channels=4),
    "MusicMode ignores the rest": encoding("MusicMode", Codec="mp3", Samplerate=1, Channels=99),
    "IsAudio": with_output("IsAudio", Object=None),
    "IsBackground": with_output("IsBackground", AuObject=None),
    "AudioAndBackground": with_output("AudioAndBackground"),
    "MusicMode": with_output("MusicMode"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_valid_request_has_no_problems(name):
    assert problems(GOOD[name]) == []


# name: (request, field of the one problem, what its text says)
BAD = {
    "tag": (request(Tag="Voice Separate"), "Tag", ["'Voice Separate'", "VoiceSeparate"]),
    "tag, number": (request(Tag=1), "Tag", ["is 1", "VoiceSeparate"]),
    "no tag": (request(Tag=None), "Tag", ["None", "VoiceSeparate"]),
    "no input": (request(Input=None), "Input.Object", ["None", "object key"]),
    "empty input": (request(Input={"Object": ""}), "Input.Object", ["''", "object key"]),
    "input begins with /": (request(Input={"Object": "/a"}), "Input.Object", ["'/a'", "begins"]),
    "input ends with /": (request(Input={"Object": "a/"}), "Input.Object", ["'a/'", "ends with /"]),
    "input has a control character": (request(Input={"Object": "a\x00"}), "Input.Object", ["'a\\x00'"]),
    "input has a lone surrogate": (request(Input={"Object": "\ud800"}), "Input.Object", ["'\\ud800'"]),
    "neither template nor parameters": (
        with_operation(VoiceSeparate=None),
        "Operation",
        ["without parameters", "with TemplateId or VoiceSeparate"],
    ),
    "template id": (
        with_operation(TemplateId="../t"),
        "Operation.TemplateId",
        ["'../t'", "letters, digits, _ and -"],
    ),
    "empty template id": (with_operation(TemplateId=""), "Operation.TemplateId", ["''"]),
    "queue id": (request(QueueId="p,q"), "QueueId", ["'p,q'", "letters, digits, _ and -, at most 128"]),
    "long queue id": (request(QueueId="p" * 129), "QueueId", ["… (131 characters)", "at most 128"]),
    "level": (with_operation(JobLevel=3), "Operation.JobLevel", ["is 3", "0, 1, 2"]),
    "user data, long": (
        with_operation(UserData="x" * 1025),
        "Operation.UserData",
        ["… (1027 characters)", "at most 1024"],
    ),
    "user data, CJK": (with_operation(UserData="人"), "Operation.UserData", ["'人'", "printable ASCII"]),
    "user data, line feed": (with_operation(UserData="a\n"), "Operation.UserData", ["'a\\n'"]),
    "mode": (
        with_output("Vocals"),
        "Operation.VoiceSeparate.AudioMode",
        ["'Vocals'", "IsAudio, IsBackground, AudioAndBackground, MusicMode"],
    ),
    "codec": (encoding(Codec="opus"), f"{CONFIG}.Codec", ["'opus'", "aac, flac, mp3, amr, wav"]),
    "codec with MusicMode": (
        encoding("MusicMode", Codec="flac"),
        f"{CONFIG}.Codec",
        ["'flac'", "mp3, wav, aac with MusicMode"],
    ),
    "bitrate, low": (encoding(Bitrate=7), f"{CONFIG}.Bitrate", ["is 7", "8 to 1000 (kbit/s)"]),
    "bitrate, high": (encoding(Bitrate=1001), f"{CONFIG}.Bitrate", ["is 1001", "8 to 1000 (kbit/s)"]),
    "bitrate with MusicMode": (encoding("MusicMode", Bitrate=0), f"{CONFIG}.Bitrate", ["is 0"]),
    "aac rate": (encoding(Samplerate=8000), f"{CONFIG}.Samplerate", ["is 8000", "11025,", "with codec aac"]),
    "flac rate": (encoding(Codec="flac", Samplerate=8000), f"{CONFIG}.Samplerate", ["with codec flac"]),
    "mp3 rate, low": (encoding(Codec="mp3", Samplerate=8000), f"{CONFIG}.Samplerate", ["with codec mp3"]),
    "mp3 rate, high": (
        encoding(Codec="mp3", Samplerate=96000),
        f"{CONFIG}.Samplerate",
        ["is 96000", "11025, 22050, 32000, 44100, 48000 with codec mp3"],
    ),
    "amr rate": (encoding(Codec="amr", Samplerate=44100), f"{CONFIG}.Samplerate", ["8000 with codec amr"]),
    "wav rate": (encoding(Codec="wav", Samplerate=1), f"{CONFIG}.Samplerate", ["is 1,", "with codec wav"]),
    "aac channels": (encoding(Channels=3), f"{CONFIG}.Channels", ["is 3", "1, 2, 4, 5, 6, 8"]),
    "flac channels": (encoding(Codec="flac", Channels=7), f"{CONFIG}.Channels", ["is 7"]),
    "mp3 channels": (encoding(Codec="mp3", Channels=4), f"{CONFIG}.Channels", ["1, 2 with codec mp3"]),
    "amr channels": (encoding(Codec="amr", Channels=2), f"{CONFIG}.Channels", ["allowed: 1 with codec amr"]),
    "wav channels": (encoding(Codec="wav", Channels=0), f"{CONFIG}.Channels", ["is 0"]),
    "bucket": (with_output(Bucket="media"), f"{OUTPUT}.Bucket", ["'media'", "<name>-<appid>"]),
    "bucket with a host": (with_output(Bucket="m-12345.evil.com"), f"{OUTPUT}.Bucket", ["<name>-<appid>"]),
    "no bucket": (with_output(Bucket=None), f"{OUTPUT}.Bucket", ["None", "<name>-<appid>"]),
    "region": (with_output(Region="Guangzhou"), f"{OUTPUT}.Region", ["'Guangzhou'", "ap-guangzhou"]),
    "no region": (with_output(Region=None), f"{OUTPUT}.Region", ["None", "ap-guangzhou"]),
    "output key": (
        with_output(Object="/b"),
        f"{OUTPUT}.Object (background)",
        ["'/b'", "object key"],
    ),
    "bass key": (with_output("MusicMode", BassObject="b/"), f"{OUTPUT}.BassObject", ["'b/'", "object key"]),
    "drum key": (with_output("MusicMode", DrumObject=""), f"{OUTPUT}.DrumObject", ["''", "object key"]),
    "IsAudio without voice": (
        with_output("IsAudio", Object=None, AuObject=None),
        f"{OUTPUT}.AuObject (voice)",
        ["None", "an object key, because AudioMode is IsAudio"],
    ),
    "IsBackground without background": (
        with_output("IsBackground", Object=None, AuObject=None),
        f"{OUTPUT}.Object (background)",
        ["AudioMode is IsBackground"],
    ),
    "both without voice": (
        with_output(AuObject=None),
        f"{OUTPUT}.AuObject (voice)",
        ["AudioAndBackground"],
    ),
    "MusicMode without background": (
        with_output("MusicMode", Object=None),
        f"{OUTPUT}.Object (background)",
        ["AudioMode is MusicMode"],
    ),
    "template without keys": (
        with_operation(TemplateId="t1", Output=output(Object=None, AuObject=None)),
        f"{OUTPUT}.Object and AuObject",
        ["None", "at least one of the two"],
    ),
    "same key twice": (
        with_output(Object="out/a", AuObject="out/a"),
        f"{OUTPUT}'s object keys",
        ["['out/a', 'out/a']", "different keys"],
    ),
    "callback, relative": (
        request(CallBack="/ci"),
        "CallBack",
        ["'/ci'", "an absolute http or https URL"],
    ),
    "callback, scheme": (
        request(CallBack="ftp://h/ci"),
        "CallBack",
        ["'ftp://h/ci'", "http or https", "or no"],
    ),
    "callback, no host": (request(CallBack="https:///ci"), "CallBack", ["'https:///ci'"]),
    "callback, blank": (request(CallBack="https://h/a b"), "CallBack", ["'https://h/a b'"]),
    "callback, unreadable": (request(CallBack="https://[::1/"), "CallBack", ["'https://[::1/'"]),
    "callback, empty": (request(CallBack=""), "CallBack", ["''"]),
    "callback format": (request(CallBackFormat="YAML"), "CallBackFormat", ["'YAML'", "XML, JSON"]),
    "callback type": (request(CallBackType="Mail"), "CallBackType", ["'Mail'", "Url, TDMQ, Kafka"]),
    "TDMQ with an empty queue": (
        request(CallBackType="TDMQ", CallBackMqConfig={"MqRegion": "gz", "MqMode": "Queue"}),
        "CallBackMqConfig.MqName",
        ["None", "not empty"],
    ),
    "queue is a number": (with_mq(MqName=5), "CallBackMqConfig.MqName", ["is 5", "a string"]),
    "TDMQ without queue": (request(CallBackType="TDMQ"), "CallBackMqConfig", ["None", "is TDMQ"]),
    "queue without TDMQ": (
        request(CallBackMqConfig=MQ),
        "CallBackMqConfig",
        ["'MqName': 'done'", "is TDMQ"],
    ),
    "Kafka without topic": (request(CallBackType="Kafka"), "CallBackKafkaConfig", ["None", "is Kafka"]),
    "topic without Kafka": (
        request(CallBackType="Url", CallBackKafkaConfig=KAFKA),
        "CallBackKafkaConfig",
        ["'Topic': 'done'", "is Kafka"],
    ),
    "mq region": (
        with_mq(MqRegion="ap-guangzhou"),
        "CallBackMqConfig.MqRegion",
        ["'ap-guangzhou'", "sh, bj, gz, cd, hk"],
    ),
    "no mq region": (with_mq(MqRegion=None), "CallBackMqConfig.MqRegion", ["sh, bj, gz, cd, hk"]),
    "mq mode": (with_mq(MqMode="queue"), "CallBackMqConfig.MqMode", ["'queue'", "Queue, Topic"]),
    "no mq mode": (with_mq(MqMode=None), "CallBackMqConfig.MqMode", ["Queue, Topic"]),
    "no mq name": (with_mq(MqName=None), "CallBackMqConfig.MqName", ["None", "not empty"]),
    "mq name": (
        with_mq(MqName="\x07"),
        "CallBackMqConfig.MqName",
        ["'\\x07'", "without characters that XML cannot carry"],
    ),
    "kafka region": (with_kafka(Region="gz"), "CallBackKafkaConfig.Region", ["'gz'", "ap-guangzhou"]),
    "no kafka instance": (with_kafka(InstanceId=""), "CallBackKafkaConfig.InstanceId", ["''", "not empty"]),
    "no kafka topic": (with_kafka(Topic=None), "CallBackKafkaConfig.Topic", ["None", "not empty"]),
    "text for a number": (encoding(Bitrate="high"), f"{CONFIG}.Bitrate", ["'high'", "an integer"]),
    "number with fraction": (encoding(Samplerate=44100.5), f"{CONFIG}.Samplerate", ["an integer"]),
    "truth for a number": (with_operation(JobLevel=True), "Operation.JobLevel", ["True", "0, 1, 2"]),
    "number for a text": (with_output(Object=7), f"{OUTPUT}.Object (background)", ["is 7", "an object key"]),
    "text for a part": (request(Operation="Submit"), "Operation", ["'Submit'", "a dict of elements"]),
    "dict for a text": (with_operation(UserData={"a": "b"}), "Operation.UserData", ["printable ASCII"]),
    "list for a number": (with_operation(JobLevel=[1]), "Operation.JobLevel", ["[1]", "0, 1, 2"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_request_that_breaks_a_rule_is_rejected(name):
    bad, field, texts = BAD[name]
    (problem,) = problems(bad)
    assert problem.startswith(f"{field} is ")
    assert ", allowed: " in problem
    for text in texts:
        assert text in problem


def test_all_problems_are_reported_at_once():
    bad = {"Tag": "VoiceSeparate", "QueueId": "?", "CallBack": "x"}
    assert [problem.partition(" is ")[0] for problem in problems(bad)] == [
        "Input.Object",
        f"{OUTPUT}.Bucket",
        f"{OUTPUT}.Region",
        "Operation",
        f"{OUTPUT}.Object and AuObject",
        "QueueId",
        "CallBack",
    ]
    assert [problem.partition(" is ")[0] for problem in problems({"QueueId": "?"})] == ["Tag", "QueueId"]


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
    bad = request(CallBack=url)
    (problem,) = problems(bad)
    assert "hunter2" not in f"{problem} {SubmitJob(bad)!r}"


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
    found = problems(with_operation(Output=None))
    fields = {problem.partition(" is ")[0] for problem in found}
    assert {f"{OUTPUT}.Bucket", f"{OUTPUT}.Region"} < fields
    assert found == problems(with_operation(Output={}))
