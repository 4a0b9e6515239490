"""What the keys of results become when the service replaces their placeholders.

A misspelt placeholder is taken literally, and two results with one key overwrite each other: both are paid
for. So keys are checked before anything is sent, by what is known of the inputs.

Sources: 460/84794 (placeholders of a job), 460/80155 and samples of Tencent's SDKs (of a batch job), pages
about workflows (what those of the input mean). Light: it loads nothing but the standard library.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from airflow_provider_ci.protocol.names import KEY_BYTES_MAX, key_text_forbidden, utf8_length

#: Placeholders that the service replaces in the result keys of a job, and of a batch job's jobs.
JOB_PLACEHOLDERS = ("jobid", "ext")
BATCH_PLACEHOLDERS = (*JOB_PLACEHOLDERS, "InventoryTriggerJobId", "InputName", "InputNameAndExt", "InputPath")
#: The extensions that ``${ext}`` may stand for.
EXTENSIONS = ("aac", "mp3", "flac", "amr", "wav")

# What follows the dot of an input's name. The service knows no such placeholder
_INPUT_EXTENSION = "${InputExtension}"
_OF_THE_INPUT = ("InputName", "InputNameAndExt", "InputPath")
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_PLACEHOLDER_OR_CHARACTER = re.compile(r"\$\{\w+\}|.", re.DOTALL)
_IN_BRACES = re.compile(r"\$\{([^{}]*)\}")
_IDS = ("${jobid}", "${InventoryTriggerJobId}")
_ID_LENGTH = 33  # a letter and 32 hexadecimal digits, in all of Tencent's samples


def _spelt(name: str) -> str:
    """Return what stays of a placeholder's name, however it is written."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", name)).lower()


_BY_SPELLING = {_spelt(name): name for name in BATCH_PLACEHOLDERS}
# $InputName, {InputName}, ${InputName, $(InputName), <InputName>, %InputName%, %(InputName)s and a dollar and
# braces that are percent-encoded: this means a placeholder. The longest name comes first
_NAMES = "|".join(
    r"[ _-]?".join(re.findall(r"[A-Z]?[a-z]+", name)).replace("jobid", "job[ _-]?id")
    for name in sorted(BATCH_PLACEHOLDERS, key=len, reverse=True)
)
_ALMOST = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?:\$(?:\s?[{{(\[]\s*)?|\{{\s*)({_NAMES})(?![A-Za-z0-9])(?:\s*[}})\]])?",
        rf"<\s*({_NAMES})\s*>",
        rf"%({_NAMES})%",
        rf"%\(({_NAMES})\)s",
        rf"(?:\$|%24)?%7B({_NAMES})%7D",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownInputs:
    """What is known of the inputs of a job, or of a batch job's jobs, before it is submitted.

    :param is_batch: the results are those of a batch job.
    :param object: the key of the only input.
    :param prefix: what the keys of all inputs begin with.
    """

    is_batch: bool = False
    object: str | None = None
    prefix: str | None = None

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The placeholders that the service replaces."""
        return BATCH_PLACEHOLDERS if self.is_batch else JOB_PLACEHOLDERS

    @property
    def are_several(self) -> bool:
        """Whether there may be more than one input."""
        return self.is_batch and self.object is None


class _Kind(Enum):
    """A set of characters. Any two of them have characters in common."""

    ANY = ""
    NOT_SLASH = "not a slash"
    LETTER_OR_DIGIT = "letter or digit"
    LETTER = "letter"
    HEX_DIGIT = "hexadecimal digit"
    NEW_ID_END = "end of an id that no text of before can have"

    def has(self, char: str) -> bool:
        """Tell whether ``char``, of a text that is known before the job is submitted, is one of them. The id
        of the job, which is not known then, is none.
        """
        if char in _IDS:
            return False
        if self is _Kind.NOT_SLASH:
            return char != "/"
        if self is _Kind.LETTER_OR_DIGIT:
            return char.isascii() and char.isalnum()
        if self is _Kind.LETTER:
            return "a" <= char <= "z"
        if self is _Kind.HEX_DIGIT:
            return char in "0123456789abcdef"
        return self is _Kind.ANY


@dataclass(frozen=True, slots=True)
class _Unit:
    """One character of a key, known or only of a kind; with ``repeats`` any number of them, even none.

    Where the results of one job are compared, the placeholder of an id is one character, that only it is.
    """

    char: str | _Kind
    repeats: bool = False


Units = tuple[_Unit, ...]


def placeholder_problem(key: str, inputs: KnownInputs) -> str | None:
    """Return what is wrong with the placeholders of a key, as what is allowed; ``None`` if nothing is.

    What is written around a name that is none of a placeholder, or around no name, may be part of a key: a
    ``$``, a brace, ``<>`` or a ``%``. Only ``${…}`` may not, whatever it holds.
    """
    listed = ", ".join(f"${{{name}}}" for name in inputs.placeholders)
    allowed = f"the placeholders of {'a batch job' if inputs.is_batch else 'a job'}: {listed}"
    for text, name in _written_placeholders(key):
        if text == f"${{{name}}}" and name in inputs.placeholders:
            continue
        meant = _BY_SPELLING.get(_spelt(name))
        if meant is None:
            return f"{allowed}; {text} is none, and would be taken literally"
        if meant not in inputs.placeholders:
            return f"{allowed}; ${{{meant}}} is for batch jobs: write the name itself"
        return f"${{{meant}}}, spelt exactly so, instead of {text}, which would be taken literally"
    return None


def _written_placeholders(key: str) -> Iterator[tuple[str, str]]:
    """Yield what is written like a placeholder: the whole text, and the name in it."""
    for found in _IN_BRACES.finditer(key):
        yield found[0], found[1]
    # Chinese keyboards have a dollar sign and braces of their own
    rest = unicodedata.normalize("NFKC", _IN_BRACES.sub(" ", key))
    for found in _IN_BRACES.finditer(rest):
        yield f"{found[0]} in full-width characters", found[1]
    rest = _IN_BRACES.sub(" ", rest)
    for form in _ALMOST:
        for found in form.finditer(rest):
            yield found[0], found[1]


def expanded(key: str, inputs: KnownInputs, extension: str | None) -> Units:
    """Return what a key becomes, as far as it is known.

    :param extension: what ``${ext}`` stands for; ``None``: unknown, because a template holds the codec.
    """
    units: list[_Unit] = []
    # split gives texts at even places, names of placeholders at odd ones
    for place, part in enumerate(_PLACEHOLDER.split(key)):
        units += _value(part, inputs, extension) if place % 2 else _literal(part)
    return tuple(units)


def _literal(text: str) -> Units:
    return tuple(_Unit(char) for char in text)


def _at_least_one(kind: _Kind) -> Units:
    return _Unit(kind), _Unit(kind, repeats=True)


def _value(name: str, inputs: KnownInputs, extension: str | None) -> Units:
    if name in ("jobid", "InventoryTriggerJobId"):
        return _Unit(_Kind.LETTER), *[_Unit(_Kind.HEX_DIGIT)] * (_ID_LENGTH - 2), _Unit(_Kind.NEW_ID_END)
    if name == "ext":
        return _at_least_one(_Kind.LETTER_OR_DIGIT) if extension is None else _literal(extension)
    if name not in inputs.placeholders:
        return _literal(f"${{{name}}}")
    if inputs.object is not None:
        folder, _, file_name = inputs.object.rpartition("/")
        values = {
            "InputPath": folder,
            "InputName": file_name.rpartition(".")[0] or file_name,
            "InputNameAndExt": file_name,
        }
        return _literal(values[name])
    if name == "InputPath":
        return *_literal((inputs.prefix or "").rpartition("/")[0]), _Unit(_Kind.ANY, repeats=True)
    return _at_least_one(_Kind.NOT_SLASH)


def cos_problem(key: str, inputs: KnownInputs, extension: str | None) -> str | None:
    """Return the rule of COS that a key breaks for certain, whatever its placeholders become."""
    units = expanded(key, inputs, extension)
    length = _least_bytes(units)
    if length > KEY_BYTES_MAX:
        at_least = "at least " if any(unit.repeats for unit in units) else ""
        return (
            f"a key of at most {KEY_BYTES_MAX} bytes in UTF-8 when its placeholders are replaced;"
            f" this one has {at_least}{length}"
        )
    are_known = inputs.object is not None or inputs.prefix is not None
    if are_known and may_begin_with(units, "/"):
        return "a key that does not begin with /, as this one would for an input without a folder"
    return key_text_forbidden(_PLACEHOLDER.sub("x", key))


def _least_bytes(units: Units) -> int:
    return sum(
        utf8_length(unit.char) if isinstance(unit.char, str) else 1 for unit in units if not unit.repeats
    )


def is_of_its_own(key: str) -> bool:
    """Tell whether each input of a batch job gets another key for certain.

    The ids of their jobs differ, and so do folder and full name together, if a ``/`` keeps them apart. One of
    the two is not enough: ``interview.mp3`` may be in two folders. Neither is a name without its extension.
    """
    if "${jobid}" in key:
        return True
    # Only the folder has slashes: the name can be read back from its segment, then the folder from the rest
    segments = [_PLACEHOLDER.findall(segment) for segment in key.split("/")]
    names_alone = (
        [name for name in segment if name in _OF_THE_INPUT] == ["InputNameAndExt"] for segment in segments
    )
    return key.count("${InputPath}") == 1 and any(names_alone)


def may_be_alike(one: str, other: str, inputs: KnownInputs, extension: str | None) -> bool:
    """Tell whether two results can get the same key: those of one job, or of two jobs of a batch job."""
    for each in EXTENSIONS if extension is None else (extension,):
        if _may_meet_in_one_job(_with_extension(one, each), _with_extension(other, each), inputs):
            return True
    if not inputs.are_several or ("${jobid}" in one and "${jobid}" in other):
        return False
    return may_meet(expanded(one, inputs, extension), expanded(other, inputs, extension))


def _with_extension(key: str, extension: str) -> str:
    return key.replace("${ext}", extension)


def _may_meet_in_one_job(one: str, other: str, inputs: KnownInputs) -> bool:
    """Tell whether two results of a single job can get the same key: its ids and its input are the same."""
    # a name with its extension is the name, a dot and the extension, or the name alone
    full_names = ("${InputName}", f"${{InputName}}.{_INPUT_EXTENSION}")
    for full_name in full_names if inputs.are_several else ("${InputNameAndExt}",):
        first, second = (
            _PLACEHOLDER_OR_CHARACTER.findall(key.replace("${InputNameAndExt}", full_name))
            for key in (one, other)
        )
        # what both begin or end with decides nothing, for it becomes the same in both
        for end in (0, -1):
            while first and second and first[end] == second[end]:
                del first[end], second[end]
        if may_meet(_in_one_job(first, inputs), _in_one_job(second, inputs)):
            return True
    return False


def _in_one_job(parts: Sequence[str], inputs: KnownInputs) -> Units:
    units: list[_Unit] = []
    for part in parts:
        if len(part) == 1 or part in _IDS:
            units.append(_Unit(part))
        elif part == _INPUT_EXTENSION:
            units.append(_Unit(_Kind.NOT_SLASH, repeats=True))
        else:
            units += _value(part[2:-1], inputs, None)
    return tuple(units)


def may_begin_with(units: Units, prefix: str) -> bool:
    """Tell whether a key can begin with ``prefix``. One that is too long for COS cannot."""
    if _least_bytes(units) > KEY_BYTES_MAX or len(prefix) > KEY_BYTES_MAX:
        return False  # comparing them would take long, for nothing
    return may_meet(units, (*_literal(prefix), _Unit(_Kind.ANY, repeats=True)))


def may_be(units: Units, key: str) -> bool:
    """Tell whether a key can be ``key``. One that is too long for COS cannot."""
    return _least_bytes(units) <= KEY_BYTES_MAX >= len(key) and may_meet(units, _literal(key))


def may_meet(one: Sequence[_Unit], other: Sequence[_Unit]) -> bool:
    """Tell whether there is a text that both stand for."""
    seen = {(0, 0)}
    ahead = [(0, 0)]
    while ahead:
        left, right = ahead.pop()
        if (left, right) == (len(one), len(other)):
            return True
        for place in _next_places(one, other, left, right):
            if place not in seen:
                seen.add(place)
                ahead.append(place)
    return False


def _next_places(
    one: Sequence[_Unit], other: Sequence[_Unit], left: int, right: int
) -> Iterator[tuple[int, int]]:
    first = one[left] if left < len(one) else None
    second = other[right] if right < len(other) else None
    if first is not None and first.repeats:
        yield left + 1, right
    if second is not None and second.repeats:
        yield left, right + 1
    if first is not None and second is not None and _have_common(first.char, second.char):
        yield left + (not first.repeats), right + (not second.repeats)


def _have_common(one: str | _Kind, other: str | _Kind) -> bool:
    if isinstance(one, _Kind):
        return isinstance(other, _Kind) or one.has(other)
    return other.has(one) if isinstance(other, _Kind) else one == other
