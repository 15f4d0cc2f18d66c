"""Assemble a chat completion from its chunks: text at once, tool calls when they are complete.

Servers differ in where text and reasoning stand, leave out the index or the id of a call, give one
index to several, repeat its name, send it whole or only at the end: all are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from agentkit.backends.base import new_call_id
from agentkit.backends.faults import ServerError, is_fault, read_fault
from agentkit.backends.openai.partial_calls import PartialCalls
from agentkit.backends.openai.provider_fields import ProviderFields
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import ProviderData, ToolCall, Usage

StopReason = Literal["stop", "length", "tool_calls", "refused", "broken"]
"""Why a completion ended; "broken" where the server gave up."""

_STOP_REASONS: tuple[tuple[StopReason, re.Pattern[str]], ...] = (
    ("tool_calls", re.compile(r"(tool|function)_?(call|use)s?")),
    ("broken", re.compile(r".*(malformed|call_filter|repetition|unexpected|too_many).*")),
    (
        "refused",
        re.compile(
            r".*(content_?filter|safety|recitation|block_?list|blacklist|prohibited|spii|sensitive"
            r"|refus|guardrail|policy|toxic|moderation|censor).*|language"
        ),
    ),
    ("length", re.compile(r".*(length|max_\w*tokens|token_?limit|context_window|max_seq).*|limit")),
    (
        "stop",
        re.compile(
            r"stop|eos\w*|eo[tm]|end|end_?turn|stop_?(sequence|token|word|str|string)|complete"
            r"|completed|done|finished|normal|success"
        ),
    ),
)
_REASONING_KEYS = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thought")
_NOT_TEXT = ("reference", "image", "image_url", "audio", "tool_use", "tool_call", "file")


def stop_reason(finish_reason: str) -> StopReason:
    """The stop reason of a server's finish reason. What is unknown is no regular end."""
    folded = finish_reason.strip().lower().replace("-", "_").replace(" ", "_")
    folded = folded.removeprefix("finish_reason_")
    return next((name for name, known in _STOP_REASONS if known.fullmatch(folded)), "broken")


class CompletionStream:
    """Takes the chunks of one completion, as JSON. After the last, `calls`, `usage` and
    `stop_reason` hold what was not yielded; `finish_reason` is the server's own, "" where it sent
    none, and `has_choices` tells whether it sent any choice. `names` are the tools that the model
    can call, which tell a name in pieces from two names. What goes back to the `provider` is in
    `provider_data`, and in that of each call."""

    def __init__(self, names: Collection[str] = (), provider: str = "") -> None:
        self._provider = provider
        self._fields = ProviderFields()
        self._calls = PartialCalls(names)
        self._is_refused = False
        self._is_whole = False
        self._pieces: dict[str, list[str]] = {"content": [], "reasoning": []}
        self._written_bytes = 0
        self.finish_reason = ""
        self.usage: Usage | None = None
        self.has_choices = False

    @property
    def is_finished(self) -> bool:
        return bool(self.finish_reason) or self._is_whole

    @property
    def estimated_tokens(self) -> int:
        """An estimate of the tokens of text and thinking, for servers that count none."""
        return (self._written_bytes + 2) // 3

    @property
    def calls(self) -> list[ToolCall]:
        return [
            ToolCall(
                call.id or new_call_id(),
                call.name,
                call.parsed_arguments,
                provider_data={self._provider: call.extra} if call.extra else None,
            )
            for call in self._calls.complete()
        ]

    @property
    def provider_data(self) -> ProviderData | None:
        return {self._provider: self._fields.values} if self._fields.values else None

    @property
    def stop_reason(self) -> StopReason:
        """Some servers send "stop" together with tool calls, others "tool_calls" without one."""
        if self._is_refused:
            return "refused"
        reason = stop_reason(self.finish_reason) if self.finish_reason else "stop"
        if reason in ("stop", "tool_calls"):
            return "tool_calls" if self._calls.complete() else "stop"
        return reason

    def feed(self, chunk: Any) -> Iterator[ModelPart]:
        """Yield the text and the thinking in a chunk. Raises ServerError for one that reports an
        error."""
        if is_fault(chunk):
            raise ServerError(read_fault(chunk))
        if not isinstance(chunk, Mapping):
            return
        choices = chunk.get("choices")
        choices = (
            [c for c in choices if isinstance(c, Mapping)] if isinstance(choices, list) else []
        )
        self._read_usage(chunk, choices)
        for choice in choices:
            self.has_choices = True
            for part in self._feed_choice(choice):
                self._written_bytes += len(part.text.encode("utf-8", "replace"))
                yield part

    def _read_usage(self, chunk: Mapping[str, Any], choices: list[Mapping[str, Any]]) -> None:
        """Groq reports usage in `x_groq`, Moonshot in a choice; of several reports the last
        counts."""
        places = [chunk.get("usage"), (chunk.get("x_groq") or {}).get("usage")]
        places += [choice.get("usage") for choice in choices]
        for usage in places:
            if not isinstance(usage, Mapping):
                continue
            read, written = _count(usage, "prompt", "input"), _count(usage, "completion", "output")
            if read or written or self.usage is None:
                self.usage = Usage(read, written)

    def _feed_choice(self, choice: Mapping[str, Any]) -> Iterator[TextDelta | ReasoningDelta]:
        if reason := choice.get("finish_reason") or choice.get("stop_reason"):
            self.finish_reason = str(reason)
        delta, message = choice.get("delta"), choice.get("message")
        if isinstance(delta, Mapping):
            yield from self._feed_message(delta, is_whole=False)
        if isinstance(message, Mapping):
            self._is_whole = True
            yield from self._feed_message(message, is_whole=True)
        if isinstance(text := choice.get("text"), str) and not delta and not message:
            yield from self._new_text("content", text, is_whole=False)

    def _feed_message(
        self, message: Mapping[str, Any], is_whole: bool
    ) -> Iterator[TextDelta | ReasoningDelta]:
        """A delta, or a whole message; of the latter what the deltas did not say already."""
        self._fields.feed(message, is_whole)
        content = list(_content_parts(message.get("content")))
        reasoning = _reasoning(message) + "".join(t for kind, t in content if kind == "reasoning")
        yield from self._new_text("reasoning", reasoning, is_whole)
        text = "".join(text for kind, text in content if kind != "reasoning")
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            text += refusal
            self._is_refused = True
        self._is_refused = self._is_refused or any(kind == "refusal" for kind, _ in content)
        yield from self._new_text("content", text, is_whole)
        calls = message.get("tool_calls") or message.get("function_call")
        if calls and not (is_whole and self._calls.complete()):
            self._calls.feed(calls if isinstance(calls, list) else [calls])

    def _new_text(
        self, kind: str, text: str, is_whole: bool
    ) -> Iterator[TextDelta | ReasoningDelta]:
        pieces = self._pieces[kind]
        if is_whole and pieces:
            before = "".join(pieces)
            text = text.removeprefix(before) if text.startswith(before) else ""
        if text:
            pieces.append(text)
            yield (TextDelta if kind == "content" else ReasoningDelta)(text)


def _count(usage: Mapping[str, Any], *kinds: str) -> int:
    counts = (usage.get(f"{kind}_tokens") for kind in kinds)
    return next((int(n) for n in counts if isinstance(n, (int, float)) and n > 0), 0)


def _reasoning(message: Mapping[str, Any]) -> str:
    """The reasoning of a message. Some servers send it in two fields at once."""
    for key in _REASONING_KEYS:
        if text := "".join(text for _, text in _content_parts(message.get(key))):
            return text
    details = message.get("reasoning_details")  # OpenRouter.
    return "".join(
        str(detail.get("text") or detail.get("summary") or "")
        for detail in (details if isinstance(details, list) else [])
        if isinstance(detail, Mapping)
    )


def _content_parts(content: Any) -> Iterator[tuple[str, str]]:
    """The texts of a content with their kinds: "text", "reasoning" or "refusal". Content is text,
    a part, or a list of them; parts nest (Mistral's thinking)."""
    if isinstance(content, str):
        if content:
            yield "text", content
    elif isinstance(content, list):
        for item in content:
            yield from _content_parts(item)
    elif isinstance(content, Mapping):
        yield from _part_texts(content)


def _part_texts(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = str(part.get("type") or "text")
    if kind in _NOT_TEXT:
        return
    if kind == "refusal":
        yield "refusal", str(part.get("refusal") or "")
        return
    thinks = any(word in kind for word in ("think", "reason", "thought"))
    keys = (
        ("thinking", "reasoning", "thought", "summary", "text", "content")
        if thinks
        else ("text", "content", "output_text")
    )
    for key in keys:
        if texts := list(_content_parts(part.get(key))):
            yield from (("reasoning" if thinks else found, text) for found, text in texts)
            return
