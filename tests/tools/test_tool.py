"""What becomes of a tool's function, however it ends."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from enum import Enum
from typing import Annotated, Any

import pytest

from agentkit import Agent, RunContext, ToolContext
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError, ToolError
from agentkit.messages import ToolCall
from agentkit.tools.callables import context_parameter, needs_deps
from agentkit.tools.tool import Tool, as_tool, tool


@tool
def leaves() -> str:
    """End the program, as a library for command lines does."""
    sys.exit("usage: leaves")


@tool
async def leaves_later() -> str:
    """The same, without a thread."""
    sys.exit(2)


async def test_a_tool_that_exits_fails_and_the_program_goes_on() -> None:
    with pytest.raises(ToolError, match="leaves failed: SystemExit: usage: leaves"):
        await leaves.run({})
    with pytest.raises(ToolError, match="leaves_later failed: SystemExit: 2"):
        await leaves_later.run({})


class Shop:
    """An object whose methods are tools."""

    def __init__(self, stock: dict[str, int]) -> None:
        self.stock = stock

    def count(self, name: str) -> int:
        """Count an article.

        Args:
            name: The article.
        """
        return self.stock[name]

    async def take(self, name: str, context: ToolContext) -> int:
        """Take one article."""
        self.stock[name] -= 1
        return self.stock[name]

    @classmethod
    def opened(cls, year: int) -> str:
        """Say when the shop opened."""
        return f"{cls.__name__} {year}"

    def __call__(self, name: str) -> int:
        """Count."""
        return self.stock[name]

    def methods(self) -> list[Any]:
        return [self.count, self.take, self.opened]


async def test_bound_methods_are_tools_of_their_object() -> None:
    north, south = Shop({"pen": 3}), Shop({"pen": 8})
    for shop, left in ((north, 2), (south, 7)):
        count, take, opened = map(as_tool, shop.methods())
        assert count.parameters["properties"]["name"]["description"] == "The article."
        assert list(take.parameters["properties"]) == ["name"]
        assert (await take.run({"name": "pen"})).text == str(left)
        assert (await count.run({"name": "pen"})).text == str(left)
        assert (await opened.run({"year": 1990})).text == "Shop 1990"
        assert count("pen") == left
    model = ScriptedModel([ToolCall("1", "count", {"name": "pen"}), "Two."])
    answer = await Agent(model, north.methods()).run("?")
    assert answer.messages[-2].text == "2"


class Size(Enum):
    SMALL = 1


class Counted:
    """An object whose call yields."""

    def __call__(self) -> Iterator[str]:
        yield "one"


def _one() -> str:
    return "one"


def _without_wraps(function: Any) -> Any:
    def wrapper(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return wrapper


_wrapped_without_wraps = _without_wraps(_one)


def _of_class(cls: Any) -> str:
    return "one"


async def _wait() -> str:
    return "one"


_waiting = _wait()
_waiting.close()


def _lines() -> Iterator[str]:
    yield "one"


class Marked:
    """A class whose method is marked as a tool."""

    @tool
    def count(self, name: str) -> int:
        """Count."""
        return len(name)


async def _later_lines() -> AsyncIterator[str]:
    yield "one"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "a value of type int"),
        ("add", "a value of type str"),
        (None, "a value of type NoneType"),
        (Shop, "the class Shop"),
        (Size, "the class Size"),
        (Counted.__call__, "yields its result"),
        (Counted(), "yields its result"),
        (functools.partial(_lines), "yields its result"),
        (classmethod(_of_class), "write @classmethod above @tool"),
        (_waiting, "leave out"),
        (functools.partial(print), "by name"),
        (lambda *words: words, "by name"),
        (lambda **words: words, "by name"),
        (_wrapped_without_wraps, r"functools\.wraps"),
        (functools.wraps(leaves)(_one), "write @tool above"),
        (print, "by name"),
        (max, "has no signature"),
        (_lines, "yields its result"),
        (_later_lines, "yields its result"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:20]),
)
def test_what_cannot_be_a_tool_is_refused_at_once(value: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        as_tool(value)
    with pytest.raises(ConfigError, match=reason):
        Agent(ScriptedModel([]), [value])
    if value is not None:
        with pytest.raises(ConfigError, match=reason):
            tool(value)


def test_an_isolated_tool_cannot_have_deps() -> None:
    def look(context: ToolContext[Shop]) -> int:
        """Look."""
        return len(context.deps.stock)

    with pytest.raises(ConfigError, match="'look' is isolated"):
        tool(look, isolated=True)


@pytest.mark.parametrize("value", [Shop.count, Marked.count], ids=["plain", "marked"])
def test_a_method_without_its_object_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"bound method, as in tools=\[instance.count\]"):
        Agent(ScriptedModel([]), [value])


def test_a_function_of_a_module_cannot_take_self() -> None:
    def count(self: Shop, name: str) -> int:
        """Count."""
        return self.count(name)

    with pytest.raises(ConfigError, match="without its object"):
        tool(count)


@pytest.mark.parametrize(
    ("hint", "needs"),
    [
        (ToolContext, False),
        (ToolContext[Shop], True),
        (RunContext[Shop], True),
        (ToolContext[Shop | None], False),
        (ToolContext[object], False),
        (ToolContext[None], False),
        (ToolContext[list[int]], True),
        (ToolContext[Shop] | None, True),
        (Annotated[ToolContext[Shop], "the run"], True),
        (Annotated[ToolContext, "the run"], False),
    ],
    ids=str,
)
def test_a_context_is_recognised_with_and_without_its_deps(hint: Any, needs: bool) -> None:
    namespace: dict[str, Any] = {"Hint": hint}
    exec("def look(context: Hint, number: int) -> int:\n    return number", namespace)
    made: Tool = tool(namespace["look"])
    assert list(made.parameters["properties"]) == ["number"]
    assert context_parameter(made.function) == "context"
    assert needs_deps(made.function) == needs


@tool
def book(seats: int, name: str = "") -> str:
    """Book seats."""
    return f"{seats} {name}"


_REMOTE = replace(book, model=None)
_UNUSABLE = replace(_REMOTE, parameters={"properties": {"seats": {"$ref": "https://x.invalid/s"}}})


@pytest.mark.parametrize(
    ("checked", "arguments", "fault"),
    [
        (book, {"seats": 2, "name": "a"}, ""),
        (book, {"seats": "many"}, "seats: .*integer"),
        (book, {}, "seats: .*required"),
        (book, {"seats": 2, "row": 3}, "unknown arguments: row; it takes seats, name"),
        (_REMOTE, {"seats": 2}, ""),
        (_REMOTE, {"seats": "many"}, "seats: 'many' is not of type 'integer'"),
        (_REMOTE, {}, "'seats' is a required property"),
        (_UNUSABLE, {"seats": "many"}, ""),
    ],
)
def test_the_fault_of_arguments_is_named_without_a_call(
    checked: Tool, arguments: dict[str, Any], fault: str
) -> None:
    found = checked.fault(arguments)
    assert re.search(fault, found) if fault else found == ""
