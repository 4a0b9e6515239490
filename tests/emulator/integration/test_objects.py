"""COS calls besides the plain object calls: lists, uploads in parts, media information."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from urllib.parse import quote

import av
import numpy
import pytest
from lxml import etree
from qcloud_cos import CosServiceError

from tencent_ci_emulator.server import Emulator
from tests.emulator.audio_tools import MIX
from tests.emulator.integration.test_http import Client
from tests.emulator.sdk_clients import WAYS, one_way, python_client

BUCKET = "demo-1250000000"
MEGABYTE = 1024**2


@pytest.fixture(scope="module")
def emulator():
    with Emulator(bucket=BUCKET) as running:
        yield running


@pytest.fixture(params=WAYS)
def client(request, emulator):
    return python_client(emulator, request.param)


@pytest.fixture
def raw(emulator):
    return Client(emulator)


def test_lists(client, request):
    folder = f"list/{request.node.callspec.params['client']}"
    for name in ("声 +1.mp3", "b/1", "b/2", "c"):
        client.put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=b"12345")
    seen, marker = [], ""
    while True:
        page = client.list_objects(
            Bucket=BUCKET, Prefix=folder + "/", Delimiter="/", Marker=marker, MaxKeys=2
        )
        seen += [one["Key"] for one in page.get("Contents", [])]
        seen += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
        if page["IsTruncated"] == "false":
            break
        marker = page["NextMarker"]
    assert seen == [f"{folder}/{name}" for name in ("c", "b/", "声 +1.mp3")]
    whole = client.list_objects(Bucket=BUCKET, Prefix=folder + "/")
    assert [one["Size"] for one in whole["Contents"]] == ["5"] * 4
    assert (whole["Name"], whole["MaxKeys"], whole["Prefix"]) == (BUCKET, "1000", folder + "/")
    assert client.bucket_exists(Bucket=BUCKET)


def test_a_large_file_is_uploaded_in_parts(client, tmp_path, request):
    content = numpy.random.default_rng(1).bytes(2 * MEGABYTE + 12345)
    (tmp_path / "large").write_bytes(content)
    key = f"large/声 {request.node.callspec.params['client']}"
    done = client.upload_file(
        Bucket=BUCKET, Key=key, LocalFilePath=str(tmp_path / "large"), EnableMD5=True,
        ContentType="audio/wav",
        Metadata={"x-cos-meta-who": "me"},
    )  # fmt: skip
    sums = [content[at : at + MEGABYTE] for at in range(0, len(content), MEGABYTE)]
    joined = b"".join(hashlib.md5(one).digest() for one in sums)
    assert done["ETag"] == f'"{hashlib.md5(joined).hexdigest()}-3"'
    head = client.head_object(Bucket=BUCKET, Key=key)
    assert (head["Content-Type"], head["x-cos-meta-who"], head["ETag"]) == ("audio/wav", "me", done["ETag"])
    client.download_file(Bucket=BUCKET, Key=key, DestFilePath=str(tmp_path / "back"), PartSize=1)
    assert (tmp_path / "back").read_bytes() == content


@one_way
def test_an_incomplete_upload_is_resumed(client, tmp_path, request):
    content = numpy.random.default_rng(2).bytes(2 * MEGABYTE)
    (tmp_path / "half").write_bytes(content)
    key = f"half/{request.node.callspec.params['client']}"
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    client.upload_part(Bucket=BUCKET, Key=key, Body=content[:MEGABYTE], PartNumber=1, UploadId=upload_id)
    [part] = client.list_parts(Bucket=BUCKET, Key=key, UploadId=upload_id)["Part"]
    assert (part["PartNumber"], part["Size"]) == ("1", str(MEGABYTE))
    [upload] = client.list_multipart_uploads(Bucket=BUCKET, Prefix=key)["Upload"]
    assert (upload["Key"], upload["UploadId"]) == (key, upload_id)
    with pytest.raises(CosServiceError):
        client.head_object(Bucket=BUCKET, Key=key)  # not there before it is whole
    client.upload_file(Bucket=BUCKET, Key=key, LocalFilePath=str(tmp_path / "half"))
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].get_raw_stream().read() == content
    assert "Upload" not in client.list_multipart_uploads(Bucket=BUCKET, Prefix=key)


@one_way
def test_an_upload_is_refused_if_aborted_or_its_parts_are_wrong(client, emulator, request):
    key = f"bad/{request.node.callspec.params['client']}"
    upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    tags = [
        client.upload_part(Bucket=BUCKET, Key=key, Body=b"x" * 10, PartNumber=n, UploadId=upload_id)["ETag"]
        for n in (1, 2)
    ]

    def complete(*parts):
        listed = {"Part": [{"PartNumber": number, "ETag": tag} for number, tag in parts]}
        with pytest.raises(CosServiceError) as caught:
            client.complete_multipart_upload(
                Bucket=BUCKET, Key=key, UploadId=upload_id, MultipartUpload=listed
            )
        return caught.value.get_status_code(), caught.value.get_error_code()

    assert complete((2, tags[1]), (1, tags[0])) == (400, "InvalidPartOrder")
    assert complete((1, tags[0]), (3, tags[1])) == (400, "InvalidPart")
    assert complete((1, '"0"')) == (400, "InvalidPart")
    assert complete((1, tags[0]), (2, tags[1])) == (400, "EntityTooSmall")
    client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)
    assert complete((1, tags[0])) == (404, "NoSuchUpload")
    with pytest.raises(CosServiceError) as caught:
        client.upload_part(Bucket=BUCKET, Key=key, Body=b"x", PartNumber=1, UploadId=upload_id)
    assert caught.value.get_error_code() == "NoSuchUpload"
    assert not client.object_exists(Bucket=BUCKET, Key=key)


def test_parts_are_listed_by_pages_and_wrong_parts_refused(raw):
    def upload_id():
        return etree.fromstring(raw("POST", "/pages", b"", query="uploads")[1]).findtext("UploadId")

    one = upload_id()
    for number in (1, 2, 3):
        assert raw("PUT", "/pages", b"x", query=f"partNumber={number}&uploadId={one}")[0].status == 200
    root = etree.fromstring(raw("GET", "/pages", query=f"uploadId={one}&max-parts=2")[1])
    assert (root.findtext("IsTruncated"), root.findtext("NextPartNumberMarker")) == ("true", "2")
    root = etree.fromstring(raw("GET", "/pages", query=f"uploadId={one}&part-number-marker=2")[1])
    assert [part.findtext("PartNumber") for part in root.iterfind("Part")] == ["3"]
    for number in ("0", "10001", "x", ""):
        query = f"partNumber={number}&uploadId={one}"
        assert raw.error("PUT", "/pages", b"x", query=query)[:2] == (400, "InvalidArgument")
    assert raw.error("PUT", "/pages", b"x", query="partNumber=1")[:2] == (400, "InvalidArgument")
    bad = {"Content-MD5": "AAAA"}
    assert (
        raw.error("PUT", "/pages", b"x", query=f"partNumber=4&uploadId={one}", headers=bad)[1] == "BadDigest"
    )
    assert raw.error("POST", "/pages", b"<x", query=f"uploadId={one}")[:2] == (400, "MalformedXML")
    assert raw.error("POST", "/other", b"<x/>", query=f"uploadId={one}")[:2] == (404, "NoSuchUpload")


# of b"123456789", by crcmod, which Tencent's SDKs use (436/40334)
CRC64 = ("x-cos-hash-crc64ecma", "11051210869376104954")


def test_every_response_about_an_object_has_its_crc64(raw):
    content = b"123456789"
    assert CRC64 in raw("PUT", "/crc", content)[0].getheaders()
    for method in ("GET", "HEAD"):
        assert CRC64 in raw(method, "/crc")[0].getheaders()
    assert CRC64 in raw("GET", "/crc", headers={"Range": "bytes=2-4"})[0].getheaders()
    upload = etree.fromstring(raw("POST", "/crc-parts", b"", query="uploads")[1]).findtext("UploadId")
    response, _ = raw("PUT", "/crc-parts", content, query=f"partNumber=1&uploadId={upload}")
    assert CRC64 in response.getheaders()
    parts = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{response.getheader('ETag')}</ETag></Part></CompleteMultipartUpload>"
    )
    assert CRC64 in raw("POST", "/crc-parts", parts, query=f"uploadId={upload}")[0].getheaders()
    assert CRC64 in raw("HEAD", "/crc-parts")[0].getheaders()
    raw("PUT", "/crc-empty", b"")
    assert raw("HEAD", "/crc-empty")[0].getheader("x-cos-hash-crc64ecma") == "0"


def test_objects_of_an_earlier_version_get_their_crc64(tmp_path):
    with Emulator(tmp_path) as emulator:
        Client(emulator)("PUT", "/crc", b"123456789")
    with closing(sqlite3.connect(tmp_path / "emulator.sqlite3")) as database:
        database.execute("ALTER TABLE objects DROP COLUMN crc64")
    for _ in range(2):
        with Emulator(tmp_path) as emulator:
            assert CRC64 in Client(emulator)("HEAD", "/crc")[0].getheaders()


@pytest.mark.parametrize(
    ("parameter", "header", "value"),
    [
        ("response-content-type", "Content-Type", "audio/mpeg"),
        ("response-content-disposition", "Content-Disposition", 'attachment; filename="a b.mp3"'),
        ("response-expires", "Expires", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ],
)
def test_a_get_sets_headers_of_its_response(raw, parameter, header, value):
    raw("PUT", "/answered", b"content", headers={header: "stored"})
    response, body = raw("GET", "/answered", query=f"{parameter}={quote(value)}")
    assert (response.status, response.getheader(header), body) == (200, value, b"content")
    assert raw("GET", "/answered")[0].getheader(header) == "stored"
    for other in (f"{parameter}=", f"{parameter}"):
        assert raw("GET", "/answered", query=other)[0].getheader(header) == "stored"
    error = raw.error("GET", "/answered", query=f"{parameter}=a%0D%0AX-Evil:%201")
    assert error[:2] == (400, "InvalidArgument")
    assert parameter in error[2]


def test_responses_about_a_bucket_name_its_region(raw):
    for method, query in (("HEAD", ""), ("GET", ""), ("GET", "uploads"), ("GET", "location")):
        assert raw(method, "/", query=query)[0].getheader("x-cos-bucket-region") == "ap-guangzhou"


def test_parts_survive_a_restart_and_end_with_their_upload(tmp_path):
    with Emulator(tmp_path) as emulator:
        client = python_client(emulator)
        upload_id = client.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
        tag = client.upload_part(Bucket=BUCKET, Key="k", Body=b"part", PartNumber=1, UploadId=upload_id)[
            "ETag"
        ]
        (tmp_path / "parts" / ("0" * 32)).write_bytes(b"of a killed emulator")
    with Emulator(tmp_path) as emulator:
        client = python_client(emulator)
        parts = {"Part": [{"PartNumber": 1, "ETag": tag}]}
        client.complete_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload_id, MultipartUpload=parts)
        assert client.get_object(Bucket=BUCKET, Key="k")["Body"].get_raw_stream().read() == b"part"
        assert not list((tmp_path / "parts").iterdir())


def video(path, sound=True):
    """A second of 25 pictures, 64 by 36 pixels, and of silence."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 36, "yuv420p"
        silence = container.add_stream("aac", rate=44100) if sound else None
        for _ in range(25):
            frame = av.VideoFrame.from_ndarray(numpy.zeros((36, 64, 3), "uint8"), format="rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        if silence is not None:
            frame = av.AudioFrame.from_ndarray(numpy.zeros((1, 44100), "float32"), "fltp", "mono")
            frame.sample_rate = 44100
            container.mux([*silence.encode(frame), *silence.encode()])
    return path


def test_media_information(client, tmp_path):
    client.put_object(Bucket=BUCKET, Key="media/mix.mp3", Body=MIX.read_bytes())
    [info] = client.get_media_info(Bucket=BUCKET, Key="media/mix.mp3")["MediaInfo"]
    assert float(info["Format"]["Duration"]) == pytest.approx(13.0, abs=0.1)
    assert (info["Format"]["Size"], info["Format"]["NumStream"]) == (str(MIX.stat().st_size), "1")
    audio = info["Stream"]["Audio"]
    assert (audio["CodecName"], audio["SampleRate"], audio["Channel"]) == ("mp3", "44100", "2")
    for sound in (True, False):
        client.put_object(
            Bucket=BUCKET, Key="media/v.mp4", Body=video(tmp_path / "v.mp4", sound).read_bytes()
        )
        [info] = client.get_media_info(Bucket=BUCKET, Key="media/v.mp4")["MediaInfo"]
        shown = info["Stream"]["Video"]
        assert (shown["Width"], shown["Height"], shown["AvgFps"], shown["NumFrames"], shown["PixFormat"]) == (
            "64", "36", "25/1", "25", "yuv420p",
        )  # fmt: skip
        assert float(shown["Duration"]) == pytest.approx(1.0, abs=0.1)
        assert ("Audio" in info["Stream"]) is sound
        assert float(info["Format"]["Duration"]) == pytest.approx(1.0, abs=0.1)


@one_way
def test_media_information_of_what_is_no_media(client):
    client.put_object(Bucket=BUCKET, Key="media/letter", Body=b"dear reader")
    with pytest.raises(CosServiceError) as caught:
        client.get_media_info(Bucket=BUCKET, Key="media/letter")
    assert code_of_cos(caught) == (400, "ResourceNotSupported")
    with pytest.raises(CosServiceError) as caught:
        client.get_media_info(Bucket=BUCKET, Key="media/none")
    assert code_of_cos(caught) == (404, "NoSuchKey")


def code_of_cos(caught):
    return caught.value.get_status_code(), caught.value.get_error_code()
