"""The hook's calls about templates. A template belongs to one bucket."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.protocol.errors import is_retryable
from airflow_provider_ci.protocol.template_rules import FLAT_PARAMETERS, template_request
from airflow_provider_ci.protocol.templates import (
    CreateTemplate,
    DeleteTemplate,
    ListTemplates,
    Template,
    UpdateTemplate,
)
from airflow_provider_ci.protocol.tree import Tree, format_value, without_none

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook

log = logging.getLogger(__name__)


class Templates:
    """Creates, updates, deletes and finds templates."""

    def __init__(self, hook: TencentCIHook) -> None:
        self._hook = hook

    def create(
        self,
        tag: str,
        name: str,
        parameters: Tree,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Template:
        """Create a template. After a lost response it is looked for by its name.

        :param tag: the type of the jobs that it is for, for instance ``VoiceSeparate``.
        :param name: unique in the bucket: Chinese, letters, digits, ``_``, ``-``, ``*``, at most 64.
        :param parameters: as in the ``Operation`` of a job, for instance ``{"VoiceSeparate": {…}}``.
        :raises RequestValidationError: it breaks a documented rule; nothing was sent.
        :raises InvalidRequestError: the service refused it, for instance because the name is taken (code
            ``TemplateNameDuplicate``).
        """
        request = CreateTemplate(template_request(tag, name, parameters))
        try:
            return self._hook.call(request, bucket=bucket, region=region)
        except TencentCIError as error:
            if not is_retryable(error):
                raise
            found = self.find(tag, name, bucket=bucket, region=region)
            if found is None or not has_parameters(found, tag, parameters):
                raise
            log.warning(
                "The response was lost, but template %s was created: %s. Nothing to do",
                found.template_id,
                error,
            )
            return found

    def update(
        self,
        template_id: str,
        tag: str,
        name: str,
        parameters: Tree,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Template:
        """Replace name and all parameters of a template.

        :raises NotFoundError: there is no such template.
        """
        request = UpdateTemplate(template_id, template_request(tag, name, parameters))
        return self._hook.call(request, bucket=bucket, region=region)

    def delete(self, template_id: str, *, bucket: str | None = None, region: str | None = None) -> bool:
        """Delete a template; return ``False`` if there was none."""
        return self._hook.call(DeleteTemplate(template_id), bucket=bucket, region=region)

    def list(
        self,
        *,
        tag: str = "All",
        name: str | None = None,
        category: str = "Custom",
        bucket: str | None = None,
        region: str | None = None,
    ) -> Iterator[Template]:
        """Return an iterator over the templates of a bucket, page after page.

        :param name: begin of the name.
        """
        request = ListTemplates(tag=tag, name=name, category=category)
        return self._hook.pages(request, bucket=bucket, region=region)

    def find(
        self, tag: str, name: str, *, bucket: str | None = None, region: str | None = None
    ) -> Template | None:
        """Return the template with this tag and exactly this name, or ``None``."""
        candidates = self.list(tag=tag, name=name, bucket=bucket, region=region)
        return next((template for template in candidates if template.name == name), None)


def has_parameters(template: Template, tag: str, parameters: Tree) -> bool:
    """Return whether a template has these parameters, and no others.

    :param parameters: as in the ``Operation`` of a job.
    """
    wanted: object = parameters.get(FLAT_PARAMETERS.get(tag, "")) or next(iter(parameters.values()), {})
    return _normalize(wanted) == _normalize(template.parameters)


def _normalize(value: object) -> object:
    """Return parameters in one spelling: numbers as text, codecs in lower case, no empty elements."""
    if isinstance(value, Mapping):
        normalized = {name: _normalize(child) for name, child in without_none(value).items()}
        return {
            name: str(child).lower() if name == "Codec" else child
            for name, child in normalized.items()
            if child not in ("", {}, [])
        }
    if isinstance(value, list | tuple):
        return [_normalize(child) for child in value]
    return "" if value is None else format_value(value)
