"""A page of hits that do not repeat each other: copies once, near copies and the later passages of
one section further down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from agentkit.documents import Chunk, Hit
from agentkit.knowledge.catalog import Vector

_AGAIN = 0.85
"""What a section's next passage is worth beside one of a section not yet shown."""

_NEAR_COPY = 0.97
_OF_A_NEAR_COPY = 0.5


class Distinct:
    """Tells copies: the same text under the same headings, white space left out."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def is_new(self, chunk: Chunk) -> bool:
        """Whether no chunk before had this text."""
        identity = chunk.heading.removeprefix(chunk.title), "".join(chunk.text.split())
        is_new = identity not in self._seen
        self._seen.add(identity)
        return is_new


def spread(hits: Iterable[Hit], vectors: Mapping[str, Vector]) -> list[Hit]:
    """Best first, after those nearly as good: a section's later passages, and passages whose
    vectors (by chunk id) are all but those of a better one from another section."""
    found: list[Hit] = []
    seen: Counter[tuple[str, str]] = Counter()
    shown: list[tuple[tuple[str, str], Vector]] = []
    for hit in hits:
        section = (hit.chunk.source, hit.chunk.heading)
        worth = _AGAIN ** seen[section]
        vector = vectors.get(hit.chunk.id)
        if vector is not None:
            others = [v for place, v in shown if place != section]
            if others and float(np.max(np.stack(others) @ vector)) > _NEAR_COPY:
                worth *= _OF_A_NEAR_COPY
            shown.append((section, vector))
        found.append(replace(hit, score=hit.score * worth))
        seen[section] += 1
    found.sort(key=lambda hit: -hit.score)
    return [replace(hit, score=round(hit.score, 4)) for hit in found]
