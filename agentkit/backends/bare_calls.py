"""Recognise calls without marks: JSON, Python or ReAct's lines that end an answer.

Such text is a call only where it names a known tool and nothing but calls follows. `may_begin`
decides from the beginning of a line whether the text must be held back until its end is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from agentkit.backends.base import new_call_id
from agentkit.backends.call_formats import BEGINNINGS, python_calls, read_calls, strip_end_tokens
from agentkit.messages import ToolCall
from agentkit.tools.names import UNREADABLE, match_name
from agentkit.tools.repair import repair_arguments
from agentkit.tools.tool import Tool

_LONGEST_OPENING = 400
"""Characters within which a line must begin like a call to be held back."""

_LANGUAGES = ("json", "tool_calls", "tool_call", "tool_code", "python", "xml", "plaintext", "text")
_FENCE_START = re.compile(rf"```(?:{'|'.join(_LANGUAGES)})?")
_FENCE = re.compile(rf"{_FENCE_START.pattern}\s*(?P<body>.*?)\s*```", re.DOTALL)
_NAME_KEYS = ("name", "tool", "tool_name", "function_name", "action")
_OTHER_KEYS = ("arguments", "parameters", "tool_calls", "tool_call", "function_call")
_KEY = re.compile(r"\{[\"'](?P<key>\w*)(?P<after>[\"'](?::(?P<value>.*)?)?)?", re.DOTALL)
_WORD = re.compile(r"[^\W\d][\w.:-]*")
_NAMESPACES = ("functions.", "default_api.", "print(", "tools.")
_ACTION = re.compile(
    r"^[ \t]*(?:\*\*)?Action(?:\*\*)?[ \t]*:(?:\*\*)?\s*(?P<rest>.*)", re.DOTALL | re.MULTILINE
)
_ACTION_STARTS = ("Action:", "Action :", "**Action:**", "**Action**:")
_STEP = re.compile(
    r"(?P<name>[^\n(\[{:]+?)\s*\n+\s*(?:\*\*)?Action Input(?:\*\*)?[ \t]*:(?:\*\*)?\s*"
    r"(?P<input>.*?)(?=\n\s*(?:\*\*)?(?:Action(?:\*\*)?[ \t]*:|Thought)|\Z)",
    re.DOTALL,
)
_OBSERVATION = re.compile(r"\n?\s*(?:\*\*)?Observation(?:\*\*)?[ \t]*:", re.DOTALL)


class BareCalls:
    """Recognises calls of the given tools, and of tools with the given names."""

    def __init__(self, tools: Sequence[Tool], names: Collection[str]) -> None:
        self._tools = tools
        self._names = frozenset(names)

    def may_begin(self, text: str) -> bool:
        """Whether a line that begins like this may begin calls."""
        line = text.lstrip()
        if not self._names or (line and line[0] not in "{[`A*fdpt" and not self._starts_name(line)):
            return False
        if line[:1] in ("A", "*"):
            if any(start.startswith(line[: len(start)]) for start in _ACTION_STARTS):
                return len(line) < 7 or self._may_be_action(line)
            return self._starts_name(line)
        return self._may_open("".join(line[:_LONGEST_OPENING].split()))

    def read(self, text: str, is_first: bool, *, is_cut: bool) -> tuple[str, list[ToolCall]] | None:
        """The calls that a text consists of, and the text before them; None where it is something
        else. A fence holds calls only where nothing precedes it (`is_first`)."""
        if action := _ACTION.match(text):
            return self._read_action(action)
        bare = strip_end_tokens(text)
        if bare.startswith("```") and not is_first:
            return None
        if fence := _FENCE.fullmatch(bare):
            bare = fence["body"].strip()
        is_python = bool(fence) or bare.startswith("[")
        is_word = re.search(r"[\[{(<]", bare) is None
        if is_word or (_WORD.match(bare) and "(" in bare.partition("{")[0] and not is_python):
            return None
        reading = read_calls(bare, self._tools, self._names, is_cut=is_cut)
        is_known = all(call.name in self._names for call in reading.calls)
        if reading.calls and is_known and not reading.rest:
            return "", list(reading.calls)
        if not reading.calls and self._is_broken_call(bare):
            return "", [ToolCall(new_call_id(), UNREADABLE, bare)]
        return None

    def _is_broken_call(self, text: str) -> bool:
        """Whether a text that cannot be read is JSON with a known name and arguments."""
        start = re.match(
            r"\[?\s*\{.{0,400}?[\"'](?:arguments|parameters)[\"']\s*:", text, re.DOTALL
        )
        named = re.search(r"[\"'](?:name|tool|function)[\"']\s*:\s*[\"']([^\"']*)[\"']", text)
        return bool(start and named and match_name(named[1], self._names))

    def _starts_name(self, line: str) -> bool:
        word = _WORD.match(line)
        if word is None:
            return False
        after = line[word.end() : word.end() + 12].lstrip()
        if not after:
            return self._is_name_start(word[0])
        return after.startswith(("{", "```"[: len(after)])) and bool(
            match_name(word[0], self._names)
        )

    def _is_name_start(self, word: str) -> bool:
        return any(name.startswith(word) for name in (*self._names, *_NAMESPACES)) or (
            word.startswith(_NAMESPACES)
        )

    def _may_open(self, start: str) -> bool:
        """`start` is the beginning without white space."""
        if start and "```".startswith(start[:3]):
            fence = _FENCE_START.match(start)
            if fence is None:
                return True
            start = start[fence.end() :]
            if start[:1] == "<":
                return any(m.startswith(start[: len(m)]) for m in map(_compact, BEGINNINGS))
            if start and start[0].isalpha():
                is_language = any(language.startswith(start) for language in _LANGUAGES)
                return is_language or self._starts_call(start)
        if start[:1] == "[":
            start = start[1:]
            if start and (start[0].isalpha() or start[0] == "_"):
                return self._starts_call(start)
        if not start:
            return True
        if start[0] == "{":
            return self._may_be_object(start)
        return self._starts_name(start)

    def _starts_call(self, start: str) -> bool:
        """Whether a word, with what follows, may begin a call in Python's syntax."""
        word = _WORD.match(start.removeprefix("print("))
        if word is None:
            return start == "print("
        after = start.removeprefix("print(")[word.end() :]
        if not after:
            return self._is_name_start(word[0]) or "print(".startswith(start)
        return after[0] in "({=" and (bool(match_name(word[0], self._names)) or after[0] == "=")

    def _may_be_object(self, start: str) -> bool:
        if len(start) < 2:
            return True
        key = _KEY.match(start)
        if key is None:
            return False
        known = (*_NAME_KEYS, *_OTHER_KEYS, "function", "type", "id")
        if key["after"] is None:
            return any(name.startswith(key["key"]) for name in (*known, *self._names))
        if key["key"] not in known:
            return bool(match_name(key["key"], self._names))
        value = key["value"] or ""
        if key["key"] in _OTHER_KEYS or not value or value[0] in "{[":
            return not value or value[0] in "{["
        return self._may_be_name(key["key"], value)

    def _may_be_name(self, key: str, value: str) -> bool:
        """Whether the value of a key, its quote first, may be a tool's name or a call's kind."""
        text, closing, _ = value[1:].partition(value[0])
        if key in ("type", "id"):
            kinds = ("function", "tool_use", "tool_call", "call", "toolu")
            return any(kind.startswith(text[: len(kind)]) for kind in kinds)
        return bool(match_name(text, self._names)) if closing else self._is_name_start(text)

    def _may_be_action(self, line: str) -> bool:
        action = _ACTION.match(line)
        if action is None:
            return True
        rest = action["rest"].lstrip("* ")
        if not rest or rest[0] in "`{[":
            return True
        word = re.split(r"[\n(\[{]", rest, maxsplit=1)
        if len(word) == 1:
            return self._is_name_start(rest.strip())
        return bool(match_name(word[0].strip(), self._names))

    def _read_action(self, action: re.Match[str]) -> tuple[str, list[ToolCall]] | None:
        """ReAct: `Action` and `Action Input`. What the model wrote on as an observation is its
        invention, and dropped."""
        rest = _OBSERVATION.split(action["rest"], maxsplit=1)[0]
        steps = list(_STEP.finditer(rest))
        calls: list[ToolCall] = []
        for step in steps:
            name = match_name(step["name"].strip(" *`"), self._names)
            if not name:
                return None
            calls.append(ToolCall(new_call_id(), name, self._input(name, step["input"])))
        if calls:
            return "", calls
        reading = read_calls(strip_end_tokens(rest), self._tools, self._names)
        is_known = all(call.name in self._names for call in reading.calls)
        if reading.calls and is_known and not reading.rest:
            return "", list(reading.calls)
        named = match_name(re.split(r"[\n(\[{]", rest, maxsplit=1)[0].strip(), self._names)
        return ("", [ToolCall(new_call_id(), UNREADABLE, rest)]) if named else None

    def _input(self, name: str, text: str) -> Any:
        """The arguments of an action: JSON, or a text for the only argument of the tool."""
        text = strip_end_tokens(text)
        if fence := _FENCE.fullmatch(text):
            text = fence["body"]
        if (found := repair_arguments(text)) is not None and (text[:1] == "{" or not text.strip()):
            return found
        if calls := python_calls(f"{name}({text})", {}):
            return calls[0].arguments
        tool = next((tool for tool in self._tools if tool.name == name), None)
        properties = list(tool.parameters.get("properties", ())) if tool else []
        required = list(tool.parameters.get("required", ())) if tool else []
        only = properties if len(properties) == 1 else required
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            text = text[1:-1]
        return {only[0]: text} if len(only) == 1 else text


def _compact(marker: str) -> str:
    return "".join(marker.split())
