"""One call of CI as its handler sees it: the bucket, the ids in the path, parameters and body."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from tencent_ci_emulator.database import PageQuery
from tencent_ci_emulator.http.errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.rules import read_number
from tencent_ci_emulator.http.xml import Element, XMLError, parse
from tencent_ci_emulator.jobs.states import STATES
from tencent_ci_emulator.observed import CancelOutcome, ObservedBehaviour

T = TypeVar("T")
#: The children of ``Response``, or ``None`` for a response without a body
Content = Mapping[str, Any] | None

_MAX_IDS = 10
_MAX_PAGE_SIZE = 100
_DEFAULT_PAGE_SIZE = 10
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[+ ](\d\d):?(\d\d)")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: ``number`` from 1."""

    number: int
    size: int

    def describe(self, total: int) -> dict[str, int]:
        """Return the elements of the response that describe the list and this page."""
        return {"TotalCount": total, "PageNumber": self.number, "PageSize": self.size}

    def cut(self, items: list[T]) -> list[T]:
        """Return the items on this page."""
        return items[(self.number - 1) * self.size : self.number * self.size]


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated call. Its methods raise :class:`ServiceError` if the request breaks a rule.

    :param id: the part of the path that names a template, a queue or jobs.
    :param params: the parameters that have a value, with names in lower case.
    :param content_md5: the header ``Content-MD5``.
    :param list_consistency_delay: seconds; by the fault plan, younger jobs are missing in a list.
    """

    bucket: str
    id: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_md5: str | None = None
    list_consistency_delay: float = 0.0

    def document(self) -> Element:
        """Return the root of the body, a ``Request`` in XML."""
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
        """Return the ids in the path, one to ten, each once."""
        ids = split_list(self.id)
        if not ids:
            raise ServiceError(404, "InvalidUrl", f"the {kind} id is missing")
        if len(ids) > _MAX_IDS:
            raise invalid_argument(f"there are {len(ids)} {kind} ids, at most {_MAX_IDS} are allowed")
        return ids

    def listed(self, name: str, most: int | None = None) -> list[str]:
        """Return the values of a parameter that is a comma-separated list."""
        values = split_list(self.params.get(name.lower()))
        if most is not None and len(values) > most:
            raise invalid_argument(f"{name} has {len(values)} values, at most {most} are allowed")
        return values

    def choice(self, name: str, default: str, allowed: Collection[str]) -> str:
        """Return a parameter that has one of some values."""
        value = self.params.get(name.lower(), default)
        if value not in allowed:
            raise invalid_argument(f"{name} is {value!r}, allowed: {', '.join(allowed)}")
        return value

    def number(self, name: str, default: int, largest: int = 10**9) -> int:
        """Return a parameter that is a whole number from 1."""
        text = self.params.get(name.lower(), str(default))
        number = read_number(text)
        if number is None or not 1 <= number <= largest:
            raise invalid_argument(f"{name} is {text!r}, allowed: 1 to {largest}")
        return number

    def page(self) -> Page:
        """Return the requested page of a list of templates, queues or buckets."""
        size = self.number("pageSize", _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE)
        return Page(self.number("pageNumber", 1), size)

    def page_query(self, observed: ObservedBehaviour, state: str = "state", **where: Any) -> PageQuery:
        """Return the query for a page of jobs or batch jobs.

        Times are printed in whole seconds, so a job is as old as the second that it shows.

        :param state: the column, or the expression in SQL, that ``states`` is about.
        :param where: further conditions.
        """
        states = self.listed("states") or ["All"]
        unknown = [state for state in states if state not in (*STATES, "All")]
        if unknown:
            raise invalid_argument(f"states holds {', '.join(unknown)}, allowed: All, {', '.join(STATES)}")
        start, end = self._time("startCreationTime"), self._time("endCreationTime")
        if observed.list_ends_included:
            end = None if end is None else end + 1
        else:
            start = None if start is None else start + 1
        conditions = {
            **where,
            state: None if "All" in states else tuple(states),
            "created >=": start,
            "created <": end,
        }
        ascending = self.choice("orderByTime", "Desc", ("Asc", "Desc")) == "Asc"
        ascending = ascending and observed.list_order_by_time_asc == "honoured"
        size = self.number("size", _DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE)
        return PageQuery(conditions, ascending, size, self.params.get("nexttoken"))

    def _time(self, name: str) -> float | None:
        return read_time(name, self.params.get(name.lower()))


#: Handles one kind of call
Handler = Callable[[Call], Content]


def split_list(text: str | None) -> list[str]:
    """Return the values of a comma-separated list, each once."""
    return list(dict.fromkeys(value for value in (text or "").split(",") if value))


def read_time(name: str, text: str | None) -> float | None:
    """Return a time in Unix seconds, ``None`` for no text.

    :raises ServiceError: it is not in the form in which the service writes times.
    """
    if text is None:
        return None
    # A plus sign that was not percent-encoded is decoded to a space
    match = _TIME.fullmatch(text)
    try:
        return datetime.fromisoformat("{}+{}:{}".format(*match.groups() if match else "???")).timestamp()
    except ValueError:
        example = "2001-01-01T00:00:00+0800"
        raise invalid_argument(f"{name} is {text!r}, allowed: for instance {example}") from None


def cannot_be_modified(ids: list[str], outcome: CancelOutcome) -> ServiceError:
    """Return the error for a cancellation that comes too late; only its words are documented (1045/43702)."""
    message = f"The job provided can not be modified: {', '.join(ids)}"
    return ServiceError(outcome.status, outcome.code, message)
