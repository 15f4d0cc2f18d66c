"""Run everything at once for a long time: what grows, what is left behind, what is lost?

    python benchmarks/soak.py [--minutes 30] [--folder build/soak]

One program asks, indexes and searches in process, with sessions, and calls two `agentkit mcp serve`
processes, over HTTP and stdio. Meanwhile the documents of the server over HTTP change, `agentkit
index` and `agentkit ask` in their folder are killed at random instants, the stdio server is killed,
and hostile clients visit the HTTP server. Printed are the growth of private memory per 1,000
requests (a line fitted to the samples after the first third), descriptors, processes and files
after the first third and at the end, and what was lost. Exits with 1 where a bound is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from agentkit import Agent, Document, KnowledgeBase
from agentkit.agent.session_store import SessionStore
from agentkit.errors import AgentkitError, ToolError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.tools.tool import Tool
from benchmarks.hostile import VISITS, visit

MEGABYTES_PER_1000 = 1.0
DOCUMENTS = 60
TURNS = 12
"""Of a session, which is then deleted and replaced."""
SESSIONS = 4
_KILLED = "stdio servers killed"
_SAMPLE_SECONDS = 5.0
_END_SECONDS = 40.0
"""Within this time a warm child that nobody uses ends."""
_PATIENCE = 60.0
_ABANDONED = 1000
"""The sessions that an MCP server keeps: all are opened first, since they take memory by design."""
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass
class Sample:
    """The state of one process and its folder."""

    requests: int
    megabytes: float
    descriptors: int
    processes: int
    files: int


@dataclass
class Watched:
    """A long-lived process, the folder it writes to, and the requests that it has answered."""

    name: str
    pid: int
    folder: Path
    requests: int = 0
    samples: list[Sample] = field(default_factory=list)

    def sample(self) -> None:
        process = psutil.Process(self.pid)
        below = [each for each in process.children(recursive=True) if each.is_running()]
        held = process.memory_full_info().uss / 1e6
        files = sum(len(names) for _, _, names in os.walk(self.folder))
        own = [each for each in below if "agentkit" not in _command_of(each).split()]
        self.samples.append(Sample(self.requests, held, process.num_fds(), len(own), files))

    def slope(self) -> float:
        """Megabytes per 1,000 requests, by least squares."""
        kept = self._settled()
        counts = np.array([each.requests for each in kept], float)
        held = np.array([each.megabytes for each in kept])
        return float(np.polyfit(counts, held, 1)[0] * 1000) if len(set(counts)) > 1 else 0.0

    def report(self) -> str:
        if not self.samples:
            return f"{self.name}: no sample"
        first, last = self._settled()[0], self.samples[-1]
        values = ", ".join(
            f"{name} {getattr(first, name):.0f} -> {getattr(last, name):.0f}"
            for name in ("megabytes", "descriptors", "processes", "files")
        )
        return (
            f"{self.name}: {self.requests} requests, {self.slope():+.2f} MB per 1,000 requests; "
            f"after the first third -> at the end: {values}"
        )

    def faults(self) -> list[str]:
        """What grew: the medians of the second and the last third are compared."""
        kept = self._settled()
        half = len(kept) // 2
        if not half:
            return [f"{self.name}: too few samples"]
        faults = []
        if self.slope() >= MEGABYTES_PER_1000:
            faults.append(f"{self.name}: memory grows")
        for name, most in (("descriptors", 5), ("processes", 1), ("files", 8)):
            early, late = (
                np.median([getattr(each, name) for each in part])
                for part in (kept[:half], kept[half:])
            )
            if late - early > most:
                faults.append(f"{self.name}: {name} grow from {early:.0f} to {late:.0f}")
        return faults

    def _settled(self) -> list[Sample]:
        return self.samples[len(self.samples) // 3 :]


@dataclass
class Soak:
    """What all parts share: where it runs, until when, and what went wrong."""

    home: Path
    ends: float
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    killed_at: float = -_PATIENCE

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends

    def fail(self, part: str, error: object) -> None:
        self.counts[f"{part}: errors"] += 1
        if len(self.errors) < 40:
            self.errors.append(f"{part}: {type(error).__name__} {error}"[:300])

    async def repeat(self, part: str, step: Callable[[], Awaitable[None]], pause: float) -> None:
        """Repeat a step until the end; an error is counted."""
        while self.goes_on:
            try:
                await asyncio.wait_for(step(), _PATIENCE)
                self.counts[part] += 1
            except (AgentkitError, AssertionError, OSError, TimeoutError) as error:
                self.fail(part, error)
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) * pause)


class Folder:
    """A project whose documents change; each holds a code with its number and version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.versions: dict[int, int] = {}
        (path / "knowledge").mkdir(parents=True)
        for number in range(DOCUMENTS):
            self.write(number)

    def write(self, number: int) -> None:
        version = self.versions[number] = self.versions.get(number, 0) + 1
        text = f"# Part {number}\n\nThe code of part {number} is {code(number, version)}.\n"
        file = self.path / "knowledge" / f"part{number:03}.md"
        part = file.with_suffix(".tmp")
        part.write_text(text, encoding="utf-8")
        part.replace(file)

    def remove(self, number: int) -> None:
        (self.path / "knowledge" / f"part{number:03}.md").unlink()
        del self.versions[number]


def code(number: int, version: int) -> str:
    return f"K{number * 7919 % 10007:05}V{version}"


def _command_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


async def start(*arguments: str, log: Path = Path(os.devnull)) -> asyncio.subprocess.Process:
    """Start a command of agentkit in a group of its own; what it writes is added to a file."""
    quiet = asyncio.subprocess.DEVNULL
    output = log.open("ab")
    with output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agentkit", *arguments),
            stdin=quiet,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=_ENVIRONMENT,
        )


class InProcess:
    """Asks, adds and searches in this process, in sessions that are kept in a file."""

    def __init__(self, soak: Soak, watched: Watched) -> None:
        self._soak, self._watched = soak, watched
        self.knowledge = KnowledgeBase.open(watched.folder / "index")
        self._agent = Agent("extractive", knowledge=self.knowledge)
        self.store = SessionStore(watched.folder / "sessions.sqlite")
        self._turns: Counter[str] = Counter()
        self.versions = dict.fromkeys(range(DOCUMENTS), 1)

    async def fill(self) -> None:
        await self.knowledge.add([self._document(number) for number in self.versions])

    def _document(self, number: int) -> Document:
        held = code(number, self.versions[number])
        return Document(f"part{number}.md", f"# Part {number}\n\nThe code of it is {held}.\n")

    async def add(self) -> None:
        number = self._soak.chance.randrange(DOCUMENTS)
        self.versions[number] += 1
        await self.knowledge.add([self._document(number)])
        held = await self.knowledge.document(f"part{number}.md")
        assert code(number, self.versions[number]) in held.text, f"part {number} is not the new one"
        self._watched.requests += 1

    async def search(self) -> None:
        number = self._soak.chance.randrange(DOCUMENTS)
        wanted = code(number, self.versions[number])
        hits = await self.knowledge.search(f"part {number} with code {wanted}", 5)
        is_found = any(hit.chunk.source == f"part{number}.md" for hit in hits)
        assert is_found or wanted != code(number, self.versions[number]), f"no part {number}"
        self._watched.requests += 1

    async def ask(self) -> None:
        name = f"s{self._soak.chance.randrange(SESSIONS)}"
        number = self._soak.chance.randrange(DOCUMENTS)
        async with self.store.session(name, wait=10) as session:
            assert len(session.messages) >= 2 * self._turns[name], f"{name} lost turns"
            answer = await self._agent.run(f"What is the code of part {number}?", session)
        assert answer.text, f"no answer for part {number}"
        self._turns[name] += 1
        self._watched.requests += 1
        if self._turns[name] >= TURNS:
            self.store.delete(name)
            self._turns[name] = 0


class OverMcp:
    """Calls the tools of a server."""

    def __init__(
        self, soak: Soak, tools: dict[str, Tool], folder: Folder, watched: Watched
    ) -> None:
        self._soak, self._tools, self._folder = soak, tools, folder
        self.watched = watched

    async def call(self) -> None:
        number = self._soak.chance.choice(sorted(self._folder.versions))
        name = self._soak.chance.choice(("search_knowledge", "search_knowledge", "ask", "list"))
        question = f"code of part {number}"
        tool, arguments = {
            "ask": ("ask", {"question": question}),
            "list": ("list_documents", {}),
        }.get(name, (name, {"query": question}))
        try:
            await self._tools[tool].run(arguments)
        except ToolError as error:
            since = time.monotonic() - self._soak.killed_at
            if since > _PATIENCE or "was lost" not in str(error):
                raise
            self._soak.counts["calls lost by a kill"] += 1
        self.watched.requests += 1


async def hostile_visit(soak: Soak, port: int) -> None:
    name = soak.chance.choice(sorted(VISITS))
    soak.counts[f"hostile: {name}"] += 1
    await visit(name, port)


async def killed_command(soak: Soak, folder: Folder) -> None:
    """Change some documents, and kill an indexer or an asker at a random instant."""
    for number in soak.chance.sample(sorted(folder.versions), 3):
        if soak.chance.random() < 0.2 and len(folder.versions) > DOCUMENTS // 2:
            folder.remove(number)
        else:
            folder.write(number)
    if len(folder.versions) < DOCUMENTS:
        folder.write(min(set(range(DOCUMENTS)) - set(folder.versions)))
    question = ("ask", "--model", "extractive", "--session", "killed", "code of part 3")
    command = ("index",) if soak.chance.random() < 0.7 else question
    process = await start(*command, "--folder", str(folder.path))
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), soak.chance.uniform(0.5, 6))
    ended = process.returncode is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    soak.counts["commands that ended before their kill" if ended else "commands killed"] += 1


async def killed_server(soak: Soak, watched: Watched) -> None:
    """Kill the stdio server, which the next call starts again."""
    for process in psutil.Process().children(recursive=True):
        if str(soak.home / "stdio") in (command := _command_of(process)) and "serve" in command:
            soak.counts[_KILLED] += 1
            soak.killed_at = time.monotonic()
            with suppress(psutil.Error):
                process.kill()
    await asyncio.sleep(1)


async def wait_for_port(port: int) -> None:
    for _ in range(600):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise SystemExit("The HTTP server did not start.")


async def lost(folder: Folder) -> list[str]:
    """What the index of a folder lacks after one undisturbed run."""
    faults = []
    for command in (("index",), ("kb", "doctor"), ("sessions", "list")):
        process = await start(*command, "--folder", str(folder.path))
        if await process.wait():
            faults.append(f"agentkit {' '.join(command)} ended with {process.returncode}")
    with KnowledgeBase.open(folder.path / ".agentkit" / "index") as knowledge:
        held = {info.source for info in await knowledge.documents()}
        wanted = {f"part{number:03}.md": number for number in folder.versions}
        faults += [f"{source} is not as in the folder" for source in held ^ set(wanted)]
        for source in sorted(held & set(wanted)):
            text = (folder.path / "knowledge" / source).read_text(encoding="utf-8")
            if (await knowledge.document(source)).text != text:
                faults.append(f"{source} has another text")
    return faults


async def still_running() -> list[str]:
    """The commands of processes that do not end."""
    for _ in range(int(_END_SECONDS)):
        left = [_command_of(each) for each in psutil.Process().children(recursive=True)]
        if not left:
            break
        await asyncio.sleep(1)
    return left


async def fill_sessions(port: int) -> None:
    """Open as many sessions as the HTTP server keeps, and leave them."""
    for _ in range(0, _ABANDONED, 10):
        await asyncio.gather(*(visit("abandoned session", port) for _ in range(10)))


async def sample(soak: Soak, watched: list[Watched]) -> None:
    while soak.goes_on:
        for each in watched:
            with suppress(psutil.Error):
                each.sample()
        await asyncio.sleep(_SAMPLE_SECONDS)


async def main(minutes: float, home: Path, seed: int) -> int:
    soak = Soak(home, time.monotonic() + 60 * minutes, random.Random(seed))
    http, stdio = Folder(home / "http"), Folder(home / "stdio")
    port = 20_000 + os.getpid() % 20_000
    server = await start(
        "mcp", "serve", "--folder", str(http.path), "--http", str(port), log=home / "http.log"
    )
    await wait_for_port(port)
    own = Watched("this process", os.getpid(), home / "own")
    own.folder.mkdir()
    over_http = Watched("HTTP server", server.pid, http.path / ".agentkit")
    command = ("-m", "agentkit", "mcp", "serve", "--folder", str(stdio.path))
    configs = [
        ServerConfig("web", "http", url=f"http://127.0.0.1:{port}/mcp"),
        ServerConfig("pipe", command=sys.executable, args=command),
    ]
    watched = [own, over_http]
    here = InProcess(soak, own)
    await here.fill()
    async with McpServers(configs) as servers:
        if servers.problems:
            raise SystemExit(f"A server did not start: {dict(servers.problems)}")
        tools = {tool.name: tool for tool in servers.tools}
        by_server = {
            name: {n.removeprefix(f"{name}__"): t for n, t in tools.items() if n.startswith(name)}
            for name in ("web", "pipe")
        }
        web = OverMcp(soak, by_server["web"], http, over_http)
        pipe = OverMcp(soak, by_server["pipe"], stdio, own)
        await fill_sessions(port)
        soak.ends = time.monotonic() + 60 * minutes
        async with asyncio.TaskGroup() as group:
            group.create_task(sample(soak, watched))
            for part, step, pause in (
                ("questions in process", here.ask, 0.02),
                ("searches in process", here.search, 0.02),
                ("documents added in process", here.add, 0.3),
                ("calls over HTTP", web.call, 0.01),
                ("calls over HTTP", web.call, 0.01),
                ("calls over stdio", pipe.call, 0.03),
                ("hostile visits", lambda: hostile_visit(soak, port), 0.1),
                ("hostile visits", lambda: hostile_visit(soak, port), 0.1),
                ("commands", lambda: killed_command(soak, http), 1.0),
                ("kills of the stdio server", lambda: killed_server(soak, own), 45.0),
            ):
                group.create_task(soak.repeat(part, step, pause))
    faults = [fault for each in watched for fault in each.faults()]
    if server.returncode is not None:
        faults.append(f"the HTTP server ended with {server.returncode}")
    here.knowledge.close()
    here.store.close()
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    await server.wait()
    losses = await lost(http)
    left = await still_running()
    print(f"{minutes:g} minutes, seed {seed}")
    for part, count in sorted(soak.counts.items()):
        print(f"{count:7} {part}")
    for each in watched:
        print(each.report())
    print(f"lost: {losses or 'nothing'}; processes left: {left or 'none'}")
    for error in [*soak.errors, *faults]:
        print(error)
    return 1 if faults or losses or left or soak.errors else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--folder", type=Path, help="where it works; default: a temporary folder")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    place = given.folder or Path(tempfile.mkdtemp(prefix="agentkit-soak-"))
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    code_ = asyncio.run(main(given.minutes, place.absolute(), given.seed))
    if given.folder is None:
        shutil.rmtree(place, ignore_errors=True)
    sys.exit(code_)
