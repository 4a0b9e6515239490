"""Tencent's Python SDK submits jobs of every type by its own methods, and reads what the emulator says."""

from __future__ import annotations

import pytest
from qcloud_cos import CosServiceError

from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_sdk import BUCKET, finished
from tests.emulator.sdk_clients import python_client
from tests.job_inputs import store_inputs
from tests.job_samples import ARCHIVE, SOUND, TAGS, TEXT, has_all, request_of

REGION = "ap-guangzhou"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Emulator(bucket=BUCKET) as emulator:
        client = python_client(emulator)
        store_inputs(
            lambda key, body: client.put_object(Bucket=BUCKET, Key=key, Body=body),
            tmp_path_factory.mktemp("inputs"),
        )
        yield client


def request(tag):
    return request_of(tag, f"sdk/{tag}", BUCKET, REGION)


@pytest.mark.parametrize("tag", TAGS)
def test_jobs_of_every_type(client, tag):
    sent = request(tag)
    accepted = client.ci_create_media_jobs(Bucket=BUCKET, Jobs=sent, Lst={})["JobsDetail"][0]
    assert (accepted["Tag"], accepted["State"]) == (tag, "Submitted")
    job = finished(client, accepted["JobId"])
    assert (job["Tag"], job["State"], job["Code"]) == (tag, "Success", "Success"), job["Message"]
    for described in (accepted, job):
        assert has_all(described["Operation"], sent["Operation"])
        assert (described.get("Input") or {}).get("Object") == sent.get("Input", {}).get("Object")
    listed = client.ci_list_media_jobs(Bucket=BUCKET, Tag=tag)["JobsDetail"]
    assert [each["JobId"] for each in listed] == [job["JobId"]]


def test_a_recognition_at_its_old_path(client):
    parameters = {"EngineModelType": "16k_en", "ChannelNum": 1, "ResTextFormat": 1}
    answer = client.ci_create_asr_job(
        Bucket=BUCKET,
        InputObject=SOUND,
        OutputBucket=BUCKET,
        OutputRegion=REGION,
        OutputObject="out/sdk/asr.txt",
        SpeechRecognition=parameters,
    )
    job_id = answer["JobsDetail"]["JobId"]
    assert job_id.startswith("s")
    job = finished(client, job_id)
    old = client.ci_get_asr_job(Bucket=BUCKET, JobID=job_id)["JobsDetail"][0]
    assert old == job
    assert old["State"] == "Success"
    assert old["Operation"]["SpeechRecognition"]["EngineModelType"] == "16k_en"


def test_files_at_their_old_path(client):
    place = {"OutputBucket": BUCKET, "OutputRegion": REGION}
    submitted = [
        client.ci_create_file_hash_job(
            Bucket=BUCKET, InputObject=TEXT, FileHashCodeConfig={"Type": "MD5"}, UserData="a & b"
        ),
        client.ci_create_file_uncompress_job(
            Bucket=BUCKET,
            InputObject=ARCHIVE,
            FileUncompressConfig={"Prefix": "out/sdk/unpacked/", "PrefixReplaced": "0"},
            **place,
        ),
        client.ci_create_file_compress_job(
            Bucket=BUCKET,
            FileCompressConfig={"Flatten": "0", "Format": "zip", "Key": [TEXT, SOUND]},
            OutputObject="out/sdk/packed.zip",
            **place,
        ),
    ]
    jobs = [answer["JobsDetail"] for answer in submitted]
    jobs = [job[0] if isinstance(job, list) else job for job in jobs]
    assert [job["Tag"] for job in jobs] == ["FileHashCode", "FileUncompress", "FileCompress"]
    for job in jobs:
        finished(client, job["JobId"])
    ids = ",".join(job["JobId"] for job in jobs)
    described = client.ci_get_file_process_jobs(Bucket=BUCKET, JobIDs=ids)["JobsDetail"]
    assert {job["State"] for job in described} == {"Success"}
    assert described[2]["Operation"]["FileCompressConfig"]["Key"] == [TEXT, SOUND]


def test_a_picture_at_its_old_path(client):
    sent = request("PicProcess")
    job = client.ci_create_media_pic_jobs(Bucket=BUCKET, Jobs=sent, Lst={})["JobsDetail"][0]
    finished(client, job["JobId"])
    described = client.ci_get_media_pic_jobs(Bucket=BUCKET, JobIDs=job["JobId"])["JobsDetail"][0]
    assert described["State"] == "Success"
    assert has_all(described["Operation"], sent["Operation"])


def test_lists_are_at_the_new_path_only(client):
    with pytest.raises(CosServiceError) as refused:
        client.ci_list_asr_jobs(Bucket=BUCKET)
    assert refused.value.get_status_code() == 404
