"""The documented rules of templates, checked before anything is sent.

DAG files load this module, so it loads neither the models nor the XML library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE
from airflow_provider_ci.protocol.rules import Problem, name_problems, raise_if_any
from airflow_provider_ci.protocol.tree import Tree, structure_problems

TEMPLATE_NAME_MAX = 64
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
#: The element of a job's ``Operation`` whose children a template has without that element.
FLAT_PARAMETERS = {
    VOICE_SEPARATE: "VoiceSeparate",
    "Tts": "TtsTpl",
    "Transcode": "Transcode",
    "TranscodePro": "Transcode",
    "HighSpeedHd": "Transcode",
    "Animation": "Animation",
    "VideoMontage": "VideoMontage",
    "VideoProcess": "VideoProcess",
    "SuperResolution": "SuperResolution",
}


def template_request(tag: str, name: str, parameters: Tree) -> dict[str, object]:
    """Return the request for a template with the parameters of a job's ``Operation``.

    :param parameters: as in ``Operation``, for instance ``{"Transcode": {"Container": …}}``.
    """
    element = FLAT_PARAMETERS.get(tag, "")
    flat = parameters.get(element)
    own = parameters
    if isinstance(flat, Mapping):
        own = {**flat, **{name: value for name, value in parameters.items() if name != element}}
    if tag == VOICE_SEPARATE:  # the service demands AudioConfig, even an empty one
        own = {"AudioMode": None, "AudioConfig": {}, **own}
    return {"Tag": tag, "Name": name, **own}


def check_template(template: Tree) -> None:
    """Check a template.

    :param template: the content of the element ``Request``.
    :raises RequestValidationError: naming every field that breaks a rule, its value and what is allowed.
    """
    raise_if_any(structure_problems(template) or _problems(template))


def _problems(template: Tree) -> Iterator[Problem]:
    tag = template.get("Tag")
    if not (isinstance(tag, str) and _TAG.fullmatch(tag)):
        yield Problem("Tag", tag, "the type of its jobs, for instance VoiceSeparate")
    yield from name_problems(template.get("Name"), TEMPLATE_NAME_MAX, asterisk=True)
    if tag == VOICE_SEPARATE:
        if template.get("AudioMode") is None:
            yield Problem("AudioMode", None, "a mode; a template must name one")
        if template.get("AudioConfig") is None:
            yield Problem("AudioConfig", None, "a container, which may be empty; the service demands it")
    own = {name: value for name, value in template.items() if name not in ("Tag", "Name")}
    element = FLAT_PARAMETERS.get(str(tag))
    inside = f"Operation.{element}." if element else "Operation."
    for problem in job_type(tag).parameter_problems({element: own} if element else own):
        yield replace(problem, field=problem.field.removeprefix(inside))
