"""Tell text, thinking and tool calls apart in what a model writes, piece by piece.

However the text is cut into pieces, the result is the same. Where no tools are offered nothing is
a call, and what cannot be read as a call is given back as text.

Read a finished block of text as tool calls, in the formats of the model families. What is no
call in a format gives None; nothing is repaired and nothing raises.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.backends.base import new_call_id, read_arguments
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import ToolCall

Calls = list[ToolCall] | None

_NAME_KEYS = ("name", "tool", "tool_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input")
_END_TOKENS = ("<|eom_id|>", "<|eot_id|>", "<|im_end|>", "</s>", "<｜end▁of▁sentence｜>")
_MISTRAL_CALL = re.compile(
    r"(?P<name>[\w.\-]+)\s*(?:\[CALL_ID\](?P<id>[\w\-]+))?\s*(?:\[ARGS\])?\s*(?=\{)"
)
_DEEPSEEK_CALL = re.compile(
    r"<｜tool▁call▁begin｜>(?P<head>.*?)<｜tool▁sep｜>(?P<tail>.*?)(?:<｜tool▁call▁end｜>|$)",
    re.DOTALL,
)
_FENCE = re.compile(r"```(?:json|tool_call|tool_code|python)?\s*(?P<body>.*?)\s*```", re.DOTALL)
_WORDS = {"true": True, "false": False, "null": None}


def without_end_tokens(text: str) -> str:
    """The text without the tokens that a model's turn may end with."""
    text = text.strip()
    while token := next((token for token in _END_TOKENS if text.endswith(token)), ""):
        text = text.removesuffix(token).rstrip()
    return text


def json_calls(text: str) -> Calls:
    """One or more JSON objects with a name and arguments, or one list of them."""
    values = _json_values(without_end_tokens(text))
    if values is not None and len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    return _all([_call_of(value) for value in values or []])


def pythonic_calls(text: str) -> Calls:
    """`[f(a=1), g(b="x")]` or `f.call(a=1)`: keyword arguments with literal values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(without_end_tokens(text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes = body.elts if isinstance(body, ast.List) else [body]
    return _all([_pythonic_call(node) for node in nodes])


def llama_calls(text: str) -> Calls:
    """What follows `<|python_tag|>`: JSON, or a call written as in Python."""
    return json_calls(text) or pythonic_calls(text)


def mistral_calls(text: str) -> Calls:
    """What follows `[TOOL_CALLS]`: a JSON list, or `name[ARGS]{...}` again and again."""
    text = without_end_tokens(text)
    if text.startswith(("[{", "{")):
        return json_calls(text)
    calls: list[ToolCall | None] = []
    while text:
        call, text = _mistral_call(text)
        if call is None:
            return None
        calls.append(call)
    return _all(calls)


def deepseek_calls(text: str) -> Calls:
    """What stands between DeepSeek's markers for the beginning and the end of the calls."""
    return _all([_deepseek_call(match) for match in _DEEPSEEK_CALL.finditer(text)])


def answer_calls(text: str, names: Collection[str]) -> Calls:
    """A whole answer that is nothing but calls of known tools, bare or in one fence."""
    text = without_end_tokens(text)
    if fence := _FENCE.fullmatch(text):
        text = fence["body"]
    calls = llama_calls(text)
    if calls is None or any(call.name not in names for call in calls):
        return None
    return calls


def _all(calls: list[ToolCall | None]) -> Calls:
    found = [call for call in calls if call is not None]
    return found if found and len(found) == len(calls) else None


def _json_values(text: str) -> list[Any] | None:
    decoder = json.JSONDecoder(strict=False)
    values, at = [], 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        values.append(value)
        while at < len(text) and text[at] in " \t\r\n;,":
            at += 1
    return values


def _call_of(value: Any) -> ToolCall | None:
    if not isinstance(value, Mapping):
        return None
    inner = value.get("function")
    if isinstance(inner, Mapping):
        value = {"id": value.get("id"), **inner}
    name = next((value[key] for key in _NAME_KEYS if value.get(key)), inner)
    if not isinstance(name, str) or not name:
        return None
    given: Any = next((value[key] for key in _ARGUMENT_KEYS if key in value), {})
    return ToolCall(str(value.get("id") or new_call_id()), name, _arguments(given))


def _arguments(given: Any) -> Mapping[str, Any] | str:
    if given is None:
        return {}
    if isinstance(given, dict):
        return given
    return read_arguments(given) if isinstance(given, str) else json.dumps(given)


def _pythonic_call(node: ast.expr) -> ToolCall | None:
    if not isinstance(node, ast.Call) or node.args:
        return None
    name = ast.unparse(node.func).removesuffix(".call")
    if not re.fullmatch(r"[\w.\-]+", name):
        return None
    try:
        arguments = {word.arg: _literal(word.value) for word in node.keywords if word.arg}
    except (ValueError, TypeError, RecursionError):
        return None
    complete = len(arguments) == len(node.keywords)
    return ToolCall(new_call_id(), name, arguments) if complete else None


def _literal(node: ast.expr | None) -> Any:
    """The value of a literal; JSON's true, false and null count as one."""
    match node:
        case ast.Name(name) if name in _WORDS:
            return _WORDS[name]
        case ast.List(items) | ast.Tuple(items):
            return [_literal(item) for item in items]
        case ast.Dict(keys, values):
            return {str(_literal(k)): _literal(v) for k, v in zip(keys, values, strict=True)}
        case ast.expr():
            value = ast.literal_eval(node)
            if value is None or isinstance(value, (str, int, float)):
                return value
    raise ValueError("no literal that JSON knows")


def _mistral_call(text: str) -> tuple[ToolCall | None, str]:
    text = text.removeprefix("[TOOL_CALLS]").lstrip()
    head = _MISTRAL_CALL.match(text)
    if head is None:
        return None, ""
    try:
        arguments, end = json.JSONDecoder(strict=False).raw_decode(text, head.end())
    except (ValueError, RecursionError):
        return None, ""
    call = ToolCall(head["id"] or new_call_id(), head["name"], arguments)
    return call, text[end:].lstrip(" \t\r\n,;")


def _deepseek_call(match: re.Match[str]) -> ToolCall | None:
    head, tail = match["head"].strip(), match["tail"].strip()
    if head == "function":
        name, _, tail = (part.strip() for part in tail.partition("\n"))
    else:
        name = head
    if fence := _FENCE.fullmatch(tail):
        tail = fence["body"]
    arguments = read_arguments(tail)
    if not name or isinstance(arguments, str):
        return None
    return ToolCall(new_call_id(), name, arguments)


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
