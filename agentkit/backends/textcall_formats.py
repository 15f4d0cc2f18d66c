"""Read a finished block of text as tool calls, in the formats of the model families. What is no
call in a format gives None; nothing is repaired and nothing raises."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from agentkit.backends.wire import new_call_id, read_arguments
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
