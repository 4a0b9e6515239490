"""What a job's state means, and that a documented answer is read whole."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime

import pytest

from airflow_provider_ci.protocol.fields import SERVICE_ZONE
from airflow_provider_ci.protocol.jobs import STATES, Job, JobRequest, JobsResponse, JobState
from airflow_provider_ci.protocol.xml import parse_document, read

DOCUMENTED = """<?xml version="1.0" encoding="utf-8"?>
<Response>
  <JobsDetail>
    <Code>Success</Code><CreationTime>2025-01-02T03:04:05+0800</CreationTime>
    <EndTime>2025-01-02T03:05:05+0800</EndTime>
    <Input><BucketId>media-1250000001</BucketId><CosHeaders/><Object>in/song.mp3</Object>
      <Region>ap-guangzhou</Region></Input>
    <JobId>j1</JobId><Message/>
    <Operation>
      <JobLevel>0</JobLevel>
      <MediaInfo>
        <Format><Bitrate>128.034</Bitrate><Duration>4.20</Duration><FormatLongName>MP2/3</FormatLongName>
          <FormatName>mov,mp4,m4a</FormatName><NumProgram>0</NumProgram><NumStream>1</NumStream>
          <Size>67230</Size><StartTime>0.025057</StartTime></Format>
        <Stream>
          <Audio><Channel>2</Channel><ChannelLayout>stereo</ChannelLayout><CodecName>mp3</CodecName>
            <Index>0</Index><SampleRate>44100</SampleRate></Audio>
          <Audio><Index>0</Index></Audio>
          <Subtitle/><Video/>
        </Stream>
      </MediaInfo>
      <MediaResult><OutputFile><Bucket>media-1250000001</Bucket>
        <Md5Info><Md5>aa</Md5><ObjectName>out/voice.mp3</ObjectName></Md5Info>
        <Md5Info><Md5>bb</Md5><ObjectName>out/background.mp3</ObjectName></Md5Info>
        <ObjectName>out/voice.mp3</ObjectName><ObjectName>out/background.mp3</ObjectName>
        <ObjectPrefix/><Region>ap-guangzhou</Region></OutputFile></MediaResult>
      <Output><AuObject>out/voice.${ext}</AuObject><Bucket>media-1250000001</Bucket>
        <Object>out/background.${ext}</Object><Region>ap-guangzhou</Region></Output>
      <UserData>marker</UserData>
      <VoiceSeparate><AudioConfig><Bitrate/><Codec>mp3</Codec></AudioConfig>
        <AudioMode>AudioAndBackground</AudioMode></VoiceSeparate>
    </Operation>
    <Progress>100</Progress><QueueId>p1</QueueId><StartTime>-</StartTime><State>Success</State>
    <Tag>VoiceSeparate</Tag><Workflow/>
  </JobsDetail>
</Response>"""


def test_a_documented_answer_is_read_whole():
    (job,) = read(JobsResponse, parse_document(DOCUMENTED.encode())).jobs_detail
    operation = job.operation
    assert (job.job_id, job.state, job.progress, job.queue_id) == ("j1", "Success", 100, "p1")
    assert job.creation_time == datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE)
    assert job.start_time is job.message is None
    assert job.workflow == ()
    assert job.input.bucket_id == "media-1250000001"
    assert (operation.job_level, operation.user_data) == (0, "marker")
    assert (operation.voice_separate.audio_config.codec, operation.voice_separate.audio_config.bitrate) == (
        "mp3",
        None,
    )
    assert (operation.media_info.format.size, operation.media_info.format.bitrate) == (67230, 128.034)
    assert [stream.sample_rate for stream in operation.media_info.stream.audio] == [44100, None]
    assert operation.media_info.stream.video == ()
    assert operation.media_result.output_file.object_name == ("out/voice.mp3", "out/background.mp3")
    assert [info.md5 for info in operation.media_result.output_file.md5_info] == ["aa", "bb"]


@pytest.mark.parametrize(
    ("state", "known", "terminal", "successful", "waiting"),
    [
        ("Submitted", True, False, False, True),
        ("Running", True, False, False, False),
        ("Success", True, True, True, False),
        ("Failed", True, True, False, False),
        ("Pause", True, False, False, True),
        ("Cancel", True, True, False, False),
        ("Canceled", False, False, False, False),
        ("success", False, False, False, False),
        ("Done", False, False, False, False),
        ("", False, False, False, False),
    ],
)
def test_states(state, known, terminal, successful, waiting):
    value = Job(state=state).job_state
    assert value == state
    assert (value.is_known, value.is_terminal, value.is_successful, value.is_waiting) == (
        known,
        terminal,
        successful,
        waiting,
    )


def test_a_missing_or_padded_state():
    assert Job().job_state == ""
    assert Job(state=" Success\n").job_state.is_successful


def test_states_survive_copies():
    assert len(STATES) == 6
    for state in STATES:
        for same in (pickle.loads(pickle.dumps(state)), copy.deepcopy(state), JobState(str(state))):
            assert same == state
            assert type(same) is JobState


def test_a_callbacks_secret_is_not_in_the_repr():
    assert "hunter2" not in repr(JobRequest(callback_url="https://h/?hunter2"))


def test_what_only_the_sdks_know_of_jobs_is_kept():
    streams = "".join(
        f"<{kind}><CreationTime>2021-09-01T00:00:00.000000Z</CreationTime></{kind}>"
        for kind in ("Video", "Audio", "Subtitle")
    )
    text = (
        "<Response><JobsDetail><QueueType>Speeching</QueueType><Operation><MediaInfo><Stream>"
        f"{streams}</Stream></MediaInfo></Operation></JobsDetail></Response>"
    )
    (job,) = read(JobsResponse, parse_document(text.encode())).jobs_detail
    assert job.queue_type == "Speeching"
    stream = job.operation.media_info.stream
    times = [one.creation_time for one in (*stream.video, *stream.audio, *stream.subtitle)]
    assert times == ["2021-09-01T00:00:00.000000Z"] * 3
