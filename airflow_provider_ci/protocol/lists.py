"""Lists that the service sends page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, Protocol, Self, TypeVar

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.api_request import ApiRequest

T = TypeVar("T")
Item = TypeVar("Item")
#: The largest page of a job list (460/84766).
LIST_SIZE_MAX = 100
#: The largest page of a list of buckets (1045/49551); assumed for templates and queues.
PAGE_SIZE_MAX = 100
#: The default page: no larger one is documented for templates and queues.
PAGE_SIZE = 10


class PagedRequest(ApiRequest[T], Generic[T, Item]):
    """A call for one page of a list."""

    def items(self, answer: T) -> Sequence[Item]:
        """Return what is on the page."""
        raise NotImplementedError

    def next_page(self, answer: T) -> PagedRequest[T, Item] | None:
        """Return the call for the page after ``answer``; ``None`` if that was the last."""
        raise NotImplementedError


class NumberedPage(Protocol):
    """What the response with one page of a numbered list says of itself."""

    @property
    def total_count(self) -> int | None: ...  # noqa: D102

    @property
    def page_number(self) -> int | None: ...  # noqa: D102

    @property
    def page_size(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedListRequest(PagedRequest[T, Item], Generic[T, Item]):
    """A list whose pages are numbered from 1."""

    page_number: int = 1
    page_size: int = PAGE_SIZE

    def page_params(self) -> tuple[tuple[str, str], ...]:
        """Return the parameters that name the page.

        :raises RequestValidationError: the service has no such page.
        """
        broken = []
        if self.page_number < 1:
            broken.append(f"page_number is {self.page_number!r}, allowed: from 1")
        if not 1 <= self.page_size <= PAGE_SIZE_MAX:
            broken.append(f"page_size is {self.page_size!r}, allowed: 1 to {PAGE_SIZE_MAX}")
        if broken:
            raise RequestValidationError(broken)
        return ("pageNumber", str(self.page_number)), ("pageSize", str(self.page_size))

    def page_after(self, answer: NumberedPage, found: int) -> Self | None:
        """Return the call for the next page: only while the service counts more than it has shown."""
        if answer.page_number not in (None, self.page_number):
            return None  # it sent another page than was asked for: it would do so for ever
        shown = self.page_number * (answer.page_size or self.page_size)
        if not found or shown >= (answer.total_count or 0):
            return None
        return replace(self, page_number=self.page_number + 1)


class SeenTokens:
    """The tokens of a listing's pages so far. It is never changed: ``with_token`` returns another one.

    The next one shares what this one holds, so that a listing of many pages takes time in proportion to them.
    """

    __slots__ = ("_count", "_places")

    def __init__(self, places: dict[str, int] | None = None, count: int = 0) -> None:
        # Of the shared tokens in the order of their pages, those before ``count`` are this one's
        self._places = {} if places is None else places
        self._count = count

    def __contains__(self, token: str) -> bool:
        return self._places.get(token, self._count) < self._count

    def with_token(self, token: str) -> SeenTokens:
        """Return these and ``token``."""
        places = self._places
        if len(places) != self._count and places.get(token) != self._count:
            # The same page was asked for before, and was followed by another one then
            places = dict(islice(places.items(), self._count))
        places.setdefault(token, self._count)
        return SeenTokens(places, self._count + 1)
