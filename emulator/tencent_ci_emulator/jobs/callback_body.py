"""The body of a job's callback, in XML and in JSON (460/76959, 460/84821, 436/121037).

Not documented, and so decided here. Lists in JSON are ``ObjectName``, ``Md5Info``, the streams,
``Workflow``, and all that is there more than once, and ``JobsDetail`` but for the seven types in whose
samples it is an object (``Animation``, ``Concat``, ``DigitalWatermark``, ``ExtractDigitalWatermark``,
``MediaInfo``, ``NoiseReduction``, ``QualityEstimate``). Empty ``Audio``, ``Video`` and ``Subtitle`` are
``[]``, empty texts ``""``.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tencent_ci_emulator.faults.effects import CallbackContent
from tencent_ci_emulator.http.xml import Element, append, build, remove, shift_times, to_bytes
from tencent_ci_emulator.jobs.job_store import StoredJob
from tencent_ci_emulator.observed import ASSUMED, ObservedBehaviour

_STREAMS = ("Audio", "Video", "Subtitle")
# Elements that are lists in JSON even if there is only one, by the names of their parents
_LISTS = {
    "Response": {"JobsDetail"},
    "JobsDetail": {"Workflow"},
    "OutputFile": {"ObjectName", "Md5Info"},
    "SpriteOutputFile": {"ObjectName", "Md5Info"},
    "Stream": {*_STREAMS},
}
# The types in whose JSON samples JobsDetail is an object and not a list
_SINGLE_JOBS = (
    *("Animation", "Concat", "DigitalWatermark", "ExtractDigitalWatermark"),
    *("MediaInfo", "NoiseReduction", "QualityEstimate"),
)


def callback_body(
    job: StoredJob, body_format: str, content: CallbackContent, observed: ObservedBehaviour = ASSUMED
) -> bytes:
    """Return the message about a job, as ``XML`` or ``JSON``.

    :param content: what the fault plan has the message say in place of the truth.
    """
    if content.body is not None:
        return content.body
    detail = job.describe(observed)
    shift_times(detail, observed.timestamps_offset)
    remove(detail, *content.claims)
    append(detail, content.claims)
    root = build("Response", {"EventName": "TaskFinish", "JobsDetail": detail})
    if body_format != "JSON":
        return to_bytes(root)
    message = _to_json(root)
    if job.tag in _SINGLE_JOBS:
        message["JobsDetail"] = message["JobsDetail"][0]
    return json.dumps(message, ensure_ascii=False).encode()


def _to_json(element: Element) -> dict[str, Any]:
    """Return the children of an element as an object, in lists where there are or may be several."""
    fields: dict[str, Any] = {name: [] for name in _STREAMS} if element.tag == "Stream" else {}
    lists = _LISTS.get(element.tag, set()) | {
        name for name, count in Counter(child.tag for child in element).items() if count > 1
    }
    for child in element:
        value: object = _to_json(child) if len(child) else (child.text or "")
        if child.tag not in lists:
            fields[child.tag] = value
        else:  # an empty element is left out of the list
            fields.setdefault(child.tag, []).extend([value] if value else [])
    return fields
