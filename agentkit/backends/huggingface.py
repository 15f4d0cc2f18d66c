"""Models of Hugging Face in this process: any causal model by hub id, folder or GGUF file.

One answer at a time. Calls and JSON are not enforced: they are the model's own doing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from agentkit.backends.base import Capabilities, Model, Options, estimated_tokens
from agentkit.backends.huggingface_generate import Outcome, Request, generate
from agentkit.backends.huggingface_load import Loaded, load
from agentkit.backends.huggingface_prompt import Prompt, rendered
from agentkit.backends.huggingface_source import located
from agentkit.backends.textcalls import TextCalls
from agentkit.backends.wire import images, offered
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart
from agentkit.messages import Message, Usage
from agentkit.tools.tool import Tool

P = ParamSpec("P")
T = TypeVar("T")


class HuggingFaceModel(Model):
    """A model by hub id, folder or .gguf path, loaded at first use. `device` is auto, cuda, mps or
    cpu; `dtype` auto, float32, float16 or bfloat16; `max_new_tokens` where nobody limits an
    answer. `trust_remote_code` runs the code that comes with the model."""

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        trust_remote_code: bool = False,
        gguf_file: str | None = None,
        max_new_tokens: int = 1024,
    ) -> None:
        self._model = model
        self._gguf_file = gguf_file
        self._device = device
        self._dtype = dtype
        self._trust_remote_code = trust_remote_code
        self._max_new_tokens = max_new_tokens
        self._loaded: Loaded | None = None
        self._worker = _worker()

    @property
    def name(self) -> str:
        return f"hf:{self._model}"

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        self._refuse(messages, tools, options)
        left = offered(tools, options.tool_choice)
        loaded = await self._ready()
        prompt = await self._in_worker(rendered, loaded, messages, left, options)
        limit = self._limit(prompt, loaded.window, options.max_tokens)
        parser = TextCalls([tool.name for tool in left], prompt.thinking)
        loop, said = asyncio.get_running_loop(), asyncio.Queue[str | Outcome | Exception]()

        def say(piece: str | Outcome | Exception) -> None:
            loop.call_soon_threadsafe(said.put_nowait, piece)

        request = Request(prompt, limit, options, say)
        self._worker.submit(_answer, loaded, request, say)
        try:
            while isinstance(piece := await said.get(), str):
                for part in parser.feed(piece):
                    yield part
        finally:
            request.stopped.set()
        if isinstance(piece, Exception):
            raise piece
        for part in parser.end():
            yield part
        yield Usage(prompt.tokens, piece.tokens)
        yield Done("tool_calls" if parser.called else piece.reason, self.name)

    async def context_window(self) -> int | None:
        """What the model's configuration says; loads it."""
        return (await self._ready()).window

    def count_tokens(self, text: str) -> int:
        """By the model's tokenizer once it is loaded, before that an estimate."""
        if self._loaded is None:
            return estimated_tokens(text)
        return len(self._loaded.tokenizer.encode(text, add_special_tokens=False))

    async def capabilities(self) -> Capabilities:
        return Capabilities()

    async def close(self) -> None:
        """Let go of the weights; the answer at hand is made to its end."""
        self._worker.shutdown(wait=False)
        self._loaded, self._worker = None, _worker()

    async def _ready(self) -> Loaded:
        loaded = self._loaded
        return loaded if loaded else await self._in_worker(self._load)

    def _load(self) -> Loaded:
        """Runs in the worker, so that two first requests load one model."""
        if self._loaded is None:
            source = located(self._model, self._gguf_file)
            self._loaded = load(source, self._device, self._dtype, self._trust_remote_code)
        return self._loaded

    async def _in_worker(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._worker.submit(function, *args, **kwargs))

    def _refuse(self, messages: Sequence[Message], tools: Sequence[Tool], options: Options) -> None:
        if any(images(message) for message in messages):
            raise self._unable("reads no images: choose another model")
        if options.schema is not None:
            raise self._unable("cannot be held to a JSON Schema here")
        if tools and options.tool_choice not in ("auto", "none"):
            raise self._unable("cannot be forced to call a tool here")

    def _unable(self, what: str) -> ModelError:
        return ModelError(f"{self.name} {what}.", self.name, "bad_request")

    def _limit(self, prompt: Prompt, window: int | None, asked: int | None) -> int:
        limit = asked or self._max_new_tokens
        if window is None:
            return limit
        if prompt.tokens >= window:
            raise ModelError(
                f"The prompt of {prompt.tokens} tokens does not fit {self.name}, whose window is "
                f"{window} tokens. Shorten it, or choose another model.",
                self.name,
                "too_long",
            )
        return min(limit, window - prompt.tokens)


def _worker() -> ThreadPoolExecutor:
    """One thread, in which loading and answering take turns."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="huggingface")


def _answer(
    loaded: Loaded, request: Request, say: Callable[[str | Outcome | Exception], None]
) -> None:
    """Generate, and say last how it ended, unless nobody listens any more."""
    if request.stopped.is_set():
        return
    try:
        ended: Outcome | Exception = generate(loaded, request)
    except Exception as error:
        ended = error
    say(ended)
