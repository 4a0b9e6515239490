"""Making and deleting buckets, opening services, listing buckets: by Tencent's Python SDK and plain HTTP."""

from __future__ import annotations

import base64
import hashlib
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from lxml import etree
from qcloud_cos import CosServiceError

from tencent_ci_emulator.config import DEMO_REGION, DEMO_SECRET_ID, DEMO_SECRET_KEY
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_cli import running
from tests.emulator.integration.test_http import JOB, Client
from tests.emulator.integration.test_queues import code_of
from tests.emulator.sdk_clients import WAYS, python_client

BUCKETS = ("demo-1250000000", "archive-1250000000", "demo2-1250000000")
REGIONAL = "ci.ap-guangzhou.myqcloud.com"


@pytest.fixture(scope="module")
def emulator():
    with Emulator(bucket=BUCKETS[0], buckets=BUCKETS[1:]) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request, emulator):
    return python_client(emulator, request.param)


def names(answer, kind="Media"):
    return [one["BucketId"] for one in answer.get(f"{kind}BucketList", [])]


def test_lists_with_pages_and_filters(client):
    whole = client.ci_get_media_bucket()
    assert (whole["TotalCount"], whole["PageNumber"], whole["PageSize"]) == ("3", "1", "10")
    assert names(whole) == sorted(BUCKETS)
    first = whole["MediaBucketList"][0]
    assert (first["Name"], first["Region"], first["CreateTime"][-5:]) == (
        "archive-1250000000", "ap-guangzhou", "+0800",
    )  # fmt: skip
    assert names(client.ci_get_media_bucket(PageNumber="2", PageSize="2")) == ["demo2-1250000000"]
    assert names(client.ci_get_media_bucket(BucketName="demo")) == ["demo-1250000000", "demo2-1250000000"]
    assert names(client.ci_get_media_bucket(BucketNames="demo-1250000000,none-1")) == ["demo-1250000000"]
    assert names(client.ci_get_media_bucket(Regions="ap-beijing")) == []
    assert len(names(client.ci_get_media_bucket(Regions="ap-beijing,ap-guangzhou"))) == 3
    assert len(names(client.ci_get_asr_bucket(Regions="All"), "Asr")) == 3
    with pytest.raises(CosServiceError) as caught:
        client.ci_get_asr_bucket(PageSize="101")
    assert code_of(caught) == (400, "InvalidArgument")


def test_closing_and_opening_smart_audio(client):
    bucket = {"Bucket": BUCKETS[0]}
    with pytest.raises(CosServiceError) as caught:
        client.ci_open_asr_bucket(**bucket)
    assert code_of(caught) == (403, "MediaBucketAlreadyBinded")
    _, closed = client.ci_close_asr_bucket(**bucket)
    assert closed["BucketName"] == BUCKETS[0]
    assert names(client.ci_get_asr_bucket(BucketNames=BUCKETS[0]), "Asr") == []
    assert client.ci_get_asr_queue(**bucket)["TotalCount"] == "0"
    with pytest.raises(CosServiceError) as caught:
        client.ci_close_asr_bucket(**bucket)
    assert code_of(caught) == (400, "MediaBucketUnBinded")
    headers, opened = client.ci_open_asr_bucket(**bucket)
    assert opened["RequestId"] == headers["x-ci-request-id"]
    assert (opened["AsrBucket"]["BucketId"], opened["AsrBucket"]["Region"]) == (BUCKETS[0], "ap-guangzhou")
    assert client.ci_get_asr_queue(**bucket)["TotalCount"] == "1"


def test_the_regional_host_knows_no_other_call(emulator):
    raw = Client(emulator)
    response, body = raw("GET", "/mediabucket", host=REGIONAL)
    root = etree.fromstring(body)
    assert len(root.findall("MediaBucketList")) == 3
    assert root.findtext("RequestId") == response.getheader("x-ci-request-id")
    assert raw.error("POST", "/mediabucket", b"", host=REGIONAL)[:2] == (404, "InvalidUrl")
    assert raw.error("GET", "/queue", host=REGIONAL)[:2] == (404, "InvalidUrl")
    other = REGIONAL.replace("guangzhou", "beijing")
    assert raw.error("GET", "/asrbucket", host=other)[:2] == (400, "InvalidHost")
    assert raw.error("DELETE", "/mediabucket", host=REGIONAL)[:2] == (404, "InvalidUrl")


def test_closing_and_opening_media_processing(emulator):
    raw, host = Client(emulator), f"{BUCKETS[0]}.{REGIONAL}"
    before = emulator.ledger.count("close_media")
    closed = etree.fromstring(raw("DELETE", "/mediabucket", host=host)[1])
    assert closed.findtext("BucketName") == BUCKETS[0]
    assert raw.error("DELETE", "/mediabucket", host=host)[:2] == (400, "MediaBucketUnBinded")
    assert b"<TotalCount>0<" in raw("GET", "/queue", host=host)[1]
    assert b"<TotalCount>1<" in raw("GET", "/asrqueue", host=host)[1]
    assert raw("POST", "/mediabucket", b"", host=host)[0].status == 200
    assert b"<TotalCount>1<" in raw("GET", "/queue", host=host)[1]
    assert emulator.ledger.count("close_media") == before + 2


@pytest.mark.parametrize(
    ("code", "status", "open_already"),
    [
        ("MediaBucketUnBinded", 400, "MediaBucketAlreadyBinded"),
        ("AsrBucketUnBinded", 400, "AsrBucketAlreadyBinded"),
        ("AccessDenied", 403, "MediaBucketAlreadyBinded"),
    ],
)
def test_jobs_need_the_service(tmp_path, code, status, open_already):
    with Emulator(tmp_path, unbound=code) as emulator:
        raw, client = Client(emulator), python_client(emulator)
        assert raw.error("POST", "/jobs", JOB)[:2] == (status, code)
        assert client.ci_get_media_bucket()["TotalCount"] == "0"
        opened = etree.fromstring(raw("POST", "/mediabucket", b"")[1])
        assert opened.find("MediaBucket") is not None
        assert raw.error("POST", "/jobs", JOB)[:2] == (status, code)  # it is the other service's
        media = client.ci_get_media_queue(Bucket=BUCKETS[0])["QueueList"][0]["QueueId"]
        in_media = JOB.replace("</Request>", f"<QueueId>{media}</QueueId></Request>")
        assert raw("POST", "/jobs", in_media)[0].status == 200
        client.ci_open_asr_bucket(Bucket=BUCKETS[0])
        assert raw.error("POST", "/asrbucket", b"")[:2] == (403, open_already)
        assert raw("POST", "/jobs", JOB)[0].status == 200
    with Emulator(tmp_path, unbound=code) as emulator:  # and it stays open
        assert Client(emulator)("POST", "/jobs", JOB)[0].status == 200


def test_a_closed_service_stays_closed(tmp_path):
    with Emulator(tmp_path) as emulator:
        python_client(emulator).ci_close_asr_bucket(Bucket=BUCKETS[0])
    with Emulator(tmp_path) as emulator:
        assert Client(emulator).error("POST", "/jobs", JOB)[:2] == (400, "MediaBucketUnBinded")


NEW, GONE = "new-1250000000", "gone-1250000000"
NEW_COS_HOST = f"{NEW}.cos.ap-guangzhou.myqcloud.com"


@pytest.mark.parametrize("way", ["session", "ip", "proxy"])  # the others name no bucket
def test_a_bucket_is_made_used_and_deleted(emulator, way):
    client = python_client(emulator, way)
    assert not client.bucket_exists(Bucket=NEW)
    client.create_bucket(Bucket=NEW)
    assert client.bucket_exists(Bucket=NEW)
    assert emulator.buckets() == [*BUCKETS, NEW]
    with pytest.raises(CosServiceError) as caught:
        client.create_bucket(Bucket=NEW)
    assert code_of(caught) == (409, "BucketAlreadyOwnedByYou")

    for key in ("a", "b/ü", "c"):
        client.put_object(Bucket=NEW, Key=key, Body=b"content")
    with pytest.raises(CosServiceError) as caught:
        client.delete_bucket(Bucket=NEW)
    assert code_of(caught) == (409, "BucketNotEmpty")
    client.delete_object(Bucket=NEW, Key="c")
    deleted = client.delete_objects(Bucket=NEW, Delete={"Object": [{"Key": "a"}, {"Key": "none"}]})
    assert [one["Key"] for one in deleted["Deleted"]] == ["a", "none"]
    quiet = client.delete_objects(Bucket=NEW, Delete={"Quiet": "true", "Object": [{"Key": "b/ü"}]})
    assert "Deleted" not in quiet
    assert "Contents" not in client.list_objects(Bucket=NEW)

    upload = client.create_multipart_upload(Bucket=NEW, Key="d")["UploadId"]
    with pytest.raises(CosServiceError) as caught:
        client.delete_bucket(Bucket=NEW)
    assert code_of(caught) == (409, "BucketNotEmpty")
    client.abort_multipart_upload(Bucket=NEW, Key="d", UploadId=upload)
    client.delete_bucket(Bucket=NEW)
    assert not client.bucket_exists(Bucket=NEW)
    assert emulator.buckets() == [*BUCKETS]
    for act in (client.delete_bucket, client.list_objects, client.ci_get_media_queue):
        with pytest.raises(CosServiceError) as caught:
            act(Bucket=NEW)
        assert caught.value.get_status_code() in (400, 404)


def test_the_services_of_a_new_bucket_are_closed(emulator):
    client = python_client(emulator)
    client.create_bucket(Bucket=NEW)
    try:
        assert client.ci_get_media_queue(Bucket=NEW)["TotalCount"] == "0"
        with pytest.raises(CosServiceError) as caught:
            client.ci_create_media_jobs(Bucket=NEW, Jobs=JOB_OF_SDK, Lst={})
        assert code_of(caught) == (400, "MediaBucketUnBinded")
        client.ci_open_asr_bucket(Bucket=NEW)
        assert names(client.ci_get_asr_bucket(BucketNames=NEW), "Asr") == [NEW]
        assert client.ci_get_asr_queue(Bucket=NEW)["QueueList"][0]["BucketId"] == NEW
        accepted = client.ci_create_media_jobs(Bucket=NEW, Jobs=JOB_OF_SDK, Lst={})["JobsDetail"]
        assert accepted[0]["Input"]["BucketId"] == NEW
        client.ci_create_template(Bucket=NEW, Template=TEMPLATE)
    finally:
        client.delete_bucket(Bucket=NEW)
    client.create_bucket(Bucket=NEW)  # which has nothing of the old one
    assert names(client.ci_get_asr_bucket(BucketNames=NEW), "Asr") == []
    assert client.ci_get_template(Bucket=NEW)["TotalCount"] == "0"
    client.delete_bucket(Bucket=NEW)


TEMPLATE = {
    "Tag": "VoiceSeparate",
    "Name": "voice",
    "AudioMode": "IsAudio",
    "AudioConfig": {"Codec": "mp3"},
}
JOB_OF_SDK = {
    "Tag": "VoiceSeparate",
    "Input": {"Object": "in/none.mp3"},
    "Operation": {
        "VoiceSeparate": {"AudioMode": "IsAudio"},
        "Output": {"Region": "ap-guangzhou", "Bucket": BUCKETS[0], "AuObject": "out/v.aac"},
    },
}


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("nodigits.cos.ap-guangzhou.myqcloud.com", "InvalidBucketName"),
        (f"{NEW}.cos.ap-beijing.myqcloud.com", "InvalidRegionName"),
    ],
)
def test_a_bucket_that_cannot_be_made(emulator, host, code):
    assert Client(emulator).error("PUT", "/", b"", host=host)[:2] == (400, code)
    assert emulator.buckets() == [*BUCKETS]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<Delete/>", "MalformedXML"),
        (b"<Delete><Object/></Delete>", "MalformedXML"),
        (b"<Other><Object><Key>a</Key></Object></Other>", "MalformedXML"),
        (b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1001 + b"</Delete>", "MalformedXML"),
        (b"<Delete", "MalformedXML"),
        (None, "InvalidRequest"),
    ],
)
def test_a_deletion_of_several_objects_that_is_malformed(emulator, body, code):
    raw, host = Client(emulator), f"{BUCKETS[0]}.cos.ap-guangzhou.myqcloud.com"
    digest = base64.b64encode(hashlib.md5(body or b"", usedforsecurity=False).digest()).decode()
    headers = {} if body is None else {"Content-MD5": digest}
    assert raw.error("POST", "/", body or b"", query="delete", host=host, headers=headers)[:2] == (400, code)
    assert raw.error("POST", "/", body or b"", host=host)[:2] == (501, "NotImplemented")


def test_buckets_survive_a_killed_emulator(tmp_path):
    with running("--data-dir", tmp_path / "data") as process:
        client = process_client(process)
        client.create_bucket(Bucket=NEW)
        client.put_object(Bucket=NEW, Key="a", Body=b"content")
        client.ci_open_asr_bucket(Bucket=NEW)
        client.create_bucket(Bucket=GONE)
        client.delete_bucket(Bucket=GONE)
        process.kill()
    with running("--data-dir", tmp_path / "data") as process:
        client = process_client(process)
        assert client.get_object(Bucket=NEW, Key="a")["Body"].get_raw_stream().read() == b"content"
        assert not client.bucket_exists(Bucket=GONE)
        process.kill()
    # Named on the command line, the first keeps its closed services, and the other is another bucket
    named = [argument for bucket in (BUCKETS[0], NEW, GONE) for argument in ("--bucket", bucket)]
    with running("--data-dir", tmp_path / "data", *named) as process:
        client = process_client(process)
        assert names(client.ci_get_asr_bucket(), "Asr") == [BUCKETS[0], GONE, NEW]
        assert names(client.ci_get_media_bucket()) == [BUCKETS[0], GONE]


def process_client(process):
    url = process.stdout.readline().split()[1]
    address = {"url": url, "port": urlsplit(url).port, "region": DEMO_REGION}
    keys = {"secret_id": DEMO_SECRET_ID, "secret_key": DEMO_SECRET_KEY}
    return python_client(SimpleNamespace(**address, **keys))
