"""Reads arguments: templates give texts where numbers are wanted, and empty texts for nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, MutableMapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.names import ID, redact_address

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.voice_separation import VoiceSeparate

#: The arguments that say how to separate and to encode; a template holds the same.
PARAMETERS = ("audio_mode", "codec", "samplerate", "bitrate", "channels")
_NUMBERS = ("samplerate", "bitrate", "channels", "job_level")
# The user's own text, which may be anything
_FREE_TEXTS = ("user_data",)
#: What names an object, a place, an id or an address. A template that gives ``None`` for one has failed; an
#: empty text is how it says that nothing is wanted.
NAMES = (
    *(
        "input_object",
        "background_object",
        "voice_object",
        "bass_object",
        "drum_object",
        "output_bucket",
        "output_region",
    ),
    *(
        "prefix",
        "manifest",
        "url_file",
        "name",
        "template_id",
        "queue_id",
        "tencent_ci_conn_id",
        "bucket",
        "region",
    ),
    "callback_url",
)

# As Airflow reads booleans in its configuration and in its environment
_TRUE = ("true", "t", "yes", "y", "on", "1")
_FALSE = ("false", "f", "no", "n", "off", "0")
#: Booleans for which ``None`` means something: the default depends on other settings.
_OPTIONAL_BOOLEANS = ("wait_for_completion", "deferrable")
# Longer times are beyond what Python and databases have dates for, which would show after the job is paid for
LONGEST = timedelta(days=3650)
_LAZY_SEQUENCE = re.compile(r"Lazy\w*Sequence\(.*\)")
# None as a part of a path, and as a part of a text that a template puts together
_NONE_IN_PATH = re.compile(r"(?:^|/)None(?:/|$)")
_NONE_IN_TEXT = re.compile(r"(?:^|[/_.=-])None(?=[/_.-]|$)")
_TEXT_OPERATORS = ("~", "%", "+")
_TEXT_FUNCTIONS = ("format", "join")
_TEMPLATE = re.compile(r"\{[{%#]")

#: Why a value is ``None``.
NONE_RENDERED = "a template rendered None, so what it reads is not there"
_ONE_TEXT = "one text; for a task for each of several texts, map over them with .expand()"
_LIST_RENDERED = (
    "one text; a template rendered a list or dict: hand over the other task's .output, or map over it with"
    " .expand()"
)
_NATIVE = (
    "a text; in a DAG with render_template_as_native_obj=True digits become a number unless the template has"
    " quotes inside, as in \"'{{ ds_nodash }}'\""
)


def is_settled(value: Any) -> bool:
    """Tell whether a value is what the task will use: no template, no other task's output, no function."""
    if isinstance(value, str):
        return not _TEMPLATE.search(value)
    if isinstance(value, dict):
        return all(map(is_settled, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_settled, value))
    if isinstance(value, bytes):
        return True
    # what Airflow resolves when it renders; an iterator can be read once only
    return not (
        callable(value)
        or isinstance(value, Iterable)
        or hasattr(value, "iter_references")
        or hasattr(value, "template_fields")
    )


def read_arguments(
    operator: Any, names: Iterable[str]
) -> tuple[dict[str, str | None], dict[str, int | None]]:
    """Return the rendered texts and numbers of an operator; an empty or blank text is not given.

    :raises RequestValidationError: naming each that is neither, or that a template failed to render.
    """
    broken: list[str] = []
    templates = operator.templated_arguments
    texts, numbers = {}, {}
    for name in names:
        value = getattr(operator, name)
        if value is None and name in templates and name in NAMES:
            broken.append(f"{name} is None, allowed: a text, or an empty one for nothing; {NONE_RENDERED}")
        elif name in _NUMBERS:
            numbers[name] = _whole_number(name, value, broken)
        else:
            texts[name] = _text(name, value, broken, templates.get(name) if name in NAMES else None)
    if broken:
        raise RequestValidationError(broken)
    return texts, numbers


def read_texts(operator: Any, name: str, fields: Iterable[str]) -> dict[str, str | None] | None:
    """Return the rendered texts of an argument that is a dict of them; ``None`` if it is not given.

    :raises RequestValidationError: it has other keys than ``fields``, or naming each value that is no text or
        that a template failed to render.
    """
    value = getattr(operator, name)
    if not value:
        return None
    if not isinstance(value, dict) or not set(value) <= set(fields):
        raise RequestValidationError([f"{name} is {value!r}, allowed: a dict with {', '.join(fields)}"])
    templates = operator.templated_arguments.get(name)
    parts = templates if isinstance(templates, dict) else {}
    broken: list[str] = []
    texts = {key: _text(f"{name}.{key}", text, broken, parts.get(key)) for key, text in value.items()}
    if broken:
        raise RequestValidationError(broken)
    return texts


def read_ids(name: str, given: Any) -> list[str]:
    """Return ids that were given as one text or several.

    :raises RequestValidationError: something else was given.
    """
    ids = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else None
    if ids is None or isinstance(given, dict) or not all(isinstance(i, str) and i for i in ids):
        because = f"; {NONE_RENDERED}" if given in (None, "") else ""
        raise RequestValidationError([f"{name} is {given!r}, allowed: an id or a list of ids{because}"])
    broken = [
        _misrendered(name, each, "an id")
        or f"{name} is {_shortened(each)}, allowed: letters, digits, _ and -, at most 128"
        for each in ids
        if not ID.fullmatch(each) or each == "None"
    ]
    if broken:
        raise RequestValidationError(broken)
    return ids


def read_untemplated(operator: Any, values: MutableMapping[str, Any]) -> list[str]:
    """Read, in place, those of ``values`` that decide how the task runs, and return what is wrong with them.

    Booleans may be texts, as Airflow reads them, for mapped tasks get their arguments from anywhere; times
    become seconds. ``operator`` (a task or its class) says which arguments there are. What a user's subclass
    has made a template field is not touched before it is rendered.
    """
    broken: list[str] = []
    for name, reader in _readers(operator).items():
        if name not in values or (name in operator.template_fields and not is_settled(values[name])):
            continue
        if is_settled(values[name]):
            values[name] = reader(name, values[name], broken)
        else:
            broken.append(f"{name} is {values[name]!r}, allowed: a value, for this argument is not templated")
    return broken


def _readers(operator: Any) -> dict[str, Callable[[str, Any, list[str]], Any]]:
    def choice(name: str, value: Any, broken: list[str]) -> Any:
        allowed = operator.choice_arguments[name]
        if value not in allowed:
            broken.append(f"{name} is {value!r}, allowed: {', '.join(allowed)}")
        return value

    seconds = partial(_seconds, may_be_zero=operator.seconds_may_be_zero)
    return {
        **dict.fromkeys(operator.boolean_arguments, _boolean),
        **dict.fromkeys(operator.seconds_arguments, seconds),
        **dict.fromkeys(operator.choice_arguments, choice),
    }


def separation_parameters(
    texts: dict[str, str | None], numbers: dict[str, int | None], models: Any
) -> VoiceSeparate:
    """Return the parameters made of ``PARAMETERS``.

    :param models: where the classes are.
    """
    codec = texts["codec"]
    encoding = {
        "codec": codec.lower() if codec else None,
        "samplerate": numbers["samplerate"],
        "bitrate": numbers["bitrate"],
        "channels": numbers["channels"],
    }
    # the element is optional in a job; what an empty one means is not documented
    is_given = any(value is not None for value in encoding.values())
    config = models.AudioConfig(**encoding) if is_given else None
    parameters: VoiceSeparate = models.VoiceSeparate(audio_mode=texts["audio_mode"], audio_config=config)
    return parameters


def _text(name: str, value: Any, broken: list[str], template: Any = None) -> str | None:
    """Return a text, or ``None`` if it is blank.

    :param template: what it was rendered from, if a part of it may not be ``None``.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_several = isinstance(value, Iterable) and not isinstance(value, bytes)
        allowed = _NATIVE if is_number else _ONE_TEXT if is_several else "a text"
        broken.append(f"{name} is {_shown(value)}, allowed: {allowed}")
        return None
    if problem := name not in _FREE_TEXTS and _misrendered(
        name, value, "a text, or an empty one for nothing"
    ):
        broken.append(problem)
    elif _has_rendered_none(template, value):
        shown = redact_address(value) if name == "callback_url" else value
        broken.append(f"{name} is {shown!r}, allowed: a text without None; {NONE_RENDERED}")
    # blanks alone would not be read back from an answer, so that the job could not be found again
    return value if value.strip() else None


def _misrendered(name: str, text: str, allowed: str) -> str | None:
    """Return what is wrong with a text that shows that a template gave something else than a text."""
    if text.strip() == "None":
        return f"{name} is {text!r}, allowed: {allowed}; {NONE_RENDERED}"
    if _LAZY_SEQUENCE.fullmatch(text) or _is_collection(text.strip()):
        return f"{name} is {_shortened(text)}, allowed: {_LIST_RENDERED}"
    return None


def _has_rendered_none(template: Any, text: str) -> bool:
    """Tell whether something in a template became ``None`` within a text, as in ``out/None/voice.mp3``."""
    if not isinstance(template, str) or "None" not in text:
        return False
    fixed, written, builds_text = _parts_of(template)
    between = re.fullmatch("(.*?)".join(map(re.escape, fixed)), text, re.DOTALL)
    if between is not None and "None" in between.groups():
        return True
    pattern = _NONE_IN_TEXT if builds_text or between is None else _NONE_IN_PATH
    rendered = between.groups() if between is not None else (text,)
    return not any(map(pattern.search, written)) and any(map(pattern.search, rendered))


def _parts_of(template: str) -> tuple[list[str], list[str], bool]:
    """Return what Jinja copies from a template in any case, all texts that are written in it, and whether it
    puts texts together.

    From the first statement to the last, nothing is certain to be copied.
    """
    from jinja2 import Environment

    tokens = list(Environment(autoescape=True).lex(template))
    statements = [at for at, (_, kind, _) in enumerate(tokens) if kind in ("block_begin", "block_end")]
    first, last = (statements[0], statements[-1]) if statements else (len(tokens), -1)
    fixed, written, builds_text = [""], list[str](), bool(statements)
    for at, (_, kind, value) in enumerate(tokens):
        is_certain = not first <= at <= last
        if kind == "data":
            written.append(value)
            fixed[-1] += value if is_certain else ""
        elif kind == "string":
            written.append(value[1:-1])
        elif at == first or (kind == "variable_begin" and is_certain):
            fixed.append("")
        elif value in (_TEXT_OPERATORS if kind == "operator" else _TEXT_FUNCTIONS):
            builds_text = True
    return fixed, written, builds_text


def _is_collection(text: str) -> bool:
    if text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return False
    try:
        return isinstance(ast.literal_eval(text), list | tuple | dict | set)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 120 else f"{shown[:100]}…"


def _shortened(text: str) -> str:
    return repr(text) if len(text) <= 120 else f"{text[:100]!r}… ({len(text)} characters)"


def _whole_number(name: str, value: Any, broken: list[str]) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    because = f"; {NONE_RENDERED}" if value == "None" else ""
    broken.append(f"{name} is {value!r}, allowed: a whole number{because}")
    return None


def _boolean(name: str, value: Any, broken: list[str]) -> Any:
    if isinstance(value, bool) or (value is None and name in _OPTIONAL_BOOLEANS):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    if text in (*_TRUE, *_FALSE):
        return text in _TRUE
    broken.append(f"{name} is {value!r}, allowed: True or False, or a text such as 'true' or 'false'")
    return value


def _seconds(name: str, value: Any, broken: list[str], *, may_be_zero: bool = False) -> Any:
    if value is None and name == "timeout":
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if is_number and 0 <= seconds <= LONGEST.total_seconds() and (seconds or may_be_zero):
        return seconds
    least = "from 0 on" if may_be_zero else "above 0"
    broken.append(
        f"{name} is {_shown(value)}, allowed: a number of seconds {least}, or a timedelta, at most"
        f" {LONGEST.days} days"
    )
    return value
