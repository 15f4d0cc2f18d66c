"""Any OpenAI-compatible server: OpenAI, DeepSeek, LM Studio, vLLM, llama.cpp, and many more.

Speaks chat completions only, always streamed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from agentkit._sync import PerLoop
from agentkit.addresses import checked, is_loopback
from agentkit.backends.base import Capabilities, Model, Options, prompt_tokens
from agentkit.backends.openai.errors import (
    Endpoint,
    cut_off,
    explained,
    is_missing_model,
    missing_model,
    not_a_stream,
)
from agentkit.backends.openai.request import request_body
from agentkit.backends.openai.stream import Reply
from agentkit.backends.probe.cache import cached_capabilities
from agentkit.backends.retry import with_retries
from agentkit.backends.text_tool_calls import parse_text_calls
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import Message, Usage
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk

OPENAI_URL = "https://api.openai.com/v1"

NO_KEY = "none"
"""What is sent where no key is needed: the SDK insists on one."""

_WINDOW_FIELDS = ("context_length", "max_model_len", "context_window", "max_context_length")
_LISTING_SECONDS = 5.0


class OpenAIModel(Model):
    """A model behind an OpenAI-compatible server. `api_key_env` is only named in errors; timeouts
    in seconds, `read_timeout` between two chunks."""

    def __init__(
        self,
        model: str,
        *,
        provider: str = "openai",
        base_url: str | None = None,
        api_key: str | None = None,
        api_key_env: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 120.0,
        max_retries: int = 2,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        self._at = Endpoint(
            name=f"{provider}:{model}",
            model=model,
            url=checked(base_url or OPENAI_URL),
            key_env=api_key_env or ("OPENAI_API_KEY" if provider == "openai" else ""),
            key=api_key or "",
        )
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._max_retries = max_retries
        self._extra_body = dict(extra_body or {})
        self._clients = PerLoop(self._client)

    @property
    def name(self) -> str:
        return self._at.name

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        limit_key = "max_completion_tokens" if self._is_openai else "max_tokens"
        body = request_body(self._at.model, messages, tools, options, limit_key)
        body |= {**self._extra_body, **options.extra}
        read = prompt_tokens(messages, tools)
        attempts = with_retries(lambda: self._attempt(body, read), self._max_retries)
        return parse_text_calls(attempts, tools, options)

    async def context_window(self) -> int | None:
        """What the server says of the model among its models, if it says it there. A server of
        one model serves it under any name."""
        if self._is_openai:
            return None
        models = await self._listed()
        own = [model for model in models if model.id == self._at.model]
        return _window((own or models)[0]) if own or len(models) == 1 else None

    async def capabilities(self) -> Capabilities:
        """All of it at OpenAI; elsewhere what `agentkit probe` found, else only what every server
        has."""
        if self._is_openai:
            return Capabilities(forced_tools=True, json_schema=True, images=True)
        return cached_capabilities(self.name, self.server) or Capabilities()

    async def close(self) -> None:
        if client := self._clients.pop():
            await client.close()

    @property
    def server(self) -> str:
        """Where it is, without what is secret in the address."""
        return self._at.place

    @property
    def _is_openai(self) -> bool:
        return self._at.url == OPENAI_URL

    def _client(self) -> openai.AsyncOpenAI:
        import openai

        timeout = openai.Timeout(self._read_timeout, connect=self._connect_timeout)
        local = is_loopback(self._at.url)
        return openai.AsyncOpenAI(
            api_key=self._at.key or NO_KEY,
            base_url=self._at.url,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not local, timeout=timeout),
        )

    async def _attempt(self, body: Mapping[str, Any], read: int) -> AsyncGenerator[ModelPart, None]:
        reply, written = Reply(), 0
        chunks = self._chunks(body)
        async with aclosing(chunks):
            async for chunk in chunks:
                for part in reply.feed(chunk):
                    if isinstance(part, (TextDelta, ReasoningDelta)):
                        written += len(part.text.encode("utf-8", "replace"))
                    yield part
        if not reply.finished:
            raise cut_off(self._at, reply.seen)
        for call in reply.calls:
            yield call
        yield reply.usage or Usage(read, (written + 2) // 3, estimated=True)
        yield Done(reply.stop_reason, self.name)

    async def _chunks(self, body: Mapping[str, Any]) -> AsyncGenerator[ChatCompletionChunk, None]:
        """The chunks of one answer. Every error leaves as a ModelError, the socket closed."""
        import httpx2
        import openai

        stream = None
        try:
            stream = await self._opened(body)
            async for chunk in stream:
                yield chunk
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
            if is_missing_model(error):
                known = [model.id for model in await self._listed()]
                raise missing_model(self._at, known) from error
            raise explained(error, self._at) from error
        finally:
            if stream is not None:
                await stream.close()

    async def _opened(self, body: Mapping[str, Any]) -> openai.AsyncStream[ChatCompletionChunk]:
        import openai
        from openai.types.chat import ChatCompletionChunk

        stream = await self._clients.get().post(
            "/chat/completions",
            body=dict(body),
            cast_to=ChatCompletionChunk,
            stream=True,
            stream_cls=openai.AsyncStream[ChatCompletionChunk],
        )
        kind = stream.response.headers.get("content-type", "").partition(";")[0]
        if kind in ("text/html", "application/json"):
            text = (await stream.response.aread()).decode("utf-8", "replace")
            raise not_a_stream(self._at, kind, text)
        return stream

    async def _listed(self) -> list[openai.types.Model]:
        """What models the server says it has; none where it does not say."""
        import openai

        try:
            page = await self._clients.get().models.list(timeout=_LISTING_SECONDS)
        except (openai.OpenAIError, ValueError):
            return []
        return [model for model in getattr(page, "data", None) or [] if hasattr(model, "id")]


def _window(model: openai.types.Model) -> int | None:
    said = model.model_extra or {}
    meta = said.get("meta")
    values = [said.get(field) for field in _WINDOW_FIELDS]
    values.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
    return next((value for value in values if isinstance(value, int) and value > 0), None)
