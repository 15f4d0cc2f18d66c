"""Any of our models as a LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import (
    agenerate_from_stream,
    generate_from_stream,
)
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr, SkipValidation

from agentkit.backends.base import Model
from agentkit.backends.registry import get_model
from agentkit.integrations.in_step import in_step
from agentkit.integrations.langchain_messages import as_chunk, to_ours
from agentkit.integrations.langchain_options import Request, choice_of, request_of
from agentkit.integrations.langchain_output import held_to
from agentkit.messages import ToolCall


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
            self._named[model] = get_model(model)
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
