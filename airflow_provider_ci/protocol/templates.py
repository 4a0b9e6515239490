"""Templates of voice separation: models and calls.

Documents: 436/84510 (create), 460/84757 (update), 1045/49919 (list), 1045/49918 (delete). Unlike responses
about jobs, these carry ``RequestId`` in their bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import (
    ApiRequest,
    acknowledged,
    drop_empty,
    invalid_response_error,
    read_response,
)
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.lists import NumberedListRequest
from airflow_provider_ci.protocol.rules import check_choice, check_id
from airflow_provider_ci.protocol.voice_separation import VOICE_SEPARATE, check_template
from airflow_provider_ci.protocol.voice_separation import AudioConfig as AudioConfig
from airflow_provider_ci.protocol.voice_separation import VoiceSeparate as VoiceSeparate
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse, Service

# The names and the numbers of 1045/33700; which of the two the service sends is not documented
NAME_DUPLICATE = ("TemplateNameDuplicate", "1112")
TEMPLATE_MISSING = ("TemplateNotFound", "1107")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRequest:
    """The body of ``POST /template`` and ``PUT /template/<id>``; here the parameters have no container."""

    tag: str | None = None
    name: str | None = None
    audio_mode: str | None = None
    audio_config: AudioConfig | None = None


def template_request(name: str, parameters: VoiceSeparate) -> TemplateRequest:
    """Return the body for a voice-separation template; the encoding's element must be there, even empty."""
    return TemplateRequest(
        tag=VOICE_SEPARATE,
        name=name,
        audio_mode=parameters.audio_mode,
        audio_config=parameters.audio_config or AudioConfig(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One template as the service describes it. ``category`` is ``Custom`` or ``Official``; of ``state`` only
    ``Normal`` has been seen.
    """

    tag: str | None = None
    template_id: str | None = None
    name: str | None = None
    bucket_id: str | None = None
    category: str | None = None
    state: str | None = None
    voice_separate: VoiceSeparate | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateResponse:
    """The answer to creation and update."""

    request_id: str | None = None
    template: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateIds:
    """Ids of templates."""

    template_id: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatesResponse:
    """The answer to ``GET /template``; without totals when ids were asked for."""

    request_id: str | None = None
    total_count: int | None = None
    page_number: int | None = None
    page_size: int | None = None
    template_list: tuple[Template, ...] = ()
    non_exist_tids: TemplateIds | None = field(default=None, metadata=element("NonExistTIDs"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDeletedResponse:
    """The answer to ``DELETE /template/<id>``."""

    request_id: str | None = None
    template_id: str | None = None


@dataclass(frozen=True, slots=True)
class CreateTemplate(ApiRequest[Template]):
    """``POST /template`` (436/84510). Not idempotent: after a lost answer a repetition finds its own name
    taken, so the template has to be looked for by its name.
    """

    template: TemplateRequest
    purpose: ClassVar[str] = "create the template"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateMediaTemplate",)
    idempotent: ClassVar[bool] = False

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: the template breaks a documented rule.
        """
        return _template_request("POST", "/template", self.template)

    def parse(self, response: HttpResponse) -> Template:
        """Return the template with its id."""
        return _template(response, self.purpose)


@dataclass(frozen=True, slots=True)
class UpdateTemplate(ApiRequest[Template]):
    """``PUT /template/<id>`` (460/84757): the whole definition is replaced."""

    template_id: str
    template: TemplateRequest
    purpose: ClassVar[str] = "update the template"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:UpdateMediaTemplate",)

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: the id is none, or the template breaks a documented rule.
        """
        check_id("template_id", self.template_id)
        return _template_request("PUT", f"/template/{self.template_id}", self.template)

    def parse(self, response: HttpResponse) -> Template:
        """Return the template as it is now."""
        return _template(response, self.purpose)


@dataclass(frozen=True, slots=True)
class DeleteTemplate(ApiRequest[bool]):
    """``DELETE /template/<id>`` (1045/49918)."""

    template_id: str
    purpose: ClassVar[str] = "delete the template"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DeleteMediaTemplate",)

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: the id is none.
        """
        check_id("template_id", self.template_id)
        return HttpRequest(method="DELETE", service=Service.CI, path=f"/template/{self.template_id}")

    def parse(self, response: HttpResponse) -> bool:
        """Tell whether there was one: it is gone in any case."""
        return acknowledged(response, self.purpose, TEMPLATE_MISSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTemplates(NumberedListRequest[TemplatesResponse, Template]):
    """``GET /template`` (1045/49919): one page of templates.

    :param ids: only these; unknown ones come back in ``non_exist_tids``.
    :param name: begin of the name.
    :param category: ``Custom``, or ``Official`` (of which none is for voice separation).
    """

    tag: str = "All"
    category: str = "Custom"
    ids: Sequence[str] = ()
    name: str | None = None
    purpose: ClassVar[str] = "list templates"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaTemplates",)

    def http_request(self) -> HttpRequest:
        """Return the request.

        :raises RequestValidationError: an argument outside the documented values.
        """
        check_choice("category", self.category, ("Custom", "Official"))
        for template_id in self.ids:
            check_id("template_id", template_id)
        params = (
            ("tag", self.tag),
            ("category", self.category),
            ("ids", ",".join(self.ids)),
            ("name", self.name),
            *self.page_params(),
        )
        return HttpRequest(method="GET", service=Service.CI, path="/template", params=drop_empty(params))

    def parse(self, response: HttpResponse) -> TemplatesResponse:
        """Return the page."""
        return read_response(TemplatesResponse, response, self.purpose)

    def items(self, answer: TemplatesResponse) -> Sequence[Template]:
        """Return the templates of the page."""
        return answer.template_list

    def next_page(self, answer: TemplatesResponse) -> ListTemplates | None:
        """Return the call for the next page, or ``None``."""
        return self.page_after(answer, len(answer.template_list))


def _template_request(method: str, path: str, template: TemplateRequest) -> HttpRequest:
    check_template(template)
    body = xml.to_bytes(xml.to_element(template, "Request"))
    return HttpRequest(method=method, service=Service.CI, path=path, body=body)


def _template(response: HttpResponse, purpose: str) -> Template:
    template = read_response(TemplateResponse, response, purpose).template
    if template is None or not template.template_id:
        raise invalid_response_error(response, purpose, "the answer has no TemplateId")
    return template
