"""Arguments as a model meant them: broken JSON mended, names and types brought to the schema.

Only what has one reading is changed; everything else goes back to the model as an error.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 200_000
_NOTHING = ("", '""', "null", "None")
"""What stands for no arguments at all."""

_BRANCHING = {"enum", "const", "anyOf", "oneOf", "$ref"}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def repaired_arguments(text: str) -> dict[str, Any] | None:
    """The object that a text means: trailing commas, single quotes, missing ends and fences are
    forgiven. None where it means no object."""
    if text.strip() in _NOTHING:
        return {}
    if len(text) > _LONGEST or "{" not in text:
        return None
    for read in (_strict, _literal, _forgiving):
        found = read(text)
        if isinstance(found, str) and found != text:  # A JSON string that holds the object.
            return repaired_arguments(found)
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
        if own != name and (own in arguments or own in found):
            own = name  # Two spellings of one name: which is meant, the model must say.
        found[own] = _fitted(value, properties.get(own, {}), definitions)
    return found


def sound_value(value: Any) -> Any:
    """A value whose texts hold no half of a character, which no server would take."""
    match value:
        case str():
            return sound(value)
        case Mapping():
            return {sound(str(key)): sound_value(item) for key, item in value.items()}
        case list():
            return [sound_value(item) for item in value]
    return value


def sound(text: str) -> str:
    """A text with halves of characters (lone surrogates) joined, or replaced where one is alone."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _fitted(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    if _is_plain(value, schema):
        return value
    schema = _resolved(schema, definitions)
    types = _types(schema, definitions)
    value = _typed(value, types, _branch(schema, "enum", definitions) or {})
    if isinstance(value, Mapping) and (branch := _branch(schema, "properties", definitions)):
        return fitted(value, {**branch, "$defs": definitions})
    if "array" in types and not isinstance(value, list) and value is not None:
        value = [value] if types <= {"array", "null"} else value
    items = (_branch(schema, "items", definitions) or {}).get("items")
    if isinstance(value, list) and isinstance(items, Mapping):
        return [_fitted(item, items, definitions) for item in value]
    return value


def _is_plain(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value is of the one simple type that its schema asks for, as it mostly is."""
    kind = schema.get("type")
    return kind == _TYPES.get(type(value), "") and not _BRANCHING & schema.keys()


def _typed(value: Any, types: set[str], schema: Mapping[str, Any]) -> Any:
    """A value as one of the types, where a text or a number stands for it."""
    if isinstance(value, str):
        if "enum" in schema and value not in schema["enum"]:
            value = _of_enum(value, schema["enum"])
        must_be_other = isinstance(value, str) and types and "string" not in types
        return _read(value, types) if must_be_other else value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return json.dumps(value) if is_number and types and types <= {"string", "null"} else value


def _of_enum(text: str, allowed: Sequence[Any]) -> Any:
    """The one value of a list that a text means in another case, or as a number's digits."""
    same = [one for one in allowed if _folded(str(one)) == _folded(text)]
    return same[0] if len(same) == 1 else text


def _branch(
    schema: Mapping[str, Any], key: str, definitions: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The one branch of a schema that has this key, be it the schema itself."""
    every = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    found = [one for one in (_resolved(one, definitions) for one in every) if one.get(key)]
    return found[0] if len(found) == 1 else None


def _read(text: str, types: set[str]) -> Any:
    """What a text means as one of these JSON types; the text itself where it means none."""
    stripped = text.strip()
    plain = {"true": True, "false": False, "null": None, "none": None, "": None}
    if stripped.lower() in plain:
        value = plain[stripped.lower()]
        wanted = "null" if value is None else "boolean"
        return value if wanted in types else text
    read = _mended(stripped)
    kinds = {"integer": int, "number": (int, float), "array": list, "object": dict}
    fits = any(isinstance(read, kinds[t]) for t in types if t in kinds)  # type: ignore[arg-type]
    return read if fits and not isinstance(read, bool) else text


def _mended(text: str) -> Any:
    if text[:1] == "{":
        return repaired_arguments(text)
    found = _strict(text)
    return _literal(text) if found is None and text[:1] == "[" else found


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
            values = [*branch.get("enum", ()), *([branch["const"]] if "const" in branch else ())]
            found |= {_TYPES.get(type(value), "object") for value in values}
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
