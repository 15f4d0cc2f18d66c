"""One chat on its way through a model: what is asked, its tokens, and what is said of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agentkit.backends.base import Options
from agentkit.backends.huggingface_choice import Choice
from agentkit.backends.huggingface_grammar import Held
from agentkit.backends.huggingface_load import Loaded
from agentkit.backends.huggingface_text import TokenText


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended, and how long it is in tokens."""

    tokens: int
    reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a chat asks. `say` gets each piece of text, and last the outcome or what went wrong;
    setting `stopped` ends the answer before the next step, and no more is said."""

    ids: Sequence[int]
    limit: int
    options: Options
    say: Callable[[str | Outcome | Exception], None]
    held: Held | None = None
    stopped: threading.Event = field(default_factory=threading.Event)


class Row:
    """A request and its answer so far. `ids` are the tokens of both; `cache` is its own while
    its prompt is read, and `read` counts the tokens in it."""

    def __init__(self, loaded: Loaded, request: Request, silent: frozenset[int]) -> None:
        self.request = request
        self.ids = list(request.ids)
        self.cache: Any = None
        self.read = 0
        self._ends = loaded.ends
        self._choice = Choice(loaded, request.options, request.held, request.limit)
        self._text = TokenText(loaded.tokenizer, request.options.stop, silent)
        self._count = 0

    @property
    def gone(self) -> bool:
        """Whether nobody listens any more."""
        return self.request.stopped.is_set()

    @property
    def greedy(self) -> bool:
        return self._choice.greedy

    def choose(self, scores: Any) -> Any:
        """The next token, a tensor of one number, by scores (1, vocabulary)."""
        return self._choice.next(self.ids, self._count, scores)

    def take(self, token: int) -> bool:
        """Add the token and say its text; whether the answer ends with it."""
        self.ids.append(token)
        self._count += 1
        whole = self._choice.accept(token)
        self._say(self._text.feed(token))
        ended = whole or token in self._ends or self._text.stopped
        if not ended and self._count < self.request.limit:
            return False
        self._say(self._text.end())
        self.request.say(Outcome(self._count, "stop" if ended else "length"))
        return True

    def _say(self, text: str) -> None:
        if text:
            self.request.say(text)
