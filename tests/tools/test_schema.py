"""How a function is described to a model, its arguments, and what the model reads of its result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from agentkit import ToolContext, tool
from agentkit.errors import ConfigError, ToolError
from agentkit.messages import ImagePart, TextPart


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Part(BaseModel):
    title: str = Field(description="Its title.")
    count: int = 1


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


GOOGLE = """Order parts.

    They come by post.

    Args:
        city (str): Where to.
        days: How soon, in days,
            at most ten.

    Returns:
        A number.
    """
NUMPY = """Order parts.

    They come by post.

    Parameters
    ----------
    city : str
        Where to.
    days : int, optional
        How soon, in days,
        at most ten.

    Returns
    -------
    str
        A number.
    """
SPHINX = """Order parts.

    They come by post.

    :param city: Where to.
    :type city: str
    :param days: How soon, in days,
        at most ten.
    :returns: A number.
    """


WRAPPED = """Compute the load of a beam, with
    the units of its parts.

    Longer text that wraps over
    lines is one paragraph:

    - one item
    - another

    Args:
        size: The length of the beam, which
            is measured. In metres.
    """
FENCED = """Run a query and
    return rows.

    ```
    select 1

    from t
    ```
    """


def test_no_sentence_of_a_description_is_cut_where_the_source_wraps_it() -> None:
    def load(size: int) -> int:
        return size

    load.__doc__ = WRAPPED
    described = tool(load)
    assert described.description == (
        "Compute the load of a beam, with the units of its parts.\n\n"
        "Longer text that wraps over lines is one paragraph:\n\n- one item\n- another"
    )
    size = described.parameters["properties"]["size"]
    assert size["description"] == "The length of the beam, which is measured. In metres."


def test_code_in_a_description_keeps_its_lines() -> None:
    def query() -> int:
        return 1

    query.__doc__ = FENCED
    assert tool(query).description.startswith("Run a query and\nreturn rows.\n\n```\nselect 1\n\n")


@pytest.mark.parametrize("doc", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_a_docstring_of_any_style_describes_tool_and_arguments(doc: str) -> None:
    def order(city: str, days: int = 3) -> str:
        return city

    order.__doc__ = doc
    made = tool(order)
    assert made.description == "Order parts.\n\nThey come by post.\n\nReturns: A number."
    properties = made.parameters["properties"]
    assert properties["city"] == {"type": "string", "description": "Where to."}
    assert properties["days"]["default"] == 3
    assert " ".join(properties["days"]["description"].split()) == "How soon, in days, at most ten."
    assert made.parameters["required"] == ["city"]


def _schema_of(annotation: Any, default: Any = ...) -> Any:
    """What the schema says of an argument `value` of this type."""

    def function(value: Any) -> None:
        """Do."""

    function.__annotations__ = {"value": annotation}
    function.__defaults__ = None if default is ... else (default,)
    return tool(function).parameters


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Size, {"$ref": "#/$defs/Size"}),
        (list[Part], {"type": "array", "items": {"$ref": "#/$defs/Part"}}),
        (Annotated[int, Field(ge=1, le=9)], {"type": "integer", "minimum": 1, "maximum": 9}),
        (
            Annotated[str, Field(description="A word.")],
            {"type": "string", "description": "A word."},
        ),
        (date, {"type": "string", "format": "date"}),
    ],
    ids=str,
)
def test_a_type_is_reported_as_json_schema(annotation: Any, expected: Any) -> None:
    assert _schema_of(annotation)["properties"]["value"] == expected


def test_what_has_a_default_is_not_required() -> None:
    schema = _schema_of(int, 5)
    assert "required" not in schema
    assert schema["properties"]["value"]["default"] == 5


def test_a_nested_model_keeps_its_property_called_title_and_loses_invented_titles() -> None:
    [part] = _schema_of(Part)["$defs"].values()
    assert part["properties"]["title"] == {"type": "string", "description": "Its title."}
    assert "title" not in part


def test_a_default_that_is_an_object_is_reported_whole() -> None:
    schema = _schema_of(dict[str, str], {"title": "kept"})
    assert schema["properties"]["value"]["default"] == {"title": "kept"}


@tool
def grow(tree: Tree, size: Size = Size.SMALL, parts: list[Part] | None = None) -> str:
    """Grow a tree."""
    names = [child.name for child in tree.children]
    return f"{tree.name} {names} {size} {parts}"


async def test_a_model_that_holds_itself_is_read() -> None:
    given = {"tree": {"name": "a", "children": [{"name": "b", "children": []}]}, "size": "large"}
    assert (await grow.run(given)).content == "a ['b'] Size.LARGE None"


async def test_a_function_gets_its_own_types() -> None:
    seen = []

    @tool
    def check(when: date, parts: list[Part], size: Size, pair: tuple[int, str]) -> None:
        """Check."""
        seen.extend([when, parts[0], size, pair])

    given = {"when": "2026-11-22", "parts": [{"title": "t"}], "size": "small", "pair": [1, "x"]}
    await check.run(given)
    assert seen == [date(2026, 11, 22), Part(title="t"), Size.SMALL, (1, "x")]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"value": 0}, "value: Input should be greater than or equal to 1"),
        ({"value": "x"}, "value: Input should be a valid integer"),
        ({}, "value: Field required"),
        ({"value": 1, "more": 2}, "more: Extra inputs are not permitted"),
    ],
)
async def test_arguments_are_checked_and_the_fault_named_with_the_schema(
    given: Any, fault: str
) -> None:
    @tool
    def bounded(value: Annotated[int, Field(ge=1)]) -> int:
        """Bounded."""
        return value

    with pytest.raises(ToolError) as caught:
        await bounded.run(given)
    assert fault in str(caught.value)
    assert '"minimum": 1' in str(caught.value)


@pytest.mark.parametrize("name", ["json", "copy", "schema", "dict", "model_name", "_hidden"])
async def test_an_argument_may_be_called_what_pydantic_keeps_for_itself(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f'def odd({name}: str = "d"):\n    """Odd."""\n    return {name}', scope)
    made = tool(scope["odd"])
    assert list(made.parameters["properties"]) == [name]
    assert (await made.run({name: "x"})).content == "x"
    assert (await made.run({})).content == "d"
    with pytest.raises(ToolError, match=name):
        await made.run({name: 3})


async def test_the_context_is_given_and_never_reported() -> None:
    @tool
    def needs(a: int, context: ToolContext) -> str:
        """Need it."""
        return f"{a} {context.session_id!r}"

    @tool
    def may(context: ToolContext | None = None) -> str:
        """Take it."""
        return str(context is not None)

    assert list(needs.parameters["properties"]) == ["a"]
    assert may.parameters["properties"] == {}
    assert (await needs.run({"a": 1})).content == "1 ''"
    assert (await may.run({})).content == "True"


@pytest.mark.parametrize(
    "source",
    [
        "def f(*values: int): ...",
        "def f(**values: int): ...",
        "def f(a: Callable[[], int]): ...",
        "def f(a: int, *rest: int): ...",
        "def f(a: list[Unknown]): ...",
        "def f(a: Unknown): ...",
        "def f(a: object()): ...",
        "def f(a: range): ...",
    ],
)
def test_a_signature_that_is_no_schema_is_an_error_that_names_the_tool(source: str) -> None:
    scope: dict[str, Any] = {}
    head = "from __future__ import annotations\nfrom collections.abc import Callable\n"
    exec(head + source, scope)
    with pytest.raises(ConfigError, match=r"\AThe tool 'f'.*\Z"):
        tool(scope["f"])


def test_an_argument_without_a_type_is_a_text() -> None:
    def plain(word):  # type: ignore[no-untyped-def]
        """Plain."""

    assert tool(plain).parameters["properties"]["word"] == {"type": "string"}


def test_a_tool_is_still_a_function() -> None:
    @tool
    def double(x: int) -> int:
        """Twice."""
        return 2 * x

    assert double(4) == 8


@dataclass
class Point:
    x: int
    when: date


RESULTS = [
    ("text", "text"),
    (3, "3"),
    (None, "null"),
    ([1, "é"], '[1, "é"]'),
    ({"a": Size.SMALL}, '{"a": "small"}'),
    (Part(title="t"), '{"title":"t","count":1}'),
    ([Part(title="t")], '[{"title": "t", "count": 1}]'),
    ({"p": Point(1, date(2026, 1, 2))}, '{"p": {"x": 1, "when": "2026-01-02"}}'),
    (Point(1, date(2026, 1, 2)), '{"x": 1, "when": "2026-01-02"}'),
    ({"b": b"\x00\xff"}, '{"b": "AP8="}'),
    ("half \ud83d", "half \ufffd"),
    (ImagePart(b"x"), (ImagePart(b"x"),)),
    (["see", ImagePart(b"x"), {"a": 1}], None),
]


@pytest.mark.parametrize(("value", "read"), RESULTS, ids=range(len(RESULTS)))
async def test_a_result_is_read_by_the_model(value: Any, read: Any) -> None:
    @tool
    def give() -> Any:
        """Give."""
        return value

    wanted = read or (TextPart("see"), ImagePart(b"x"), TextPart('{"a": 1}'))
    assert (await give.run({})).content == wanted


async def test_a_result_that_is_no_json_is_a_failure_of_the_tool() -> None:
    @tool
    def knot() -> Any:
        """Tie a knot."""
        tied: list[Any] = []
        tied.append(tied)
        return tied

    with pytest.raises(ToolError, match="knot failed"):
        await knot.run({})


async def test_a_timeout_of_the_tools_own_is_not_called_its_deadline() -> None:
    @tool(timeout=30)
    async def inner() -> str:
        """Time out inside."""
        async with asyncio.timeout(0.001):
            await asyncio.sleep(1)
        return ""

    with pytest.raises(ToolError, match="inner failed: TimeoutError"):
        await inner.run({})


class Level(IntEnum):
    HIGH = 2


class Place(NamedTuple):
    x: int
    y: int = 2


class Plain:
    def __init__(self) -> None:
        self.shown, self._hidden = 1, 2


class Array:
    """Like one of NumPy."""

    def tolist(self) -> list[int]:
        return [1, 2]


class Table:
    """Like one of pandas."""

    def to_string(self) -> str:
        return "a  b"

    def to_dict(self) -> dict[str, int]:
        return {"a": 1}


class Picture:
    """Like one of Pillow."""

    def _repr_png_(self) -> bytes:
        return b"\x89PNG\r\n\x1a\nrest"


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 28, 10, tzinfo=UTC), "2026-11-28T10:00:00Z"),
        (date(2026, 11, 28), "2026-11-28"),
        (timedelta(seconds=90), "PT1M30S"),
        (Decimal("0.10"), "0.10"),
        (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Path("a"), "a"),
        (Size.SMALL, "small"),
        (Level.HIGH, "2"),
        (b"text", "text"),
        (b"\x00\xff", "AP8="),
        ({1, 2}, "[1, 2]"),
        ((n for n in (1, 2)), "[1, 2]"),
        ({(1, 2): "a"}, '{"1,2": "a"}'),
        ({date(2026, 1, 2): 1}, '{"2026-01-02": 1}'),
        (Place(1), '{"x": 1, "y": 2}'),
        ([Place(1)], '[{"x": 1, "y": 2}]'),
        (memoryview(b"text"), "text"),
        (Array(), "[1, 2]"),
        ({"a": Array()}, '{"a": [1, 2]}'),
        (Table(), "a  b"),
        ([Table()], '[{"a": 1}]'),
        (Plain(), '{"shown": 1}'),
        (ValueError("wrong"), "wrong"),
        (range(3), "[0, 1, 2]"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_results_are_readable(value: Any, text: str) -> None:
    @tool
    def give() -> Any:
        """Give."""
        return value

    assert (await give.run({})).content == text


@pytest.mark.parametrize(
    ("value", "image"),
    [
        (PNG, ImagePart(PNG)),
        (b"\xff\xd8\xff\xe0", ImagePart(b"\xff\xd8\xff\xe0", "image/jpeg")),
        (bytearray(b"GIF89a"), ImagePart(b"GIF89a", "image/gif")),
        (b"RIFF....WEBP", ImagePart(b"RIFF....WEBP", "image/webp")),
        (Picture(), ImagePart(PNG + b"rest")),
        ([Picture()], ImagePart(PNG + b"rest")),
    ],
    ids=["png", "jpeg", "gif", "webp", "object", "list"],
)
async def test_images_are_images(value: Any, image: ImagePart) -> None:
    @tool
    def give() -> Any:
        """Give."""
        return value

    assert (await give.run({})).content == (image,)
