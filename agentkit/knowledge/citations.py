"""From the markers of an answer to the passages that prove it.

A quote is a substring of its passage, or it is no quote. A claim is supported when a sentence of
the passage holds enough of its words and the passage holds all of its numbers; across scripts,
where words cannot be compared, the embedder's similarity decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from agentkit.answers import Citation
from agentkit.documents import Chunk
from agentkit.text import Similarity, is_cjk, numbers, sentences, terms

_NOT_PROSE = re.compile(r"```[\s\S]*?(?:```|\Z)|`[^`\n]*`|\$\$[\s\S]*?(?:\$\$|\Z)|\$[^$\n]+\$")
_MARKERS = re.compile(r"(?:\[\d+(?:\s*[,，、]\s*\d+)*\](?!\())+")
_AROUND = " \t\n>“”\"'"
_CONTEXT = 10
_SUPPORTING_WORDS = 0.5
_SUPPORTING_COSINE = 0.84


class Sources:
    """The numbers of a session's passages: given at first appearance, never reused."""

    def __init__(self) -> None:
        self._chunks: dict[str, Chunk] = {}
        self._numbers: dict[str, str] = {}

    def mark(self, chunk: Chunk) -> str:
        """The number of a passage, a new one at its first appearance."""
        if chunk.id not in self._numbers:
            marker = str(len(self._chunks) + 1)
            self._numbers[chunk.id] = marker
            self._chunks[marker] = chunk
        return self._numbers[chunk.id]

    def find(self, marker: str) -> Chunk | None:
        """The passage of a number, or None where the session gave no such number."""
        return self._chunks.get(marker)

    def texts(self) -> list[str]:
        """The texts of all passages."""
        return [chunk.text for chunk in self._chunks.values()]

    def __len__(self) -> int:
        return len(self._chunks)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an answer says between the last markers and these."""

    text: str
    markers: tuple[str, ...]


def markers(text: str, sources: Collection[str]) -> Iterator[re.Match[str]]:
    """The groups of markers in an answer. Brackets in code and formulas are none, and neither are
    those that a quoted source has itself."""
    prose = _NOT_PROSE.sub(lambda match: "\0" * len(match.group()), text)
    for match in _MARKERS.finditer(prose):
        before = text[max(0, match.start() - _CONTEXT) : match.end()].lstrip()
        after = text[match.start() : match.end() + _CONTEXT].rstrip()
        around = [part for part in (before, after) if len(part) >= len(match.group()) + 4]
        if not any(part in source for part in around for source in sources):
            yield match


def claims(text: str, sources: Collection[str] = ()) -> Iterator[Claim]:
    """The marked claims of an answer."""
    reached = 0
    for match in markers(text, sources):
        said = text[reached : match.start()].strip()
        yield Claim(said, tuple(dict.fromkeys(re.findall(r"\d+", match.group()))))
        reached = match.end()


async def cite(
    text: str, sources: Sources, similarity: Similarity | None = None
) -> tuple[Citation, ...]:
    """The citations of an answer, in its order, one for each passage and quote."""
    found: dict[tuple[str, str | None], Citation] = {}
    for claim in claims(text, sources.texts()):
        for marker in claim.markers:
            chunk = sources.find(marker)
            if chunk is None:
                continue
            quote = await _quote(claim.text, chunk, similarity)
            citation = Citation(marker, chunk, quote, quote is not None)
            found.setdefault((marker, quote), citation)
    return tuple(found.values())


async def _quote(claim: str, chunk: Chunk, similarity: Similarity | None) -> str | None:
    """The words of the passage that support a claim, or None."""
    paragraphs = claim.split("\n\n")
    for at in range(len(paragraphs)):
        said = "\n\n".join(paragraphs[at:]).strip(_AROUND)
        if said and said in chunk.text:
            return said
    claim = paragraphs[-1]
    spans = sentences(chunk.text)
    parts = [chunk.text[start:end] for start, end in spans]
    if not parts or not claim or not numbers(claim) <= numbers(chunk.text):
        return None
    if is_cjk(claim) != is_cjk(chunk.text):
        return await _nearest(claim, parts, similarity)
    wanted = set(terms(claim))
    shares = [len(wanted & set(terms(part))) / max(1, len(wanted)) for part in parts]
    best = max(range(len(parts)), key=shares.__getitem__)
    return parts[best] if shares[best] >= _SUPPORTING_WORDS else None


async def _nearest(claim: str, parts: Sequence[str], similarity: Similarity | None) -> str | None:
    if similarity is None:
        return None
    cosines = await similarity(claim, parts)
    best = max(range(len(parts)), key=cosines.__getitem__)
    return parts[best] if cosines[best] >= _SUPPORTING_COSINE else None
