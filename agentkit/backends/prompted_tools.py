"""Tools for models without native tool calls: in the prompt, or a JSON Schema that forces a call.

In the prompt, tools go into the system message, and calls and results into the text, in the format
of Hermes, which most models know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.backends.base import Options, arguments_object, tool_definition
from agentkit.backends.conversation import valid_conversation
from agentkit.backends.text_tool_calls import CALL, END_CALL
from agentkit.messages import Message, ToolCall
from agentkit.settings.profile import Profile
from agentkit.tags import neutralize_tags
from agentkit.tools.tool import Tool

_TOOLS_PROMPT = """You may call these tools:
<tools>
{tools}
</tools>
To call one, answer with its name and arguments as JSON, between these marks:
<tool_call>
{{"name": "NAME", "arguments": {{"ARGUMENT": "VALUE"}}}}
</tool_call>"""


def with_tools_in_text(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Return the conversation in system, user and assistant messages that take turns."""
    plain = [_as_text(message) for message in valid_conversation(messages)]
    if tools:
        lines = "\n".join(json.dumps(tool_definition(tool), ensure_ascii=False) for tool in tools)
        plain.insert(0, Message("system", _TOOLS_PROMPT.format(tools=lines)))
    return valid_conversation(plain, Profile(system="first"))


def _as_text(message: Message) -> Message:
    if message.role == "tool":
        result = neutralize_tags(message.prompt_text, "tool_response")
        return Message("user", f"<tool_response>\n{result}\n</tool_response>")
    if message.tool_calls:
        text = "\n".join([message.text, *map(_call_text, message.tool_calls)]).strip()
        return Message(message.role, text)
    return message


def _call_text(call: ToolCall) -> str:
    body = {"name": call.name, "arguments": arguments_object(call)}
    return f"{CALL}\n{json.dumps(body, ensure_ascii=False)}\n{END_CALL}"


def is_forced(tools: Sequence[Tool], options: Options) -> bool:
    """Whether the answer must be a tool call."""
    return bool(tools) and options.tool_choice not in ("auto", "none")


def answer_schema(tools: Sequence[Tool], options: Options) -> Mapping[str, Any] | None:
    """Return the JSON Schema that the answer must satisfy: the options', or that of a forced call;
    None where the answer is free."""
    if options.schema is None and is_forced(tools, options):
        return calls_schema(tools)
    return options.schema


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
