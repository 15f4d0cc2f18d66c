"""The indexes of a folder, examined in a process of their own: damage in one can end the process
that reads it, and a thread that reads for long cannot be stopped.

What is checked is `agentkit kb doctor`'s; here it is bounded in time, and vectors that another
machine keeps are not asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from agentkit.addresses import is_loopback
from agentkit.errors import AgentkitError
from agentkit.findings import Finding, counted, ok
from agentkit.knowledge.index.collections import CollectionInfo
from agentkit.knowledge.index.consistency import check, unfinished
from agentkit.knowledge.index.repair import diagnose
from agentkit.knowledge.index.schema import CATALOG
from agentkit.knowledge.index.stores import open_store, server_of
from agentkit.tools.isolated import kill_tree

_WHOLE = "agentkit kb doctor takes the time it needs."
_MOST_SAID = 300


async def indexes(
    found: Sequence[CollectionInfo], embedder: str, store: str, seconds: float
) -> list[Finding]:
    """What is wrong with the indexes; each may take so many seconds."""
    if not found:
        return [ok("index", "none yet: the first question makes it")]
    examined = await asyncio.gather(*(_examined(info, embedder, store, seconds) for info in found))
    return [finding for findings in examined for finding in findings]


def store(setting: str) -> list[Finding]:
    """What is to be known of a Chroma server that keeps the vectors."""
    if not setting.startswith("http"):
        return []
    told = (
        "a Chroma server that runs in Python, 1.0.0 to 1.5.9, lets whoever reaches it run code "
        "(CVE-2026-45829); the one that `chroma run` starts is another"
    )
    step = "Start it with chroma run, and let nobody but this machine or a proxy with keys in."
    return [Finding("note", "store", told, step)]


async def _examined(
    info: CollectionInfo, embedder: str, store: str, seconds: float
) -> list[Finding]:
    command = [sys.executable, "-P", "-m", __name__, str(info.path), embedder, store, str(seconds)]
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        *command, stdin=nothing, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        out, said = await asyncio.wait_for(child.communicate(), seconds)
    except TimeoutError:
        told = f"{info.name}: not examined to its end within {seconds:.0f} s"
        return [Finding("warning", "index", told, _WHOLE)]
    finally:
        kill_tree(child.pid)
        await child.wait()
    if child.returncode:
        return [_broken(info, child.returncode, said.decode(errors="replace"))]
    faults = [Finding(**fault) for fault in json.loads(out.splitlines()[-1])]
    return [_told(info, fault) for fault in faults] or [_sound(info)]


def _told(info: CollectionInfo, fault: Finding) -> Finding:
    """A fault as the doctor says it; a lock with the process that holds it."""
    told = f"{info.name}: {fault.message}"
    match fault.part:
        case "lock":
            return Finding("note", "lock", f"{told}{holder(info.path)}", fault.next_step)
        case "embedder":
            return Finding(fault.level, "embedder", told, fault.next_step)
    return Finding(
        fault.level, "index", f"{info.name}: {fault.part}: {fault.message}", fault.next_step
    )


def _sound(info: CollectionInfo) -> Finding:
    counts = f"{counted(info.documents, 'document')}, {counted(info.chunks, 'passage')}"
    return ok("index", f"{info.name}: sound, {counts}, by {info.embedder or 'no embedder yet'}")


def _broken(info: CollectionInfo, code: int, said: str) -> Finding:
    last = [line for line in said.splitlines() if line.strip()][-1:]
    why = "".join(last)[:_MOST_SAID] or f"its process ended with {code}"
    step = "See what agentkit kb doctor says, or delete the index's folder and index again."
    return Finding("problem", "index", f"{info.name}: cannot be examined: {why}", step)


def holder(index: Path) -> str:
    """Which process holds the lock of an index, where it could say so."""
    with suppress(OSError, ValueError, psutil.Error):
        number = int((index / "writer").read_text(encoding="ascii")[:20])
        return f" (process {number}, {psutil.Process(number).name()})"
    return ""


async def faults_of(index: Path, embedder: str, store: str, seconds: float) -> list[Finding]:
    """What is wrong with an index, as far as this machine can tell. Raises KnowledgeError."""
    if not store:
        return await diagnose(index, embedder=embedder, seconds=seconds)
    if is_loopback(server_of(store).url):
        return await diagnose(index, embedder=embedder, vectors=open_store(index, store))
    file = index / CATALOG
    return [*check(file), *unfinished(file)]


def main(path: str, embedder: str, store: str, seconds: str) -> None:
    """The child: the faults as JSON on the last line."""
    try:
        found = asyncio.run(faults_of(Path(path), embedder, store, float(seconds)))
    except AgentkitError as error:
        sys.exit(str(error))
    print(json.dumps([asdict(fault) for fault in found]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:5])
