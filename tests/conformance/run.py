"""The official conformance suite against what is shipped: `make conformance`.

Scenarios run one after another, each in a process of its own and with time enough for a busy
machine. One counts as passed where at least one of its own checks ran and none failed.
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

from agentkit.mcp.checks import Checked
from agentkit.mcp.published import GENERIC
from agentkit.mcp.suite import REVISIONS, Suite
from tests.node import FOLDER, ROOT

SUITE = Suite(FOLDER, cwd=ROOT)
EXPECTED_FAILURES: Mapping[str, str] = {}
"""Scenarios that may fail, each with the reason why. There is none."""

Put = Callable[[str, str], Awaitable[Checked]]
"""Puts a scenario of a revision to whatever is tested."""


async def main() -> int:
    FOLDER.install()
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "knowledge", "pets.md")
        notes.parent.mkdir()
        notes.write_text("# Cats\n\nCats purr.\n", encoding="utf-8")
        results = [
            await generic("the shipped server", shipped(folder)),
            await generic("the same, mounted", mounted(folder)),
            await fixtures(),
            await client(),
        ]
    return 0 if all(results) else 1


async def generic(what: str, command: Sequence[str]) -> bool:
    """A product's server, under the scenarios that fit any server."""
    good = True
    with serving(command) as url:
        for revision in REVISIONS:
            names = [each.name for each in GENERIC if revision in each.revisions]
            good &= await counted(f"{what}, any server's, {revision}", names, revision, to(url))
    return good


async def fixtures() -> bool:
    """Our HTTP stack with the suite's fixtures, under all that a revision requires."""
    good = True
    with serving(["-m", "tests.conformance.fixtures_server", "0"]) as url:
        for revision in REVISIONS:
            names = await SUITE.required("server", revision)
            good &= await counted(f"the fixtures, required by {revision}", names, revision, to(url))
    return good


async def client() -> bool:
    """Our client, under all that a revision requires."""
    command = shlex.join([sys.executable, "-m", "tests.conformance.client"])
    good = True
    for revision in REVISIONS:
        names = await SUITE.required("client", revision)
        good &= await counted(f"the client, required by {revision}", names, revision, by(command))
    return good


def by(command: str) -> Put:
    return lambda name, revision: SUITE.client(command, name, revision)


def to(url: str) -> Put:
    return lambda name, revision: SUITE.server(url, name, revision)


async def counted(what: str, names: Sequence[str], revision: str, put: Put) -> bool:
    """Print how many scenarios passed, and of those that did not, why."""
    found = [await put(name, revision) for name in names]
    bad = [each for each in found if each.outcome != "ok" and each.name not in EXPECTED_FAILURES]
    print(f"{what}: {len(found) - len(bad)} of {len(found)}", flush=True)
    for each in bad:
        print(f"  {each.outcome} {each.name}: {each.said}", flush=True)
    return bool(found) and not bad


def shipped(folder: str) -> list[str]:
    return ["-m", "agentkit", "mcp", "serve", "-C", folder, "-m", "extractive", "--http", "0"]


def mounted(folder: str) -> list[str]:
    return ["-m", "tests.conformance.shipped_server", folder, "0"]


@contextmanager
def serving(command: Sequence[str]) -> Iterator[str]:
    """A server as a child, from when it has said its URL until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as errors:
            child = subprocess.Popen([sys.executable, *command], cwd=ROOT, stderr=errors)
        try:
            while not (said := re.search(r"http://\S+/mcp", log.read_text())):
                if child.poll() is not None:
                    raise SystemExit(f"{shlex.join(command)} has ended: {log.read_text()}")
                time.sleep(0.2)
            yield said[0]
        finally:
            child.terminate()
            child.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
