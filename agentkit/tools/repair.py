"""Arguments as a model meant them: broken JSON mended, names and types brought to the schema.

Only what has one reading is changed; everything else goes back to the model as an error.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

_LONGEST = 200_000


def repaired_arguments(text: str) -> dict[str, Any] | None:
    """The object that a text means: trailing commas, single quotes, missing ends and fences are
    forgiven. None where it means no object."""
    if len(text) > _LONGEST or "{" not in text:
        return {} if not text.strip() else None
    for read in (_strict, _literal, _forgiving):
        found = read(text)
        if isinstance(found, str):  # A JSON string that holds the object.
            found = _strict(found) or _forgiving(found)
        if isinstance(found, dict):
            return found
    return None


def fitted(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with the schema's own spelling of their names, and values of its types where a
    text stands for one: "3" for 3, "true" for True, '["a"]' for a list, "a" for ["a"]."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    definitions = schema.get("$defs", {})
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        own = name if name in properties else _nearest(name, properties)
        found[own] = _fitted(value, properties.get(own, {}), definitions)
    return found


def _fitted(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    schema = _resolved(schema, definitions)
    types = _types(schema, definitions)
    if isinstance(value, str) and types and "string" not in types:
        value = _read(value, types)
    if isinstance(value, Mapping) and schema.get("properties"):
        return fitted(value, {**schema, "$defs": definitions})
    if "array" in types and not isinstance(value, list) and value is not None:
        return [value] if types <= {"array", "null"} else value
    return value


def _read(text: str, types: set[str]) -> Any:
    """What a text means as one of these JSON types; the text itself where it means none."""
    stripped = text.strip()
    plain = {"true": True, "false": False, "null": None, "none": None, "": None}
    if stripped.lower() in plain:
        value = plain[stripped.lower()]
        wanted = "null" if value is None else "boolean"
        return value if wanted in types else text
    read = repaired_arguments(stripped) if stripped[:1] == "{" else _strict(stripped)
    kinds = {"integer": int, "number": (int, float), "array": list, "object": dict}
    fits = any(isinstance(read, kinds[t]) for t in types if t in kinds)  # type: ignore[arg-type]
    return read if fits and not isinstance(read, bool) else text


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    named = str(schema.get("$ref", "")).rsplit("/", 1)[-1]
    found: Mapping[str, Any] = definitions.get(named, {}) if named else schema
    return found


def _types(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema takes; empty where it does not say."""
    branches = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    found: set[str] = set()
    for branch in (_resolved(branch, definitions) for branch in branches):
        if "enum" in branch or "const" in branch:
            found.add("string")
        named = branch.get("type", ())
        found |= {named} if isinstance(named, str) else set(named)
    return found


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    """The known name that differs in case, "-" and "_" only; else the name as it is."""
    folded = _folded(name)
    same = [other for other in known if _folded(other) == folded]
    return same[0] if len(same) == 1 else name


def _folded(name: str) -> str:
    return name.replace("-", "").replace("_", "").replace(" ", "").casefold()


def _strict(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _forgiving(text: str) -> Any:
    from json_repair import repair_json

    try:
        return repair_json(text[text.index("{") :], return_objects=True)
    except (ValueError, RecursionError):
        return None
