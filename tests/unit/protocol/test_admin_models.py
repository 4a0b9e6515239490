"""Answers about templates, queues, buckets and batch jobs as Tencent's documents print them."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_ci.protocol.batches import BatchesResponse, BatchJob
from airflow_provider_ci.protocol.queues import NotifyConfig, QueuesResponse
from airflow_provider_ci.protocol.services import BucketResponse
from airflow_provider_ci.protocol.templates import TemplateIds, TemplateRequest, TemplatesResponse
from airflow_provider_ci.protocol.voice_separation import AudioConfig
from airflow_provider_ci.protocol.xml import parse_document, read, to_bytes, to_element


def parse(cls, text):
    return read(cls, parse_document(f"<Response>{text}</Response>".encode()))


def written(obj, tag="Response"):
    return to_bytes(to_element(obj, tag)).decode().partition("?>\n")[2]


def test_templates():
    answer = parse(
        TemplatesResponse,
        "<RequestId>r</RequestId><TotalCount>2</TotalCount><TemplateList><TemplateId>t1</TemplateId>"
        "<VoiceSeparate><AudioMode>IsAudio</AudioMode><AudioConfig/></VoiceSeparate>"
        "<CreateTime>2025-01-02T03:04:05+0800</CreateTime></TemplateList>"
        "<TemplateList><TemplateId>t2</TemplateId></TemplateList>"
        "<NonExistTIDs><TemplateId>t3</TemplateId><TemplateId>t4</TemplateId></NonExistTIDs>",
    )
    assert (answer.request_id, answer.total_count) == ("r", 2)
    assert [one.template_id for one in answer.template_list] == ["t1", "t2"]
    assert answer.template_list[0].voice_separate.audio_mode == "IsAudio"
    assert answer.template_list[0].create_time.isoformat() == "2025-01-02T03:04:05+08:00"
    assert answer.non_exist_tids == TemplateIds(template_id=("t3", "t4"))
    assert written(replace(answer, template_list=(), total_count=None)) == (
        "<Response><RequestId>r</RequestId><NonExistTIDs><TemplateId>t3</TemplateId>"
        "<TemplateId>t4</TemplateId></NonExistTIDs></Response>"
    )


def test_a_template_request_has_its_parameters_at_the_top():
    request = TemplateRequest(
        tag="VoiceSeparate", name="n", audio_mode="IsAudio", audio_config=AudioConfig(codec="mp3")
    )
    assert written(request, "Request") == (
        "<Request><Tag>VoiceSeparate</Tag><Name>n</Name><AudioMode>IsAudio</AudioMode>"
        "<AudioConfig><Codec>mp3</Codec></AudioConfig></Request>"
    )


def test_queues():
    answer = parse(
        QueuesResponse,
        "<QueueList><QueueId>p1</QueueId><NotifyConfig><State>On</State><Url>http://x/?s=1</Url><Event/>"
        "<MqMode>Queue</MqMode></NotifyConfig><MaxSize>10000</MaxSize></QueueList>"
        "<NonExistPIDs>p2</NonExistPIDs><NonExistPIDs>p3</NonExistPIDs>",
    )
    [queue] = answer.queue_list
    assert queue.notify_config == NotifyConfig(state="On", url="http://x/?s=1", mq_mode="Queue")
    assert queue.max_size == 10000
    assert answer.non_exist_pids == ("p2", "p3")
    assert "s=1" not in repr(answer)  # the receiver's secret


def test_buckets():
    opened = parse(
        BucketResponse, "<MediaBucket><BucketId>b-1250000000</BucketId><AliasBucketId/></MediaBucket>"
    )
    assert (opened.media_bucket.bucket_id, opened.asr_bucket) == ("b-1250000000", None)


def test_batch_jobs():
    answer = parse(
        BatchesResponse,
        "<JobsDetail><JobId>b1</JobId><StartTime>-</StartTime><Input><UrlFile>u</UrlFile></Input></JobsDetail>"
        "<NonExistJobId>b2</NonExistJobId><NonExistJobIds>b3</NonExistJobIds><NextToken/>",
    )
    [job] = answer.jobs_detail
    assert (job.job_id, job.start_time, job.input.url_file) == ("b1", None, "u")
    assert answer.non_exist_job_ids == ("b2", "b3")  # both spellings
    assert "<NonExistJobIds>b2" in written(answer)
    assert written(BatchJob(job_id="b1"), "JobsDetail") == "<JobsDetail><JobId>b1</JobId></JobsDetail>"


def test_what_only_the_sdks_know_of_templates_and_batch_jobs_is_kept():
    answer = parse(
        TemplatesResponse, "<TemplateList><TemplateId>t1</TemplateId><State>Normal</State></TemplateList>"
    )
    assert answer.template_list[0].state == "Normal"
    batches = parse(
        BatchesResponse,
        "<JobsDetail><JobId>b1</JobId><Tag>VoiceSeparate</Tag><Progress>40</Progress><QueueId>p1</QueueId>"
        "</JobsDetail>",
    )
    assert batches.jobs_detail[0] == BatchJob(job_id="b1", tag="VoiceSeparate", progress=40, queue_id="p1")
