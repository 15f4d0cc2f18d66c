"""Every kind of callable as a tool, and every kind of argument."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from typing_extensions import Doc, TypeAliasType

from agentkit import Agent, ToolContext, tool
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError, Retry
from agentkit.messages import ToolCall
from agentkit.tools.tool import as_tool


def greet(name: str, greeting: str = "Hello") -> str:
    """Greet somebody.

    Args:
        name: Who.
        greeting: The word.
    """
    return f"{greeting}, {name}!"


async def greet_later(name: str, greeting: str) -> str:
    """Greet somebody."""
    return f"{greeting}, {name}!"


def with_context(context: ToolContext, name: str) -> str:
    """Greet from a run."""
    return f"{name} {context.call.name}"


def logged(function: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> str:
        return function(*args, **options).upper()

    return wrapper


def logged_later(function: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **options: Any) -> str:
        return (await function(*args, **options)).upper()

    return wrapper


class Multiplier:
    """Multiply by a number."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, x: float) -> float:
        return self.by * x


class Later:
    async def __call__(self, x: float, context: ToolContext | None = None) -> float:
        """Twice x."""
        return 2 * x if context else 0


class Tools:
    factor = 3

    def triple(self, x: float) -> float:
        """Three times x."""
        return self.factor * x

    @tool
    def marked(self, x: float) -> float:
        """Three times x."""
        return self.factor * x

    @tool(name="asked", needs_approval=False)
    async def marked_later(self, x: float, context: ToolContext) -> float:
        """Three times x."""
        return self.factor * x

    @classmethod
    def of_class(cls, x: float) -> float:
        """Three times x."""
        return cls.factor * x

    @classmethod
    @tool
    def marked_of_class(cls, x: float) -> float:
        """Three times x."""
        return cls.factor * x

    @staticmethod
    @tool
    def of_static(x: float) -> float:
        """Three times x."""
        return 3 * x

    @tool
    @staticmethod
    def of_static_above(x: float) -> float:
        """Three times x."""
        return 3 * x

    fixed = functools.partialmethod(triple, x=5)


@dataclass
class Point:
    x: int
    tags: list[str] = field(default_factory=list)
    when: date | None = None


class Place(NamedTuple):
    x: int
    y: int = 2


class City(BaseModel):
    """A city."""

    name: str = Field(description="Its name.")
    size: int = Field(default=1, ge=0)


def positional(a: int, b: int = 2, /, c: int = 3, *, d: int = 4) -> list[int]:
    """Join."""
    return [a, b, c, d]


def open_ended(name: str, **options: Any) -> str:
    """Greet."""
    return f"{name} {options}"


@functools.lru_cache
def cached(x: int) -> int:
    """Cache."""
    return x + 1


KINDS: dict[str, tuple[Any, str, dict[str, Any], str]] = {
    "partial, keyword": (
        functools.partial(greet, greeting="Hi"),
        "greet(name)",
        {"name": "Ada"},
        "Hi, Ada!",
    ),
    "partial, positional": (
        functools.partial(greet, "Ada"),
        "greet(greeting)",
        {},
        "Hello, Ada!",
    ),
    "partial of a partial": (
        functools.partial(functools.partial(greet, "Ada"), greeting="Hi"),
        "greet()",
        {},
        "Hi, Ada!",
    ),
    "partial, async": (
        functools.partial(greet_later, greeting="Hi"),
        "greet_later(name)",
        {"name": "Ada"},
        "Hi, Ada!",
    ),
    "partial that is updated": (
        functools.update_wrapper(functools.partial(greet, greeting="Hi"), greet),
        "greet(name)",
        {"name": "Ada"},
        "Hi, Ada!",
    ),
    "partial of a function with a context": (
        functools.partial(with_context, name="Ada"),
        "with_context()",
        {},
        "Ada with_context",
    ),
    "partial of an object": (
        functools.partial(Multiplier(3), x=2),
        "Multiplier()",
        {},
        "6",
    ),
    "partial of a method": (functools.partial(Tools().triple, 2), "triple()", {}, "6"),
    "object": (Multiplier(3), "Multiplier(x)", {"x": 2}, "6.0"),
    "object, async": (Later(), "Later(x)", {"x": 2}, "4.0"),
    "bound method": (Tools().triple, "triple(x)", {"x": 2}, "6.0"),
    "class method": (Tools.of_class, "of_class(x)", {"x": 2}, "6.0"),
    "class method of an object": (Tools().of_class, "of_class(x)", {"x": 2}, "6.0"),
    "class method, marked": (Tools.marked_of_class, "marked_of_class(x)", {"x": 2}, "6.0"),
    "static method, marked": (Tools.of_static, "of_static(x)", {"x": 2}, "6.0"),
    "static method of an object": (Tools().of_static, "of_static(x)", {"x": 2}, "6.0"),
    "static method, marked above": (Tools.of_static_above, "of_static_above(x)", {"x": 2}, "6.0"),
    "method, marked": (Tools().marked, "marked(x)", {"x": 2}, "6.0"),
    "method, marked, async, named": (Tools().marked_later, "asked(x)", {"x": 2}, "6.0"),
    "partial method": (Tools().fixed, "triple()", {}, "15"),
    "wrapped": (logged(greet), "greet(name, greeting)", {"name": "Ada"}, "HELLO, ADA!"),
    "wrapped, with a context": (
        logged(with_context),
        "with_context(name)",
        {"name": "a"},
        "A WITH_CONTEXT",
    ),
    "wrapped, async": (
        logged_later(greet_later),
        "greet_later(name, greeting)",
        {"name": "Ada", "greeting": "Hi"},
        "HI, ADA!",
    ),
    "cached": (cached, "cached(x)", {"x": 2}, "3"),
    "lambda": (lambda x: x, "lambda(x)", {"x": "a"}, "a"),
    "lambda, named": (tool(name="double")(lambda x=1: 2 * x), "double(x)", {"x": "2"}, "4"),
    "dataclass": (
        Point,
        "Point(x, tags, when)",
        {"x": "1", "when": "2026-11-28"},
        '{"x": 1, "tags": [], "when": "2026-11-28"}',
    ),
    "named tuple": (Place, "Place(x, y)", {"x": 1}, '{"x": 1, "y": 2}'),
    "pydantic model": (City, "City(name, size)", {"name": "Rome"}, '{"name":"Rome","size":1}'),
    "positional-only and keyword-only": (
        positional,
        "positional(a, b, c, d)",
        {"a": 1, "d": 9},
        "[1, 2, 3, 9]",
    ),
    "**options get nothing": (open_ended, "open_ended(name)", {"name": "a"}, "a {}"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_callable_is_a_tool(kind: str) -> None:
    value, wanted, arguments, text = KINDS[kind]
    [made] = Agent(ScriptedModel([]), [value]).tools
    assert f"{made.name}({', '.join(made.parameters['properties'])})" == wanted
    model = ScriptedModel([ToolCall("1", made.name, arguments), "ok"])
    answer = await Agent(model, [value]).run("?")
    assert answer.messages[-2].text == text


def test_descriptions_come_from_the_callable_itself() -> None:
    partial = as_tool(functools.partial(greet, greeting="Hi"))
    assert partial.description == "Greet somebody."
    assert partial.parameters["properties"]["name"]["description"] == "Who."
    assert as_tool(Multiplier(3)).description == "Multiply by a number."
    assert as_tool(Later()).description == "Twice x."
    assert as_tool(City).description == "A city."
    assert as_tool(Point).description == ""
    named = tool(name="double", description="Double a number.")(lambda x=1: 2 * x)
    assert (named.name, named.description) == ("double", "Double a number.")


async def test_what_a_partial_fixes_cannot_be_given_by_the_model() -> None:
    with pytest.raises(Retry, match="name: Extra inputs"):
        await as_tool(functools.partial(greet, name="Ada")).run({"name": "Eve"})


def test_two_functions_of_one_decorator_keep_their_own_contexts() -> None:
    assert list(as_tool(logged(greet)).parameters["properties"]) == ["name", "greeting"]
    assert list(as_tool(logged(with_context)).parameters["properties"]) == ["name"]


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Color(Enum):
    RED = "red"


class Row(TypedDict):
    a: int
    b: NotRequired[str]


class Line(BaseModel):
    kind: Literal["line"] = "line"
    length: float


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: float


Names = TypeAliasType("Names", list[str])

TYPES: dict[str, tuple[Any, Any, Any]] = {
    "optional": (int | None, None, None),
    "literal": (Literal["a", 1], 1, 1),
    "enum": (Color, "red", Color.RED),
    "int enum": (Level, 2, Level.HIGH),
    "dataclass": (Point, {"x": 1}, Point(1)),
    "named tuple, as a list": (Place, [1], Place(1)),
    "named tuple, as an object": (Place, {"x": 1}, Place(1)),
    "typed dict": (Row, {"a": 1}, {"a": 1}),
    "list of typed dicts": (list[Row], [{"a": 1, "b": "c"}], [{"a": 1, "b": "c"}]),
    "dict": (dict[str, int], {"a": 1}, {"a": 1}),
    "dict with numbers as keys": (dict[int, str], {"1": "a"}, {1: "a"}),
    "list of models": (list[City], [{"name": "a"}], [City(name="a")]),
    "union of models": (Line | Circle, {"radius": 2}, Circle(radius=2)),
    "discriminated union": (
        Annotated[Line | Circle, Field(discriminator="kind")],
        {"kind": "line", "length": 1},
        Line(length=1),
    ),
    "datetime": (
        datetime,
        "2026-11-28T10:00:00Z",
        datetime(2026, 11, 28, 10, tzinfo=UTC),
    ),
    "date": (date, "2026-11-28", date(2026, 11, 28)),
    "timedelta": (timedelta, "PT90S", timedelta(seconds=90)),
    "timedelta in seconds": (timedelta, 90, timedelta(seconds=90)),
    "uuid": (
        UUID,
        "12345678-1234-5678-1234-567812345678",
        UUID(int=0x12345678123456781234567812345678),
    ),
    "path": (Path, "a/b", Path("a/b")),
    "decimal": (Decimal, 0.1, Decimal("0.1")),
    "decimal as text": (Decimal, "0.10", Decimal("0.10")),
    "bytes": (bytes, "AP8=", b"\x00\xff"),
    "bytes without padding, for addresses": (bytes, "AP-_", b"\x00\xff\xbf"),
    "bytes as a data address": (bytes | None, "data:image/png;base64,AP8=", b"\x00\xff"),
    "list of bytes": (list[bytes], ["AP8="], [b"\x00\xff"]),
    "set": (set[int], [1, 1], {1}),
    "frozen set": (frozenset[str], ["a"], frozenset({"a"})),
    "tuple": (tuple[int, str], [1, "a"], (1, "a")),
    "tuple of any length": (tuple[int, ...], [1, 2], (1, 2)),
    "annotated": (Annotated[int, Field(ge=1)], 3, 3),
    "alias": (Names, ["a"], ["a"]),
    "any": (Any, {"a": [1]}, {"a": [1]}),
}


@pytest.mark.parametrize("kind", TYPES)
async def test_every_type_reaches_the_function(kind: str) -> None:
    annotation, given, wanted = TYPES[kind]
    seen: list[Any] = []

    def take(value):  # type: ignore[no-untyped-def]
        seen.append(value)

    take.__annotations__ = {"value": annotation}
    made = tool(take)
    await made.run({"value": given})
    assert (seen, type(seen[0])) == ([wanted], type(wanted))


async def test_bytes_that_are_not_base64_go_back_to_the_model() -> None:
    @tool
    def take(value: bytes) -> int:
        """Take."""
        return len(value)

    assert take.parameters["properties"]["value"] == {"type": "string", "format": "base64"}
    with pytest.raises(Retry, match="not valid Base64"):
        await take.run({"value": "not base64!"})


def defaults(  # type: ignore[no-untyped-def]
    limit: int = None,  # type: ignore[assignment]  # noqa: RUF013
    tags: list[str] = [],  # noqa: B006
    ids: list[int] = Field(default_factory=lambda: [7]),
    sort: Annotated[str, "How to sort."] = "up",
    unit: Annotated[str, Doc("The unit.")] = "m",
    count=5,
    mark: object = object(),
) -> str:
    """Return."""
    tags.append("x")
    return f"{limit} {tags} {ids} {sort} {count}"


async def test_defaults_of_every_kind() -> None:
    made = tool(defaults)
    properties = made.parameters["properties"]
    assert "required" not in made.parameters
    assert {"type": "null"} in properties["limit"]["anyOf"]
    assert properties["sort"]["description"] == "How to sort."
    assert properties["unit"]["description"] == "The unit."
    assert properties["count"] == {"type": "integer", "default": 5}
    for _ in range(2):  # The list of a default is a new one in each call.
        assert (await made.run({"limit": None})).text == "None ['x'] [7] up 5"


def test_an_isolated_tool_must_be_a_function_of_a_file() -> None:
    for value in (functools.partial(greet, "Ada"), Multiplier(3), Tools().triple):
        with pytest.raises(ConfigError, match="another process must find it"):
            tool(isolated=True)(value)
