"""The process of one isolated call: load a tool's function by its file, call it, tell the result.

The order comes as a line of JSON on standard input; when that closes, all is over. What the tool
prints goes to standard error; standard output carries lines of JSON: progress, then one result or
error.
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
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from agentkit.messages import content_record
from agentkit.tools.context import NoContext
from agentkit.tools.schema import arguments_model, context_parameter, validate
from agentkit.tools.tool import Tool, as_content

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36


class Reporting(NoContext):
    """The ToolContext of an isolated call: it can report, and cite by id."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def report(self, message: str, fraction: float | None = None) -> None:
        _tell(self._out, {"progress": message, "fraction": fraction})


def main() -> None:
    """Do what standard input says."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    _confine(order["memory_mb"])
    try:
        result = as_content(_called(order, out))
        _tell(out, {"result": content_record(result)})
    except MemoryError:
        _tell(out, {"error": f"it needed more than {order['memory_mb']} MB of memory"})
    except BaseException as error:
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        _tell(out, {"error": said})
    sys.stdin.read()  # Whoever is started must have a living parent until the end.


def _called(order: dict[str, Any], out: IO[str]) -> Any:
    function = _function(order)
    given = validate(arguments_model(function), order["arguments"])
    if name := context_parameter(function):
        given[name] = Reporting(out)
    result = function(**given)
    if inspect.isawaitable(result):
        return asyncio.run(_awaited(result))
    return result


async def _awaited(result: Any) -> Any:
    return await result


def _function(order: dict[str, Any]) -> Any:
    found: Any = _module(order["module"], Path(order["path"]))
    for name in order["function"].split("."):
        found = getattr(found, name)
    return found.function if isinstance(found, Tool) else found


def _module(name: str, path: Path) -> Any:
    """The module by its name where that leads to its file, else by the file."""
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


def _confine(memory_mb: int) -> None:
    """Bound memory, leave no core files, take in orphans, and end with the parent. Where the
    system knows none of it, the deadline still holds."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _tell(out: IO[str], record: dict[str, Any]) -> None:
    out.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
