"""Models of Hugging Face in this process: any causal model by hub id, folder or GGUF file.

Chats at the same time share the model's passes. Calls and JSON are held where asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple, ParamSpec, TypeVar

from agentkit.backends.base import Capabilities, Model, Options, estimated_tokens, images
from agentkit.backends.huggingface_ask import Preparer
from agentkit.backends.huggingface_engine import Engine
from agentkit.backends.huggingface_load import Loaded, load
from agentkit.backends.huggingface_placement import Placement
from agentkit.backends.huggingface_row import Outcome
from agentkit.backends.huggingface_source import located
from agentkit.backends.text_tool_calls import THINK
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart
from agentkit.messages import Message, Usage
from agentkit.tools.tool import Tool

P = ParamSpec("P")
T = TypeVar("T")


class _Running(NamedTuple):
    """A model in memory, and what serves it."""

    loaded: Loaded
    preparer: Preparer
    engine: Engine


class HuggingFaceModel(Model):
    """A model by hub id, folder or .gguf path, loaded at first use.

    `max_new_tokens` counts where nobody limits an answer. `max_batch` chats share a pass;
    `kept_tokens` bounds what is kept of a chat for its next turn. `max_context` bounds prompt and
    answer below what the model has room for. `trust_remote_code` runs the model's own code.
    """

    def __init__(
        self,
        model: str,
        *,
        placement: Placement = Placement(),
        trust_remote_code: bool = False,
        gguf_file: str | None = None,
        max_new_tokens: int = 1024,
        max_context: int | None = None,
        max_batch: int = 8,
        kept_tokens: int = 8192,
    ) -> None:
        self._model = model
        self._gguf_file = gguf_file
        self._placement = placement
        self._trust_remote_code = trust_remote_code
        self._start = partial(Engine, rows=max_batch, kept_tokens=kept_tokens)
        self._max_new_tokens = max_new_tokens
        self._max_context = max_context
        self._running: _Running | None = None
        self._worker = _worker()

    @property
    def name(self) -> str:
        return f"hf:{self._model}"

    @property
    def prefilled_tokens(self) -> int:
        """How many tokens of prompts went through the model; those found again are not read."""
        return self._running.engine.forward.prefilled if self._running else 0

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        if any(images(message) for message in messages):
            text = f"{self.name} reads no images: choose another model."
            raise ModelError(text, self.name, "bad_request")
        running = await self._ready()
        ask = await self._in_worker(running.preparer.ask, messages, tools, options)
        loop, said = asyncio.get_running_loop(), asyncio.Queue[str | Outcome | Exception]()
        request = ask.request(partial(_say, loop, said))
        running.engine.submit(request)
        try:
            while isinstance(piece := await said.get(), str):
                for part in ask.parser.feed(piece):
                    yield part
        finally:
            request.stopped.set()
        if isinstance(piece, Exception):
            raise piece
        for part in ask.ended():
            yield part
        yield Usage(len(ask.ids), piece.tokens)
        yield Done("tool_calls" if ask.parser.called else piece.reason, self.name)

    async def context_window(self) -> int | None:
        """What the model's configuration says, or less where the user does; loads it."""
        return (await self._ready()).loaded.window

    def count_tokens(self, text: str) -> int:
        """By the model's tokenizer once it is loaded, before that an estimate."""
        if self._running is None:
            return estimated_tokens(text)
        return len(self._running.loaded.tokenizer.encode(text, add_special_tokens=False))

    async def capabilities(self) -> Capabilities:
        """Whether it reasons is known once it is loaded."""
        held = find_spec("llguidance") is not None
        template = self._running.loaded.tokenizer.chat_template if self._running else ""
        return Capabilities(
            forced_tools=held, json_schema=held, reasoning=THINK in str(template or "")
        )

    async def close(self) -> None:
        """Let go of the weights; the answers at hand are made to their end."""
        self._worker.shutdown(wait=False)
        if self._running is not None:
            self._running.engine.close()
        self._running, self._worker = None, _worker()

    async def _ready(self) -> _Running:
        running = self._running
        return running if running else await self._in_worker(self._run)

    def _run(self) -> _Running:
        """Runs in the worker, so that two first requests load one model."""
        if self._running is None:
            source, trusted = located(self._model, self._gguf_file), self._trust_remote_code
            loaded = load(source, **asdict(self._placement), trust_remote_code=trusted)
            loaded = replace(loaded, window=self._window(loaded))
            preparer = Preparer(loaded, self._max_new_tokens)
            self._running = _Running(loaded, preparer, self._start(loaded))
        return self._running

    def _window(self, loaded: Loaded) -> int | None:
        known = [size for size in (loaded.window, self._max_context) if size is not None]
        return min(known, default=None)

    async def _in_worker(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._worker.submit(function, *args, **kwargs))


def _worker() -> ThreadPoolExecutor:
    """One thread, in which loading and preparing take turns."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="huggingface-prepare")


def _say(
    loop: asyncio.AbstractEventLoop,
    said: asyncio.Queue[str | Outcome | Exception],
    piece: str | Outcome | Exception,
) -> None:
    """Put a piece before the listener, from the engine's thread; its loop may be closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(said.put_nowait, piece)
