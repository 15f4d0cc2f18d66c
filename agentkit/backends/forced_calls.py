"""JSON Schemas that force a tool call, for backends that can constrain an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentkit.backends.base import Options
from agentkit.tools.tool import Tool


def is_forced(tools: Sequence[Tool], options: Options) -> bool:
    """Whether the answer must be a tool call."""
    return bool(tools) and options.tool_choice not in ("auto", "none")


def calls_schema(
    tools: Sequence[Tool], arguments: str = "arguments", as_list: bool = False
) -> dict[str, Any]:
    """Return a JSON Schema of one call to any of the tools, or of a list with one call.
    `arguments` is the key that holds the call's arguments.

    Parameters with references stand in `$defs`, apart for each tool, since two tools may give one
    name to different definitions.
    """
    definitions: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    for number, tool in enumerate(tools):
        parameters = dict(tool.parameters)
        place = f"tool{number}"
        moved = _with_references_below(parameters, f"#/$defs/{place}")
        if moved != parameters:
            definitions[place] = moved
            parameters = {"$ref": f"#/$defs/{place}"}
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, arguments: parameters},
                "required": ["name", arguments],
                "additionalProperties": False,
            }
        )
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    if as_list:
        schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": 1}
    return {**schema, "$defs": definitions} if definitions else schema


def _with_references_below(schema: Any, place: str) -> Any:
    """Return the schema with its local references made valid below `place`."""
    if isinstance(schema, list):
        return [_with_references_below(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: place + value[1:]
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _with_references_below(value, place)
        for key, value in schema.items()
    }
