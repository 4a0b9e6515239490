"""The arguments that say how to separate and to encode. A job has them, or a template that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_ci.protocol.voice_separation import VoiceSeparate

#: Values that break no rule: with this mode rates are ignored, and with this codec all are allowed.
PARAMETERS_EXAMPLE = {
    "audio_mode": "MusicMode",
    "codec": "wav",
    "samplerate": 44100,
    "bitrate": 128,
    "channels": 2,
}
PARAMETERS = tuple(PARAMETERS_EXAMPLE)
#: Those of them that are integers.
INTEGER_PARAMETERS = ("samplerate", "bitrate", "channels")
#: Those of them that have a default.
OPTIONAL_PARAMETERS = ("audio_mode", "codec")


def build_parameters(arguments: Mapping[str, Any], models: Any) -> VoiceSeparate:
    """Return the element ``VoiceSeparate`` of a request.

    :param arguments: values of ``PARAMETERS``, ``None`` for no value.
    :param models: the module with the request's classes.
    """
    encoding = {name: arguments[name] for name in ("codec", *INTEGER_PARAMETERS)}
    if encoding["codec"]:
        encoding["codec"] = encoding["codec"].lower()
    # a job may have no AudioConfig; what the service does with an empty one is not documented
    has_encoding = any(value is not None for value in encoding.values())
    parameters: VoiceSeparate = models.VoiceSeparate(
        audio_mode=arguments["audio_mode"],
        audio_config=models.AudioConfig(**encoding) if has_encoding else None,
    )
    return parameters
