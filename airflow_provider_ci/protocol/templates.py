"""Templates: parameters under an id, which jobs name instead of parameters. :mod:`.template_rules` has the
rules.

A request is a tree: ``{"Tag": …, "Name": …}`` and the parameters, which some tags have in an element of their
own, and others not. Documents: 436/84510 (create), 460/84757 (update), 1045/49919 (list), 1045/49918
(delete); 1045/49911 and others (parameters). Unlike responses about jobs, these have ``RequestId`` in their
bodies.
"""

# ruff: noqa: D102 - the methods of the calls are documented in ApiRequest and PagedRequest

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

from airflow_provider_ci.exceptions import ServiceError
from airflow_provider_ci.protocol import xml
from airflow_provider_ci.protocol.api_request import (
    ApiRequest,
    ci_request,
    invalid_response_error,
    parse_response,
    raise_for_error,
)
from airflow_provider_ci.protocol.fields import element
from airflow_provider_ci.protocol.lists import NumberedListRequest
from airflow_provider_ci.protocol.rules import check_choice, check_id
from airflow_provider_ci.protocol.template_rules import check_template
from airflow_provider_ci.protocol.tree import Tree
from airflow_provider_ci.protocol.wire import HttpRequest, HttpResponse

#: Error codes: the names and numbers of 1045/33700. Which of the two the service sends is not documented.
NAME_DUPLICATE = ("TemplateNameDuplicate", "1112")
TEMPLATE_MISSING = ("TemplateNotFound", "1107")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template as the service describes it. ``category`` is ``Custom`` or ``Official``. Of ``state`` the
    documents show ``Normal`` only.

    :param content: the whole element, with the parameters under a name that depends on the tag. It is not in
        the ``repr``: an address may be signed.
    """

    tag: str | None = None
    template_id: str | None = None
    name: str | None = None
    bucket_id: str | None = None
    category: str | None = None
    state: str | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def parameters(self) -> Tree:
        """The parameters, without an element around them; empty if there are none."""
        return next((value for value in self.content.values() if isinstance(value, Mapping)), {})


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateIds:
    """Ids of templates."""

    template_id: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatesResponse:
    """The response to ``GET /template``; without totals if the request has ids."""

    request_id: str | None = None
    total_count: int | None = None
    page_number: int | None = None
    page_size: int | None = None
    template_list: tuple[Template, ...] = ()
    non_exist_tids: TemplateIds | None = field(default=None, metadata=element("NonExistTIDs"))


@dataclass(frozen=True, slots=True)
class CreateTemplate(ApiRequest[Template]):
    """``POST /template`` (436/84510): creates a template.

    Not idempotent: if the response is lost, a second call finds the name taken. Look for the template by its
    name instead.
    """

    template: Tree = field(repr=False)  # may have the signed address of a watermark
    purpose: ClassVar[str] = "create the template"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:CreateMediaTemplate",)
    idempotent: ClassVar[bool] = False

    def http_request(self) -> HttpRequest:
        check_template(self.template)
        return ci_request("POST", "/template", body=self.template)

    def parse(self, response: HttpResponse) -> Template:
        return _read_template(response, self.purpose)


@dataclass(frozen=True, slots=True)
class UpdateTemplate(ApiRequest[Template]):
    """``PUT /template/<id>`` (460/84757): replaces all that a template defines."""

    template_id: str
    template: Tree = field(repr=False)  # may have the signed address of a watermark
    purpose: ClassVar[str] = "update the template"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:UpdateMediaTemplate",)

    def http_request(self) -> HttpRequest:
        check_id("template_id", self.template_id)
        check_template(self.template)
        return ci_request("PUT", f"/template/{self.template_id}", body=self.template)

    def parse(self, response: HttpResponse) -> Template:
        return _read_template(response, self.purpose)


@dataclass(frozen=True, slots=True)
class DeleteTemplate(ApiRequest[bool]):
    """``DELETE /template/<id>`` (1045/49918): deletes a template; ``False`` if there was none."""

    template_id: str
    purpose: ClassVar[str] = "delete the template"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DeleteMediaTemplate",)

    def http_request(self) -> HttpRequest:
        check_id("template_id", self.template_id)
        return ci_request("DELETE", f"/template/{self.template_id}")

    def parse(self, response: HttpResponse) -> bool:
        try:
            raise_for_error(response, self.purpose)
        except ServiceError as error:
            if error.code in TEMPLATE_MISSING:
                return False
            raise
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTemplates(NumberedListRequest[TemplatesResponse, Template]):
    """``GET /template`` (1045/49919): lists templates.

    :param category: ``Custom``, or ``Official`` (of some tags, none of which is VoiceSeparate).
    :param ids: only templates with these ids; ids without template are in ``non_exist_tids`` of the response.
    :param name: only templates whose name begins so.
    """

    tag: str = "All"
    category: str = "Custom"
    ids: Sequence[str] = ()
    name: str | None = None
    purpose: ClassVar[str] = "list templates"
    cam_actions: ClassVar[tuple[str, ...]] = ("ci:DescribeMediaTemplates",)

    def http_request(self) -> HttpRequest:
        check_choice("category", self.category, ("Custom", "Official"))
        for template_id in self.ids:
            check_id("template_id", template_id)
        params = self.params(
            ("tag", self.tag), ("category", self.category), ("ids", ",".join(self.ids)), ("name", self.name)
        )
        return ci_request("GET", "/template", params=params)

    def parse(self, response: HttpResponse) -> TemplatesResponse:
        root = parse_response(response, self.purpose)
        templates = tuple(_templates(root, "TemplateList"))
        return replace(xml.read(TemplatesResponse, root), template_list=templates)

    def items(self, page: TemplatesResponse) -> Sequence[Template]:
        return page.template_list


def _read_template(response: HttpResponse, purpose: str) -> Template:
    template = next(_templates(parse_response(response, purpose), "Template"), None)
    if template is None or not template.template_id:
        raise invalid_response_error(response, purpose, "the response has no TemplateId")
    return template


def _templates(root: xml.Element, name: str) -> Iterator[Template]:
    for child in root:
        if xml.local_name(child.tag) == name and len(child):
            yield replace(xml.read(Template, child), content=xml.ElementTree(child))
