"""GGUF models in this process, by llama.cpp in a wheel that needs no compiler.

One answer at a time, in the order of the requests. Tools are described in the system message, in
the form of Hermes, not by the model's own template, and a forced call is constrained by a JSON
Schema, so that a tiny model's calls parse too. No images.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agentkit.backends.base import (
    Capabilities,
    Model,
    Options,
    estimated_tokens,
    images,
    offered_tools,
)
from agentkit.backends.llamacpp.engine import Engine
from agentkit.backends.llamacpp.source import find_file
from agentkit.backends.prompted_tools import calls_schema, is_forced, with_tools_in_text
from agentkit.backends.text_tool_calls import parse_text_calls
from agentkit.errors import FaultKind, ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import Message, Usage
from agentkit.tools.tool import Tool

Chunk = Mapping[str, Any]
Piece = Chunk | Exception | None
"""What the worker emits: a chunk, an error, or None at the end."""


class LlamaCppModel(Model):
    """The model in a .gguf file, or `smollm2`, which a package carries. Loaded at first use.
    `max_context` in tokens bounds the window; `threads` is llama.cpp's choice where it is None."""

    def __init__(self, model: str, *, max_context: int = 8192, threads: int | None = None) -> None:
        self._model = model
        self._max_context = max_context
        self._threads = threads
        self._engine: Engine | None = None
        self._worker = _new_worker()

    @property
    def name(self) -> str:
        return f"gguf:{self._model}"

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
        if any(images(message) for message in messages):
            raise self._error(f"{self.name} reads no images: choose another model.")
        left = offered_tools(tools, options.tool_choice)
        engine = await self._ready()
        body = request_body(messages, left, options)
        usage, reason = Usage(estimated=True), ""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece]()
        cancelled = threading.Event()

        def emit(piece: Piece) -> bool:
            if not cancelled.is_set():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            return cancelled.is_set()

        self._worker.submit(_answer, engine, body, emit, cancelled)
        try:
            while isinstance(piece := await pieces.get(), Mapping):
                if error := piece.get("error"):
                    raise self._engine_error(error)
                if counts := piece.get("usage"):
                    usage = Usage(counts["prompt_tokens"], counts["completion_tokens"])
                for choice in piece.get("choices") or ():
                    reason = choice.get("finish_reason") or reason
                for part in _delta_parts(piece):
                    yield part
        finally:
            cancelled.set()
        if piece is not None:
            raise self._engine_error({"message": str(piece)}) from piece
        yield usage
        yield Done("length" if reason == "length" else "stop", self.name)

    async def context_window(self) -> int:
        """The model's own window, or `max_context` below it; loads the model."""
        return (await self._ready()).window

    def count_tokens(self, text: str) -> int:
        """By the model's tokenizer once it is loaded, before that an estimate."""
        if self._engine is not None:
            try:
                return self._engine.count_tokens(text)
            except (OSError, ValueError, KeyError):
                pass
        return estimated_tokens(text)

    async def capabilities(self) -> Capabilities:
        return Capabilities(forced_tools=True, json_schema=True)

    async def close(self) -> None:
        """Free the weights, once the answer in progress is complete."""
        self._worker.shutdown(wait=False)
        self._engine, self._worker = None, _new_worker()

    async def _ready(self) -> Engine:
        if self._engine is not None:
            return self._engine
        return await asyncio.wrap_future(self._worker.submit(self._load))

    def _load(self) -> Engine:
        """Runs in the worker, so that two first requests load one model."""
        if self._engine is None:
            path = find_file(self._model)
            self._engine = Engine(self.name, path, self._max_context, self._threads)
        return self._engine

    def _engine_error(self, error: Mapping[str, Any]) -> ModelError:
        if error.get("type") == "exceed_context_size_error":
            return self._error(
                f"The prompt of {error.get('n_prompt_tokens')} tokens does not fit {self.name}, "
                f"whose window is {error.get('n_ctx')} tokens. Shorten it, or raise max_context "
                f"(now {self._max_context}) if the model allows.",
                "too_long",
            )
        return self._error(
            f"{self.name} failed: {error.get('message')}. Check the options and the JSON Schema."
        )

    def _error(self, text: str, kind: FaultKind = "other") -> ModelError:
        return ModelError(" ".join(text.split())[:600], self.name, kind)


def request_body(
    messages: Sequence[Message], tools: Sequence[Tool], options: Options
) -> dict[str, Any]:
    """Return the body of a streamed chat. With a seed nothing is taken from the prompt cache, since
    the sums of a warm run differ in their last bits from those of a cold one."""
    schema = options.schema
    if schema is None and is_forced(tools, options):
        schema = calls_schema(tools)
    response_format = None
    if schema is not None:
        json_schema = {"name": "answer", "schema": dict(schema)}
        response_format = {"type": "json_schema", "json_schema": json_schema}
    conversation = with_tools_in_text(messages, tools)
    body = {
        "messages": [{"role": each.role, "content": each.prompt_text} for each in conversation],
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        "cache_prompt": options.seed is None,
        "response_format": response_format,
    }
    return {key: value for key, value in body.items() if value is not None} | dict(options.extra)


def _delta_parts(chunk: Chunk) -> Iterator[ModelPart]:
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        if thought := delta.get("reasoning_content"):
            yield ReasoningDelta(thought)
        if text := delta.get("content"):
            yield TextDelta(text)


def _new_worker() -> ThreadPoolExecutor:
    """One thread, in which loading and answering take turns."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="llamacpp")


def _answer(
    engine: Engine,
    body: Mapping[str, Any],
    emit: Callable[[Piece], bool],
    cancelled: threading.Event,
) -> None:
    """Answer, and emit last how it ended, unless the request was cancelled."""
    if cancelled.is_set():
        return
    try:
        engine.chat(body, emit)
    except Exception as error:
        emit(error)
    else:
        emit(None)
