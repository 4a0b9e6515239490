"""Lists that the service sends page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

from airflow_provider_ci.protocol.api_request import ApiRequest, T, drop_empty
from airflow_provider_ci.protocol.rules import Problem, raise_if_any

Item = TypeVar("Item")
#: The largest page of a list of buckets (1045/49551); assumed for templates and queues.
PAGE_SIZE_MAX = 100
#: The default size of a page. No larger page is documented for templates and queues.
PAGE_SIZE = 10


class PagedRequest(ApiRequest[T], Generic[T, Item]):
    """A call for one page of a list."""

    def items(self, page: T) -> Sequence[Item]:
        """Return the items of ``page``."""
        raise NotImplementedError

    def next_page(self, page: T) -> PagedRequest[T, Item] | None:
        """Return the call for the page after ``page``, or ``None`` if ``page`` is the last."""
        raise NotImplementedError

    def smaller(self) -> PagedRequest[T, Item] | None:
        """Return the call for a part of the same page; ``None`` if there is no smaller one."""
        return None


class NumberedPage(Protocol):
    """What a page of a numbered list says about itself."""

    @property
    def total_count(self) -> int | None: ...  # noqa: D102

    @property
    def page_number(self) -> int | None: ...  # noqa: D102

    @property
    def page_size(self) -> int | None: ...  # noqa: D102


Page = TypeVar("Page", bound=NumberedPage)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedListRequest(PagedRequest[Page, Item], Generic[Page, Item]):
    """A list whose pages are numbered from 1."""

    page_number: int = 1
    page_size: int = PAGE_SIZE

    def params(self, *filters: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
        """Return the query parameters: the filters that have a value, and which page.

        :raises RequestValidationError: the service has no such page.
        """
        raise_if_any(self._page_problems())
        page = ("pageNumber", str(self.page_number)), ("pageSize", str(self.page_size))
        return drop_empty((*filters, *page))

    def _page_problems(self) -> Iterator[Problem]:
        if self.page_number < 1:
            yield Problem("page_number", self.page_number, "from 1")
        if not 1 <= self.page_size <= PAGE_SIZE_MAX:
            yield Problem("page_size", self.page_size, f"1 to {PAGE_SIZE_MAX}")

    def next_page(self, page: Page) -> Self | None:
        """Return the call for the next page, while the service counts more items than its pages had."""
        if page.page_number not in (None, self.page_number):
            return None  # another page than the requested one: the next request would bring it again
        requested_so_far = self.page_number * (page.page_size or self.page_size)
        if not self.items(page) or requested_so_far >= (page.total_count or 0):
            return None
        return replace(self, page_number=self.page_number + 1)
