"""Names and parameters of tools in the form that servers take."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agentkit.backends.tool_schemas import TOOL_NAME, clean_parameters, wire_names
from tests.servers.strict_rules import nodes

GEMINI = "[a-zA-Z_][a-zA-Z0-9_-]{0,62}"
NAMES = [
    *(
        "计算",
        "語義理解",
        "calculer_été",
        "get.weather",
        "my tool!",
        "n" * 70,
        "n" * 71,
        "<lambda>",
    ),
    *(
        "...",
        "1abc",
        "a/b",
        "a:b",
        "a b",
        "a.b",
        "a_b",
        "-x",
        "",
        "server__tool",
        "🌍",
        "functions.x",
    ),
]


@pytest.mark.parametrize("pattern", [TOOL_NAME, GEMINI, "[a-zA-Z_][a-zA-Z0-9_-]{2,63}"])
def test_names_are_mapped_one_to_one_whatever_their_order(pattern: str) -> None:
    mapped = wire_names(NAMES, pattern)
    assert set(mapped) == set(NAMES)
    assert len(set(mapped.values())) == len(mapped)
    assert all(re.fullmatch(pattern, name) for name in mapped.values())
    assert mapped == wire_names(reversed(NAMES), pattern)


@pytest.mark.parametrize("name", ["lookup", "server__tool", "a-b", "n" * 64])
def test_a_name_that_fits_is_kept(name: str) -> None:
    assert wire_names([name, "计算"])[name] == name


def test_a_name_stays_legible() -> None:
    mapped = wire_names(["get.weather", "my tool!"])
    assert mapped == {"get.weather": "get_weather", "my tool!": "my_tool"}
    assert wire_names(["get.weather", "get_weather"])["get.weather"] != "get_weather"


POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
TREE = {
    "$defs": {"Tree": {"type": "object", "properties": {
        "value": {"type": "integer"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}},
    "$ref": "#/$defs/Tree",
}  # fmt: skip
DEEP: dict[str, Any] = {"type": "string"}
for _ in range(40):
    DEEP = {"type": "object", "properties": {"inner": DEEP}}
SCHEMAS: dict[str, Any] = {
    "nothing": {},
    "an object without properties": {"type": "object"},
    "null properties": {"type": "object", "properties": None},
    "no type": {"properties": {"x": {"type": "string"}}},
    "anyOf at the top": {"anyOf": [POINT, {"type": "object", "properties": {"y": {}}}]},
    "oneOf at the top": {"type": "object", "oneOf": [POINT, {"required": ["y"]}]},
    "allOf at the top": {"allOf": [POINT, {"properties": {"y": {"type": "array"}}}]},
    "enum at the top": {"type": "object", "properties": {"x": {}}, "enum": [{}]},
    "arrays without items": {"type": "object", "properties": {"x": {"type": "array"}}},
    "an array or null": {"type": "object", "properties": {"x": {"type": ["array", "null"]}}},
    "a tuple": {"type": "object", "properties": {
        "x": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}}},
    "boolean schemas": {"type": "object", "properties": {"x": True, "y": {"items": False}}},
    "a constant": {"type": "object", "properties": {"x": {"const": 3}, "y": {"const": "a"}}},
    "nullable": {"type": "object", "properties": {
        "x": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}},
    "a type beside anyOf": {"type": "object", "properties": {
        "x": {"type": "string", "anyOf": [{"minLength": 1}, {"pattern": "a"}]}}},
    "a map": {"type": "object", "properties": {
        "x": {"type": "object", "additionalProperties": {"type": "integer"}}}},
    "a map by pattern": {"type": "object", "patternProperties": {"^a": {}}},
    "formats": {"type": "object", "properties": {"x": {"type": "string", "format": "uri"}}},
    "numbers to choose from": {"type": "object", "properties": {"x": {"enum": [1, 2]}}},
    "an empty choice": {"type": "object", "properties": {"x": {"enum": ["", "a"]}}},
    "required that is not there": {"type": "object", "properties": {"x": {}},
                                   "required": ["x", "x", "y"]},
    "required as in draft 3": {"type": "object", "properties": {
        "x": {"type": "string", "required": True}}},
    "a reference": {"$defs": {"P": POINT}, "type": "object",
                    "properties": {"p": {"$ref": "#/$defs/P", "description": "a point"}}},
    "definitions": {"definitions": {"a/b": POINT}, "type": "object",
                    "properties": {"p": {"$ref": "#/definitions/a~1b"}}},
    "a reference to nothing": {"type": "object", "properties": {"p": {"$ref": "#/$defs/Q"}}},
    "recursion": TREE,
    "recursion to the root": {"type": "object", "properties": {"next": {"$ref": "#"}}},
    "forty levels": DEEP,
    "a property named type": {"type": "object", "properties": {"type": {"type": "string"}}},
}  # fmt: skip


@pytest.mark.parametrize("level", ["full", "inlined", "simple"])
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_parameters_are_an_object_that_servers_take(schema: Any, level: Any) -> None:
    before = json.dumps(schema)
    found = clean_parameters(schema, level)
    assert json.dumps(schema) == before
    assert found["type"] == "object"
    assert isinstance(found["properties"], dict)
    assert not {"anyOf", "oneOf", "allOf", "$ref"} & found.keys()
    for node in nodes(found):
        assert "items" in node or "array" not in str(node.get("type"))
        required = node.get("required", [])
        assert set(required) <= set(node.get("properties", ()))
        assert len(set(required)) == len(required)
        if level != "full":
            assert "$ref" not in node
    if level == "simple":
        assert len(json.dumps(found)) < 4000
        for node in list(nodes(found))[1:]:
            assert isinstance(node["type"], str)
            assert not {"const", "format", "anyOf", "additionalProperties"} & node.keys()
            assert node["type"] != "object" or node["properties"]
            assert node["type"] == "string" or "enum" not in node


def test_a_choice_at_the_top_keeps_all_properties_and_what_all_require() -> None:
    other = {"type": "object", "properties": {"x": {}, "y": {}}, "required": ["x", "y"]}
    found = clean_parameters({"anyOf": [POINT, other]})
    assert set(found["properties"]) == {"x", "y"}
    assert found["required"] == ["x"]


def test_a_plain_schema_is_left_as_it_is() -> None:
    for level in ("full", "inlined"):
        assert clean_parameters(POINT, level) == POINT
