"""From messages, tools and options to what the engine is asked, and how its text is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentkit.backends.base import Options, offered
from agentkit.backends.huggingface_choice import check
from agentkit.backends.huggingface_forced import call_format, calls_schema, is_forced
from agentkit.backends.huggingface_grammar import Grammars, Held
from agentkit.backends.huggingface_load import Loaded
from agentkit.backends.huggingface_prompt import Prompt, rendered
from agentkit.backends.huggingface_row import Outcome, Request
from agentkit.backends.text_tool_calls import BLOCKS, TextCalls
from agentkit.events import ModelPart
from agentkit.messages import Message
from agentkit.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class Ask:
    """One chat's wish, ready for the engine. A forced call is read as if the model had written
    its markers, whatever stands in their place in its own format."""

    ids: Sequence[int]
    limit: int
    options: Options
    held: Held | None
    parser: TextCalls
    forced: bool

    def request(self, say: Callable[[str | Outcome | Exception], None]) -> Request:
        """What the engine takes, once."""
        if self.forced:
            self.parser.feed(BLOCKS[0].begin)
        return Request(self.ids, self.limit, self.options, say, self.held)

    def ended(self) -> list[ModelPart]:
        """The parts that only the answer's end makes certain."""
        parts = self.parser.feed(BLOCKS[0].end) if self.forced else []
        return [*parts, *self.parser.end()]


class Preparer:
    """Makes asks for one model; `max_new_tokens` where nobody limits an answer."""

    def __init__(self, loaded: Loaded, max_new_tokens: int) -> None:
        self._loaded = loaded
        self._grammars = Grammars(loaded)
        self._max_new_tokens = max_new_tokens

    def ask(self, messages: Sequence[Message], tools: Sequence[Tool], options: Options) -> Ask:
        """Takes milliseconds, with a schema for the first time a second. Raises ModelError."""
        self._check(tools, options)
        left = offered(tools, options.tool_choice)
        prompt = rendered(self._loaded, messages, left, options)
        limit = self._limit(prompt, options.max_tokens)
        forced = is_forced(left, options)
        names = [tool.name for tool in left] if forced or options.schema is None else []
        held = self._held(left, options, limit)
        return Ask(prompt.ids, limit, options, held, TextCalls(names, prompt.thinking), forced)

    def _check(self, tools: Sequence[Tool], options: Options) -> None:
        check(self._loaded, options)
        choice = options.tool_choice
        if tools and choice not in ("auto", "none", "required", *(tool.name for tool in tools)):
            names = ", ".join(tool.name for tool in tools)
            raise self._loaded.source.fault(f"There is no tool {choice!r} to call: {names}.")

    def _held(self, tools: Sequence[Tool], options: Options, limit: int) -> Held | None:
        if is_forced(tools, options):
            form = call_format(str(self._loaded.tokenizer.chat_template))
            return self._grammars.held(calls_schema(tools, form), limit, lenient=True)
        if options.schema is not None:
            return self._grammars.held(options.schema, limit)
        return None

    def _limit(self, prompt: Prompt, asked: int | None) -> int:
        limit, window = asked or self._max_new_tokens, self._loaded.window
        if window is None:
            return limit
        if prompt.tokens >= window:
            name = self._loaded.source.name
            raise self._loaded.source.fault(
                f"The prompt of {prompt.tokens} tokens does not fit {name}, whose window is "
                f"{window} tokens. Shorten it, or choose another model.",
                "too_long",
            )
        return min(limit, window - prompt.tokens)
