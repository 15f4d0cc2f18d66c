"""One turn of a model: its reply as it is gathered, and whether it repeats earlier calls."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from agentkit.backends.base import Model
from agentkit.backends.text_pieces import with_stalls
from agentkit.backends.text_tool_calls import CALL_MARKERS
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, Retried, TextDelta
from agentkit.knowledge.citations.markers import masked
from agentkit.knowledge.tools import SEARCH
from agentkit.messages import Message, ToolCall, Usage
from agentkit.text.patterns import lazy_pattern
from agentkit.tools.repair import join_surrogates


@dataclass
class Turn:
    """The reply to one request. `taken` are the ids of earlier calls of the session."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    usage: Usage = Usage()
    done: Done | None = None
    taken: set[str] = field(default_factory=set)

    @property
    def message(self) -> Message:
        data = self.done.provider_data if self.done else None
        text = join_surrogates("".join(self.text))
        return Message("assistant", text, tuple(self.calls), provider_data=data)

    def call(self, call: ToolCall) -> None:
        """Add a call with an id of its own, since decisions and results refer to calls by id: a
        decision on one call must never be taken for one on another. A slash separates the ids of
        sub-agents' calls."""
        given = call.id.replace("/", "-")
        number, id_ = 2, given or "call-1"
        while id_ in self.taken:
            id_, number = f"{given or 'call'}-{number}", number + 1
        self.taken.add(id_)
        self.calls.append(call if id_ == call.id else replace(call, id=id_))

    @property
    def is_cut(self) -> bool:
        """Whether the last call's arguments were cut by the token limit."""
        if not self.calls or not self.done or self.done.stop_reason != "length":
            return False
        return isinstance(self.calls[-1].arguments, str)

    def take_out_thinking(self) -> bool:
        """Move the thinking that a server left in the text to the reasoning; returns whether there
        was any."""
        if not self.text:
            return False
        written = "".join(self.text)
        text, thought = without_thinking(written)
        if text == written:
            return False
        self.text, self.reasoning = [text], [*self.reasoning, thought]
        return True

    @property
    def fault(self) -> str:
        """What is wrong with the reply: "" if it has text without a call in it, or makes calls."""
        if self.calls:
            return ""
        text = "".join(self.text)
        if not text.strip():
            return "empty"
        marks = [mark for mark in CALL_MARKERS if mark in text]
        prose = masked(text) if marks else ""
        return "unreadable" if any(mark in prose for mark in marks) else ""

    @property
    def is_usable(self) -> bool:
        """Whether there is an answer, or calls that can be parsed."""
        return not self.fault and not any(isinstance(call.arguments, str) for call in self.calls)


_OPEN = r"(?:<(?:think(?:ing)?|thought|reason(?:ing)?|seed:think)>|\[THINK\]|◁think▷)"
_CLOSE = r"(?:</(?:think(?:ing)?|thought|reason(?:ing)?|seed:think)>|\[/THINK\]|◁/think▷)"
_THOUGHT = lazy_pattern(
    rf"{_OPEN}(?:(?!{_OPEN}).)*?{_CLOSE}\s*|^[ \t]*{_OPEN}.*\Z", re.DOTALL | re.MULTILINE
)
_LAST_CLOSE = lazy_pattern(rf"\A.*{_CLOSE}\s*", re.DOTALL)


def without_thinking(text: str) -> tuple[str, str]:
    """The text without the thinking that a server left in it, and that thinking: what stands in
    tags, after a tag that is not closed, and before one that was never opened. Tags in code are
    kept."""
    if not re.search(rf"{_OPEN}|{_CLOSE}", text):
        return text, ""
    prose = masked(text)
    thoughts: list[str] = []
    for pattern in (_THOUGHT, _LAST_CLOSE):
        for match in [*pattern.finditer(prose)][::-1]:
            thoughts.insert(0, text[match.start() : match.end()])
            text = text[: match.start()] + text[match.end() :]
            prose = prose[: match.start()] + prose[match.end() :]
    return text, re.sub(rf"{_OPEN}|{_CLOSE}", "", "\n".join(thoughts)).strip()


_THINKING_MODEL = lazy_pattern(
    r"(?<![a-z])(?:r1|qwq|z1|thinking|think|reasoner|reasoning|magistral)(?![a-z])", re.IGNORECASE
)


def may_think_untagged(model: Model) -> bool:
    """Whether a model may write thinking before an end tag alone, by its name or as earlier replies
    showed."""
    return model.learned.thinks_untagged or bool(_THINKING_MODEL.search(model.name))


async def hold_back_thinking(
    parts: AsyncGenerator[ModelPart, None], patience: float = 5.0
) -> AsyncGenerator[ModelPart, None]:
    """The parts of a reply with its first text held back until the end tag of thinking, a part of
    another kind, the end, or `patience` seconds without a part."""
    held, other = "", None
    async with aclosing(parts):
        coming = with_stalls(parts, lambda: bool(held), patience)
        try:
            async for part in coming:
                if isinstance(part, TextDelta):
                    held += part.text
                    if re.search(_CLOSE, held) and without_thinking(held)[0].strip():
                        break
                elif not isinstance(part, Usage | Retried):
                    other = part
                    break
                else:
                    yield part
        except ModelError:
            if held:
                yield TextDelta(held)
            raise
        for found in (*_split_thinking(held), *([other] if other else [])):
            held = ""
            yield found
        async for part in coming:
            if part is not None:
                yield part


def _split_thinking(text: str) -> list[TextDelta | ReasoningDelta]:
    """The thinking before an end tag, and the text; "" is left out."""
    if not re.search(_CLOSE, text):
        return [TextDelta(text)] if text else []
    text, thought = without_thinking(text)
    return [ReasoningDelta(thought), *([TextDelta(text.lstrip())] if text.strip() else [])]


REPEATED = (
    "\n(The same call gave the same result before. Do not repeat it: answer, or try another.)"
)
REPEATED_SEARCH = (
    "\n(The same search was made before, word for word. Do not repeat it: search with other words, "
    "or in the language of the documents, read a document, or answer.)"
)
_ENCODER = json.JSONEncoder(sort_keys=True, default=str)
_MAX_REPEATED_TURNS = 3
"""After so many turns of only repeated calls, no more tools are offered."""


class RepeatDetector:
    """Detects a model that repeats the same calls with the same results, or the same searches."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._idle_turns = 0

    @property
    def is_stuck(self) -> bool:
        """Whether several turns in a row only repeated earlier calls."""
        return self._idle_turns >= _MAX_REPEATED_TURNS

    def record(self, calls: Sequence[ToolCall], results: Sequence[Message]) -> list[str]:
        """Record a turn; returns for each call a hint to the model, "" for one that is new."""
        hints = []
        for call, result in zip(calls, results, strict=True):
            key: tuple[object, ...] = (_call_text(call), result.prompt_text)
            if is_search := call.name == SEARCH and not result.failed:
                key = (" ".join(_call_text(call).casefold().split()),)
            repeated = REPEATED_SEARCH if is_search else REPEATED
            hints.append(repeated if self._seen[key] else "")
            self._seen[key] += 1
        self._idle_turns = self._idle_turns + 1 if hints and all(hints) else 0
        return hints


def _call_text(call: ToolCall) -> str:
    if isinstance(call.arguments, str):
        return f"{call.name} {call.arguments}"
    return f"{call.name} {_ENCODER.encode(dict(call.arguments))}"
