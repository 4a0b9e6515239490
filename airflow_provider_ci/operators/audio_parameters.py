"""The arguments that say how to separate and to encode. A job has them, or a template that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_ci.protocol.voice_separation import VoiceSeparate

INTEGERS = ("samplerate", "bitrate", "channels")
#: Those whose default is the service's.
OPTIONAL = ("audio_mode", "codec")
NAMES = (*OPTIONAL, *INTEGERS)
#: Values that break no rule: with this mode rates are ignored, and with this codec all are allowed.
EXAMPLE = {"audio_mode": "MusicMode", "codec": "wav", "samplerate": 44100, "bitrate": 128, "channels": 2}


def build_parameters(arguments: Mapping[str, Any], models: Any) -> VoiceSeparate:
    """Return the element ``VoiceSeparate`` of a request.

    :param arguments: values of ``NAMES``, ``None`` for no value.
    :param models: the module with the request's classes.
    """
    encoding = {name: arguments[name] for name in ("codec", *INTEGERS)}
    if encoding["codec"]:
        encoding["codec"] = encoding["codec"].lower()
    # a job may have no AudioConfig; what the service does with an empty one is not documented
    has_encoding = any(value is not None for value in encoding.values())
    parameters: VoiceSeparate = models.VoiceSeparate(
        audio_mode=arguments["audio_mode"],
        audio_config=models.AudioConfig(**encoding) if has_encoding else None,
    )
    return parameters
