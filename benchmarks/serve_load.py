"""Load on `agentkit serve`: many paced streams at once, beside other proxies.

    python benchmarks/serve_load.py --streams 500 --tokens 200
    python benchmarks/serve_load.py --streams 64 --beside http://127.0.0.1:4000/v1 --pid 1234

A scripted model server in its own process paces its tokens; each token names its request, so that
mixed-up streams are seen. Reported: failed and mixed-up streams, the time to the first token that
the server adds to the model server's own, and the server's CPU time for a token. The server that
stands beside, such as LiteLLM's proxy, must have a model "small" at the address that
`--upstream-port` gives. Measured with the folder's agent, without documents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.server.process import serve_process

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
_TOKEN = re.compile(rb'": ?" s(\d+)-(\d+)"')


@dataclass
class Measured:
    """What a run has shown. Times in seconds."""

    first: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    tokens: int = 0
    cpu: float = 0.0
    memory: list[int] = field(default_factory=list)

    def row(self, name: str, own: float) -> str:
        """A row of the table; `own` is the time to the first token without a proxy."""
        ordered = sorted(self.first) or [float("nan")]
        late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] - own
        middle = statistics.median(ordered) - own
        per_token = 1e6 * self.cpu / max(1, self.tokens)
        grown = (max(self.memory) - self.memory[0]) / 2**20 if self.memory else 0.0
        return (
            f"| {name} | {len(self.first)} | {len(self.failures)} | {1e3 * middle:.0f} ms "
            f"| {1e3 * late:.0f} ms | {per_token:.0f} µs | {grown:.0f} MiB |"
        )


async def upstream(port: int, tokens: int, rate: float) -> None:
    """Answer each request with tokens that name it, `rate` a second."""

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

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
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
            seen = line if line.startswith(b"HTTP/1.1 ") and b" 200 " not in line else seen
            if (found := _TOKEN.search(line)) is None:
                continue
            if not received:
                measured.first.append(time.perf_counter() - began)
            if (int(found[1]), int(found[2])) != (number, received):
                measured.failures.append(f"stream {number} got {found[0]!r} at {received}")
                break
            received += 1
        writer.close()
        if received != tokens:
            measured.failures.append(f"stream {number} has {received} tokens {seen!r}")
    except OSError as error:
        measured.failures.append(f"stream {number}: {error!r}")
    measured.tokens += received


async def measure(
    base: str, model: str, pids: list[int], streams: int, tokens: int, spread: float
) -> Measured:
    """Streams whose starts are spread over some seconds."""
    measured, processes = Measured(), [psutil.Process(pid) for pid in pids]

    async def one(number: int) -> None:
        await asyncio.sleep(spread * number / streams)
        await ask(base, model, number, tokens, measured)

    async def watch() -> None:
        while True:
            measured.memory.append(sum(each.memory_info().rss for each in processes))
            await asyncio.sleep(1)

    before = sum(sum(each.cpu_times()[:2]) for each in processes)
    watching = asyncio.create_task(watch())
    await asyncio.gather(*(one(number) for number in range(streams)))
    watching.cancel()
    measured.cpu = sum(sum(each.cpu_times()[:2]) for each in processes) - before
    return measured


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--spread", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--upstream-port", type=int, default=0)
    parser.add_argument("--upstream-only", action="store_true")
    parser.add_argument("--beside", default="")
    parser.add_argument("--pid", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.upstream_only:
        asyncio.run(upstream(chosen.upstream_port, chosen.tokens, chosen.rate))
        return
    command = [sys.executable, __file__, "--upstream-only", f"--tokens={chosen.tokens}"]
    command += [f"--rate={chosen.rate}", f"--upstream-port={chosen.upstream_port}"]
    model = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert model.stdout is not None
        compare(chosen, f"http://127.0.0.1:{int(model.stdout.readline())}/v1")
    finally:
        model.kill()
        model.wait()


def compare(chosen: argparse.Namespace, address: str) -> None:
    """Measure the model server alone, agentkit before it, and what stands beside."""

    def run(base: str, name: str, pids: list[int]) -> Measured:
        work = measure(base, name, pids, chosen.streams, chosen.tokens, chosen.spread)
        return asyncio.run(work)

    print("| server | streams | failed | added to first token | p95 | CPU a token | grown |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "notes"
        folder.mkdir()
        (folder / "agentkit.toml").write_text("[traces]\nkeep = 0\n[serve]\nrunning = 2000\n")
        environ = {"OPENAI_API_KEY": "none", "XDG_CONFIG_HOME": name, "OMP_NUM_THREADS": "1"}
        options = ("--dev", "--model", "openai:small", "--base-url", address)
        with serve_process(folder, *options, environ=environ) as served:
            asyncio.run(measure(f"{served.url}/v1", "notes", [], 2, chosen.tokens, 0))  # Warm up.
            for _ in range(chosen.rounds):
                alone = run(address, "small", [])
                own = statistics.median(alone.first)
                print(alone.row("model server alone", own), flush=True)
                ours = run(f"{served.url}/v1", "notes", [served.process.pid])
                print(ours.row("agentkit serve", own), flush=True)
                for failure in ours.failures[:5]:
                    print(failure, file=sys.stderr)
                if chosen.beside:
                    other = run(chosen.beside, "small", [chosen.pid])
                    print(other.row("beside", own), flush=True)


if __name__ == "__main__":
    main()
