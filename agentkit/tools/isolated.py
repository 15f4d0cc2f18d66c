"""Run an isolated tool in a child process, which is killed at its deadline with all it has started.

The child loads the function from its file, and has the user's environment. What the tool prints is
not part of its result. A call takes about a third of a second.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentkit._child import Bounds, ChildFailed
from agentkit._child.process import call_in_child, import_path
from agentkit._child.worker import Report
from agentkit._code import active_code, read_code
from agentkit.errors import ConfigError, Retry, ToolError
from agentkit.messages import Content, content_record, read_content
from agentkit.tools.callables import bind_positional, callable_name, context_parameter
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.schema import arguments_model, validate
from agentkit.tools.tool import Tool, as_result, changed_reason, describe_error


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
    loop = asyncio.get_running_loop()

    def report(message: str, fraction: float | None) -> None:
        loop.call_soon_threadsafe(context.report, message, fraction)

    memory_mb = location["memory_mb"]
    call = {**location, "arguments": dict(arguments), "folders": import_path()[1]}
    if code := active_code(location["path"]):
        call["code"] = [os.path.abspath(code.folder), list(code.names), code.digest]
        if reason := await asyncio.to_thread(changed_reason, location["path"]):
            raise ToolError(reason)
    try:
        record = await call_in_child(
            f"{__name__}:execute",
            call,
            bounds=Bounds(seconds=seconds, memory_mb=memory_mb),
            environment=os.environ,
            report=report,
        )
    except ChildFailed as error:
        if error.kind == "time":
            raise TimeoutError from error
        reasons = {"memory": f"it needed more than {memory_mb} MB of memory", "output": str(error)}
        raise ToolError(reasons.get(error.kind, f"its process {error}")) from error
    if "retry" in record:
        raise Retry(record["retry"])
    if "error" in record:
        raise ToolError(record["error"])
    return read_content(record["result"])


class _ChildContext(NoContext):
    """The ToolContext in the child: it reports progress, and chunk ids are the markers."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def report(self, message: str, fraction: float | None = None) -> None:
        self._report(message, fraction)


def execute(_: bytes, report: Report, **call: Any) -> dict[str, Any]:
    """Run a call in the child. Its own folder is searched last for modules, so that a file there
    cannot stand for a library."""
    sys.path += call["folders"]
    try:
        if "code" in call:
            _use_code(*call["code"])
        function = _load_function(call)
        arguments = validate(arguments_model(function), call["arguments"])
        if name := context_parameter(function):
            arguments[name] = _ChildContext(report)
        result = bind_positional(function, arguments)(**arguments)
        if inspect.isawaitable(result):
            result = asyncio.run(_await(result))
        return {"result": content_record(as_result(result).content)}
    except MemoryError:
        raise
    except Retry as error:
        return {"retry": str(error)}
    except BaseException as error:
        return {"error": describe_error(error)}


def _use_code(folder: str, names: list[str], digest: str) -> None:
    code = read_code(Path(folder), names)
    if code.digest != digest:
        raise ToolError("it is not run, since files changed while it was started. Try again.")
    code.activate()


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
