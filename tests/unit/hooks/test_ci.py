"""The hook's calls about jobs, against a server that plays scripted answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    PermissionDeniedError,
    RequestValidationError,
    ServerError,
    TencentCIError,
    ThrottledError,
    TransportError,
    WrongEndpointError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.jobs import CancelJobs
from airflow_provider_ci.protocol.tree import Tree
from tests.conftest import BUCKET, CREDENTIALS, REGION, Logs
from tests.patience import PATIENCE, SOON, wait_until
from tests.scripted_server import (
    REQUEST_ID,
    Answer,
    ScriptedServer,
    after,
    drip,
    error,
    hang,
    hang_up,
    head,
    http,
    job,
    job_xml,
    jobs,
    reset_before_reading,
)
from tests.unit.hooks.transports import GARBAGE, LOST, REQUEST

MakeHook = Callable[..., TencentCIHook]
CI_HOST = f"{BUCKET}.ci.{REGION}.myqcloud.com"
READS = {
    "describe": lambda hook: hook.describe_jobs(["j1"]),
    "list": lambda hook: list(hook.list_jobs()),
    "cancel": lambda hook: hook.cancel_jobs(["j1"]),
}


def voice_request(key: str, source: str = "in/a.mp3", **place: str) -> Tree:
    """Return a request for the voice of ``source``, with results in mp3."""
    parameters = {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3"}}
    return {
        "Tag": "VoiceSeparate",
        "Input": {"Object": source},
        "Operation": {"VoiceSeparate": parameters, "Output": {**place, "AuObject": key}},
    }


class TestWhatIsSent:
    @pytest.mark.parametrize(
        ("call", "answer", "method", "path", "params"),
        [
            (lambda hook: hook.submit_job(REQUEST), job(), "POST", "/jobs", {}),
            (lambda hook: hook.describe_jobs(["j1", "j2"]), jobs(), "GET", "/jobs/j1,j2", {}),
            (
                lambda hook: list(
                    hook.list_jobs(
                        input_object="in/söng +&=.mp3",
                        states=["Submitted", "Running"],
                        order_by_time="Asc",
                        start_creation_time=datetime(2025, 1, 1, tzinfo=UTC),
                        end_creation_time=datetime(2025, 1, 2, tzinfo=UTC),
                        queue_id="p1",
                        workflow_id="w1",
                        inventory_trigger_job_id="b1",
                    )
                ),
                jobs(),
                "GET",
                "/jobs",
                {
                    "tag": "VoiceSeparate",
                    "inputObject": "in/söng +&=.mp3",
                    "states": "Submitted,Running",
                    "orderByTime": "Asc",
                    "startCreationTime": "2025-01-01T08:00:00+0800",
                    "endCreationTime": "2025-01-02T08:00:00+0800",
                    "queueId": "p1",
                    "workflowId": "w1",
                    "inventoryTriggerJobId": "b1",
                    "size": "100",
                },
            ),
            (lambda hook: hook.cancel_jobs(["j1"]), http(), "PUT", "/jobs/j1", {"cancel": ""}),
            (
                lambda hook: hook.call_within(CancelJobs(("j1",)), 4),
                http(),
                "PUT",
                "/jobs/j1",
                {"cancel": ""},
            ),
        ],
        ids=["submit", "describe", "list", "cancel", "cancel-within"],
    )
    def test_every_call_is_signed_for_the_virtual_host(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        call: Callable[[TencentCIHook], object],
        answer: Answer,
        method: str,
        path: str,
        params: dict[str, str],
    ) -> None:
        server.play(answer)
        call(hook)
        (sent,) = server.requests
        assert (sent.method, sent.path, sent.params) == (method, path, params)
        assert sent.header("Host") == CI_HOST
        assert sent.header("x-ci-security-token") == CREDENTIALS.token
        assert sent.authorization.secret_id == CREDENTIALS.secret_id
        assert sent.is_signed_with(CREDENTIALS.secret_key)
        assert not sent.is_signed_with("another key")
        assert {"host", "x-ci-security-token"} <= set(sent.authorization.header_list)
        assert set(sent.authorization.url_param_list) == {name.lower() for name in params}
        assert sent.header("Accept-Encoding") == "identity"
        assert str(sent.header("User-Agent")).startswith("airflow-provider-ci/")
        assert sent.header("Cookie") is None

    def test_a_submission_carries_its_body_and_md5(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(job())
        hook.submit_job(REQUEST)
        (sent,) = server.requests
        assert sent.body.endswith(b"</Request>")
        assert b"<Object>in/song.mp3</Object>" in sent.body
        assert sent.header("Content-Type") == "application/xml"
        assert "content-md5" in sent.authorization.header_list

    def test_bucket_and_region_of_the_call_override_the_connections(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(jobs())
        hook.describe_jobs(["j1"], bucket="other-1250000002", region="ap-beijing")
        assert server.requests[0].header("Host") == "other-1250000002.ci.ap-beijing.myqcloud.com"

    def test_without_a_token_there_is_no_token_header(
        self, make_hook: MakeHook, server: ScriptedServer
    ) -> None:
        server.play(jobs())
        make_hook().describe_jobs(["j1"])
        assert server.requests[0].header("x-ci-security-token") is None

    def test_one_connection_serves_several_calls_until_it_is_closed(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(jobs(), http(), jobs(), jobs())
        hook.describe_jobs(["j1"])
        hook.cancel_jobs(["j1"])
        hook.describe_jobs(["j1"])
        hook.close()
        hook.describe_jobs(["j1"])
        assert [sent.connection for sent in server.requests] == [1, 1, 1, 2]

    @pytest.mark.parametrize("fails", [False, True])
    def test_the_end_of_a_with_block_closes_it(
        self, hook: TencentCIHook, server: ScriptedServer, mocker: MockerFixture, fails: bool
    ) -> None:
        server.play(jobs())
        with pytest.raises(KeyError) if fails else nullcontext(), hook as entered:
            assert entered is hook
            hook.describe_jobs(["j1"])
            closed = mocker.spy(hook.get_conn(), "close")
            if fails:
                raise KeyError
        assert closed.called

    def test_a_hook_that_was_never_used_can_be_closed(self) -> None:
        TencentCIHook().close()

    def test_get_conn_is_the_session_of_the_calls(self, hook: TencentCIHook) -> None:
        assert hook.get_conn() is hook.get_conn()

    def test_bad_input_is_not_sent(self, hook: TencentCIHook) -> None:
        with pytest.raises(RequestValidationError):
            hook.submit_job({})
        with pytest.raises(ConfigurationError):
            hook.describe_jobs(["j1"], bucket="bad")
        for call in (hook.describe_jobs, hook.cancel_jobs):
            with pytest.raises(RequestValidationError, match="job_id is 'a/b'"):
                call(["j1", "a/b"])
            with pytest.raises(RequestValidationError, match="a list"):
                call("j123")


class TestResponses:
    def test_a_submission_returns_the_job_and_the_request_id(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(job("j9", "Submitted"))
        accepted, request_id = hook.submit_job(REQUEST)
        assert (accepted.job_id, accepted.state, request_id) == ("j9", "Submitted", REQUEST_ID)

    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (400, "InvalidArgument", InvalidRequestError),
            (401, "InvalidAuthorization", AuthenticationError),
            (403, "AccessDenied", PermissionDeniedError),
            (301, "PermanentRedirect", WrongEndpointError),
            (501, "NotImplemented", ServerError),
        ],
    )
    @pytest.mark.parametrize("call", READS.values(), ids=READS)
    def test_a_refusal_is_raised_at_once_with_its_facts(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        pauses: list[float],
        call: Callable[[TencentCIHook], object],
        status: int,
        code: str,
        kind: type[TencentCIError],
    ) -> None:
        server.play(error(status, code))
        with pytest.raises(kind) as caught:
            call(hook)
        failure = caught.value
        assert (failure.status, failure.code) == (status, code)
        assert failure.service_message == "Said by the service."
        assert failure.request_id == REQUEST_ID
        assert failure.hint
        assert not pauses


class TestReadsAreRepeated:
    @pytest.mark.parametrize(
        "failure",
        [
            *LOST,
            pytest.param(reset_before_reading(), id="reset-before-reading"),
            *GARBAGE,
            pytest.param(error(429, "SlowDown"), id="429"),
            pytest.param(error(500, "InternalError"), id="500"),
            pytest.param(http("<html>Bad gateway</html>", 502), id="502"),
            pytest.param(error(503, "SlowDown"), id="503"),
            pytest.param(error(503, "ServiceUnavailable"), id="503-unavailable"),
            pytest.param(http("", 504), id="504"),
        ],
    )
    def test_a_read_is_repeated_after_a_failure_that_may_pass(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float], failure: Answer
    ) -> None:
        server.play(failure, job("j1", "Running"))
        assert hook.describe_jobs(["j1"]).jobs_detail[0].state == "Running"
        assert pauses == [1]

    @pytest.mark.parametrize("call", READS.values(), ids=READS)
    def test_every_read_is_repeated_and_says_so(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        pauses: list[float],
        call: Callable[[TencentCIHook], object],
        logs: Logs,
    ) -> None:
        server.play(error(500, "InternalError"), hang_up(), jobs())
        call(hook)
        assert pauses == [1, 2]
        assert [line[:39] for line in logs.at("warning")] == [
            "Attempt 1 failed, retrying in 1.0 s: Ca",
            "Attempt 2 failed, retrying in 2.0 s: No",
        ]

    def test_a_read_is_repeated_after_a_timeout(
        self, make_hook: MakeHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.always("GET", lambda _: hang() if len(server.requests) == 1 else jobs())
        make_hook(read_timeout=SOON).describe_jobs(["j1"])
        assert pauses[0] == 1  # on a busy machine others follow

    @pytest.mark.parametrize(
        ("most", "expected"),
        [(1, []), (2, [1]), (6, [1, 2, 4, 8, 16]), (10, [1, 2, 4, 8, 16, 30, 30, 30, 30])],
    )
    def test_a_read_is_repeated_as_often_as_the_connection_says_with_growing_pauses(
        self,
        make_hook: MakeHook,
        server: ScriptedServer,
        pauses: list[float],
        most: int,
        expected: list[float],
    ) -> None:
        server.always("GET", error(500, "InternalError"))
        with pytest.raises(ServerError):
            make_hook(max_attempts=most).describe_jobs(["j1"])
        assert len(server.requests) == most
        assert pauses == expected

    def test_the_jitter_is_drawn_from_the_whole_pause(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        pauses: list[float],
        mocker: MockerFixture,
    ) -> None:
        mocker.patch("random.uniform", lambda least, most: (least + most) / 2)
        server.play(hang_up(), hang_up(), jobs())
        hook.describe_jobs(["j1"])
        assert pauses == [0.5, 1]

    @pytest.mark.parametrize(
        ("said", "expected"),
        [("7", 8), ("0", 1), ("0.5", 1.5), ("100000", 301), ("soon", 1), ("-3", 1), ("nan", 1)],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_comes_before_the_jitter(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        pauses: list[float],
        said: str,
        expected: float,
        status: int,
    ) -> None:
        server.play(error(status, "SlowDown", retry_after=said), jobs())
        hook.describe_jobs(["j1"])
        assert pauses == [expected]

    def test_each_attempt_has_a_new_signature(
        self, hook: TencentCIHook, server: ScriptedServer, mocker: MockerFixture
    ) -> None:
        time = mocker.patch("airflow_provider_ci.hooks.clock.time.time", return_value=1_700_000_000)

        def sleep(_: float) -> None:
            time.return_value += 1000

        hook.sleep = sleep
        server.play(error(500, "InternalError"), error(500, "InternalError"), jobs())
        hook.describe_jobs(["j1"])
        starts = [sent.authorization.start for sent in server.requests]
        assert [start - starts[0] for start in starts] == [0, 1000, 2000]
        assert all(sent.is_signed_with(CREDENTIALS.secret_key) for sent in server.requests)


class TestAcceptedSubmissions:
    @pytest.mark.parametrize("message", [b"&#x1b;", b"\x1b", b"\xff", b"&#0;"], ids=ascii)
    def test_an_accepted_job_is_read_whatever_its_message_holds(
        self, hook: TencentCIHook, server: ScriptedServer, message: bytes
    ) -> None:
        accepted = (
            b"\r\n<?xml version='1.0' encoding='UTF-8'?><Response><JobsDetail><JobId>j1</JobId>"
            b"<State>Submitted</State><Message>" + message + b"</Message></JobsDetail></Response>"
        )
        server.play(http(accepted))
        job, _ = hook.submit_job(REQUEST)
        assert (job.job_id, job.message) == ("j1", "\ufffd")
        assert server.methods() == ["POST"]


class TestFailedSubmissions:
    @pytest.mark.parametrize(
        "answer",
        [
            *LOST,
            pytest.param(reset_before_reading(), id="reset-before-reading"),
            *GARBAGE,
            pytest.param(http("<Response/>"), id="no-job-id"),
            pytest.param(error(200, "InternalError"), id="error-in-a-200"),
            pytest.param(error(500, "InternalError"), id="500"),
            pytest.param(error(503, "ServiceUnavailable"), id="503"),
            pytest.param(error(503, "SlowDown"), id="503-slow-down"),
            pytest.param(http("<html>Bad gateway</html>", 502), id="502"),
            pytest.param(http("", 504), id="504"),
            pytest.param(error(501, "NotImplemented"), id="501"),
        ],
    )
    def test_a_submission_that_may_have_been_accepted_is_ambiguous_and_not_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float], answer: Answer
    ) -> None:
        server.always("GET", jobs())  # the connection is one that was used before
        hook.describe_jobs(["j1"])
        server.play(answer)
        with pytest.raises(AmbiguousSubmissionError, match="may run and be billed") as caught:
            hook.submit_job(REQUEST)
        assert server.methods().count("POST") == (not answer.before_reading)
        assert not pauses
        assert isinstance(caught.value.__cause__, TencentCIError)
        assert "job list" in str(caught.value.hint)

    def test_a_submission_is_not_repeated_after_a_timeout(
        self, make_hook: MakeHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(hang())
        with pytest.raises(AmbiguousSubmissionError, match="timed out"):
            make_hook(read_timeout=SOON).submit_job(REQUEST)
        wait_until(server.methods)  # the server may read it only now
        assert server.methods() == ["POST"]
        assert not pauses

    def test_an_ambiguous_submission_has_the_facts_of_the_failure(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(error(500, "InternalError", "Something broke."))
        with pytest.raises(AmbiguousSubmissionError) as caught:
            hook.submit_job(REQUEST)
        failure = caught.value
        assert (failure.status, failure.code, failure.service_message, failure.request_id) == (
            500,
            "InternalError",
            "Something broke.",
            REQUEST_ID,
        )

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (400, "InvalidArgument"),
            (401, "InvalidAuthorization"),
            (403, "AccessDenied"),
            (403, "QueueSaturated"),
            (404, "NoSuchBucket"),
            (307, "TemporaryRedirect"),
        ],
    )
    def test_a_refused_submission_is_neither_ambiguous_nor_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float], status: int, code: str
    ) -> None:
        server.play(error(status, code))
        with pytest.raises(TencentCIError) as caught:
            hook.submit_job(REQUEST)
        assert not isinstance(caught.value, AmbiguousSubmissionError)
        assert caught.value.code == code
        assert server.methods() == ["POST"]
        assert not pauses

    def test_a_throttled_submission_is_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(error(429, "SlowDown", retry_after="3"), error(429, "SlowDown"), job("j9"))
        assert hook.submit_job(REQUEST)[0].job_id == "j9"
        assert pauses == [4, 2]

    def test_a_submission_throttled_to_the_end_is_not_ambiguous(
        self, make_hook: MakeHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.always("POST", error(429, "SlowDown"))
        with pytest.raises(ThrottledError):
            make_hook(max_attempts=2).submit_job(REQUEST)
        assert pauses == [1]

    def test_a_submission_is_repeated_after_a_refused_connection(
        self, make_hook: MakeHook, pauses: list[float], monkeypatch: pytest.MonkeyPatch, closed_port: int
    ) -> None:
        with ScriptedServer() as late:
            late.play(job("j9"))
            hook = make_hook(url=f"http://127.0.0.1:{closed_port}")

            def wake_up(seconds: float) -> None:
                pauses.append(seconds)
                if len(pauses) == 2:  # the service comes up
                    object.__setattr__(hook.settings, "endpoint_url", late.url)

            hook.sleep = wake_up
            with pytest.raises(TransportError):
                hook.submit_job(REQUEST)
            assert hook.submit_job(REQUEST)[0].job_id == "j9"
            assert late.methods() == ["POST"]
        assert pauses == [1, 2, 4, 8, 16]


class TestARefusal:
    @pytest.mark.parametrize(
        ("tag", "action", "service"),
        [
            ("VoiceSeparate", "ci:CreateMediaJobs", "asr"),
            ("SpeechRecognition", "ci:CreateAsrJobs", "asr"),
            ("FileUncompress", "ci:CreateFileProcessJobs", "file_"),
            ("Newest", "ci:CreateMediaJobs", "media"),
        ],
    )
    def test_for_a_missing_permission_names_the_action_of_the_type(
        self, hook: TencentCIHook, server: ScriptedServer, tag: str, action: str, service: str
    ) -> None:
        output = {"AuObject": "out/a", "Object": "out/b"}
        request = {
            "Tag": tag,
            "Input": {"Object": "in/a"},
            "Operation": {"TemplateId": "t1", "Output": output},
        }
        server.play(error(403, "AccessDenied"))
        with pytest.raises(PermissionDeniedError) as caught:
            hook.submit_job(request)
        assert f"A job with Tag {tag} needs the action {action}, and the service {service}" in str(
            caught.value
        )
        assert "Check the account's CAM policy" in str(caught.value)
        server.play(error(403, "AsrBucketUnBinded"))
        with pytest.raises(PermissionDeniedError) as caught:
            hook.submit_job(request)
        assert "needs the action" not in str(caught.value)


class TestWhereResultsGo:
    @pytest.mark.parametrize(
        ("given", "of_the_call", "expected"),
        [
            ({}, {}, (BUCKET, REGION)),
            ({"Bucket": "", "Region": ""}, {}, (BUCKET, REGION)),
            ({}, {"bucket": "in-1250000002", "region": "ap-beijing"}, ("in-1250000002", "ap-beijing")),
            ({"Bucket": "out-1250000003"}, {}, ("out-1250000003", REGION)),
            ({"Region": "ap-beijing"}, {}, (BUCKET, "ap-beijing")),
            (
                {"Bucket": "out-1250000003", "Region": "ap-beijing"},
                {"bucket": "in-1250000002"},
                ("out-1250000003", "ap-beijing"),
            ),
        ],
    )
    def test_results_go_to_the_bucket_of_the_call_unless_the_request_names_another(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        given: dict[str, str],
        of_the_call: dict[str, str],
        expected: tuple[str, str],
    ) -> None:
        server.play(job())
        hook.submit_job(voice_request("out/voice.mp3", **given), **of_the_call)
        sent = server.requests[0].body.decode()
        assert f"<Bucket>{expected[0]}</Bucket>" in sent
        assert f"<Region>{expected[1]}</Region>" in sent

    @pytest.mark.parametrize(
        ("source", "key", "says"),
        [
            ("in/a.mp3", "in/a.mp3", "AuObject (voice) is 'in/a.mp3', allowed: another key than the input's"),
            (
                "in/a.mp3",
                "in/a.${ext}",
                "AuObject (voice) is 'in/a.${ext}', allowed: another key than the in",
            ),
            ("None", "out/a.mp3", "Input.Object is 'None', allowed: an object key; this is the string that"),
        ],
    )
    def test_results_may_not_overwrite_the_input(
        self, hook: TencentCIHook, server: ScriptedServer, source: str, key: str, says: str
    ) -> None:
        with pytest.raises(RequestValidationError) as caught:
            hook.submit_job(voice_request(key, source))
        assert says in str(caught.value)
        assert not server.requests

    @pytest.mark.parametrize("has_input", [True, False])
    def test_results_may_not_overwrite_an_input_that_is_named_by_its_address(
        self, hook: TencentCIHook, server: ScriptedServer, *, has_input: bool
    ) -> None:
        address = f"https://{hook.settings.bucket}.cos.ap-guangzhou.myqcloud.com/in/b%20c.mp3?sign=secret"
        concat = {"ConcatFragment": [{"Url": "https://example.com/out/a.mp3"}, {"Url": address}]}

        def submit(key: str) -> None:
            operation = {"ConcatTemplate": concat, "Output": {"Object": key}}
            source = {"Input": {"Object": "in/a.mp3"}} if has_input else {}
            hook.submit_job({"Tag": "Concat", **source, "Operation": operation})

        with pytest.raises(RequestValidationError, match=r"'in/b c[.]mp3', also") as said:
            submit("in/b c.mp3")
        assert "secret" not in str(said.value)
        assert not server.requests
        server.play(job())
        submit("out/a.mp3")
        assert server.methods() == ["POST"]

    def test_results_may_have_the_inputs_key_in_another_bucket(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(job())
        hook.submit_job(voice_request("in/a.mp3", Bucket="out-1250000003"))
        assert server.methods() == ["POST"]

    @pytest.mark.parametrize("operation", [None, {}, "text", 5])
    def test_a_request_without_output_is_refused(self, hook: TencentCIHook, operation: Any) -> None:
        request = {"Tag": "VoiceSeparate", "Input": {"Object": "in/a.mp3"}, "Operation": operation}
        with pytest.raises(RequestValidationError, match="Operation"):
            hook.submit_job(request)


class TestLimit:
    """For those who wait, repeat calls themselves and have a deadline."""

    def test_a_call_is_tried_once(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(error(503, "SlowDown"), error(503, "SlowDown"), job())
        with hook.limit(attempts=1), pytest.raises(ThrottledError):
            hook.describe_jobs(["j1"])
        assert hook.describe_jobs(["j1"]).jobs_detail, "afterwards all is as before"
        assert len(pauses) == 1

    def test_no_pause_outlasts_what_is_left(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(error(503, "SlowDown"), error(503, "SlowDown", retry_after="300"))
        with hook.limit(seconds=60), pytest.raises(ThrottledError):
            hook.describe_jobs(["j1"])
        assert pauses == [1]

    def test_an_inner_block_allows_more_attempts_but_no_more_time(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(error(503, "SlowDown"), job(), error(503, "SlowDown", retry_after="300"))
        with hook.limit(attempts=1, seconds=60), hook.limit():
            hook.describe_jobs(["j1"])
            with pytest.raises(ThrottledError):
                hook.describe_jobs(["j1"])
        assert pauses == [1]

    def test_a_response_is_not_waited_for_much_longer(self, make_hook: MakeHook) -> None:
        hook = make_hook(connect_timeout=30, read_timeout=300)
        assert hook._timeouts == (30, 300)
        with hook.limit(seconds=20):
            connect, read = hook._timeouts
            assert 15 < connect <= read <= 20
        with hook.limit(seconds=-7):
            assert hook._timeouts == (5, 5), "a last look gets an answer that comes as usual"


@pytest.mark.parametrize("given", ["j1", b"j1", bytearray(b"j1"), {"j1": 1}, None, 7], ids=repr)
@pytest.mark.parametrize("name", ["describe_jobs", "cancel_jobs"])
def test_only_a_list_of_ids_is_accepted(
    hook: TencentCIHook, server: ScriptedServer, name: str, given: Any
) -> None:
    with pytest.raises(RequestValidationError, match=r"Nothing was sent: job_ids is .*, allowed: a list"):
        getattr(hook, name)(given)
    assert not server.requests


@pytest.mark.parametrize("given", [None, 7, b"b1", ["b1"], ""], ids=repr)
@pytest.mark.parametrize("name", ["describe", "cancel"])
def test_only_an_id_of_a_batch_is_accepted(
    hook: TencentCIHook, server: ScriptedServer, name: str, given: Any
) -> None:
    with pytest.raises(RequestValidationError, match=r"job_id is .*, allowed: letters"):
        getattr(hook.batches, name)(given)
    assert not server.requests


class TestDescribe:
    def test_ids_may_come_from_an_iterator(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(jobs(job_xml("j1"), job_xml("j2")), http())
        assert len(hook.describe_jobs(i for i in ("j1", "j2")).jobs_detail) == 2  # type: ignore[arg-type]
        hook.cancel_jobs(iter(["j1", "j2"]))  # type: ignore[arg-type]
        assert [sent.path for sent in server.requests] == ["/jobs/j1,j2"] * 2

    def test_a_request_describes_ten_ids_each_once(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        ids = [f"j{n}" for n in range(23)]
        asked: list[list[str]] = []

        def answer(request: Any) -> Answer:
            asked.append(request.path.removeprefix("/jobs/").split(","))
            return jobs(
                *(job_xml(i, "Running") for i in asked[-1] if i != "j11"),
                unknown=("j11",) * ("j11" in asked[-1]),
            )

        server.always("GET", answer)
        whole = hook.describe_jobs([*ids, "j3", "j22"])
        assert asked == [ids[:10], ids[10:20], ids[20:]]
        assert [found.job_id for found in whole.jobs_detail] == [i for i in ids if i != "j11"]
        assert whole.non_exist_job_ids == ("j11",)
        assert whole.request_id == REQUEST_ID

    def test_without_ids_nothing_is_sent(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        assert hook.describe_jobs([]).jobs_detail == ()
        hook.cancel_jobs([])
        assert not server.requests

    def test_a_request_cancels_ten_ids_each_once(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        ids = [f"j{n}" for n in range(12)]
        server.always("PUT", http())
        hook.cancel_jobs([*ids, "j3"])
        assert [sent.path for sent in server.requests] == ["/jobs/" + ",".join(ids[:10]), "/jobs/j10,j11"]

    def test_a_bad_id_is_found_before_the_first_request(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        with pytest.raises(RequestValidationError):
            hook.describe_jobs([f"j{n}" for n in range(15)] + ["no id"])
        assert not server.requests


class TestList:
    def pages(self, server: ScriptedServer, *tokens: str, jobs_on_last: bool = True) -> None:
        for n, token in enumerate(tokens):
            is_last = n == len(tokens) - 1
            details = [job_xml(f"j{n}")] if jobs_on_last or not is_last else []
            server.play(jobs(*details, next_token=token))

    def ids(self, found: Iterator[Any]) -> list[str]:
        return [one.job_id for one in found]

    def test_the_list_ends_without_a_token(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        self.pages(server, "t1", "t2", "")
        assert self.ids(hook.list_jobs()) == ["j0", "j1", "j2"]
        assert [sent.params.get("nextToken") for sent in server.requests] == [None, "t1", "t2"]
        assert {sent.params["tag"] for sent in server.requests} == {"VoiceSeparate"}

    def test_the_list_ends_with_a_token_seen_before(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        self.pages(server, "t1", "t2", "t1")
        assert self.ids(hook.list_jobs()) == ["j0", "j1", "j2"]

    def test_the_list_ends_with_an_empty_page(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        self.pages(server, "t1", "t2", jobs_on_last=False)
        assert self.ids(hook.list_jobs()) == ["j0"]

    def test_a_page_is_requested_when_it_is_needed(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        self.pages(server, "t1")
        found = hook.list_jobs()
        assert not server.requests
        assert next(found).job_id == "j0"
        assert len(server.requests) == 1

    def test_only_the_page_that_failed_is_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(jobs(job_xml("j0"), next_token="t1"), hang_up(), jobs(job_xml("j1")))
        assert self.ids(hook.list_jobs()) == ["j0", "j1"]

    @pytest.mark.parametrize(
        "argument",
        [{"states": "Success"}, {"order_by_time": "Up"}, {"start_creation_time": datetime(2025, 1, 1)}],
    )
    def test_bad_arguments_are_not_sent(self, hook: TencentCIHook, argument: dict[str, Any]) -> None:
        with pytest.raises(RequestValidationError, match=next(iter(argument))):
            next(hook.list_jobs(**argument))


class TestCallWithin:
    @pytest.mark.parametrize("answer", [error(500, "InternalError"), hang_up(), error(429, "SlowDown")])
    def test_a_call_with_a_time_limit_is_not_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float], answer: Answer
    ) -> None:
        server.play(answer)
        with pytest.raises(TencentCIError):
            hook.call_within(CancelJobs(("j1",)), PATIENCE)
        assert not pauses

    @pytest.mark.parametrize("answer", [hang(), drip(head(length=10**6))], ids=["hang", "drip"])
    def test_the_time_limit_replaces_the_connections_timeouts(
        self, make_hook: MakeHook, server: ScriptedServer, answer: Answer
    ) -> None:
        server.play(answer)
        with pytest.raises(TransportError, match=rf"No response (within {SOON:g} s|from)"):
            make_hook(read_timeout=PATIENCE).call_within(CancelJobs(("j1",)), SOON)
        wait_until(server.methods)  # the server may read it only now

    def test_the_time_limit_covers_the_credentials(self, hook: TencentCIHook, mocker: MockerFixture) -> None:
        """The interrupted code may hold what they need, for instance a lock."""
        released = threading.Event()
        mocker.patch.object(
            type(hook.settings.credentials), "cached", side_effect=lambda: released.wait(PATIENCE)
        )
        with pytest.raises(TransportError):
            hook.call_within(CancelJobs(("j1",)), SOON)
        released.set()

    def test_a_call_with_a_time_limit_opens_a_new_connection(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(after(lambda: hook.call_within(CancelJobs(("j1",)), PATIENCE), jobs()))
        server.always("PUT", http())
        hook.describe_jobs(["j1"])
        assert [(sent.method, sent.connection) for sent in server.requests] == [("GET", 1), ("PUT", 2)]


class TestTestConnection:
    def test_a_good_connection_lists_one_job(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(jobs())
        ok, message = hook.test_connection()
        assert ok
        assert BUCKET in message
        assert REGION in message
        (sent,) = server.requests
        assert (sent.method, sent.params["size"]) == ("GET", "1")

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (error(401, "InvalidAuthorization"), "The credentials (source static) are wrong"),
            (error(401, "SecretidNotExist"), "The credentials (source static) are wrong"),
            (error(403, "AccessDenied"), "The credentials (source static) are not permitted"),
            (error(403, "NoProcessAuthority"), "The credentials (source static) are not permitted"),
            (error(404, "NoSuchBucket"), "Bucket or region is wrong"),
            (error(400, "InvalidHost"), "Bucket or region is wrong"),
            (error(301, "PermanentRedirect"), "Bucket or region is wrong"),
            (error(500, "InternalError"), "The service does not work at the moment"),
            (error(429, "SlowDown"), "The service does not work at the moment"),
            (http("<html>Log in</html>"), "The response is not from the service"),
            (http("<html>Not found</html>", 404), "The response is not from the service"),
            (hang_up(), "The service cannot be reached"),
        ],
    )
    def test_each_cause_is_named_and_nothing_is_repeated(
        self, hook: TencentCIHook, server: ScriptedServer, answer: Answer, said: str
    ) -> None:
        server.play(answer)
        ok, message = hook.test_connection()
        assert not ok
        assert message.startswith(said)
        assert "q-signature" not in message

    @pytest.mark.parametrize(
        "extra",
        [{"bucket": ""}, {"region": "x y"}, {"endpoint_url": "http://gateway.example"}, {"read_timeout": 0}],
    )
    def test_a_bad_connection_is_named(self, connection: Callable[..., str], extra: dict[str, Any]) -> None:
        ok, message = TencentCIHook(connection("http://127.0.0.1:1", **extra)).test_connection()
        assert not ok
        assert message.startswith("The connection is incomplete or wrong")
        assert re.search(next(iter(extra)), message)

    def test_missing_credentials_are_named(self, connection: Callable[..., str]) -> None:
        ok, message = TencentCIHook(connection("http://127.0.0.1:1", password=None)).test_connection()
        assert not ok
        assert "SecretKey" in message


def test_the_hook_does_nothing_before_the_first_call() -> None:
    hook = TencentCIHook("no_such_connection")
    assert hook.tencent_ci_conn_id == "no_such_connection"


def test_the_test_connection_of_the_ui_finds_the_hook(
    connection: Callable[..., str], server: ScriptedServer
) -> None:
    from airflow.providers.common.compat.sdk import BaseHook

    server.play(jobs())
    hook = BaseHook.get_connection(connection(server.url)).get_hook()
    assert isinstance(hook, TencentCIHook)
    assert hook.test_connection()[0]
    hook.close()


def test_a_throttled_submission_is_not_repeated_past_its_expiry(
    server: ScriptedServer, connection: Callable[..., str]
) -> None:
    connection(server.url)
    server.play(error(429, "SlowDown", retry_after="60"))
    with pytest.raises(ThrottledError, match="SlowDown"):
        TencentCIHook().submit_job(REQUEST, expires_at=datetime.now(UTC).timestamp() + 30)
    assert server.methods() == ["POST"]
