from __future__ import annotations

import gzip
import json

import pytest

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.xml import build
from tencent_ci_emulator.jobs.batch_inputs import find_input_keys, key_of
from tencent_ci_emulator.jobs.job_store import JobFailedError
from tencent_ci_emulator.objects.object_store import ObjectStore

BUCKET = "demo-1250000000"
SCHEMA = "Appid, Bucket, Key, Size, LastModifiedDate"


@pytest.fixture
def objects(tmp_path):
    database = Database(tmp_path / "db")
    yield ObjectStore(database, tmp_path / "data")
    database.close()


def put(objects, key, content=b"x", modified=1000.5):
    path = objects.make_incoming_path()
    path.write_bytes(content)
    objects.put(BUCKET, key, path, md5="0", modified=modified)


def keys(objects, created=2000.0, start=None, end=None, **given):
    interval = {"Start": start, "End": end} if start or end else None
    named = {{"url_file": "UrlFile"}.get(kind, kind.capitalize()): value for kind, value in given.items()}
    request = build("Request", {"Input": named, "Operation": {"TimeInterval": interval}})
    return list(find_input_keys(request, BUCKET, created, objects))


def inventory(objects, rows, name="m/data.csv", **changes):
    text = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows).encode()
    put(objects, name, gzip.compress(text) if name.endswith("gz") else text)
    manifest = {"fileFormat": "CSV", "fileSchema": SCHEMA, "files": [{"key": name}], **changes}
    put(objects, "m/manifest.json", json.dumps(manifest).encode())


def test_inputs_under_a_prefix_are_the_files_that_are_older(objects):
    for key in ("in/a.mp3", "in/sub/b.mp3", "in/folder/", "inx", "other", "/in/odd"):
        put(objects, key)
    put(objects, "in/result.mp3", modified=2000.1)
    assert keys(objects, prefix="in/") == ["in/a.mp3", "in/sub/b.mp3"]
    assert keys(objects, prefix="in/", created=3000) == ["in/a.mp3", "in/result.mp3", "in/sub/b.mp3"]


def test_the_time_interval_has_whole_seconds_and_both_ends(objects):
    put(objects, "a", modified=1000.9)
    put(objects, "b", modified=1010.0)
    at = "1970-01-01T08:16:40+0800"  # second 1000
    assert keys(objects, prefix="", start=at, end=at) == ["a"]
    assert keys(objects, prefix="", start="1970-01-01T08:16:41+0800") == ["b"]
    assert keys(objects, prefix="", start="0") == ["a", "b"]
    assert keys(objects, object="a", end="1970-01-01T08:16:39+0800") == []
    with pytest.raises(ServiceError, match=r"Operation\.TimeInterval\.End is 'soon'"):
        keys(objects, prefix="", end="soon")


def test_one_object_is_an_input_even_if_it_does_not_exist(objects):
    assert keys(objects, object="none.mp3") == ["none.mp3"]


@pytest.mark.parametrize("name", ["m/data.csv", "m/data.csv.gz"])
def test_inputs_of_an_inventory(objects, name):
    rows = [
        ("1250000000", "demo", "in/a%20b%2B.mp3", "1", "x"),
        ("1250000000", "demo-1250000000", "in/c.mp3", "1", "x"),
        ("1250000000", "foreign", "in/d.mp3", "1", "x"),
        ("1250000000", "demo", "in/folder/", "0", "x"),
        ("short",),
    ]
    inventory(objects, rows, name)
    assert keys(objects, manifest="m/manifest.json") == ["in/a b+.mp3", "in/c.mp3"]
    url = f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/m/manifest.json"
    assert keys(objects, manifest=url) == ["in/a b+.mp3", "in/c.mp3"]


def test_inputs_of_a_list_of_urls(objects):
    lines = [
        f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/in/%E5%A3%B0.mp3",
        "",
        "  http://127.0.0.1:8180/in/b.mp3?x=1  ",
        "https://foreign-1250000000.cos.ap-guangzhou.myqcloud.com/in/c.mp3",
        "in/plain.mp3",
    ]
    put(objects, "urls.txt", "\r\n".join(lines).encode())
    assert keys(objects, url_file="urls.txt") == ["in/声.mp3", "in/b.mp3", "in/plain.mp3"]
    assert key_of("https://demo-1250000000.cos.ap-guangzhou.myqcloud.com/", BUCKET) == ""


@pytest.mark.parametrize(
    ("content", "changes", "code", "said"),
    [
        (None, {}, "ResourceNotFound", "Input.Manifest m/none.json does not exist"),
        (b"{", {}, "ResourceNotSupported", "is not JSON"),
        (b"[]", {}, "ResourceNotSupported", "not an inventory"),
        (b"", {"fileSchema": "Size"}, "ResourceNotSupported", "not an inventory"),
        (b"", {"files": [{"key": "m/gone.csv"}]}, "ResourceNotFound", "m/gone.csv"),
    ],
)
def test_a_list_that_cannot_be_read_says_why(objects, content, changes, code, said):
    named = "m/manifest.json"
    if changes:
        inventory(objects, [], **changes)
    elif content is not None:
        put(objects, named, content)
    else:
        named = "m/none.json"
    with pytest.raises(JobFailedError, match=said) as caught:
        keys(objects, manifest=named)
    assert caught.value.code == code


def test_a_damaged_compressed_list_cannot_be_read(objects):
    inventory(objects, [], "m/data.csv.gz")
    put(objects, "m/data.csv.gz", b"\x1f\x8b" + b"no gzip")
    with pytest.raises(JobFailedError, match=r"data\.csv\.gz cannot be read"):
        keys(objects, manifest="m/manifest.json")
