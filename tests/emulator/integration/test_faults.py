"""The fault plan on the wire: each effect as a client meets it, and what the ledger says of it."""

from __future__ import annotations

import http.client
import json
import re
import time
from email.utils import parsedate_to_datetime

import pytest
from lxml import etree

from airflow_provider_ci.protocol.signing import sign
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_http import JOB, Client
from tests.patience import PATIENCE, wait_until
from tests.recording import SHORT

NO_ANSWER = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@pytest.fixture(scope="module")
def running():
    with Emulator(max_request_bytes=20_000) as emulator:
        yield emulator


@pytest.fixture
def emulator(running):
    running.faults.clear()
    running.ledger.clear()
    return running


@pytest.fixture
def client(emulator):
    return Client(emulator)


def submitted(client, job=JOB):
    return etree.fromstring(client("POST", "/jobs", job)[1]).findtext("JobsDetail/JobId")


def document(client, *args, **kwargs):
    response, body = client(*args, **kwargs)
    assert response.status == 200, body
    return etree.fromstring(body)


def accepted(emulator):
    return {job.job_id for job in emulator.ledger.accepted_jobs()}


def test_dropped_after_acting_the_job_is_there_and_counted(emulator, client):
    before = accepted(emulator)
    rule = emulator.faults.add("submit", nth=1, drop=True, when="after")
    with pytest.raises(NO_ANSWER):
        client("POST", "/jobs", JOB)
    second = submitted(client)
    lost = accepted(emulator) - before - {second}
    assert len(lost) == 1
    first, again = emulator.ledger.requests("submit")
    assert (first.dropped, first.status, first.faults, set(first.ids)) == (True, None, (rule,), lost)
    assert (again.dropped, again.status, again.faults, again.ids) == (False, 200, (), (second,))


def test_dropped_before_acting_there_is_no_job(emulator, client):
    before = accepted(emulator)
    emulator.faults.add("submit", first=2, drop=True)
    for _ in range(2):
        with pytest.raises(NO_ANSWER):
            client("POST", "/jobs", JOB)
    assert accepted(emulator) == before
    assert [one.dropped for one in emulator.ledger.requests("submit")] == [True, True]


@pytest.mark.parametrize(("when", "jobs"), [("before", 0), ("after", 1)])
def test_an_error_replaces_the_response(emulator, client, when, jobs):
    before = accepted(emulator)
    emulator.faults.add("submit", status=500, when=when)
    status, code, message, root, response = client.error("POST", "/jobs", JOB)
    assert (status, code, message) == (500, "InternalError", "as the fault plan demands")
    assert root.findtext("RequestId") == response.getheader("x-ci-request-id")
    assert len(accepted(emulator) - before) == jobs
    assert emulator.ledger.requests("submit")[0].code == "InternalError"


def test_throttling_is_simulated_with_and_without_retry_after(emulator, client):
    emulator.faults.add("list", nth=1, status=429, retry_after=3)
    emulator.faults.add("list", nth=2, status=429)
    emulator.faults.add("put_object", status=503, code="SlowDown", message="less, please")
    status, code, _, _, response = client.error("GET", "/jobs", query="tag=VoiceSeparate")
    assert (status, code, response.getheader("Retry-After")) == (429, "SlowDown", "3")
    status, code, _, _, response = client.error("GET", "/jobs", query="tag=VoiceSeparate")
    assert (status, code, response.getheader("Retry-After")) == (429, "SlowDown", None)
    status, code, message, root, _ = client.error("PUT", "/in/b.mp3", b"abc")
    assert (status, code, message) == (503, "SlowDown", "less, please")
    assert root.find("Resource") is not None  # an error of COS


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_response_is_delayed(emulator, client, when):
    emulator.faults.add("describe", nth=1, delay=0.3, when=when)
    begun = time.monotonic()
    document(client, "GET", "/jobs/j1")
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize("size", [0, 40])
def test_a_truncated_response_ends_the_connection(emulator, client, size):
    emulator.faults.add("describe", truncate=size)
    with pytest.raises(http.client.IncompleteRead) as broken:
        client("GET", "/jobs/j1")
    assert len(broken.value.partial) == size
    assert emulator.ledger.requests("describe")[0].dropped


def test_bodies_and_content_types_are_replaced(emulator, client):
    emulator.faults.add("describe", nth=1, garbage=300, content_type="text/html")
    emulator.faults.add("describe", nth=2, body="<html>gateway</html>", status=502, code="X")
    emulator.faults.add("describe", nth=3, body="")
    emulator.faults.add(
        "describe", nth=4, status=200, code="AccessDenied", message="an error in a good answer"
    )
    response, body = client("GET", "/jobs/j1")
    assert (response.status, len(body), response.getheader("Content-Type")) == (200, 300, "text/html")
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(body)
    response, body = client("GET", "/jobs/j1")
    assert (response.status, body) == (502, b"<html>gateway</html>")
    response, body = client("GET", "/jobs/j1")
    assert (response.status, body) == (200, b"")
    response, body = client("GET", "/jobs/j1")
    assert (response.status, etree.fromstring(body).tag) == (200, "Error")


def test_headers_are_added(emulator, client):
    emulator.faults.add("list", status=307, headers={"Location": "http://127.0.0.1:9/elsewhere"})
    response, body = client("GET", "/jobs", query="tag=VoiceSeparate")
    assert (response.status, response.getheader("Location")) == (307, "http://127.0.0.1:9/elsewhere")
    assert etree.fromstring(body).findtext("Code") == "TemporaryRedirect"


def test_faults_change_responses_with_objects_too(emulator, client):
    content = bytes(range(256)) * 4000  # more than one block
    assert client("PUT", "/in/spoiled.bin", content)[0].status == 200
    emulator.faults.add("get_object", nth=1, truncate=700_000)
    emulator.faults.add("get_object", nth=2, content_type="text/html")
    emulator.faults.add("get_object", nth=3, drop=True, when="after")
    emulator.faults.add("get_object", nth=4, garbage=10)
    emulator.faults.add("head_object", nth=1, headers={"ETag": '"other"'})
    with pytest.raises(http.client.IncompleteRead) as broken:
        client("GET", "/in/spoiled.bin")
    assert broken.value.partial == content[:700_000]
    response, body = client("GET", "/in/spoiled.bin", headers=[("Range", "bytes=10-19")])
    assert (response.status, response.getheader("Content-Type"), body) == (206, "text/html", content[10:20])
    with pytest.raises(NO_ANSWER):
        client("GET", "/in/spoiled.bin")
    response, body = client("GET", "/in/spoiled.bin")
    assert (response.status, len(body)) == (200, 10)
    response, body = client("HEAD", "/in/spoiled.bin")
    assert (response.getheader("ETag"), response.getheader("Content-Length")) == ('"other"', "1024000")
    assert client("GET", "/in/spoiled.bin")[1] == content


def test_an_upload_that_is_dropped_before_acting_leaves_nothing(emulator, client):
    emulator.faults.add("put_object", key="in/lost*", drop=True)
    with pytest.raises(NO_ANSWER):
        client("PUT", "/in/lost.bin", b"x" * 10)
    assert client("PUT", "/in/kept.bin", b"x" * 10)[0].status == 200
    assert client.error("GET", "/in/lost.bin")[1] == "NoSuchKey"


def test_a_late_list_misses_young_jobs(emulator, client):
    job_id = submitted(client)
    rule = emulator.faults.add("list", list_consistency_delay=3600)
    root = document(client, "GET", "/jobs", query="tag=VoiceSeparate&size=100")
    assert job_id not in [one.text for one in root.iter("JobId")]
    assert document(client, "GET", f"/jobs/{job_id}").findtext("JobsDetail/JobId") == job_id
    emulator.faults.remove(rule)
    root = document(client, "GET", "/jobs", query="tag=VoiceSeparate&size=100")
    assert job_id in [one.text for one in root.iter("JobId")]


def test_responses_are_written_as_the_documents_can_also_be_read(emulator, client):
    job_id = submitted(client)
    emulator.faults.add("describe", nth=1, state="Reviewing", rename={"BucketId": "Bucket"}, empty_times=True)
    emulator.faults.add("describe", nth=2, elements="single")
    emulator.faults.add("describe", nth=3, elements="repeated")
    emulator.faults.add("job", delay=60)
    detail = document(client, "GET", f"/jobs/{job_id}").find("JobsDetail")
    assert detail.findtext("State") == "Reviewing"
    assert detail.find("Input/BucketId") is None
    assert detail.findtext("Input/Bucket") == emulator.bucket
    assert "-" not in [detail.findtext("StartTime"), detail.findtext("EndTime")]
    single = document(client, "GET", f"/jobs/{job_id},j1,j2,j3")
    assert [one.text for one in single.iterfind("NonExistJobIds")] == ["j1,j2,j3"]
    repeated = document(client, "GET", f"/jobs/{job_id},j1,j2")
    assert [one.text for one in repeated.iterfind("JobsDetail/JobId")] == [job_id, job_id]
    assert [one.text for one in repeated.iterfind("NonExistJobIds")] == ["j1", "j2"]


def test_a_skewed_clock_shows_in_date_and_signature_check(emulator, client):
    emulator.faults.add("describe", nth=1, clock_skew=7200)
    emulator.faults.add("describe", nth=2, clock_skew=-7200)
    for skew in (7200, -7200):
        status, code, _, _, response = client.error("GET", "/jobs/j1")
        assert (status, code) == (401, "SignatureExpired")
        shown = parsedate_to_datetime(response.getheader("Date")).timestamp()
        assert abs(shown - time.time() - skew) < 30
    assert client("GET", "/jobs/j1")[0].status == 200
    # who corrects its clock by the Date header gets in
    emulator.faults.add("describe", nth=1, clock_skew=7200)
    now, host = int(time.time() + 7200), f"127.0.0.1:{emulator.port}"
    keys = {"secret_id": emulator.secret_id, "secret_key": emulator.secret_key}
    corrected = sign("GET", "/jobs/j1", (), [("host", host)], key_time=(now - 60, now + 600), **keys)
    assert client("GET", "/jobs/j1", authorization=corrected)[0].status == 200


def test_expired_tokens_and_full_or_paused_queues_are_simulated(emulator, client):
    before = accepted(emulator)
    emulator.faults.add("submit", nth=1, expired_token=True)
    emulator.faults.add("submit", nth=2, queue="paused")
    emulator.faults.add("submit", nth=3, queue="full")
    answers = [client.error("POST", "/jobs", JOB)[:2] for _ in range(3)]
    assert answers == [(400, "ExpiredToken"), (403, "QueuePaused"), (403, "QueueSaturated")]
    assert accepted(emulator) == before


def test_rules_select_calls_by_job_and_by_key(emulator, client):
    first, second = submitted(client), submitted(client)
    emulator.faults.add("describe", job_id=second, status=500)
    assert client("GET", f"/jobs/{first}")[0].status == 200
    assert client("GET", f"/jobs/{first},{second}")[0].status == 500
    emulator.faults.add("submit", key="in/a.*", status=500)
    assert client("POST", "/jobs", JOB)[0].status == 500
    assert client("POST", "/jobs", JOB.replace("in/a.mp3", "in/b.mp3"))[0].status == 200


def test_a_job_fails_with_the_code_of_the_fault_plan(emulator, client):
    emulator.faults.add("job", key="in/doomed.mp3", code="ResourceDownloadFailed", message="try another day")
    job_id = submitted(client, JOB.replace("in/a.mp3", "in/doomed.mp3"))
    wait_until(lambda: emulator.ledger.accepted_jobs(key="in/doomed.mp3")[0].state == "Failed")
    detail = document(client, "GET", f"/jobs/{job_id}").find("JobsDetail")
    assert detail.findtext("Code") == "ResourceDownloadFailed"
    assert detail.findtext("Message") == "try another day"


def test_a_job_succeeds_with_the_result_of_the_fault_plan(emulator, client):
    client("PUT", "/in/a.mp3", SHORT.read_bytes())
    emulator.faults.add("job", nth=1, result={"MediaInfo": {"Format": [{"Bitrate": 1}, {"Bitrate": 2}]}})
    emulator.faults.add("job", nth=1, result={"MediaInfo": "not this", "VoiceSeparate": {"State": "Failed"}})
    job_id = submitted(client)
    wait_until(
        lambda: (
            document(client, "GET", f"/jobs/{job_id}").findtext("JobsDetail/State") in ("Success", "Failed")
        )
    )
    detail = document(client, "GET", f"/jobs/{job_id}").find("JobsDetail")
    assert detail.findtext("State") == "Success"
    assert [one.text for one in detail.iterfind("Operation/MediaInfo/Format/Bitrate")] == ["1", "2"]
    assert detail.find("Operation/MediaResult") is not None, "the rest of the result is as it was"
    assert len(detail.findall("Operation/VoiceSeparate")) == 1
    assert detail.findtext("Operation/VoiceSeparate/State") == "Failed"


def test_a_connection_can_be_used_again_after_a_fault(emulator, client):
    emulator.faults.add("describe", first=1, status=429)
    host, now = f"127.0.0.1:{emulator.port}", int(time.time())
    keys = {"secret_id": emulator.secret_id, "secret_key": emulator.secret_key}
    authorization = sign("GET", "/jobs/j1", (), [("host", host)], key_time=(now - 60, now + 600), **keys)
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=PATIENCE)
    try:
        statuses = []
        for _ in range(2):
            connection.request("GET", "/jobs/j1", headers={"Host": host, "Authorization": authorization})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
    finally:
        connection.close()
    assert statuses == [429, 200]


class AdminClient:
    def __init__(self, emulator, token=None):
        self._address = ("127.0.0.1", emulator.port)
        self.token = emulator.admin_token if token is None else token

    def __call__(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE)
        try:
            sent = {"X-Emulator-Token": self.token, **dict(headers)}
            connection.request(method, path, body if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


def test_the_plan_by_its_admin_path(emulator, client):
    admin = AdminClient(emulator)
    rules = [{"operation": "submit", "status": 503, "first": 1, "id": "mine"}]
    assert admin("PUT", "/_emulator/faults", {"rules": rules}) == (200, {"ids": ["mine"]})
    status, answer = admin("POST", "/_emulator/faults", {"operation": "describe", "drop": True})
    assert (status, len(answer["ids"])) == (200, 1)
    assert client("POST", "/jobs", JOB)[0].status == 503
    shown = admin("GET", "/_emulator/faults")[1]["rules"]
    assert shown[0] == {**rules[0], "matched": 1, "applied": 1}
    assert admin("DELETE", "/_emulator/faults/mine")[0] == 200
    assert admin("DELETE", "/_emulator/faults/mine")[0] == 404
    assert admin("DELETE", "/_emulator/faults") == (200, {"rules": []})
    status, answer = admin("POST", "/_emulator/faults", {"operation": "submit", "status": 99})
    assert status == 400
    assert answer == {
        "error": "rules[0].status is 99, allowed: an HTTP status, 200 to 599",
        "field": "rules[0].status",
        "given": 99,
        "allowed": "an HTTP status, 200 to 599",
    }
    for other in ([], "/etc/hostname", 5, None):
        assert admin("PUT", "/_emulator/faults", other)[0] == 400
        assert admin("POST", "/_emulator/faults", other)[0] == 400
    assert admin("PUT", "/_emulator/faults", "x" * 30_000)[0] == 413


@pytest.mark.parametrize("token", ["", "wrong", "demo-not-a-real-key"])
def test_the_admin_path_wants_its_own_token(emulator, token):
    admin = AdminClient(emulator, token)
    for method, path in (
        ("GET", "/_emulator/faults"),
        ("PUT", "/_emulator/faults"),
        ("GET", "/_emulator/ledger/requests"),
        ("POST", "/_emulator/clock"),
        ("GET", "/_emulator/nothing"),
    ):
        status, answer = admin(method, path, {"rules": []} if method != "GET" else None)
        assert (status, answer) == (403, {"error": "the header X-Emulator-Token is missing or wrong"})
    assert emulator.faults.is_empty


def test_the_ledger_by_its_admin_path(emulator, client):
    admin = AdminClient(emulator)
    job_id = submitted(client)
    client("GET", f"/jobs/{job_id}")
    client("GET", "/jobs", query="tag=VoiceSeparate&q-signature=abc")
    status, answer = admin("GET", f"/_emulator/ledger/requests?operation=submit&status=200&id={job_id}")
    assert (status, answer["count"], len(answer["requests"])) == (200, 1, 1)
    assert answer["requests"][0]["ids"] == [job_id]
    everything = admin("GET", "/_emulator/ledger/requests")[1]
    assert [one["operation"] for one in everything["requests"]] == ["submit", "describe", "list"]
    assert "q-sign" not in json.dumps(everything)
    jobs = admin("GET", "/_emulator/ledger/jobs?key=in/a.mp3")[1]["jobs"]
    assert jobs[-1]["job_id"] == job_id
    assert admin("GET", f"/_emulator/ledger/jobs?after={jobs[-1]['number']}")[1] == {"jobs": []}
    assert admin("GET", "/_emulator/ledger/jobs?after=x")[0] == 400
    submitted(client)
    paid = len(jobs) + 1
    counts = {"jobs": paid, "inputs": 1, "inputs_with_several_jobs": 1, "several_jobs": {"in/a.mp3": paid}}
    assert admin("GET", "/_emulator/ledger/inputs?prefix=in/a")[1] == counts
    assert admin("GET", "/_emulator/ledger/secrets")[0] == 404
    assert admin("GET", "/_emulator/nothing")[0] == 404
    assert admin("DELETE", "/_emulator/ledger") == (200, {})
    assert emulator.ledger.requests() == []


def test_a_bucket_may_have_keys_like_the_admin_path(emulator, client):
    host = f"{emulator.bucket}.cos.{emulator.region}.myqcloud.com"
    assert client("PUT", "/_emulator/faults", b"a", host=host)[0].status == 200
    assert client("GET", "/_emulator/faults", host=host)[1] == b"a"


def test_accepted_jobs_survive_a_restart_and_requests_do_not_need_to(tmp_path):
    plan = {"rules": [{"operation": "submit", "nth": 2, "drop": True, "when": "after"}]}
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    emulator = Emulator(tmp_path / "data", faults=file, queue_seconds=60)
    with emulator:
        client = Client(emulator)
        first = submitted(client)
        with pytest.raises(NO_ANSWER):
            client("POST", "/jobs", JOB)
        before = emulator.ledger.accepted_jobs()
    assert before[0].job_id == first
    assert len(before) == 2
    with pytest.raises(RuntimeError):
        emulator.ledger.accepted_jobs()
    with Emulator(tmp_path / "data", queue_seconds=60) as again:
        assert again.ledger.accepted_jobs() == before
        assert again.ledger.requests() == []


def test_fault_plans_and_tokens_that_are_not_allowed_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rules\[0\].operation is 'x', allowed: "):
        Emulator(faults={"rules": [{"operation": "x"}]})
    with pytest.raises(OSError, match="none"):
        Emulator(faults=tmp_path / "none.json")
    with pytest.raises(ValueError, match="admin_token"):
        Emulator(admin_token="demo-not-a-real-key")


def test_the_token_is_in_no_log_and_no_repr(emulator, caplog):
    caplog.set_level("DEBUG")
    AdminClient(emulator)("GET", "/_emulator/faults")
    assert emulator.admin_token not in caplog.text
    assert emulator.admin_token not in repr(emulator.config)
    assert re.fullmatch(r"[\w-]{32}", emulator.admin_token)
