"""What the keys of results become when the service replaces their placeholders.

The service takes a misspelt placeholder literally, and two results with one key overwrite each other: both
are paid for. So keys are checked before anything is sent, by what is known about the inputs.

DAG files load this module, so it loads nothing but the standard library.

Sources: 460/84794 (placeholders of a job), 460/80155 and examples of Tencent's SDKs (of a batch job), pages
about workflows (meaning of the placeholders of the input).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from airflow_provider_ci.protocol.names import KEY_BYTES_MAX, key_text_violation, utf8_length

#: Placeholders that the service replaces in the result keys of a job, and of a batch job's jobs.
JOB_PLACEHOLDERS = ("jobid", "ext")
BATCH_PLACEHOLDERS = (*JOB_PLACEHOLDERS, "InventoryTriggerJobId", "InputName", "InputNameAndExt", "InputPath")
#: The extensions that may replace ``${ext}``.
EXTENSIONS = ("aac", "mp3", "flac", "amr", "wav")

#: Those of a batch job whose values follow from the input. In the keys of a single job the service takes them
#: literally; a bulk task replaces them itself.
INPUT_PLACEHOLDERS = ("InputName", "InputNameAndExt", "InputPath")
# Only for comparisons in this module, not known to the service: the extension of the input's name
_INPUT_EXTENSION = "${InputExtension}"
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_PLACEHOLDER_OR_CHARACTER = re.compile(r"\$\{\w+\}|.", re.DOTALL)
_IN_BRACES = re.compile(r"\$\{([^{}]*)\}")
_SIGNS = re.compile(r"[${<%]")  # with which anything begins that may be meant as a placeholder
_ID_PLACEHOLDERS = ("${jobid}", "${InventoryTriggerJobId}")
_ID_LENGTH = 33  # a letter and 32 hexadecimal digits, in all of Tencent's examples


def _normalize(name: str) -> str:
    """Return a placeholder's name without what people often write differently: case, ``_``, full width."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", name)).lower()


_NAMES_BY_NORMALIZED = {_normalize(name): name for name in BATCH_PLACEHOLDERS}
# The longest name comes first, so that InputNameAndExt is not taken for InputName
_ANY_NAME = "|".join(
    r"[ _-]?".join(re.findall(r"[A-Z]?[a-z]+", name)).replace("jobid", "job[ _-]?id")
    for name in sorted(BATCH_PLACEHOLDERS, key=len, reverse=True)
)
# $InputName, {InputName}, ${InputName, $(InputName), <InputName>, %InputName%, %(InputName)s, %7BInputName%7D
_MISSPELT = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?:\$(?:\s?[{{(\[]\s*)?|\{{\s*)({_ANY_NAME})(?![A-Za-z0-9])(?:\s*[}})\]])?",
        rf"<\s*({_ANY_NAME})\s*>",
        rf"%({_ANY_NAME})%",
        rf"%\(({_ANY_NAME})\)s",
        rf"(?:\$|%24)?%7B({_ANY_NAME})%7D",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownInputs:
    """What is known about the inputs of a job or batch job before it is submitted.

    :param is_batch: the request is a batch job.
    :param job_placeholders: what the service replaces in the keys of a single job; ``None`` if that is not
        known of this type of job.
    :param replaced_before: what is replaced before the request is sent.
    :param object: the key of the only input.
    :param prefix: what the keys of all inputs begin with.
    """

    is_batch: bool = False
    job_placeholders: tuple[str, ...] | None = JOB_PLACEHOLDERS
    replaced_before: tuple[str, ...] = ()
    object: str | None = None
    prefix: str | None = None

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The placeholders that are replaced."""
        of_job = self.job_placeholders or ()
        further = BATCH_PLACEHOLDERS if self.is_batch else self.replaced_before
        return *of_job, *(name for name in further if name not in of_job)

    @property
    def are_several(self) -> bool:
        """Whether there may be more than one input."""
        return self.is_batch and self.object is None


class _Kind(Enum):
    """A set of characters. Any two of the sets have characters in common."""

    ANY = ""
    NOT_SLASH = "not a slash"
    LETTER_OR_DIGIT = "letter or digit"
    LETTER = "letter"
    HEX_DIGIT = "hexadecimal digit"
    ID_END = "end of a new id"  # keeps a new id from equalling any known text

    def has(self, char: str) -> bool:
        """Tell whether the set has ``char``, which is known before the job is submitted.

        ``char`` may be the placeholder of an id, see :class:`_Symbol`: no set has it.
        """
        if char in _ID_PLACEHOLDERS or self is _Kind.ID_END:
            return False
        if self is _Kind.NOT_SLASH:
            return char != "/"
        if self is _Kind.LETTER_OR_DIGIT:
            return char.isascii() and char.isalnum()
        if self is _Kind.LETTER:
            return "a" <= char <= "z"
        if self is _Kind.HEX_DIGIT:
            return char in "0123456789abcdef"
        return True


class _Symbol(NamedTuple):
    """One character of a key: a known one, or any of a kind. With ``repeats`` any number of them, or none.

    Where results of one job are compared, the placeholder of an id counts as one character, equal only to
    itself.
    """

    char: str | _Kind
    repeats: bool = False


#: What a key may become when its placeholders are replaced.
KeyPattern = tuple[_Symbol, ...]


def placeholder_problem(key: str, inputs: KnownInputs) -> str | None:
    """Return what is allowed instead of a wrong placeholder in ``key``; ``None`` if there is none.

    ``${…}`` must be a placeholder. Other signs (``$``, braces, ``<>``, ``%``) are wrong only around the name
    of a placeholder; a key may have them elsewhere.
    """
    is_known = inputs.job_placeholders is not None
    if not is_known and not inputs.replaced_before:
        return None
    known = inputs.placeholders
    for text, name in _find_placeholders(key):
        if name in known and text == f"${{{name}}}":
            continue
        meant = _NAMES_BY_NORMALIZED.get(_normalize(name))
        if not is_known and meant not in known:
            continue
        allowed = _describe_placeholders(inputs)
        if meant is None:
            return f"{allowed}; {text} is none, and would be taken literally"
        if meant in JOB_PLACEHOLDERS and meant not in known:
            return allowed
        if meant not in known:
            return f"{allowed}; ${{{meant}}} is for batch jobs: write the name itself"
        return f"${{{meant}}}, spelt exactly so, instead of {text}, which would be taken literally"
    return None


def input_placeholder_values(key: str) -> dict[str, str]:
    """Return what replaces each of :data:`INPUT_PLACEHOLDERS` for an input: its folder without a slash at the
    end, and its name without folder. A name that has only one dot, at its beginning, has no extension.
    """
    folder, _, name = key.rpartition("/")
    return {"InputPath": folder, "InputName": name.rpartition(".")[0] or name, "InputNameAndExt": name}


def key_of_url(url: str) -> str:
    """Return what counts as the key of an input that has a URL: the decoded path."""
    return unquote(urlsplit(url).path).lstrip("/")


def replace_input_placeholders(text: str, key: str) -> str:
    """Replace :data:`INPUT_PLACEHOLDERS` in the key of a result, in one pass: the input's name may look like
    a placeholder.

    :param key: of the input.
    """
    values = input_placeholder_values(key)
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def _describe_placeholders(inputs: KnownInputs) -> str:
    if not inputs.placeholders:
        return "no placeholder, because the service does not say what it becomes in this type of job"
    listed = ", ".join(f"${{{name}}}" for name in inputs.placeholders)
    return f"the placeholders of {'a batch job' if inputs.is_batch else 'a job'}: {listed}"


def _find_placeholders(key: str) -> Iterator[tuple[str, str]]:
    """Yield all that is a placeholder or looks like one: the text, and the name in it."""
    for found in _IN_BRACES.finditer(key):
        yield found[0], found[1]
    # Chinese keyboards write full-width dollar signs and braces
    rest = unicodedata.normalize("NFKC", _IN_BRACES.sub(" ", key))
    if not _SIGNS.search(rest):
        return
    for found in _IN_BRACES.finditer(rest):
        yield f"{found[0]} in full-width characters", found[1]
    rest = _IN_BRACES.sub(" ", rest)
    for form in _MISSPELT:
        for found in form.finditer(rest):
            yield found[0], found[1]


def key_pattern(key: str, inputs: KnownInputs, extension: str | None) -> KeyPattern:
    """Return what ``key`` may become.

    :param extension: what replaces ``${ext}``; ``None`` if it is not known, because a template has the codec.
    """
    symbols: list[_Symbol] = []
    # split returns text and placeholder names by turns
    for index, part in enumerate(_PLACEHOLDER.split(key)):
        symbols += _placeholder_value(part, inputs, extension) if index % 2 else _literal(part)
    return tuple(symbols)


def _literal(text: str) -> KeyPattern:
    return tuple(_Symbol(char) for char in text)


def _at_least_one(kind: _Kind) -> KeyPattern:
    return _Symbol(kind), _Symbol(kind, repeats=True)


def _placeholder_value(name: str, inputs: KnownInputs, extension: str | None) -> KeyPattern:
    if name in ("jobid", "InventoryTriggerJobId"):
        return _Symbol(_Kind.LETTER), *[_Symbol(_Kind.HEX_DIGIT)] * (_ID_LENGTH - 2), _Symbol(_Kind.ID_END)
    if name == "ext":
        return _at_least_one(_Kind.LETTER_OR_DIGIT) if extension is None else _literal(extension)
    if name in ("Number", "number") and name in inputs.placeholders:
        return _at_least_one(_Kind.LETTER_OR_DIGIT)
    if name not in inputs.placeholders:
        return _literal(f"${{{name}}}")
    if inputs.object is not None:
        return _literal(input_placeholder_values(inputs.object)[name])
    if name == "InputPath":
        return *_literal((inputs.prefix or "").rpartition("/")[0]), _Symbol(_Kind.ANY, repeats=True)
    return _at_least_one(_Kind.NOT_SLASH)


def cos_problem(key: str, inputs: KnownInputs, extension: str | None) -> str | None:
    """Return what is allowed instead of a key that COS rejects, whatever its placeholders become."""
    longest_value = max(_ID_LENGTH, 4 * len(inputs.object or inputs.prefix or ""))
    may_be_too_long = 4 * len(key) + key.count("${") * longest_value > KEY_BYTES_MAX
    if may_be_too_long or key.startswith("${"):  # of most keys the pattern need not be made
        pattern = key_pattern(key, inputs, extension)
        length = _min_bytes(pattern)
        if length > KEY_BYTES_MAX:
            at_least = "at least " if any(symbol.repeats for symbol in pattern) else ""
            return (
                f"a key of at most {KEY_BYTES_MAX} bytes in UTF-8 when its placeholders are replaced;"
                f" this one has {at_least}{length}"
            )
        are_known = inputs.object is not None or inputs.prefix is not None
        if are_known and can_begin_with(pattern, "/"):
            return "a key that does not begin with /, as this one would for an input without a folder"
    return key_text_violation(_PLACEHOLDER.sub("x", key))


def _min_bytes(pattern: KeyPattern) -> int:
    return sum(
        utf8_length(symbol.char) if isinstance(symbol.char, str) else 1
        for symbol in pattern
        if not symbol.repeats
    )


def differs_between_inputs(key: str) -> bool:
    """Tell whether ``key`` becomes another key for each input of a batch job.

    It does with the id of the job. It also does with folder and complete name of the input, if there is a
    ``/`` between them. One of the two is not enough, because two folders may have an ``interview.mp3``, nor
    is the name without its extension.
    """
    if "${jobid}" in key:
        return True
    if key.count("${InputPath}") != 1:
        return False
    # Only the folder has slashes: the name can be read from its segment, the folder from the others
    for segment in key.split("/"):
        names = [name for name in _PLACEHOLDER.findall(segment) if name in INPUT_PLACEHOLDERS]
        if names == ["InputNameAndExt"]:
            return True
    return False


def may_be_equal(one: str, other: str, inputs: KnownInputs, extension: str | None) -> bool:
    """Tell whether two results of one job, or of two jobs of a batch job, may get the same key."""
    for each in EXTENSIONS if extension is None else (extension,):
        if _may_be_equal_in_one_job(one.replace("${ext}", each), other.replace("${ext}", each), inputs):
            return True
    if not inputs.are_several or ("${jobid}" in one and "${jobid}" in other):
        return False
    return _have_common_text(key_pattern(one, inputs, extension), key_pattern(other, inputs, extension))


def _may_be_equal_in_one_job(one: str, other: str, inputs: KnownInputs) -> bool:
    """Tell whether two results of one job, with the same ids and the same input, may get the same key."""
    # A name with its extension is the name, a dot and the extension, or the name alone
    full_names = ("${InputName}", f"${{InputName}}.{_INPUT_EXTENSION}")
    for full_name in full_names if inputs.are_several else ("${InputNameAndExt}",):
        first, second = (
            _PLACEHOLDER_OR_CHARACTER.findall(key.replace("${InputNameAndExt}", full_name))
            for key in (one, other)
        )
        # What both keys begin or end with becomes the same in both, so it decides nothing
        for end in (0, -1):
            while first and second and first[end] == second[end]:
                del first[end], second[end]
        are_known = all(len(part) == 1 for part in (*first, *second))  # as most are
        if first == second or (
            not are_known
            and _have_common_text(_pattern_in_one_job(first, inputs), _pattern_in_one_job(second, inputs))
        ):
            return True
    return False


def _pattern_in_one_job(parts: Sequence[str], inputs: KnownInputs) -> KeyPattern:
    symbols: list[_Symbol] = []
    for part in parts:
        if len(part) == 1 or part in _ID_PLACEHOLDERS:
            symbols.append(_Symbol(part))
        elif part == _INPUT_EXTENSION:
            symbols.append(_Symbol(_Kind.NOT_SLASH, repeats=True))
        else:
            symbols += _placeholder_value(part[2:-1], inputs, None)
    return tuple(symbols)


def can_begin_with(pattern: KeyPattern, prefix: str) -> bool:
    """Tell whether a key of this pattern can begin with ``prefix`` and be short enough for COS."""
    if _min_bytes(pattern) > KEY_BYTES_MAX or len(prefix) > KEY_BYTES_MAX:
        return False
    return _have_common_text(pattern, (*_literal(prefix), _Symbol(_Kind.ANY, repeats=True)))


def can_equal(pattern: KeyPattern, key: str) -> bool:
    """Tell whether a key of this pattern can be ``key`` and be short enough for COS."""
    if _min_bytes(pattern) > KEY_BYTES_MAX or len(key) > KEY_BYTES_MAX:
        return False
    return _have_common_text(pattern, _literal(key))


def _have_common_text(one: KeyPattern, other: KeyPattern) -> bool:
    """Tell whether there is a text that both patterns can become.

    Walks through both patterns at once: a pair of indexes means that some text fits both up to there.
    """
    seen = {(0, 0)}
    to_visit = [(0, 0)]
    while to_visit:
        left, right = to_visit.pop()
        if (left, right) == (len(one), len(other)):
            return True
        for pair in _next_pairs(one, other, left, right):
            if pair not in seen:
                seen.add(pair)
                to_visit.append(pair)
    return False


def _next_pairs(one: KeyPattern, other: KeyPattern, left: int, right: int) -> Iterator[tuple[int, int]]:
    first = one[left] if left < len(one) else None
    second = other[right] if right < len(other) else None
    if first is not None and first.repeats:
        yield left + 1, right
    if second is not None and second.repeats:
        yield left, right + 1
    if first is not None and second is not None and _have_common_char(first.char, second.char):
        yield left + (not first.repeats), right + (not second.repeats)


def _have_common_char(one: str | _Kind, other: str | _Kind) -> bool:
    if isinstance(one, _Kind):
        return isinstance(other, _Kind) or one.has(other)
    return other.has(one) if isinstance(other, _Kind) else one == other
