"""Reads rendered arguments: templates give texts where numbers are wanted, and empty texts for nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.models import VoiceSeparate

#: The arguments that say how to separate and to encode; a template holds the same.
PARAMETERS = ("audio_mode", "codec", "samplerate", "bitrate", "channels")
_NUMBERS = ("samplerate", "bitrate", "channels", "job_level")


def read_arguments(
    operator: Any, names: Iterable[str]
) -> tuple[dict[str, str | None], dict[str, int | None]]:
    """Return the rendered texts and numbers of an operator; an empty or blank text is not given.

    :raises RequestValidationError: naming each that is neither.
    """
    broken: list[str] = []
    texts = {name: _text(name, getattr(operator, name), broken) for name in names if name not in _NUMBERS}
    numbers = {
        name: _whole_number(name, getattr(operator, name), broken) for name in names if name in _NUMBERS
    }
    if broken:
        raise RequestValidationError(broken)
    return texts, numbers


def read_ids(name: str, given: Any) -> list[str]:
    """Return ids that were given as one text or several.

    :raises RequestValidationError: something else was given.
    """
    ids = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else None
    if ids is None or isinstance(given, dict) or not all(isinstance(i, str) and i for i in ids):
        raise RequestValidationError([f"{name} is {given!r}, allowed: an id or a list of ids"])
    return ids


def separation_parameters(texts: dict[str, str | None], numbers: dict[str, int | None]) -> VoiceSeparate:
    """Return the parameters made of ``PARAMETERS``."""
    # lxml comes with the models: not at DAG-parse time
    from airflow_provider_ci.protocol.models import AudioConfig, VoiceSeparate

    codec = texts["codec"]
    config = AudioConfig(
        codec=codec.lower() if codec else None,
        samplerate=numbers["samplerate"],
        bitrate=numbers["bitrate"],
        channels=numbers["channels"],
    )
    # the element is optional in a job; what an empty one means is not documented
    return VoiceSeparate(
        audio_mode=texts["audio_mode"], audio_config=config if config != AudioConfig() else None
    )


def _text(name: str, value: Any, broken: list[str]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        broken.append(f"{name} is {value!r}, allowed: a text")
        return None
    # blanks alone would not be read back from an answer, so that the job could not be found again
    return value if value.strip() else None


def _whole_number(name: str, value: Any, broken: list[str]) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    broken.append(f"{name} is {value!r}, allowed: a whole number")
    return None
