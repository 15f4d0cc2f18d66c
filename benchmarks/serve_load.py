"""Load on `agentkit serve`: many paced streams at once, their memory, and LiteLLM's proxy beside.

    python benchmarks/serve_load.py                                  # 500 streams of 200 tokens
    python benchmarks/serve_load.py --minutes 10                     # Is the memory flat?
    python benchmarks/serve_load.py --streams 64 --tokens 100 --rounds 5 --litellm VENV

A scripted model server in its own process paces its tokens; each token names its request, so that
mixed-up streams are seen. Reported: failed and mixed-up streams, the time to the first token that
the server adds to the model server's own, and the server's CPU time for a token. With `--minutes`
each of the streams is followed by another until the time is up, and memory and descriptors of the
server are sampled. `--litellm` takes a virtual environment with `litellm[proxy]`: both servers are
warmed up by a round that does not count, and measured in turn. Exits with 1 where a bound is
broken. Measured with the folder's agent, without documents.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.server.process import serve_process

MEBIBYTES_IN_10_MINUTES = 10.0
"""Growth of the fitted line that counts as flat: 2 % of the server's memory."""
DESCRIPTORS_IN_10_MINUTES = 10.0
SHARE_OF_LITELLM = 0.5
"""Of its CPU time for a token, and of the time that it adds to the first token."""

_SAMPLE_SECONDS = 10.0
_START_SECONDS = 120.0
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_CHUNK = (
    'data: {{"id":"c","object":"chat.completion.chunk","created":0,"model":"small","choices":'
    '[{{"index":0,"delta":{{"content":" {}"}},"finish_reason":null}}]}}\n\n'
)
_END = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":0,"model":"small","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,'
    b'"completion_tokens":9,"total_tokens":18}}\n\ndata: [DONE]\n\n'
)
_TOKEN = re.compile(rb" s(\d+)-(\d+)")
_TABLE = """\
| server | streams | failed | added to first token | p95 | CPU a token |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Load:
    """Streams at once, each of `tokens` at `rate` a second; their starts are spread over `spread`
    seconds. For `seconds` each stream that ends is followed by another."""

    streams: int
    tokens: int
    rate: float
    spread: float
    seconds: float = 0.0


@dataclass
class Sample:
    """The state of a server some seconds after the load began."""

    seconds: float
    mebibytes: float
    descriptors: int


@dataclass
class Measured:
    """What a run has shown. Times in seconds."""

    first: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    tokens: int = 0
    cpu: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    def added(self, own: float) -> tuple[float, float]:
        """The median and the 95th percentile of the time to the first token, less `own`."""
        ordered = sorted(self.first) or [float("nan")]
        late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        return statistics.median(ordered) - own, late - own

    @property
    def per_token(self) -> float:
        """CPU time for a token."""
        return self.cpu / max(1, self.tokens)

    def row(self, name: str, own: float) -> str:
        """A row of the table; `own` is the time to the first token without a proxy."""
        middle, late = self.added(own)
        return (
            f"| {name} | {len(self.first)} | {len(self.failures)} | {1e3 * middle:.0f} ms "
            f"| {1e3 * late:.0f} ms | {1e6 * self.per_token:.0f} µs |"
        )


async def upstream(tokens: int, rate: float) -> None:
    """Answer each request with tokens that name it, `rate` a second, on a free port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            body = json.loads(await reader.readexactly(length))
            name = body["messages"][-1]["content"].split()[-1]
            writer.write(_HEAD)
            began = asyncio.get_running_loop().time()
            for number in range(tokens):
                writer.write(_CHUNK.format(f"{name}-{number}").encode())
                wait = began + number / rate - asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, wait))
            writer.write(_END)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, StopIteration):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def ask(base: str, model: str, number: int, tokens: int, measured: Measured) -> None:
    """One stream: note its first token, and whether all its tokens came in order."""
    url = urlsplit(base)
    content = f"Write about stream s{number}"
    body = json.dumps(
        {"model": model, "stream": True, "messages": [{"role": "user", "content": content}]}
    ).encode()
    head = (
        f"POST {url.path}/chat/completions HTTP/1.1\r\nhost: {url.netloc}\r\nconnection: close\r\n"
        f"authorization: Bearer sk-none\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    began, received = time.perf_counter(), 0
    try:
        reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=2**20)
        writer.write(head.encode() + body)
        seen = b""
        while line := await reader.readline():
            if (line.startswith(b"HTTP/1.1 ") and b" 200 " not in line) or b'"error"' in line:
                seen = line
            for found in _TOKEN.finditer(line):
                if not received:
                    measured.first.append(time.perf_counter() - began)
                if (int(found[1]), int(found[2])) != (number, received):
                    measured.failures.append(f"stream {number} got {found[0]!r} at {received}")
                received += 1
        writer.close()
        if received != tokens:
            measured.failures.append(f"stream {number} has {received} tokens {seen!r}")
    except OSError as error:
        measured.failures.append(f"stream {number}: {error!r}")
    measured.tokens += received


async def measure(load: Load, base: str, model: str, pid: int = 0) -> Measured:
    """Put the load on a server, whose process and its children are watched."""
    measured, numbers = Measured(), itertools.count()
    began = time.monotonic()
    process = psutil.Process(pid or None)

    async def client(place: int) -> None:
        await asyncio.sleep(load.spread * place / load.streams)
        await ask(base, model, next(numbers), load.tokens, measured)
        while time.monotonic() < began + load.seconds:
            await ask(base, model, next(numbers), load.tokens, measured)

    async def watch() -> None:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            running = [process, *process.children(recursive=True)]
            sample = Sample(
                time.monotonic() - began,
                sum(each.memory_info().rss for each in running) / 2**20,
                sum(each.num_fds() for each in running),
            )
            measured.samples.append(sample)
            if load.seconds:
                print(
                    f"{sample.seconds:.0f} s: {sample.mebibytes:.1f} MiB, {sample.descriptors} "
                    f"descriptors, {len(measured.first)} streams, {len(measured.failures)} failed",
                    flush=True,
                )

    before = _cpu(process)
    watching = asyncio.create_task(watch())
    await asyncio.gather(*(client(place) for place in range(load.streams)))
    watching.cancel()
    measured.cpu = _cpu(process) - before if pid else 0.0
    return measured


def _cpu(process: psutil.Process) -> float:
    running = [process, *process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in running)


@contextmanager
def model_server(load: Load) -> Iterator[str]:
    """The base URL of a scripted model server."""
    command = [sys.executable, __file__, "--upstream-only", f"--tokens={load.tokens}"]
    process = subprocess.Popen([*command, f"--rate={load.rate}"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


@contextmanager
def agentkit_server(model: str) -> Iterator[tuple[str, int]]:
    """The base URL and the process id of `agentkit serve` before a model server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "notes"
        folder.mkdir()
        (folder / "agentkit.toml").write_text("[traces]\nkeep = 0\n[serve]\nrunning = 2000\n")
        environ = {"OPENAI_API_KEY": "none", "XDG_CONFIG_HOME": name, "OMP_NUM_THREADS": "1"}
        options = ("--dev", "--model", "openai:small", "--base-url", model)
        with serve_process(folder, *options, environ=environ) as served:
            yield f"{served.url}/v1", served.process.pid


@contextmanager
def litellm_server(model: str, venv: Path) -> Iterator[tuple[str, int]]:
    """The base URL and the process id of LiteLLM's proxy before a model server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    parameters = {"model": "openai/small", "api_base": model, "api_key": "none"}
    config = {"model_list": [{"model_name": "notes", "litellm_params": parameters}]}
    environ = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    with tempfile.TemporaryDirectory() as name, open(Path(name) / "log", "w+b") as log:
        path = Path(name) / "config.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML.
        command = [str(venv / "bin" / "litellm"), "--config", str(path), "--host", "127.0.0.1"]
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=log, stderr=log, env=environ, cwd=name
        )
        try:
            base = f"http://127.0.0.1:{port}"
            if not _is_ready(f"{base}/health/liveliness", process):
                raise SystemExit(Path(name, "log").read_text(errors="replace")[-2000:])
            yield f"{base}/v1", process.pid
        finally:
            process.terminate()
            process.wait()


def _is_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a server answers; False where it ends before."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(url).is_success:
                return True
        except httpx2.TransportError:
            time.sleep(0.2)
    return False


def _growth(seconds: list[float], values: list[float]) -> float:
    """What the line fitted to the samples grows in ten minutes."""
    return 600 * statistics.linear_regression(seconds, values).slope


def check_memory(load: Load) -> bool:
    """Keep the load up, and print whether memory and descriptors stay flat after a fifth of it."""
    with model_server(load) as model, agentkit_server(model) as (base, pid):
        measured = asyncio.run(measure(load, base, "notes", pid))
    for failure in measured.failures[:5]:
        print(failure, file=sys.stderr)
    late = [each for each in measured.samples if load.seconds / 5 <= each.seconds <= load.seconds]
    at = [each.seconds for each in late]
    memory = _growth(at, [each.mebibytes for each in late])
    descriptors = _growth(at, [float(each.descriptors) for each in late])
    is_flat = memory <= MEBIBYTES_IN_10_MINUTES and descriptors <= DESCRIPTORS_IN_10_MINUTES
    print(
        f"{len(measured.first)} streams, {len(measured.failures)} failed, "
        f"{1e6 * measured.per_token:.0f} µs of CPU a token; in 10 minutes {memory:+.1f} MiB "
        f"(of {late[0].mebibytes:.0f}), {descriptors:+.1f} descriptors: "
        f"{'flat' if is_flat else 'GROWS'}"
    )
    return is_flat and not measured.failures


def compare(load: Load, rounds: int, litellm: Path | None) -> bool:
    """Measure the model server alone, agentkit and LiteLLM's proxy before it, in turn."""
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    is_complete = True

    def run(target: tuple[str, int], name: str, results: list[tuple[float, float]]) -> None:
        nonlocal is_complete
        found = asyncio.run(measure(load, target[0], "notes", target[1]))
        results.append((found.added(own)[1], found.per_token))
        is_complete = is_complete and not found.failures
        print(found.row(name, own), flush=True)
        for failure in found.failures[:5]:
            print(failure, file=sys.stderr)

    with ExitStack() as opened:
        model = opened.enter_context(model_server(load))
        agentkit = opened.enter_context(agentkit_server(model))
        beside = opened.enter_context(litellm_server(model, litellm)) if litellm else None
        for base, _ in filter(None, (agentkit, beside)):
            asyncio.run(measure(load, base, "notes"))
        print(_TABLE, flush=True)
        for _ in range(rounds):
            alone = asyncio.run(measure(load, model, "small"))
            own = statistics.median(alone.first)
            print(alone.row("model server alone", own), flush=True)
            run(agentkit, "agentkit serve", ours)
            if beside:
                run(beside, "LiteLLM's proxy", theirs)
    return is_complete and (not theirs or _is_half(ours, theirs))


def _is_half(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> bool:
    """Print both medians over the rounds, and whether ours are at most half."""
    (late, cost), (their_late, their_cost) = (
        [statistics.median(column) for column in zip(*rows, strict=True)] for rows in (ours, theirs)
    )
    share = max(late / their_late, cost / their_cost)
    print(
        f"Medians of {len(ours)} rounds: p95 of the added time {1e3 * late:.0f} and "
        f"{1e3 * their_late:.0f} ms ({late / their_late:.2f}), CPU a token {1e6 * cost:.0f} and "
        f"{1e6 * their_cost:.0f} µs ({cost / their_cost:.2f}): "
        f"{'at most half' if share <= SHARE_OF_LITELLM else 'MORE THAN HALF'}"
    )
    return bool(share <= SHARE_OF_LITELLM)


def main() -> int:
    """Measure and print a table or the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--spread", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--litellm", type=Path, help="a virtual environment with litellm[proxy]")
    parser.add_argument("--upstream-only", action="store_true")
    chosen = parser.parse_args()
    load = Load(chosen.streams, chosen.tokens, chosen.rate, chosen.spread, 60 * chosen.minutes)
    if chosen.upstream_only:
        asyncio.run(upstream(load.tokens, load.rate))
        return 0
    if load.seconds:
        return 0 if check_memory(load) else 1
    return 0 if compare(load, chosen.rounds, chosen.litellm) else 1


if __name__ == "__main__":
    sys.exit(main())
