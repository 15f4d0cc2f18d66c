"""Tell text, thinking and tool calls apart in what a model writes, piece by piece.

However the text is cut into pieces, the result is the same. Where no tools are offered nothing is
a call, and what cannot be read as a call is given back as text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from agentkit.backends.textcall_formats import (
    Calls,
    answer_calls,
    deepseek_calls,
    json_calls,
    llama_calls,
    mistral_calls,
)
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import ToolCall

THINK, END_THINK = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a text that is calls: between two markers, or to the end where `end` is empty."""

    begin: str
    end: str
    read: Callable[[str], Calls]


BLOCKS = (
    Block("<tool_call>", "</tool_call>", json_calls),
    Block("[TOOL_CALLS]", "", mistral_calls),
    Block("<|python_tag|>", "", llama_calls),
    Block("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", deepseek_calls),
)

MARKERS = (
    *(marker for block in BLOCKS for marker in (block.begin, block.end) if marker),
    *("[ARGS]", "[CALL_ID]", THINK, END_THINK),
    *("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"),
)
"""What a tokenizer must not leave out of the text, for the calls to be found."""

LONGEST_OPENING = 400
"""Characters within which an answer must begin like a call, to be held back."""

_FUNCTION = '"type":"function",'
_NAMED = (
    '"name":"%s"',
    '"tool":"%s"',
    '"tool_name":"%s"',
    '"function":"%s"',
    '"function":{"name":"%s"',
    _FUNCTION + '"name":"%s"',
    _FUNCTION + '"function":{"name":"%s"',
)
_NAMELESS = ('"arguments":', '"parameters":', '"id":"call')

_Step = Callable[[bool], list[ModelPart]]


class TextCalls:
    """Feed it pieces, then `end()`. `thinking` where the prompt has already opened `<think>`;
    `called` says whether any call was found."""

    def __init__(self, names: Collection[str] = (), thinking: bool = False) -> None:
        self._names = frozenset(names)
        self._openings = _openings(self._names)
        self._blocks = BLOCKS if names else ()
        self._block = BLOCKS[0]
        self._held = ""
        self._thought = _Trimmed(trims_start=True)
        self._answer = _Trimmed(trims_start=thinking)
        self._step: _Step = self._think if thinking else self._begin
        self.called = False

    def feed(self, piece: str) -> list[ModelPart]:
        """The parts that are certain now."""
        self._held += piece
        return self._run(ended=False)

    def end(self) -> list[ModelPart]:
        """The rest."""
        parts = self._run(ended=True)
        if self._answer.space and not self.called:
            parts.append(TextDelta(self._answer.space))
        return _joined(parts)

    def _run(self, ended: bool) -> list[ModelPart]:
        """Let each step take what it can, until one waits for more."""
        parts: list[ModelPart] = []
        while True:
            before = (self._step, len(self._held))
            parts += self._step(ended)
            if before == (self._step, len(self._held)):
                return _joined(parts)

    def _begin(self, ended: bool) -> list[ModelPart]:
        start = self._held.lstrip()
        if start.startswith(THINK):
            self._held = start.removeprefix(THINK)
            self._answer.trims_start = True
            self._step = self._think
        elif ended or not THINK.startswith(start):
            self._step = self._whole
        return []

    def _think(self, ended: bool) -> list[ModelPart]:
        thought, mark, rest = self._held.partition(END_THINK)
        if mark:
            self._held, self._step = rest, self._begin
        else:
            thought, self._held = settled(thought, () if ended else (END_THINK,))
        said = self._thought.feed(thought)
        return [ReasoningDelta(said)] if said else []

    def _whole(self, ended: bool) -> list[ModelPart]:
        """Hold back an answer that may be nothing but calls: only its end can tell."""
        start = "".join(self._held[:LONGEST_OPENING].split())
        may_be_calls = any(
            start.startswith(opening) or opening.startswith(start) for opening in self._openings
        )
        if may_be_calls and not ended:
            return []
        self._step = self._text
        calls = answer_calls(self._held, self._names) if may_be_calls else None
        if calls:
            self._held = ""
        return self._found(calls or [])

    def _text(self, ended: bool) -> list[ModelPart]:
        begins = tuple(block.begin for block in self._blocks)
        at, self._block = min(
            ((at, block) for block in self._blocks if (at := self._held.find(block.begin)) >= 0),
            key=lambda start: start[0],
            default=(-1, self._block),
        )
        if at >= 0:
            text, self._held = self._held[:at], self._held[at:]
            self._step = self._calls
        else:
            text, self._held = settled(self._held, () if ended else begins)
        return self._said(text)

    def _calls(self, ended: bool) -> list[ModelPart]:
        block = self._block
        end = self._held.find(block.end) if block.end else -1
        if end < 0 and not ended:
            return []
        whole = self._held[: end + len(block.end)] if end >= 0 else self._held
        self._held = self._held[len(whole) :]
        self._step = self._text
        calls = block.read(whole.removeprefix(block.begin).removesuffix(block.end))
        return self._found(calls) if calls else self._said(whole)

    def _found(self, calls: Sequence[ToolCall]) -> list[ModelPart]:
        if calls:
            self.called = self._answer.trims_start = True
        return [*calls]

    def _said(self, text: str) -> list[ModelPart]:
        said = self._answer.feed(text)
        return [TextDelta(said)] if said else []


class _Trimmed:
    """Text whose space at the end waits for more text: beside a thought or a call it is none."""

    def __init__(self, trims_start: bool) -> None:
        self.trims_start = trims_start
        self.space = ""
        self._begun = False

    def feed(self, text: str) -> str:
        text = self.space + text
        if self.trims_start and not self._begun:
            text = text.lstrip()
        body = text.rstrip()
        self.space = text[len(body) :]
        self._begun = self._begun or bool(body)
        return body


def settled(text: str, markers: Sequence[str]) -> tuple[str, str]:
    """The text cut in two, before an end that may be the beginning of a marker."""
    longest = max(map(len, markers), default=1) - 1
    for kept in range(min(longest, len(text)), 0, -1):
        if any(marker.startswith(text[-kept:]) for marker in markers):
            return text[:-kept], text[-kept:]
    return text, ""


def _openings(names: Collection[str]) -> tuple[str, ...]:
    """How an answer begins, its space left out, if it is nothing but calls."""
    known = [key % name for name in names for key in _NAMED]
    objects = ["{" + key for key in (*known, *_NAMELESS)] if names else []
    bare = [*objects, *("[" + one for one in objects), *(f"[{name}(" for name in names)]
    return tuple(fence + one for fence in ("", "```", "```json", "```tool_call") for one in bare)


def _joined(parts: Sequence[ModelPart]) -> list[ModelPart]:
    """The parts, with neighbours of one kind put together."""
    joined: list[ModelPart] = []
    for part in parts:
        match (joined[-1] if joined else None, part):
            case (TextDelta(before), TextDelta(text)):
                joined[-1] = TextDelta(before + text)
            case (ReasoningDelta(before), ReasoningDelta(text)):
                joined[-1] = ReasoningDelta(before + text)
            case _:
                joined.append(part)
    return joined
