"""Tool names and JSON Schemas in the form that a model's server takes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from agentkit.tools.tool import Tool

TOOL_NAME = "[a-zA-Z0-9_-]{1,64}"
"""The pattern of tool names that every hosted service takes."""

Level = Literal["full", "inlined", "simple"]
"""How much of JSON Schema a server takes: all; no references; plain types alone, without unions,
constants, formats and objects whose keys are not known."""

Schema = dict[str, Any]

_MAX_DEPTH = 12
"""Deeper parts of a schema, and those of a recursive type below its third level, take any value."""
_MAX_REPEATS = 2
_SCALARS = ("string", "integer", "number", "boolean")
_SIMPLE = frozenset(
    (
        *("type", "description", "enum", "properties", "required", "items"),
        *("minimum", "maximum", "minItems", "maxItems"),
    )
)
_SCHEMAS = frozenset({"items", "additionalProperties", "not", "contains", "propertyNames"})
_SCHEMA_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_SCHEMA_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_UNIONS = ("anyOf", "oneOf")


def wire_names(names: Iterable[str], pattern: str = TOOL_NAME) -> dict[str, str]:
    """Map tool names to names that fit a pattern, one to one and whatever their order. A name that
    fits is kept; of another the characters that fit are, with a digest of the whole where they
    alone would not distinguish it."""
    distinct = sorted(set(names))
    wire = {name: name for name in distinct if re.fullmatch(pattern, name)}
    plain = {name: re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_") for name in distinct}
    counts = Counter(plain.values())
    for name in distinct:
        short = plain[name]
        is_unique = name.isascii() and counts[short] == 1 and short not in wire
        fits = is_unique and re.fullmatch(pattern, short)
        wire.setdefault(name, short if fits else _with_digest(name, short))
    return wire


def _with_digest(name: str, short: str) -> str:
    kept = re.sub(r"[^a-zA-Z0-9_]", "", short)[:40]
    start = kept if kept[:1].isalpha() else f"tool_{kept}".rstrip("_")
    return f"{start}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def wire_tool(tool: Tool, name: str, level: Level = "full") -> Tool:
    """Return a tool under another name, with parameters that a server takes."""
    parameters = clean_parameters(tool.parameters, level)
    if name == tool.name and parameters == tool.parameters:
        return tool
    return replace(tool, name=name, parameters=parameters)


def clean_parameters(schema: Mapping[str, Any], level: Level = "full") -> Schema:
    """Return the parameters of a tool as an object with properties.

    A root with anyOf, oneOf or allOf becomes one object with the properties of all, of which those
    are required that every choice requires. Arrays have items, and `required` names properties
    alone. References are inlined from "inlined" on; recursion is bounded.
    """
    root = _Cleaner(schema, level).clean(schema, 0, {})
    merged = _merge_choices(root, level)
    properties = merged.get("properties")
    if not properties or not isinstance(properties, Mapping):
        return {"type": "object", "properties": {}}
    return _fit_required({**merged, "type": "object"})


def _merge_choices(schema: Schema, level: Level) -> Schema:
    """Return an object schema without unions at its top."""
    merged = {key: value for key, value in schema.items() if key not in (*_UNIONS, "allOf")}
    properties = dict(merged.get("properties") or {})
    required = set(merged.get("required") or ())
    parts = [_merge_choices(each, level) for each in schema.get("allOf") or () if each]
    for union in _UNIONS:
        choices = [_merge_choices(each, level) for each in schema.get(union) or () if each]
        shared = [set(each.get("required") or ()) for each in choices if "properties" in each]
        joined = {k: v for each in choices for k, v in (each.get("properties") or {}).items()}
        if joined:
            parts.append({"properties": joined, "required": set.intersection(*shared)})
    for part in parts:
        properties = {**(part.get("properties") or {}), **properties}
        required |= set(part.get("required") or ())
    if properties or parts:
        merged |= {"properties": properties, "required": sorted(required)}
    return _fit_required(merged)


def _fit_required(schema: Schema) -> Schema:
    """Let `required` name each property once, and nothing else."""
    given = schema.pop("required", None)
    properties = schema.get("properties") or {}
    names = [name for name in given if name in properties] if isinstance(given, list) else []
    if names:
        schema["required"] = list(dict.fromkeys(names))
    return schema


class _Cleaner:
    """Cleans the schema of one root, to which its references lead."""

    def __init__(self, root: Mapping[str, Any], level: Level) -> None:
        self._root = root
        self._level = level
        self._is_simple = level == "simple"

    def clean(self, schema: Any, depth: int, seen: Mapping[str, int]) -> Schema:
        """Return a schema; `seen` counts the references that led here."""
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return {"type": "string"} if self._is_simple else {}
        if isinstance(reference := schema.get("$ref"), str) and self._inlines(depth):
            seen = {**seen, reference: seen.get(reference, 0) + 1}
            target = self._find(reference) if seen[reference] <= _MAX_REPEATS else {}
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return self.clean({**target, **beside}, depth, seen)
        cleaned = {
            key: self._value(key, value, depth, seen)
            for key, value in schema.items()
            if not (self._level != "full" and key in ("$defs", "definitions", "$schema", "$id"))
        }
        return self._fit(cleaned)

    def _inlines(self, depth: int) -> bool:
        return self._level != "full" or depth == 0

    def _find(self, reference: str) -> Mapping[str, Any]:
        """Return what a local reference leads to, {} where there is nothing."""
        found: Any = self._root if reference.startswith("#") else {}
        for step in reference.lstrip("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name, {}) if isinstance(found, Mapping) and step else found
        return found if isinstance(found, Mapping) else {}

    def _value(self, key: str, value: Any, depth: int, seen: Mapping[str, int]) -> Any:
        if key in _SCHEMA_MAPS and isinstance(value, Mapping):
            return {name: self.clean(each, depth + 1, seen) for name, each in value.items()}
        if key in _SCHEMA_LISTS and isinstance(value, list):
            return [self.clean(each, depth + 1, seen) for each in value]
        if key in _SCHEMAS and isinstance(value, Mapping):
            return self.clean(value, depth + 1, seen)
        return value

    def _fit(self, schema: Schema) -> Schema:
        any_value = {"type": "string"} if self._is_simple else {}
        if isinstance(items := schema.get("items"), list | bool):
            schema["items"] = (isinstance(items, list) and self._one_of(items)) or any_value
        kind = schema.get("type")
        if kind == "array" or (isinstance(kind, list) and "array" in kind):
            schema.setdefault("items", any_value)
        choices = schema.get("anyOf")
        if isinstance(choices, list) and "type" in schema and not self._is_simple:
            kind = schema.pop("type")  # Moonshot refuses a type beside anyOf.
            schema["anyOf"] = [{"type": kind, **each} for each in choices]
        if "properties" in schema or "required" in schema:
            schema = _fit_required(schema)
        return self._simplify(schema) if self._is_simple else schema

    def _one_of(self, items: list[Any]) -> Schema:
        """Return the items of a tuple, which older drafts write as a list."""
        each = [dict(item) for item in items if isinstance(item, Mapping)]
        if self._is_simple or len(each) < 2:
            return each[0] if each else {}
        return {"anyOf": each}

    def _simplify(self, schema: Schema) -> Schema:
        """Return a schema of one type, without keywords that Gemini and old servers refuse."""
        for union in (*_UNIONS, "allOf"):
            choices = [each for each in schema.pop(union, ()) if each.get("type") != "null"]
            is_object = any("properties" in each for each in choices)
            if is_object or (union == "allOf" and choices):
                schema = _merge_choices({**schema, union: choices}, self._level)
                schema.setdefault("type", choices[0].get("type", "object"))
            elif choices:
                schema = {**_widest(choices), **schema}
        if isinstance(kind := schema.get("type"), list):
            schema["type"] = next((each for each in kind if each != "null"), "string")
        if "const" in schema:
            schema["enum"] = [schema["const"]]
        return _typed({key: value for key, value in schema.items() if key in _SIMPLE})


def _widest(choices: list[Schema]) -> Schema:
    """Return the choice that others can be written as: text where the types differ."""
    if all(each.get("type") == "string" and each.get("enum") for each in choices):
        return {"type": "string", "enum": [value for each in choices for value in each["enum"]]}
    kinds = {each.get("type") for each in choices}
    if len(kinds) == 1 or kinds == {"integer", "number"}:
        return next((each for each in choices if each.get("type") == "number"), choices[0])
    return next((each for each in choices if each.get("type") == "array"), {"type": "string"})


def _typed(schema: Schema) -> Schema:
    """Give a simple schema a type that fits its other keywords."""
    if "type" not in schema:
        values = schema.get("enum") or [""]
        is_number = all(isinstance(v, int) and not isinstance(v, bool) for v in values)
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        schema["type"] = "integer" if is_number else kind
    if "enum" in schema:
        texts = [v for v in schema["enum"] if isinstance(v, str) and v]
        if schema["type"] == "string" and texts:
            schema["enum"] = texts
        else:
            allowed = ", ".join(map(str, schema.pop("enum")))
            schema["description"] = f"{schema.get('description', '')} One of: {allowed}.".strip()
    if schema["type"] == "object" and not schema.get("properties"):
        about = f"{schema.get('description', '')} A JSON object.".strip()
        return {"type": "string", "description": about}
    return schema
