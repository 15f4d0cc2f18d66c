"""The messages of the next request, with their size in tokens, growing at the end only.

Sizes are the server's own where it reports them; what was added since is counted. While nothing
is compacted each request is the one before it and something more, so that a server's prefix cache
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from agentkit.messages import Message, ToolCall, Usage

CountTokens = Callable[[str], int]

_IMAGE = 1000
"""Tokens of an image, roughly what most models take for one."""
_AROUND = 8
"""Tokens of role and template around a message."""


class Prompt:
    """A conversation as it is sent. `count` is the model's tokenizer, or a guess."""

    def __init__(self, messages: Iterable[Message], count: CountTokens, overhead: int = 0) -> None:
        self.messages = list(messages)
        self._count = count
        self._overhead = overhead
        self._known = self._counted = 0
        self._bound = self._bounded = 0

    @property
    def tokens(self) -> int:
        """Tokens of all messages and of what goes with them, the tools' descriptions."""
        new = self.messages[self._counted :]
        self._settle(self._known + sum(tokens_of(message, self._count) for message in new))
        return self._known + self._overhead

    @property
    def at_most(self) -> int:
        """A bound that costs nothing to know: no token is shorter than a byte."""
        new = self.messages[self._bounded :]
        self._bound += sum(_bytes_of(message) for message in new)
        self._bounded = len(self.messages)
        return self._known + self._overhead + self._bound

    @property
    def counted_messages(self) -> int:
        """Tokens of the messages alone, by the model's tokenizer or its guess."""
        return tokens_of_all(self.messages, self._count)

    def add(self, messages: Iterable[Message]) -> None:
        """What was said since goes to the end."""
        self.messages += messages

    def learn(self, usage: Usage) -> None:
        """The server's own count of the messages as they stand: it comes before ours."""
        if usage.input_tokens and not usage.estimated:
            self._settle(max(0, usage.input_tokens - self._overhead))

    def replace(self, messages: Iterable[Message]) -> None:
        """Begin anew, after a compaction."""
        self.messages = list(messages)
        self._known = self._counted = 0
        self._bound = self._bounded = 0

    def _settle(self, known: int) -> None:
        """The size of all messages so far is known."""
        self._known = known
        self._counted = self._bounded = len(self.messages)
        self._bound = 0


def tokens_of(message: Message, count: CountTokens) -> int:
    """Tokens of one message, its images and calls included."""
    images = 0 if isinstance(message.content, str) else len(message.content)
    calls = sum(count(written_call(call)) for call in message.tool_calls)
    return count(message.text) + calls + images * _IMAGE + _AROUND


def tokens_of_all(messages: Sequence[Message], count: CountTokens) -> int:
    """Tokens of several messages."""
    return sum(tokens_of(message, count) for message in messages)


def written_call(call: ToolCall) -> str:
    """A call as text, to be measured or compared."""
    return f"{call.name} {call.arguments}"


def _bytes_of(message: Message) -> int:
    images = 0 if isinstance(message.content, str) else len(message.content)
    calls = sum(4 * len(written_call(call)) for call in message.tool_calls)
    return 4 * len(message.text) + calls + images * _IMAGE + _AROUND
