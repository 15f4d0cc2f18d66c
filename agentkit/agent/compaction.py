"""Make a conversation fit a model's window before it is full: old tool results are shortened
first, then old turns become a summary that keeps its citations, then long results are cut.

The question being answered is never touched, and what is left out is said in its place.

Keep a run's prompt within its model's window, compacting before it is full.

The window is the backend's own word; where nobody knows it, nothing is cut until a server says
that a prompt was too long, and then its size is taken as the window.

The messages of the next request, with their size in tokens, growing at the end only.

Sizes are the server's own where it reports them; what was added since is counted. While nothing
is compacted each request is the one before it and something more, so that a server's prefix cache
holds.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from agentkit.agent.limits import Bill
from agentkit.agent.prompts import SUMMARISE, SUMMARY_HEADING
from agentkit.backends.base import Model, Options
from agentkit.documents import Passage
from agentkit.errors import ModelError
from agentkit.events import Compacted, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.text.terms import sentences
from agentkit.tools.tool import Tool

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
    return count(message.prompt_text) + calls + images * _IMAGE + _AROUND


def tokens_of_all(messages: Sequence[Message], count: CountTokens) -> int:
    """Tokens of several messages."""
    return sum(tokens_of(message, count) for message in messages)


def written_call(call: ToolCall) -> str:
    """A call as text, to be measured or compared."""
    return f"{call.name} {call.arguments}"


def _bytes_of(message: Message) -> int:
    images = 0 if isinstance(message.content, str) else len(message.content)
    calls = sum(4 * len(written_call(call)) for call in message.tool_calls)
    return 4 * len(message.prompt_text) + calls + images * _IMAGE + _AROUND


_KEPT_OF_OLD = 200
"""Characters kept of an old result, or of each passage in it."""
_KEPT_OF_NEW = 1200
_ELLIPSIS = " …"
_LEFT_OUT = "\n[… {count} characters left out to fit the model's window; call again to see them]"

Summarise = Callable[[Sequence[Message]], Awaitable[str]]
"""A few sentences in the place of old turns, their citations kept."""


async def compacted(
    messages: Sequence[Message],
    target: int,
    count: CountTokens,
    summarise: Summarise,
    model: str = "",
) -> list[Message]:
    """The messages, shortened to at most `target` tokens. Raises ModelError (too_long) where even
    the question and its newest results do not fit."""
    system, old, new = _parted(messages)

    def fits() -> bool:
        return tokens_of_all([*system, *old, *new], count) <= target

    old = [shortened(message, _KEPT_OF_OLD) for message in old]
    if not fits() and old:
        system, old = [_with_summary(system, await summarise(old))], []
    for at in range(len(new)):
        if fits():
            break
        new[at] = shortened(new[at], _KEPT_OF_NEW)
    for at in range(len(new) - 1):
        if fits():
            break
        new[at] = shortened(new[at], _KEPT_OF_OLD)
    if not fits():
        size = tokens_of_all([*system, *old, *new], count)
        raise ModelError(
            f"The question and what belongs to it take {size} tokens, and {model or 'the model'} "
            f"has room for {target}. Ask for less at once, or choose a model or a server setting "
            "with a larger context.",
            model,
            "too_long",
        )
    return [*system, *old, *new]


def shortened(message: Message, kept: int) -> Message:
    """A tool's result without most of its text, its passages with their ids still named; any
    other message as it is."""
    if message.role != "tool" or len(message.prompt_text) <= kept:
        return message
    passages = tuple(_shortened(passage, kept) for passage in message.passages)
    short = replace(message, content=_beginning(message.text, kept), passages=passages)
    return short if len(short.prompt_text) < len(message.prompt_text) else message


def _shortened(passage: Passage, kept: int) -> Passage:
    """The beginning of a passage, still an exact range of its document."""
    chunk = passage.chunk
    text = _beginning(chunk.text, kept).removesuffix(_ELLIPSIS)
    return replace(passage, chunk=replace(chunk, text=text, end=chunk.start + len(text)))


def cut_to(text: str, room: int, count: CountTokens) -> str:
    """The beginning of a result that has at most about `room` tokens, and a line that says how
    much is left out."""
    if 4 * len(text) <= room or count(text) <= room:
        return text
    kept = max(200, int(len(text) * room / count(text)) - 100)
    return text[:kept] + _LEFT_OUT.format(count=len(text) - kept)


def plain_summary(messages: Sequence[Message]) -> str:
    """Each old turn's first sentence: what stands in where no model can summarise."""
    said = [(m.role, m.text.strip()) for m in messages if m.role in ("user", "assistant")]
    return "\n".join(f"{role}: {_beginning(text, _KEPT_OF_OLD)}" for role, text in said if text)


def _parted(
    messages: Sequence[Message],
) -> tuple[list[Message], list[Message], list[Message]]:
    """The system messages, the old turns, and the newest question with all after it."""
    start = next((at for at, m in enumerate(messages) if m.role != "system"), len(messages))
    asked = [at for at, m in enumerate(messages) if m.role == "user"]
    last = asked[-1] if asked else start
    return list(messages[:start]), list(messages[start:last]), list(messages[last:])


def _with_summary(system: Sequence[Message], summary: str) -> Message:
    """One system message: the instructions, then the summary in the place of any earlier one."""
    said = "\n\n".join(message.text for message in system)
    instructions, _, before = said.partition(SUMMARY_HEADING)
    parts = [instructions.strip(), f"{SUMMARY_HEADING}\n{before.strip()}\n{summary}".strip()]
    return Message("system", "\n\n".join(parts))


def _beginning(text: str, kept: int) -> str:
    """Whole sentences up to a length; the bare beginning where the first is longer."""
    if len(text) <= kept:
        return text
    ends = [end for _, end in sentences(text[: kept + 1]) if end <= kept]
    return text[: ends[-1] if ends and ends[-1] > kept // 3 else kept].rstrip() + _ELLIPSIS


_ANSWER = 0.25
"""The share of the window that is left free for the answer, at most MOST_FOR_ANSWER tokens."""
MOST_FOR_ANSWER = 4096
_AFTER = 0.6
"""How full the window is after a compaction, so that the next one is some turns away."""
_RESULT = 0.5
"""The share of what is free that one tool result may take."""
_LEARNED = 0.8
_SUMMARY_TOKENS = 600


class Window:
    """The room of one run. Summaries are on its bill."""

    def __init__(
        self, model: Model, options: Options = Options(), bill: Bill | None = None
    ) -> None:
        self._model = model
        self._options = options
        self._size: int | None = None
        self._asked = False
        self._bill = bill or Bill()

    @property
    def size(self) -> int | None:
        """The whole window, as far as is known by now."""
        return self._size

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Prompt:
        """A prompt that is measured by the model's tokenizer."""
        described = sum(
            len(tool.description) + len(json.dumps(dict(tool.parameters), default=str))
            for tool in tools
        )
        return Prompt(messages, self._model.count_tokens, overhead=described // 3)

    async def fit(self, prompt: Prompt) -> Compacted | None:
        """Compact the prompt where the answer would not fit beside it. Raises ModelError."""
        room = await self._room()
        if room is None or prompt.at_most <= room:
            return None
        before = prompt.tokens
        if before <= room:
            return None
        return await self._compact(prompt, before, room)

    async def free(self, prompt: Prompt) -> int | None:
        """How many tokens one tool result may have; None where nobody knows the window."""
        room = await self._room()
        if room is None:
            return None
        taken = prompt.at_most if 2 * prompt.at_most <= room else prompt.tokens
        return max(200, int(_RESULT * (room - taken)))

    async def too_long(self, prompt: Prompt) -> Compacted:
        """A server has refused the prompt: the window is smaller than was known."""
        before = prompt.tokens
        self._size = int(_LEARNED * before)
        return await self._compact(prompt, before, self._size)

    async def _compact(self, prompt: Prompt, before: int, room: int) -> Compacted:
        """Sizes are ours here; where the server counts more, the room shrinks in proportion."""
        own = max(1, prompt.counted_messages)
        scale = own / max(own, before)
        count, name = self._model.count_tokens, self._model.name
        try:
            target = int(_AFTER * room * scale)
            messages = await compacted(prompt.messages, target, count, self._summary, name)
        except ModelError:
            messages = await compacted(
                prompt.messages, int(room * scale), count, self._summary, name
            )
        prompt.replace(messages)
        return Compacted(before, prompt.tokens)

    async def _room(self) -> int | None:
        """Tokens that a prompt may have."""
        if not self._asked:
            self._size, self._asked = await self._model.context_window(), True
        if self._size is None:
            return None
        answer = self._options.max_tokens or MOST_FOR_ANSWER
        return self._size - min(answer, int(_ANSWER * self._size))

    async def _summary(self, old: Sequence[Message]) -> str:
        """The model's own summary; the turns' first sentences where it gives none."""
        if not (await self._model.capabilities()).instructions:
            return plain_summary(old)
        told = "\n\n".join(f"{m.role}: {m.text}" for m in old if m.text)
        most = 2 * (self._size or 8192)
        asked = [Message("system", SUMMARISE), Message("user", told[-most:])]
        try:
            said = await self._said(asked)
        except ModelError:
            said = ""
        return said.strip() or plain_summary(old)

    async def _said(self, messages: Sequence[Message]) -> str:
        pieces: list[str] = []
        options = Options(max_tokens=_SUMMARY_TOKENS, temperature=0.0, extra=self._options.extra)
        async for part in self._model.stream(messages, (), options):
            if isinstance(part, TextDelta):
                pieces.append(part.text)
            elif isinstance(part, Usage):
                self._bill.charge(part, self._model.name)
        return "".join(pieces)
