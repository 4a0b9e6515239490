"""Keeps a voice-separation template: parameters under an id, which jobs name instead of parameters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import InvalidRequestError, NotFoundError, ServiceError
from airflow_provider_ci.operators import audio_parameters
from airflow_provider_ci.operators.argument_errors import fail_without_retry
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import read_arguments
from airflow_provider_ci.protocol.voice_separation import VOICE_SEPARATE, check_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.voice_separation import VoiceSeparate

# Somebody else may create or delete the template between two calls, and the list may show it late
_ATTEMPTS = 3
_PAUSE = 2.0  # seconds


class VoiceSeparateTemplateOperator(TencentCIBaseOperator):
    """Creates or updates the voice-separation template of a name, so that it has exactly these parameters.

    XCom ``return_value`` is the TemplateId. Running twice leaves one template and returns the same id. As far
    as is known, jobs that are running meanwhile keep the parameters that they started with.

    .. seealso:: ``docs/operators.md``, and Tencent's pages 436/84510 and 460/84757.

    :param name: the template's name, unique in its bucket: Chinese, letters, digits, ``_``, ``-``, ``*``, at
        most 64 characters. (templated)
    :param audio_mode: ``IsAudio`` (voice), ``IsBackground``, ``AudioAndBackground`` or ``MusicMode``.
        (templated)
    :param codec: ``aac`` (the service's default), ``mp3``, ``flac``, ``amr`` or ``wav``. (templated)
    :param samplerate: Hz. (templated)
    :param bitrate: kbit/s, 8 to 1000. (templated)
    :param channels: number of channels. (templated)
    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the bucket that the template is for; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    """

    models_module = "templates"
    template_fields: Sequence[str] = ("name", *audio_parameters.NAMES, *TencentCIBaseOperator.template_fields)
    integer_arguments = audio_parameters.INTEGERS
    optional_arguments = audio_parameters.OPTIONAL
    assumed_when_parsed = (audio_parameters.EXAMPLE,)

    def __init__(
        self,
        *,
        name: str,
        audio_mode: str,
        codec: str | None = None,
        samplerate: int | str | None = None,
        bitrate: int | str | None = None,
        channels: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.audio_mode = audio_mode
        self.codec = codec
        self.samplerate = samplerate
        self.bitrate = bitrate
        self.channels = channels
        check_when_parsed(self)

    def execute(self, context: Context) -> str:  # noqa: ARG002 - as Airflow calls it
        """Create or update the template and return its id.

        :raises TaskArgumentError: an argument breaks a documented rule; nothing was sent.
        :raises ServiceError: the service refuses the template, or others keep changing it meanwhile.
        """
        with fail_without_retry(self):
            self.validate_arguments(None)
            name, parameters = self._read_template()
            self.hook.settings.endpoint(**self.bucket_and_region)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._create_or_update(name, parameters)
            except ServiceError as error:
                if attempt == _ATTEMPTS or not _is_changed_by_others(error):
                    raise
                self.log.info("Somebody else has changed the template meanwhile, trying again: %s", error)
                time.sleep(_PAUSE)
        raise AssertionError("the last attempt returns or raises")

    def validate_arguments(self, endpoint: Any) -> None:
        """Check the arguments, and the template made of them by the documented rules."""
        super().validate_arguments(endpoint)
        name, parameters = self._read_template()
        check_template(
            self.models.TemplateRequest(
                tag=VOICE_SEPARATE,
                name=name,
                audio_mode=parameters.audio_mode,
                audio_config=parameters.audio_config or self.models.AudioConfig(),
            )
        )

    def _read_template(self) -> tuple[str, VoiceSeparate]:
        arguments = read_arguments(self, ("name", *audio_parameters.NAMES))
        return arguments["name"] or "", audio_parameters.build_parameters(arguments, self.models)

    def _create_or_update(self, name: str, parameters: VoiceSeparate) -> str:
        from airflow_provider_ci.hooks.templates import has_parameters

        existing = self.hook.templates.find(name, **self.bucket_and_region)
        if existing is None:
            created = self.hook.templates.create(name, parameters, **self.bucket_and_region)
            self.log.info("Created template %s (%s)", name, created.template_id)
            return str(created.template_id)
        template_id = str(existing.template_id)
        if has_parameters(existing, parameters):
            self.log.info("Template %s (%s) has these parameters already", name, template_id)
        else:
            self.hook.templates.update(template_id, name, parameters, **self.bucket_and_region)
            self.log.info("Updated template %s (%s)", name, template_id)
        return template_id


def _is_changed_by_others(error: ServiceError) -> bool:
    """Tell whether the template was created or deleted after it had been looked for."""
    from airflow_provider_ci.protocol.templates import NAME_DUPLICATE, TEMPLATE_MISSING

    if isinstance(error, InvalidRequestError):
        return error.code in NAME_DUPLICATE
    return isinstance(error, NotFoundError) and error.code in TEMPLATE_MISSING
