"""GGUF models in this process, by llama.cpp in a wheel that needs no compiler.

One answer at a time, others wait. Tools are told in the system message, in the form of Hermes, not
by the model's own template. No images.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agentkit.backends.base import Capabilities, Model, Options, estimated_tokens, images, offered
from agentkit.backends.llamacpp_engine import Engine
from agentkit.backends.llamacpp_request import request_body
from agentkit.backends.llamacpp_source import located
from agentkit.backends.text_tool_calls import TextCalls
from agentkit.errors import FaultKind, ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool

Chunk = Mapping[str, Any]
Said = Chunk | Exception | None
"""What the worker tells: a chunk, why it failed, or that it has ended."""


class LlamaCppModel(Model):
    """The model in a .gguf file, or `smollm2`, which a package carries. Loaded at first use.
    `max_context` in tokens bounds the window; `threads` is llama.cpp's choice where it is None."""

    def __init__(self, model: str, *, max_context: int = 8192, threads: int | None = None) -> None:
        self._model = model
        self._max_context = max_context
        self._threads = threads
        self._engine: Engine | None = None
        self._worker = _worker()

    @property
    def name(self) -> str:
        return f"gguf:{self._model}"

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        if any(images(message) for message in messages):
            raise self._fault(f"{self.name} reads no images: choose another model.")
        left = offered(tools, options.tool_choice)
        engine = await self._ready()
        body = request_body(messages, left, options)
        names = [tool.name for tool in left] if options.schema is None else []
        reply = _Reply(TextCalls(names))
        loop, said, stopped = asyncio.get_running_loop(), asyncio.Queue[Said](), threading.Event()

        def say(piece: Said) -> bool:
            if not stopped.is_set():
                loop.call_soon_threadsafe(said.put_nowait, piece)
            return stopped.is_set()

        self._worker.submit(_answer, engine, body, say, stopped)
        try:
            while isinstance(piece := await said.get(), Mapping):
                if error := piece.get("error"):
                    raise self._refused(error)
                for part in reply.feed(piece):
                    yield part
        finally:
            stopped.set()
        if piece is not None:
            raise self._refused({"message": str(piece)}) from piece
        for part in reply.end(self.name):
            yield part

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
        """Let go of the weights, once the answer at hand is made."""
        self._worker.shutdown(wait=False)
        self._engine, self._worker = None, _worker()

    async def _ready(self) -> Engine:
        loading = self._engine or self._worker.submit(self._load)
        return loading if isinstance(loading, Engine) else await asyncio.wrap_future(loading)

    def _load(self) -> Engine:
        """Runs in the worker, so that two first requests load one model."""
        if self._engine is None:
            path = located(self._model)
            self._engine = Engine(self.name, path, self._max_context, self._threads)
        return self._engine

    def _refused(self, error: Mapping[str, Any]) -> ModelError:
        if error.get("type") == "exceed_context_size_error":
            return self._fault(
                f"The prompt of {error.get('n_prompt_tokens')} tokens does not fit {self.name}, "
                f"whose window is {error.get('n_ctx')} tokens. Shorten it, or raise max_context "
                f"(now {self._max_context}) if the model allows.",
                "too_long",
            )
        return self._fault(
            f"{self.name} failed: {error.get('message')}. Check the options and the JSON Schema."
        )

    def _fault(self, text: str, kind: FaultKind = "other") -> ModelError:
        return ModelError(" ".join(text.split())[:600], self.name, kind)


class _Reply:
    """Reads the chunks of one answer."""

    def __init__(self, parser: TextCalls) -> None:
        self._parser = parser
        self._finish = ""
        self._called = False
        self._usage = Usage(estimated=True)

    def feed(self, chunk: Chunk) -> list[ModelPart]:
        """The parts that a chunk makes certain."""
        if usage := chunk.get("usage"):
            self._usage = Usage(usage["prompt_tokens"], usage["completion_tokens"])
        parts: list[ModelPart] = []
        for choice in chunk.get("choices") or ():
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or {}
            if thought := delta.get("reasoning_content"):
                parts.append(ReasoningDelta(thought))
            parts += self._noted(self._parser.feed(delta.get("content") or ""))
        return parts

    def end(self, name: str) -> list[ModelPart]:
        """The rest, the usage and the end."""
        rest = self._noted(self._parser.end())
        if self._called:
            return [*rest, self._usage, Done("tool_calls", name)]
        return [*rest, self._usage, Done("length" if self._finish == "length" else "stop", name)]

    def _noted(self, parts: list[ModelPart]) -> list[ModelPart]:
        self._called = self._called or any(isinstance(part, ToolCall) for part in parts)
        return parts


def _worker() -> ThreadPoolExecutor:
    """One thread, in which loading and answering take turns."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="llamacpp")


def _answer(
    engine: Engine,
    body: Mapping[str, Any],
    say: Callable[[Said], bool],
    stopped: threading.Event,
) -> None:
    """Answer, and say last how it ended, unless nobody listens any more."""
    if stopped.is_set():
        return
    try:
        engine.chat(body, say)
    except Exception as error:
        say(error)
    else:
        say(None)
