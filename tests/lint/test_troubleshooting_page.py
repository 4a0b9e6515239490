"""docs/troubleshooting.md quotes what is really logged, and has each message that does not say what to do."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci import exceptions
from airflow_provider_ci.exceptions import JobTimeoutError, TencentCIError
from airflow_provider_ci.hooks import ci, sts
from airflow_provider_ci.operators.bulk_items import read_items
from airflow_provider_ci.operators.noise_reduction import NoiseReductionOperator
from airflow_provider_ci.operators.speech_recognition import SpeechRecognitionOperator
from airflow_provider_ci.operators.transcode import TranscodeOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from airflow_provider_ci.protocol import errors
from airflow_provider_ci.protocol.errors import service_error
from airflow_provider_ci.protocol.jobs import DescribeJobs, Job, JobsResponse
from airflow_provider_ci.protocol.objects import ListedObject
from airflow_provider_ci.protocol.wire import Endpoint, HttpResponse
from airflow_provider_ci.submission import tracking
from tests.lint.source_messages import Message, is_advice, messages
from tests.scripted_server import ScriptedServer, error, http, job
from tests.unit.operators.bulk_operator import rendered

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "troubleshooting.md").read_text("utf-8")
CHINESE = (DOCS / "zh-CN" / "troubleshooting.md").read_text("utf-8")

_AIRFLOW = "## Messages of Airflow itself\n"
#: Fewer fixed letters than this say nothing: "…: …".
_LEAST = 8

ERRORS = {
    cls.__name__: cls
    for cls in vars(exceptions).values()
    if inspect.isclass(cls) and issubclass(cls, TencentCIError)
}


def rows(page: str) -> list[list[str]]:
    """Return the cells of the tables' rows."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def quoted(page: str) -> list[str]:
    """Return the messages of the page: what is in code in the first cell of the tables of messages."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        header, *body = rows(table)
        if header[0] in ("Message", "日志原文"):
            found += [message for row in body for message in codes(row[0])]
    return found


def letters(message: str) -> int:
    return len(re.sub(r"\W", "", message))


def of_airflow() -> list[str]:
    return quoted(PAGE[PAGE.index(_AIRFLOW) :])


def of_arguments() -> list[str]:
    return quoted(PAGE[PAGE.index("## Arguments\n") :].partition("\n## ")[0])


OURS = [message for message in quoted(PAGE) if message not in of_airflow()]


def pattern(message: str) -> re.Pattern[str]:
    """Return what a quoted message stands for."""
    return re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)


SOURCE = messages()


class TestEveryQuotedMessage:
    def test_is_seen(self) -> None:
        assert len(OURS) > 30
        assert len(set(OURS)) == len(OURS)
        assert len(of_airflow()) >= 8

    @pytest.mark.parametrize("message", [one for one in OURS if one not in of_arguments()])
    def test_is_in_the_source_or_really_said(self, message: str, really_said: list[str]) -> None:
        assert letters(message) >= _LEAST or message == "Cannot …: …"
        stands_for = pattern(message)
        in_source = any(stands_for.fullmatch(found.text) for found in SOURCE)
        # the real message continues with facts and a hint
        assert in_source or any(stands_for.match(text) for text in really_said)

    @pytest.mark.parametrize("message", of_airflow())
    def test_of_airflow_is_in_its_source(self, message: str) -> None:
        # longest fixed part: the rest of the sentence is filled in, or split over lines
        fixed = max(message.split("…"), key=len).strip()
        assert fixed in airflow_source()


@cache
def airflow_source() -> str:
    folder = Path(airflow.__file__).parent
    places = (
        "jobs/scheduler_job_runner.py",
        "jobs/triggerer_job_runner.py",
        "api_fastapi/core_api/routes/public/connections.py",
        "api_fastapi/execution_api/routes/xcoms.py",
        "serialization/definitions/dag.py",
        "sdk/api/client.py",
        "sdk/bases/operator.py",
        "sdk/bases/sensor.py",
        "sdk/execution_time/context.py",
        "sdk/execution_time/supervisor.py",
    )
    pages = sorted((folder / "ui" / "dist" / "assets").glob("index-*.js"))
    return "\n".join(path.read_text("utf-8") for path in [*(folder / place for place in places), *pages])


class Log:
    """Takes what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append(message % args)

    warning = error = info


def said_by(raises: Callable[[], Any]) -> str:
    with pytest.raises(TencentCIError) as raised:
        raises()
    return str(raised.value)


def watched(*jobs: Job) -> str:
    tracker: tracking.JobTracker[Job] = tracking.JobTracker([str(one.job_id) for one in jobs], Log())
    tracker.update(JobsResponse(jobs_detail=jobs), 1.0)
    return str(tracker.error())


@pytest.fixture(scope="session")
def really_said() -> list[str]:
    """What is said where the source puts a message together of parts."""
    failed = Job(job_id="j1", state="Failed", code="ResourceNotFound", message="no such object")
    with pytest.MonkeyPatch.context() as patch:
        return [
            said_by(lambda: DescribeJobs(("j1",)).parse(HttpResponse(200, {}, b"<html><br></html>"))),
            watched(failed),
            watched(Job(job_id="j2", state="Cancel", code="Success")),
            watched(failed, Job(job_id="j3", state="Failed")),
            *overdue(patch),
        ]


def overdue(patch: pytest.MonkeyPatch) -> Iterator[str]:
    with ScriptedServer() as server:
        extra = {"bucket": "media-1250000001", "region": "ap-guangzhou", "endpoint_url": server.url}
        given = {"conn_type": "tencent_ci", "login": "AKIDexample", "password": "example", "extra": extra}
        patch.setenv("AIRFLOW_CONN_OVERDUE", json.dumps(given))
        server.always("POST", job("j1"))
        server.always("GET", job("j1", "Running"))
        operator = VoiceSeparateOperator(
            task_id="separate", tencent_ci_conn_id="overdue", input_object="in/a.mp3", voice_object="a.mp3",
            audio_mode="IsAudio", wait_for_completion=True, timeout=0.1, poll_interval=0.05,
            durable=False, cancel_on_kill=False, do_xcom_push=False,
        )  # fmt: skip
        with pytest.raises(JobTimeoutError) as waited:
            operator.execute({"ti": None})
        yield str(waited.value)
        event = {"status": "timeout", "job_ids": ["j1"], "job_count": 1, "deadline": 1.0}
        with pytest.raises(JobTimeoutError) as deferred:
            operator.execute_complete({"ti": None}, event, job_id="j1")
        yield str(deferred.value)
        operator.hook.close()


#: Raised by what only Airflow, the parser of responses or the callback endpoint itself sees.
_NOT_SHOWN = ("info", "ValueError", "AssertionError", "TimeoutError", "XMLError", "RefusedError")
SHOWN = [one for one in SOURCE if one.letters >= _LEAST and one.kind not in _NOT_SHOWN]
#: Their hints come from a table that is checked on its own, or from another error.
_HINTS_CHECKED_ELSEWHERE = ("STS refused ", "STS cannot be asked: ")


class TestNothingIsLeftOut:
    def test_messages_are_seen(self) -> None:
        assert len(SHOWN) > 70

    @pytest.mark.parametrize("message", SHOWN, ids=lambda message: message.place)
    def test_of_the_messages(self, message: Message) -> None:
        if message.says_what_to_do or message.text.startswith(_HINTS_CHECKED_ELSEWHERE):
            return
        entries = [one for one in OURS if letters(one) >= 0.6 * message.letters]  # not by "…: …"
        assert any(pattern(one).fullmatch(message.text) for one in entries), (
            "Let the message or its hint say what to do, in a sentence or clause that begins with an"
            " imperative (Check …, Set …), or what follows by itself (a retry continues …). If that would be"
            " too long, write a row in docs/troubleshooting.md and in its Chinese page"
        )

    @pytest.mark.parametrize(
        "text",
        ["Check the bucket", "No bucket: give it as an argument", "x is 1, allowed: 2", "It is tried again"],
    )
    def test_what_counts_as_saying_what_to_do(self, text: str) -> None:
        assert is_advice(text)

    @pytest.mark.parametrize(
        "text",
        ["The checkup failed", "Settings are wrong", "The service uses it", "Somebody cleared the task"],
    )
    def test_what_does_not(self, text: str) -> None:
        assert not is_advice(text)

    @pytest.mark.parametrize("name", sorted(ERRORS.keys() - {"TencentCIError", "ServiceError", "JobError"}))
    def test_of_the_errors(self, name: str) -> None:
        assert f"`{name}`" in PAGE

    @pytest.mark.parametrize(
        "code", sorted({code for _, code in errors._BY_STATUS_AND_CODE} | {*errors._BY_CODE})
    )
    def test_of_the_codes(self, code: str) -> None:
        (row,) = [
            row for row in rows(PAGE) if len(row) == 3 and code in codes(row[0]) and row[1].endswith("Error`")
        ]
        status = next((status for status, one in errors._BY_STATUS_AND_CODE if one == code), 400)
        assert f"`{type(refusal(status, code)).__name__}`" == row[1]

    @pytest.mark.parametrize("number", errors._NUMERIC_CODES)
    def test_of_the_numbers(self, number: str) -> None:
        assert f"`{errors._NUMERIC_CODES[number]}` ({number})" in PAGE

    def test_of_what_the_service_refuses_the_hints_say_what_to_do(self) -> None:
        rules = [*errors._BY_STATUS_AND_CODE.values(), *errors._BY_CODE.values(), *errors._BY_STATUS.values()]
        hints = {rule.hint for rule in [*rules, *(rule for _, rule in errors._BY_MESSAGE)]}
        assert {hint for hint in hints if not is_advice(hint)} == set()

    def test_of_what_sts_refuses_the_hints_say_what_to_do(self) -> None:
        assert [hint for hint in [*sts._HINTS.values(), sts._DEFAULT_HINT] if not is_advice(hint)] == []

    @pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, 301])
    def test_of_the_statuses(self, status: int) -> None:
        sentence = PAGE[PAGE.index("under an unknown one the HTTP status") :].partition("\n\n")[0]
        group = f"{status // 100}xx" if status in (500, 503, 301) else str(status)
        named = dict(re.findall(r"(\dxx|\d{3}) `(\w+)`", sentence)) | {
            code: "PermissionDeniedError" for code in ("401", "403") if code in sentence
        }
        assert type(refusal(status, "NeverSeen")).__name__ == named[group]
        without_code = re.findall(r"(\d{3}) `\w+` \(without any code `(\w+)`\)", sentence)
        assert without_code == [("404", type(refusal(404)).__name__)]


def refusal(status: int, code: str = "", words: str = "Said by the service.") -> TencentCIError:
    body = f"<Error><Code>{code}</Code><Message>{words}</Message></Error>" if code else ""
    return service_error(HttpResponse(status, {}, body.encode()), "submit the job")


def test_the_examples_form_is_that_of_the_errors(
    server: ScriptedServer, connection: Callable[..., str]
) -> None:
    server.play(error(403, "QueueSaturated", "The queue is full"))
    request = {
        "Tag": "VoiceSeparate",
        "Input": {"Object": "in/a.mp3"},
        "Operation": {
            "VoiceSeparate": {"AudioMode": "IsAudio"},
            "Output": {"Region": "ap-guangzhou", "Bucket": "media-1250000001", "AuObject": "a.mp3"},
        },
    }
    hook = ci.TencentCIHook(connection(server.url, max_attempts=1))
    said = said_by(lambda: hook.submit_job(request))
    hook.close()
    example = re.findall(r"```text\n(.*?)\n", PAGE)[0]
    begin, _, end = example.partition("NjRhZm…")
    assert said.startswith(begin)
    assert end.removesuffix("…") in said


def test_no_answer_names_the_host(connection: Callable[..., str]) -> None:
    hook = ci.TencentCIHook(connection("http://127.0.0.1:9", max_attempts=1))
    said = said_by(lambda: hook.describe_jobs(["j1"]))
    hook.close()
    assert pattern("No response from … to …: ….").match(said)


def test_a_page_of_a_proxy_is_no_answer(server: ScriptedServer, connection: Callable[..., str]) -> None:
    server.play(http("<html>log in<br></html>"))
    hook = ci.TencentCIHook(connection(server.url, max_attempts=1))
    said = said_by(lambda: hook.describe_jobs(["j1"]))
    hook.close()
    assert pattern("Cannot …: the document is not well-formed XML: …").match(said)


def test_what_is_often_refused_says_what_is_allowed(connection: Callable[..., str]) -> None:
    connection("http://127.0.0.1:9")
    usual = {"audio_mode": "IsAudio", "voice_object": "${jobid}"}

    def said(cls: type[Any], **arguments: Any) -> str:
        rendered = usual | arguments
        task = cls(task_id="x", **dict.fromkeys(rendered, "{{ x }}"))
        vars(task).update(rendered)
        return said_by(lambda: task.execute({"ti": SimpleNamespace(map_index=-1)}))

    def mapped_to_one_key() -> None:
        with DAG(dag_id="mapped", schedule=None):
            mapped = VoiceSeparateOperator.partial(task_id="x", voice_object="a").expand(
                input_object=["b", "c"]
            )
        mapped.unmap({"input_object": "b"}).execute({"ti": SimpleNamespace(map_index=0)})

    def said_of_items(*items: str, **arguments: Any) -> str:
        task = rendered(VoiceSeparateBulkOperator, **usual | {"input_objects": items} | arguments)
        listed = [ListedObject(key=item, size=1) for item in items]
        hook: Any = SimpleNamespace(list_objects=lambda *_, **__: listed)
        endpoint = Endpoint(bucket="media-1250000001", region="ap-guangzhou")
        return said_by(lambda: read_items(task, hook, endpoint, Log()))

    song = {"input_object": "in/song.mp3"}
    recognition = {"engine_model_type": "16k_zh", "output_object": "a"}
    really = [
        said(VoiceSeparateOperator, **song, voice_object=""),
        said(VoiceSeparateOperator, input_object="/in/song.mp3"),
        said(VoiceSeparateOperator, **song, codec="mp3", samplerate=96000),
        said(VoiceSeparateOperator, **song, codec="mp3", template_id="t1", audio_mode=None),
        said_by(lambda: NoiseReductionOperator(task_id="x", **song, output_object="${jobid}.wav")),
        said_by(lambda: TranscodeOperator(task_id="x", **song, output_object="a", container_format="mp3")),
        said_by(lambda: SpeechRecognitionOperator(task_id="x", **song, **recognition)),
        said(VoiceSeparateBatchOperator, prefix="in/", voice_object="voice.mp3"),
        said(VoiceSeparateOperator, **song, voice_object="out/${JobId}.mp3"),
        said(VoiceSeparateOperator, input_object="cos://media-1250000001/in/song.mp3"),
        said(
            VoiceSeparateBatchOperator,
            prefix="in/",
            time_interval={"start": "2025-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"},
        ),
        said(VoiceSeparateOperator, input_object="None"),
        said_by(mapped_to_one_key),
        said_of_items("in/a.mp3", "in/a.mp3"),
        said_of_items("in/a.mp3", "in/a.wav", voice_object="out/${InputName}.aac"),
        said_of_items("in/a.mp3", prefix="in/", voice_object="in/${jobid}.aac"),
        said_of_items("in/a.mp3", "in/b.mp3", max_jobs=1),
        said(VoiceSeparateOperator, input_object="in/None/song.mp3"),
        said(VoiceSeparateBatchOperator, prefix="in/", voice_object="out/${jobid}", time_interval=None),
        said(VoiceSeparateOperator, input_object=["a", "b"]),
        said_by(lambda: VoiceSeparateOperator(task_id="x", **song, voice_object="a", timeout=sys.maxsize)),
        said(VoiceSeparateOperator, input_object="['a', 'b']"),
        said(VoiceSeparateOperator, input_object=20260101),
        said_by(lambda: VoiceSeparateOperator(task_id="x", **song, voice_object="a", durable="{{ x }}")),
        said_by(lambda: VoiceSeparateOperator(task_id="x", **song, voice_object="a", durable="maybe")),
    ]
    for text in really:
        assert text.startswith(("Nothing was sent: ", "Task 'x' cannot work: "))
        assert ", allowed: " in text
    for words in of_arguments():
        assert any(pattern(words).search(text) for text in really), words


def test_the_chinese_page_has_the_same_messages_in_the_same_order() -> None:
    """And what every Chinese page has: see ``test_chinese_pages.py``."""
    assert quoted(CHINESE) == quoted(PAGE)
