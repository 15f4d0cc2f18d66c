"""Run an isolated tool in a child process, which is killed at its deadline with all it has started.

The child loads the function from its file. Protocol: one line of JSON on its standard input with
the call; lines of JSON on its standard output with progress, then one result or error. What the
tool prints goes to standard error. A call takes about a third of a second.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import importlib.util
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
from typing import IO, Any

import psutil

from agentkit.errors import ConfigError, Retry, ToolError
from agentkit.messages import Content, content_record, read_content
from agentkit.tools.callables import callable_name, context_parameter
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.schema import arguments_model, validate
from agentkit.tools.tool import Tool, as_result, describe_error

_MAX_LINE_BYTES = 32_000_000
_MAX_STDERR = 2000
_KILL_SECONDS = 0.8
"""Within this time all processes that a tool has started must be gone."""
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36


def locate(function: Callable[..., Any], memory_mb: int) -> dict[str, Any]:
    """Describe where a child finds a function. Raises ConfigError if it is not at the top level of
    a file: a lambda, a nested function, or one typed at a prompt."""
    path = inspect.getsourcefile(inspect.unwrap(function)) if inspect.isfunction(function) else ""
    if not path or "<" in function.__qualname__ or not Path(path).is_file():
        raise ConfigError(
            f"The tool {callable_name(function)!r} is isolated, so another process must find it: "
            "define it as a function at the top of a file."
        )
    return {
        "path": str(Path(path).resolve()),
        "module": function.__module__,
        "function": function.__qualname__,
        "memory_mb": memory_mb,
    }


async def run_isolated(
    location: Mapping[str, Any],
    arguments: Mapping[str, Any],
    seconds: float | None,
    context: ToolContext,
) -> Content:
    """Call a function in a child and return its result. Raises TimeoutError, and ToolError with
    the last line of the child's output. No process is left running in any case."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=_MAX_LINE_BYTES,
        start_new_session=True,
    )
    assert process.stderr is not None
    stderr = asyncio.create_task(_read_tail(process.stderr))
    try:
        async with asyncio.timeout(seconds):
            call = {**location, "arguments": dict(arguments)}
            result = await _exchange(process, call, context)
            if result is None:
                await process.wait()
    finally:
        await asyncio.shield(asyncio.to_thread(kill_tree, process.pid))
        await process.wait()
        last = ""
        with suppress(TimeoutError):
            last = await asyncio.wait_for(stderr, 0.2)
    if result is None:
        raise ToolError(_describe_exit(process.returncode, last))
    if "retry" in result:
        raise Retry(result["retry"])
    if "error" in result:
        raise ToolError(result["error"])
    return read_content(result["result"])


async def _exchange(
    process: Process, call: Mapping[str, Any], context: ToolContext
) -> dict[str, Any] | None:
    """Send a call, pass progress on and return the final record, None if the child ended early."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(json.dumps(call, default=str).encode() + b"\n")
        await process.stdin.drain()
    while line := await _read_line(process.stdout):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if "progress" not in record:
            return dict(record)
        context.report(str(record["progress"]), record.get("fraction"))
    return None


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError as error:
        limit = _MAX_LINE_BYTES // 1_000_000
        raise ToolError(f"its result is larger than {limit} MB") from error


async def _read_tail(stream: asyncio.StreamReader) -> str:
    tail = b""
    while piece := await stream.read(65536):
        tail = (tail + piece)[-_MAX_STDERR:]
    return tail.decode("utf-8", "replace").strip()


def _describe_exit(code: int | None, stderr: str) -> str:
    reason = f"with code {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            reason = f"by signal {signal.Signals(-code).name}"
    line = stderr.splitlines()[-1] if stderr else ""
    return f"its process ended {reason}" + (f": {line}" if line else "")


def kill_tree(pid: int) -> None:
    """Kill a process and all that it has started. It is suspended first and killed last, since it
    adopts orphans where the system allows."""
    deadline = time.monotonic() + _KILL_SECONDS
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        _signal(root, "suspend")
        while time.monotonic() < deadline:
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


def _signal(process: psutil.Process, method: str) -> None:
    with suppress(psutil.Error, ProcessLookupError):
        getattr(process, method)()


class _ChildContext(NoContext):
    """The ToolContext in the child: it reports progress, and chunk ids are the markers."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def report(self, message: str, fraction: float | None = None) -> None:
        _send(self._out, {"progress": message, "fraction": fraction})


def child_main() -> None:
    """Execute the call on standard input; the entry point of the child."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    call = json.loads(sys.stdin.readline())
    _limit_process(call["memory_mb"])
    try:
        result = as_result(_execute(call, out))
        _send(out, {"result": content_record(result.content)})
    except MemoryError:
        _send(out, {"error": f"it needed more than {call['memory_mb']} MB of memory"})
    except Retry as error:
        _send(out, {"retry": str(error)})
    except BaseException as error:
        _send(out, {"error": describe_error(error)})
    sys.stdin.read()  # Processes that the tool started need a living parent until they are killed.


def _execute(call: dict[str, Any], out: IO[str]) -> Any:
    function = _load_function(call)
    arguments = validate(arguments_model(function), call["arguments"])
    if name := context_parameter(function):
        arguments[name] = _ChildContext(out)
    result = function(**arguments)
    return asyncio.run(_await(result)) if inspect.isawaitable(result) else result


async def _await(result: Any) -> Any:
    return await result


def _load_function(call: dict[str, Any]) -> Any:
    found: Any = _load_module(call["module"], Path(call["path"]))
    for name in call["function"].split("."):
        found = getattr(found, name)
    return found.function if isinstance(found, Tool) else found


def _load_module(name: str, path: Path) -> Any:
    """Import a module by name if that leads to its file, else from the file."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and name != "__main__" and Path(spec.origin) == path:
            return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location("agentkit_isolated", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["agentkit_isolated"] = module
    spec.loader.exec_module(module)
    return module


def _limit_process(memory_mb: int) -> None:
    """Limit memory, disable core files, adopt orphans and die with the parent, as far as the
    system supports it."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _send(out: IO[str], record: dict[str, Any]) -> None:
    out.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
    out.flush()


if __name__ == "__main__":
    child_main()
