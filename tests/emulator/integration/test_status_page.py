"""The status page: what it shows, what it never lets through, and who may read it."""

from __future__ import annotations

import base64
import http.client
import re

import pytest
from lxml import html

from tencent_ci_emulator.config import DEMO_BUCKET
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_faults import submitted
from tests.emulator.integration.test_http import JOB, Client
from tests.patience import PATIENCE, wait_until
from tests.recording import SHORT

NASTY = "in/<script>alert(\"1\")</script>&amp;'x'.mp3"


@pytest.fixture(scope="module")
def emulator():
    with Emulator(buckets=["results-1250000000"]) as running:
        client = Client(running)
        for key in ("in/a.mp3", NASTY, "in/../../page.html", "in/é ü.wav"):
            assert client("PUT", f"/{key}", SHORT.read_bytes())[0].status == 200
        submitted(client)
        submitted(client, JOB.replace("in/a.mp3", "in/none.mp3"))
        wait_until(lambda: {one.state for one in running.ledger.accepted_jobs()} == {"Success", "Failed"})
        yield running


def get(emulator, path="/_emulator/", method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=PATIENCE)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_the_page_shows_buckets_jobs_and_results(emulator):
    response, body = get(emulator)
    assert (response.status, response.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    text = html.fromstring(body.decode()).text_content()
    assert emulator.bucket in text
    assert "results-1250000000" in text
    for job in emulator.ledger.accepted_jobs():
        assert job.job_id in text
    assert "ResourceNotFound: the input object in/none.mp3 does not exist" in text
    assert "Success" in text
    assert "Active" in text  # the queue
    assert re.search(r"\d{4}-\d\d-\d\d\d\d:\d\d:\d\d", text)
    assert get(emulator, "/_emulator")[0].status == 200


def test_the_page_and_the_result_name_the_method_of_separation(emulator):
    text = html.fromstring(get(emulator)[1].decode()).text_content()
    assert "centre channel, by FFmpeg's dialoguenhance" in text
    said = Client(emulator)("HEAD", "/out/v.aac")[0].getheader("x-cos-meta-processed-by")
    assert said == "centre channel, by FFmpeg's dialoguenhance"


def test_results_that_no_answer_describes_and_messages_are_shown():
    def request(tag, key):
        output = f"<Bucket>{DEMO_BUCKET}</Bucket><Region>ap-guangzhou</Region><Object>{key}</Object>"
        return (
            f"<Request><Tag>{tag}</Tag><Input><Object>in/a.mp3</Object></Input>"
            f"<Operation><Output>{output}</Output></Operation></Request>"
        )

    with Emulator() as emulator:
        client = Client(emulator)
        client("PUT", "/in/a.mp3", SHORT.read_bytes())
        submitted(client, request("NoiseReduction", "out/clean.wav"))
        submitted(client, request("SmartCover", "out/cover.jpg"))
        wait_until(lambda: {one.state for one in emulator.ledger.accepted_jobs()} == {"Success"})
        page = html.fromstring(get(emulator)[1].decode())
    assert "/out%2Fclean.wav" in "".join(audio.get("src") for audio in page.iter("audio"))
    text = page.text_content()
    assert "noise reduction, by FFmpeg's afftdn" in text
    assert "SmartCover" in text
    assert "not processed: the emulator does not work on jobs of type SmartCover" in text


def test_the_number_of_paid_jobs_is_shown(emulator):
    page = html.fromstring(get(emulator)[1].decode())
    assert "Paid jobs: 2" in page.text_content()
    rows = [[cell.text_content() for cell in row.iter("td")][:2] for row in page.find(".//table").iter("tr")]
    assert rows[1:] == [[emulator.bucket, "2"], ["results-1250000000", "0"]]


def test_an_input_with_several_paid_jobs_is_marked():
    """Of one type: a noise reduction of a file that is also separated is not the same work again."""
    denoise = JOB.replace("<Tag>VoiceSeparate", "<Tag>NoiseReduction").replace("AuObject", "Object")
    with Emulator() as emulator:
        client = Client(emulator)
        for key in ("in/a.mp3", "in/b.mp3"):
            client("PUT", f"/{key}", SHORT.read_bytes())
        submitted(client, JOB)
        submitted(client, denoise)
        submitted(client, JOB.replace("in/a.mp3", "in/b.mp3"))
        submitted(client, JOB)
        assert len(emulator.ledger.accepted_jobs()) == 4
        page = html.fromstring(get(emulator)[1].decode())
    marks = {
        (row.xpath(".//span[@class='muted']")[0].text, row.xpath(".//div")[0].text_content().strip()): [
            mark.text for mark in row.xpath(".//b")
        ]
        for row in page.xpath("//tr[td//audio]")
        if row.xpath(".//div")
    }
    assert marks == {
        ("VoiceSeparate", "in/a.mp3"): ["2 paid VoiceSeparate jobs"],
        ("NoiseReduction", "in/a.mp3"): [],
        ("VoiceSeparate", "in/b.mp3"): [],
    }


def test_every_input_of_a_job_is_shown():
    """Of an address the key is shown, and never the query, which may be a signature."""
    host = f"https://{DEMO_BUCKET}.cos.ap-guangzhou.myqcloud.com"
    fragments = "".join(
        f"<ConcatFragment><Url>{url}</Url></ConcatFragment>"
        for url in ("in/b.mp3", f"{host}/in/c%20d.mp3?q-signature=hush", "https://[/broken?q-signature=hush")
    )
    output = f"<Bucket>{DEMO_BUCKET}</Bucket><Region>ap-guangzhou</Region><Object>out/all.mp3</Object>"
    request = (
        "<Request><Tag>Concat</Tag><Input><Object>in/a.mp3</Object></Input><Operation><ConcatTemplate>"
        f"{fragments}<Container><Format>mp3</Format></Container>"
        f"<AudioMix><AudioSource>in/music.mp3</AudioSource></AudioMix></ConcatTemplate>"
        f"<Output>{output}</Output></Operation></Request>"
    )
    with Emulator() as emulator:
        client = Client(emulator)
        client("PUT", "/in/b.mp3", SHORT.read_bytes())
        submitted(client, request)
        body = get(emulator)[1].decode()
    (row,) = html.fromstring(body).xpath("//tr[td//span[text()='Concat']]")
    shown = [div.text_content().strip() for div in row.iter("div")]
    assert shown == ["in/a.mp3", "in/b.mp3", "in/c d.mp3", "in/music.mp3"]
    assert [audio.get("src").rpartition("/")[2] for audio in row.iter("audio")] == ["in%2Fb.mp3"]
    assert "hush" not in body


def test_results_can_be_played(emulator):
    page = html.fromstring(get(emulator)[1].decode())
    played = {audio.get("src") for audio in page.iter("audio")}
    assert f"/_emulator/objects/{emulator.bucket}/out%2Fv.aac" in played
    assert len(played) == 2  # the result and its input
    for address in played:
        response, body = get(emulator, address)
        assert response.status == 200
        assert response.getheader("Content-Type") in ("audio/aac", "audio/mpeg")
        assert response.getheader("X-Content-Type-Options") == "nosniff"
        part, partial = get(emulator, address, Range="bytes=10-19")
        assert (part.status, partial) == (206, body[10:20])


def test_every_link_leads_to_its_object(emulator):
    page = html.fromstring(get(emulator)[1].decode())
    links = {link.get("href") for link in page.iter("a")}
    assert len(links) == 5
    for link in links:
        assert get(emulator, link)[0].status == 200


def test_keys_are_escaped_and_nothing_is_loaded_from_elsewhere(emulator):
    response, body = get(emulator)
    assert b"<script" not in body
    assert b"&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&amp;amp;&#39;x&#39;.mp3" in body
    policy = response.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert set(re.findall(rb'(?:src|href)="(?!/_emulator/objects/)([^"]*)"', body)) == {b"data:,"}


def test_a_stored_page_is_never_shown_as_one(emulator):
    key = "in%2F..%2F..%2Fpage.html"
    response, body = get(emulator, f"/_emulator/objects/{emulator.bucket}/{key}")
    assert (response.status, body) == (200, SHORT.read_bytes())
    assert response.getheader("Content-Type") == "application/octet-stream"
    assert response.getheader("Content-Disposition") == "attachment"
    assert response.getheader("Content-Security-Policy").startswith("sandbox")
    assert response.getheader("Cross-Origin-Resource-Policy") == "same-origin"


@pytest.mark.parametrize(
    "path", ["x/y", "demo-1250000000", "demo-1250000000/", "demo-1250000000/../lock", "%2e%2e/lock"]
)
def test_nothing_but_objects_can_be_read(emulator, path):
    assert get(emulator, f"/_emulator/objects/{path}")[0].status == 404


def test_the_status_page_changes_nothing(emulator):
    for method in ("POST", "PUT", "DELETE"):
        assert get(emulator, method=method)[0].status == 405


def test_another_host_name_needs_the_token(emulator):
    """A page of another origin may let its name point to 127.0.0.1 (DNS rebinding) and read what it gets."""
    for path in ("/_emulator/", f"/_emulator/objects/{emulator.bucket}/in%2Fa.mp3"):
        response, _ = get(emulator, path, Host="rebound.example.org")
        assert (response.status, response.getheader("WWW-Authenticate")[:5]) == (401, "Basic")
        wrong = base64.b64encode(b"me:wrong").decode()
        assert (
            get(emulator, path, Host="rebound.example.org", Authorization=f"Basic {wrong}")[0].status == 401
        )
        assert get(emulator, path, Host="rebound.example.org", Authorization="Basic ???")[0].status == 401
        right = base64.b64encode(f"me:{emulator.admin_token}".encode()).decode()
        for headers in ({"Authorization": f"Basic {right}"}, {"X_Emulator_Token": emulator.admin_token}):
            assert get(emulator, path, Host="rebound.example.org", **headers)[0].status == 200
    for host in ("localhost", f"localhost:{emulator.port}", "[::1]:80", "127.0.0.2:80"):
        assert get(emulator, Host=host)[0].status == 200


def test_the_password_of_a_browser_changes_nothing(emulator):
    """Browsers send it with requests that other pages make, too."""
    right = base64.b64encode(f"me:{emulator.admin_token}".encode()).decode()
    response, _ = get(emulator, "/_emulator/faults", "DELETE", Authorization=f"Basic {right}")
    assert response.status == 403


def test_an_empty_emulator_has_a_page_too():
    with Emulator() as empty:
        response, body = get(empty)
        assert (response.status, body.count(b"None yet.")) == (200, 3)
