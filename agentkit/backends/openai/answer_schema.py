"""JSON Schemas of answers in the subset that servers enforce, and answers back in the form asked.

The subset is that of OpenAI's Structured Outputs: the root is an object, each object is closed and
requires every key, optional keys may be null. What it cannot express is sent as it is, not as
strict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agentkit.backends.tool_schemas import clean_parameters

Schema = dict[str, Any]

_ANSWER = "answer"
_KEPT = frozenset(
    (
        *("type", "description", "title", "enum", "const", "$ref", "$defs", "definitions"),
        *("properties", "required", "additionalProperties", "items", "anyOf", "pattern", "format"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minItems", "maxItems"),
    )
)
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)
_INSTRUCTION = (
    "Answer with one JSON object that fits this JSON Schema, and nothing beside it:\n{schema}"
)


class _NotExpressible(Exception):
    """A schema says what the strict subset cannot."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The schema that a server gets for an answer. `restore` converts the text of a reply to the
    schema that was asked for; None where they are the same."""

    schema: Schema
    strict: bool
    restore: Callable[[str], str] | None = None

    @property
    def json_schema(self) -> Schema:
        """The value of response_format."""
        described = {"name": _ANSWER, "schema": self.schema, "strict": self.strict}
        return {"type": "json_schema", "json_schema": described}

    @property
    def instruction(self) -> str:
        """The schema as a part of the system message, for servers that take none."""
        return _INSTRUCTION.format(schema=json.dumps(self.schema, ensure_ascii=False))


def answer_format(schema: Mapping[str, Any], strict: bool, simple: bool = False) -> AnswerFormat:
    """Return the format for a JSON Schema. A root that is not an object is wrapped in one."""
    root = _resolved_root(schema)
    is_wrapped = root.get("type") != "object" or bool(
        {"anyOf", "oneOf", "allOf", "$ref"} & root.keys()
    )
    if is_wrapped:
        definitions: Schema = {
            key: root.pop(key) for key in ("$defs", "definitions") if key in root
        }
        root = {
            "type": "object",
            "properties": {_ANSWER: root},
            "required": [_ANSWER],
            "additionalProperties": False,
            **definitions,
        }
    is_strict = False
    sent = root
    if simple:
        sent = clean_parameters(root, "simple")
    elif strict:
        with suppress(_NotExpressible, RecursionError):
            sent, is_strict = _strict(root), True

    def restore(text: str) -> str:
        return _restored(text, root, is_wrapped)

    is_changed = is_wrapped or (is_strict and _has_optional(root))
    return AnswerFormat(sent, is_strict, restore if is_changed else None)


def _resolved_root(schema: Mapping[str, Any]) -> Schema:
    """Return the schema with what its root refers to, as types that contain themselves have it."""
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**beside, **_referred(schema, dict(schema))}


def _strict(schema: Any) -> Schema:
    """Return a schema in the strict subset. Raises _NotExpressible."""
    if not isinstance(schema, Mapping) or not schema:
        raise _NotExpressible
    if isinstance(reference := schema.get("$ref"), str):
        if reference == "#":
            raise _NotExpressible
        return {"$ref": reference}
    found = {key: value for key, value in schema.items() if key in _KEPT and value is not None}
    if "oneOf" in schema:
        found["anyOf"] = schema["oneOf"]
    parts: list[Any] = schema.get("allOf") or []
    if len(parts) == 1:
        return _strict({**{k: v for k, v in schema.items() if k != "allOf"}, **parts[0]})
    if parts or not {"type", "anyOf", "enum", "const"} & found.keys():
        raise _NotExpressible
    if found.get("format") not in _FORMATS:
        found.pop("format", None)
    return _strict_parts(found)


def _strict_parts(found: Schema) -> Schema:
    for key in {"$defs", "definitions"} & found.keys():
        found[key] = {name: _strict(each) for name, each in found[key].items()}
    if "anyOf" in found:
        found["anyOf"] = [_strict(each) for each in found["anyOf"]]
    if "items" in found or "array" in _types(found):
        found["items"] = _strict(found.get("items"))
    return _closed(found) if "object" in _types(found) or "properties" in found else found


def _closed(schema: Schema) -> Schema:
    """Return an object that requires all its keys and takes no others."""
    properties, further = schema.get("properties") or {}, schema.get("additionalProperties")
    if further or (further is None and not properties):
        raise _NotExpressible
    required = schema.get("required") or ()
    closed = {
        name: _strict(each) if name in required else _nullable(_strict(each))
        for name, each in properties.items()
    }
    return {
        **schema,
        "properties": closed,
        "required": list(closed),
        "additionalProperties": False,
    }


def _types(schema: Mapping[str, Any]) -> list[Any]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [kind]


def _takes_null(schema: Mapping[str, Any]) -> bool:
    if "null" in _types(schema) or None in schema.get("enum", ()):
        return True
    return any(_takes_null(each) for union in ("anyOf", "oneOf") for each in schema.get(union, ()))


def _nullable(schema: Schema) -> Schema:
    if _takes_null(schema):
        return schema
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}


def _has_optional(schema: Any) -> bool:
    """Whether an object has an optional key that may not be null."""
    if isinstance(schema, list):
        return any(map(_has_optional, schema))
    if not isinstance(schema, Mapping):
        return False
    properties = schema.get("properties")
    required = schema.get("required") or ()
    if isinstance(properties, Mapping) and any(
        name not in required and isinstance(each, Mapping) and not _takes_null(each)
        for name, each in properties.items()
    ):
        return True
    return any(map(_has_optional, schema.values()))


def _restored(text: str, root: Schema, is_wrapped: bool) -> str:
    """Return a reply without the wrapper and without null for keys that were left out; text that
    is not such JSON is returned unchanged."""
    try:
        value = json.loads(text)
        value = _without_nulls(value, root, root)
    except (ValueError, RecursionError):
        return text
    if is_wrapped and isinstance(value, dict) and set(value) == {_ANSWER}:
        value = value[_ANSWER]
    return json.dumps(value, ensure_ascii=False)


def _without_nulls(value: Any, schema: Any, root: Schema) -> Any:
    schema = _target(schema, root, value)
    if isinstance(value, list):
        return [_without_nulls(each, schema.get("items"), root) for each in value]
    if not isinstance(value, dict):
        return value
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    return {
        key: _without_nulls(each, properties.get(key), root)
        for key, each in value.items()
        if each is not None
        or key in required
        or key not in properties
        or _takes_null(_referred(properties[key], root))
    }


def _target(schema: Any, root: Schema, value: Any) -> Mapping[str, Any]:
    """Return what a schema refers to, and of a union the choice that has the keys of the value."""
    schema = _referred(schema, root)
    choices = [
        _target(each, root, value)
        for union in ("anyOf", "oneOf", "allOf")
        for each in schema.get(union) or ()
    ]
    keys = set(value) if isinstance(value, dict) else set()
    fitting = (
        each
        for each in choices
        if ("items" in each if isinstance(value, list) else keys <= set(each.get("properties", ())))
    )
    return next(fitting, schema)


def _referred(schema: Any, root: Schema) -> Mapping[str, Any]:
    for _ in range(8):
        if not isinstance(schema, Mapping) or not isinstance(schema.get("$ref"), str):
            break
        name = schema["$ref"].rpartition("/")[2]
        schema = (root.get("$defs") or root.get("definitions") or {}).get(name, {})
    return schema if isinstance(schema, Mapping) else {}
