"""One call of CI as its handler sees it: the bucket, the ids in the path, parameters and body."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from tencent_ci_emulator.http.service_errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.xml import Element, XMLError, parse
from tencent_ci_emulator.jobs.states import STATES
from tencent_ci_emulator.objects.names import NAME

T = TypeVar("T")
#: What a handler answers: the children of ``Response``, or ``None`` for an empty body
Content = Mapping[str, Any] | None

_MAX_IDS = 10
_MAX_PAGE_SIZE = 100
_DEFAULT_PAGE_SIZE = 10
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[+ ](\d\d):?(\d\d)")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted: ``number`` from 1."""

    number: int
    size: int

    def describe(self, total: int) -> dict[str, int]:
        """Return what the response says of the whole list and of this page."""
        return {"TotalCount": total, "PageNumber": self.number, "PageSize": self.size}

    def cut(self, items: list[T]) -> list[T]:
        """Return the items on this page."""
        return items[(self.number - 1) * self.size : self.number * self.size]


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A list of jobs or batch jobs as it is asked for.

    :param where: conditions on the rows.
    :param ascending: whether the oldest comes first.
    :param token: the token of the page, ``None`` for the first.
    """

    where: dict[str, Any]
    ascending: bool = False
    size: int = _DEFAULT_PAGE_SIZE
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated call.

    :param id: the part of the path that names a template, a queue or jobs.
    :param params: the parameters that have a value, with names in lower case.
    :param content_md5: the header ``Content-MD5``.
    :param list_consistency_delay: jobs younger than so many seconds are missing in a list, by the fault plan.
    """

    bucket: str
    id: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_md5: str | None = None
    list_consistency_delay: float = 0.0

    def document(self) -> Element:
        """Return the root of the body.

        :raises ServiceError: there is no body, it is not a ``Request`` in XML, or ``Content-MD5`` differs.
        """
        digest = hashlib.md5(self.body, usedforsecurity=False).digest()
        if self.content_md5 is not None and self.content_md5.strip() != base64.b64encode(digest).decode():
            raise ServiceError(400, "InvalidContent", "Content-MD5 does not match the body")
        if not self.body.strip():
            raise ServiceError(400, "MissingContent", "the request has no body")
        try:
            root = parse(self.body)
        except XMLError as error:
            raise ServiceError(400, "InvalidContent", str(error)) from None
        if root.tag != "Request":
            raise ServiceError(400, "InvalidContent", "the root element must be Request")
        return root

    def ids(self, kind: str = "job") -> list[str]:
        """Return the ids in the path, each once.

        :raises ServiceError: there are none, or more than ten.
        """
        ids = comma_list(self.id)
        if not ids:
            raise ServiceError(404, "InvalidUrl", f"the {kind} id is missing")
        if len(ids) > _MAX_IDS:
            raise invalid_argument(f"{len(ids)} {kind} ids are given, at most {_MAX_IDS} are allowed")
        return ids

    def listed(self, name: str, most: int | None = None) -> list[str]:
        """Return a parameter that is a comma list.

        :raises ServiceError: it has more than ``most`` parts.
        """
        parts = comma_list(self.params.get(name.lower()))
        if most is not None and len(parts) > most:
            raise invalid_argument(f"{len(parts)} {name} are given, at most {most} are allowed")
        return parts

    def choice(self, name: str, default: str, allowed: Collection[str]) -> str:
        """Return a parameter that has one of some values.

        :raises ServiceError: it has another.
        """
        value = self.params.get(name.lower(), default)
        require(name, value, allowed)
        return value

    def number(self, name: str, default: int, largest: int = 10**9) -> int:
        """Return a parameter that is a whole number from 1.

        :raises ServiceError: it is anything else, or too large.
        """
        text = self.params.get(name.lower(), str(default))
        if text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= largest:
            return int(text)
        raise invalid_argument(f"{name} is {text!r}, allowed: 1 to {largest}")

    def page(self) -> Page:
        """Return which part of a list is wanted.

        :raises ServiceError: ``pageNumber`` or ``pageSize`` is not allowed.
        """
        size = self.number("pageSize", _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE)
        return Page(self.number("pageNumber", 1), size)

    def list_query(self, **where: Any) -> ListQuery:
        """Return the list of jobs or batch jobs that is asked for, with further conditions.

        Times are printed in whole seconds, so a job is as old as the second that it shows.

        :raises ServiceError: a parameter is not allowed.
        """
        states = self.listed("states") or ["All"]
        unknown = [state for state in states if state not in (*STATES, "All")]
        if unknown:
            raise invalid_argument(f"states holds {', '.join(unknown)}, allowed: All, {', '.join(STATES)}")
        start, end = (
            read_time(name, self.params.get(name.lower()))
            for name in ("startCreationTime", "endCreationTime")
        )
        conditions = {
            **where,
            "state": None if "All" in states else tuple(states),
            "CAST(created AS INTEGER) >=": start,
            "CAST(created AS INTEGER) <=": end,
        }
        ascending = self.choice("orderByTime", "Desc", ("Asc", "Desc")) == "Asc"
        size = self.number("size", _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE)
        return ListQuery(conditions, ascending, size, self.params.get("nexttoken"))


#: Answers one kind of call
Handler = Callable[[Call], Content]


def require(field_name: str, value: object, allowed: Collection[object]) -> None:
    """Check a value against a list.

    :raises ServiceError: naming field, value and list.
    """
    if value not in allowed:
        raise invalid_argument(f"{field_name} is {value!r}, allowed: {', '.join(map(str, allowed))}")


def require_name(name: str | None, most_characters: int) -> str:
    """Return the name of a template or a queue.

    :raises ServiceError: it is missing, too long, or has other characters than are allowed.
    """
    if name is None or len(name) > most_characters or not NAME.fullmatch(name):
        allowed = f"Chinese, letters, digits, _ - *, at most {most_characters}"
        raise invalid_argument(f"Name is {name!r}, allowed: {allowed}")
    return name


def comma_list(text: str | None) -> list[str]:
    """Return the parts of a comma list, each once."""
    return list(dict.fromkeys(part for part in (text or "").split(",") if part))


def read_time(name: str, text: str | None) -> float | None:
    """Return a time in Unix seconds.

    :raises ServiceError: it is not written as the service writes times.
    """
    if text is None:
        return None
    # A plus sign that was not percent-encoded arrives as a blank
    match = _TIME.fullmatch(text)
    try:
        return datetime.fromisoformat("{}+{}:{}".format(*match.groups() if match else "???")).timestamp()
    except ValueError:
        allowed = "for instance 2001-01-01T00:00:00+0800"
        raise invalid_argument(f"{name} is {text!r}, allowed: {allowed}") from None


def cannot_be_modified(ids: list[str]) -> ServiceError:
    """Return the error for a cancellation that comes too late; only its words are documented (1045/43702)."""
    return invalid_argument(f"The job provided can not be modified: {', '.join(ids)}")
