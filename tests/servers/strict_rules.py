"""What real OpenAI-compatible servers refuse, as functions of a request's body.

Each rule returns the server's message, None for what it accepts. The rules are written from the
documentation of the servers and from public reports of their refusals, which are named beside
them; they know nothing of agentkit's profiles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Body = Mapping[str, Any]
Rule = Callable[[Body], str | None]
ErrorForm = Callable[[str], tuple[int, Any]]


def plain(status: int = 400, **more: Any) -> ErrorForm:
    """The form of OpenAI's errors."""
    return lambda text: (
        status,
        {"error": {"message": text, "type": "invalid_request_error", **more}},
    )


@dataclass(frozen=True)
class Strict:
    """One kind of server: the model that is asked for, its path, its rules, how it words errors,
    the id of its n-th call, and fields of its replies: of messages with calls, and of calls."""

    model: str
    rules: Sequence[Rule]
    error: ErrorForm = field(default_factory=plain)
    path: str = "/v1/chat/completions"
    call_id: Callable[[int], str] = lambda n: f"call_srv{n:04}"
    reply: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    reads_images: bool = True


OPENAI_FIELDS = frozenset(
    (
        *("model", "messages", "stream", "stream_options", "temperature", "top_p", "stop", "seed"),
        *("max_tokens", "max_completion_tokens", "tools", "tool_choice", "response_format"),
    )
)


def messages(body: Body, *roles: str) -> list[tuple[int, Body]]:
    return [(at, m) for at, m in enumerate(body["messages"]) if not roles or m["role"] in roles]


def calls(body: Body) -> Iterator[tuple[int, int, Body]]:
    for at, message in messages(body, "assistant"):
        for number, call in enumerate(message.get("tool_calls") or ()):
            yield at, number, call


def functions(body: Body) -> list[Body]:
    return [tool["function"] for tool in body.get("tools") or ()]


def schemas(body: Body) -> Iterator[Body]:
    """All schemas within the parameters of tools."""
    yield from (node for f in functions(body) for node in nodes(f.get("parameters")))


def nodes(schema: Any) -> Iterator[Body]:
    if isinstance(schema, Mapping):
        yield schema
        for key in ("properties", "$defs"):
            for each in (schema.get(key) or {}).values():
                yield from nodes(each)
        for key in ("items", "additionalProperties"):
            yield from nodes(schema.get(key))
        for key in ("anyOf", "oneOf", "allOf"):
            for each in schema.get(key) or ():
                yield from nodes(each)


def fields(accepted: frozenset[str], message: str) -> Rule:
    def rule(body: Body) -> str | None:
        other = next((name for name in body if name not in accepted), None)
        return message.format(field=other) if other else None

    return rule


def without(name: str, message: str) -> Rule:
    return lambda body: message if name in body else None


def message_fields(accepted: Sequence[str], message: str) -> Rule:
    def rule(body: Body) -> str | None:
        for at, each in messages(body):
            for name in each:
                if name not in accepted:
                    return message.format(at=at, role=each["role"], field=name)
        return None

    return rule


def pairing(message: str, orphan: str) -> Rule:
    """Each call is answered directly after its message, and nothing else is (all servers)."""

    def rule(body: Body) -> str | None:
        waiting: list[str] = []
        for at, each in messages(body):
            if each["role"] == "tool":
                if each["tool_call_id"] not in waiting:
                    return orphan.format(at=at, id=each["tool_call_id"])
                waiting.remove(each["tool_call_id"])
            elif waiting:
                return message.format(at=at, id=waiting[0])
            else:
                waiting = [call["id"] for call in each.get("tool_calls") or ()]
        return message.format(at=len(body["messages"]), id=waiting[0]) if waiting else None

    return rule


OPENAI_PAIRING = pairing(
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
    "'tool_call_id'. The following tool_call_ids did not have response messages: {id}",
    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
    "'tool_calls'.",
)


def ids(pattern: str, message: str) -> Rule:
    def rule(body: Body) -> str | None:
        bad = (c["id"] for _, _, c in calls(body) if not re.fullmatch(pattern, c["id"]))
        found = next(bad, None)
        return message.format(id=found) if found is not None else None

    return rule


def names(pattern: str, message: str) -> Rule:
    def rule(body: Body) -> str | None:
        used = [f["name"] for f in functions(body)]
        used += [c["function"]["name"] for _, _, c in calls(body)]
        for at, name in enumerate(used):
            if not re.fullmatch(pattern, name):
                return message.format(at=at, name=name)
        return None

    return rule


OPENAI_NAMES = names(
    "[a-zA-Z0-9_-]{1,64}",
    "Invalid 'tools[{at}].function.name': string does not match pattern. Expected a string that "
    "matches the pattern '^[a-zA-Z0-9_-]+$'.",
)


def null_content(message: str) -> Rule:
    def rule(body: Body) -> str | None:
        bad = next((at for at, m in messages(body) if m.get("content") is None), None)
        return message.format(at=bad) if bad is not None else None

    return rule


def empty_message(message: str) -> Rule:
    """A message without calls has text."""

    def rule(body: Body) -> str | None:
        for at, each in messages(body):
            if not each.get("tool_calls") and not each.get("content"):
                return message.format(at=at)
        return None

    return rule


def images(message: str, *roles: str) -> Rule:
    """Only messages of these roles have a list as content."""

    def rule(body: Body) -> str | None:
        for at, each in messages(body):
            if isinstance(each.get("content"), list) and each["role"] not in roles:
                return message.format(at=at)
        return None

    return rule


def system_first(message: str, most: int = 99) -> Rule:
    def rule(body: Body) -> str | None:
        places = [at for at, _ in messages(body, "system")]
        is_bad = places != list(range(len(places))) or len(places) > most
        return message if is_bad else None

    return rule


def alternating(message: str) -> Rule:
    """User and assistant in turn, calls and results apart: the templates of Devstral and Ministral
    (ggml-org/llama.cpp#19851)."""

    def rule(body: Body) -> str | None:
        plain = [
            m["role"] for _, m in messages(body, "user", "assistant") if not m.get("tool_calls")
        ]
        expected = ["user", "assistant"] * len(plain)
        return message if plain != expected[: len(plain)] else None

    return rule


def after(first: str, then: str, message: str) -> Rule:
    def rule(body: Body) -> str | None:
        roles = [m["role"] for _, m in messages(body)]
        return message if (first, then) in pairwise(roles) else None

    return rule


def value(name: str, accepts: Callable[[Any], bool], message: str) -> Rule:
    def rule(body: Body) -> str | None:
        given = body.get(name)
        return message if given is not None and not accepts(given) else None

    return rule


def needs_json_word(message: str) -> Rule:
    """`json_object` wants the word in a message (OpenAI, DeepSeek, DashScope, Groq)."""

    def rule(body: Body) -> str | None:
        asked = (body.get("response_format") or {}).get("type") == "json_object"
        return message if asked and "json" not in json.dumps(body["messages"]).lower() else None

    return rule


def keyword(words: Sequence[str], message: str) -> Rule:
    def rule(body: Body) -> str | None:
        for node in schemas(body):
            for word in words:
                if word in node:
                    return message.format(word=word)
        return None

    return rule


def openai_parameters(body: Body) -> str | None:
    """openai-agents#449 and the function calling guide: an object at the root, items of arrays."""
    for function in functions(body):
        schema = function.get("parameters") or {}
        at = f"Invalid schema for function '{function['name']}': "
        top = {"anyOf", "oneOf", "allOf", "enum", "not"} & schema.keys()
        if schema.get("type") != "object" or top:
            return f"{at}schema must have type 'object' and not have 'oneOf'/'anyOf' at the top."
        for node in nodes(schema):
            kind = node.get("type")
            if (kind == "array" or "array" in (kind or ())) and "items" not in node:
                return at + "In context=('properties', 'x'), array schema missing items."
    return None


def openai_answers(body: Body) -> str | None:
    """The guide to Structured Outputs, "supported schemas"."""
    asked = body.get("response_format")
    if not asked or asked["type"] != "json_schema":
        return None
    described = asked["json_schema"]
    at = f"Invalid schema for response_format '{described['name']}': "
    if described["schema"].get("type") != "object":
        return at + "schema must be a JSON Schema of 'type: \"object\"'."
    for node in nodes(described["schema"]) if described.get("strict") else ():
        if node.get("type") == "object" and node.get("additionalProperties") is not False:
            return at + "'additionalProperties' is required to be supplied and to be false."
        if set(node.get("properties", ())) != set(node.get("required", ())):
            return at + "'required' is required to be an array including every key in properties."
        if other := {"default", "oneOf", "allOf", "uniqueItems", "patternProperties"} & node.keys():
            return at + f"'{min(other)}' is not permitted."
        if "$ref" in node and len(node) > 1:
            return at + "$ref cannot have keywords."
    return None


def openai_choice(body: Body) -> str | None:
    if "tool_choice" in body and not body.get("tools"):
        return "'tool_choice' is only allowed when 'tools' are specified."
    return None


def sent_back(place: str, names: Sequence[str], message: str, model_only: bool = False) -> Rule:
    """Fields that a reply had and that must be in its message again, in the "message" or the first
    "call"; `model_only` where calls that the model did not make are let pass."""

    def rule(body: Body) -> str | None:
        for at, each in messages(body, "assistant"):
            made = each.get("tool_calls") or ()
            if not made or (model_only and not _is_own(made[0]["id"])):
                continue
            holder = each if place == "message" else made[0]
            if not all(holder.get(name) for name in names):
                return message.format(at=at)
        return None

    return rule


def _is_own(id_: str) -> bool:
    """Whether an id is one that the strict server gives, which begin so."""
    return id_.startswith(("srv", "call_srv"))
