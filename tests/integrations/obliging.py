"""A server's replies to whatever LangChain's published tests ask: a call of the first tool where
one may be called, JSON where a schema holds the answer, else a greeting."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.servers.openai_server import Json, Reply, call, calls, text


def obliging(body: Json) -> Reply:
    """The reply to a chat completion request."""
    said = _last_words(body)
    if response_format := body.get("response_format"):
        schema = response_format["json_schema"]["schema"]
        return Reply(text(*_pieces(json.dumps(_example(schema, said, schema)))))
    if chosen := _chosen(body):
        schema = chosen["parameters"]
        arguments = json.dumps(_example(schema, said, schema), ensure_ascii=False)
        return Reply(calls(call(arguments, chosen["name"], 0, "call_1")), finish="tool_calls")
    return Reply(text("Hel", "lo, ", "you there."))


def _chosen(body: Json) -> Json | None:
    tools = [tool["function"] for tool in body.get("tools") or []]
    choice = body.get("tool_choice")
    if not tools or choice == "none":
        return None
    if isinstance(choice, dict):
        named: Json = next(tool for tool in tools if tool["name"] == choice["function"]["name"])
        return named
    answered = body["messages"][-1]["role"] == "tool"
    return None if answered and choice != "required" else tools[0]


def _last_words(body: Json) -> str:
    content = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
    return content if isinstance(content, str) else content[0]["text"]


def _example(schema: Json, said: str, root: Json) -> Any:
    """A value that fits, out of what was said where that is possible."""
    if reference := schema.get("$ref"):
        return _example(root["$defs"][reference.split("/")[-1]], said, root)
    if options := schema.get("anyOf"):
        return _example(options[0], said, root)
    match schema.get("type"):
        case "integer" | "number":
            return int((re.findall(r"\d+", said) or ["3"])[0])
        case "boolean":
            return True
        case "array":
            return [_example(schema.get("items", {}), said, root)]
        case "object" | None:
            fields = schema.get("properties", {"setup": {}, "punchline": {}})
            return {name: _example(of or _TEXT, said, root) for name, of in fields.items()}
    return (re.findall(r"'(.+?)'", said) or ["some words"])[0]


_TEXT = {"type": "string"}


def _pieces(said: str) -> list[str]:
    return [said[at : at + 9] for at in range(0, len(said), 9)]
