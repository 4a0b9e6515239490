"""Errors that end a task without retry, and how they name its arguments."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_ci.exceptions import ConfigurationError, RequestValidationError
from airflow_provider_ci.operators.argument_errors import (
    TaskArgumentError,
    TaskConnectionError,
    fail_without_retry,
    name_argument,
)
from airflow_provider_ci.protocol.batches import BatchRequest
from airflow_provider_ci.protocol.fields import element_specs
from airflow_provider_ci.protocol.jobs import JobRequest
from airflow_provider_ci.protocol.templates import TemplateRequest
from tests.scripted_server import ScriptedServer, error
from tests.unit.operators.minimal_operators import BATCH, CANCEL, MINIMAL, ONE, SENSOR, TEMPLATE, make


@pytest.mark.parametrize(
    ("model", "owner"), [(JobRequest, ONE), (BatchRequest, BATCH), (TemplateRequest, TEMPLATE)]
)
def test_every_element_has_an_argument(model: type[Any], owner: type[Any]) -> None:
    """Except those that no argument decides, and those of responses only."""
    fixed = {"Tag", "Type", "Operation.Tag", "Operation.QueueType", "Operation.WorkflowIds"}
    of_responses = (
        "Operation.Media",
        "Operation.TemplateName",
        "Input.BucketId",
        "Input.Region",
        "Input.Cos",
    )
    unnamed = {
        path
        for path in _leaves(model)
        if not path.startswith(of_responses)
        and not re.fullmatch(r"[a-z_.]+ is 1, allowed: 2", name_argument(f"{path} is 1, allowed: 2", owner))
    }
    assert unnamed <= fixed


def _leaves(model: type[Any], at: str = "") -> Iterator[str]:
    for spec in element_specs(model):
        path = f"{at}{spec.names[0]}"
        if spec.nested:
            yield from _leaves(spec.kind, f"{path}.")
        else:
            yield path


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
