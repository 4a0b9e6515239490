"""The hook's calls about templates, against scripted responses."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ci.exceptions import (
    InvalidRequestError,
    RequestValidationError,
    TransportError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from tests.conftest import Logs
from tests.scripted_server import (
    Answer,
    ScriptedServer,
    error,
    hang_up,
    http,
    reset_after_reading,
)

TAG = "VoiceSeparate"
VOICE = {TAG: {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3"}}}


def template_xml(
    tag: str = "Template", name: str = "stems", template_id: str = "t1", bitrate: str = ""
) -> str:
    return (
        f"<{tag}><TemplateId>{template_id}</TemplateId><Name>{name}</Name><VoiceSeparate>"
        "<AudioMode>IsAudio</AudioMode><AudioConfig><Codec>MP3</Codec>"
        f"<Bitrate>{bitrate}</Bitrate></AudioConfig></VoiceSeparate></{tag}>"
    )


def templates(*details: str, total: int | None = None, number: int = 1, size: int | None = None) -> Answer:
    count = len(details) if total is None else total
    paging = (
        f"<TotalCount>{count}</TotalCount><PageNumber>{number}</PageNumber>"
        f"<PageSize>{size or len(details)}</PageSize>"
    )
    return http(f"<Response>{paging}{''.join(details)}</Response>")


def listed(*names: str, **paging: Any) -> Answer:
    return templates(*(template_xml("TemplateList", name, f"t{n}") for n, name in enumerate(names)), **paging)


MADE = http(f"<Response>{template_xml()}</Response>")


class TestTemplates:
    @pytest.mark.parametrize(
        "lost", [hang_up(), reset_after_reading(), error(500, "InternalError"), http("")]
    )
    def test_a_template_whose_response_was_lost_is_found_by_its_name(
        self, hook: TencentCIHook, server: ScriptedServer, logs: Logs, lost: Answer
    ) -> None:
        server.play(lost, listed("stems-2", "stems"))
        assert hook.templates.create(TAG, "stems", VOICE).template_id == "t1"
        assert server.methods() == ["POST", "GET"]
        assert server.requests[1].params["name"] == "stems"
        assert any("template t1 was created" in line for line in logs.at("warning"))

    def test_a_template_that_was_not_created_is_an_error(
        self, hook: TencentCIHook, server: ScriptedServer, pauses: list[float]
    ) -> None:
        server.play(hang_up(), listed("stems-2"))
        with pytest.raises(TransportError):
            hook.templates.create(TAG, "stems", VOICE)
        server.play(hang_up(), templates(template_xml("TemplateList", bitrate="64")))
        with pytest.raises(TransportError):  # somebody else's of that name
            hook.templates.create(TAG, "stems", VOICE)

    def test_after_a_refusal_no_template_is_looked_for(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(error(400, "TemplateNameDuplicate"))
        with pytest.raises(InvalidRequestError, match="TemplateNameDuplicate"):
            hook.templates.create(TAG, "stems", VOICE)
        with pytest.raises(RequestValidationError):
            hook.templates.create(TAG, "a b", VOICE)

    def test_the_parameters_are_sent_without_container_and_with_an_encoding(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(MADE, MADE)
        hook.templates.create(TAG, "stems", {TAG: {"AudioMode": "IsAudio"}})
        hook.templates.update("t1", TAG, "stems", VOICE)
        body = b"<AudioMode>IsAudio</AudioMode><AudioConfig></AudioConfig></Request>"
        assert server.requests[0].body.endswith(body)
        assert (server.requests[1].method, server.requests[1].path) == ("PUT", "/template/t1")

    def test_finding_a_template_ends_with_the_match(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(listed("a1", "a2", total=9), listed("a", "a3", total=9, number=2))
        found = hook.templates.find(TAG, "a")
        assert found is not None
        assert found.name == "a"
        assert [sent.params["pageNumber"] for sent in server.requests] == ["1", "2"]
        server.play(listed("a1"))
        assert hook.templates.find(TAG, "a") is None

    def test_listing_is_lazy(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(listed("a", "b", total=3))
        found = hook.templates.list()
        assert not server.requests
        assert (next(found).name, next(found).name) == ("a", "b")
        assert len(server.requests) == 1
        server.play(listed("c", total=3, number=2, size=2))
        assert [template.name for template in found] == ["c"]

    def test_deleting_a_template_twice_returns_false(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(http("<Response><TemplateId>t1</TemplateId></Response>"), error(404, "TemplateNotFound"))
        assert [hook.templates.delete("t1"), hook.templates.delete("t1")] == [True, False]
