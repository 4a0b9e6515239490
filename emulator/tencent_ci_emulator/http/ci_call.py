"""What all CI calls share: the call and its answer, reading bodies and parameters, pages, unknown times."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from tencent_ci_emulator.http.service_errors import ServiceFault, invalid_argument
from tencent_ci_emulator.http.service_request import Incoming
from tencent_ci_emulator.http.xml import Element, XMLError, build, parse, to_bytes
from tencent_ci_emulator.jobs.job_store import STATES
from tencent_ci_emulator.objects.names import NAME

MAX_IDS = 10
MAX_PAGE = 100
_DEFAULT_PAGE = 10

_QUERY_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[+ ](\d\d):?(\d\d)")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and XML body of a good answer."""

    status: int = 200
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated CI call.

    :param bucket: the bucket that it is for.
    :param request_id: repeated in the bodies of all answers but those about jobs.
    """

    bucket: str
    request: Incoming
    body: bytes = b""
    request_id: str = ""
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The part of the path that names a template, queue or job."""
        return self.request.path.partition("/")[2].partition("/")[2]


#: Answers one kind of call
Handler = Callable[[Call], Answer]


def answer(content: Mapping[str, Any]) -> Answer:
    """Return an answer with these elements, by the rules of :func:`build`."""
    return Answer(body=to_bytes(build("Response", content)))


def document(call: Call) -> Element:
    """Return the root of the call's body.

    :raises ServiceFault: none, not XML, not a ``Request``, or not what ``Content-MD5`` says.
    """
    given = call.request.header("content-md5")
    actual = base64.b64encode(hashlib.md5(call.body, usedforsecurity=False).digest()).decode()
    if given is not None and given.strip() != actual:
        raise ServiceFault(400, "InvalidContent", "Content-MD5 does not match the body")
    if not call.body.strip():
        raise ServiceFault(400, "MissingContent", "the request has no body")
    try:
        root = parse(call.body)
    except XMLError as error:
        raise ServiceFault(400, "InvalidContent", str(error)) from None
    if root.tag != "Request":
        raise ServiceFault(400, "InvalidContent", "the root element must be Request")
    return root


def require(field_name: str, value: object, allowed: Collection[object]) -> None:
    """Check a value against a list.

    :raises ServiceFault: naming field, value and list.
    """
    if value not in allowed:
        raise invalid_argument(f"{field_name} is {value!r}, allowed: {', '.join(map(str, allowed))}")


def check_name(name: str | None, longest: int) -> str:
    """Return a template's or queue's name.

    :raises ServiceFault: it is missing, too long, or has other characters than are allowed.
    """
    if name is None or len(name) > longest or not NAME.fullmatch(name):
        allowed = f"Chinese, letters, digits, _ - *, at most {longest}"
        raise invalid_argument(f"Name is {name!r}, allowed: {allowed}")
    return name


def comma_list(text: str | None) -> list[str]:
    """Return the parts of a comma list, each once."""
    return list(dict.fromkeys(part for part in (text or "").split(",") if part))


def ids(text: str, kind: str = "job") -> list[str]:
    """Return the ids of a path.

    :raises ServiceFault: none, or more than ten.
    """
    found = comma_list(text)
    if not found:
        raise ServiceFault(404, "InvalidUrl", f"the {kind} id is missing")
    if len(found) > MAX_IDS:
        raise invalid_argument(f"{len(found)} {kind} ids are given, at most {MAX_IDS} are allowed")
    return found


def number(
    params: Mapping[str, str], name: str, default: int = _DEFAULT_PAGE, largest: int | None = MAX_PAGE
) -> int:
    """Return a whole number from 1 on.

    :raises ServiceFault: it is anything else.
    """
    text = params.get(name.lower(), str(default))
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= (largest or int(text)):
        return int(text)
    raise invalid_argument(
        f"{name} is {text!r}, allowed: 1 to {largest}" if largest else f"{name} is {text!r}"
    )


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted: ``pageNumber`` from 1, ``pageSize`` 1 to 100."""

    number: int
    size: int

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Page:
        """Read it from the query; 1 and 10 if absent.

        :raises ServiceFault: out of bounds.
        """
        return cls(number(params, "pageNumber", 1, None), number(params, "pageSize"))

    def describe(self, total: int) -> dict[str, int]:
        """Return what the answer says of the whole list and of this page."""
        return {"TotalCount": total, "PageNumber": self.number, "PageSize": self.size}

    def cut(self, items: list[T]) -> tuple[T, ...]:
        """Return the items on this page."""
        return tuple(items[(self.number - 1) * self.size : self.number * self.size])


def ascending(params: Mapping[str, str]) -> bool:
    """Tell whether the oldest comes first.

    :raises ServiceFault: ``orderByTime`` is neither ``Asc`` nor ``Desc``.
    """
    order = params.get("orderbytime", "Desc")
    require("orderByTime", order, ("Asc", "Desc"))
    return order == "Asc"


def states(params: Mapping[str, str]) -> tuple[str, ...]:
    """Return the states that are wanted; empty for all.

    :raises ServiceFault: one of them is unknown.
    """
    given = tuple(comma_list(params.get("states", "All")))
    unknown = [state for state in given if state not in (*STATES, "All")]
    if unknown:
        raise invalid_argument(f"states holds {', '.join(unknown)}, allowed: All, {', '.join(STATES)}")
    return () if "All" in given else given


def moment(name: str, text: str | None) -> float | None:
    """Return a time in Unix seconds.

    :raises ServiceFault: it is not written as the service writes times.
    """
    if text is None:
        return None
    # A plus sign that was not percent-encoded arrives as a blank
    match = _QUERY_TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        return datetime.fromisoformat(f"{match[1]}+{match[2]}:{match[3]}").timestamp()
    except ValueError:
        raise invalid_argument(
            f"{name} is {text!r}, allowed: for instance 2001-01-01T00:00:00+0800"
        ) from None


def bad_token() -> ServiceFault:
    """Return the fault for a ``nextToken`` that was never given."""
    return invalid_argument("nextToken is not one that this service has given")


def cannot_be_modified(job_ids: list[str]) -> ServiceFault:
    """Return the fault for a cancellation that comes too late; only its words are documented (1045/43702)."""
    return invalid_argument(f"The job provided can not be modified: {', '.join(job_ids)}")
