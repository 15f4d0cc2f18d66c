"""A server's replies to whatever LangChain's published tests ask: a call of the first tool where
one may be called, JSON where a schema holds the answer, else a greeting."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.servers.openai_server import Json, Reply, call, calls, text


def obliging(body: Json) -> Reply:
    """The reply to a chat completion request."""
    prompt = _last_words(body)
    if response_format := body.get("response_format"):
        schema = response_format["json_schema"]["schema"]
        return Reply(text(*_pieces(json.dumps(_example(schema, prompt, schema)))))
    if chosen := _chosen(body):
        schema = chosen["parameters"]
        arguments = json.dumps(_example(schema, prompt, schema), ensure_ascii=False)
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


def _example(schema: Json, prompt: str, root: Json) -> Any:
    """A value that fits, from the words of the prompt where possible."""
    if reference := schema.get("$ref"):
        return _example(root["$defs"][reference.split("/")[-1]], prompt, root)
    if options := schema.get("anyOf"):
        return _example(options[0], prompt, root)
    match schema.get("type"):
        case "integer" | "number":
            return int((re.findall(r"\d+", prompt) or ["3"])[0])
        case "boolean":
            return True
        case "array":
            return [_example(schema.get("items", {}), prompt, root)]
        case "object" | None:
            fields = schema.get("properties", {"setup": {}, "punchline": {}})
            return {name: _example(of or _TEXT, prompt, root) for name, of in fields.items()}
    return (re.findall(r"'(.+?)'", prompt) or ["some words"])[0]


_TEXT = {"type": "string"}


def _pieces(prompt: str) -> list[str]:
    return [prompt[at : at + 9] for at in range(0, len(prompt), 9)]
