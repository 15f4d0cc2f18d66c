"""A small real server that speaks Ollama's format, with a switch for each known quirk."""

from __future__ import annotations

import json
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]


def text(*pieces: str) -> list[Json]:
    """Messages with a piece of text each."""
    return [{"content": piece} for piece in pieces]


def call(name: str, arguments: Json, **more: Any) -> Json:
    """A message with a whole tool call."""
    return {
        "content": "",
        "tool_calls": [{"function": {"name": name, "arguments": arguments}, **more}],
    }


@dataclass(frozen=True)
class Reply:
    """What the server shall answer to one chat.

    `raw` replaces the lines; `error` is a line sent after the messages; `finished` False leaves
    the last line out; `counted` False its counts; `reset` breaks the connection; `stalls` waits
    without end after the messages.
    """

    messages: list[Json] = field(default_factory=lambda: text("Hel", "lo"))
    reason: str = "stop"
    finished: bool = True
    counted: bool = True
    status: int = 200
    raw: str | None = None
    error: str | None = None
    reset: bool = False
    stalls: bool = False


class OllamaServer:
    """Answers chats with the replies of `script`, the last one again and again, and keeps what it
    was asked. `left` is set when a client goes away in the middle of a stream. `vectors` makes the
    answer to a request for embeddings, `refusal` the error of a chat that is refused.
    `loaded_window` is what /api/ps tells of the model."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()
        routes = [
            Route("/api/chat", self._chat, methods=["POST"]),
            Route("/api/embed", self._embed, methods=["POST"]),
            Route("/api/show", self._show, methods=["POST"]),
            Route("/api/tags", self._tags),
            Route("/api/version", self._version),
            Route("/api/ps", self._running),
        ]
        self.app = Starlette(routes=routes)

    def reset(self) -> None:
        self.script: deque[Reply] = deque([Reply()])
        self.context_length: int | None = 131072
        self.capabilities: list[str] | None = ["completion", "tools"]
        self.models: list[Json] = [{"name": "small"}]
        self.requests: list[Json] = []
        self.shown = 0
        self.version = "0.31.0"
        self.loaded_window = 0
        self.vectors: Callable[[Json], Response] = embeddings
        self.left = threading.Event()
        self.refusal: Callable[[Json], str] = lambda body: ""

    def replies(self, *replies: Reply) -> None:
        self.script = deque(replies)

    async def _tags(self, request: Request) -> Response:
        return JSONResponse({"models": self.models})

    async def _version(self, request: Request) -> Response:
        return JSONResponse({"version": self.version})

    async def _running(self, request: Request) -> Response:
        facts = {"context_length": self.loaded_window} if self.loaded_window else {}
        return JSONResponse(
            {"models": [{"model": "small:latest", "name": "small:latest", **facts}]}
        )

    async def _show(self, request: Request) -> Response:
        self.shown += 1
        name = (await request.json())["model"]
        if name not in [model["name"] for model in self.models]:
            return JSONResponse({"error": f"model '{name}' not found"}, 404)
        facts: Json = {"template": "{{ .Tools }}", "model_info": {"general.architecture": "x"}}
        if self.context_length:
            facts["model_info"]["x.context_length"] = self.context_length
        if self.capabilities is not None:
            facts["capabilities"] = self.capabilities
        return JSONResponse(facts)

    async def _embed(self, request: Request) -> Response:
        self.requests.append(await request.json())
        return self.vectors(self.requests[-1])

    async def _chat(self, request: Request) -> Response:
        self.requests.append(await request.json())
        refused = self.refusal(self.requests[-1])
        if refused:
            return JSONResponse({"error": refused}, 400)
        reply = self.script.popleft() if len(self.script) > 1 else self.script[0]
        if reply.raw is not None:
            return Response(reply.raw, reply.status, media_type="application/json")
        return StreamingResponse(self._body(reply, request), media_type="application/x-ndjson")

    async def _body(self, reply: Reply, request: Request) -> AsyncIterator[str]:
        for line in lines(reply):
            yield line
        if reply.reset:
            raise ConnectionResetError
        if reply.stalls:
            await request.receive()
            self.left.set()


def embeddings(body: Json) -> Response:
    """A vector of eight numbers for each text, not of length one."""
    seeds = [random.Random(text) for text in body["input"]]
    found = [[seed.uniform(-3, 3) for _ in range(8)] for seed in seeds]
    return JSONResponse({"model": body["model"], "embeddings": found})


def lines(reply: Reply) -> list[str]:
    """The lines of a reply, as they go over the wire."""
    chunks: list[Json] = [
        {"message": {"role": "assistant", **message}, "done": False} for message in reply.messages
    ]
    if reply.error:
        chunks.append({"error": reply.error})
    elif reply.finished and not (reply.reset or reply.stalls):
        counts = {"prompt_eval_count": 7, "eval_count": 3} if reply.counted else {}
        message = {"role": "assistant", "content": ""}
        chunks.append({"message": message, "done": True, "done_reason": reply.reason, **counts})
    return [json.dumps(chunk, ensure_ascii=False) + "\n" for chunk in chunks]
