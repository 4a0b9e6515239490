"""One voice-separation job, as every side of a benchmark submits it and gets it described: the same request
content, and the same bytes of the answers.
"""

from __future__ import annotations

from typing import Any

BUCKET, REGION = "media-1250000001", "ap-guangzhou"
SECRET_ID, SECRET_KEY = "AKIDbenchmark", "a-key-for-nothing-but-this-benchmark"
JOB_ID = "j0123456789abcdef0123456789abcdef"
REQUEST_ID = "NjRhZmZhZDRfNjUyOWM4MGFf"

#: As Tencent's SDK takes it: free dicts, and texts for numbers.
SDK_JOB: dict[str, Any] = {
    "Tag": "VoiceSeparate",
    "Input": {"Object": "in/2025/01/some-recording.mp3"},
    "Operation": {
        "VoiceSeparate": {
            "AudioMode": "AudioAndBackground",
            "AudioConfig": {"Codec": "mp3", "Samplerate": "44100", "Bitrate": "128", "Channels": "2"},
        },
        "Output": {
            "Region": REGION,
            "Bucket": BUCKET,
            "Object": "out/${jobid}/background.mp3",
            "AuObject": "out/${jobid}/voice.mp3",
        },
        "UserData": "airflow-0123456789abcdef",
        "JobLevel": "0",
    },
    "QueueId": "p0123456789abcdef0123456789abcdef",
    "CallBack": "https://example.org/separated",
}

#: As ours takes it: the same, with numbers.
OUR_JOB: dict[str, Any] = {
    **SDK_JOB,
    "Operation": {
        **SDK_JOB["Operation"],
        "VoiceSeparate": {
            "AudioMode": "AudioAndBackground",
            "AudioConfig": {"Codec": "mp3", "Samplerate": 44100, "Bitrate": 128, "Channels": 2},
        },
        "JobLevel": 0,
    },
}

_STREAM = (
    "<Audio><Index>0</Index><CodecName>mp3</CodecName><CodecLongName>MP3 (MPEG audio layer 3)</CodecLongName>"
    "<CodecTimeBase>1/44100</CodecTimeBase><CodecTagString>[0][0][0][0]</CodecTagString>"
    "<CodecTag>0x0000</CodecTag><SampleFmt>fltp</SampleFmt><SampleRate>44100</SampleRate><Channel>2</Channel>"
    "<ChannelLayout>stereo</ChannelLayout><Timebase>1/14112000</Timebase><StartTime>0.025057</StartTime>"
    "<Duration>184.215510</Duration><Bitrate>128.000</Bitrate><Language/></Audio>"
)
_MEDIA = (
    "<MediaInfo><Format><NumStream>1</NumStream><NumProgram>0</NumProgram><FormatName>mp3</FormatName>"
    "<FormatLongName>MP2/3 (MPEG audio layer 2/3)</FormatLongName><StartTime>0.025057</StartTime>"
    "<Duration>184.215510</Duration><Bitrate>128.034</Bitrate><Size>2948182</Size></Format>"
    f"<Stream><Video/>{_STREAM}{_STREAM}<Subtitle/></Stream></MediaInfo>"
    f"<MediaResult><OutputFile><Bucket>{BUCKET}</Bucket><Region>{REGION}</Region><ObjectPrefix/>"
    f"<ObjectName>out/{JOB_ID}/background.mp3</ObjectName><ObjectName>out/{JOB_ID}/voice.mp3</ObjectName>"
    f"<Md5Info><ObjectName>out/{JOB_ID}/background.mp3</ObjectName><Md5>2c29a7f8f6bb3b2a4f1b4f1c6a0e8d11</Md5>"
    f"</Md5Info><Md5Info><ObjectName>out/{JOB_ID}/voice.mp3</ObjectName>"
    "<Md5>9f86d081884c7d659a2feaa0c55ad015</Md5></Md5Info></OutputFile></MediaResult>"
)


def _answer(state: str, end_time: str, progress: int, results: str) -> bytes:
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n<Response><JobsDetail><Code>Success</Code><Message/>"
        f"<JobId>{JOB_ID}</JobId><Tag>VoiceSeparate</Tag><State>{state}</State><Progress>{progress}</Progress>"
        "<CreationTime>2025-01-02T03:04:05+0800</CreationTime><StartTime>2025-01-02T03:04:06+0800</StartTime>"
        f"<EndTime>{end_time}</EndTime><QueueId>p0123456789abcdef0123456789abcdef</QueueId>"
        f"<Input><BucketId>{BUCKET}</BucketId><Object>in/2025/01/some-recording.mp3</Object>"
        f"<Region>{REGION}</Region></Input><Operation><VoiceSeparate><AudioMode>AudioAndBackground</AudioMode>"
        "<AudioConfig><Codec>mp3</Codec><Samplerate>44100</Samplerate><Bitrate>128</Bitrate>"
        f"<Channels>2</Channels></AudioConfig></VoiceSeparate><Output><Region>{REGION}</Region>"
        f"<Bucket>{BUCKET}</Bucket><Object>out/${{jobid}}/background.mp3</Object>"
        f"<AuObject>out/${{jobid}}/voice.mp3</AuObject></Output>{results}"
        "<UserData>airflow-0123456789abcdef</UserData><JobLevel>0</JobLevel></Operation></JobsDetail></Response>"
    ).encode()


#: The answer to a submission, and to a description once the job has succeeded.
ACCEPTED = _answer("Submitted", "-", 0, "")
FINISHED = _answer("Success", "2025-01-02T03:05:05+0800", 100, _MEDIA)
