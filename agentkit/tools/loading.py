"""The tools of a folder: every `@tool` of its Python files, loaded by path.

Each file becomes a module of a unique name, so it collides with nothing that the user has
installed. A broken file is reported and the rest loads. Loading runs code: ask for trust first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from agentkit.errors import ToolError
from agentkit.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class LoadedTools:
    """The tools that a folder gave, and one line for each file that could not be loaded."""

    tools: tuple[Tool, ...] = ()
    problems: tuple[str, ...] = ()


def stamp(folder: Path) -> Mapping[str, tuple[int, int]]:
    """The Python files of a folder, each with its time and size: where it differs from before, the
    tools are to be loaded again."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.glob("*.py")):
        try:
            facts = path.stat()
        except OSError:
            continue
        found[path.name] = (facts.st_mtime_ns, facts.st_size)
    return found


def load_tools(folder: Path) -> LoadedTools:
    """Load `folder/*.py`, except files whose name begins with "_" or ".". A missing folder has no
    tools."""
    found: dict[str, Tool] = {}
    problems: list[str] = []
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith(("_", ".")):
            continue
        try:
            module = _loaded(path)
        except (Exception, SystemExit) as error:
            problems.append(f"{path}: {type(error).__name__}: {error}")
            continue
        for value in vars(module).values():
            if not isinstance(value, Tool) or value.function.__module__ != module.__name__:
                continue
            if found.get(value.name, value) is not value:
                problems.append(f"{path}: a tool {value.name!r} is already there: rename one.")
            found.setdefault(value.name, value)
    return LoadedTools(tuple(found.values()), tuple(problems))


def _loaded(path: Path) -> ModuleType:
    unique = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"agentkit_tools_{unique}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, str(path)))
    if spec is None or spec.loader is None:
        raise ToolError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Source(SourceFileLoader):
    """Reads the file itself: bytecode kept from before may be older, for its times are whole
    seconds."""

    def path_stats(self, path: Any) -> Mapping[str, Any]:
        raise OSError
