"""Long lists a page at a time. A cursor names the last item given, so that a list which changes
between two pages neither repeats nor skips what stays in it."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeVar

PAGE = 100

T = TypeVar("T")


def page_of(
    items: Sequence[T], cursor: str | None, key: Callable[[T], str], size: int = PAGE
) -> tuple[list[T], str | None]:
    """The items after the cursor by their keys' order, and the cursor of the next page if there
    is one. Raises ValueError for a cursor that is none."""
    ordered = sorted(items, key=key)
    first = bisect_right(ordered, _key_of(cursor), key=key) if cursor else 0
    page = ordered[first : first + size]
    more = first + size < len(ordered)
    return page, _cursor_of(key(page[-1])) if more else None


def _cursor_of(key: str) -> str:
    return urlsafe_b64encode(key.encode("utf-8", "surrogatepass")).decode()


def _key_of(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor.encode("ascii")).decode("utf-8", "surrogatepass")
    except ValueError as error:
        raise ValueError("The cursor is none of this list's. List from the beginning.") from error
