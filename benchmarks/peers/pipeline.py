"""The seam between the measuring and a peer's retrieval.

An adapter is a module with one function, `build(paragraphs, embedder) -> {name: Search}`: it
indexes the paragraphs the way its library's documentation begins, and says what a search finds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Search = Callable[[str, int], list[int]]
"""A question and k in; the paragraphs that the first k hits come from, by number, best first."""


class Range(NamedTuple):
    """A range of a document that a search found."""

    source: str
    start: int
    end: int


RangeSearch = Callable[[str, int], list[Range]]
"""The same for whole documents: the ranges of the first k hits, best first."""
