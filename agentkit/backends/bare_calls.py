"""Recognise calls without marks: JSON, Python or ReAct's lines that end an answer.

Such text is a call only where it names a known tool and nothing but calls follows. `may_begin`
decides from the beginning of a line whether the text must be held back until its end is known.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

from agentkit.backends.base import new_call_id
from agentkit.backends.call_formats import (
    BEGINNINGS,
    LIST_KEYS,
    NAME_KEYS,
    python_calls,
    read_calls,
    strip_end_tokens,
)
from agentkit.messages import ToolCall
from agentkit.tools.names import UNREADABLE, match_name
from agentkit.tools.repair import repair_arguments
from agentkit.tools.tool import Tool

_LONGEST_OPENING = 400
"""Characters within which a line must begin like a call to be held back."""

_LANGUAGES = ("json", "tool_calls", "tool_call", "tool_code", "python", "xml", "plaintext", "text")
_FENCE = re.compile(rf"```(?:{'|'.join(_LANGUAGES)})?\s*(?P<body>.*?)\s*```", re.DOTALL)
_KINDS = ("function", "tool_use", "tool_call", "call", "toolu")
_NAMESPACES = ("", "functions.", "default_api.", "tools.")
_NAMESPACE = re.compile(
    r"(^[\[\s]*(?:print\()?|[\"']\s*:\s*[\"'])(?!Action\b)[^\W\d][\w-]*[.:/](?=[^\W\d])"
)
_WORD = re.compile(r"[^\W\d][\w.:-]*")
_ACTION = re.compile(
    r"^[ \t]*(?:\*\*)?Action(?:\*\*)?[ \t]*:(?:\*\*)?\s*(?P<rest>.*)", re.DOTALL | re.MULTILINE
)
_STEP = re.compile(
    r"(?P<name>[^\n(\[{:]+?)\s*\n+\s*(?:\*\*)?Action Input(?:\*\*)?[ \t]*:(?:\*\*)?\s*"
    r"(?P<input>.*?)(?=\n\s*(?:\*\*)?(?:Action(?:\*\*)?[ \t]*:|Thought)|\Z)",
    re.DOTALL,
)
_OBSERVATION = re.compile(r"\n?\s*(?:\*\*)?Observation(?:\*\*)?[ \t]*:", re.DOTALL)


def _folded(text: str) -> str:
    """A text without white space and what the matching of names ignores."""
    return re.sub(r"[\s*._-]+", "", text).replace("'", '"').casefold()


class _Openings:
    """Folded beginnings of lines that may be calls."""

    def __init__(self, openings: Iterable[str]) -> None:
        self._sorted: list[str] = []
        for each in sorted(openings):
            if not self._sorted or not each.startswith(self._sorted[-1]):
                self._sorted.append(each)

    def may_begin(self, start: str) -> bool:
        """Whether a folded text begins like one of them, or one of them like the text."""
        at = bisect_left(self._sorted, start)
        if at and start.startswith(self._sorted[at - 1]):
            return True
        return at < len(self._sorted) and self._sorted[at].startswith(start)


@lru_cache(maxsize=32)
def _openings(names: frozenset[str]) -> tuple[_Openings, _Openings]:
    """Those of JSON objects with calls, of a name before JSON and of ReAct's actions; and those of
    calls in Python."""
    folded = [*map(_folded, names)]
    named = [space + name for space, name in product(map(_folded, _NAMESPACES), folded)]
    name_keys = [*map(_folded, (*NAME_KEYS, "function"))]
    keys = [*name_keys, *map(_folded, ("type", "id", "arguments", "parameters", *LIST_KEYS))]
    plain = [
        *(f'{{"{key}":{opening}' for key, opening in product(keys, "{[")),
        *(f'{{"{key}":"{name}"' for key, name in product(name_keys, named)),
        *(f'{{"{key}":"{kind}' for key, kind in product(("type", "id"), map(_folded, _KINDS))),
        *(f'{{"{name}":' for name in folded),
        *(f"{name}{after}" for name, after in product(named, ("{", "```"))),
        *(f"action:{about}" for about in (*named, *"`{[")),
    ]
    python = [f"{before}{name}(" for before, name in product(("", "print("), named)]
    return _Openings(plain), _Openings(python)


_MARKS = _Openings(map(_folded, BEGINNINGS))


class BareCalls:
    """Recognises calls of the given tools, and of tools with the given names."""

    def __init__(self, tools: Sequence[Tool], names: Collection[str]) -> None:
        self._tools = tools
        self._names = frozenset(names)
        self._plain, self._python = _openings(self._names)

    def may_begin(self, text: str) -> bool:
        """Whether a line that begins like this may begin calls."""
        line = text.lstrip()[:_LONGEST_OPENING]
        if not self._names:
            return False
        return any(map(self._may_start, map(_folded, (line, _NAMESPACE.sub(r"\1", line, count=1)))))

    def _may_start(self, start: str) -> bool:
        if not start.startswith("```"[: len(start)]):
            return self._may_open(start, is_fence=False)
        body = start[3:]
        return any(
            language.startswith(body) or self._may_open(body.removeprefix(language), is_fence=True)
            for language in map(_folded, ("", *_LANGUAGES))
        )

    def _may_open(self, start: str, *, is_fence: bool) -> bool:
        inner = start.removeprefix("[")
        if self._plain.may_begin(inner):
            return True
        if not is_fence and inner == start:
            return False
        assigned = re.sub(r"^[^\W\d]\w*=(?!=)", "", inner)
        return self._python.may_begin(assigned) or (is_fence and _MARKS.may_begin(start))

    def read(self, text: str, is_first: bool, *, is_cut: bool) -> list[ToolCall]:
        """The calls that a text consists of, [] where it is something else. A fence holds calls
        only where nothing precedes it (`is_first`)."""
        if action := _ACTION.match(text):
            return self._read_action(action)
        bare = strip_end_tokens(text)
        if bare.startswith("```") and not is_first:
            return []
        if fence := _FENCE.fullmatch(bare):
            bare = fence["body"].strip()
        is_python = bool(fence) or bare.startswith("[")
        is_word = re.search(r"[\[{(<]", bare) is None
        if is_word or (_WORD.match(bare) and "(" in bare.partition("{")[0] and not is_python):
            return []
        reading = read_calls(bare, self._tools, self._names, is_cut=is_cut)
        if calls := reading.only(self._names):
            return calls
        if not reading.calls and self._is_broken_call(bare):
            return [ToolCall(new_call_id(), UNREADABLE, bare)]
        return []

    def _is_broken_call(self, text: str) -> bool:
        """Whether a text that cannot be read is JSON with a known name and arguments."""
        start = re.match(
            r"\[?\s*\{.{0,400}?[\"'](?:arguments|parameters)[\"']\s*:", text, re.DOTALL
        )
        named = re.search(r"[\"'](?:name|tool|function)[\"']\s*:\s*[\"']([^\"']*)[\"']", text)
        return bool(start and named and match_name(named[1], self._names))

    def _read_action(self, action: re.Match[str]) -> list[ToolCall]:
        """ReAct: `Action` and `Action Input`. What the model wrote on as an observation is its
        invention, and dropped."""
        rest = _OBSERVATION.split(action["rest"], maxsplit=1)[0]
        steps = list(_STEP.finditer(rest))
        calls: list[ToolCall] = []
        for step in steps:
            name = match_name(step["name"].strip(" *`"), self._names)
            if not name:
                return []
            calls.append(ToolCall(new_call_id(), name, self._input(name, step["input"])))
        if calls:
            return calls
        reading = read_calls(strip_end_tokens(rest), self._tools, self._names)
        if calls := reading.only(self._names):
            return calls
        named = match_name(re.split(r"[\n(\[{]", rest, maxsplit=1)[0].strip(), self._names)
        return [ToolCall(new_call_id(), UNREADABLE, rest)] if named else []

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
