"""What an answer is held to: a JSON Schema of the user's, or a call in the model's own format.

A forced answer is one call. Where the model would think first, a held answer does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.backends.base import Options
from agentkit.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How a model writes a call: what stands before it, its key for the arguments, and whether
    it is one of a list."""

    before: str = ""
    arguments: str = "arguments"
    listed: bool = False


HERMES = CallFormat("<tool_call>\n")
MISTRAL = CallFormat("[TOOL_CALLS]", listed=True)
LLAMA = CallFormat(arguments="parameters")
BARE = CallFormat()


def call_format(template: str) -> CallFormat:
    """The format that a chat template teaches; Hermes where it knows no tools, for then they are
    told in that form."""
    if "tools" not in template or "<tool_call>" in template:
        return HERMES
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    return LLAMA if '"parameters"' in template and "<|eot_id|>" in template else BARE


def is_forced(tools: Sequence[Tool], options: Options) -> bool:
    """Whether the answer must be a call."""
    return bool(tools) and options.tool_choice not in ("auto", "none")


def calls_schema(tools: Sequence[Tool], form: CallFormat) -> Mapping[str, Any]:
    """A JSON Schema of one call to any of the tools."""
    at = "#/items" if form.listed else "#"
    calls = {
        "anyOf": [
            _call_schema(tool, form.arguments, f"{at}/anyOf/{number}/properties/{form.arguments}")
            for number, tool in enumerate(tools)
        ]
    }
    return {"type": "array", "items": calls, "minItems": 1, "maxItems": 1} if form.listed else calls


def _call_schema(tool: Tool, key: str, at: str) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, key: _moved(dict(tool.parameters), at)},
        "required": ["name", key],
        "additionalProperties": False,
    }


def _moved(schema: Any, to: str) -> Any:
    """The schema with its references to itself made right for its new place."""
    if isinstance(schema, list):
        return [_moved(item, to) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"{to}{value[1:]}"
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, to)
        for key, value in schema.items()
    }
