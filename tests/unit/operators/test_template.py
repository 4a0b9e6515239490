"""Making a template be there: created, updated or kept, also when somebody else does the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RequestValidationError,
)
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator
from tests.conftest import Logs
from tests.scripted_server import ScriptedServer, error
from tests.unit.hooks.test_templates import MADE, listed, template_xml, templates

MakeOperator = Callable[..., VoiceSeparateTemplateOperator]
SAME = templates(template_xml("TemplateList"))
OTHER = templates(template_xml("TemplateList", bitrate="64"))
NONE = listed("stems-2")


@pytest.fixture
def make_operator(
    server: ScriptedServer, connection: Callable[..., str], mocker: MockerFixture
) -> Iterator[MakeOperator]:
    made: list[VoiceSeparateTemplateOperator] = []

    def make(**arguments: Any) -> VoiceSeparateTemplateOperator:
        connection(server.url, max_attempts=1)
        usual = {"name": "stems", "audio_mode": "IsAudio", "codec": "mp3"}
        made.append(VoiceSeparateTemplateOperator(task_id="template", **(usual | arguments)))
        return made[-1]

    mocker.patch("airflow_provider_ci.operators.template._PAUSE", 0.0)
    yield make
    for operator in made:
        operator.hook.close()


def test_a_missing_template_is_created(
    make_operator: MakeOperator, server: ScriptedServer, logs: Logs
) -> None:
    server.play(NONE, MADE)
    assert make_operator(bitrate="128", channels="").execute({}) == "t1"
    assert server.methods() == ["GET", "POST"]
    body = b"<Name>stems</Name><AudioMode>IsAudio</AudioMode><AudioConfig><Codec>mp3</Codec><Bitrate>128<"
    assert body in server.requests[1].body
    assert "Created template stems (t1)" in logs.at("info")


def test_a_template_with_these_parameters_is_not_changed(
    make_operator: MakeOperator, server: ScriptedServer
) -> None:
    server.play(SAME)
    assert make_operator(codec="Mp3").execute({}) == "t1"
    assert server.methods() == ["GET"]


def test_a_template_with_other_parameters_is_updated(
    make_operator: MakeOperator, server: ScriptedServer
) -> None:
    server.play(OTHER, MADE)
    assert make_operator().execute({}) == "t1"
    assert (server.requests[1].method, server.requests[1].path) == ("PUT", "/template/t1")


@pytest.mark.parametrize("code", ["TemplateNameDuplicate", "1112"])
def test_a_template_that_somebody_else_creates_meanwhile_is_updated(
    make_operator: MakeOperator, server: ScriptedServer, code: str
) -> None:
    server.play(NONE, error(400, code), OTHER, MADE)
    assert make_operator().execute({}) == "t1"
    assert server.methods() == ["GET", "POST", "GET", "PUT"]


@pytest.mark.parametrize("code", ["TemplateNotFound", "1107"])
def test_a_template_that_somebody_else_deletes_meanwhile_is_created(
    make_operator: MakeOperator, server: ScriptedServer, code: str
) -> None:
    server.play(OTHER, error(404, code), NONE, MADE)
    assert make_operator().execute({}) == "t1"
    assert server.methods() == ["GET", "PUT", "GET", "POST"]


def test_a_name_that_is_taken_but_not_listed_is_an_error(
    make_operator: MakeOperator, server: ScriptedServer
) -> None:
    server.play(*[NONE, error(400, "TemplateNameDuplicate")] * 3)
    with pytest.raises(InvalidRequestError, match="TemplateNameDuplicate"):
        make_operator().execute({})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(400, "CreatedTemplateNumLimit"), InvalidRequestError),
        (error(403, "AccessDenied"), PermissionDeniedError),
        (error(404, "NoSuchBucket"), NotFoundError),
    ],
)
def test_other_refusals_are_raised_at_once(
    make_operator: MakeOperator, server: ScriptedServer, answer: Any, kind: type[Exception]
) -> None:
    server.play(NONE, answer)
    with pytest.raises(kind):
        make_operator().execute({})


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ({"name": "a b"}, "name is 'a b'"),
        ({"name": ""}, "name is ''"),
        ({"name": 5}, "name is 5, allowed: a string"),
        ({"audio_mode": "x"}, "audio_mode is 'x'"),
        ({"audio_mode": ""}, "audio_mode is None"),
        ({"bitrate": "much"}, "bitrate is 'much', allowed: an integer"),
        ({"codec": "amr", "samplerate": 44100}, "samplerate is 44100"),
    ],
)
def test_bad_arguments_are_not_sent(
    make_operator: MakeOperator, server: ScriptedServer, argument: dict[str, Any], says: str
) -> None:
    with pytest.raises(RequestValidationError) as caught:
        make_operator(**argument).execute({})
    assert says in str(caught.value)
    assert not server.requests


def test_a_refused_field_is_not_retried(make_operator: MakeOperator, server: ScriptedServer) -> None:
    server.play(NONE, error(400, "InvalidArgument", "Bitrate is not supported"))
    with pytest.raises(InvalidRequestError, match="Bitrate is not supported") as caught:
        make_operator().execute({})
    assert isinstance(caught.value, AirflowFailException)
