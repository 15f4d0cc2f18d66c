"""Run a tool in a process of its own, which is really ended at its deadline, with all that it has
started.

The process is started anew, loads the function by its file, and gets the arguments as JSON. A call
costs about a third of a second.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from agentkit.errors import ConfigError, ToolError
from agentkit.messages import Content, read_content
from agentkit.tools.context import ToolContext

_LONGEST_LINE = 32_000_000
_KEPT_OF_STDERR = 2000
_KILLING = 0.8
"""Seconds within which everything that a tool has started must be gone."""


def order(function: Callable[..., Any], memory_mb: int) -> dict[str, Any]:
    """What a child must know of a function. Raises ConfigError where it cannot be found by a file:
    a lambda, a function inside another, or one typed at a prompt."""
    path = inspect.getsourcefile(inspect.unwrap(function)) or ""
    if "<" in function.__qualname__ or not Path(path).is_file():
        raise ConfigError(
            f"The tool {function.__name__!r} is isolated, so another process must find it: define "
            "it at the top of a file."
        )
    return {
        "path": str(Path(path).resolve()),
        "module": function.__module__,
        "function": function.__qualname__,
        "memory_mb": memory_mb,
    }


async def run_isolated(
    told: Mapping[str, Any],
    arguments: Mapping[str, Any],
    seconds: float | None,
    context: ToolContext,
) -> Content:
    """The result of a call. Raises ToolError, with what the process said last, and TimeoutError.
    However it ends, nothing of it is left running."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentkit.tools.child"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=_LONGEST_LINE,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = asyncio.create_task(_tail(process.stderr))
    try:
        async with asyncio.timeout(seconds):
            result = await _result(process, {**told, "arguments": dict(arguments)}, context)
            if result is None:
                await process.wait()
    finally:
        await asyncio.shield(asyncio.to_thread(end, process.pid))
        await process.wait()
        last = await _last(said)
    if result is None:
        raise ToolError(_ended(process.returncode, last))
    if "error" in result:
        raise ToolError(result["error"])
    return read_content(result["result"])


async def _result(
    process: Process, told: Mapping[str, Any], context: ToolContext
) -> dict[str, Any] | None:
    """The child's last word, its progress passed on; None where it ended without one."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(json.dumps(told, default=str).encode() + b"\n")
        await process.stdin.drain()
    while line := await _line(process.stdout):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if "progress" not in record:
            return dict(record)
        context.report(str(record["progress"]), record.get("fraction"))
    return None


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError as error:
        raise ToolError(f"its result is larger than {_LONGEST_LINE // 1_000_000} MB") from error


async def _tail(stream: asyncio.StreamReader) -> str:
    """The end of what the child wrote to standard error."""
    kept = b""
    while piece := await stream.read(65536):
        kept = (kept + piece)[-_KEPT_OF_STDERR:]
    return kept.decode("utf-8", "replace").strip()


async def _last(said: asyncio.Task[str]) -> str:
    try:
        async with asyncio.timeout(0.2):
            return await said
    except TimeoutError:
        return ""


def _ended(code: int | None, last: str) -> str:
    why = f"with code {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            why = f"by signal {signal.Signals(-code).name}"
    line = last.splitlines()[-1] if last else ""
    return f"its process ended {why}" + (f": {line}" if line else "")


def end(pid: int) -> None:
    """Kill a process and all that it has started. Orphans belong to it (it takes them in, where
    the system allows), so it is stopped first and killed last."""
    until = time.monotonic() + _KILLING
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        _signal(root, "suspend")
        while time.monotonic() < until:
            children = _children(root)
            if not children:
                break
            for child in children:
                _signal(child, "suspend")
            for child in [*children, *_children(root)]:
                _signal(child, "kill")
            psutil.wait_procs(children, timeout=0.02)
        _signal(root, "kill")
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _children(root: psutil.Process) -> list[psutil.Process]:
    try:
        found = root.children(recursive=True)
        return [child for child in found if child.status() != psutil.STATUS_ZOMBIE]
    except psutil.Error:
        return []


def _signal(process: psutil.Process, what: str) -> None:
    with suppress(psutil.Error, ProcessLookupError):
        getattr(process, what)()
