"""/v1/responses: the same answers in the form of OpenAI's Responses API, without stored state."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from agentkit.answers import Answer
from agentkit.backends.base import Options
from agentkit.events import Finished, TextDelta, ToolStarted
from agentkit.messages import Message, ToolCall
from agentkit.server.auth import Asker
from agentkit.server.errors import ApiError, to_api_error
from agentkit.server.openai_api.chat import TOOL
from agentkit.server.openai_api.citations import flat_annotations, support
from agentkit.server.openai_api.models import Chosen, choose_model
from agentkit.server.openai_api.running import Ask, PrimedEvents, Running, respond
from agentkit.server.openai_api.wire import (
    MOST_TOOLS,
    Arguments,
    Format,
    Function,
    Part,
    Sampling,
    Wire,
    chosen_tool,
    read_parts,
    unsupported,
)
from agentkit.server.service import Server

router = APIRouter(prefix="/v1", tags=["openai"])

_IGNORED_ITEMS = ("reasoning",)


class Item(Wire):
    """A message, a call of a client's tool, or its result."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: Arguments = Field(default_factory=dict)
    output: str | list[Part] | None = None


class Tool(Function):
    """A tool of the client; other types are built into OpenAI's own service."""

    type: str
    name: str = ""


class TextOptions(Wire):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Wire):
    effort: str | None = None


class ResponseRequest(Sampling):
    """The body of /v1/responses."""

    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, le=2**31)
    tools: list[Tool] | None = Field(default=None, max_length=MOST_TOOLS)
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    metadata: dict[str, Any] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None

    def check(self) -> None:
        super().check()
        if self.previous_response_id:
            raise unsupported(
                "previous_response_id", "No responses are stored: send the whole conversation."
            )
        if self.conversation is not None:
            raise unsupported("conversation", "Send the whole conversation as input.")
        if self.background:
            raise unsupported("background", "Responses are not stored: use stream.")
        for tool in self.tools or ():
            if tool.type != "function":
                raise unsupported("tools", f"Tools of type {tool.type[:50]!r} are not available.")
            if not tool.name:
                raise ApiError(400, "A tool has no name.", "invalid_value", param="tools")


@router.post("/responses")
async def create_response(
    body: ResponseRequest, request: Request, identity: Asker, server: Server
) -> Response:
    """Answer a conversation. With `stream` the answer comes as server-sent events."""
    body.check()
    chosen = await choose_model(server, body.model)
    running = Running(server, identity, _read(body, chosen))
    reply = _Reply(running, body, chosen.id, server.address(request))
    return await respond(request, running, reply, stream=bool(body.stream))


def _read(body: ResponseRequest, chosen: Chosen) -> Ask:
    """The request as a run of the agent. Raises ApiError."""
    items = [Item(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    extra, text = body.extra(), body.text or TextOptions()
    if body.reasoning and body.reasoning.effort:
        extra["reasoning_effort"] = body.reasoning.effort
    if text.verbosity:
        extra["verbosity"] = text.verbosity
    return Ask(
        chosen,
        list(_read_items(items)),
        body.instructions or "",
        body.tools or (),
        chosen_tool(body.tool_choice, body.tools or ()),
        Options(body.temperature, body.max_output_tokens, extra=extra),
        text.format.output if text.format else None,
        body.parallel_tool_calls is not False,
    )


def _read_items(items: list[Item]) -> Iterator[Message]:
    """The messages of the input; calls in a row are those of one message. Raises ApiError."""
    calls: list[ToolCall] = []
    for item in items:
        if item.type == "function_call":
            calls.append(ToolCall(item.call_id, item.name, item.arguments))
            continue
        if calls:
            yield Message("assistant", tool_calls=tuple(calls))
            calls = []
        if item.type == "function_call_output":
            yield Message("tool", _content(item), tool_call_id=item.call_id)
        elif item.type == "message":
            if item.role is None:
                raise ApiError(400, "A message has no role.", "invalid_value", param="input")
            yield Message("system" if item.role == "developer" else item.role, _content(item))
        elif item.type not in _IGNORED_ITEMS:
            raise unsupported("input", f"Items of type {item.type[:50]!r} are not taken.")
    if calls:
        yield Message("assistant", tool_calls=tuple(calls))


def _content(item: Item) -> Any:
    given = item.output if item.type == "function_call_output" else item.content
    return given if isinstance(given, str) else read_parts(given or (), "input")


class _Reply:
    """The response to one request."""

    def __init__(self, running: Running, body: ResponseRequest, model: str, address: str) -> None:
        self._running, self._body, self._model, self._address = running, body, model, address
        self._id, self._created, self._number = f"resp_{uuid.uuid4().hex}", int(time.time()), -1
        self._item = f"msg_{uuid.uuid4().hex}"

    def whole(self, answer: Answer[Any]) -> dict[str, Any]:
        """The response of an answer as one object."""
        return self._record(answer, self.items(answer))

    def _record(
        self, answer: Answer[Any] | None, items: list[dict[str, Any]], error: ApiError | None = None
    ) -> dict[str, Any]:
        """The response as one object: in progress without an answer."""
        body, status = self._body, "failed" if error else "in_progress"
        record: dict[str, Any] = {"usage": None, "incomplete_details": None}
        if answer is not None:
            is_cut = answer.stop_reason in ("length", "limit")
            status = "incomplete" if is_cut else "completed"
            record["incomplete_details"] = {"reason": "max_output_tokens"} if is_cut else None
            record["usage"] = {
                "input_tokens": answer.usage.input_tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": answer.usage.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": answer.usage.total_tokens,
            }
            record["agentkit"] = support(answer)
        choice = body.tool_choice or "auto"
        named = None if isinstance(choice, str) else choice.model_dump(exclude_none=True)
        return record | {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": self._model,
            "output": items,
            "error": error and {"code": "server_error", "message": error.detail},
            "instructions": body.instructions,
            "metadata": body.metadata or {},
            "max_output_tokens": body.max_output_tokens,
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "tool_choice": named or choice,
            "tools": [tool.model_dump(exclude_none=True) for tool in body.tools or ()],
        }

    def items(self, answer: Answer[Any]) -> list[dict[str, Any]]:
        """The message of an answer, if it has text, and its calls."""
        text = self._running.text(answer)
        message = [self._message(text, flat_annotations(answer, self._address))] if text else []
        return [*message, *map(_call_item, self._running.calls(answer))]

    def _message(
        self, text: str, cited: list[dict[str, Any]], status: str = "completed"
    ) -> dict[str, Any]:
        content = [_text_part(text, cited)] if status == "completed" else []
        return {
            "id": self._item,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    async def stream(self, events: PrimedEvents) -> AsyncGenerator[bytes, None]:
        """The response as server-sent events. A failure is the last one."""
        yield self._event("response.created", response=self._record(None, []))
        yield self._event("response.in_progress", response=self._record(None, []))
        written: list[str] = []
        try:
            async for event in events:
                if isinstance(event, TextDelta) and not self._running.is_structured:
                    for each in self._delta(event.text, is_first=not written):
                        yield each
                    written.append(event.text)
                elif isinstance(event, ToolStarted):
                    yield TOOL
                elif isinstance(event, Finished):
                    for each in self._end(event.answer, "".join(written)):
                        yield each
        except Exception as error:
            failure = to_api_error(error)
            yield self._event("response.failed", response=self._record(None, [], failure))

    def _delta(self, text: str, *, is_first: bool) -> Iterator[bytes]:
        if is_first:
            item = self._message("", [], "in_progress")
            yield self._event("response.output_item.added", output_index=0, item=item)
            yield self._part("response.content_part.added", part=_text_part("", []))
        yield self._part("response.output_text.delta", delta=text, logprobs=[])

    def _end(self, answer: Answer[Any], written: str) -> Iterator[bytes]:
        """The events after the text; the text itself where none was streamed."""
        text = self._running.text(answer)
        if text and not written:
            yield from self._delta(text, is_first=True)
        text = written or text
        items: list[dict[str, Any]] = []
        if text:
            cited = flat_annotations(answer, self._address) if text == answer.text else []
            for index, each in enumerate(cited):
                yield self._part(
                    "response.output_text.annotation.added", annotation=each, annotation_index=index
                )
            items.append(self._message(text, cited))
            yield self._part("response.output_text.done", text=text, logprobs=[])
            yield self._part("response.content_part.done", part=_text_part(text, cited))
            yield self._event("response.output_item.done", output_index=0, item=items[0])
        for call in self._running.calls(answer):
            yield from self._call(call, len(items))
            items.append(_call_item(call))
        response = self._record(answer, items)
        yield self._event(f"response.{response['status']}", response=response)

    def _call(self, call: tuple[ToolCall, str, str], index: int) -> Iterator[bytes]:
        item = _call_item(call)
        begun = item | {"arguments": "", "status": "in_progress"}
        place = {"item_id": item["id"], "output_index": index}
        kind = "response.function_call_arguments"
        yield self._event("response.output_item.added", output_index=index, item=begun)
        yield self._event(f"{kind}.delta", **place, delta=call[2])
        yield self._event(f"{kind}.done", **place, name=call[1], arguments=call[2])
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _part(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._item, output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        record = {"type": kind, "sequence_number": self._number, **fields}
        data = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def _text_part(text: str, cited: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": cited, "logprobs": []}


def _call_item(call: tuple[ToolCall, str, str]) -> dict[str, Any]:
    made, name, arguments = call
    return {
        "id": f"fc_{made.id}",
        "type": "function_call",
        "call_id": made.id,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }
