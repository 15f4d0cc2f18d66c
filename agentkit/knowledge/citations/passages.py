"""The numbers of a session's passages, and attached texts as passages.

A number is assigned at a passage's first appearance, never reused, and stored. An attached text
(standard input, a file) is split like a document of the index and shown whole; none of it is
stored in the index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

from agentkit.backends.base import estimated_tokens
from agentkit.documents import Chunk, Document, Passage
from agentkit.knowledge.chunking.splitter import split

P = ParamSpec("P")
T = TypeVar("T")

_MOST_REMEMBERED = 300_000
"""Characters of texts whose results are kept, which take some 50 bytes for each."""
_clear_all: list[Callable[[], None]] = []
_read_characters = 0


def remembered(function: Callable[P, T]) -> Callable[P, T]:
    """Cache the results of a function of texts, which are read again for each claim of an answer
    and mostly for the next answer, until `forget_after` finds them too many."""
    cached = lru_cache(maxsize=None)(function)
    _clear_all.append(cached.cache_clear)
    return cast("Callable[P, T]", cached)


def forget_after(texts: Iterable[str]) -> None:
    """Count texts that were read, and free all remembered results where they are too many."""
    global _read_characters
    _read_characters += sum(map(len, texts))
    if _read_characters > _MOST_REMEMBERED:
        _read_characters = 0
        for clear in _clear_all:
            clear()


class Sources:
    """Passages by number. A passage that comes again with more around it keeps its number, and
    its text grows to hold both."""

    def __init__(self) -> None:
        self._chunks: dict[str, Chunk] = {}
        self._numbers: dict[str, str] = {}

    def mark(self, chunk: Chunk) -> str:
        """The number of a passage, a new one at its first appearance."""
        marker = self._numbers.setdefault(chunk.id, str(len(self._numbers) + 1))
        known = self._chunks.get(marker)
        self._chunks[marker] = chunk if known is None else _joined(known, chunk)
        return marker

    def find(self, marker: str) -> Chunk | None:
        """The passage of a number, or None where the session gave no such number."""
        return self._chunks.get(marker)

    def numbers(self) -> list[str]:
        """All numbers, in the order in which they were given."""
        return list(self._chunks)

    def texts(self) -> list[str]:
        """The texts of all passages."""
        return [chunk.text for chunk in self._chunks.values()]

    def __len__(self) -> int:
        return len(self._chunks)


def _joined(known: Chunk, again: Chunk) -> Chunk:
    """One passage that holds both texts where they meet, else the longer one."""
    first, last = sorted((known, again), key=lambda chunk: chunk.start)
    if last.end <= first.end:
        return first if first is known or len(first.text) > len(known.text) else known
    if first.end < last.start:
        return max(known, again, key=lambda chunk: len(chunk.text))
    text = first.text + last.text[first.end - last.start :]
    return replace(known, text=text, start=first.start, end=last.end)


PASSAGE_TOKENS = 320


def attach(document: Document, sources: Sources) -> tuple[Passage, ...]:
    """Cut a document that a user attached into passages, each with its marker in the session;
    none for a document without text. Nothing of it is stored in an index."""
    content = f"{document.source}\0{document.text}".encode("utf-8", "surrogatepass")
    named = replace(document, id=hashlib.sha256(content).hexdigest())
    chunks = split(named, estimated_tokens, PASSAGE_TOKENS)
    return tuple(Passage(sources.mark(chunk), chunk) for chunk in chunks)
