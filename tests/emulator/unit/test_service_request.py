from __future__ import annotations

import pytest

from tencent_ci_emulator.http.service_request import Service, ServiceRequest

CI, COS = "demo-1250000000.ci.ap-guangzhou.myqcloud.com", "demo-1250000000.cos.ap-guangzhou.myqcloud.com"


@pytest.mark.parametrize(
    ("method", "target", "host", "service"),
    [
        ("POST", "/jobs", "127.0.0.1:80", Service.CI),
        ("GET", "/jobs?tag=x", COS, Service.CI),
        ("GET", "/jobs/j1", "localhost", Service.CI),
        ("PUT", "/ai_queue/p1", "localhost", Service.CI),
        ("GET", "/asr_jobs/s1", "localhost", Service.CI),
        ("GET", "/jobs", COS, Service.COS),
        ("HEAD", "/jobs", COS, Service.COS),
        ("POST", "/jobs", COS, Service.CI),
        ("POST", "/jobs?uploads", COS, Service.COS),
        ("POST", "/jobs?uploadId=1", "localhost", Service.COS),
        ("GET", "/jobs?ci-process=videoinfo", COS, Service.COS),
        ("GET", "/jobs/a.mp3?ci-process=videoinfo", "localhost", Service.COS),
        ("GET", "/jobs/a.mp3?ci-process=videoinfo", CI, Service.CI),
        ("GET", "/jobs/j1?q-signature=x", "localhost", Service.COS),
        ("GET", "/jobs/j1%2Cj2", COS, Service.COS),
        ("GET", f"/jobs/j{'0' * 32}", COS, Service.COS),
        ("PUT", "/jobs/j1?cancel", COS, Service.CI),
        ("PUT", "/jobs/j1", COS, Service.COS),
        ("GET", "/in/a.mp3", CI, Service.CI),
        ("GET", "/in/a.mp3", "127.0.0.1", Service.COS),
        ("GET", "http://127.0.0.1:1/jobs/j1", CI, Service.CI),
        ("POST", "/template", COS, Service.CI),
        ("DELETE", "/template/t1", "127.0.0.1", Service.CI),
        ("GET", "/template/t1", "127.0.0.1", Service.COS),
        ("PUT", "/template/t1.mp3", "127.0.0.1", Service.COS),
        ("PUT", "/template/t1", COS, Service.COS),
        ("PUT", f"/template/t{'0' * 32}", COS, Service.COS),
        ("PUT", f"/queue/p{'0' * 32}", COS, Service.COS),
        ("GET", "/queue", COS, Service.COS),
        ("GET", "/queue?state=All", COS, Service.CI),
        ("DELETE", "/asrbucket", COS, Service.COS),
        ("DELETE", "/asrbucket", "localhost", Service.CI),
        ("GET", "/mediabucket", "ci.ap-guangzhou.myqcloud.com", Service.CI),
        ("POST", "/inventorytriggerjob", COS, Service.CI),
        ("PUT", f"/inventorytriggerjob/b{'0' * 32}?cancel", COS, Service.CI),
        ("GET", "/?prefix=a", COS, Service.COS),
    ],
)
def test_the_service_by_host_and_path(method, target, host, service):
    assert ServiceRequest.read(method, target, [("Host", host)]).service is service


@pytest.mark.parametrize(
    ("host", "bucket", "region"),
    [
        (CI, "demo-1250000000", "ap-guangzhou"),
        (f"{COS}:8080", "demo-1250000000", "ap-guangzhou"),
        ("ci.ap-guangzhou.myqcloud.com", None, "ap-guangzhou"),
        ("demo-1250000000.ci.ap-guangzhou.tencentci.cn", "demo-1250000000", "ap-guangzhou"),
        ("127.0.0.1:1", None, None),
        ("demo-1250000000.ci.ap-guangzhou.myqcloud.com.evil.example", None, None),
    ],
)
def test_the_bucket_and_region_by_host(host, bucket, region):
    request = ServiceRequest.read("GET", "/", [("host", host)])
    assert (request.bucket, request.region) == (bucket, region)


@pytest.mark.parametrize(
    ("method", "target", "may_be"),
    [
        ("GET", f"/jobs/j{'0' * 32}", True),
        ("GET", f"/jobs/j{'0' * 32},j{'1' * 32}", True),
        ("HEAD", f"/jobs/j{'0' * 32}", False),
        ("PUT", f"/jobs/j{'0' * 32}", False),
        ("GET", f"/jobs/j{'0' * 32}.mp3", False),
        ("GET", f"/jobs/j{'0' * 32}?ci-process=videoinfo", False),
        ("GET", "/jobs/x", False),
        ("PUT", f"/template/t{'0' * 32}", True),
        ("GET", f"/template/t{'0' * 32}", False),
        ("DELETE", f"/template/t{'0' * 32}", True),
        ("PUT", f"/inventorytriggerjob/b{'0' * 32}", False),
    ],
)
def test_paths_on_a_cos_host_that_may_name_ids(method, target, may_be):
    assert ServiceRequest.read(method, target, [("Host", COS)]).may_be_ci_call is may_be
    assert not ServiceRequest.read(method, target, [("Host", CI)]).may_be_ci_call


def test_path_and_query_are_decoded_once():
    request = ServiceRequest.read("GET", "/a%2Fb+c%252F%E5%A3%B0%FF?x=a+b%2Bc&empty=&flag&x=2", [])
    assert request.path == "/a/b+c%2F声\udcff"
    assert request.params == (("x", "a b+c"), ("empty", ""), ("flag", ""), ("x", "2"))
    assert request.has_param("flag")
    assert "empty" not in request.nonempty_params


def test_a_request_line_that_is_a_url():
    request = ServiceRequest.read(
        "GET", "http://demo-1250000000.ci.ap-guangzhou.myqcloud.com/jobs/a,b?x=1", [("Host", CI)]
    )
    assert (request.path, request.params, request.bucket) == ("/jobs/a,b", (("x", "1"),), "demo-1250000000")
    assert ServiceRequest.read("GET", "http://host", []).path == "/"
