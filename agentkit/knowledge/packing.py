"""As many passages as the model has room for, best first, and a word on what was left out.

Passages stay whole; only the last one that fits is shortened, at the end of a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agentkit.documents import Chunk
from agentkit.text import sentences

_AROUND = 60
"""Tokens of the tag around a passage: marker, source, headings, place."""

_LEAST = 40
"""Tokens below which a rest of room is left empty."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The passages that fit, whether the last was shortened, and how many did not fit."""

    chunks: tuple[Chunk, ...]
    is_shortened: bool = False
    left_out: int = 0

    @property
    def note(self) -> str:
        """What was left out, for the model; "" where nothing was."""
        said = []
        if self.is_shortened:
            last = self.chunks[-1]
            said.append(
                f"the last passage is cut short: read_document gives {last.source} from "
                f"start={last.end}"
            )
        if self.left_out:
            said.append(
                f"{self.left_out} more did not fit: ask for less with a narrower query, source, "
                "tags or dates"
            )
        return f"({'; '.join(said)}.)" if said else ""


def packed(chunks: Sequence[Chunk], room: int | None, count_tokens: Callable[[str], int]) -> Packed:
    """The first of the chunks that `room` tokens hold, one at the least; None is room for all."""
    if room is None:
        return Packed(tuple(chunks))
    taken: list[Chunk] = []
    for at, chunk in enumerate(chunks):
        room -= _AROUND
        size = count_tokens(chunk.text)
        if size <= room:
            taken.append(chunk)
            room -= size
            continue
        short = _shortened(chunk, max(room, 0 if taken else _LEAST), count_tokens)
        if short is not None and (not taken or room >= _LEAST):
            return Packed((*taken, short), True, len(chunks) - at - 1)
        return Packed(tuple(taken), False, len(chunks) - at)
    return Packed(tuple(taken))


def _shortened(chunk: Chunk, room: int, count_tokens: Callable[[str], int]) -> Chunk | None:
    """The sentences of a chunk that fit; None where not even the first does."""
    reached = 0
    for _, end in sentences(chunk.text):
        if count_tokens(chunk.text[:end]) > room:
            break
        reached = end
    if not reached:
        return None
    return replace(chunk, text=chunk.text[:reached], end=chunk.start + reached)
