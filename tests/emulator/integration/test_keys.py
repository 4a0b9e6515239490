"""On a COS host a path is an object's key, whatever CI calls it resembles, and a sub-resource is never taken
for the object or the bucket itself.
"""

from __future__ import annotations

import pytest
from lxml import etree

from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import JOB, Client
from tests.patience import wait_until
from tests.recording import SHORT

COS_HOST = "demo-1250000000.cos.ap-guangzhou.myqcloud.com"
CI_HOST = "demo-1250000000.ci.ap-guangzhou.myqcloud.com"

KEYS = [
    *("jobs", "jobs/", "jobs/x", "jobs/x,y", "jobs/a.mp3", f"jobs/j{'0' * 32}"),
    *("template", f"template/t{'0' * 32}", "queue", "inventorytriggerjob/b1"),
    *("videoinfo", "_emulator/faults"),
]


@pytest.fixture(scope="module")
def emulator():
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator):
    return Client(emulator)


@pytest.mark.parametrize("key", KEYS)
def test_an_object_is_an_object_whatever_its_key(client, key):
    path = f"/{key}"
    for _ in range(2):  # absent, and again after it was deleted
        assert client.error("GET", path, host=COS_HOST)[:2] == (404, "NoSuchKey")
        assert client("HEAD", path, host=COS_HOST)[0].status == 404
        response, _ = client("PUT", path, b"mine", host=COS_HOST)
        assert (response.status, response.getheader("Server")) == (200, "tencent-cos")
        assert client("GET", path, host=COS_HOST)[1] == b"mine"
        assert client("HEAD", path, host=COS_HOST)[0].getheader("Content-Length") == "4"
        listed = etree.fromstring(client("GET", "/", query=f"prefix={key}", host=COS_HOST)[1])
        assert key in [one.text for one in listed.iterfind("Contents/Key")]
        assert client("DELETE", path, host=COS_HOST)[0].status == 204


@pytest.mark.parametrize("key", ["jobs", f"jobs/j{'0' * 32}"])
def test_media_information_and_uploads_stay_with_cos(client, key):
    client("PUT", f"/{key}", SHORT.read_bytes(), host=COS_HOST)
    for host in (COS_HOST, None):
        response, body = client("GET", f"/{key}", query="ci-process=videoinfo", host=host)
        root = etree.fromstring(body)
        assert (response.status, root.find("MediaInfo") is not None) == (200, True)
        response, body = client("POST", f"/{key}", b"", query="uploads", host=host)
        assert etree.fromstring(body).findtext("Key") == key
    client("DELETE", f"/{key}", host=COS_HOST)


def test_the_key_of_a_job_that_exists(client, emulator):
    """``out/${jobid}`` may well be ``jobs/${jobid}``."""
    client("PUT", "/in/a.mp3", SHORT.read_bytes(), host=COS_HOST)
    job = JOB.replace("out/v.${ext}", "jobs/${jobid}")
    job_id = etree.fromstring(client("POST", "/jobs", job, host=CI_HOST)[1]).findtext("JobsDetail/JobId")

    def state():
        return etree.fromstring(client("GET", f"/jobs/{job_id}", host=CI_HOST)[1]).findtext(
            "JobsDetail/State"
        )

    wait_until(lambda: state() == "Success")
    response, body = client("GET", f"/jobs/{job_id}", host=COS_HOST)
    assert (response.status, response.getheader("Server")) == (200, "tencent-cos")
    assert not body.startswith(b"<?xml")
    assert client("DELETE", f"/jobs/{job_id}", host=COS_HOST)[0].status == 204
    assert state() == "Success"


SUB_RESOURCES = [
    *("acl", "aCl=", "tagging", "versionId=null", "imageMogr2/thumbnail/100x"),
    *("list-type=2", "inventory&id=1", "nobody-knows-this"),
]


@pytest.mark.parametrize("host", [COS_HOST, None])
@pytest.mark.parametrize("query", SUB_RESOURCES)
def test_a_sub_resource_is_never_taken_for_the_bucket_or_the_object(client, emulator, query, host):
    client("PUT", "/kept", b"kept", host=COS_HOST)
    before = emulator.ledger.count("list_objects")
    for method in ("GET", "PUT", "DELETE", "POST"):
        body = b"<Other/>" if method in ("PUT", "POST") else None
        for path in ("/", "/kept", "/absent", "/jobs"):
            if path == "/jobs" and host is None:
                continue  # without a bucket in the host this is a call of CI
            status, code, *_ = client.error(method, path, body, query=query, host=host)
            assert (status, code) == (501, "NotImplemented"), (method, path)
    for path in ("/", "/kept"):
        assert client("HEAD", path, query=query, host=host)[0].status == 501
    assert client("GET", "/kept", host=host)[1] == b"kept"
    assert client.error("GET", "/absent", host=host)[1] == "NoSuchKey"
    assert emulator.ledger.count("list_objects") == before


def test_location_and_versioning_have_other_documents(client):
    location = etree.fromstring(client("GET", "/", query="location", host=COS_HOST)[1])
    assert (location.tag, location.text) == ("LocationConstraint", "ap-guangzhou")
    versioning = etree.fromstring(client("GET", "/", query="versioning", host=COS_HOST)[1])
    assert (versioning.tag, len(versioning)) == ("VersioningConfiguration", 0)


def test_parameters_of_signatures_and_lists_are_still_taken(client):
    query = "prefix=&delimiter=%2F&marker=&max-keys=5&encoding-type=url&x-cos-security-token=t"
    assert client("GET", "/", query=query, host=COS_HOST)[0].status == 200
    assert client("GET", "/", query="uploads&prefix=&max-uploads=5", host=COS_HOST)[0].status == 200
