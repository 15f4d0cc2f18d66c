"""Any LangChain chat model as one of ours.

Tools, both ways. The approval that a tool of ours may need is unknown to LangChain.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentkit._sync import run_sync
from agentkit.backends.base import (
    Capabilities,
    Model,
    Options,
    new_call_id,
    offered_tools,
    prompt_tokens,
    tool_definition,
)
from agentkit.backends.text_tool_calls import parse_text_calls
from agentkit.errors import ConfigError, FaultKind, ModelError, ToolError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.integrations.langchain.messages import streamed_calls, thought_of, to_theirs
from agentkit.messages import Message, Usage
from agentkit.tools.tool import Tool

_ENDINGS = ("finish_reason", "stop_reason", "done_reason")
_CUT = frozenset({"length", "max_tokens"})
_REFUSED = frozenset({"content_filter", "refusal", "refused", "safety"})
_STATUSES: dict[int, FaultKind] = {
    401: "refused_key",
    403: "refused_key",
    408: "timed_out",
    429: "rate_limited",
    504: "timed_out",
}


class LangChainModel(Model):
    """`json_schema` says that the chat model understands OpenAI's `response_format`; without it
    a schema is refused. Retries and timeouts are the chat model's own."""

    def __init__(self, chat: BaseChatModel, *, name: str = "", json_schema: bool = False) -> None:
        self._chat = chat
        self._name = name or _named(chat)
        self._json_schema = json_schema

    @property
    def name(self) -> str:
        return f"langchain:{self._name}"

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        return parse_text_calls(self._request(messages, tools, options), tools, options)

    async def _request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        chat = self._prepared(tools, options)
        rest, written = AIMessageChunk(content=""), 0
        chunks = chat.astream(to_theirs(messages), stop=list(options.stop) or None)
        try:
            async for chunk in _chunks(chunks):
                for piece in _parts(chunk):
                    written += len(piece.text.encode("utf-8", "replace"))
                    yield piece
                rest += chunk.model_copy(update={"content": ""})
        except ModelError:
            raise
        except Exception as error:
            raise self._explained(error) from error
        finally:
            await _close(chunks)
        counted = Usage(prompt_tokens(messages, tools), (written + 2) // 3, estimated=True)
        for part in self._end(rest, counted):
            yield part

    async def context_window(self) -> int | None:
        return (self._chat.profile or {}).get("max_input_tokens")

    async def capabilities(self) -> Capabilities:
        """What the chat model's profile says, where it has one."""
        profile = self._chat.profile or {}
        tools = type(self._chat).bind_tools is not BaseChatModel.bind_tools
        return Capabilities(
            tools=tools,
            forced_tools=tools,
            json_schema=self._json_schema,
            images=bool(profile.get("image_inputs")),
            reasoning=bool(profile.get("reasoning_output")),
        )

    def _prepared(self, tools: Sequence[Tool], options: Options) -> Runnable[Any, Any]:
        asked: dict[str, Any] = {
            "temperature": options.temperature,
            "max_tokens": options.max_tokens,
            "seed": options.seed,
            "response_format": self._format(options),
            **options.extra,
        }
        given = {key: value for key, value in asked.items() if value is not None}
        left = offered_tools(tools, options.tool_choice)
        if not left:
            return self._chat.bind(**given) if given else self._chat
        choice = {"auto": None, "required": "any"}.get(options.tool_choice, options.tool_choice)
        try:
            bound = self._chat.bind_tools(
                [tool_definition(tool) for tool in left], tool_choice=choice
            )
        except NotImplementedError as error:
            raise ModelError(f"{self.name} calls no tools.", self.name, "bad_request") from error
        return bound.bind(**given) if given else bound

    def _format(self, options: Options) -> dict[str, Any] | None:
        if options.schema is None:
            return None
        if not self._json_schema:
            raise ModelError(
                f"{self.name} is not known to hold to a JSON Schema. If it understands OpenAI's "
                "response_format, pass json_schema=True.",
                self.name,
                "bad_request",
            )
        named = {"name": "answer", "schema": dict(options.schema)}
        return {"type": "json_schema", "json_schema": named}

    def _end(self, rest: AIMessageChunk, counted: Usage) -> list[ModelPart]:
        """Calls, usage and end, of what all chunks together say beside the text."""
        calls = streamed_calls(rest)
        if said := rest.usage_metadata:
            counted = Usage(said["input_tokens"], said["output_tokens"])
        return [*calls, counted, Done(_reason(rest, bool(calls)), self.name)]

    def _explained(self, error: Exception) -> ModelError:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        text = f"{self.name} failed ({said}). Look at the settings of that chat model."
        return ModelError(text, self.name, _kind(error))


def _parts(chunk: AIMessageChunk) -> list[TextDelta | ReasoningDelta]:
    thought, text = thought_of(chunk), str(chunk.text)
    parts: list[TextDelta | ReasoningDelta] = [ReasoningDelta(thought)] if thought else []
    return [*parts, TextDelta(text)] if text else parts


async def _chunks(chunks: AsyncIterator[Any]) -> AsyncIterator[AIMessageChunk]:
    """A model that does not stream gives a whole message in place of chunks."""
    async for chunk in chunks:
        if isinstance(chunk, AIMessageChunk):
            yield chunk


async def _close(chunks: AsyncIterator[Any]) -> None:
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


def _named(chat: BaseChatModel) -> str:
    names = (getattr(chat, field, None) for field in ("model_name", "model", "model_id"))
    return next((name for name in names if isinstance(name, str) and name), type(chat).__name__)


def _reason(
    rest: AIMessageChunk, called: bool
) -> Literal["stop", "length", "tool_calls", "refused"]:
    said = {str(rest.response_metadata.get(key) or "").lower() for key in _ENDINGS}
    if said & _CUT:
        return "length"
    if said & _REFUSED:
        return "refused"
    return "tool_calls" if called else "stop"


def _kind(error: Exception) -> FaultKind:
    """By the status or the class of whatever client the chat model uses."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _STATUSES.get(status, "down" if status >= 500 else "bad_request")
    name = type(error).__name__.lower()
    if "contextoverflow" in name or "context_length" in str(error):
        return "too_long"
    if "timeout" in name:
        return "timed_out"
    return "down" if "connect" in name or isinstance(error, OSError) else "other"


def as_langchain_tool(tool: Tool, *, approved: bool = False) -> BaseTool:
    """Our tool for LangChain; its errors are told to the model. `approved` says that a tool which
    needs approval may run without asking. Raises ConfigError where it needs one and has none."""
    if tool.needs_approval and not approved:
        raise ConfigError(
            f"The tool {tool.name!r} needs approval, which LangChain does not ask for. Pass "
            "approved=True if it may always run."
        )

    async def acall(**arguments: Any) -> str:
        try:
            return (await tool.run(arguments)).prompt_text
        except ToolError as error:
            raise ToolException(str(error)) from error

    def call(**arguments: Any) -> str:
        return run_sync(acall(**arguments))

    return StructuredTool(
        name=tool.name,
        description=tool.description,
        args_schema=tool.model or dict(tool.parameters),
        func=call,
        coroutine=acall,
        handle_tool_error=True,
    )


def from_langchain_tool(tool: BaseTool, *, needs_approval: bool = False) -> Tool:
    """LangChain's tool for our agents. It checks its arguments itself."""
    described = convert_to_openai_tool(tool)["function"]

    async def call(**arguments: Any) -> str:
        asked = {"type": "tool_call", "id": new_call_id(), "name": tool.name, "args": arguments}
        result = await tool.ainvoke(asked)
        if not isinstance(result, ToolMessage):
            return str(result)
        if result.status == "error":
            raise ToolError(str(result.text), tool.name)
        return str(result.text)

    return Tool(
        name=described["name"],
        description=described.get("description") or "",
        parameters=described.get("parameters") or {"type": "object", "properties": {}},
        function=call,
        needs_approval=needs_approval,
    )
