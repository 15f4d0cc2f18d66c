"""Run the official conformance suite against what is shipped, and clients of other projects against
the server: `make conformance`.

`python -m tests.conformance.run FOLDER SERVER` runs the generic scenarios against a server that
mcp_servers/mcp.json of a folder names. Scenarios run one after another.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentkit.mcp.config import read_config
from agentkit.mcp.oauth import auth_for, token_path, uses_oauth
from tests.conformance.clients import run_clients
from tests.conformance.suite import GENERIC, REVISIONS, Result, Suite, reach, run_generic
from tests.node import FOLDER, ROOT

SUITE = Suite(FOLDER, cwd=ROOT)
EXPECTED_FAILURES: Mapping[str, str] = {}
"""Scenarios that may fail, each with the reason."""

Run = Callable[[str, str], Awaitable[Result]]
"""Runs a scenario of a revision against what is tested."""


async def main(arguments: Sequence[str]) -> int:
    FOLDER.install()
    if arguments:
        return await configured_server(Path(arguments[0]), arguments[1])
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "knowledge", "pets.md")
        notes.parent.mkdir()
        notes.write_text("# Cats\n\nCats purr.\n", encoding="utf-8")
        results = [
            await generic("the shipped server", shipped_command(folder)),
            await generic("the same, mounted", mounted_command(folder)),
            await fixtures(),
            await client(),
            await asyncio.to_thread(run_clients, Path(folder, "clients")),
        ]
    return 0 if all(results) else 1


async def configured_server(folder: Path, name: str) -> int:
    """Run the generic scenarios against a server of mcp.json, headers and sign-in included."""
    (config,) = [each for each in read_config(folder).servers if each.name == name]
    signs_in = uses_oauth(config) and (config.oauth or token_path(config).exists())
    failed = 0
    async with reach(config, auth_for(config) if signs_in else None) as target:
        async for result in run_generic(target, SUITE):
            print(f"{result.outcome:8}{result.name}: {result.detail}", flush=True)
            failed += result.outcome == "failed"
    return 1 if failed else 0


async def generic(label: str, command: Sequence[str]) -> bool:
    """Run the generic scenarios against our own server."""
    good = True
    with serving(command) as url:
        for revision in REVISIONS:
            names = [each.name for each in GENERIC if revision in each.revisions]
            good &= await count(f"{label}, generic, {revision}", names, revision, server_at(url))
    return good


async def fixtures() -> bool:
    """Run all required server scenarios against our HTTP stack with the suite's fixtures."""
    good = True
    with serving(["-m", "tests.conformance.fixtures_server", "0"]) as url:
        for revision in REVISIONS:
            names = await SUITE.required("server", revision)
            label = f"the fixtures, required by {revision}"
            good &= await count(label, names, revision, server_at(url))
    return good


async def client() -> bool:
    """Run all required client scenarios against our client."""
    command = shlex.join([sys.executable, "-m", "tests.conformance.client"])
    good = True
    for revision in REVISIONS:
        names = await SUITE.required("client", revision)
        label = f"the client, required by {revision}"
        good &= await count(label, names, revision, client_of(command))
    return good


def client_of(command: str) -> Run:
    return lambda name, revision: SUITE.client(command, name, revision)


def server_at(url: str) -> Run:
    return lambda name, revision: SUITE.server(url, name, revision)


async def count(label: str, names: Sequence[str], revision: str, run: Run) -> bool:
    """Print how many scenarios passed, and the reason for each that did not."""
    results = [await run(name, revision) for name in names]
    bad = [each for each in results if each.outcome != "ok" and each.name not in EXPECTED_FAILURES]
    print(f"{label}: {len(results) - len(bad)} of {len(results)}", flush=True)
    for each in bad:
        print(f"  {each.outcome} {each.name}: {each.detail}", flush=True)
    return bool(results) and not bad


def shipped_command(folder: str) -> list[str]:
    return ["-m", "agentkit", "mcp", "serve", "-C", folder, "-m", "extractive", "--http", "0"]


def mounted_command(folder: str) -> list[str]:
    return ["-m", "tests.conformance.shipped_server", folder, "0"]


@contextmanager
def serving(command: Sequence[str]) -> Iterator[str]:
    """Start a server as a child and yield its URL; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as errors:
            child = subprocess.Popen([sys.executable, *command], cwd=ROOT, stderr=errors)
        try:
            while not (url := re.search(r"http://\S+/mcp", log.read_text())):
                if child.poll() is not None:
                    raise SystemExit(f"{shlex.join(command)} has ended: {log.read_text()}")
                time.sleep(0.2)
            yield url[0]
        finally:
            child.terminate()
            child.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
