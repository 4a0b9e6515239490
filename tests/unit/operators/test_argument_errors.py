"""Errors that end a task without retry, and how they name its arguments."""

from __future__ import annotations

import pickle
import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from airflow_provider_ci.exceptions import ConfigurationError, RequestValidationError
from airflow_provider_ci.operators.argument_errors import (
    TaskArgumentError,
    TaskConnectionError,
    fail_without_retry,
    name_argument,
)
from airflow_provider_ci.operators.batch_job import TencentCIBatchJobOperator
from tests.scripted_server import ScriptedServer, error
from tests.unit.operators.minimal_operators import BATCH, CANCEL, MINIMAL, ONE, SENSOR, TEMPLATE, make

ENCODING = ("AudioMode", *(f"AudioConfig.{name}" for name in ("Codec", "Samplerate", "Bitrate", "Channels")))
OUTPUT = ("Region", "Bucket", "Object", "AuObject", "BassObject", "DrumObject")
ENVELOPE = (
    *("QueueId", "CallBack", "CallBackFormat", "CallBackType"),
    *(f"CallBackMqConfig.{name}" for name in ("MqRegion", "MqMode", "MqName")),
    *(f"CallBackKafkaConfig.{name}" for name in ("Region", "InstanceId", "Topic")),
)
#: The elements of the requests for voice separation, except those that no argument decides.
ELEMENTS: dict[type[Any], tuple[str, ...]] = {
    ONE: (
        *("Input.Object", "Input.Url", "Operation.TemplateId", "Operation.UserData", "Operation.JobLevel"),
        *(f"Operation.VoiceSeparate.{name}" for name in ENCODING),
        *(f"Operation.Output.{name}" for name in OUTPUT),
        *ENVELOPE,
    ),
    BATCH: (
        *("Name", "Input.Manifest", "Input.UrlFile", "Input.Prefix"),
        *("Operation.JobParam.TemplateId", "Operation.UserData", "Operation.JobLevel"),
        *("Operation.TimeInterval.Start", "Operation.TimeInterval.End"),
        *(f"Operation.JobParam.VoiceSeparate.{name}" for name in ENCODING),
        *(f"Operation.Output.{name}" for name in OUTPUT),
        *(f"Operation.{name}" for name in ENVELOPE),
    ),
    TEMPLATE: ("Name", *ENCODING),
}


@pytest.mark.parametrize(
    ("owner", "path"), [(owner, path) for owner, paths in ELEMENTS.items() for path in paths]
)
def test_every_element_has_an_argument(owner: type[Any], path: str) -> None:
    named = name_argument(f"{path} is 1, allowed: 2", owner)
    argument = re.fullmatch(r"([a-z_]+)(\.[a-z_]+)? is 1, allowed: 2", named)
    assert argument
    assert argument[1] in owner.template_fields


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("Operation.VoiceSeparate.AudioMode", "audio_mode"),
        ("Operation.VoiceSeparate.AudioConfig.Codec", "operation.VoiceSeparate.AudioConfig.Codec"),
        ("Operation.Output.Object (background)", "operation.Output.Object"),
        ("Operation.Output.AuObject (voice)", "voice_object"),
        ("Operation.Watermark[1].Text.Text", "operation.Watermark[1].Text.Text"),
        ("Operation.JobLevel", "operation.JobLevel"),
        ("Operation.UserData", "user_data"),
        ("Operation", "operation"),
    ],
)
def test_an_element_that_operation_has_is_named_by_its_path(path: str, named: str) -> None:
    operation = {
        "VoiceSeparate": {"AudioConfig": {"Codec": "mp3"}},
        "Output": {"Object": "out/b"},
        "JobLevel": 1,
    }
    task = make(ONE, operation=operation)
    assert name_argument(f"{path} is 1, allowed: 2", task) == f"{named} is 1, allowed: 2"


@pytest.mark.parametrize("element", ["JobParam.Transcode.TimeInterval.Start", "JobParam.Snapshot.Name"])
def test_of_a_batch_job_the_path_is_that_in_operation(element: str) -> None:
    """Although there are arguments of these names for other elements."""
    names = element.removeprefix("JobParam.").split(".")
    operation: dict[str, Any] = {names[0]: {names[1]: "x"}}
    if len(names) > 2:
        operation = {names[0]: {names[1]: {names[2]: "x"}}}
    batch = TencentCIBatchJobOperator(
        task_id="batch", tag="Example", prefix="in/", operation=operation | {"Output": {"Object": "${jobid}"}}
    )
    said = name_argument(f"Operation.{element} is 'x', allowed: 2", batch)
    assert said == f"operation.{'.'.join(names)} is 'x', allowed: 2"


@pytest.mark.parametrize(
    ("problem", "named"),
    [
        (
            "Operation.Output.Object and AuObject is None, allowed: 1",
            "background_object and voice_object are None, allowed: 1",
        ),
        (
            "Operation.Output.AuObject (voice) is 'AudioMode', allowed: not Object (background), 'a/Object'",
            "voice_object is 'AudioMode', allowed: not background_object, 'a/Object'",
        ),
        (
            "CallBackMqConfig is None, allowed: given exactly when CallBackType is TDMQ",
            "callback_mq_config is None, allowed: given exactly when callback_type is TDMQ",
        ),
        (
            "CallBackKafkaConfig.Region is None, allowed: 1",
            "callback_kafka_config.region is None, allowed: 1",
        ),
        ("Operation.Output.Region is None, allowed: 1", "output_region is None, allowed: 1"),
        ("Input.Prefix has 900 bytes, allowed: 850", "prefix has 900 bytes, allowed: 850"),
        ("input_object is 'Codec is 5', allowed: 1", "input_object is 'Codec is 5', allowed: 1"),
        ("no input is set", "no input is set"),
    ],
)
def test_a_problem_names_arguments(problem: str, named: str) -> None:
    assert name_argument(problem, BATCH) == named
    with pytest.raises(TaskArgumentError) as caught, fail_without_retry(BATCH):
        raise RequestValidationError([problem, problem])
    assert str(caught.value) == f"Nothing was sent: {named}; {named}"


class TestWithoutRetry:
    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            (RequestValidationError(["a is 1, allowed: 2"]), TaskArgumentError),
            (RequestValidationError("The input is empty"), TaskArgumentError),
            (ConfigurationError("No bucket", hint="Name one"), TaskConnectionError),
        ],
    )
    def test_an_error_keeps_its_message(self, raised: Any, kind: type[Exception]) -> None:
        with pytest.raises(kind) as caught, fail_without_retry(ONE):
            raise raised
        assert isinstance(caught.value, AirflowFailException)
        assert isinstance(caught.value, type(raised))
        assert str(caught.value) == str(raised)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(raised)

    def test_other_errors_pass(self) -> None:
        raised = OSError("x")
        with pytest.raises(OSError, match="x") as caught, fail_without_retry(ONE):
            raise raised
        assert caught.value is raised

    @pytest.mark.parametrize("owner", MINIMAL)
    def test_a_connection_that_lacks_what_no_argument_names(
        self, owner: type[Any], connection: Callable[..., str], make_context: Callable[..., dict[str, Any]]
    ) -> None:
        connection("http://127.0.0.1:1", bucket=None)
        with pytest.raises(TaskConnectionError, match="No bucket: give it as an argument"):
            make(owner).execute(make_context())

    @pytest.mark.usefixtures("airflow_db")
    @pytest.mark.parametrize("owner", [ONE, BATCH, TEMPLATE, CANCEL])
    def test_a_connection_that_does_not_exist(
        self, owner: type[Any], make_context: Callable[..., dict[str, Any]]
    ) -> None:
        with pytest.raises(TaskConnectionError, match=r"`nowhere` isn't defined.*airflow connections add"):
            make(owner, tencent_ci_conn_id="nowhere").execute(make_context())

    @pytest.mark.parametrize("option", ["AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"])
    def test_but_a_secrets_backend_may_have_been_away(
        self, monkeypatch: pytest.MonkeyPatch, option: str
    ) -> None:
        monkeypatch.setenv(option, "example.Backend")
        with pytest.raises(AirflowNotFoundException) as caught, fail_without_retry(ONE):
            raise AirflowNotFoundException("The conn_id `x` isn't defined")
        assert not isinstance(caught.value, AirflowFailException)

    @pytest.mark.parametrize("owner", [ONE, BATCH, TEMPLATE, CANCEL])
    @pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (404, "NoSuchBucket")])
    def test_what_a_person_may_correct_is_retried(
        self,
        owner: type[Any],
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        status: int,
        code: str,
    ) -> None:
        connection(server.url)
        server.play(error(status, code))
        operator = make(owner)
        with pytest.raises(Exception, match=code) as caught:
            operator.execute(make_context())
        operator.hook.close()
        assert not isinstance(caught.value, AirflowFailException)

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize("forgiving", ["soft_fail", "never_fail", "silent_fail"])
    def test_arguments_that_cannot_work_are_no_reason_to_skip(
        self,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
        deferrable: bool,
        forgiving: str,
    ) -> None:
        connection("http://127.0.0.1:1")
        sensor = make(SENSOR, job_id="{{ x }}", deferrable=deferrable, **{forgiving: True})
        sensor.job_id = "None"
        with pytest.raises(TaskArgumentError) as caught:
            sensor.execute(make_context())
        assert not isinstance(caught.value, AirflowSkipException)


class TestAMisspeltArgument:
    @pytest.mark.parametrize(
        "begin", [lambda owner: owner, lambda owner: owner.partial], ids=["task", "mapped"]
    )
    @pytest.mark.parametrize(
        ("owner", "misspelt", "meant"),
        [
            (ONE, "codecc", "codec"),
            (ONE, "poll_intervall", "poll_interval"),
            (BATCH, "prefixx", "prefix"),
            (SENSOR, "poke_intervall", "poke_interval"),
            (CANCEL, "retry_delai", "retry_delay"),
            (TEMPLATE, "buckett", "bucket"),
        ],
    )
    def test_is_refused_with_the_one_that_was_meant(
        self, begin: Callable[[Any], Any], owner: type[Any], misspelt: str, meant: str
    ) -> None:
        with pytest.raises((TypeError, AirflowException), match=misspelt) as caught:
            begin(owner)(task_id="x", **MINIMAL[owner], **{misspelt: "x"})
        shown = "".join(traceback.format_exception(caught.value))  # as Airflow shows an import error
        assert f"{owner.__name__} has no argument {misspelt}. Did you mean {meant}?" in shown

    def test_that_is_like_no_other_gets_no_suggestion(self) -> None:
        with pytest.raises((TypeError, AirflowException), match="qqqq") as caught:
            make(ONE, qqqq=1)
        assert getattr(caught.value, "__notes__", []) == []
