"""Models on an Ollama server. A prompt is never cut silently: the window grows with it, in steps,
and a prompt larger than the greatest window is refused.

What a model does not support (tools, thinking) is learned from its facts and from refusals: tools
then stand in the prompt.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from agentkit._sync import PerLoop
from agentkit.addresses import ollama_url
from agentkit.backends.base import (
    Capabilities,
    Options,
    images,
    message_bodies,
    new_call_id,
    offered_tools,
    parse_arguments,
    prompt_tokens,
    tool_definition,
)
from agentkit.backends.conversation import valid_conversation
from agentkit.backends.faults import is_too_long
from agentkit.backends.ollama.server import (
    Body,
    OllamaError,
    context_length,
    loaded_window,
    new_client,
    request_object,
    stream_objects,
)
from agentkit.backends.prompted_tools import answer_schema, with_tools_in_text
from agentkit.backends.retry import TransientError, with_retries
from agentkit.backends.text_tool_calls import ParsedModel
from agentkit.errors import FaultKind, ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, Retried, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.redaction import display_url
from agentkit.settings.profile import Profile
from agentkit.tools.tool import Tool

ANSWER_TOKENS = 2048
"""Room for the answer where nobody limits it."""

SMALLEST_WINDOW = 8192
_TOP_LEVEL = frozenset({"think", "keep_alive", "format", "logprobs", "top_logprobs"})
_RETRIES = 2
_PROVIDER = "ollama"
"""The key of `provider_data` with the thinking of a message with calls."""
_SMALL_PROMPT = 2048
"""Tokens that fit into the window of every server."""

_TEMPORARY = re.compile(
    r"loading model|only loaded|context canceled|server busy|unexpected EOF|"
    r"runner process has terminated|model is busy|no slots? available",
    re.IGNORECASE,
)
_NO_TOOLS = re.compile(
    r"(does not|doesn't) support tools|tools? (use )?(is|are) not supported", re.IGNORECASE
)
_NO_THINKING = re.compile(r"does not support thinking|think value|invalid think", re.IGNORECASE)
_UNREADABLE = re.compile(
    r"pars\w+ (the )?(tool|function) ?call|tool ?call.{0,40}(pars|invalid|malformed|unmarshal)|"
    r"XML syntax error|(invalid|unexpected) (end of JSON|character)|"
    r"unmarshal.{0,80}(tool|argument)|harmony",
    re.IGNORECASE,
)
"""The server could not read a call that the model wrote, whose text it does not give."""
_KINDS: Mapping[int | str, FaultKind] = {
    "unreachable": "down",
    "timeout": "timed_out",
    "invalid": "bad_request",
    "unsendable": "bad_request",
    401: "refused_key",
    403: "refused_key",
}


class _UnreadableCall(ModelError):
    """The server could not read a call that the model wrote."""


class OllamaModel(ParsedModel):
    """A model on an Ollama server: by default OLLAMA_HOST's, else this machine's. Timeouts in
    seconds, `read_timeout` between two chunks (and for loading a model); `max_context` in
    tokens; `keep_alive` is how long the server keeps the model, such as "10m". `extra_body` goes
    into each request like `Options.extra`: `think` is True, False, "low", "medium" or "high"."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 120.0,
        max_context: int = 32768,
        keep_alive: str | float | None = None,
        extra_body: Mapping[str, Any] = {},
    ) -> None:
        super().__init__(f"ollama:{model}")
        self._model = model
        self._url = ollama_url(base_url or os.environ.get("OLLAMA_HOST", ""))
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._max_context = max_context
        kept = {} if keep_alive is None else {"keep_alive": keep_alive}
        self._extra: Mapping[str, Any] = {**kept, **extra_body}
        self._refused: set[str] = set()
        self._clients = PerLoop(lambda: new_client(self._url, connect_timeout, read_timeout))
        self._facts: Body | None = None
        self._window = 0

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        while True:
            prompt, body = await self._body(messages, tools, options)
            read = prompt_tokens(prompt, tools)
            try:
                async with aclosing(self._answer(body, read)) as parts:
                    async for part in parts:
                        yield part
                return
            except ModelError as error:
                if not self._learn(str(error), body):
                    raise

    async def _answer(self, body: Body, read: int) -> AsyncGenerator[ModelPart, None]:
        """Request an answer, and once more where the server cannot read the model's call."""
        for is_last in (False, True):
            attempts = with_retries(lambda: self._attempt(body, read), _RETRIES)
            try:
                async with aclosing(attempts) as parts:
                    async for part in parts:
                        yield part
                return
            except _UnreadableCall as error:
                if is_last:
                    raise
                yield Retried(str(error), 0.0)

    async def _body(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> tuple[Sequence[Message], Body]:
        """Return the messages and the body of a request, in the form that the model takes."""
        able = await self.capabilities()
        options = replace(options, extra={**self._extra, **options.extra})
        offered = offered_tools(tools, options.tool_choice)
        attached = any(images(message) for message in messages if message.role == "user")
        sees = able.images or attached or not (await self._show()).get("capabilities")
        messages = valid_conversation(messages, Profile(images="user" if sees else "none"))
        if not able.tools:
            messages = with_tools_in_text(messages, offered)
        window = await self._window_for(
            prompt_tokens(messages, tools), options.max_tokens or ANSWER_TOKENS
        )
        body = request_body(self._model, messages, offered, options, window)
        if not able.tools:
            body.pop("tools", None)
        if "think" in body:
            self._fit_thinking(body)
        return messages, body

    def _fit_thinking(self, body: Body) -> None:
        think = body["think"]
        if isinstance(think, str):
            think = {"true": True, "false": False}.get(think.lower(), think.lower())
        body["think"] = bool(think) if "think levels" in self._refused else think
        if "think" in self._refused:
            del body["think"]

    def _learn(self, error: str, body: Body) -> bool:
        """Learn from a refusal what the model does not support; whether that is new."""
        lesson = ""
        if "tools" in body and _NO_TOOLS.search(error):
            lesson = "tools"
        elif "think" in body and _NO_THINKING.search(error):
            lesson = "think levels" if isinstance(body["think"], str) else "think"
        is_new = bool(lesson) and lesson not in self._refused
        self._refused |= {lesson} if is_new else set()
        return is_new

    async def context_window(self) -> int:
        """The greatest window that a request gets: the model's, or `max_context` below it."""
        window = context_length(await self._show())
        return min(window or self._max_context, self._max_context)

    async def capabilities(self) -> Capabilities:
        """What the server says of the model; old servers show tools in the template alone."""
        facts = await self._show()
        listed = facts.get("capabilities") or []
        tools = "tools" in listed if listed else ".Tools" in (facts.get("template") or "")
        return Capabilities(
            tools=tools and "tools" not in self._refused,
            forced_tools=tools,
            json_schema=True,
            images="vision" in listed,
            reasoning="thinking" in listed,
        )

    async def close(self) -> None:
        if client := self._clients.pop():
            await client.aclose()

    async def _window_for(self, read: int, answer: int) -> int:
        """Return the window of the next request. It only grows, in few steps, as a change loads
        the model again."""
        greatest = await self.context_window()
        if read > greatest:
            raise self.error(
                f"The prompt of about {read} tokens does not fit {self.name}, whose greatest "
                f"window is {greatest} tokens. Shorten it, or raise max_context (now "
                f"{self._max_context}) if the model allows.",
                "too_long",
            )
        window = SMALLEST_WINDOW
        while window < read + answer:
            window *= 2
        self._window = max(self._window, min(window, greatest))
        return self._window

    async def _show(self) -> Body:
        if self._facts is None:
            try:
                asked = {"model": self._model}
                self._facts = await request_object(self._clients.get(), "/api/show", asked)
            except OllamaError as error:
                raise self._model_error(error) from error
        return self._facts

    async def _attempt(self, body: Mapping[str, Any], read: int) -> AsyncGenerator[ModelPart, None]:
        called, thought, has_text = False, "", False
        try:
            chunks = stream_objects(self._clients.get(), "/api/chat", body)
            async with aclosing(chunks):
                async for chunk in chunks:
                    for part in _parts(chunk):
                        called = called or isinstance(part, ToolCall)
                        has_text = has_text or isinstance(part, TextDelta)
                        thought += part.text if isinstance(part, ReasoningDelta) else ""
                        yield part
                    if chunk.get("done"):
                        if chunk.get("done_reason") in ("load", "unload"):
                            raise OllamaError("refused", "it was only loaded, without an answer")
                        await self._check_window(chunk, body, read)
                        if "format" in body and not has_text and thought.lstrip()[:1] in ("{", "["):
                            # Some servers take a constrained answer for the model's thought.
                            yield TextDelta(thought)
                        for part in _end(chunk, called, read, self.name, thought):
                            yield part
                        return
        except OllamaError as error:
            raise self._model_error(error) from error
        place = display_url(self._url)
        raise self.error(f"The answer of {self.name} was cut off by {place}: try again.", "down")

    async def _check_window(self, end: Body, body: Mapping[str, Any], read: int) -> None:
        """Raise ModelError where the server read much less than was sent, since it gave the model
        a smaller window than it was asked for and cut the prompt."""
        counted = end.get("prompt_eval_count") or read
        if counted * 2 > read or read < _SMALL_PROMPT:
            return
        window = await loaded_window(self._model, self._url)
        if window is not None and window < min(body["options"]["num_ctx"], read):
            self._max_context = min(self._max_context, window)
            raise self.error(
                f"The server gives {self.name} a window of {window} tokens, and cut the prompt of "
                f"about {read} tokens. Set OLLAMA_CONTEXT_LENGTH for the server, or shorten it.",
                "too_long",
            )

    def _model_error(self, error: OllamaError) -> ModelError:
        if not 400 <= error.status < 500 and _UNREADABLE.search(error.text):
            return _UnreadableCall(
                f"{self.name} wrote a tool call that the Ollama server cannot read ({error.text}). "
                "Ask again, or choose another model.",
                self.name,
            )
        if error.kind == "refused" and error.status != 404 and is_too_long(error.text):
            return self.error(
                f"The conversation is too long for {self.name} ({error.text}). Shorten it, or "
                "raise max_context.",
                "too_long",
            )
        temporary = error.status in (429, 499, 502, 503, 504) or _TEMPORARY.search(error.text)
        if error.kind == "refused" and temporary:
            text = f"{self.name} is not ready: {error.text}. Ask again."
            kind: FaultKind = "rate_limited" if error.status == 429 else "down"
            return TransientError(text, self.name, kind=kind)
        text = error.message(self._url, self._model, self.name, self._read_timeout)
        if error.kind == "interrupted":
            return TransientError(text, self.name)
        default: FaultKind = "bad_request" if 400 <= error.status < 500 else "down"
        return self.error(text, _KINDS.get(error.kind) or _KINDS.get(error.status) or default)


def request_body(
    model: str, messages: Sequence[Message], tools: Sequence[Tool], options: Options, window: int
) -> Body:
    """Return the body of a streamed chat, which newer servers neither cut (`truncate`) nor forget
    (`shift`) where it does not fit. Of `options.extra`, what Ollama does not know as a field of
    the request goes among its options (`top_k`, `num_gpu`)."""
    bodies = message_bodies(messages, "tool_name")
    for message, each in zip(messages, bodies, strict=True):
        each |= (message.provider_data or {}).get(_PROVIDER) or {}
        if pictures := images(message):
            each["images"] = [base64.b64encode(image.data).decode() for image in pictures]
    settings = {
        "num_ctx": window,
        "temperature": options.temperature,
        "num_predict": options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        **{key: value for key, value in options.extra.items() if key not in _TOP_LEVEL},
    }
    body = {
        "model": model,
        "messages": bodies,
        "stream": True,
        "truncate": False,
        "shift": False,
        "tools": [tool_definition(tool) for tool in tools] or None,
        "format": answer_schema(tools, options),
        "options": {key: value for key, value in settings.items() if value is not None},
    }
    body |= {key: value for key, value in options.extra.items() if key in _TOP_LEVEL}
    return {key: value for key, value in body.items() if value is not None}


def _parts(chunk: Mapping[str, Any]) -> Iterator[ModelPart]:
    message = chunk.get("message") or {}
    if thought := message.get("thinking"):
        yield ReasoningDelta(thought)
    if text := message.get("content"):
        yield TextDelta(text)
    for call in message.get("tool_calls") or []:
        function = call.get("function") or {}
        # Old servers give calls no ids.
        call_id = call.get("id") or new_call_id()
        arguments = function.get("arguments") or {}
        if isinstance(arguments, str):
            arguments = parse_arguments(arguments)
        yield ToolCall(call_id, function.get("name") or "", arguments)


def _end(
    chunk: Mapping[str, Any], called: bool, read: int, name: str, thought: str
) -> list[ModelPart]:
    """Return usage and end, with the thought that goes back with calls. A server that had the
    prompt in its cache may leave out its count."""
    counted = chunk.get("prompt_eval_count")
    usage = Usage(counted or read, chunk.get("eval_count") or 0, estimated=not counted)
    if chunk.get("done_reason") == "length":
        return [usage, Done("length", name)]
    data = {_PROVIDER: {"thinking": thought}} if called and thought else None
    return [usage, Done("tool_calls" if called else "stop", name, data)]
