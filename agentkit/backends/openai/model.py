"""Models on any OpenAI-compatible server: OpenAI, DeepSeek, LM Studio, vLLM, llama.cpp and others.

Uses streamed chat completions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentkit._sync import PerLoop, in_worker
from agentkit.backends.base import Capabilities, Options, prompt_tokens
from agentkit.backends.openai.errors import (
    OPENAI_URL,
    Endpoint,
    cut_off_error,
    fault_of,
    is_missing_model,
    missing_model_error,
    not_a_stream_error,
    to_model_error,
)
from agentkit.backends.openai.request import request_body
from agentkit.backends.openai.sse import decode
from agentkit.backends.openai.stream import CompletionStream
from agentkit.backends.probe.runner import cached_capabilities
from agentkit.backends.retry import with_retries
from agentkit.backends.text_tool_calls import ParsedModel
from agentkit.events import Done, ModelPart
from agentkit.messages import Message, Usage
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    import httpx2
    import openai

_WINDOW_FIELDS = ("context_length", "max_model_len", "context_window", "max_context_length")
_LISTING_SECONDS = 5.0
_DRAIN_SECONDS = 0.2


class OpenAIModel(ParsedModel):
    """A model on an OpenAI-compatible server. Timeouts are in seconds, `read_timeout` between two
    chunks. `api_key` may be a function, which is called before the first request. `api_key_env` is
    only named in error messages."""

    def __init__(
        self,
        model: str,
        *,
        provider: str = "openai",
        base_url: str | None = None,
        api_key: str | Callable[[], str | None] | None = None,
        api_key_env: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 120.0,
        max_retries: int = 2,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{provider}:{model}")
        self._find_key = api_key if callable(api_key) else None
        key = None if callable(api_key) else api_key
        self._endpoint = Endpoint.of(provider, model, base_url, key, api_key_env)
        self._max_retries = max_retries
        self._extra_body = dict(extra_body or {})
        self._clients = PerLoop(lambda: self._endpoint.client(connect_timeout, read_timeout))

    def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        limit_key = "max_completion_tokens" if self._is_openai else "max_tokens"
        body = request_body(self._endpoint.model, messages, tools, options, limit_key)
        body |= {**self._extra_body, **options.extra}
        read = prompt_tokens(messages, tools)
        return with_retries(lambda: self._attempt(body, read), self._max_retries)

    async def context_window(self) -> int | None:
        """The window in the server's list of models, where it is there. A server of one model
        serves it under any name."""
        if self._is_openai:
            return None
        models = await self._list_models()
        own = [model for model in models if model.id == self._endpoint.model]
        return _window((own or models)[0]) if own or len(models) == 1 else None

    async def capabilities(self) -> Capabilities:
        """Everything at OpenAI; elsewhere what `agentkit probe` found, else the defaults."""
        if self._is_openai:
            return Capabilities(forced_tools=True, json_schema=True, images=True)
        return cached_capabilities(self.name, self.server) or Capabilities()

    async def close(self) -> None:
        if client := self._clients.pop():
            await client.close()

    @property
    def server(self) -> str:
        """The server's URL without user name and password."""
        return self._endpoint.address

    @property
    def _is_openai(self) -> bool:
        return self._endpoint.url == OPENAI_URL

    async def _attempt(self, body: Mapping[str, Any], read: int) -> AsyncGenerator[ModelPart, None]:
        """Yield the parts of one answer. Closes the connection; raises ModelError alone."""
        import httpx2
        import openai

        names = [tool["function"]["name"] for tool in body.get("tools", ())]
        completion = CompletionStream(names, self.server)
        try:
            async with aclosing(self._chunks(body)) as chunks:
                async for chunk in chunks:
                    for part in completion.feed(chunk):
                        yield part
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            fault = fault_of(error)
            if is_missing_model(error):
                known = [model.id for model in await self._list_models()]
                raise missing_model_error(self._endpoint, known, fault.message) from error
            if not (written := fault.generation):
                raise to_model_error(error, self._endpoint) from error
            for part in completion.feed(_whole_message(written)):
                yield part
        reason = completion.stop_reason
        if not completion.is_finished or reason == "broken":
            raise cut_off_error(self._endpoint, completion.has_choices, completion.finish_reason)
        for call in completion.calls:
            yield call
        yield completion.usage or Usage(read, completion.estimated_tokens, estimated=True)
        yield Done(reason, self.name, completion.provider_data)

    async def _client(self) -> openai.AsyncOpenAI:
        """The running loop's client. Raises ConfigError for a missing key."""
        if self._find_key is not None:
            key = await in_worker(self._find_key)
            self._endpoint, self._find_key = replace(self._endpoint, key=key or ""), None
        return self._clients.get()

    async def _chunks(self, body: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """Yield the chunks of an answer as JSON, whatever form the server sends them in."""
        response = await self._open(body)
        kind = response.headers.get("content-type", "").partition(";")[0]
        try:
            if kind == "text/html":
                text = (await response.aread()).decode("utf-8", "replace")
                raise not_a_stream_error(self._endpoint, kind, text)
            async with aclosing(response.aiter_bytes()) as pieces:
                async for chunk in decode(pieces):
                    yield chunk
                with suppress(TimeoutError):  # An end that is read frees the connection for reuse.
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        async for _ in pieces:
                            pass
        finally:
            await response.aclose()

    async def _open(self, body: Mapping[str, Any]) -> httpx2.Response:
        import openai
        from openai.types.chat import ChatCompletionChunk

        client = await self._client()
        stream = await client.post(
            "/chat/completions",
            body=dict(body),
            cast_to=ChatCompletionChunk,
            stream=True,
            stream_cls=openai.AsyncStream[ChatCompletionChunk],
        )
        return stream.response

    async def _list_models(self) -> list[openai.types.Model]:
        """Return the models that the server lists, [] where it lists none."""
        import openai

        try:
            client = await self._client()
            page = await client.models.list(timeout=_LISTING_SECONDS)
        except (openai.OpenAIError, ValueError):
            return []
        return [model for model in getattr(page, "data", None) or [] if hasattr(model, "id")]


def _whole_message(text: str) -> Mapping[str, Any]:
    """The completion of a text that the server sent in an error."""
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


def _window(model: openai.types.Model) -> int | None:
    extra = model.model_extra or {}
    meta = extra.get("meta")
    values = [extra.get(field) for field in _WINDOW_FIELDS]
    values.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
    return next((value for value in values if isinstance(value, int) and value > 0), None)
