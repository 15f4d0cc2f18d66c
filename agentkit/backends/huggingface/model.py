"""Models of Hugging Face in this process: any causal model by hub id, directory or GGUF file.

A conversation is rendered by the model's own chat template (`prompt`). Where the answer is
constrained, the prompt ends with its beginning: an open thought is closed, a tool call is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from agentkit.backends.base import (
    Capabilities,
    Options,
    estimated_tokens,
    images,
    offered_tools,
)
from agentkit.backends.conversation import valid_conversation
from agentkit.backends.huggingface.generator import (
    Generation,
    GenerationEnd,
    Generator,
    can_batch,
    check_options,
)
from agentkit.backends.huggingface.load import Placement, load_model, resolve_source
from agentkit.backends.huggingface.prompt import chat_template, render_prompt
from agentkit.backends.prompted_tools import calls_schema, is_forced
from agentkit.backends.text_tool_calls import CALL, END_CALL, THINK, ParsedModel
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, Usage
from agentkit.settings.profile import Profile
from agentkit.tools.tool import Tool


class HuggingFaceModel(ParsedModel):
    """A model by hub id, directory or .gguf path, loaded at first use.

    Chats at the same time take turns; on a CUDA device up to `max_batch` of them share passes,
    except those with a seed, a JSON Schema, a forced call or a penalty. `batching` overrides the
    device's default. `max_new_tokens` limits an answer where its options do not. `kept_tokens`
    bounds the cache kept for a chat's next turn. `max_context` lowers the model's own window.
    `trust_remote_code` runs the model's own code.
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
        batching: bool | None = None,
    ) -> None:
        super().__init__(f"hf:{model}")
        self._model = model
        self._gguf_file = gguf_file
        self._placement = placement
        self._trust_remote_code = trust_remote_code
        self._max_new_tokens = max_new_tokens
        self._max_context = max_context
        self._max_batch = max_batch
        self._kept_tokens = kept_tokens
        self._batching = batching
        self._generator: Generator | None = None
        # One thread, in which loading and preparing take turns.
        self._worker = ThreadPoolExecutor(1, "huggingface-prepare")

    @property
    def prefilled_tokens(self) -> int:
        """Tokens of prompts that `generate` has read; those found in the kept cache do not
        count."""
        return self._generator.prefilled_tokens if self._generator else 0

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        if any(images(message) for message in messages if message.role == "user"):
            text = f"{self.name} reads no images: choose another model."
            raise self.error(text, "bad_request")
        messages = valid_conversation(messages, Profile(images="none"))
        generator = await self._ready()
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | GenerationEnd | ModelError]()

        def emit(piece: str | GenerationEnd | ModelError) -> None:
            with suppress(RuntimeError):  # The loop may be closed.
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        preparing = self._worker.submit(self._prepare, generator, messages, tools, options, emit)
        generation, opening = await asyncio.wrap_future(preparing)
        generator.submit(generation)
        try:
            if opening:
                # Parsed as if the model had written it.
                yield TextDelta(opening)
            while isinstance(piece := await pieces.get(), str):
                yield TextDelta(piece)
        finally:
            generation.cancelled.set()
        if isinstance(piece, ModelError):
            raise piece
        if opening == CALL:
            yield TextDelta(END_CALL)
        yield Usage(len(generation.ids), piece.tokens)
        yield Done(piece.reason, self.name)

    async def context_window(self) -> int | None:
        """The model's own window, or `max_context` below it; loads the model."""
        return (await self._ready()).loaded.window

    def count_tokens(self, text: str) -> int:
        """By the model's tokenizer once it is loaded, before that an estimate."""
        if self._generator is None:
            return estimated_tokens(text)
        return len(self._generator.loaded.tokenizer.encode(text, add_special_tokens=False))

    async def capabilities(self) -> Capabilities:
        """Whether it reasons is known once it is loaded."""
        template = chat_template(self._generator.loaded, False) if self._generator else ""
        return Capabilities(
            forced_tools=True,
            json_schema=True,
            reasoning=THINK in template,
        )

    async def close(self) -> None:
        """Free the weights, once the answers in progress are complete."""
        if self._generator is not None:
            self._generator.close()
        self._generator = None

    async def _ready(self) -> Generator:
        if self._generator is not None:
            return self._generator
        return await asyncio.wrap_future(self._worker.submit(self._load))

    def _load(self) -> Generator:
        """Runs in the worker, so that two first requests load one model."""
        if self._generator is None:
            source = resolve_source(self._model, self._gguf_file)
            loaded = load_model(source, self._placement, self._trust_remote_code)
            windows = [size for size in (loaded.window, self._max_context) if size is not None]
            loaded = replace(loaded, window=min(windows, default=None))
            batching = can_batch(loaded) if self._batching is None else self._batching
            self._generator = Generator(loaded, self._max_batch, self._kept_tokens, batching)
        return self._generator

    def _prepare(
        self,
        generator: Generator,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        options: Options,
        emit: Callable[[str | GenerationEnd | ModelError], None],
    ) -> tuple[Generation, str]:
        """Render the prompt and compile the grammar. Takes milliseconds, with a schema for the
        first time a second. Returns an answer to generate, and the marker that its prompt has
        opened. Raises ModelError."""
        loaded = generator.loaded
        check_options(loaded, options)
        choice = options.tool_choice
        if tools and choice not in ("auto", "none", "required", *(tool.name for tool in tools)):
            names = ", ".join(tool.name for tool in tools)
            raise self.error(f"Tool {choice!r} is not offered. Choose from: {names}.")
        left = offered_tools(tools, choice)
        prompt = render_prompt(loaded, messages, left, options)
        limit = self._limit(len(prompt.ids), options.max_tokens, loaded.window)
        constraint = None
        if is_forced(left, options):
            form = prompt.call_format
            schema = calls_schema(left, form.arguments, form.is_list)
            constraint = generator.grammars.constraint(schema, limit, lenient=True)
        elif options.schema is not None:
            constraint = generator.grammars.constraint(options.schema, limit)
        return Generation(loaded, prompt.ids, limit, options, emit, constraint), prompt.opening

    def _limit(self, read: int, requested: int | None, window: int | None) -> int:
        """Return the greatest length of the answer after a prompt of `read` tokens."""
        limit = requested or self._max_new_tokens
        if window is None:
            return limit
        if read >= window:
            raise self.error(
                f"The prompt of {read} tokens does not fit {self.name}, whose window is {window} "
                "tokens. Shorten it, or choose another model.",
                "too_long",
            )
        return min(limit, window - read)
