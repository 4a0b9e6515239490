"""Tencent's own Python SDK as an independent client, pointed at the emulator in every way that it allows."""

from __future__ import annotations

import hashlib

import pytest
from qcloud_cos import CosConfig, CosS3Client, CosServiceError

from tencent_ci_emulator.server import Emulator
from tests.emulator.sdk_clients import WAYS, one_way, python_client
from tests.patience import wait_until
from tests.recording import SHORT, SHORT_SECONDS

BUCKET, OTHER = "demo-1250000000", "results-1250000000"


@pytest.fixture(scope="module")
def emulator():
    with Emulator(bucket=BUCKET, buckets=[OTHER]) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request, emulator):
    return python_client(emulator, request.param)


def submit(client, key, *, bucket=BUCKET, **separation):
    request = {
        "Tag": "VoiceSeparate",
        "Input": {"Object": key},
        "Operation": {
            "VoiceSeparate": {
                "AudioMode": "AudioAndBackground",
                "AudioConfig": {"Codec": "mp3"},
                **separation,
            },
            "Output": {
                "Region": "ap-guangzhou",
                "Bucket": bucket,
                "Object": "out/${jobid}/background.${ext}",
                "AuObject": "out/${jobid}/voice.${ext}",
            },
            "UserData": "a & b < c",
        },
    }
    return client.ci_create_media_jobs(Bucket=BUCKET, Jobs=request, Lst={})["JobsDetail"][0]


def describe(client, job_id):
    return client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=job_id)["JobsDetail"][0]


def finished(client, job_id):
    last: dict = {}

    def ended():
        last.update(describe(client, job_id))
        return last["State"] in ("Success", "Failed", "Cancel")

    wait_until(ended)
    return last


def test_upload_separate_and_download(client):
    with SHORT.open("rb") as file:
        put = client.put_object(Bucket=BUCKET, Key="in/a b+ü.mp3", Body=file, EnableMD5=True)
    assert put["ETag"] == f'"{hashlib.md5(SHORT.read_bytes()).hexdigest()}"'
    job = submit(client, "in/a b+ü.mp3")
    assert (job["State"], job["StartTime"], job["EndTime"]) == ("Submitted", "-", "-")
    assert job["Input"] == {"BucketId": BUCKET, "Object": "in/a b+ü.mp3", "Region": "ap-guangzhou"}
    done = finished(client, job["JobId"])
    assert (done["State"], done["Code"], done["Progress"]) == ("Success", "Success", "100")
    operation = done["Operation"]
    assert operation["UserData"] == "a & b < c"
    assert operation["Output"]["AuObject"] == "out/${jobid}/voice.${ext}"
    written = operation["MediaResult"]["OutputFile"]
    voice, background = (f"out/{job['JobId']}/{name}.mp3" for name in ("voice", "background"))
    assert sorted(written["ObjectName"]) == [background, voice]
    for info in written["Md5Info"]:
        body = client.get_object(Bucket=BUCKET, Key=info["ObjectName"])["Body"].get_raw_stream().read()
        assert hashlib.md5(body).hexdigest() == info["Md5"]
    streams = operation["MediaInfo"]["Stream"]["Audio"]
    assert [(one["CodecName"], one["Channel"], one["SampleRate"]) for one in streams] == [
        ("mp3", "2", "44100")
    ] * 2
    assert float(operation["MediaInfo"]["Format"]["Duration"]) == pytest.approx(SHORT_SECONDS, abs=0.1)


def test_objects(client):
    client.put_object(
        Bucket=BUCKET,
        Key="x/1",
        Body=b"0123456789",
        ContentType="audio/mpeg",
        Metadata={"x-cos-meta-who": "me"},
    )
    head = client.head_object(Bucket=BUCKET, Key="x/1")
    assert (head["Content-Length"], head["Content-Type"], head["x-cos-meta-who"]) == (
        "10",
        "audio/mpeg",
        "me",
    )
    part = client.get_object(Bucket=BUCKET, Key="x/1", Range="bytes=2-4")
    assert (part["Body"].get_raw_stream().read(), part["Content-Range"]) == (b"234", "bytes 2-4/10")
    assert client.object_exists(Bucket=BUCKET, Key="x/1")
    client.delete_object(Bucket=BUCKET, Key="x/1")
    assert not client.object_exists(Bucket=BUCKET, Key="x/1")
    client.put_object(Bucket=BUCKET, Key="x/2", Body=iter([b"chunked ", b"upload"]))
    assert client.get_object(Bucket=BUCKET, Key="x/2")["Body"].get_raw_stream().read() == b"chunked upload"
    with pytest.raises(CosServiceError) as missing:
        client.get_object(Bucket=BUCKET, Key="x/none")
    assert (missing.value.get_status_code(), missing.value.get_error_code()) == (404, "NoSuchKey")


@one_way
def test_a_failed_job_and_an_unknown_id_are_described(client, request):
    job = submit(client, "in/none.mp3")
    failed = finished(client, job["JobId"])
    assert (failed["State"], failed["Code"]) == ("Failed", "ResourceNotFound")
    assert "in/none.mp3" in failed["Message"]
    unknown = "j" + "0" * 32
    answer = client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=f"{job['JobId']},{unknown}")
    assert [one["JobId"] for one in answer["JobsDetail"]] == [job["JobId"]]
    assert answer["NonExistJobIds"] == unknown
    if request.node.callspec.params["client"] == "ip":
        return  # to a COS host, where a job that does not exist is the key of an object
    assert client.ci_get_media_jobs(Bucket=BUCKET, JobIDs="jnone") == {"NonExistJobIds": "jnone"}


def test_listing_by_pages(client):
    ids = [submit(client, "in/none.mp3")["JobId"] for _ in range(5)]
    seen, token = [], ""
    while len(seen) < 5:
        page = client.ci_list_media_jobs(Bucket=BUCKET, Tag="VoiceSeparate", Size=2, NextToken=token)
        seen += [job["JobId"] for job in page["JobsDetail"]]
        token = page["NextToken"]
    assert seen[:5] == ids[::-1]
    page = client.ci_list_media_jobs(
        Bucket=BUCKET, Tag="VoiceSeparate", OrderByTime="Asc", States="Success,Cancel", Size=100,
        StartCreationTime="2001-01-01T00:00:00+0800", EndCreationTime="2001-01-02T00:00:00+0800",
    )  # fmt: skip
    assert "JobsDetail" not in page
    assert page["NextToken"] is None


@one_way
def test_an_error_of_ci_is_read_by_the_sdk(client):
    with pytest.raises(CosServiceError) as ci:
        submit(client, "in/a.mp3", AudioMode="Loud")
    assert ci.value.get_status_code() == 400
    text = ci.value.get_origin_msg()
    text = text if isinstance(text, str) else str(text)
    assert "InvalidArgument" in text
    assert "AudioMode" in text
    assert "Resource>" not in text


def test_results_in_another_bucket(client, emulator, request):
    if request.node.callspec.params["client"] == "domain":
        pytest.skip("Domain= leaves no bucket in the Host: only the default one can be reached")
    client.put_object(Bucket=BUCKET, Key="in/short.mp3", Body=SHORT.read_bytes())
    job = submit(client, "in/short.mp3", bucket=OTHER, AudioMode="IsAudio")
    written = finished(client, job["JobId"])["Operation"]["MediaResult"]["OutputFile"]
    assert (written["Bucket"], written["ObjectName"]) == (OTHER, f"out/{job['JobId']}/voice.mp3")
    assert client.object_exists(Bucket=OTHER, Key=written["ObjectName"])
    assert not client.object_exists(Bucket=BUCKET, Key=written["ObjectName"])


def test_a_job_can_be_cancelled_only_before_it_begins():
    with Emulator(queue_seconds=60) as emulator:
        config = CosConfig(
            Region=emulator.region, SecretId=emulator.secret_id, SecretKey=emulator.secret_key, Scheme="http",
            Domain=f"127.0.0.1:{emulator.port}",
        )  # fmt: skip
        client = CosS3Client(config, retry=0)
        job = submit(client, "in/a.mp3")
        assert client.ci_cancel_jobs(Bucket=BUCKET, JobID=job["JobId"]) == ""
        assert describe(client, job["JobId"])["State"] == "Cancel"
        with pytest.raises(CosServiceError) as again:
            client.ci_cancel_jobs(Bucket=BUCKET, JobID=job["JobId"])
        assert "The job provided can not be modified" in str(again.value.get_origin_msg())
