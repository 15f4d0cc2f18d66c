"""The chats that share one pass: joined between two steps, and let go one by one. And the last
sequence of a chat alone, kept for its next turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from agentkit.backends.huggingface_forward import Forward, joined, left_with


class Sequential(Protocol):
    """What has tokens, all but the last of which have gone through the model."""

    ids: list[int]


Row = TypeVar("Row", bound=Sequential)


class Batch(Generic[Row]):
    """The sequences of several rows in one cache, `length` tokens long, the shorter ones filled
    up on the left."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._empty: list[int] = []
        self.rows: list[Row] = []
        self.cache: Any = None
        self.length = 0

    def join(self, rows: Sequence[Row], cache: Any) -> None:
        """Take in rows whose tokens have all gone through the model, with one cache for them."""
        own = max(len(row.ids) for row in rows)
        longest = max(own, self.length)
        if self.rows:
            gaps = (longest - self.length, longest - own)
            cache = joined(self.cache, cache, gaps, self._forward.new_cache())
        self.cache = cache
        self._empty = [empty + longest - self.length for empty in self._empty]
        self._empty += [longest - len(row.ids) for row in rows]
        self.rows = [*self.rows, *rows]
        self.length = longest

    def step(self) -> Any:
        """Scores (rows, vocabulary) for each row's next token."""
        tokens = [row.ids[-1] for row in self.rows]
        scores = self._forward.step(tokens, self.cache, self.length, self._empty)
        self.length += 1
        return scores

    def leave(self, going: Sequence[Row]) -> None:
        """Let rows go, and with them the room that only they needed."""
        staying = [at for at, row in enumerate(self.rows) if row not in going]
        if not staying:
            self.clear()
        elif len(staying) < len(self.rows):
            cut = min(self._empty[at] for at in staying)
            left_with(self.cache, staying, cut)
            self._empty = [self._empty[at] - cut for at in staying]
            self.rows = [self.rows[at] for at in staying]
            self.length -= cut

    def clear(self) -> None:
        self._empty, self.rows, self.cache, self.length = [], [], None, 0


class KeptSequence:
    """At most one sequence of at most `limit` tokens, and its cache."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: list[int] = []
        self._cache: Any = None

    def keep(self, ids: Sequence[int], cache: Any) -> None:
        """Put a sequence in the place of the one before."""
        self.drop()
        if len(ids) <= self._limit:
            self._ids, self._cache = list(ids), cache

    def take(self, ids: Sequence[int]) -> tuple[Any, int]:
        """The cache of the longest common beginning, and its length: (None, 0) where there is
        none. At least one token is left to be read. What is taken is kept no longer."""
        cache, kept = self._cache, len(self._ids)
        same = common(self._ids, ids[:-1])
        self.drop()
        if not same:
            return None, 0
        cache.crop(same - kept)
        return cache, same

    def drop(self) -> None:
        self._ids, self._cache = [], None


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens the two begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
