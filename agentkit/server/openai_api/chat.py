"""/v1/chat/completions: an answer of the agent, whole or as it is written."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from agentkit.answers import Answer
from agentkit.backends.base import Options
from agentkit.events import Finished, ReasoningDelta, TextDelta, ToolStarted
from agentkit.messages import Message, ToolCall, Usage
from agentkit.server.auth import Asker
from agentkit.server.errors import to_api_error
from agentkit.server.openai_api.citations import support, url_citations
from agentkit.server.openai_api.models import choose_model
from agentkit.server.openai_api.running import FINISH_REASONS, Ask, PrimedEvents, Running, respond
from agentkit.server.openai_api.wire import (
    ChatMessage,
    ChatRequest,
    chosen_tool,
    read_parts,
    wire_call,
)
from agentkit.server.service import Server

router = APIRouter(prefix="/v1", tags=["openai"])

DONE = b"data: [DONE]\n\n"
TOOL = b": a tool runs\n\n"
"""A comment at the start of each tool call, so that a waiting reader sees life."""


@router.post("/chat/completions")
async def create_chat_completion(
    body: ChatRequest, request: Request, identity: Asker, server: Server
) -> Response:
    """Answer a conversation. With `stream` the answer comes as server-sent events."""
    body.check()
    chosen = await choose_model(server, body.model)
    running = Running(server, identity, _read(body, chosen))
    wants_usage = bool(body.stream_options and body.stream_options.include_usage)
    reply = _Reply(running, chosen.id, server.address(request), wants_usage)
    return await respond(request, running, reply, stream=bool(body.stream))


def _read(body: ChatRequest, chosen: Any) -> Ask:
    """The request as a run of the agent. Raises ApiError."""
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    options = Options(
        temperature=body.temperature,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        stop=tuple(each for each in stop if each),
        seed=body.seed,
        extra=body.extra(),
    )
    functions = [tool.function for tool in body.tools or ()]
    return Ask(
        chosen,
        [_read_message(message) for message in body.messages],
        "",
        functions,
        chosen_tool(body.tool_choice, functions),
        options,
        body.response_format.output if body.response_format else None,
        body.parallel_tool_calls is not False,
    )


def _read_message(message: ChatMessage) -> Message:
    """A message of the client as the agent's. Raises ApiError."""
    content = message.content or ""
    parts = content if isinstance(content, str) else read_parts(content, "messages")
    if message.role == "system" or message.role == "developer":
        return Message("system", parts)
    if message.role == "tool":
        return Message("tool", parts, tool_call_id=message.tool_call_id or "")
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments)
        for call in (message.tool_calls or () if message.role == "assistant" else ())
    )
    return Message(message.role, parts, calls)


class _Reply:
    """The reply of one request, in OpenAI's form."""

    def __init__(self, running: Running, model: str, address: str, wants_usage: bool) -> None:
        self._running, self._address, self._wants_usage = running, address, wants_usage
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        self._model = model

    def whole(self, answer: Answer[Any]) -> dict[str, Any]:
        """The reply as one object."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self._running.text(answer) or None,
            "refusal": None,
            "annotations": url_citations(answer, self._address),
        }
        if self._running.reasoning:
            message["reasoning_content"] = self._running.reasoning
        if calls := self._running.calls(answer):
            message["tool_calls"] = [wire_call(*call) for call in calls]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": FINISH_REASONS.get(answer.stop_reason, "stop"),
        }
        head = self._head("chat.completion")
        return head | {
            "choices": [choice],
            "usage": usage_record(answer.usage),
            "agentkit": support(answer),
        }

    async def stream(self, events: PrimedEvents) -> AsyncGenerator[bytes, None]:
        """The reply as server-sent events. A failure is the last one."""
        before, after = self._template()
        yield self._chunk({"role": "assistant", "content": ""})
        try:
            async for event in events:
                if isinstance(event, TextDelta):
                    if not self._running.is_structured:
                        yield before + json.dumps(event.text).encode() + after
                elif isinstance(event, ReasoningDelta):
                    yield self._chunk({"reasoning_content": event.text})
                elif isinstance(event, ToolStarted):
                    yield TOOL
                elif isinstance(event, Finished):
                    for chunk in self._end(event.answer):
                        yield chunk
        except Exception as error:
            yield _event(to_api_error(error).body)
            return
        yield DONE

    def _end(self, answer: Answer[Any]) -> Iterator[bytes]:
        """The chunks after the text: output, calls, citations, the finish reason and the usage."""
        if self._running.is_structured and not answer.waiting:
            yield self._chunk({"content": self._running.text(answer)})
        for index, call in enumerate(self._running.calls(answer)):
            yield self._chunk({"tool_calls": [{"index": index, **wire_call(*call)}]})
        if cited := url_citations(answer, self._address):
            yield self._chunk({"annotations": cited})
        reason = FINISH_REASONS.get(answer.stop_reason, "stop")
        yield self._chunk({}, reason, {"agentkit": support(answer)})
        if self._wants_usage:
            head = self._head("chat.completion.chunk")
            yield _event(head | {"choices": [], "usage": usage_record(answer.usage)})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _chunk(
        self, delta: dict[str, Any], reason: str | None = None, more: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._wants_usage else {}
        head = self._head("chat.completion.chunk")
        return _event(head | {"choices": [choice]} | usage | (more or {}))

    def _template(self) -> tuple[bytes, bytes]:
        """What stands before and after the text of a chunk, which is the same for all."""
        before, _, after = self._chunk({"content": "\0"}).partition(json.dumps("\0").encode())
        return before, after


def usage_record(usage: Usage) -> dict[str, Any]:
    """The tokens of a run, all its requests together."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _event(record: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"
