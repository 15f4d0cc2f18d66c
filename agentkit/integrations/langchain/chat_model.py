"""Any of our models as a LangChain chat model.

What a LangChain call asks for, as our options and tools.

Structured output for a LangChain chat model whose answers a schema holds.

An asynchronous stream, read by synchronous code. The stream runs ahead of its reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, replace
from operator import itemgetter
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import (
    agenerate_from_stream,
    generate_from_stream,
)
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import PrivateAttr, SkipValidation

from agentkit._sync import run_sync
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model, Options
from agentkit.backends.registry import get_model
from agentkit.errors import ToolError
from agentkit.integrations.langchain.messages import as_chunk, to_ours
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool

_FOR_TRACES = frozenset({"ls_structured_output_format", "strict", "stream_usage"})


@dataclass(frozen=True, slots=True)
class Request:
    """One call: its tools and options, and the model where the call names another."""

    tools: tuple[Tool, ...]
    options: Options
    model: str | None


def request_of(given: Mapping[str, Any], stop: tuple[str, ...]) -> Request:
    """A call's keyword arguments; what is none of ours goes into the request's body."""
    left = {key: value for key, value in given.items() if key not in _FOR_TRACES}
    tools = tuple(_tool(described) for described in left.pop("tools", ()))
    options = Options(
        temperature=left.pop("temperature", None),
        max_tokens=left.pop("max_tokens", None),
        seed=left.pop("seed", None),
        tool_choice=choice_of(left.pop("tool_choice", None)) or "auto",
        schema=_schema(left.pop("response_format", None)),
        stop=stop,
    )
    model = left.pop("model", None)
    return Request(tools, _with_extra(options, left), model)


def choice_of(choice: str | Mapping[str, Any] | bool | None) -> str | None:
    """LangChain's many ways to choose a tool, as our one."""
    if isinstance(choice, Mapping):
        return str((choice.get("function") or choice).get("name"))
    if choice is True or choice == "any":
        return "required"
    return choice or None


def _with_extra(options: Options, extra: Mapping[str, Any]) -> Options:
    return replace(options, extra=dict(extra)) if extra else options


def _schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not response_format or response_format.get("type") == "text":
        return None
    held: Mapping[str, Any] = response_format.get("json_schema") or {}
    schema: Mapping[str, Any] = held.get("schema") or {"type": "object"}
    return schema


def _tool(described: Mapping[str, Any]) -> Tool:
    """A tool as models are told of it; LangChain runs it, not we."""
    function = described["function"]
    return Tool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters") or {"type": "object", "properties": {}},
        function=_not_ours,
    )


def _not_ours(**arguments: Any) -> NoReturn:
    raise ToolError("This tool belongs to LangChain: call it there.")


def held_to(
    chat: BaseChatModel, schema: dict[str, Any] | type, include_raw: bool, json_mode: bool
) -> Runnable[LanguageModelInput, Any]:
    """The chat model, then a parser: an object of the class, or a dict. `json_mode` asks for any
    JSON object, and leaves its form to the prompt."""
    kwargs = {"method": "json_mode" if json_mode else "json_schema"}
    traced = {"kwargs": kwargs, "schema": schema}
    model = chat.bind(
        response_format=_format(schema, json_mode), ls_structured_output_format=traced
    )
    parser: Runnable[Any, Any] = JsonOutputParser()
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        parser = PydanticOutputParser(pydantic_object=schema)
    return _with_raw(model, parser) if include_raw else model | parser


def _format(schema: dict[str, Any] | type, json_mode: bool) -> dict[str, Any]:
    if json_mode:
        return {"type": "json_object"}
    function = convert_to_openai_tool(schema)["function"]
    named = {"name": function["name"], "schema": function["parameters"]}
    return {"type": "json_schema", "json_schema": named}


def _with_raw(
    model: Runnable[LanguageModelInput, Any], parser: Runnable[Any, Any]
) -> Runnable[LanguageModelInput, Any]:
    """Raw message, parsed object and parsing error, in LangChain's own form."""
    read = itemgetter("raw") | parser
    parsed = RunnablePassthrough.assign(parsed=read, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")


T = TypeVar("T")

_END = object()


def in_step(parts: AsyncGenerator[T, None]) -> Iterator[T]:
    """The parts as they come. Closing the iterator stops the stream; its errors are raised."""
    said: SimpleQueue[Any] = SimpleQueue()

    async def pump() -> None:
        try:
            async with aclosing(parts):
                async for part in parts:
                    said.put(part)
        finally:
            said.put(_END)

    task = run_sync(_started(pump))
    try:
        while (part := said.get()) is not _END:
            yield part
    finally:
        run_sync(_ended(task))


async def _started(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    return asyncio.create_task(work())


async def _ended(task: asyncio.Task[None]) -> None:
    """Stop it where it still runs. Raises what it raised."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


class AgentkitChatModel(BaseChatModel):
    """`model` is a Model or its name, such as "ollama:qwen3:8b". Keys, addresses and timeouts are
    the Model's own."""

    model: SkipValidation[Model | str]
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    seed: int | None = None

    _named: dict[str, Model] = PrivateAttr(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "agentkit"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {
            "model": self._name_of(self.model),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools. `tool_choice` is "auto", "none", "any", a tool's name, or OpenAI's form."""
        strict = kwargs.pop("strict", None)
        offered = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        return self.bind(tools=offered, tool_choice=choice_of(tool_choice), **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answers as objects. `method` is "function_calling" (the default: a call of one tool),
        "json_schema" or "json_mode", which need a model that can be held to a schema."""
        method = kwargs.pop("method", "function_calling")
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        return held_to(self, schema, include_raw, json_mode=method == "json_mode")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = self._astream(messages, stop, run_manager, **kwargs)
        return await agenerate_from_stream(chunks)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in in_step(self._chunks(messages, self._request(stop, kwargs))):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._chunks(messages, self._request(stop, kwargs))) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _chunks(
        self, messages: Sequence[BaseMessage], request: Request
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        model = self._resolved(request.model)
        calls = 0
        answer = model.stream(to_ours(messages), request.tools, request.options)
        async with aclosing(answer) as parts:
            async for part in parts:
                if chunk := as_chunk(part, calls):
                    yield ChatGenerationChunk(message=chunk)
                calls += isinstance(part, ToolCall)

    async def close(self) -> None:
        """Let go of the connections that the running loop has opened."""
        for model in {self._resolved(None), *self._named.values()}:
            await model.close()

    def _request(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> Request:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        given = {key: value for key, value in kwargs.items() if value is not None}
        return request_of({**own, **given}, tuple(stop or self.stop or ()))

    def _resolved(self, name: str | None) -> Model:
        model = name or self.model
        if not isinstance(model, str):
            return model
        if model not in self._named:
            self._named[model] = get_model(model, extractive=ExtractiveModel)
        return self._named[model]

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop, **kwargs)
        params["ls_provider"] = "agentkit"
        params["ls_model_name"] = kwargs.get("model") or self._name_of(self.model)
        if stops := stop or self.stop:
            params["ls_stop"] = stops
        return params

    @staticmethod
    def _name_of(model: Model | str) -> str:
        return model if isinstance(model, str) else model.name
