from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tencent_ci_emulator import ledger as ledger_module
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.operations import OPERATIONS
from tencent_ci_emulator.http.service_request import ServiceRequest
from tencent_ci_emulator.jobs.job_store import JobStore
from tencent_ci_emulator.ledger import Ledger
from tests.emulator.unit.test_job_store import add

HOSTS = {
    "ci": "demo-1250000000.ci.ap-guangzhou.myqcloud.com",
    "cos": "demo-1250000000.cos.ap-guangzhou.myqcloud.com",
}


def request(method: str, target: str, service: str = "ci", **headers: str) -> ServiceRequest:
    return ServiceRequest.read(method, target, [("Host", HOSTS[service]), *headers.items()])


@pytest.mark.parametrize(
    ("method", "target", "service", "name"),
    [
        ("POST", "/jobs", "ci", "submit"),
        ("GET", "/jobs?tag=VoiceSeparate", "ci", "list"),
        ("GET", "/jobs/j1%2Cj2", "ci", "describe"),
        ("PUT", "/jobs/j1?cancel", "ci", "cancel"),
        ("GET", "/jobs/j1", "cos", "get_object"),
        ("GET", "/?acl", "cos", "other"),
        ("GET", "/?location", "cos", "other"),
        ("POST", "/template", "ci", "create_template"),
        ("GET", "/inventorytriggerjob/b1", "ci", "describe_batch"),
        ("PUT", "/a/b", "cos", "put_object"),
        ("GET", "/a?ci-process=videoinfo", "cos", "media_info"),
        ("GET", "/?prefix=in/", "cos", "list_objects"),
        ("HEAD", "/", "cos", "head_bucket"),
        ("POST", "/a?uploads", "cos", "multipart"),
        ("PATCH", "/a", "cos", "other"),
        ("GET", "/nothing", "ci", "other"),
    ],
)
def test_calls_have_names(method, target, service, name):
    assert request(method, target, service).operation == name
    assert name in OPERATIONS


def test_requests_are_kept_in_order_and_can_be_filtered():
    ledger = Ledger()
    first = ledger.add_request(request("POST", "/jobs"), "r1", 5.0)
    ledger.update_request(ledger.add_request(request("GET", "/jobs/j1,j2"), "r2", 6.0), status=200)
    ledger.update_request(first, status=503, code="ServiceUnavailable", faults=("rule-1",))
    assert [one.request_id for one in ledger.requests()] == ["r1", "r2"]
    assert [one.operation for one in ledger.requests(status=200)] == ["describe"]
    assert [one.request_id for one in ledger.requests(id="j2")] == ["r2"]
    submission = ledger.requests("submit")[0]
    assert (submission.time, submission.status, submission.code) == (5.0, 503, "ServiceUnavailable")
    assert submission.faults == ("rule-1",)
    assert (ledger.count(), ledger.count("submit"), ledger.count("cancel")) == (2, 1, 0)
    json.dumps([asdict(one) for one in ledger.requests()])


def test_no_secret_is_kept():
    ledger = Ledger()
    target = "/a?q-signature=SECRET&sign=SECRET&x-cos-security-token=SECRET&prefix=in&Tag=x&q-ak=SECRET"
    ledger.add_request(request("GET", target, "cos", Authorization="SECRET", Cookie="SECRET"), "r", 0.0)
    record = ledger.requests()[0]
    assert "SECRET" not in repr(record)
    assert record.params == {"prefix": "in", "Tag": "x"}


def test_undecodable_bytes_are_replaced_and_long_paths_are_cut():
    ledger = Ledger()
    ledger.add_request(request("PUT", "/%ff" + "x" * 5000, "cos"), "r", 0.0)
    path = ledger.requests()[0].path
    assert path.startswith("/?x")
    assert len(path) == 1024
    json.dumps(path).encode("utf-8")


def test_memory_is_bounded_but_counting_is_not(monkeypatch):
    monkeypatch.setattr(ledger_module, "_REQUESTS_KEPT", 3)
    ledger = Ledger()
    entries = [ledger.add_request(request("POST", "/jobs"), str(n), 0.0) for n in range(5)]
    ledger.update_request(entries[0], status=200)  # answered when it is kept no more
    assert [one.request_id for one in ledger.requests()] == ["2", "3", "4"]
    assert ledger.count("submit") == 5
    ledger.clear()
    ledger.update_request(entries[4], status=200)
    assert (ledger.requests(), ledger.count()) == ([], 0)


def test_accepted_jobs_are_those_of_the_database(tmp_path):
    ledger = Ledger()
    with pytest.raises(RuntimeError, match="not running"):
        ledger.accepted_jobs()
    database = Database(tmp_path / "db")
    try:
        store = JobStore(database)
        first, second = add(store), add(store, key="in/b.mp3")
        ledger.attach(database)
        store.start(second.id, 1001)
        assert [one.job_id for one in ledger.accepted_jobs()] == [first.id, second.id]
        assert [one.job_id for one in ledger.accepted_jobs(after=first.number, limit=1)] == [second.id]
        assert [one.state for one in ledger.accepted_jobs(key="in/b.mp3")] == ["Running"]
        assert ledger.accepted_jobs()[0].user_data == "mine"
        assert len(ledger.accepted_jobs(user_data="mine")) == 2
        assert ledger.accepted_jobs(user_data="other") == []
    finally:
        database.close()
