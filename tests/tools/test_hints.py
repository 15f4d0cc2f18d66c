"""Type hints that only a type checker can see, and types that are local to a function or class."""

from __future__ import annotations

import sys
import types
import weakref
from typing import Any

import pytest

from agentkit import Agent
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError
from agentkit.messages import ToolCall
from agentkit.tools.tool import as_tool

HEAD = """
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated, Optional
import agentkit
from agentkit import tool
from pydantic import BaseModel
if TYPE_CHECKING:
    import pandas as pd
    from somewhere import Deps, Note, ToolContext, RunContext
"""

HINTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "return type": (
        "def f(name: str) -> pd.DataFrame: return [1]",
        {"name": "a"},
        "[1]",
    ),
    "return type, in a list": (
        "def f(name: str) -> list[Deps] | None: return [1]",
        {"name": "a"},
        "[1]",
    ),
    "context": (
        "async def f(name: str, context: ToolContext) -> str: return name",
        {"name": "a"},
        "a",
    ),
    "context with deps": (
        "def f(context: ToolContext[Deps | None]) -> str: return str(context.deps)",
        {},
        "None",
    ),
    "context, optional": (
        "def f(context: Optional[ToolContext] = None): return str(bool(context))",
        {},
        "True",
    ),
    "context or none": (
        "def f(context: ToolContext | None = None): return str(bool(context))",
        {},
        "True",
    ),
    "context of a module": (
        "def f(run: agentkit.ToolContext): return run.session_id or 'no'",
        {},
        "no",
    ),
    "context of an unknown module": (
        "def f(run: pd.RunContext): return run.session_id or 'no'",
        {},
        "no",
    ),
    "context, annotated": (
        "def f(run: Annotated[RunContext, Note('x')]): return 'ok'",
        {},
        "ok",
    ),
    "metadata": (
        "def f(name: Annotated[str, Note('x')]): return name",
        {"name": "a"},
        "a",
    ),
    "string in a type": (
        """
def f(a: list['Inner']):
    return a[0].x
class Inner(BaseModel):
    x: int
""",
        {"a": [{"x": 1}]},
        "1",
    ),
    "local return type": (
        """
def make():
    class Row(dict):
        pass
    def f(name: str) -> Row:
        return Row(name=name)
    return f
f = make()
""",
        {"name": "a"},
        '{"name": "a"}',
    ),
    "argument of a class that a function left behind": (
        """
def make():
    class Query(BaseModel):
        text: str
    def f(query: Query):
        return query.text
    return f
f = make()
""",
        {"query": {"text": "a"}},
        "a",
    ),
    "local type, with a decorator": (
        """
def make():
    class Query(BaseModel):
        text: str
    @tool
    def f(query: Query):
        return query.text
    return f
f = make()
""",
        {"query": {"text": "a"}},
        "a",
    ),
    "local type, in a list of an outer function": (
        """
def outer():
    class Query(BaseModel):
        text: str
    def make():
        return tool(f_of(lambda q: q[0].text))
    def f_of(go):
        def f(query: list[Query] | None = None):
            return go(query)
        return f
    return make()
f = outer()
""",
        {"query": [{"text": "a"}]},
        "a",
    ),
    "type of a class body": (
        """
class Box:
    class Query(BaseModel):
        text: str
    @tool
    def f(self, query: Query):
        return query.text
f = Box().f
""",
        {"query": {"text": "a"}},
        "a",
    ),
    "type of a class body, bound": (
        """
class Box:
    class Query(BaseModel):
        text: str
    def f(self, query: Query):
        return query.text
f = Box().f
""",
        {"query": {"text": "a"}},
        "a",
    ),
    "local type kept by a closure": (
        """
def make():
    class Query(BaseModel):
        text: str
    def f(query: Query):
        return Query(text=query.text).text
    return f
f = make()
""",
        {"query": {"text": "a"}},
        "a",
    ),
}


def module(source: str) -> Any:
    made = types.ModuleType("annotated_tools")
    sys.modules["annotated_tools"] = made
    exec(compile(HEAD + source, "annotated_tools.py", "exec"), made.__dict__)
    return made


@pytest.mark.parametrize("kind", HINTS)
async def test_hints_that_are_not_needed_and_local_types(kind: str) -> None:
    source, arguments, text = HINTS[kind]
    function = module(source).f
    answer = await Agent(ScriptedModel([ToolCall("1", "f", arguments), "ok"]), [function]).run("?")
    assert answer.messages[-2].text == text


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("def f(a: Deps): ...", "'Deps'"),
        ("def f(a: list[Deps] | None = None): ...", "'Deps'"),
        ("def f(a: pd.DataFrame): ...", "'pd.DataFrame'"),
        ("def f(a: 1 / 0): ...", "division by zero"),
    ],
)
def test_a_hint_that_is_needed_is_named(source: str, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"The tool 'f' has an annotation of 'a' .*{name}"):
        as_tool(module(source).f)


class Gone:
    """An object that ends while a proxy of it is left."""


def test_a_local_type_is_found_beside_proxies_of_objects_that_are_gone() -> None:
    left = [weakref.proxy(Gone())]
    source, _, _ = HINTS["argument of a class that a function left behind"]
    assert list(as_tool(module(source).f).parameters["properties"]) == ["query"]
    assert len(left) == 1
