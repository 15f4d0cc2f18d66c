"""Models on any OpenAI-compatible server: OpenAI, DeepSeek, LM Studio, vLLM, llama.cpp and others.

Uses streamed chat completions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentkit._sync import PerLoop, in_worker
from agentkit.backends.base import Capabilities, Options
from agentkit.backends.openai.errors import (
    Endpoint,
    cut_off_error,
    fault_of,
    is_missing_model,
    missing_model_error,
    not_a_stream_error,
    to_model_error,
)
from agentkit.backends.openai.learning import Refusal, lesson, refusal_text
from agentkit.backends.openai.profiles import ModelProfile
from agentkit.backends.openai.request import Request, RequestBuilder
from agentkit.backends.openai.sse import decode
from agentkit.backends.openai.stream import CompletionStream
from agentkit.backends.probe.memory import cached_capabilities
from agentkit.backends.retry import with_retries
from agentkit.backends.text_tool_calls import ParsedModel, parse_text_calls
from agentkit.backends.tool_schemas import wire_names
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    import httpx2
    import openai

_WINDOW_FIELDS = (
    *("loaded_context_length", "context_length", "max_model_len", "context_window"),
    "max_context_length",
)
_LISTING_SECONDS = 5.0
_WINDOW_SECONDS = 60.0
_DRAIN_SECONDS = 0.05
_MAX_LESSONS = 8
"""Refusals of one request that may change its form."""


class OpenAIModel(ParsedModel):
    """A model on an OpenAI-compatible server. Timeouts are in seconds, `read_timeout` between two
    chunks. `api_key` may be a function, which is called before the first request. `api_key_env` is
    only named in error messages. `profile` changes fields of the server's profile, and
    `extra_body` fields of each request, where None takes one out.

    A request that the server refuses because of its form is changed and sent again, a few times;
    what helped is remembered for this model at this address.
    """

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
        profile: Mapping[str, Any] | None = None,
        max_context: int | None = None,
    ) -> None:
        super().__init__(f"{provider}:{model}")
        self._max_context = max_context
        self._window: int | None = None
        self._window_until = 0.0
        self._find_key = api_key if callable(api_key) else None
        key = None if callable(api_key) else api_key
        self._endpoint = Endpoint.of(provider, model, base_url, key, api_key_env)
        self._max_retries = max_retries
        self._extra_body = dict(extra_body or {})
        self._settings = dict(profile or {})
        if "key_header" in self._settings:
            self._endpoint = replace(self._endpoint, key_header=self._settings["key_header"])
        self._timeouts = (connect_timeout, read_timeout)
        self._clients = PerLoop(
            lambda: self._endpoint.client(*self._timeouts, headers=self._profiles.current.headers)
        )

    @cached_property
    def _profiles(self) -> ModelProfile:
        provider, _, model = self.name.partition(":")
        return ModelProfile(provider, model, self.server, self._settings)

    @cached_property
    def _builder(self) -> RequestBuilder:
        profiles = self._profiles
        return RequestBuilder(
            self._endpoint.model, profiles.current, profiles.tag, self._extra_body
        )

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        names = wire_names([tool.name for tool in tools], self._builder.profile.tool_name)
        if all(name == wire for name, wire in names.items()):
            return super().stream(messages, tools, options)
        shown = [replace(tool, name=names[tool.name]) for tool in tools]
        choice = names.get(options.tool_choice, options.tool_choice)
        parts = self.request(messages, tools, options)
        parsed = parse_text_calls(parts, shown, replace(options, tool_choice=choice))
        return _with_names(parsed, names)

    def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        return with_retries(lambda: self._attempt(messages, tools, options), self._max_retries)

    async def context_window(self) -> int | None:
        """The window in the server's list of models, where it is there, or `max_context` below it.
        The list is read once a minute."""
        if self._profiles.kind != "openai" and time.monotonic() > self._window_until:
            self._window = listed_window(await self._list_models(), self._endpoint.model)
            self._window_until = time.monotonic() + _WINDOW_SECONDS
        return min(filter(None, (self._window, self._max_context)), default=None)

    async def capabilities(self) -> Capabilities:
        """Everything at OpenAI and Azure; elsewhere what a probe found, else the defaults."""
        if self._profiles.kind in ("openai", "azure"):
            return Capabilities(forced_tools=True, json_schema=True, images=True)
        return cached_capabilities(self.name, self.server) or Capabilities()

    async def close(self) -> None:
        if client := self._clients.pop():
            await client.close()

    @property
    def server(self) -> str:
        """The server's URL without user name and password."""
        return self._endpoint.address

    async def _attempt(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        """Yield the parts of one answer. Raises ModelError alone."""
        import httpx2
        import openai

        lessons: list[Mapping[str, Any]] = []
        request, is_complete = self._builder.build(messages, tools, options), False
        while not is_complete:
            completion = CompletionStream(list(request.names.values()), self._profiles.tag)
            texts: list[str] = []
            try:
                async with aclosing(self._chunks(request.body)) as chunks:
                    async for chunk in chunks:
                        for part in completion.feed(chunk):
                            if request.restore and isinstance(part, TextDelta):
                                texts.append(part.text)
                            else:
                                yield part
                is_complete = True
            except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
                explained = await self._explain(error)
                if more := self._lesson(error, explained, request, completion, lessons):
                    lessons.append(more)
                    request = self._rebuilt(request, more, messages, tools, options)
                    continue
                for part in completion.feed(_generation(error, explained, bool(tools))):
                    yield part
                is_complete = True
        if lessons and completion.is_finished:
            self._remember({key: new for each in lessons for key, new in each.items()})
        for part in self._last_parts(completion, request, texts):
            yield part

    def _last_parts(
        self, completion: CompletionStream, request: Request, texts: Sequence[str]
    ) -> Iterator[ModelPart]:
        """Yield what is known at the end of an answer. Raises ModelError for one cut off."""
        reason = completion.stop_reason
        if not completion.is_finished or reason == "broken":
            raise cut_off_error(self._endpoint, completion.has_choices, completion.finish_reason)
        if texts and request.restore:
            yield TextDelta(request.restore("".join(texts)))
        originals = {wire: name for name, wire in request.names.items()}
        for call in completion.calls:
            name = originals.get(call.name, call.name)
            yield call if name == call.name else replace(call, name=name)
        read = request.tokens if completion.usage is None else 0
        yield completion.usage or Usage(read, completion.estimated_tokens, estimated=True)
        yield Done(reason, self.name, completion.provider_data)

    async def _explain(self, error: Exception) -> ModelError:
        if is_missing_model(error):
            known = [str(model["id"]) for model in await self._list_models()]
            return missing_model_error(self._endpoint, known, fault_of(error).message)
        return to_model_error(error, self._endpoint)

    def _lesson(
        self,
        error: Exception,
        explained: ModelError,
        request: Request,
        completion: CompletionStream,
        lessons: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any] | None:
        """Return the fields of the profile that a refusal changes, None for other errors, and for a
        change that was tried."""
        if completion.has_choices or len(lessons) >= _MAX_LESSONS:
            return None
        text = None if fault_of(error).is_unread_generation else refusal_text(error)
        if text is None or explained.kind not in ("bad_request", "down", "other"):
            return None
        found = self._profiles.free(
            lesson(Refusal(text, request.body, request.explicit, request.profile))
        )
        if not found:
            return None
        if found in lessons:
            # Where both names of the limit of tokens are refused, none is sent.
            last: Mapping[str, Any] = {"max_tokens_field": ""}
            return last if "max_tokens_field" in found and last not in lessons else None
        return found

    def _rebuilt(
        self,
        request: Request,
        changes: Mapping[str, Any],
        messages: Sequence[Message],
        tools: Sequence[Tool],
        options: Options,
    ) -> Request:
        profile = request.profile.model_copy(update=changes)
        return replace(self._builder, profile=profile).build(messages, tools, options)

    def _remember(self, changes: Mapping[str, Any]) -> None:
        self._profiles.learn(changes)
        self._builder = replace(self._builder, profile=self._profiles.current)

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

    async def _list_models(self) -> list[Mapping[str, Any]]:
        """Return the models that the server lists, [] where it lists none."""
        import openai

        try:
            client = await self._client()
            page = await client.models.list(timeout=_LISTING_SECONDS)
        except (openai.OpenAIError, ValueError):
            return []
        return [m.model_dump() for m in getattr(page, "data", None) or [] if hasattr(m, "id")]


async def _with_names(
    parts: AsyncGenerator[ModelPart, None], names: Mapping[str, str]
) -> AsyncGenerator[ModelPart, None]:
    """Yield an answer's parts with the tools' own names in calls found in the text."""
    originals = {wire: name for name, wire in names.items()}
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, ToolCall) and part.name in originals:
                yield replace(part, name=originals[part.name])
            else:
                yield part


def _generation(error: Exception, explained: ModelError, can_call: bool) -> Mapping[str, Any]:
    """Return the completion whose text the server sent in an error. Raises the error as it is
    explained where there is none, or where it is a call and no tools were offered."""
    fault = fault_of(error)
    is_call = fault.is_unread_generation and "json_validate" not in fault.codes
    if not fault.generation or (is_call and not can_call):
        raise explained from error
    return {"choices": [{"message": {"content": fault.generation}, "finish_reason": "stop"}]}


def listed_window(models: Sequence[Mapping[str, Any]], model: str) -> int | None:
    """Return the window of a model in a list of a server, as llama.cpp, LM Studio, vLLM and others
    report it. A server of one model serves it under any name."""
    own = [each for each in models if each.get("id") == model]
    for each in own or (models if len(models) == 1 else []):
        meta = each.get("meta")
        values = [each.get(field) for field in _WINDOW_FIELDS]
        values.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
        if window := next((v for v in values if isinstance(v, int) and v > 0), None):
            return window
    return None
