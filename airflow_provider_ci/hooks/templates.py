"""The hook's calls about voice-separation templates. A template belongs to one bucket."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.protocol.errors import is_retryable
from airflow_provider_ci.protocol.templates import (
    CreateTemplate,
    DeleteTemplate,
    ListTemplates,
    Template,
    UpdateTemplate,
    template_request,
)
from airflow_provider_ci.protocol.voice_separation import VOICE_SEPARATE, AudioConfig, VoiceSeparate

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook

log = logging.getLogger(__name__)


class Templates:
    """Creates, updates, deletes and finds templates."""

    def __init__(self, hook: TencentCIHook) -> None:
        self._hook = hook

    def create(
        self,
        name: str,
        parameters: VoiceSeparate,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Template:
        """Create a voice-separation template. After a lost response it is looked for by its name.

        :param name: unique in the bucket: Chinese, letters, digits, ``_``, ``-``, ``*``, at most 64.
        :raises RequestValidationError: it breaks a documented rule; nothing was sent.
        :raises InvalidRequestError: the service refused it, for instance because the name is taken (code
            ``TemplateNameDuplicate``).
        """
        request = CreateTemplate(template_request(name, parameters))
        try:
            return self._hook.call(request, bucket=bucket, region=region)
        except TencentCIError as error:
            if not is_retryable(error):
                raise
            found = self.find(name, bucket=bucket, region=region)
            if found is None or not has_parameters(found, parameters):
                raise
            log.warning("The response was lost, but template %s was created: %s", found.template_id, error)
            return found

    def update(
        self,
        template_id: str,
        name: str,
        parameters: VoiceSeparate,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Template:
        """Replace name and all parameters of a template.

        :raises NotFoundError: there is no such template.
        """
        request = UpdateTemplate(template_id, template_request(name, parameters))
        return self._hook.call(request, bucket=bucket, region=region)

    def delete(self, template_id: str, *, bucket: str | None = None, region: str | None = None) -> bool:
        """Delete a template; return ``False`` if there was none."""
        return self._hook.call(DeleteTemplate(template_id), bucket=bucket, region=region)

    def list(
        self,
        *,
        tag: str = VOICE_SEPARATE,
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

    def find(self, name: str, *, bucket: str | None = None, region: str | None = None) -> Template | None:
        """Return the voice-separation template of exactly this name, or ``None``."""
        candidates = self.list(name=name, bucket=bucket, region=region)
        return next((template for template in candidates if template.name == name), None)


def has_parameters(template: Template, parameters: VoiceSeparate) -> bool:
    """Return whether a template has these parameters, and no others."""
    present = template.voice_separate or VoiceSeparate()
    is_same_mode = present.audio_mode == parameters.audio_mode
    return is_same_mode and _audio_config(present) == _audio_config(parameters)


def _audio_config(parameters: VoiceSeparate) -> AudioConfig:
    """Return the audio config in the spelling that the service returns."""
    config = parameters.audio_config or AudioConfig()
    return replace(config, codec=config.codec.lower() if config.codec else None)
