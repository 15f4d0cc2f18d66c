"""The messages of a run's next request: their size in tokens, and the passages that they show.

A passage that stands in the prompt already is a reference in later results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentkit.backends.base import CountTokens, tokens_of_all
from agentkit.documents import Passage
from agentkit.messages import Message, Usage


class Prompt:
    """The messages of the next request and their size. `count` is the model's tokenizer or an
    estimate, `overhead` the tokens of the tools' descriptions."""

    def __init__(self, messages: Iterable[Message], count: CountTokens, overhead: int = 0) -> None:
        self._count = count
        self.overhead = overhead
        self._known = self._counted = self._bound = self._bounded = 0
        self._shown = ShownPassages()
        self.messages: list[Message] = []
        self.add(messages)

    @property
    def tokens(self) -> int:
        """Tokens of all messages and the overhead."""
        new = self.messages[self._counted :]
        self._settle(self._known + tokens_of_all(new, self._count))
        return self._known + self.overhead

    @property
    def at_most(self) -> int:
        """An upper bound without tokenizing: no token is shorter than a byte."""
        new = self.messages[self._bounded :]
        self._bound += tokens_of_all(new, lambda text: 4 * len(text))
        self._bounded = len(self.messages)
        return self._known + self.overhead + self._bound

    @property
    def counted_messages(self) -> int:
        """Tokens of the messages alone, by `count`."""
        return tokens_of_all(self.messages, self._count)

    def add(self, messages: Iterable[Message]) -> None:
        """Append messages."""
        added = list(messages)
        self._shown.add(added)
        self.messages += added

    def referring(self, results: Sequence[Message]) -> list[Message]:
        """New results with references in place of passages that the prompt has already."""
        if not any(result.passages for result in results):
            return list(results)
        return self._shown.copy().referring(results)

    def learn(self, usage: Usage) -> None:
        """Take the server's count of the current messages, which replaces the estimate."""
        if usage.input_tokens and not usage.estimated:
            self._settle(max(0, usage.input_tokens - self.overhead))

    def replace(self, messages: Iterable[Message]) -> None:
        """Start over with other messages, after a compaction."""
        self._known = self._counted = self._bound = self._bounded = 0
        self._shown = ShownPassages()
        self.messages = []
        self.add(messages)

    def _settle(self, known: int) -> None:
        """Set the known size of all current messages."""
        self._known = known
        self._counted = self._bounded = len(self.messages)
        self._bound = 0


class ShownPassages:
    """The passages that stand whole in some messages, by document."""

    def __init__(self) -> None:
        self._ranges: dict[str, list[tuple[int, int, str]]] = {}

    def copy(self) -> ShownPassages:
        shown = ShownPassages()
        shown._ranges = {document: list(known) for document, known in self._ranges.items()}
        return shown

    def add(self, messages: Iterable[Message]) -> None:
        """Add the passages of messages, those aside that only refer to others."""
        for message in messages:
            for passage in message.passages:
                if not passage.above:
                    self._add(passage)

    def referring(self, messages: Iterable[Message]) -> list[Message]:
        """Add the messages, in order, with references in place of found passages that are there
        already; a reference to a passage that is not there becomes whole. What was read or listed
        rather than found by a search is left as it is."""
        found = []
        for message in messages:
            if message.passages:
                passages = tuple(map(self._referring, message.passages))
                if passages != message.passages:
                    message = replace(message, passages=passages)
            found.append(message)
        return found

    def _referring(self, passage: Passage) -> Passage:
        if passage.relevance is not None and (above := self._find(passage)):
            return replace(passage, above=above)
        self._add(passage)
        return replace(passage, above="") if passage.above else passage

    def _add(self, passage: Passage) -> None:
        chunk = passage.chunk
        known = self._ranges.setdefault(chunk.document_id or chunk.source, [])
        known.append((chunk.start, chunk.end, passage.marker))

    def _find(self, passage: Passage) -> str:
        """The marker of a passage that has all the text of another; its own where it is that."""
        chunk = passage.chunk
        known = self._ranges.get(chunk.document_id or chunk.source, ())
        found = [m for start, end, m in known if start <= chunk.start and chunk.end <= end]
        return passage.marker if passage.marker in found else next(iter(found), "")
