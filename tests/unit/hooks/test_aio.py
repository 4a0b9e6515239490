"""The asynchronous client: beside the hook where both must do the same, and what only a loop can get
wrong.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    ConfigurationError,
    InvalidResponseError,
    ServerError,
    TencentCIError,
    ThrottledError,
    TransportError,
    WrongEndpointError,
)
from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.jobs import CancelJobs, DescribeJobs, ListJobs, SubmitJob
from tests.conftest import BUCKET, CREDENTIALS, REGION
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
from tests.unit.hooks.test_ci import GARBAGE, LOST, REQUEST, chunked, shown

Define = Callable[..., str]
DESCRIBE = DescribeJobs(("j1", "j2"))
LIST = ListJobs(
    input_object="in/söng +&=.mp3",
    states=["Submitted", "Running"],
    order_by_time="Asc",
    start_creation_time=datetime(2025, 1, 1, tzinfo=UTC),
)
CALLS = {"submit": SubmitJob(REQUEST), "describe": DESCRIBE, "list": LIST, "cancel": CancelJobs(("j1", "j2"))}
READS = {name: call for name, call in CALLS.items() if call.idempotent}
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


def asynchronously(conn_id: str, *calls: ApiRequest[Any]) -> list[Any]:
    """Make calls one after another with one client; return what came back."""

    async def main() -> list[Any]:
        settings = await load_settings(conn_id)
        async with AsyncClient(settings) as client:
            return [await client.call(call, settings.endpoint()) for call in calls]

    return asyncio.run(main())


def synchronously(conn_id: str, *calls: ApiRequest[Any]) -> list[Any]:
    hook = TencentCIHook(conn_id)
    try:
        return [hook.call(call) for call in calls]
    finally:
        hook.close()


@pytest.fixture
def conn_id(connection: Define, server: ScriptedServer) -> str:
    return connection(server.url, connect_timeout=2, read_timeout=5, security_token=CREDENTIALS.token)


@pytest.fixture(autouse=True)
def pauses(mocker: MockerFixture) -> list[float]:
    """The pauses between attempts of either client, which are not waited for; the jitter is its largest."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.extend([seconds] if seconds else [])
        await sleep(0)

    mocker.patch.object(TencentCIHook, "sleep", pauses.append)
    mocker.patch("airflow_provider_ci.hooks.clock.time", SimpleNamespace(time=lambda: 1_700_000_000.5))
    mocker.patch("asyncio.sleep", pause)
    mocker.patch("random.uniform", lambda least, most: most)
    return pauses


class TestLikeTheHook:
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_the_bytes_on_the_wire(self, conn_id: str, server: ScriptedServer, call: ApiRequest[Any]) -> None:
        server.play(job(), job())
        assert synchronously(conn_id, call) == asynchronously(conn_id, call)
        one, other = server.requests
        assert (one.method, one.target, one.body) == (other.method, other.target, other.body)
        assert sorted(one.headers) == sorted(other.headers)
        assert other.is_signed_with(CREDENTIALS.secret_key)
        assert other.header("Accept-Encoding") == "identity"

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    @pytest.mark.parametrize("failure", FAILURES)
    def test_attempts_pauses_and_errors(
        self, connection: Define, pauses: list[float], call: ApiRequest[Any], failure: Answer
    ) -> None:
        def outcome(send: Callable[..., list[Any]]) -> tuple[Any, ...]:
            pauses.clear()
            with ScriptedServer() as server:
                server.play(failure, job())
                try:
                    result: Any = send(connection(server.url), call)
                except TencentCIError as caught:
                    result = (type(caught), caught.status, caught.code, caught.request_id, caught.hint)
                    result += (getattr(caught, "sent", None), getattr(caught, "retry_after", None))
                return result, server.methods(), server.unplayed, [*pauses]

        assert outcome(asynchronously) == outcome(synchronously)

    @pytest.mark.parametrize("call", READS.values(), ids=READS)
    @pytest.mark.parametrize("failure", LOST)
    def test_but_aiohttp_itself_repeats_a_read_once_whose_connection_was_lost(
        self,
        conn_id: str,
        server: ScriptedServer,
        pauses: list[float],
        call: ApiRequest[Any],
        failure: Answer,
    ) -> None:
        server.play(failure, failure, job())
        asynchronously(conn_id, call)
        assert pauses == [1]

    @pytest.mark.parametrize("most", [1, 6])
    def test_it_gives_up_as_often_as_the_connection_says(
        self, connection: Define, server: ScriptedServer, pauses: list[float], most: int
    ) -> None:
        server.always("GET", error(500, "InternalError"))
        with pytest.raises(ServerError):
            asynchronously(connection(server.url, max_attempts=most), DESCRIBE)
        assert len(server.requests) == most
        assert pauses == [1, 2, 4, 8, 16][: most - 1]

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_comes_before_the_jitter(
        self, conn_id: str, server: ScriptedServer, pauses: list[float], status: int
    ) -> None:
        server.play(error(status, "SlowDown", retry_after="7"), jobs())
        asynchronously(conn_id, DESCRIBE)
        assert pauses == [8]

    @pytest.mark.parametrize("offset", [0.0, 7200.0, -7200.0])
    @pytest.mark.parametrize(("seconds_left", "sent"), [(1.0, 1), (1.5, 2), (2.4, 2)])
    def test_a_submission_is_not_repeated_after_its_validity_by_the_services_clock(
        self, connection: Define, pauses: list[float], seconds_left: float, sent: int, offset: float
    ) -> None:
        call = SubmitJob(REQUEST, expires_at=1_700_000_000.5 + offset + seconds_left)
        for send in (asynchronously, synchronously):
            with ScriptedServer() as server:
                service_clock(server.url).offset = offset
                server.always("POST", error(429, "SlowDown"))
                with pytest.raises(ThrottledError):
                    send(connection(server.url), call)
                assert len(server.requests) == sent, send

    def test_chunked_answers_are_read(self, conn_id: str, server: ScriptedServer) -> None:
        server.play(chunked("<Response>", job_xml("j1", "Running"), "</Response>"))
        (answer,) = asynchronously(conn_id, DESCRIBE)
        assert [(each.job_id, each.state) for each in answer.jobs_detail] == [("j1", "Running")]

    def test_one_connection_serves_several_calls(self, conn_id: str, server: ScriptedServer) -> None:
        server.play(jobs(), http(), jobs())
        asynchronously(conn_id, DESCRIBE, CALLS["cancel"], DESCRIBE)
        assert [sent.connection for sent in server.requests] == [1, 1, 1]


class TestWhetherARequestWasSent:
    """A submission must be repeated only if it certainly was not accepted."""

    @pytest.mark.parametrize("failure", LOST)
    def test_a_submission_is_sent_once_on_a_connection_used_before(
        self, conn_id: str, server: ScriptedServer, pauses: list[float], failure: Answer
    ) -> None:
        server.always("GET", jobs())
        server.play(failure)
        with pytest.raises(TransportError) as caught:
            asynchronously(conn_id, DESCRIBE, CALLS["submit"])
        assert caught.value.sent
        assert server.methods() == ["GET", "POST"]
        assert not pauses

    def test_a_reset_before_it_was_read(
        self, conn_id: str, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(reset_before_reading())
        with pytest.raises(TransportError) as caught:
            asynchronously(conn_id, CALLS["submit"])
        assert caught.value.sent
        assert not pauses

    def test_a_timeout(self, connection: Define, server: ScriptedServer, pauses: list[float]) -> None:
        server.play(hang())
        with pytest.raises(TransportError, match="Timeout") as caught:
            asynchronously(connection(server.url, read_timeout=0.1), CALLS["submit"])
        assert caught.value.sent
        assert server.methods() == ["POST"]
        assert not pauses

    def test_a_refused_connection(self, connection: Define, pauses: list[float], closed_port: int) -> None:
        with pytest.raises(TransportError) as caught:
            asynchronously(connection(f"http://127.0.0.1:{closed_port}"), CALLS["submit"])
        assert not caught.value.sent
        assert pauses == [1, 2, 4, 8, 16]

    @pytest.mark.parametrize("host", ["a" * 64 + ".example", "no-such-host.invalid"])
    def test_a_name_without_an_address(self, connection: Define, host: str) -> None:
        with pytest.raises(TransportError) as caught:
            asynchronously(connection(f"https://{host}", max_attempts=1), CALLS["submit"])
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
    def test_a_dead_proxy_and_its_login_is_not_shown(
        self, connection: Define, monkeypatch: pytest.MonkeyPatch, closed_port: int, proxy: str
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", proxy.format(closed=closed_port))
        with pytest.raises(TransportError) as caught:
            asynchronously(connection("https://gateway.example", max_attempts=1), CALLS["submit"])
        assert not caught.value.sent
        assert "pass-of-the-proxy" not in shown(caught.value)

    def test_a_socks_proxy_is_refused_by_name(
        self, connection: Define, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would be sent an HTTP request, and the failure would say nothing of the kind."""
        monkeypatch.setenv("HTTPS_PROXY", "socks5h://user:pass-of-the-proxy@127.0.0.1:9")
        with pytest.raises(ConfigurationError, match=r"a SOCKS proxy, .*wait on the worker") as caught:
            asynchronously(connection("https://gateway.example", max_attempts=1), DESCRIBE)
        assert "pass-of-the-proxy" not in shown(caught.value)

    @pytest.mark.parametrize("status", [403, 407, 503])
    def test_a_proxy_that_refuses(
        self, connection: Define, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        with ScriptedServer() as proxy:
            url = proxy.url.replace("//", "//user:pass-of-the-proxy@")
            monkeypatch.setenv("HTTPS_PROXY", url)
            proxy.play(http("", status, keep_alive=False))
            with pytest.raises(TransportError, match=f"ClientHttpProxyError: {status}") as caught:
                asynchronously(connection("https://gateway.example", max_attempts=1), CALLS["submit"])
            assert proxy.methods() == ["CONNECT"]
        assert not caught.value.sent
        assert "pass-of-the-proxy" not in shown(caught.value)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n", b"no HTTP"])
def test_an_answer_that_is_no_http_does_not_quote_the_request(
    conn_id: str, server: ScriptedServer, answer: bytes
) -> None:
    server.always("GET", raw(answer))
    with pytest.raises(TransportError) as caught:
        asynchronously(conn_id, DESCRIBE)
    assert server.requests[0].authorization.signature not in shown(caught.value)
    assert str(CREDENTIALS.token) not in shown(caught.value)


class TestTheTransportIsClosed:
    """No redirects, cookies, logins or proxies that the connection does not name."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_not_followed(self, conn_id: str, server: ScriptedServer, status: int) -> None:
        with ScriptedServer() as elsewhere:
            server.play(http("", status, location=f"{elsewhere.url}/stolen"))
            with pytest.raises(WrongEndpointError):
                asynchronously(conn_id, DESCRIBE)
            assert not elsewhere.requests

    def test_cookies_are_not_kept(self, conn_id: str, server: ScriptedServer) -> None:
        server.play(http("<Response/>", set_cookie="a=b; Path=/"), jobs())
        asynchronously(conn_id, DESCRIBE, DESCRIBE)
        assert [sent.header("Cookie") for sent in server.requests] == [None, None]

    def test_netrc_is_ignored(
        self, conn_id: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"machine 127.0.0.1 login somebody password something\nmachine {BUCKET} login a\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        server.play(jobs())
        asynchronously(conn_id, DESCRIBE)
        assert server.requests[0].is_signed_with(CREDENTIALS.secret_key)

    def test_proxies_are_ignored_for_loopback(
        self, conn_id: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.url)
            server.play(jobs())
            asynchronously(conn_id, DESCRIBE)
            assert not proxy.requests

    @pytest.mark.parametrize("scheme", ["http://", ""])
    def test_proxies_are_used_for_other_machines(
        self, connection: Define, monkeypatch: pytest.MonkeyPatch, scheme: str
    ) -> None:
        with ScriptedServer() as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"{scheme}127.0.0.1:{proxy.port}")
            proxy.play(jobs(), jobs())
            conn_id = connection("http://gateway.example", allow_http=True)
            asynchronously(conn_id, DESCRIBE)
            synchronously(conn_id, DESCRIBE)
            one, other = proxy.requests
            assert one.target == other.target == "http://gateway.example/jobs/j1%2Cj2"
            assert one.header("Host") == f"{BUCKET}.ci.{REGION}.myqcloud.com"

    def test_but_not_for_those_that_no_proxy_names(
        self, connection: Define, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ScriptedServer() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", ".invalid")
            with pytest.raises(TransportError):
                asynchronously(
                    connection("http://gateway.invalid", allow_http=True, max_attempts=1), DESCRIBE
                )
            assert not proxy.requests


class TestBounds:
    def test_of_size(self, connection: Define, server: ScriptedServer) -> None:
        megabytes: list[int] = []

        def flood(exchange: Exchange) -> None:
            exchange.send(head(length=10**9))
            while True:  # until the client gives up
                exchange.send(b" " * 1024 * 1024)
                megabytes.append(1)

        server.play(Answer(flood))
        with pytest.raises(InvalidResponseError, match="larger than") as caught:
            asynchronously(connection(server.url, max_attempts=1), DESCRIBE)
        assert caught.value.request_id == REQUEST_ID
        assert len(megabytes) < 24  # 8 are read, some more fit into the sockets' buffers

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
    def test_of_time(self, connection: Define, server: ScriptedServer, answer: Answer) -> None:
        server.play(answer)
        began = time.monotonic()
        with pytest.raises(TransportError, match="Timeout") as caught:
            asynchronously(
                connection(server.url, max_attempts=1, connect_timeout=0.2, read_timeout=0.2), DESCRIBE
            )
        assert caught.value.sent
        assert time.monotonic() - began < 3


class TestTheLoop:
    """What would take long happens beside it."""

    @pytest.mark.parametrize("size", [1_000, 300_000])
    def test_large_bodies_are_parsed_in_a_thread(
        self, conn_id: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        threads: list[threading.Thread] = []
        parse = DescribeJobs.parse

        def parsing(self: DescribeJobs, response: Any) -> Any:
            threads.append(threading.current_thread())
            return parse(self, response)

        monkeypatch.setattr(DescribeJobs, "parse", parsing)
        server.play(jobs(job_xml("j1", "Failed", message="m" * size)))
        (answer,) = asynchronously(conn_id, DESCRIBE)
        assert len(answer.jobs_detail[0].message) == size
        assert (threads[0] is threading.main_thread()) == (size == 1_000)

    def test_an_error_in_a_large_body_is_raised(self, conn_id: str, server: ScriptedServer) -> None:
        server.play(error(403, "AccessDenied", message="m" * 300_000))
        with pytest.raises(TencentCIError):
            asynchronously(conn_id, DESCRIBE)

    def test_a_cancelled_call_leaves_no_connection_in_use(self, conn_id: str, server: ScriptedServer) -> None:
        server.play(hang(), jobs())

        async def main() -> None:
            settings = await load_settings(conn_id)
            async with AsyncClient(settings, connections=1) as client:
                waiting = asyncio.create_task(client.call(DESCRIBE, settings.endpoint()))
                while not server.requests:
                    await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await client.call(DESCRIBE, settings.endpoint())  # the only connection is free again

        asyncio.run(main())
        assert [sent.connection for sent in server.requests] == [1, 2]


class TestLoadSettings:
    def load(self, conn_id: str = "tencent_ci_default") -> ConnectionSettings:
        return asyncio.run(load_settings(conn_id))

    @pytest.mark.parametrize("form", ["json", "json-with-extra-as-text", "uri", "uri-with-extra"])
    def test_as_the_hook_reads_it(self, monkeypatch: pytest.MonkeyPatch, logs: Any, form: str) -> None:
        extra = {"bucket": BUCKET, "region": REGION, "read_timeout": "7"}
        said = {"conn_type": "tencent_ci", "login": "AKIDx", "password": CREDENTIALS.secret_key}
        value = {
            "json": json.dumps(said | {"extra": extra}),
            "json-with-extra-as-text": json.dumps(said | {"extra": json.dumps(extra)}),
            "uri": (
                f"tencent-ci://AKIDx:{CREDENTIALS.secret_key}@/"
                f"?bucket={BUCKET}&region={REGION}&read_timeout=7"
            ),
            "uri-with-extra": (
                f"tencent-ci://AKIDx:{CREDENTIALS.secret_key}@/?__extra__=%7B%22bucket%22%3A%20%22{BUCKET}%22"
                f"%2C%20%22region%22%3A%20%22{REGION}%22%2C%20%22read_timeout%22%3A%207%7D"
            ),
        }[form]
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", value)
        settings = self.load()
        assert settings == TencentCIHook().settings
        assert (settings.bucket, settings.region, settings.read_timeout) == (BUCKET, REGION, 7)

    def test_what_is_wrong_is_told(self, connection: Define) -> None:
        with pytest.raises(ConfigurationError, match="SecretKey"):
            self.load(connection(password=""))

    def test_a_connection_that_is_gone(self, logs: Any) -> None:
        with pytest.raises(Exception, match="nowhere"):
            self.load("nowhere")

    def test_the_loop_goes_on_while_airflow_looks_it_up(
        self, connection: Define, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        conn_id = connection()
        beats: list[int] = []
        from airflow.providers.common.compat.sdk import BaseHook, Connection

        if hasattr(Connection, "aextra_dejson"):
            lookup = BaseHook.aget_connection

            async def slow_lookup(conn_id: str) -> Any:
                while len(beats) < 5:
                    await asyncio.sleep(0)
                return await lookup(conn_id)

            monkeypatch.setattr(BaseHook, "aget_connection", slow_lookup)
            monkeypatch.setattr(BaseHook, "get_connection", None)  # would block
        else:  # Airflow before 3.3.2, where it must be in a thread
            blocking_lookup = BaseHook.get_connection

            def slow_blocking_lookup(conn_id: str) -> Any:
                while len(beats) < 5:
                    time.sleep(0.001)
                return blocking_lookup(conn_id)

            monkeypatch.setattr(BaseHook, "get_connection", slow_blocking_lookup)

        async def main() -> ConnectionSettings:
            loading = asyncio.create_task(load_settings(conn_id))
            while not loading.done():
                beats.append(1)
                await asyncio.sleep(0)
            return await loading

        assert asyncio.run(main()).conn_id == conn_id
