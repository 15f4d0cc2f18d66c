"""Find tool calls and thinking that a model wrote as text.

Many servers and local models give calls in the text, in the format of the model's family, and
thinking between tags. `parse_text_calls` turns both into parts of their own for every backend,
however the text is cut into pieces. Without tools nothing is a call. What cannot be parsed as a
call stays text; nothing is repaired here.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from agentkit.backends.base import Model, Options, new_call_id, offered_tools, parse_arguments
from agentkit.errors import FaultKind, ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, Retried, TextDelta
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

Calls = list[ToolCall] | None

THINK, END_THINK = "<think>", "</think>"
CALL, END_CALL = "<tool_call>", "</tool_call>"

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
_JSON_WORDS = {"true": True, "false": False, "null": None}


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
        return parse_text_calls(self.request(messages, tools, options), tools, options)

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
) -> AsyncGenerator[ModelPart, None]:
    """Yield an answer's parts with calls and thinking taken out of its text.

    Calls found in the text come just before Done, unless the server reported calls itself: then
    the text repeats them. Text that was held back is yielded before a ModelError is raised.
    A backend whose prompt already opens a marker (THINK, CALL) yields it as its first text.
    """
    is_shaped = options.schema is not None and options.tool_choice in ("auto", "none")
    callable_tools = [] if is_shaped else offered_tools(tools, options.tool_choice)
    parser = TextCallParser([tool.name for tool in callable_tools])
    async with aclosing(parts):
        try:
            async for part in parts:
                for found in parser.feed(part):
                    yield found
        except ModelError:
            for found in parser.flush():
                yield found
            raise
    for found in parser.flush():
        yield found


def _strip_end_tokens(text: str) -> str:
    text = text.strip()
    while token := next((token for token in _END_TOKENS if text.endswith(token)), ""):
        text = text.removesuffix(token).rstrip()
    return text


def _parse_json_calls(text: str) -> Calls:
    """Parse one or more JSON objects with a name and arguments, or one list of them."""
    values = _json_values(_strip_end_tokens(text))
    if values is not None and len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    return _all_or_none([_call_from_json(value) for value in values or []])


def _parse_pythonic_calls(text: str) -> Calls:
    """Parse `[f(a=1), g(b="x")]` or `f.call(a=1)`: keyword arguments with literal values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(_strip_end_tokens(text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes = body.elts if isinstance(body, ast.List) else [body]
    return _all_or_none([_pythonic_call(node) for node in nodes])


def _parse_llama_calls(text: str) -> Calls:
    """Parse what follows `<|python_tag|>`: JSON, or a call in Python's syntax."""
    return _parse_json_calls(text) or _parse_pythonic_calls(text)


def _parse_mistral_calls(text: str) -> Calls:
    """Parse what follows `[TOOL_CALLS]`: a JSON list, or `name[ARGS]{...}`, repeated."""
    text = _strip_end_tokens(text)
    if text.startswith(("[{", "{")):
        return _parse_json_calls(text)
    calls: list[ToolCall | None] = []
    while text:
        call, text = _mistral_call(text)
        if call is None:
            return None
        calls.append(call)
    return _all_or_none(calls)


def _parse_deepseek_calls(text: str) -> Calls:
    """Parse what stands between DeepSeek's markers for the begin and the end of the calls."""
    return _all_or_none([_deepseek_call(match) for match in _DEEPSEEK_CALL.finditer(text)])


def _parse_bare_calls(text: str, names: Collection[str]) -> Calls:
    """Parse a whole answer that consists of calls of known tools, bare or in one fence."""
    text = _strip_end_tokens(text)
    if fence := _FENCE.fullmatch(text):
        text = fence["body"]
    calls = _parse_llama_calls(text)
    if calls is None or any(call.name not in names for call in calls):
        return None
    return calls


def _all_or_none(calls: list[ToolCall | None]) -> Calls:
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


def _call_from_json(value: Any) -> ToolCall | None:
    if not isinstance(value, Mapping):
        return None
    inner = value.get("function")
    if isinstance(inner, Mapping):
        value = {"id": value.get("id"), **inner}
    name = next((value[key] for key in _NAME_KEYS if value.get(key)), inner)
    if not isinstance(name, str) or not name:
        return None
    arguments: Any = next((value[key] for key in _ARGUMENT_KEYS if key in value), {})
    if isinstance(arguments, str):
        arguments = parse_arguments(arguments)
    elif not isinstance(arguments, dict):
        arguments = {} if arguments is None else json.dumps(arguments)
    return ToolCall(str(value.get("id") or new_call_id()), name, arguments)


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
    """Evaluate a literal; JSON's true, false and null count as literals. Raises ValueError."""
    match node:
        case ast.Name(name) if name in _JSON_WORDS:
            return _JSON_WORDS[name]
        case ast.List(items) | ast.Tuple(items):
            return [_literal(item) for item in items]
        case ast.Dict(keys, values):
            return {str(_literal(k)): _literal(v) for k, v in zip(keys, values, strict=True)}
        case ast.expr():
            value = ast.literal_eval(node)
            if value is None or isinstance(value, (str, int, float)):
                return value
    raise ValueError("not a literal of a JSON type")


def _mistral_call(text: str) -> tuple[ToolCall | None, str]:
    """Return the first call and the text after it."""
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
    arguments = parse_arguments(tail)
    if not name or isinstance(arguments, str):
        return None
    return ToolCall(new_call_id(), name, arguments)


@dataclass(frozen=True, slots=True)
class _Block:
    """A format of calls in the text: between two markers, or to the end where `end` is empty."""

    begin: str
    end: str
    parse: Callable[[str], Calls]


_BLOCKS = (
    _Block(CALL, END_CALL, _parse_json_calls),
    _Block("[TOOL_CALLS]", "", _parse_mistral_calls),
    _Block("<|python_tag|>", "", _parse_llama_calls),
    _Block("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", _parse_deepseek_calls),
)

CALL_MARKERS = (
    *(marker for block in _BLOCKS for marker in (block.begin, block.end) if marker),
    *("[ARGS]", "[CALL_ID]"),
    *("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"),
)
MARKERS = (*CALL_MARKERS, THINK, END_THINK)
"""What a tokenizer must leave in the text for calls and thinking to be found."""

LONGEST_OPENING = 400
"""Characters within which an answer must begin like a call to be held back."""

_NAMED = (
    *('"name":"%s"', '"tool":"%s"', '"tool_name":"%s"', '"function":"%s"'),
    *('"function":{"name":"%s"', '"type":"function","name":"%s"'),
    '"type":"function","function":{"name":"%s"',
)
_NAMELESS = ('"arguments":', '"parameters":', '"id":"call')


class TextCallParser:
    """Takes an answer's parts one by one, and returns what is certain. `names` are the tools that
    the text may call."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = frozenset(names)
        self._openings = _bare_openings(self._names)
        self._blocks = _BLOCKS if names else ()
        self._block = _BLOCKS[0]
        self._held = ""
        self._thought = _Trimmer(trims_start=True)
        self._answer = _Trimmer(trims_start=False)
        self._calls: list[ToolCall] = []
        self._has_native_calls = False
        self._state: Callable[[bool], list[ModelPart]] = self._at_start

    def feed(self, part: ModelPart) -> list[ModelPart]:
        match part:
            case TextDelta(text):
                self._held += text
                return self._run(ended=False)
            case ReasoningDelta() | Retried():
                return [part]
            case ToolCall():
                self._has_native_calls = True
        parts = self.flush()
        if isinstance(part, Done) and self._calls and not self._has_native_calls:
            parts += self._calls
            if part.stop_reason == "stop":
                part = replace(part, stop_reason="tool_calls")
        return [*parts, part]

    def flush(self) -> list[ModelPart]:
        """Return the text that was held back."""
        parts = self._run(ended=True)
        if self._answer.space and not self._calls:
            parts.append(TextDelta(self._answer.space))
        self._answer.space, self._state = "", self._at_start
        return parts

    def _run(self, ended: bool) -> list[ModelPart]:
        """Let each state take what it can, until one waits for more text."""
        parts: list[ModelPart] = []
        while True:
            before = (self._state, len(self._held))
            parts += self._state(ended)
            if before == (self._state, len(self._held)):
                return parts

    def _at_start(self, ended: bool) -> list[ModelPart]:
        start = self._held.lstrip()
        if start.startswith(THINK):
            self._held = start.removeprefix(THINK)
            self._answer.trims_start = True
            self._state = self._in_thinking
        elif ended or not THINK.startswith(start):
            self._state = self._maybe_bare_calls
        return []

    def _in_thinking(self, ended: bool) -> list[ModelPart]:
        thought, mark, rest = self._held.partition(END_THINK)
        if mark:
            self._held, self._state = rest, self._at_start
        else:
            thought, self._held = split_partial_marker(thought, () if ended else (END_THINK,))
        trimmed = self._thought.feed(thought)
        return [ReasoningDelta(trimmed)] if trimmed else []

    def _maybe_bare_calls(self, ended: bool) -> list[ModelPart]:
        """Hold back an answer that may consist of calls alone: only its end can tell."""
        start = "".join(self._held[:LONGEST_OPENING].split())
        may_be_calls = any(
            start.startswith(opening) or opening.startswith(start) for opening in self._openings
        )
        if may_be_calls and not ended:
            return []
        self._state = self._in_text
        calls = _parse_bare_calls(self._held, self._names) if may_be_calls else None
        if calls:
            self._held = ""
            self._add_calls(calls)
        return []

    def _in_text(self, ended: bool) -> list[ModelPart]:
        begins = tuple(block.begin for block in self._blocks)
        at, self._block = min(
            ((at, block) for block in self._blocks if (at := self._held.find(block.begin)) >= 0),
            key=lambda start: start[0],
            default=(-1, self._block),
        )
        if at >= 0:
            text, self._held = self._held[:at], self._held[at:]
            self._state = self._in_block
        else:
            text, self._held = split_partial_marker(self._held, () if ended else begins)
        return self._emit_text(text)

    def _in_block(self, ended: bool) -> list[ModelPart]:
        block = self._block
        end = self._held.find(block.end) if block.end else -1
        if end < 0 and not ended:
            return []
        whole = self._held[: end + len(block.end)] if end >= 0 else self._held
        self._held = self._held[len(whole) :]
        self._state = self._in_text
        calls = block.parse(whole.removeprefix(block.begin).removesuffix(block.end))
        if not calls:
            return self._emit_text(whole)
        self._add_calls(calls)
        return []

    def _add_calls(self, calls: Sequence[ToolCall]) -> None:
        self._calls += calls
        self._answer.trims_start = True

    def _emit_text(self, text: str) -> list[ModelPart]:
        trimmed = self._answer.feed(text)
        return [TextDelta(trimmed)] if trimmed else []


class _Trimmer:
    """Holds back white space at the end of a text until more text follows, since white space next
    to thinking or a call is not part of the answer."""

    def __init__(self, trims_start: bool) -> None:
        self.trims_start = trims_start
        self.space = ""
        self._has_begun = False

    def feed(self, text: str) -> str:
        text = self.space + text
        if self.trims_start and not self._has_begun:
            text = text.lstrip()
        body = text.rstrip()
        self.space = text[len(body) :]
        self._has_begun = self._has_begun or bool(body)
        return body


def split_partial_marker(text: str, markers: Sequence[str]) -> tuple[str, str]:
    """Split off an end of the text that may be the beginning of a marker."""
    longest = max(map(len, markers), default=1) - 1
    for kept in range(min(longest, len(text)), 0, -1):
        if any(marker.startswith(text[-kept:]) for marker in markers):
            return text[:-kept], text[-kept:]
    return text, ""


def _bare_openings(names: Collection[str]) -> tuple[str, ...]:
    """How an answer that consists of calls may begin, without white space."""
    known = [key % name for name in names for key in _NAMED]
    objects = ["{" + key for key in (*known, *_NAMELESS)] if names else []
    bare = [*objects, *("[" + one for one in objects), *(f"[{name}(" for name in names)]
    return tuple(fence + one for fence in ("", "```", "```json", "```tool_call") for one in bare)
