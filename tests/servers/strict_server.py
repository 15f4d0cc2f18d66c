"""A server that refuses what one kind of OpenAI-compatible server refuses.

A scripted model answers behind it: it reads the conversation as the server got it.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.servers import strict_rules as r
from tests.servers.strict_rules import Body, Strict


class StrictServer:
    """Serves one kind; `refusals` are the messages of what it refused, `requests` the bodies."""

    def __init__(self, kind: Strict) -> None:
        self.kind = kind
        self.requests: list[Body] = []
        self.refusals: list[str] = []
        self._made = 0
        path = self.kind.path
        models = path.removesuffix("/chat/completions") + "/models"
        self.app = Starlette(
            routes=[
                Route(path, self._chat, methods=["POST"]),
                Route(models, lambda request: JSONResponse({"data": []})),
            ]
        )

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        if refused := self._refusal(request, body):
            return JSONResponse(refused[1], refused[0])
        self.requests.append(body)
        return StreamingResponse(self._events(body), media_type="text/event-stream")

    def _refusal(self, request: Request, body: Body) -> tuple[int, Any] | None:
        kind = self.kind
        wants = kind.headers.items()
        if any(request.headers.get(key) != value for key, value in wants):
            return 401, {"error": {"code": "401", "message": "Access denied due to invalid key."}}
        if kind.query not in request.url.query:
            return 404, {"error": {"code": "404", "message": "Resource not found"}}
        for rule in kind.rules:
            if text := rule(body):
                self.refusals.append(text)
                return kind.error(text)
        return None

    async def _events(self, body: Body) -> Any:
        text, called = reply_to(body, self.kind.reads_images)
        pieces: list[Any] = []
        for number, (name, arguments) in enumerate(called):
            self._made += 1
            piece = {
                "index": number,
                "id": self.kind.call_id(self._made),
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            pieces.append({**piece, **(self.kind.call if number == 0 else {})})
        deltas: list[Body] = [{"role": "assistant", "content": ""}]
        if called:
            deltas += [self.kind.reply] if self.kind.reply else []
            deltas += [{"tool_calls": [piece]} for piece in pieces]
        else:
            deltas += [{"content": part} for part in (text[:9], text[9:]) if part]
        for delta in deltas:
            yield _event(delta)
        yield _event({}, "tool_calls" if called else "stop")
        yield "data: [DONE]\n\n"


def _event(delta: Body, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


def reply_to(body: Body, reads_images: bool) -> tuple[str, list[tuple[str, Body]]]:
    """The scripted model: its text, or the calls that it makes next, by what it has read since the
    last question."""
    last = max((at for at, m in r.messages(body, "user") if _question(m)), default=0)
    asked = _question(body["messages"][last])
    if "Rewrite the last question" in asked:
        return "How many people live in Oslo?", []
    if "inhabitants as JSON" in asked:
        return '{"name": "Oslo", "people": 700000}', []
    read = " ".join(str(m.get("content")) for at, m in r.messages(body, "tool") if at > last)
    for mark, step in _steps(body, asked):
        if mark not in read:
            return "", step
    answer = "About 2.8 million people live in Rome [1]."
    if "picture" in asked and reads_images:
        holds = "image_url" in json.dumps(body["messages"][last:])
        answer += " I see the picture." if holds else " There is no picture."
    return answer, []


def _question(message: Body) -> str:
    """The text of a user's message that asks something; images of tools ask nothing."""
    content = message.get("content")
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content if part["type"] == "text")
    return content if content and "?" in content else ""


def _steps(body: Body, asked: str) -> list[tuple[str, list[tuple[str, Body]]]]:
    """The calls of each step that a question needs, under the names that the server got, and the
    text by which their results are known."""
    named = {str(f.get("description")): f["name"] for f in r.functions(body)}
    if not named or "weather" not in asked:
        return []
    weather = (named["The weather in a city."], {"city": "Rome"})
    if "picture" not in asked:
        return [("sunny", [weather])]
    return [
        ("sunny", [weather, (named["Fails always."], {"options": {"a": 1}})]),
        ("a picture", [(named["A picture of a city."], {"city": "Rome"})]),
        ("42.0", [(named["算一个数。"], {"x": 42})]),
    ]
