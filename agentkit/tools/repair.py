"""Repair the arguments of a tool call: invalid JSON, spelling of names, and types.

Only unambiguous errors are corrected; anything else goes back to the model as an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.tools.lenient_json import InvalidJson, find_values, parse_value

MOST_LEVELS = 100
"""Levels of nesting in the arguments of a call."""
_EMPTY = ("", '""', "null", "None")
"""Texts that models send for a call without arguments."""

_OPEN_KEYS = {"patternProperties", "anyOf", "oneOf", "allOf", "$ref", "if"}
"""Keys of a schema that may allow arguments which `properties` does not name."""

_VARIANT_KEYS = {"enum", "const", "anyOf", "oneOf", "$ref"}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def repair_arguments(text: str) -> dict[str, Any] | None:
    """Parse a JSON object, despite trailing commas, single quotes, missing ends, code fences and
    what `lenient_json` accepts besides. None if the text contains no object, or several."""
    stripped = text.strip()
    if stripped in _EMPTY:
        return {}
    if stripped[:1] == '"' and isinstance(inner := _parse(stripped), str) and inner != stripped:
        return repair_arguments(inner)  # A JSON string that holds the object.
    found = [value for value, _, _ in find_values(stripped) if isinstance(value, dict)]
    filled = [value for value in found if value] or found
    return filled[0] if filled and all(value == filled[0] for value in filled) else None


def fit_arguments(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments to the names and types of a schema where a text stands for a value: "3"
    for 3, "true" for True, '["a"]' for a list, "a" for ["a"]."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    definitions = schema.get("$defs", {})
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        own = name if name in properties else _match_name(name, properties)
        if own != name and (own in arguments or own in found):
            own = name  # Two spellings of one name are ambiguous.
        found[own] = _fit(value, properties.get(own, {}), definitions)
    return found


def fit_value(value: Any, schema: Mapping[str, Any]) -> Any:
    """Convert a value to the types of a schema, as `fit_arguments` does."""
    return _fit(value, schema, schema.get("$defs", {}))


def unknown_arguments(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """The names that a schema does not have, where it names all that it takes. A second spelling
    of a name that it has is not one of them: its value may be the one that is meant."""
    known = schema.get("properties") or {}
    if arguments.keys() <= known.keys():
        return []
    is_open = schema.get("additionalProperties") or _OPEN_KEYS & schema.keys()
    if is_open or (not known and "additionalProperties" not in schema):
        return []
    return [each for each in arguments if each not in known and _match_name(each, known) == each]


def without_surrogates(value: Any, levels: int = MOST_LEVELS) -> Any:
    """Apply `join_surrogates` to all texts in a JSON value. Raises ValueError where it is nested
    deeper than `levels`, which validation, storage and digests would reach Python's limit with."""
    if isinstance(value, str):
        return join_surrogates(value)
    if not isinstance(value, Mapping | list):
        return value
    if not levels:
        raise ValueError(f"nested deeper than {MOST_LEVELS} levels")
    if isinstance(value, list):
        return [without_surrogates(item, levels - 1) for item in value]
    return {
        join_surrogates(str(key)): without_surrogates(item, levels - 1)
        for key, item in value.items()
    }


def join_surrogates(text: str) -> str:
    """Join surrogate pairs and replace lone surrogates, which no server accepts."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _fit(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    if _has_plain_type(value, schema):
        return value
    schema = _resolve(schema, definitions)
    types = _types(schema, definitions)
    value = _convert(value, types, _variant(schema, "enum", definitions) or {})
    if isinstance(value, Mapping) and (branch := _variant(schema, "properties", definitions)):
        return fit_arguments(value, {**branch, "$defs": definitions})
    if "array" in types and not isinstance(value, list) and value is not None:
        value = [value] if types <= {"array", "null"} else value
    items = (_variant(schema, "items", definitions) or {}).get("items")
    if isinstance(value, list) and isinstance(items, Mapping):
        return [_fit(item, items, definitions) for item in value]
    return value


def _has_plain_type(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value already has the one type of its schema, which is the common case."""
    kind = schema.get("type")
    return kind == _TYPES.get(type(value), "") and not _VARIANT_KEYS & schema.keys()


def _convert(value: Any, types: set[str], schema: Mapping[str, Any]) -> Any:
    """Convert a text or number that stands for a value of one of these types."""
    if isinstance(value, str):
        if "enum" in schema and value not in schema["enum"]:
            value = _match_enum(value, schema["enum"])
        must_be_other = isinstance(value, str) and types and "string" not in types
        return _parse_value(value, types) if must_be_other else value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return json.dumps(value) if is_number and types and types <= {"string", "null"} else value


def _match_enum(text: str, allowed: Sequence[Any]) -> Any:
    """Return the one allowed value that equals a text except for case, "-", "_" and spaces."""
    same = [one for one in allowed if _folded(str(one)) == _folded(text)]
    return same[0] if len(same) == 1 else text


def _variant(
    schema: Mapping[str, Any], key: str, definitions: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Return the only variant of a schema, itself included, that has a key."""
    variants = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    found = [one for one in (_resolve(one, definitions) for one in variants) if one.get(key)]
    return found[0] if len(found) == 1 else None


def _parse_value(text: str, types: set[str]) -> Any:
    """Parse a text as one of these JSON types; return the text if that fails."""
    stripped = text.strip()
    constants = {"true": True, "false": False, "null": None, "none": None, "": None}
    if stripped.lower() in constants:
        value = constants[stripped.lower()]
        kind = "null" if value is None else "boolean"
        return value if kind in types else text
    value = _parse_compound(stripped)
    kinds = {"integer": int, "number": (int, float), "array": list, "object": dict}
    fits = any(isinstance(value, kinds[t]) for t in types if t in kinds)  # type: ignore[arg-type]
    return value if fits and not isinstance(value, bool) else text


def _parse_compound(text: str) -> Any:
    return repair_arguments(text) if text[:1] == "{" else _parse(text)


def _parse(text: str) -> Any:
    """The JSON value that a whole text is, None where it is none."""
    try:
        value, end = parse_value(text)
    except InvalidJson:
        return None
    return None if text[end:].strip() else value


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = str(schema.get("$ref", "")).rsplit("/", 1)[-1]
    resolved: Mapping[str, Any] = definitions.get(reference, {}) if reference else schema
    return resolved


def _types(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> set[str]:
    """Return the JSON types that a schema allows; empty if it does not say."""
    variants = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    found: set[str] = set()
    for variant in (_resolve(each, definitions) for each in variants):
        if "enum" in variant or "const" in variant:
            values = [*variant.get("enum", ()), *([variant["const"]] if "const" in variant else ())]
            found |= {_TYPES.get(type(value), "object") for value in values}
        named = variant.get("type", ())
        found |= {named} if isinstance(named, str) else set(named)
    return found


def _match_name(name: str, known: Mapping[str, Any]) -> str:
    """Return the known name that matches except for case, "-", "_" and spaces, else the name."""
    folded = _folded(name)
    same = [other for other in known if _folded(other) == folded]
    return same[0] if len(same) == 1 else name


def _folded(name: str) -> str:
    return name.replace("-", "").replace("_", "").replace(" ", "").casefold()
