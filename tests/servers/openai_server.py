"""A small real server that speaks the OpenAI format, with a switch for each known quirk."""

from __future__ import annotations

import json
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def text(*pieces: str) -> list[Json]:
    """Deltas of a text."""
    return [{"content": piece} for piece in pieces]


def calls(*pieces: Json) -> list[Json]:
    """Deltas with one piece of a tool call each."""
    return [{"tool_calls": [piece]} for piece in pieces]


def call(
    arguments: Any = None,
    name: str | None = None,
    index: int | None = None,
    id: str | None = None,  # noqa: A002
) -> Json:
    """A piece of a tool call; what is None is left out, as some servers do."""
    function = {"name": name, "arguments": arguments}
    piece: Json = {"index": index, "id": id, "type": "function"}
    piece["function"] = {key: value for key, value in function.items() if value is not None}
    return {key: value for key, value in piece.items() if value is not None}


@dataclass(frozen=True)
class Reply:
    """What the server shall answer to one request.

    `raw` replaces the events; `error` is an event sent after the deltas; `truncated` cuts the last
    event in two; `reset` breaks the connection; `stalls` never ends after the deltas.
    """

    deltas: list[Json] = field(default_factory=lambda: text("Hel", "lo"))
    finish: str | None = "stop"
    usage: Json | None = field(default_factory=lambda: dict(USAGE))
    done: bool = True
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None
    content_type: str = "text/event-stream"
    error: Json | None = None
    truncated: bool = False
    reset: bool = False
    stalls: bool = False


class OpenAIServer:
    """Answers with the replies of `script`, the last one again and again, and keeps what it was
    asked. `left` is set when a client goes away in the middle of a stream. `answer`, where it is
    set, makes the reply of a request's body; `vectors` the answer to a request for embeddings.
    `pages` are what it tells of itself elsewhere, by path, as each kind of server does; `wants` is
    the key it asks for."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/{path:path}", self._page),
        ]
        self.app = Starlette(routes=routes)

    def reset(self) -> None:
        self.script: deque[Reply] = deque([Reply()])
        self.models: list[Json] = [{"id": "small"}, {"id": "large"}]
        self.requests: list[Json] = []
        self.keys: list[str] = []
        self.answer: Callable[[Json], Reply] | None = None
        self.vectors: Callable[[Json], Response] = embeddings
        self.pages: dict[str, Json] = {}
        self.wants = ""
        self.left = threading.Event()

    def replies(self, *replies: Reply) -> None:
        self.script = deque(replies)

    async def _page(self, request: Request) -> Response:
        page = self.pages.get(request.url.path)
        return JSONResponse(page, 200) if page is not None else JSONResponse({}, 404)

    async def _models(self, request: Request) -> Response:
        if self.wants and request.headers.get("authorization") != f"Bearer {self.wants}":
            return JSONResponse({"error": {"message": "no such key"}}, 401)
        listed = [{"object": "model", "created": 0, "owned_by": "test", **m} for m in self.models]
        return JSONResponse({"object": "list", "data": listed})

    async def _chat(self, request: Request) -> Response:
        self.requests.append(await request.json())
        self.keys.append(request.headers.get("authorization", ""))
        reply = self._reply(self.requests[-1])
        if reply.raw is not None:
            return Response(
                reply.raw, reply.status, dict(reply.headers), media_type=reply.content_type
            )
        body = self._body(reply, request)
        return StreamingResponse(body, headers=dict(reply.headers), media_type=reply.content_type)

    def _reply(self, body: Json) -> Reply:
        if self.answer:
            return self.answer(body)
        return self.script.popleft() if len(self.script) > 1 else self.script[0]

    async def _embeddings(self, request: Request) -> Response:
        self.requests.append(await request.json())
        self.keys.append(request.headers.get("authorization", ""))
        return self.vectors(self.requests[-1])

    async def _body(self, reply: Reply, request: Request) -> AsyncIterator[str]:
        for event in events(reply):
            yield event
        if reply.reset:
            raise ConnectionResetError
        if reply.stalls:
            await request.receive()
            self.left.set()


def embeddings(body: Json) -> Response:
    """A vector for each text, of the dimensions asked for or 8, the last text's first."""
    found = [
        {
            "object": "embedding",
            "index": at,
            "embedding": vector_of(text, body.get("dimensions", 8)),
        }
        for at, text in enumerate(body["input"])
    ]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    listed = {"object": "list", "model": body["model"], "data": found[::-1], "usage": usage}
    return JSONResponse(listed)


def vector_of(text: str, dimensions: int) -> list[float]:
    """Numbers that the text fixes, not of length one."""
    seed = random.Random(text)
    return [seed.uniform(-3, 3) for _ in range(dimensions)]


def events(reply: Reply) -> list[str]:
    """The events of a reply, as they go over the wire."""
    chunks = [
        _chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in reply.deltas
    ]
    if reply.finish:
        chunks.append(_chunk([{"index": 0, "delta": {}, "finish_reason": reply.finish}]))
    if reply.usage:
        chunks.append(_chunk([]) | {"usage": reply.usage})
    if reply.error:
        chunks.append({"error": reply.error})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    if reply.truncated:
        lines[-1] = lines[-1][: len(lines[-1]) // 2] + "\n\n"
    ends = reply.done and not (reply.reset or reply.stalls)
    return [*lines, "data: [DONE]\n\n"] if ends else lines


def _chunk(choices: list[Json]) -> Json:
    named = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "small"}
    return {**named, "choices": choices}


def error(message: str, **more: Any) -> str:
    """The body of an error answer."""
    return json.dumps({"error": {"message": message, **more}})
