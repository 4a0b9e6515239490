"""Voice-separation templates: parameters that jobs name by an id."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import InvalidRequestError, NotFoundError, ServiceError
from airflow_provider_ci.operators.arguments import PARAMETERS, read_arguments, separation_parameters
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.validation import check_when_parsed, without_retry
from airflow_provider_ci.protocol.names import VOICE_SEPARATE
from airflow_provider_ci.protocol.voice_separation import check_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.voice_separation import VoiceSeparate

# Somebody else may create or delete the template between two calls, and the list may lag behind
_ATTEMPTS = 3
_PAUSE = 2.0


class VoiceSeparateTemplateOperator(TencentCIBaseOperator):
    """Makes a voice-separation template be there under a name, with exactly these parameters.

    It is created, updated or left alone, so that running twice leaves one template and the same id. XCom
    ``return_value`` is the TemplateId. Jobs that run meanwhile keep the parameters that they began with, as
    far as is known.

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
    template_fields: Sequence[str] = ("name", *PARAMETERS, "tencent_ci_conn_id", "bucket", "region")

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

        :raises RequestValidationError: an argument breaks a documented rule; nothing was sent.
        """
        with without_retry():
            self.check_draft(None)
            name, parameters = self._definition()
            self.hook.settings.endpoint(**self.bucket_and_region)
        last: ServiceError | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE)
            try:
                return self._ensured(name, parameters)
            except ServiceError as error:
                if not _is_race(error):
                    raise
                self.log.info("Somebody else was faster, looking again: %s", error)
                last = error
        assert last is not None  # noqa: S101 - for the type checker
        raise last

    def check_draft(self, endpoint: Any) -> None:
        """Check the template."""
        super().check_draft(endpoint)
        name, parameters = self._definition()
        check_template(
            self.models.TemplateRequest(
                tag=VOICE_SEPARATE,
                name=name,
                audio_mode=parameters.audio_mode,
                audio_config=parameters.audio_config or self.models.AudioConfig(),
            )
        )

    def _definition(self) -> tuple[str, VoiceSeparate]:
        texts, numbers = read_arguments(self, ("name", *PARAMETERS))
        return texts["name"] or "", separation_parameters(texts, numbers, self.models)

    def _ensured(self, name: str, parameters: VoiceSeparate) -> str:
        from airflow_provider_ci.hooks.admin import is_same

        place = self.bucket_and_region
        found = self.hook.find_template(name, **place)
        if found is None:
            template_id = self.hook.create_template(name, parameters, **place).template_id
            self.log.info("Created template %s (%s)", name, template_id)
            return str(template_id)
        if is_same(found, parameters):
            self.log.info("Template %s (%s) is as it should be", name, found.template_id)
        else:
            self.hook.update_template(str(found.template_id), name, parameters, **place)
            self.log.info("Updated template %s (%s)", name, found.template_id)
        return str(found.template_id)


def _is_race(error: ServiceError) -> bool:
    """Tell whether the template came or went after it had been looked for."""
    from airflow_provider_ci.protocol.templates import NAME_DUPLICATE, TEMPLATE_MISSING

    if isinstance(error, InvalidRequestError):
        return error.code in NAME_DUPLICATE
    return isinstance(error, NotFoundError) and error.code in TEMPLATE_MISSING
