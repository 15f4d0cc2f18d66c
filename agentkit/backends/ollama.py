"""Models on an Ollama server. A prompt is never silently cut: the window grows with it, in steps,
and a prompt larger than the greatest window is refused."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from agentkit._sync import PerLoop
from agentkit.addresses import is_loopback, ollama_url, shown
from agentkit.backends.base import Capabilities, Model, Options, offered, prompt_tokens
from agentkit.backends.ollama_wire import (
    answered_calls,
    error_text,
    json_lines,
    json_object,
    model_window,
    request_body,
    window_for,
)
from agentkit.backends.retry import PassingError, with_retries
from agentkit.backends.text_tool_calls import TextCalls
from agentkit.errors import FaultKind, ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    import httpx2

ANSWER_TOKENS = 2048
"""Room for the answer where nobody limits it."""

_RETRIES = 2
_TOO_LONG = re.compile(r"context (size|length)|exceed_context", re.IGNORECASE)
_PASSING = re.compile(r"loading model|context canceled|server busy|unexpected EOF", re.IGNORECASE)


class OllamaModel(Model):
    """A model on an Ollama server: by default OLLAMA_HOST's, else this machine's. Timeouts in
    seconds, `read_timeout` between two chunks (and for loading a model); `max_context` in
    tokens; `keep_alive` is how long the server keeps the model, such as "10m"."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 120.0,
        max_context: int = 32768,
        keep_alive: str | float | None = None,
    ) -> None:
        self._model = model
        self._url = ollama_url(base_url or os.environ.get("OLLAMA_HOST", ""))
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._max_context = max_context
        self._keep_alive = keep_alive
        self._clients = PerLoop(self._client)
        self._facts: dict[str, Any] | None = None
        self._window = 0

    @property
    def name(self) -> str:
        return f"ollama:{self._model}"

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        read = prompt_tokens(messages, tools)
        window = await self._window_for(read, options.max_tokens or ANSWER_TOKENS)
        body = request_body(self._model, messages, tools, options, window)
        if self._keep_alive is not None:
            body.setdefault("keep_alive", self._keep_alive)
        names = [tool.name for tool in offered(tools, options.tool_choice)]
        if options.schema is not None:
            names = []
        attempts = with_retries(lambda: self._attempt(body, names, read), _RETRIES)
        async with aclosing(attempts) as parts:
            async for part in parts:
                yield part

    async def context_window(self) -> int:
        """The greatest window that a request gets: the model's, or `max_context` below it."""
        window = model_window(await self._shown())
        return min(window or self._max_context, self._max_context)

    async def capabilities(self) -> Capabilities:
        """What the server says of the model; old servers say it by its template alone."""
        facts = await self._shown()
        told = facts.get("capabilities") or []
        tools = "tools" in told if told else ".Tools" in (facts.get("template") or "")
        return Capabilities(
            tools=tools,
            forced_tools=tools,
            json_schema=True,
            images="vision" in told,
            reasoning="thinking" in told,
        )

    async def close(self) -> None:
        if client := self._clients.pop():
            await client.aclose()

    async def _window_for(self, read: int, answer: int) -> int:
        """The window of the next request; it only grows, as a change loads the model anew."""
        greatest = await self.context_window()
        if read > greatest:
            raise self._fault(
                f"The prompt of about {read} tokens does not fit {self.name}, whose greatest "
                f"window is {greatest} tokens. Shorten it, or raise max_context (now "
                f"{self._max_context}) if the model allows.",
                "too_long",
            )
        self._window = max(self._window, window_for(read + answer, greatest))
        return self._window

    async def _shown(self) -> dict[str, Any]:
        if self._facts is None:
            async with self._answer("/api/show", {"model": self._model}) as response:
                self._facts = json_object(await response.aread())
        return self._facts

    async def _attempt(
        self, body: Mapping[str, Any], names: Sequence[str], read: int
    ) -> AsyncGenerator[ModelPart, None]:
        parser, called = TextCalls(names), False
        async with self._answer("/api/chat", body) as response:
            async for chunk in json_lines(response.aiter_bytes()):
                if chunk.get("error"):
                    raise self._refused(200, str(chunk["error"]))
                ended = bool(chunk.get("done"))
                for part in (*_parts(chunk, parser), *(parser.end() if ended else ())):
                    called = called or isinstance(part, ToolCall)
                    yield part
                if ended:
                    for part in _end(chunk, called, read, self.name):
                        yield part
                    return
        raise self._fault(
            f"The answer of {self.name} was cut off by {shown(self._url)}: ask again.", "down"
        )

    def _client(self) -> httpx2.AsyncClient:
        import httpx2

        return httpx2.AsyncClient(
            base_url=self._url,
            timeout=httpx2.Timeout(self._read_timeout, connect=self._connect_timeout),
            trust_env=not is_loopback(self._url),
        )

    @asynccontextmanager
    async def _answer(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        """A response of status 200. Errors, while reading it too, leave as ModelErrors."""
        import httpx2

        try:
            async with self._clients.get().stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    said = (await response.aread()).decode("utf-8", "replace")
                    raise self._refused(response.status_code, error_text(said))
                yield response
        except httpx2.HTTPError as error:
            raise self._unreached(error) from error
        except UnicodeEncodeError as error:
            raise self._fault(
                "The messages hold half a character (a surrogate): remove it.", "bad_request"
            ) from error
        except ValueError as error:
            raise self._fault(
                f"{shown(self._url)} sent what no Ollama server sends ({error}). Check base_url.",
                "bad_request",
            ) from error

    def _refused(self, status: int, said: str) -> ModelError:
        if status == 404:
            return self._fault(
                f"{self._model!r} is not on the Ollama server at {shown(self._url)}. "
                f"Run: ollama pull {self._model}",
                "bad_request",
            )
        if _TOO_LONG.search(said):
            return self._fault(
                f"The conversation is too long for {self.name} ({said}). Shorten it, or raise "
                "max_context.",
                "too_long",
            )
        if status in (429, 499, 502, 503, 504) or _PASSING.search(said):
            return PassingError(
                _line(f"{self.name} is not ready: {said}. Ask again."),
                self.name,
                kind="rate_limited" if status == 429 else "down",
            )
        kind: FaultKind = "bad_request" if 400 <= status < 500 else "down"
        if status in (401, 403):
            kind = "refused_key"
        return self._fault(f"{self.name} failed ({said}). The server's log says more.", kind)

    def _unreached(self, error: httpx2.HTTPError) -> ModelError:
        import httpx2

        place = shown(self._url)
        match error:
            case httpx2.ConnectError() | httpx2.ConnectTimeout():
                return self._fault(
                    f"No Ollama server answers at {place}. Start it: ollama serve", "down"
                )
            case httpx2.TimeoutException():
                return self._fault(
                    f"{place} was silent for {self._read_timeout:g} s while answering for "
                    f"{self.name}. Ask again, or raise read_timeout.",
                    "timed_out",
                )
        return PassingError(f"The connection of {self.name} to {place} broke off.", self.name)

    def _fault(self, text: str, kind: FaultKind = "other") -> ModelError:
        return ModelError(_line(text), self.name, kind)


def _line(text: str) -> str:
    return " ".join(text.split())[:600]


def _parts(chunk: Mapping[str, Any], parser: TextCalls) -> list[ModelPart]:
    message = chunk.get("message") or {}
    thought = message.get("thinking")
    parts: list[ModelPart] = [ReasoningDelta(thought)] if thought else []
    parts += parser.feed(message.get("content") or "")
    parts += answered_calls(message)
    return parts


def _end(chunk: Mapping[str, Any], called: bool, read: int, name: str) -> list[ModelPart]:
    """Usage and end. A server that had the prompt in its cache may leave its count out."""
    counted = chunk.get("prompt_eval_count")
    usage = Usage(counted or read, chunk.get("eval_count") or 0, estimated=not counted)
    if chunk.get("done_reason") == "length":
        return [usage, Done("length", name)]
    return [usage, Done("tool_calls" if called else "stop", name)]
