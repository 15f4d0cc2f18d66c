"""One answer of a model: its tokens become text, up to a stop string or a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agentkit.backends.base import Options
from agentkit.backends.huggingface.grammar import Constraint
from agentkit.backends.huggingface.load import LoadedModel, is_out_of_memory
from agentkit.backends.text_tool_calls import MARKERS, split_partial_marker
from agentkit.errors import ModelError


@dataclass(frozen=True, slots=True)
class GenerationEnd:
    """How an answer ended, and its length in tokens."""

    tokens: int
    reason: Literal["stop", "length"]


class Generation:
    """One answer: what is asked of the model, and its tokens as text.

    `emit` gets each piece of text, and last a GenerationEnd or a ModelError; it is called in a
    thread of the generator. Setting `cancelled` ends it at its next token, without a last piece.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        ids: Sequence[int],
        limit: int,
        options: Options,
        emit: Callable[[str | GenerationEnd | ModelError], None],
        constraint: Constraint | None = None,
    ) -> None:
        self.ids = list(ids)
        self.limit = limit
        self.options = options
        self.constraint = constraint
        self.cancelled = threading.Event()
        self.tokens = 0
        self._loaded = loaded
        self._emit = emit
        self._text = _TokenText(loaded, options.stop)
        self._end: GenerationEnd | None = None

    def take(self, token: int) -> bool:
        """Add a token and emit its text. Returns whether the answer has ended."""
        if self._end is not None or self.cancelled.is_set():
            return True
        self.tokens += 1
        complete = self.constraint is not None and self.constraint.accept(token)
        text = self._text.feed(token)
        stopped = complete or self._text.stopped or token in self._loaded.end_tokens
        if stopped or self.tokens >= self.limit:
            self._end = GenerationEnd(self.tokens, "stop" if stopped else "length")
            text += self._text.end()
        if text:
            self._emit(text)
        return self._end is not None

    def finish(self) -> None:
        """Emit the end, unless the answer was cancelled before it had one."""
        if self._end is not None:
            self._emit(self._end)

    def fail(self, error: Exception) -> None:
        """Emit an error in place of the end."""
        source = self._loaded.source
        if isinstance(error, ModelError):
            self._emit(error)
        elif is_out_of_memory(error):
            text = (
                f"Memory ran out while {source.name} was generating. Shorten the prompt, choose a "
                "smaller model, or set quantization = 4bit (CUDA) or a smaller max_batch."
            )
            self._emit(source.error(text))
        else:
            text = f"{source.name} failed to generate ({type(error).__name__}: {error})."
            self._emit(source.error(text))


class _TokenText:
    """Turn tokens into whole characters, up to a stop string. Tokens that end a turn are left out;
    special tokens that mark a tool call are kept."""

    def __init__(self, loaded: LoadedModel, stops: Sequence[str]) -> None:
        self._tokenizer = loaded.tokenizer
        self._stops = tuple(stops)
        special = loaded.tokenizer.added_tokens_decoder.items()
        self._hidden = {number for number, token in special if _is_hidden(token)}
        self._hidden |= loaded.end_tokens
        self._ids: list[int] = []
        self._decoded_ids = 0
        self._context = ""
        self._pending = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """Return the text that the token completes."""
        if token in self._hidden:
            return ""
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith("\ufffd"):
            return ""
        return self._before_stop(self._advance(text), self._stops)

    def end(self) -> str:
        """Return the rest."""
        return self._before_stop(self._advance(self._decode(self._ids)), ())

    def _advance(self, text: str) -> str:
        """Return what the last tokens add to the text. They are decoded with the ones before them,
        since a tokenizer may spell a token by its neighbours."""
        added = text[len(self._context) :]
        self._ids = self._ids[self._decoded_ids :]
        self._decoded_ids = len(self._ids)
        self._context = self._decode(self._ids)
        return added

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _before_stop(self, text: str, held_back: Sequence[str]) -> str:
        if self.stopped:
            return ""
        text = self._pending + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._pending = True, ""
            return text[: min(found)]
        text, self._pending = split_partial_marker(text, held_back)
        return text


def _is_hidden(token: Any) -> bool:
    return token.special and str(token) not in MARKERS
