"""What holds for the hook and for the asynchronous client alike: bytes, bounds, proxies, repetitions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    ConfigurationError,
    InvalidResponseError,
    TencentCIError,
    ThrottledError,
    TransportError,
    WrongEndpointError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.transport import new_session
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.batches import CancelBatch, CreateBatch, DescribeBatch, ListBatches
from airflow_provider_ci.protocol.errors import is_not_accepted
from airflow_provider_ci.protocol.jobs import CancelJobs, DescribeJobs, ListJobs, SubmitJob
from airflow_provider_ci.protocol.objects import GetMediaInfo, HeadObject
from airflow_provider_ci.protocol.queues import DescribedQueue, ListQueues, Queue, UpdateQueue
from airflow_provider_ci.protocol.services import OpenBucket
from airflow_provider_ci.protocol.templates import CreateTemplate, DeleteTemplate, ListTemplates
from tests.conftest import BUCKET, CREDENTIALS, REGION
from tests.patience import PATIENCE, SOON, wait_until
from tests.scripted_server import (
    REQUEST_ID,
    Answer,
    Exchange,
    ScriptedServer,
    drip,
    error,
    hang,
    head,
    http,
    job,
    job_xml,
    jobs,
    raw,
    reset_before_reading,
)
from tests.unit.hooks.test_queues import QUEUE_XML, QUEUES
from tests.unit.hooks.test_templates import MADE, listed
from tests.unit.hooks.transports import (
    BATCH,
    GARBAGE,
    LOST,
    REQUEST,
    TEMPLATE,
    Send,
    by_hook,
    by_loop,
    chunked,
    shown,
)

Define = Callable[..., str]
SUBMIT, DESCRIBE, CANCEL = SubmitJob(REQUEST), DescribeJobs(("j1", "j2")), CancelJobs(("j1", "j2"))
LIST = ListJobs(
    input_object="in/söng +&=.mp3",
    states=["Submitted", "Running"],
    order_by_time="Asc",
    start_creation_time=datetime(2025, 1, 1, tzinfo=UTC),
)
CALLS: list[tuple[ApiRequest[Any], Answer]] = [
    (SUBMIT, job()),
    (DESCRIBE, job()),
    (LIST, job()),
    (CANCEL, http()),
    (CreateTemplate(TEMPLATE), MADE),
    (DeleteTemplate("t1"), http("<Response/>")),
    (ListTemplates(name="声+ "), listed("a")),
    (ListQueues(), QUEUES),
    (
        UpdateQueue("p1", "Paused", DescribedQueue(Queue(name="q"), None)),
        http(f"<Response><Queue>{QUEUE_XML}</Queue></Response>"),
    ),
    (OpenBucket(), http("<Response/>")),
    (CreateBatch(BATCH), jobs(job_xml("b1"))),
    (DescribeBatch("b1"), jobs(job_xml("b1"))),
    (ListBatches(), jobs(job_xml("b1"))),
    (CancelBatch("b1"), http()),
    (HeadObject("in/ä a"), http(b"", length=0)),
    (GetMediaInfo("in/a"), http("<Response><MediaInfo><Format/><a><b/></a></MediaInfo></Response>")),
]
FAILURES = [
    *GARBAGE,
    pytest.param(error(200, "InternalError"), id="error-in-a-200"),
    pytest.param(error(500, "InternalError"), id="500"),
    pytest.param(http("<html>Bad gateway</html>", 502), id="502"),
    pytest.param(error(503, "SlowDown", retry_after="7"), id="503-slow-down"),
    pytest.param(http("", 504), id="504"),
    pytest.param(error(429, "SlowDown", retry_after="7"), id="429"),
    pytest.param(error(501, "NotImplemented"), id="501"),
    pytest.param(error(400, "InvalidArgument"), id="400"),
    pytest.param(error(401, "InvalidAuthorization"), id="401"),
    pytest.param(error(403, "AccessDenied"), id="403"),
    pytest.param(error(404, "NoSuchBucket"), id="404"),
    pytest.param(error(301, "PermanentRedirect"), id="301"),
]

pytestmark = pytest.mark.usefixtures("pauses")


@pytest.fixture
def conn_id(connection: Define, server: ScriptedServer) -> str:
    return connection(
        server.url, connect_timeout=PATIENCE, read_timeout=PATIENCE, security_token=CREDENTIALS.token
    )


class TestTheSame:
    @pytest.mark.parametrize(("call", "answer"), CALLS, ids=lambda value: type(value).__name__)
    def test_both_send_the_same_bytes_and_read_the_same(
        self,
        conn_id: str,
        server: ScriptedServer,
        call: ApiRequest[Any],
        answer: Answer,
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("airflow_provider_ci.hooks.clock.time.time", return_value=1_700_000_000.5)
        server.play(answer, answer)
        assert by_hook(conn_id, call) == by_loop(conn_id, call)
        one, other = server.requests
        assert (one.method, one.target, one.body) == (other.method, other.target, other.body)
        assert sorted(one.headers) == sorted(other.headers)
        assert other.is_signed_with(CREDENTIALS.secret_key)
        assert other.header("Accept-Encoding") == "identity"

    @pytest.mark.parametrize("call", [SUBMIT, DESCRIBE, CANCEL], ids=lambda call: type(call).__name__)
    @pytest.mark.parametrize("failure", FAILURES)
    def test_both_make_the_same_attempts_and_pauses_and_raise_the_same(
        self, connection: Define, pauses: list[float], call: ApiRequest[Any], failure: Answer
    ) -> None:
        def outcome(send: Send) -> tuple[Any, ...]:
            pauses.clear()
            with ScriptedServer() as server:
                server.play(failure, job())
                try:
                    result: Any = send(connection(server.url), call)
                except TencentCIError as caught:
                    result = (type(caught), caught.status, caught.code, caught.request_id, caught.hint)
                    result += (getattr(caught, "sent", None), getattr(caught, "retry_after", None))
                return result, server.methods(), server.unplayed, [*pauses]

        assert outcome(by_loop) == outcome(by_hook)

    @pytest.mark.parametrize("failure", LOST)
    def test_but_aiohttp_itself_repeats_a_read_once_whose_connection_was_lost(
        self, conn_id: str, server: ScriptedServer, pauses: list[float], failure: Answer
    ) -> None:
        server.play(failure, failure, job())
        by_loop(conn_id, DESCRIBE)
        assert pauses == [1]

    @pytest.mark.parametrize("offset", [0.0, 7200.0, -7200.0])
    @pytest.mark.parametrize(("seconds_left", "sent"), [(1.0, 1), (1.5, 2), (2.4, 2)])
    def test_a_submission_is_not_repeated_after_it_expires_by_the_services_clock(
        self,
        conn_id: str,
        server: ScriptedServer,
        mocker: MockerFixture,
        send: Send,
        seconds_left: float,
        sent: int,
        offset: float,
    ) -> None:
        time = SimpleNamespace(time=lambda: 1_700_000_000.5)
        mocker.patch("airflow_provider_ci.hooks.clock.time", time)
        service_clock(server.url).offset = offset
        server.always("POST", error(429, "SlowDown"))
        with pytest.raises(ThrottledError):
            send(conn_id, SubmitJob(REQUEST, expires_at=1_700_000_000.5 + offset + seconds_left))
        assert len(server.requests) == sent

    def test_chunked_responses_are_read(self, conn_id: str, server: ScriptedServer, send: Send) -> None:
        server.play(
            chunked("<Response>", job_xml("j1", "Running"), "</Response>"), chunked(" ", "<Response/>")
        )
        one, none = send(conn_id, DESCRIBE, DESCRIBE)
        assert [(each.job_id, each.state) for each in one.jobs_detail] == [("j1", "Running")]
        assert none.jobs_detail == ()

    def test_one_connection_serves_several_calls(
        self, conn_id: str, server: ScriptedServer, send: Send
    ) -> None:
        server.play(jobs(), http(), jobs())
        send(conn_id, DESCRIBE, CANCEL, DESCRIBE)
        assert [sent.connection for sent in server.requests] == [1, 1, 1]


class TestWhetherARequestWasSent:
    """A submission must be repeated only if it certainly was not accepted."""

    @pytest.mark.parametrize("failure", LOST)
    def test_a_submission_is_sent_once_on_a_connection_used_before(
        self, conn_id: str, server: ScriptedServer, pauses: list[float], send: Send, failure: Answer
    ) -> None:
        server.always("GET", jobs())
        server.play(failure)
        with pytest.raises((TransportError, InvalidResponseError)) as caught:
            send(conn_id, DESCRIBE, SUBMIT)
        assert not is_not_accepted(caught.value)
        assert server.methods() == ["GET", "POST"]
        assert not pauses

    def test_a_request_may_have_arrived_before_a_reset(
        self, conn_id: str, server: ScriptedServer, pauses: list[float], send: Send
    ) -> None:
        server.play(reset_before_reading())
        with pytest.raises(TransportError) as caught:
            send(conn_id, SUBMIT)
        assert caught.value.sent
        assert not pauses

    def test_a_request_may_have_arrived_before_a_timeout(
        self, connection: Define, server: ScriptedServer, pauses: list[float], send: Send
    ) -> None:
        server.play(hang())
        with pytest.raises(TransportError, match=r"(?i)time.?out|timed out") as caught:
            send(connection(server.url, read_timeout=SOON), SUBMIT)
        assert caught.value.sent
        wait_until(server.methods)  # the server may read it only now
        assert server.methods() == ["POST"]
        assert not pauses

    def test_a_refused_connection_sends_nothing(
        self, connection: Define, pauses: list[float], closed_port: int, send: Send
    ) -> None:
        with pytest.raises(TransportError) as caught:
            send(connection(f"http://127.0.0.1:{closed_port}"), SUBMIT)
        assert not caught.value.sent
        assert pauses == [1, 2, 4, 8, 16]

    @pytest.mark.parametrize("host", ["a" * 64 + ".example", "no-such-host.invalid"])
    def test_a_name_without_an_address_sends_nothing(self, connection: Define, host: str, send: Send) -> None:
        with pytest.raises(TransportError) as caught:
            send(connection(f"https://{host}", max_attempts=1), SUBMIT)
        assert not caught.value.sent

    @pytest.mark.parametrize(
        "proxy",
        [
            "http://127.0.0.1:{closed}",
            "127.0.0.1:{closed}",
            "http://user:pass-of-the-proxy@127.0.0.1:{closed}",
            "user:pass-of-the-proxy@127.0.0.1:{closed}",
            "http:///pass-of-the-proxy",
            "quic://user:pass-of-the-proxy@proxy.example",
            "http://user:pass-of-the-proxy@[::1",
            "http://user:pass-of-the-proxy@127.0.0.1:99999",
        ],
    )
    def test_an_unusable_proxy_sends_nothing_and_its_login_is_not_shown(
        self,
        connection: Define,
        monkeypatch: pytest.MonkeyPatch,
        closed_port: int,
        send: Send,
        proxy: str,
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", proxy.format(closed=closed_port))
        with pytest.raises(TransportError) as caught:
            send(connection("https://gateway.example", max_attempts=1), SUBMIT)
        assert not caught.value.sent
        assert "pass-of-the-proxy" not in shown(caught.value)

    @pytest.mark.parametrize("status", [403, 407, 503])
    def test_a_proxy_that_refuses_sends_nothing(
        self, connection: Define, monkeypatch: pytest.MonkeyPatch, send: Send, status: int
    ) -> None:
        with ScriptedServer() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:pass-of-the-proxy@"))
            proxy.play(http("", status, keep_alive=False))
            with pytest.raises(TransportError, match=f"(Tunnel|ClientHttpProxyError).*: {status}") as caught:
                send(connection("https://gateway.example", max_attempts=1), SUBMIT)
            assert proxy.methods() == ["CONNECT"]
        assert not caught.value.sent
        assert "pass-of-the-proxy" not in shown(caught.value)

    @pytest.mark.parametrize("url", [None, "https://gateway.example"])
    def test_keys_of_the_emulators_example_without_its_address(
        self,
        connection: Define,
        monkeypatch: pytest.MonkeyPatch,
        closed_port: int,
        send: Send,
        url: str | None,
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
        with pytest.raises(TransportError) as caught:
            send(connection(url, login="AKIDdemo-not-a-real-id", max_attempts=1), DESCRIBE)
        assert ("has no endpoint_url: set it to the emulator's address" in str(caught.value)) is (url is None)


def test_the_loop_names_a_socks_proxy_which_it_cannot_use(
    connection: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be sent an HTTP request, and the failure would say nothing of the kind."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://user:pass-of-the-proxy@127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"a SOCKS proxy, .*wait on the worker") as caught:
        by_loop(connection("https://gateway.example", max_attempts=1), DESCRIBE)
    assert "pass-of-the-proxy" not in shown(caught.value)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n", b"no HTTP"])
def test_a_response_that_is_no_http_does_not_quote_the_request(
    connection: Define, server: ScriptedServer, send: Send, answer: bytes
) -> None:
    server.always("GET", raw(answer))
    with pytest.raises(TencentCIError) as caught:
        send(connection(server.url, max_attempts=1, security_token=CREDENTIALS.token), DESCRIBE)
    assert server.requests[0].authorization.signature not in shown(caught.value)
    assert str(CREDENTIALS.token) not in shown(caught.value)


class TestTheTransportIsClosed:
    """No redirects, cookies, logins or proxies that the connection does not name."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_not_followed(
        self, conn_id: str, server: ScriptedServer, send: Send, status: int
    ) -> None:
        with ScriptedServer() as elsewhere:
            server.play(http("", status, location=f"{elsewhere.url}/stolen"))
            with pytest.raises(WrongEndpointError):
                send(conn_id, DESCRIBE)
            assert not elsewhere.requests

    def test_cookies_are_not_kept(self, conn_id: str, server: ScriptedServer, send: Send) -> None:
        server.play(http("<Response/>", set_cookie="a=b; Path=/"), jobs())
        send(conn_id, DESCRIBE, DESCRIBE)
        assert [sent.header("Cookie") for sent in server.requests] == [None, None]

    @pytest.mark.parametrize("trust_env", [False, True], ids=["loopback", "elsewhere"])
    def test_netrc_is_ignored(
        self,
        conn_id: str,
        server: ScriptedServer,
        send: Send,
        monkeypatch: pytest.MonkeyPatch,
        mocker: MockerFixture,
        tmp_path: Any,
        trust_env: bool,
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"machine 127.0.0.1 login somebody password something\nmachine {BUCKET} login a\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        session = new_session(loopback=not trust_env)
        mocker.patch("airflow_provider_ci.hooks.transport.new_session", return_value=session)
        server.play(jobs())
        send(conn_id, DESCRIBE)
        assert server.requests[0].is_signed_with(CREDENTIALS.secret_key)

    def test_proxies_are_ignored_for_loopback(
        self, conn_id: str, server: ScriptedServer, send: Send, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.url)
            server.play(jobs())
            send(conn_id, DESCRIBE)
            assert not proxy.requests

    @pytest.mark.parametrize("scheme", ["http://", ""])
    def test_proxies_are_used_for_other_machines(
        self, connection: Define, send: Send, monkeypatch: pytest.MonkeyPatch, scheme: str
    ) -> None:
        with ScriptedServer() as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"{scheme}127.0.0.1:{proxy.port}")
            proxy.play(jobs())
            send(connection("http://gateway.example", allow_http=True), DESCRIBE)
            (sent,) = proxy.requests
            assert sent.target == "http://gateway.example/jobs/j1%2Cj2"
            assert sent.header("Host") == f"{BUCKET}.ci.{REGION}.myqcloud.com"

    def test_proxies_are_not_used_for_hosts_in_no_proxy(
        self, connection: Define, send: Send, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", ".invalid")
            with pytest.raises(TransportError):
                send(connection("http://gateway.invalid", allow_http=True, max_attempts=1), DESCRIBE)
            assert not proxy.requests


def test_the_environment_is_read_once_for_each_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:8080")
    monkeypatch.setenv("NO_PROXY", "direct.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/our-own.pem")
    with new_session(loopback=False) as session:
        first = session.settings_for("https://gateway.example/jobs/j1")
        assert first["proxies"]["https"] == "http://proxy.example:8080"
        assert first["verify"] == "/etc/our-own.pem"
        assert "https" not in session.settings_for("https://direct.example/jobs/j1")["proxies"]
        monkeypatch.delenv("HTTPS_PROXY")
        assert session.settings_for("https://gateway.example/jobs/j2") == first
        assert "https" not in session.settings_for("https://other.example/")["proxies"]


def test_the_threads_of_a_bulk_task_keep_their_connections(caplog: pytest.LogCaptureFixture) -> None:
    threads = 17
    together = Barrier(threads)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            together.wait(PATIENCE)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = threads
        daemon_threads = True

    with (
        Server(("127.0.0.1", 0), Handler) as server,
        new_session(loopback=True) as session,
        ThreadPoolExecutor(threads) as pool,
    ):
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        assert [*pool.map(lambda _: session.get(url).status_code, range(threads))] == [200] * threads
        server.shutdown()
    assert [record.message for record in caplog.records if "pool is full" in record.message] == []


class TestBounds:
    def test_a_response_has_a_largest_size(
        self, connection: Define, server: ScriptedServer, send: Send
    ) -> None:
        megabytes: list[int] = []

        def flood(exchange: Exchange) -> None:
            exchange.send(head(length=10**9))
            while True:  # until the client gives up
                exchange.send(b" " * 1024 * 1024)
                megabytes.append(1)

        server.play(Answer(flood))
        with pytest.raises(InvalidResponseError, match="larger than") as caught:
            send(connection(server.url, max_attempts=1), DESCRIBE)
        assert caught.value.request_id == REQUEST_ID
        assert len(megabytes) < 40  # 16 are read, some more fit into the sockets' buffers

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(hang(), id="nothing"),
            pytest.param(drip(b"HTTP/1.1 200 OK\r\nX: "), id="drips"),
            pytest.param(drip(head(length=10**6)), id="body-drips"),
            pytest.param(
                Answer(
                    lambda exchange: (exchange.send(head(length=99)), exchange.wait_for_client_to_leave())
                ),
                id="body-stops",
            ),
        ],
    )
    def test_a_response_has_a_time_limit(
        self, connection: Define, server: ScriptedServer, send: Send, answer: Answer
    ) -> None:
        server.play(answer)
        with pytest.raises(TransportError, match=r"Timeout|timed out|in time") as caught:
            send(connection(server.url, max_attempts=1, connect_timeout=SOON, read_timeout=SOON), DESCRIBE)
        assert caught.value.sent
        wait_until(server.methods)  # the server may read it only now


def test_the_hook_passes_the_connections_timeouts_on(
    make_hook: Callable[..., TencentCIHook], server: ScriptedServer, mocker: MockerFixture
) -> None:
    server.play(jobs())
    hook = make_hook(connect_timeout=1.5, read_timeout=7)
    send = mocker.spy(hook.get_conn(), "send")
    hook.describe_jobs(["j1"])
    assert send.call_args.kwargs["timeout"] == (1.5, 7.0)
