"""Servers in the OpenAI and Ollama formats that do as they are asked: they count, keep to limits,
stop strings and schemas, call what they must, and refuse what is too long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.servers import openai_server
from tests.servers.ollama_server import OllamaServer
from tests.servers.openai_server import OpenAIServer

Json = dict[str, Any]
WINDOW = 2048
WORDS = [f"number-{number}" for number in range(1, 101)]


@dataclass(frozen=True)
class ModelRequest:
    """A request, whatever its format. A token is a word."""

    messages: list[Json]
    tools: list[Json] = field(default_factory=list)
    choice: str = "auto"
    schema: Json | None = None
    stop: list[str] = field(default_factory=list)
    limit: int | None = None

    @property
    def read(self) -> int:
        words = json.dumps([self.messages, self.tools]).replace('"', " ").split()
        return len(words)


@dataclass(frozen=True)
class Answer:
    """Words, or one call of a tool."""

    words: list[str]
    reason: str = "stop"
    call: Json | None = None


def answer(asked: ModelRequest) -> Answer:
    """What an obedient model says."""
    if asked.schema is not None:
        return Answer(list(json.dumps(instance(asked.schema), ensure_ascii=False)))
    answered = any(message["role"] == "tool" for message in asked.messages)
    if asked.tools and asked.choice != "none" and not answered:
        named = [t for t in asked.tools if t["function"]["name"] == asked.choice]
        function = (named or asked.tools)[0]["function"]
        arguments = instance(function["parameters"])
        return Answer([], "tool_calls", {"name": function["name"], "arguments": arguments})
    words = [f"{word} " for word in WORDS]
    stopped = next((at for at, w in enumerate(words) if any(s in w for s in asked.stop)), None)
    if stopped is not None:
        return Answer(words[:stopped])
    full = asked.limit is not None and asked.limit < len(words)
    return Answer(words[: asked.limit], "length" if full else "stop")


def instance(schema: Mapping[str, Any]) -> Any:
    """Something that the schema allows."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return instance(schema["anyOf"][0])
    if schema.get("type") == "object":
        return {key: instance(value) for key, value in schema.get("properties", {}).items()}
    return "something"


class ObedientOpenAI(OpenAIServer):
    """An OpenAI-compatible server that states its window."""

    def reset(self) -> None:
        super().reset()
        self.models = [{"id": "small", "context_length": WINDOW}]

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        if body["model"] != "small":
            return Response(openai_server.error(f"no model {body['model']}"), 404)
        asked = _from_openai(body)
        if asked.read > WINDOW:
            output = openai_server.error("too many tokens", code="context_length_exceeded")
            return Response(output, 400, media_type="application/json")
        given = answer(asked)
        deltas = openai_server.text(*given.words)
        if given.call:
            arguments = json.dumps(given.call["arguments"])
            deltas = openai_server.calls(
                openai_server.call(arguments, given.call["name"], 0, "call_a")
            )
        written = len(given.words) or 1
        usage = {"prompt_tokens": asked.read, "completion_tokens": written, "total_tokens": 0}
        reply = openai_server.Reply(deltas, given.reason, usage)
        return StreamingResponse(self._body(reply, request), media_type=reply.content_type)


class ObedientOllama(OllamaServer):
    """An Ollama server, which also pulls: `pulls` are the lines that it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.app.router.routes.append(Route("/api/pull", self._pull, methods=["POST"]))

    def reset(self) -> None:
        super().reset()
        self.context_length = WINDOW
        self.pulls: list[Json] = []
        self.pulled: list[str] = []

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        asked = _from_ollama(body)
        given = answer(asked)
        if asked.tools and asked.schema:
            given = Answer([], "stop", instance(asked.schema))
        lines = [_ollama_line({"content": word}) for word in given.words]
        if given.call:
            lines = [_ollama_line({"content": "", "tool_calls": [{"function": given.call}]})]
        counts = {"prompt_eval_count": asked.read, "eval_count": len(given.words) or 1}
        lines.append(_ollama_line({"content": ""}, done=True, done_reason=given.reason, **counts))
        return StreamingResponse(iter(lines), media_type="application/x-ndjson")

    async def _pull(self, request: Request) -> Response:
        self.pulled.append((await request.json())["model"])
        if not self.pulls:
            return JSONResponse({"error": "file does not exist"}, 500)
        lines = [json.dumps(line) + "\n" for line in self.pulls]
        return StreamingResponse(iter(lines), media_type="application/x-ndjson")


def _from_openai(body: Json) -> ModelRequest:
    choice = body.get("tool_choice", "auto")
    held = body.get("response_format", {}).get("json_schema", {})
    return ModelRequest(
        body["messages"],
        body.get("tools", []),
        choice if isinstance(choice, str) else choice["function"]["name"],
        held.get("schema"),
        body.get("stop", []),
        body.get("max_tokens"),
    )


def _from_ollama(body: Json) -> ModelRequest:
    options = body["options"]
    return ModelRequest(
        body["messages"],
        body.get("tools", []),
        "auto",
        body.get("format"),
        options.get("stop", []),
        options.get("num_predict"),
    )


def _ollama_line(message: Json, done: bool = False, **more: Any) -> str:
    line = {"message": {"role": "assistant", **message}, "done": done, **more}
    return json.dumps(line, ensure_ascii=False) + "\n"
