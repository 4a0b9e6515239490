"""Trees: requests and parts of responses as dicts, with the names that the service gives to its elements.

``{"Input": {"Object": "in/a.mp3"}}`` is the element ``Input`` with the child ``Object``. A list is an element
that is repeated. An element whose value is ``None`` is left out; ``""`` and ``{}`` are an empty element.
Numbers and booleans are written as the service spells them; what is read is text. The order of the elements
is kept.

DAG files load this module, so it does not load the XML library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from airflow_provider_ci.protocol.names import NOT_XML
from airflow_provider_ci.protocol.rules import Problem

Tree: TypeAlias = Mapping[str, Any]

#: The most levels of elements in a request. Documented requests have seven, and deeper ones are unreadable.
DEPTH_MAX = 24
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ALLOWED_VALUE = "a string, a number, true or false, a dict of elements, or a list of these"

#: The elements that may be repeated, by parent and name, or by name alone (``*``). They are lists even when
#: there is only one, so that the shape of a result does not change with their number. All others are single;
#: if the service repeats one of those all the same, it becomes a list, and nothing is lost.
REPEATED = frozenset(
    {
        *(
            (parent, name)
            for parent in ("Operation", "JobParam")
            for name in ("Watermark", "WatermarkTemplateId")
        ),
        *(("Stream", name) for name in ("Video", "Audio", "Subtitle")),
        *(("OutputFile", name) for name in ("ObjectName", "Md5Info")),
        ("SpriteOutputFile", "ObjectName"),
        ("SpriteOutputFile", "Md5Info"),
        ("Output", "StreamExtract"),
        ("Input", "CosHeaders"),
        ("Subtitles", "Subtitle"),
        ("ConcatTemplate", "ConcatFragment"),
        ("FillConcat", "FillInput"),
        ("VideoSynthesis", "SpliceInfo"),
        ("SpeechRecognitionResult", "ResultDetail"),
        ("SpeechRecognitionResult", "FlashResult"),
        ("ResultDetail", "Words"),
        ("FlashResult", "sentence_list"),
        ("sentence_list", "word_list"),
        ("SoundHoundResult", "SongList"),
        ("PitchScore", "SentenceScores"),
        ("RhythemScore", "SentenceScores"),
        *(
            ("Data", name)
            for name in ("Tags", "PersonTags", "PlaceTags", "ActionTags", "ObjectTags", "Labels")
        ),
        ("PersonTags", "DetailPerSecond"),
        ("DetailPerSecond", "BBox"),
        *(("PlaceTags", name) for name in ("Tags", "ClipFrameResult")),
        ("ActionTags", "Tags"),
        ("ObjectTags", "Objects"),
        ("VqaPlusResult", "DetailedResult"),
        ("DetailedResult", "Items"),
        ("Items", "AreaCoordSet"),
        ("SplitVideoInfoResult", "TimeInfo"),
        *(("WordsGeneralizeResult", name) for name in ("WordsGeneralizeLable", "WordsGeneralizeToken")),
        ("FileCompressConfig", "Key"),
        ("FileCompressConfig", "KeyConfig"),
        ("DownloadConfig", "Key"),
        ("ErrorDetail", "ErrorFile"),
        ("Detection", "MatchDetail"),
        ("Detection", "TextDetections"),
        *(("TextDetections", name) for name in ("Polygon", "ItemPolygon", "Words", "WordPolygon")),
        *(
            ("VideoTargetRecResult", f"{name}Recognition")
            for name in ("Body", "Pet", "Car", "Face", "CarPlate")
        ),
        *((f"{name}Recognition", f"{name}Info") for name in ("Body", "Pet", "Car", "Face")),
        ("VideoTargetRecResult", "LicenseRecognitionResult"),
        ("LicenseRecognitionResult", "PlateInfo"),
        ("*", "AudioMixArray"),
    }
)


_REPEATED_ANYWHERE = frozenset(name for parent, name in REPEATED if parent == "*")
_REPEATED_IN = {
    parent: _REPEATED_ANYWHERE | {name for other, name in REPEATED if other == parent}
    for parent, _ in REPEATED
}


def repeated_in(parent: str) -> frozenset[str]:
    """Return the names of the elements in ``parent`` of which the documents say that they may be repeated."""
    return _REPEATED_IN.get(parent, _REPEATED_ANYWHERE)


def find(tree: Any, path: str) -> Any:
    """Return the value at a path such as ``Operation.Output.Object``; ``None`` if there is none."""
    value = tree
    for name in path.split("."):
        if not (isinstance(value, dict) or isinstance(value, Mapping)):  # noqa: SIM101 - dicts are quick
            return None
        value = value.get(name)
    return value


def find_tree(tree: Any, path: str) -> Tree:
    """Return the element with children at ``path``; an empty tree if there is none."""
    value = find(tree, path)
    return value if isinstance(value, Mapping) else {}


def find_text(tree: Any, path: str) -> str | None:
    """Return the text at ``path``; ``None`` if it is missing or empty."""
    value = find(tree, path)
    if isinstance(value, str):
        return value or None
    return None if value is None or isinstance(value, Mapping | list | tuple) else format_value(value)


def with_value(tree: Tree, path: str, value: Any) -> dict[str, Any]:
    """Return a copy of the tree with ``value`` at ``path``; missing parents are created."""
    name, _, rest = path.partition(".")
    copy = dict(tree)
    copy[name] = with_value(find_tree(tree, name), rest, value) if rest else value
    return copy


def without_none(value: Any) -> Any:
    """Return a tree without the elements that are ``None``, as it is sent."""
    if isinstance(value, Mapping):
        return {name: without_none(child) for name, child in value.items() if child is not None}
    if isinstance(value, list | tuple):
        return [without_none(child) for child in value if child is not None]
    return value


def format_value(value: Any) -> str:
    """Return a number, a boolean or a string as the service spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


@lru_cache(maxsize=512)
def is_element_name(name: str) -> bool:
    """Tell whether an element can have this name."""
    return _NAME.fullmatch(name) is not None


def structure_problems(tree: Any) -> list[Problem]:
    """Return a problem for each part of a tree that cannot become XML."""
    problems: list[Problem] = []
    _check_structure(tree, "", 0, problems)
    return problems


def _check_structure(value: Any, path: str, depth: int, problems: list[Problem]) -> None:
    if isinstance(value, str):
        if NOT_XML.search(value):
            problems.append(Problem(path, value, "a string without characters that XML cannot carry"))
    elif isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101 - most are dicts, which is quick
        if depth >= DEPTH_MAX:
            # in place of the value, which may contain itself
            problems.append(Problem(path, "another level of elements", f"at most {DEPTH_MAX} levels"))
            return
        for name, child in value.items():
            child_path = f"{path}.{name}" if path else str(name)
            if isinstance(name, str) and is_element_name(name):
                _check_structure(child, child_path, depth + 1, problems)
            else:
                allowed = "a name of an element, of letters, digits, _ . and -"
                problems.append(Problem(child_path, name, allowed))
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            if isinstance(child, list | tuple):
                problems.append(Problem(f"{path}[{index}]", child, "no list in a list"))
            else:
                _check_structure(child, f"{path}[{index}]", depth, problems)
    elif isinstance(value, float):
        if not math.isfinite(value):
            problems.append(Problem(path, value, "a finite number"))
    elif value is not None and not isinstance(value, int):
        problems.append(Problem(path, value, _ALLOWED_VALUE))
