"""Use a LangChain chat model as an agentkit model, and convert tools both ways.

LangChain does not ask for approval: a tool that needs it is converted only on explicit request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agentkit._sync import run_sync
from agentkit.backends.base import (
    Capabilities,
    Options,
    new_call_id,
    offered_tools,
    prompt_tokens,
    tool_definition,
)
from agentkit.backends.conversation import valid_conversation
from agentkit.backends.faults import is_too_long
from agentkit.backends.text_tool_calls import ParsedModel
from agentkit.errors import ConfigError, FaultKind, ModelError, ToolError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.integrations.langchain.messages import (
    content_of,
    fields_to_keep,
    reasoning_of,
    result_content,
    streamed_calls,
    to_langchain_messages,
)
from agentkit.messages import Message, ToolCall, ToolResult, Usage
from agentkit.tools.tool import Tool, as_text, log_failure

_REASON_KEYS = ("finish_reason", "stop_reason", "done_reason")
_LENGTH_REASONS = frozenset({"length", "max_tokens"})
_REFUSAL_REASONS = frozenset({"content_filter", "refusal", "refused", "safety"})
_STATUSES: dict[int, FaultKind] = {
    401: "refused_key",
    403: "refused_key",
    408: "timed_out",
    429: "rate_limited",
    504: "timed_out",
}


class LangChainModel(ParsedModel):
    """An agentkit model over a LangChain chat model, which handles retries and timeouts.
    `json_schema` declares that it supports OpenAI's `response_format`; otherwise schemas are
    refused."""

    def __init__(self, chat: BaseChatModel, *, name: str = "", json_schema: bool = False) -> None:
        super().__init__(f"langchain:{name or _model_name(chat)}")
        self._chat = chat
        self._json_schema = json_schema

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        chat = self._bind(tools, options)
        merged, written = AIMessageChunk(content=""), 0
        sent = to_langchain_messages(valid_conversation(messages), self.name)
        chunks = chat.astream(sent, stop=list(options.stop) or None)
        try:
            async for chunk in _chunks(chunks):
                for piece in _parts(chunk):
                    written += len(piece.text.encode("utf-8", "replace"))
                    yield piece
                text = isinstance(chunk.content, str)
                merged += chunk.model_copy(update={"content": ""}) if text else chunk
        except ModelError:
            raise
        except Exception as error:
            raise self._model_error(error) from error
        finally:
            await _close(chunks)
        estimate = Usage(prompt_tokens(messages, tools), (written + 2) // 3, estimated=True)
        for part in self._closing_parts(merged, estimate):
            yield part

    async def context_window(self) -> int | None:
        return (self._chat.profile or {}).get("max_input_tokens")

    async def capabilities(self) -> Capabilities:
        """Read the profile of the chat model, if it has one."""
        profile = self._chat.profile or {}
        tools = type(self._chat).bind_tools is not BaseChatModel.bind_tools
        return Capabilities(
            tools=tools,
            forced_tools=tools,
            json_schema=self._json_schema,
            images=bool(profile.get("image_inputs")),
            reasoning=bool(profile.get("reasoning_output")),
        )

    def _bind(self, tools: Sequence[Tool], options: Options) -> Runnable[Any, Any]:
        parameters: dict[str, Any] = {
            "temperature": options.temperature,
            "max_tokens": options.max_tokens,
            "seed": options.seed,
            "response_format": self._format(options),
            **options.extra,
        }
        parameters = {key: value for key, value in parameters.items() if value is not None}
        offered = offered_tools(tools, options.tool_choice)
        if not offered:
            return self._chat.bind(**parameters) if parameters else self._chat
        choice = {"auto": None, "required": "any"}.get(options.tool_choice, options.tool_choice)
        try:
            bound = self._chat.bind_tools(
                [tool_definition(tool) for tool in offered], tool_choice=choice
            )
        except NotImplementedError as error:
            raise ModelError(
                f"{self.name} does not support tools.", self.name, "bad_request"
            ) from error
        return bound.bind(**parameters) if parameters else bound

    def _format(self, options: Options) -> dict[str, Any] | None:
        if options.schema is None:
            return None
        if not self._json_schema:
            raise ModelError(
                f"{self.name} does not declare support for JSON Schema. If it understands OpenAI's "
                "response_format, pass json_schema=True.",
                self.name,
                "bad_request",
            )
        named = {"name": "answer", "schema": dict(options.schema)}
        return {"type": "json_schema", "json_schema": named}

    def _closing_parts(self, merged: AIMessageChunk, usage: Usage) -> list[ModelPart]:
        """Return tool calls, usage (as reported, else as estimated) and the end."""
        calls = streamed_calls(merged)
        if reported := merged.usage_metadata:
            usage = Usage(reported["input_tokens"], reported["output_tokens"])
        kept = fields_to_keep(merged)
        data = {self.name: kept} if kept else None
        return [*calls, usage, Done(_stop_reason(merged, bool(calls)), self.name, data)]

    def _model_error(self, error: Exception) -> ModelError:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        text = f"{self.name} failed ({reason}). Check the settings of that chat model."
        return ModelError(text, self.name, _fault_kind(error))


def _parts(chunk: AIMessageChunk) -> list[TextDelta | ReasoningDelta]:
    reasoning, text = reasoning_of(chunk), str(chunk.text)
    parts: list[TextDelta | ReasoningDelta] = [ReasoningDelta(reasoning)] if reasoning else []
    return [*parts, TextDelta(text)] if text else parts


async def _chunks(chunks: AsyncIterator[Any]) -> AsyncIterator[AIMessageChunk]:
    """Convert the complete message that a model without streaming yields to a chunk."""
    async for chunk in chunks:
        if isinstance(chunk, AIMessageChunk):
            yield chunk
        elif isinstance(chunk, AIMessage):
            yield AIMessageChunk(**chunk.model_dump(exclude={"type"}))


async def _close(chunks: AsyncIterator[Any]) -> None:
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


def _model_name(chat: BaseChatModel) -> str:
    names = (getattr(chat, field, None) for field in ("model_name", "model", "model_id"))
    return next((name for name in names if isinstance(name, str) and name), type(chat).__name__)


def _stop_reason(
    merged: AIMessageChunk, called: bool
) -> Literal["stop", "length", "tool_calls", "refused"]:
    reasons = {str(merged.response_metadata.get(key) or "").lower() for key in _REASON_KEYS}
    if reasons & _LENGTH_REASONS:
        return "length"
    if reasons & _REFUSAL_REASONS:
        return "refused"
    return "tool_calls" if called else "stop"


def _fault_kind(error: Exception) -> FaultKind:
    """Classify by the status or class of the error of the underlying client."""
    name, status = type(error).__name__.lower(), getattr(error, "status_code", None)
    if "contextoverflow" in name or is_too_long(str(error)):
        return "too_long"
    if isinstance(status, int):
        return _STATUSES.get(status, "down" if status >= 500 else "bad_request")
    if "timeout" in name:
        return "timed_out"
    return "down" if "connect" in name or isinstance(error, OSError) else "other"


def as_langchain_tool(tool: Tool, *, approved: bool = False) -> BaseTool:
    """Convert a tool for LangChain; its errors go to the model. A tool that needs approval raises
    ConfigError unless `approved` allows it to run without asking."""
    if tool.needs_approval and not approved:
        raise ConfigError(
            f"The tool {tool.name!r} needs approval, which LangChain does not ask for. Pass "
            "approved=True if it may always run."
        )

    async def acall(**arguments: Any) -> Any:
        try:
            return result_content((await tool.run(arguments)).prompt_content)
        except ToolError as error:
            log_failure(ToolCall("", tool.name, arguments), error)
            raise ToolException(str(error)) from error

    def call(**arguments: Any) -> Any:
        return run_sync(acall(**arguments))

    return StructuredTool(
        name=tool.name,
        description=tool.description,
        args_schema=tool.model or dict(tool.parameters),
        func=call,
        coroutine=acall,
        handle_tool_error=True,
    )


def from_langchain_tool(
    tool: BaseTool, *, needs_approval: bool = False, injected: Mapping[str, Any] = {}
) -> Tool:
    """Convert a LangChain tool, which validates its arguments itself. `injected` are values for
    arguments that the model does not see (InjectedToolArg, InjectedState, ToolRuntime), and which
    it cannot set. Raises ConfigError where a required one is missing."""
    definition = convert_to_openai_tool(tool)["function"]
    parameters = definition.get("parameters") or {"type": "object", "properties": {}}
    shown = frozenset(parameters.get("properties") or ())
    _check_injected(tool, shown | injected.keys())

    async def call(**arguments: Any) -> ToolResult:
        given = {name: value for name, value in arguments.items() if name in shown}
        request = {
            "type": "tool_call",
            "id": new_call_id(),
            "name": tool.name,
            "args": {**given, **injected},
        }
        result = await tool.ainvoke(request)
        if not isinstance(result, ToolMessage):
            return ToolResult(as_text(result))
        if result.status == "error":
            raise ToolError(str(result.text), tool.name)
        return ToolResult(content_of(result))

    return Tool(
        name=definition["name"],
        description=definition.get("description") or "",
        parameters=parameters,
        function=call,
        needs_approval=needs_approval,
    )


def _check_injected(tool: BaseTool, given: Collection[str]) -> None:
    """Raise ConfigError for a required argument that neither the model nor the caller gives."""
    schema = tool.args_schema
    fields = (
        schema.model_fields if isinstance(schema, type) and issubclass(schema, BaseModel) else {}
    )
    missing = [
        name
        for name, field in fields.items()
        if field.is_required() and name not in given and not _is_call_id(field)
    ]
    if missing:
        names = ", ".join(missing)
        raise ConfigError(
            f"The LangChain tool {tool.name!r} has arguments that a model does not set: {names}. "
            "Pass them: from_langchain_tool(tool, injected={...})."
        )


def _is_call_id(field: FieldInfo) -> bool:
    """Whether LangChain fills a field with the id of the call."""
    marks = [mark if isinstance(mark, type) else type(mark) for mark in field.metadata]
    return any(issubclass(mark, InjectedToolCallId) for mark in marks)
