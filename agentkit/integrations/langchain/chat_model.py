"""Use an agentkit model as a LangChain chat model."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, NoReturn

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

from agentkit._sync import iterate_sync
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model, Options
from agentkit.backends.registry import get_model
from agentkit.errors import ToolError
from agentkit.integrations.langchain.messages import as_chunk, from_langchain_messages
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool

_TRACING_KEYS = frozenset({"ls_structured_output_format", "strict", "stream_usage"})
"""Keyword arguments that LangChain passes for its traces only."""


class AgentkitChatModel(BaseChatModel):
    """A LangChain chat model over `model`, a Model or its name, such as "ollama:qwen3:8b". Keys,
    addresses and timeouts are those of the Model."""

    model: SkipValidation[Model | str]
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    seed: int | None = None

    _models: dict[str, Model] = PrivateAttr(default_factory=dict)

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
        """Bind tools. `tool_choice` is "auto", "none", "any", a tool's name, or OpenAI's form."""
        strict = kwargs.pop("strict", None)
        definitions = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        return self.bind(tools=definitions, tool_choice=_tool_choice(tool_choice), **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return answers as objects. `method` is "function_calling" (the default: a call of one
        tool), or "json_schema" or "json_mode", which need a model with structured output."""
        method = kwargs.pop("method", "function_calling")
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        return _structured(self, schema, include_raw, json_mode=method == "json_mode")

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
        for chunk in iterate_sync(self._chunks(messages, self._request(stop, kwargs))):
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
        self, messages: Sequence[BaseMessage], request: _Request
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        model = self._resolve(request.model)
        calls = 0
        answer = model.stream(from_langchain_messages(messages), request.tools, request.options)
        async with aclosing(answer) as parts:
            async for part in parts:
                if chunk := as_chunk(part, calls):
                    yield ChatGenerationChunk(message=chunk)
                calls += isinstance(part, ToolCall)

    async def close(self) -> None:
        """Close the connections that the running loop has opened."""
        for model in {self._resolve(None), *self._models.values()}:
            await model.close()

    def _request(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> _Request:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        arguments = {key: value for key, value in kwargs.items() if value is not None}
        return parse_request({**own, **arguments}, tuple(stop or self.stop or ()))

    def _resolve(self, name: str | None) -> Model:
        model = name or self.model
        if not isinstance(model, str):
            return model
        if model not in self._models:
            self._models[model] = get_model(model, extractive=ExtractiveModel)
        return self._models[model]

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


@dataclass(frozen=True, slots=True)
class _Request:
    """Tools and options of one call, and its model if it names another."""

    tools: tuple[Tool, ...]
    options: Options
    model: str | None


def parse_request(arguments: Mapping[str, Any], stop: tuple[str, ...]) -> _Request:
    """Parse the keyword arguments of a call; unknown ones go into the body of the request."""
    left = {key: value for key, value in arguments.items() if key not in _TRACING_KEYS}
    tools = tuple(_as_tool(definition) for definition in left.pop("tools", ()))
    options = Options(
        temperature=left.pop("temperature", None),
        max_tokens=left.pop("max_tokens", None),
        seed=left.pop("seed", None),
        tool_choice=_tool_choice(left.pop("tool_choice", None)) or "auto",
        schema=_schema(left.pop("response_format", None)),
        stop=stop,
    )
    model = left.pop("model", None)
    if left:
        options = replace(options, extra=left)
    return _Request(tools, options, model)


def _tool_choice(choice: str | Mapping[str, Any] | bool | None) -> str | None:
    """Convert the forms in which LangChain chooses a tool."""
    if isinstance(choice, Mapping):
        return str((choice.get("function") or choice).get("name"))
    if choice is True or choice == "any":
        return "required"
    return choice or None


def _schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not response_format or response_format.get("type") == "text":
        return None
    named: Mapping[str, Any] = response_format.get("json_schema") or {}
    schema: Mapping[str, Any] = named.get("schema") or {"type": "object"}
    return schema


def _as_tool(definition: Mapping[str, Any]) -> Tool:
    """Convert the definition of a tool that LangChain runs."""
    function = definition["function"]
    return Tool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters") or {"type": "object", "properties": {}},
        function=_reject_call,
    )


def _reject_call(**arguments: Any) -> NoReturn:
    raise ToolError("This tool belongs to LangChain. Call it there.")


def _structured(
    chat: BaseChatModel, schema: dict[str, Any] | type, include_raw: bool, json_mode: bool
) -> Runnable[LanguageModelInput, Any]:
    """Chain the chat model with a parser to an object of the class, or a dict. `json_mode` requests
    any JSON object, whose form the prompt must describe."""
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
    """Return raw message, parsed object and parsing error, in LangChain's form."""
    parse = itemgetter("raw") | parser
    parsed = RunnablePassthrough.assign(parsed=parse, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")
