"""Find tool calls and thinking that a model wrote as text.

Many servers and local models give calls in the text, in the format of the model's family, and
thinking between tags. `parse_text_calls` turns both into parts of their own for every backend,
however the text is cut into pieces. What stands in a code fence or in backticks among other text is
quoted, and stays. A call that cannot be read becomes a call of `UNREADABLE`, which the model is
asked to repeat; it is never part of the answer.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import islice

from agentkit.backends.bare_calls import BareCalls
from agentkit.backends.base import Model, Options, new_call_id, offered_tools
from agentkit.backends.call_formats import (
    BEGINNINGS,
    END_TOKENS,
    INNER_MARKERS,
    RESULTS,
    call_from_json,
    read_calls,
)
from agentkit.backends.text_pieces import (
    CodeSpans,
    Trimmer,
    partial_pattern,
    split_partial_marker,
    with_stalls,
    without,
)
from agentkit.errors import FaultKind, ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.names import UNREADABLE, clean_name, match_name
from agentkit.tools.tool import Tool

THINK, END_THINK = "<think>", "</think>"
CALL, END_CALL = "<tool_call>", "</tool_call>"

_THINKING = {
    THINK: END_THINK,
    "[THINK]": "[/THINK]",
    "<seed:think>": "</seed:think>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "◁think▷": "◁/think▷",
}
_CHANNELS = ("<|channel|>", "<|start|>")
_CHANNEL_ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>")
_MESSAGE = "<|message|>"
_LONGEST_HEADER = 200
_MOST_TRIES = 40
"""How many ends of one block, and how many lines of one reply, are read as calls."""
_RECIPIENT = re.compile(r"\bto=\s*(?P<name>[^\s<]+)|<\|start\|>(?P<author>functions\.[^\s<]+)")

CALL_MARKERS = (*BEGINNINGS, *(end for end in BEGINNINGS.values() if end), *INNER_MARKERS)
MARKERS = (
    *CALL_MARKERS,
    *(mark for pair in _THINKING.items() for mark in pair),
    *(*_CHANNELS, *_CHANNEL_ENDS, _MESSAGE),
)
"""What a tokenizer must leave in the text for calls and thinking to be found."""

_CLOSERS = tuple(end for begin, end in BEGINNINGS.items() if end and begin.startswith("<"))
_MARKS = (*BEGINNINGS, *_CLOSERS, *_CHANNELS, *_CHANNEL_ENDS, *RESULTS)
_EVENT = re.compile(
    r"\n|`+|~~~+|" + "|".join(map(re.escape, sorted(set(_MARKS), key=len, reverse=True)))
)
"""What may change how the text after it is read."""
_PARTIAL = partial_pattern((*_MARKS, *END_TOKENS), runs="`~")


class ParsedModel(Model):
    """A model whose server may leave tool calls and thinking in the text: `stream` takes them out
    of the parts that `request` yields."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        called = {call.name for message in messages for call in message.tool_calls}
        return parse_text_calls(self.request(messages, tools, options), tools, options, called)

    @abstractmethod
    def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        """Yield the parts of one answer as the server sends them. Raises ModelError."""

    def error(self, text: str, kind: FaultKind = "other") -> ModelError:
        """Return an error in one line of at most 600 characters."""
        return ModelError(" ".join(text.split())[:600], self.name, kind)


async def parse_text_calls(
    parts: AsyncGenerator[ModelPart, None],
    tools: Sequence[Tool] = (),
    options: Options = Options(),
    called: Collection[str] = (),
    patience: float = 2.0,
) -> AsyncGenerator[ModelPart, None]:
    """Yield an answer's parts with calls and thinking taken out of its text.

    Calls found in the text come just before Done, unless the server reported calls itself: then
    the text repeats them. `called` are the tools of earlier calls, which a model may call though
    they are not offered any more. Text that was held back is yielded before a ModelError is raised,
    and where no part follows for `patience` seconds; a call in it is found nonetheless.
    A backend whose prompt already opens a marker (THINK, CALL) yields it as its first text.
    """
    is_shaped = options.schema is not None and options.tool_choice in ("auto", "none")
    callable_tools = [] if is_shaped else offered_tools(tools, options.tool_choice)
    parser = TextCallParser(callable_tools, () if is_shaped else called)
    async with aclosing(parts):
        try:
            async for part in with_stalls(parts, lambda: parser.is_holding, patience):
                for found in parser.release() if part is None else parser.feed(part):
                    yield found
        except ModelError:
            for found in parser.flush():
                yield found
            raise
    for found in parser.flush():
        yield found


class TextCallParser:
    """Takes an answer's parts one by one, and returns what is certain. The text may call `tools`,
    and those with the names `called`; without either nothing is a call."""

    def __init__(self, tools: Sequence[Tool] = (), called: Collection[str] = ()) -> None:
        self._tools = tools
        self._can_call = bool(tools or called)
        self._names = frozenset({*called, *(tool.name for tool in tools)} - {UNREADABLE})
        self._bare = BareCalls(tools, self._names)
        self._held = ""
        self._shown = 0
        """Characters at the start of `_held` that were released."""
        self._end = ""
        self._recipient = ""
        self._ends_tried = self._lines_read = 0
        self._thought = Trimmer(trims_start=True)
        self._answer = Trimmer(END_TOKENS)
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._usage: list[ModelPart] = []
        self._has_native_calls = False
        self._has_channels = False
        self._is_cut = False
        self._code = CodeSpans()
        self._state: Callable[[bool], list[ModelPart]] = self._at_start

    def feed(self, part: ModelPart) -> list[ModelPart]:
        match part:
            case TextDelta(text):
                self._held += text
                return self._run(ended=False)
            case ReasoningDelta(text):
                if not self._answer.has_begun:
                    self._reasoning.append(text)
                return [part]
            case Usage():  # Whether the text was cut off is known only at the end.
                self._usage = [part]
                return []
            case ToolCall():
                self._has_native_calls = True
                return [*self.flush(), *self._native_calls(part)]
            case Done(stop_reason=reason):
                self._is_cut = reason == "length"
                return self._finish(part)
        return [part]

    def _native_calls(self, call: ToolCall) -> list[ToolCall]:
        """A call that the server reported, under the name of the tool: those within a call of
        `multi_tool_use.parallel`, and the arguments that a server left in the name."""
        if known := match_name(call.name, self._names):
            return [call if known == call.name else replace(call, name=known)]
        uses = call.arguments.get("tool_uses") if isinstance(call.arguments, Mapping) else None
        found = [
            call_from_json(use, self._names) for use in (uses if isinstance(uses, list) else ())
        ]
        if not call.arguments and call.name[-1:] in ")}":
            found = [*read_calls(call.name, self._tools, self._names).calls]
        inner = [one for one in found if one is not None and one.name in self._names]
        if not inner or len(inner) < len(found):
            return [call]
        ids = [call.id, *(f"{call.id}-{number}" for number in range(2, len(inner) + 1))]
        data = call.provider_data
        return [
            replace(one, id=id_, provider_data=data) for one, id_ in zip(inner, ids, strict=True)
        ]

    @property
    def is_holding(self) -> bool:
        """Whether text is held back that may be a part of the answer."""
        is_open = self._state in (self._at_start, self._at_line, self._in_text)
        return is_open and not self._held[self._shown :].isspace() and len(self._held) > self._shown

    def release(self) -> list[ModelPart]:
        """Return the text that is held back. It stays what may become a call or a marker."""
        text = self._answer.feed(self._held[self._shown :])
        self._shown = len(self._held)
        return [TextDelta(text)] if text else []

    def flush(self) -> list[ModelPart]:
        """Return the text that was held back."""
        parts = self._run(ended=True)
        if self._answer.space and not self._calls:
            parts.append(TextDelta(without(self._answer.space, END_TOKENS)))
        self._answer.space, self._state = "", self._at_start
        return [part for part in parts if not isinstance(part, TextDelta) or part.text]

    def _finish(self, done: Done) -> list[ModelPart]:
        parts = [*self.flush(), *self._usage]
        self._usage = []
        if not (self._calls or self._has_native_calls or self._answer.has_begun):
            self._calls = self._calls_in_thinking()
        if self._calls and not self._has_native_calls:
            parts += self._calls
            if done.stop_reason == "stop":
                done = replace(done, stop_reason="tool_calls")
        return [*parts, done]

    def _run(self, ended: bool) -> list[ModelPart]:
        """Let each state take what it can, until one waits for more text."""
        parts: list[ModelPart] = []
        while True:
            before, length, shown = self._state, len(self._held), self._shown
            parts += self._state(ended)
            if (before, length) == (self._state, len(self._held)):
                return parts
            self._shown = min(self._shown, max(0, shown + len(self._held) - length))

    def _at_start(self, ended: bool) -> list[ModelPart]:
        start = self._held.lstrip()
        begin = next((mark for mark in _THINKING if start.startswith(mark)), "")
        if begin:
            self._held, self._end = start.removeprefix(begin), _THINKING[begin]
            self._answer.trims_start = True
            self._state = self._in_thinking
        elif ended or not any(mark.startswith(start) for mark in _THINKING):
            self._state = self._at_line
        return []

    def _in_thinking(self, ended: bool) -> list[ModelPart]:
        ends = _CHANNEL_ENDS if self._end == _MESSAGE else (self._end,)
        found = min((at for end in ends if (at := self._held.find(end)) >= 0), default=-1)
        if found >= 0:
            thought, self._held = self._held[:found], self._held[found:]
            if self._end == _MESSAGE:
                self._state = self._at_line
            else:
                self._held, self._state = self._held.removeprefix(self._end), self._at_start
        else:
            thought, self._held = split_partial_marker(self._held, () if ended else ends)
        trimmed = self._thought.feed(thought)
        if trimmed:
            self._reasoning.append(trimmed)
        return [ReasoningDelta(trimmed)] if trimmed else []

    def _at_line(self, ended: bool) -> list[ModelPart]:
        """At the beginning of a line: hold back text that may consist of calls to its end."""
        self._state = self._in_text
        if self._code.is_open or self._lines_read > _MOST_TRIES:
            return []
        if not self._bare.may_begin(self._held):
            return []
        if not ended:
            self._state = self._at_line
            return []
        self._lines_read += 1
        is_first = not self._answer.has_begun
        if calls := self._bare.read(self._held, is_first, is_cut=self._is_cut):
            self._held = ""
            self._add_calls(calls)
        return []

    def _in_text(self, ended: bool) -> list[ModelPart]:
        held = self._held
        if ended and not held:
            return []
        event = _EVENT.search(held)
        if event is None:
            partial = None if ended else _PARTIAL.search(held)
            at = partial.start() if partial else len(held)
            self._held = held[at:]
            return self._emit(held[:at])
        mark, end = event[0], event.end()
        if mark[0] in "`~" and end == len(held) and not ended:  # A longer run may follow.
            self._held = held[event.start() :]
            return self._emit(held[: event.start()])
        if mark == "\n" or mark[0] in "`~":
            self._held = held[end:]
            parts = self._emit(held[:end])
            if mark == "\n":
                self._state = self._at_line
            return parts
        parts = self._emit(held[: event.start()])
        self._held = held[event.start() :]
        if self._code.ticks and self._code.ticks not in (line := self._held.partition("\n")[0]):
            if line == self._held and not ended:
                return parts  # Only the end of the line tells whether a backtick opens code.
            self._code.ticks = ""
        return parts + self._at_marker(mark, self._held)

    def _at_marker(self, mark: str, held: str) -> list[ModelPart]:
        """Begin what a marker begins. In code, and where nothing can be called, it is text."""
        self._held = held.removeprefix(mark)
        if self._code.is_open:
            return self._emit(mark)
        if mark in RESULTS:
            if not self._calls:
                return self._emit(mark)
            self._state = self._in_invention
            return []
        if mark in _CHANNELS:
            self._held, self._state = held, self._in_header
            return []
        if mark in _CHANNEL_ENDS:
            return [] if self._has_channels else self._emit(mark)
        if not self._can_call:
            return self._emit(mark)
        if mark in BEGINNINGS:
            self._held, self._end, self._state = held, mark, self._in_block
            self._ends_tried = 0
            return []
        return [] if self._calls else self._emit(mark)

    def _in_invention(self, ended: bool) -> list[ModelPart]:
        """A result that the model invented for its own call, and what it made of it."""
        self._held = ""
        return []

    def _in_header(self, ended: bool) -> list[ModelPart]:
        """The header of a channel of gpt-oss (harmony): reasoning, a call, or text."""
        header, mark, rest = self._held.partition(_MESSAGE)
        if len(header) > _LONGEST_HEADER or "\n" in header or (ended and not mark):
            marker = next(mark for mark in _CHANNELS if header.startswith(mark))
            self._state = self._in_text
            if ended and re.fullmatch(r"(?:<\|\w+\|>\w*)+", header):
                marker, rest = "", ""
            self._held = self._held.removeprefix(marker) if marker else rest
            return self._emit(marker)
        if not mark:
            return []
        self._has_channels = True
        self._held = rest
        recipient = _RECIPIENT.search(header)
        name = (recipient["name"] or recipient["author"]) if recipient else ""
        if name and name not in ("user", "assistant", "system"):
            self._recipient, self._state = name, self._in_addressed
        elif "analysis" in header:
            self._end, self._state = _MESSAGE, self._in_thinking
        else:
            self._state = self._at_line
        self._answer.trims_start = True
        return []

    def _in_addressed(self, ended: bool) -> list[ModelPart]:
        """The arguments of a call in a channel."""
        found = min((at for end in _CHANNEL_ENDS if (at := self._held.find(end)) >= 0), default=-1)
        if found < 0 and not ended:
            return []
        body = self._held[:found] if found >= 0 else self._held
        self._held = self._held[len(body) :]
        self._state = self._at_line
        name = match_name(self._recipient, self._names) or clean_name(self._recipient)
        written = f"{name} {body.strip() or '{}'}"
        reading = read_calls(written, self._tools, {*self._names, name}, is_cut=self._is_cut)
        self._add_calls(reading.calls if not reading.rest else [unreadable(written)])
        return []

    def _in_block(self, ended: bool) -> list[ModelPart]:
        """What stands between the marks of calls. A closing mark may be part of an argument: the
        first one that ends a readable block counts, at the end the first one."""
        begin, close = self._end, BEGINNINGS[self._end]
        held = self._held
        found = re.finditer(re.escape(close), held) if close else ()
        ends = [match.end() for match in islice(found, _MOST_TRIES)]
        tried, self._ends_tried = (0, 0) if ended else (self._ends_tried, len(ends))
        for end in ends[tried:] or ([len(held)] if ended and not ends else []):
            is_cut = self._is_cut and not ends
            body = held[:end].removesuffix(close if begin[-1] in ">]|" else "")
            reading = read_calls(body, self._tools, self._names, is_cut=is_cut)
            if reading.calls and not reading.rest:
                return self._take_block(end, reading.calls)
        is_call = (ended or ends) and looks_like_call(held, begin, self._names)
        if not ended and (is_call or not ends):
            return []
        if not is_call:
            self._held, self._state = held.removeprefix(begin), self._in_text
            return self._emit(begin)
        end = ends[0] if ends else len(held)
        reading = read_calls(held[:end], self._tools, self._names)
        calls = reading.calls if not self._is_cut or ends else ()
        return self._take_block(end, [*calls, unreadable(reading.rest if calls else held[:end])])

    def _take_block(self, end: int, calls: Sequence[ToolCall]) -> list[ModelPart]:
        self._held, self._state = self._held[end:], self._at_line
        self._add_calls(calls)
        return []

    def _calls_in_thinking(self) -> list[ToolCall]:
        """The calls at the end of an answer that is thinking alone: some models call tools before
        they close their thinking."""
        thinking = "".join(self._reasoning)
        at = min((at for mark in BEGINNINGS if (at := thinking.find(mark)) >= 0), default=-1)
        if at < 0 or not self._can_call:
            return []
        reading = read_calls(thinking[at:], self._tools, self._names, is_cut=self._is_cut)
        return reading.only(self._names)

    def _add_calls(self, calls: Sequence[ToolCall]) -> None:
        self._calls += calls
        self._answer.trims_start = True

    def _emit(self, text: str) -> list[ModelPart]:
        self._code.feed(text)
        new = text[self._shown :]
        self._shown -= len(text) - len(new)
        trimmed = self._answer.feed(new)
        return [TextDelta(trimmed)] if trimmed else []


def unreadable(text: str) -> ToolCall:
    """A call that could not be read."""
    return ToolCall(new_call_id(), UNREADABLE, text.strip())


_CALL_LIKE = re.compile(
    r"\s*(?:[\[{<(`]|[^\W\d][\w.:-]*\s*(?:[\[{(<:=]|$))|.{0,200}?[{<]\s*[\"']?\w", re.DOTALL
)


def looks_like_call(block: str, begin: str, names: Collection[str]) -> bool:
    """Whether a block that cannot be read is an attempt at a call, and not a word on its mark."""
    if begin.endswith("=") or not names:  # Only unreadable calls were made before.
        return True
    body = block.removeprefix(begin)
    word = re.match(r"\s*([^\W\d][\w.:-]*)", body)
    if word and match_name(word[1], names):
        return True
    if body.startswith((" ", ",", ".", ")")) and begin[0] != "[" and body.strip()[:1] not in "{[<":
        return False
    return bool(_CALL_LIKE.match(body))
