"""What a refused call is saved by, in the hook and on an event loop alike: newer keys, the service's time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    ClockSkewError,
    CredentialsError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    TencentCIError,
)
from airflow_provider_ci.hooks.attempts import Attempts
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.clock import service_clock
from airflow_provider_ci.hooks.credentials_providers import VARIABLES, EnvironmentKeys
from airflow_provider_ci.protocol.jobs import CancelJobs, DescribeJobs, SubmitJob
from airflow_provider_ci.protocol.objects import GetObject, HeadObject
from airflow_provider_ci.protocol.wire import CLOCK_SKEW_TOLERANCE, SIGNATURE_TTL, Credentials, SignedRequest
from tests.conftest import CREDENTIALS, Logs
from tests.scripted_server import Answer, ScriptedServer, error, http, job, jobs
from tests.unit.hooks.fakes import Metadata
from tests.unit.hooks.transports import REQUEST, Send, by_hook

HEAD, GET = HeadObject("in/song.mp3"), GetObject("in/song.mp3")
READ, SUBMIT = DescribeJobs(("j1",)), SubmitJob(REQUEST)
ROTATING: dict[str, Any] = {"login": None, "password": None, "credential_source": "instance_role"}
BODILESS = [http("", status) for status in (400, 401, 403)]
DOUBTFUL = [error(401, "AccessDenied"), error(401, "1018"), *BODILESS]
REFUSED = [(400, "ExpiredToken"), (401, "SecretidNotExist"), (403, "InvalidAccessKeyId"), (401, "1019")]


pytestmark = pytest.mark.usefixtures("pauses")


@pytest.fixture
def rotating(connection: Callable[..., str], server: ScriptedServer, metadata: Metadata) -> str:
    """A connection whose credentials come from the metadata service."""
    return connection(server.url, **ROTATING)


@pytest.fixture
def static(connection: Callable[..., str], server: ScriptedServer) -> str:
    return connection(server.url)


def signers(server: ScriptedServer) -> list[tuple[str, str | None]]:
    """Return the SecretId and token of each request, after checking that the key belongs to them."""
    found = []
    for request in server.requests:
        secret_id = request.authorization.secret_id
        assert request.is_signed_with(f"key-{secret_id.removeprefix('AKIDtmp')}")
        token = request.header("x-ci-security-token") or request.header("x-cos-security-token")
        found.append((secret_id, token))
    return found


def at(seconds: float) -> str:
    """Return the ``Date`` of a service whose clock is so far ahead."""
    return formatdate(time.time() + seconds, usegmt=True)


class TestRefusedKeys:
    @pytest.mark.parametrize(("status", "code"), REFUSED)
    @pytest.mark.parametrize(("call", "answer"), [(READ, jobs()), (SUBMIT, job())], ids=["read", "submit"])
    def test_newer_keys_are_fetched_and_the_call_is_signed_again(
        self,
        send: Send,
        rotating: str,
        server: ScriptedServer,
        status: int,
        code: str,
        call: Any,
        answer: Answer,
    ) -> None:
        server.play(error(status, code), answer)
        send(rotating, call)
        assert signers(server) == [("AKIDtmp1", "token-1"), ("AKIDtmp2", "token-2")]

    @pytest.mark.parametrize("status", [200, 408, 500, 503])
    @pytest.mark.parametrize("code", ["ExpiredToken", "SignatureExpired"])
    def test_a_submission_that_may_have_been_accepted_is_not_sent_again(
        self, send: Send, rotating: str, server: ScriptedServer, status: int, code: str
    ) -> None:
        server.play(error(status, code, date=at(7200)))
        with pytest.raises(AuthenticationError):
            send(rotating, SUBMIT)
        assert server.methods() == ["POST"]

    def test_newer_keys_are_fetched_once(self, send: Send, rotating: str, server: ScriptedServer) -> None:
        server.play(error(400, "ExpiredToken"), error(400, "ExpiredToken"))
        with pytest.raises(AuthenticationError, match="ExpiredToken"):
            send(rotating, READ)
        assert len(signers(server)) == 2

    @pytest.mark.parametrize("call", [READ, SUBMIT], ids=["read", "submit"])
    def test_static_keys_are_refused_at_once(
        self, send: Send, static: str, server: ScriptedServer, call: Any
    ) -> None:
        server.play(error(401, "SecretidNotExist"))
        with pytest.raises(AuthenticationError, match=r"SecretidNotExist.*Check the connection's SecretId"):
            send(static, call)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (error(403, "AccessDenied"), PermissionDeniedError),
            (error(401, "AccessDenied", "not allowed to PassRole"), PermissionDeniedError),
            (error(404, "NoSuchBucket"), NotFoundError),
            (error(401, "MissingAuthorization"), AuthenticationError),
        ],
    )
    def test_keys_are_kept_when_others_would_not_help(
        self, send: Send, rotating: str, server: ScriptedServer, metadata: Metadata, answer: Answer, kind: Any
    ) -> None:
        server.play(answer)
        with pytest.raises(kind):
            send(rotating, READ)
        assert metadata.issued == 1

    @pytest.mark.parametrize(
        ("call", "answer", "refusal"),
        [
            *((READ, jobs(), refusal) for refusal in DOUBTFUL),
            *((SUBMIT, job(), refusal) for refusal in DOUBTFUL),
            *((HEAD, http(""), refusal) for refusal in BODILESS),
        ],
    )
    def test_newer_keys_are_tried_once_if_the_refusal_does_not_say_why(
        self, send: Send, rotating: str, server: ScriptedServer, call: Any, answer: Answer, refusal: Answer
    ) -> None:
        server.play(refusal, answer)
        send(rotating, call)
        assert signers(server) == [("AKIDtmp1", "token-1"), ("AKIDtmp2", "token-2")]

    @pytest.mark.parametrize("refusal", BODILESS)
    def test_a_missing_permission_does_not_ask_for_keys_at_each_call(
        self, send: Send, rotating: str, server: ScriptedServer, metadata: Metadata, refusal: Answer
    ) -> None:
        server.always("HEAD", refusal)
        for _ in range(5):
            with pytest.raises(TencentCIError, match="look at the object"):
                send(rotating, HEAD)
        assert metadata.issued == 2
        server.play(error(400, "ExpiredToken"), jobs())
        send(rotating, READ)  # a refusal that says it is the key still helps
        assert metadata.issued == 3

    def test_static_keys_are_not_tried_twice(self, send: Send, static: str, server: ScriptedServer) -> None:
        server.play(error(401, "AccessDenied"), http("", 403))
        for call in (READ, HEAD):
            with pytest.raises(PermissionDeniedError, match="the account's CAM policy"):
                send(static, call)
        assert len(server.requests) == 2

    @pytest.mark.parametrize("keys", ["static", "rotating"])
    def test_a_missing_permission_names_the_action_once(
        self, send: Send, keys: str, request: pytest.FixtureRequest, server: ScriptedServer
    ) -> None:
        """That of COS does not name what only CI needs."""
        server.always("HEAD", http("", 403))
        server.always("GET", error(401, "AccessDenied"))
        for call, action in ((READ, "ci:DescribeMediaJob"), (HEAD, "cos:HeadObject")):
            with pytest.raises(PermissionDeniedError) as caught:
                send(request.getfixturevalue(keys), call)
            assert str(caught.value).count(action) == 1
            assert ("audio service" in str(caught.value)) == (call is READ)

    def test_a_provider_without_other_keys_is_asked_again_by_the_next_call(
        self, send: Send, connection: Callable[..., str], server: ScriptedServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "credentials"
        path.write_text("[default]\nsecret_id=AKIDtmp1\nsecret_key=key-1\n")
        conn_id = connection(
            server.url, login=None, password=None, credential_source="file", credentials_file=str(path)
        )
        server.play(error(401, "SecretidNotExist"))
        with pytest.raises(AuthenticationError, match="SecretidNotExist"):
            send(conn_id, READ)
        path.write_text("[default]\nsecret_id=AKIDtmp2\nsecret_key=key-2\n")  # rotated by somebody
        server.play(error(401, "SecretidNotExist"), jobs())
        send(conn_id, READ)
        assert [secret_id for secret_id, _ in signers(server)] == ["AKIDtmp1", "AKIDtmp1", "AKIDtmp2"]

    def test_a_provider_without_other_keys_is_not_asked_at_each_refusal(
        self, send: Send, connection: Callable[..., str], server: ScriptedServer, mocker: MockerFixture
    ) -> None:
        mocker.patch.dict("os.environ", zip(VARIABLES, ("AKIDtmp1", "key-1", ""), strict=True))
        fetch = mocker.spy(EnvironmentKeys, "fetch")
        conn_id = connection(server.url, login=None, password=None, credential_source="environment")
        server.always("HEAD", http("", 403))
        for _ in range(3):
            with pytest.raises(PermissionDeniedError):
                send(conn_id, HEAD)
        assert len(server.requests) == 3
        assert fetch.call_count == 2

    @pytest.mark.parametrize("call", [READ, SUBMIT], ids=["read", "submit"])
    def test_a_failing_refresh_fails_the_call(
        self, send: Send, rotating: str, server: ScriptedServer, metadata: Metadata, call: Any
    ) -> None:
        def break_down(*_: Any) -> Answer:
            metadata.answer = lambda _: (403, b"")
            return error(400, "ExpiredToken")

        server.always("GET", break_down)
        server.always("POST", break_down)
        with pytest.raises(CredentialsError, match=r"The metadata service failed \(HTTP 403\)\..*bind one"):
            send(rotating, call)
        assert len(server.requests) == 1

    def test_a_provider_that_fails_for_the_moment_is_asked_again(
        self, rotating: str, server: ScriptedServer, metadata: Metadata
    ) -> None:
        """Also a submission: nothing of it has been sent."""
        answers = iter([(500, b""), (503, b"")])
        metadata.answer = lambda _: next(answers, None)
        server.play(job("j7"))
        assert by_hook(rotating, SUBMIT)[0].jobs_detail[0].job_id == "j7"
        assert signers(server) == [("AKIDtmp1", "token-1")]

    def test_a_refresh_does_not_count_as_an_attempt(
        self, connection: Callable[..., str], server: ScriptedServer, metadata: Metadata
    ) -> None:
        conn_id = connection(server.url, max_attempts=2, **ROTATING)
        server.play(error(500, "InternalError"), error(400, "ExpiredToken"), error(500, "InternalError"))
        with pytest.raises(ServerError):
            by_hook(conn_id, READ)
        assert [secret_id for secret_id, _ in signers(server)] == ["AKIDtmp1", "AKIDtmp1", "AKIDtmp2"]

    def test_downloads_and_uploads_get_newer_keys_too(
        self, rotating: str, server: ScriptedServer, tmp_path: Path
    ) -> None:
        hook = TencentCIHook(rotating)
        (tmp_path / "in").write_bytes(b"sound")
        server.play(error(403, "InvalidAccessKeyId"), http(""), error(400, "ExpiredToken"), http(b"sound"))
        hook.upload_file(tmp_path / "in", "in/song.mp3")
        hook.download_file("in/song.mp3", tmp_path / "out")
        hook.close()
        assert (tmp_path / "out").read_bytes() == b"sound"
        used = [request.authorization.secret_id for request in server.requests]
        assert used == ["AKIDtmp1", "AKIDtmp2", "AKIDtmp2", "AKIDtmp3"]

    def test_the_connection_test_gets_newer_keys_too(
        self, rotating: str, server: ScriptedServer, metadata: Metadata
    ) -> None:
        server.play(error(400, "ExpiredToken"), jobs())
        hook = TencentCIHook(rotating)
        assert hook.test_connection()[0]
        server.play(error(401, "SecretidNotExist"), error(401, "SecretidNotExist"))
        ok, said = hook.test_connection()
        assert not ok
        assert said.startswith("The credentials (source instance_role) are wrong")
        hook.close()

    def test_the_connection_test_reports_missing_credentials(
        self, rotating: str, server: ScriptedServer, metadata: Metadata
    ) -> None:
        metadata.answer = lambda _: (404, b"")
        hook = TencentCIHook(rotating)
        ok, said = hook.test_connection()
        assert not ok
        assert said.startswith("There are no credentials from source instance_role: No role is bound")

    def test_a_cancellation_before_the_kill_does_not_ask_for_newer_keys(
        self, rotating: str, server: ScriptedServer, metadata: Metadata
    ) -> None:
        hook = TencentCIHook(rotating)
        provider = hook.settings.credentials
        provider.get()
        assert provider._cached is not None
        provider._cached = replace(provider._cached, refresh_at=0.0)
        server.play(http(""))
        hook.call_within(CancelJobs(("j1",)), 2)
        hook.close()
        assert metadata.issued == 1

    def test_the_refused_keys_are_those_that_were_sent_even_if_another_thread_renews_them(
        self, rotating: str, server: ScriptedServer, mocker: MockerFixture
    ) -> None:
        hook = TencentCIHook(rotating)
        credentials, sign = hook.settings.credentials, Attempts.sign
        others = [True]

        def lose_the_race_and_sign(attempts: Attempts, taken: Credentials) -> SignedRequest:
            if others:  # before this thread signs, the service refuses the same credentials to another one
                others.pop()
                credentials.get(newer_than=taken)
            return sign(attempts, taken)

        mocker.patch.object(Attempts, "sign", lose_the_race_and_sign)
        server.play(error(400, "ExpiredToken"), jobs())
        hook.describe_jobs(["j1"])
        hook.close()
        assert [secret_id for secret_id, _ in signers(server)] == ["AKIDtmp1", "AKIDtmp2"]

    def test_no_secret_is_logged(self, send: Send, rotating: str, server: ScriptedServer, logs: Logs) -> None:
        server.play(error(400, "ExpiredToken"), jobs())
        send(rotating, READ)
        for secret in ("key-1", "key-2", "token-1", "token-2"):
            assert secret not in logs.everything()


class TestTheClock:
    @pytest.fixture(autouse=True)
    def time_stands_still(self, mocker: MockerFixture) -> None:
        """What the service says of its time is then as true when it arrives as when it was scripted."""
        mocker.patch("time.time", return_value=1_700_000_000.0)

    @pytest.mark.parametrize(
        ("status", "skew", "call"), [(401, 7200, GET), (403, -7200, HEAD), (401, -100, HEAD)]
    )
    def test_the_time_is_learnt_from_a_refusal_without_a_body(
        self, send: Send, static: str, server: ScriptedServer, status: int, skew: float, call: Any
    ) -> None:
        server.play(http("", status, date=at(skew)), http(""))
        send(static, call)
        first, second = (request.authorization for request in server.requests)
        assert second.start - first.start == skew

    def test_the_time_is_learnt_from_a_refusal_in_general_words(
        self, send: Send, static: str, server: ScriptedServer
    ) -> None:
        server.play(error(401, "AccessDenied", "signature not verified", date=at(7200)), job())
        send(static, SUBMIT)
        first, second = (request.authorization for request in server.requests)
        assert second.start - first.start == 7200

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("", None),
            ("", "soon"),
            ("", 0),
            ("", 300),  # within the validity: the time was not the reason
            ("<html>a gateway</html>", 7200),
            ("<Error><Code>AccessDenied</Code><Message>cannot PassRole</Message></Error>", 7200),
        ],
    )
    def test_a_refusal_for_another_reason_does_not_change_the_clock(
        self, send: Send, static: str, server: ScriptedServer, body: str, said: int | str | None
    ) -> None:
        date = at(said) if isinstance(said, int) else said
        server.play(http(body, 403, **({} if date is None else {"date": date})))
        with pytest.raises(PermissionDeniedError) as caught:
            send(static, GET)
        assert type(caught.value) is PermissionDeniedError
        assert service_clock(server.url).offset == 0

    def test_an_unbelievable_difference_is_reported_as_a_wrong_clock(
        self, send: Send, static: str, server: ScriptedServer
    ) -> None:
        server.play(http("", 403, date=at(200_000)))
        with pytest.raises(ClockSkewError, match="Synchronise this machine's clock"):
            send(static, HEAD)

    @pytest.mark.parametrize(
        ("status", "code", "message", "skew"),
        [
            (401, "SignatureExpired", "x", 7200),
            (401, "1014", "x", -7200),
            (403, "RequestTimeTooSkewed", "x", 45),
            (403, "AccessDenied", "Request has expired", -45),
        ],
    )
    def test_the_time_is_learnt_from_the_refusal(
        self,
        send: Send,
        static: str,
        server: ScriptedServer,
        logs: Logs,
        status: int,
        code: str,
        message: str,
        skew: float,
    ) -> None:
        server.play(error(status, code, message, date=at(skew)), jobs(), jobs())
        send(static, READ)
        first, second = (request.authorization for request in server.requests)
        assert second.start - first.start == skew
        assert second.end - second.start == CLOCK_SKEW_TOLERANCE + SIGNATURE_TTL
        assert all(request.is_signed_with(CREDENTIALS.secret_key) for request in server.requests)
        send(static, READ)  # by another hook: the process knows it
        assert server.requests[2].authorization.start - first.start == skew
        (line,) = [line for line in logs.at("warning") if "clock" in line]
        assert ("behind" if skew > 0 else "ahead of") in line
        assert server.url in line

    @pytest.mark.parametrize("said", [None, "soon", 20, -20, 90_000, -90_000])
    def test_a_small_huge_or_missing_difference_is_not_learnt(
        self, send: Send, static: str, server: ScriptedServer, said: float | str | None
    ) -> None:
        date = at(said) if isinstance(said, int) else said
        server.play(error(401, "SignatureExpired", **({} if date is None else {"date": str(date)})))
        with pytest.raises(ClockSkewError, match="Synchronise this machine's clock") as caught:
            send(static, READ)
        assert not caught.value.corrected
        assert service_clock(server.url).offset == 0

    def test_the_clock_is_corrected_once(self, send: Send, static: str, server: ScriptedServer) -> None:
        server.play(*(error(401, "SignatureExpired", date=at(skew)) for skew in (7200, 0)))
        with pytest.raises(ClockSkewError):
            send(static, READ)
        assert len(server.requests) == 2

    def test_only_the_clock_of_that_service_changes(
        self, send: Send, static: str, server: ScriptedServer
    ) -> None:
        server.play(error(401, "SignatureExpired", date=at(7200)), jobs())
        send(static, READ)
        assert service_clock(None).offset == 0

    def test_a_clock_that_was_set_right_is_learnt_again(
        self, send: Send, static: str, server: ScriptedServer
    ) -> None:
        service_clock(server.url).offset = 7200
        server.play(error(401, "SignatureExpired", date=at(0)), jobs())
        send(static, READ)
        assert service_clock(server.url).offset == 0

    def test_other_threads_that_were_refused_meanwhile_try_again_too(self, server: ScriptedServer) -> None:
        clock = service_clock(server.url)
        assert clock.correct(7200, 0, used_offset=0)
        assert clock.correct(7201, 0, used_offset=0)
        assert clock.offset == 7200
        assert not clock.correct(7201, 0, used_offset=7200)

    def test_a_submission_without_expiry_is_sent_again(
        self, send: Send, static: str, server: ScriptedServer
    ) -> None:
        server.play(error(401, "SignatureExpired", date=at(7200)), job())
        send(static, SUBMIT)
        assert server.methods() == ["POST", "POST"]

    def test_a_submission_with_an_expiry_is_left_to_the_caller(
        self, send: Send, static: str, server: ScriptedServer
    ) -> None:
        server.play(error(401, "SignatureExpired", date=at(7200)))
        with pytest.raises(ClockSkewError) as caught:
            send(static, SubmitJob(REQUEST, time.time() + 60))
        assert caught.value.corrected
        hook = TencentCIHook(static)
        assert hook.now() - time.time() == 7200
        server.play(job())
        hook.submit_job(REQUEST, expires_at=hook.now() + 60)
        hook.close()
        said = server.requests[-1].authorization
        assert said.end - time.time() == 7260
        assert said.start < said.end

    def test_clock_and_keys_can_be_corrected_in_one_call(
        self, send: Send, rotating: str, server: ScriptedServer
    ) -> None:
        server.play(error(401, "SignatureExpired", date=at(7200)), error(400, "ExpiredToken"), jobs())
        send(rotating, READ)
        assert [secret_id for secret_id, _ in signers(server)] == ["AKIDtmp1", "AKIDtmp1", "AKIDtmp2"]

    def test_the_connection_test_reports_a_wrong_clock(self, static: str, server: ScriptedServer) -> None:
        server.play(error(401, "SignatureExpired"))
        hook = TencentCIHook(static)
        ok, said = hook.test_connection()
        hook.close()
        assert not ok
        assert said.startswith("This machine's clock is wrong")
