"""Load the tools of a folder: every `@tool` in its Python files.

Each file becomes a module with a unique name, which cannot collide with an installed one. A file
that fails is reported and the others are loaded. Loading executes code: check trust first.
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
from agentkit.tools.callables import implementation
from agentkit.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class LoadedTools:
    """The tools of a folder, and a message for each file that could not be loaded."""

    tools: tuple[Tool, ...] = ()
    problems: tuple[str, ...] = ()


def load_tools(folder: Path) -> LoadedTools:
    """Load `folder/*.py`, except names that begin with "_" or "."."""
    found: dict[str, Tool] = {}
    problems: list[str] = []
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith(("_", ".")):
            continue
        try:
            module = _load_module(path)
        except (Exception, SystemExit) as error:
            problems.append(f"{path}: {type(error).__name__}: {error}")
            continue
        for value in vars(module).values():
            if not isinstance(value, Tool) or _is_imported(value, module):
                continue
            if found.get(value.name, value) is not value:
                problems.append(f"{path}: duplicate tool {value.name!r}. Rename one.")
            found.setdefault(value.name, value)
    return LoadedTools(tuple(found.values()), tuple(problems))


def _is_imported(tool: Tool, module: ModuleType) -> bool:
    """Whether a file imports a tool: the module that defines its function has it too."""
    home = getattr(implementation(tool.function), "__module__", None) or ""
    others = vars(sys.modules[home]).values() if home in sys.modules else ()
    return home != module.__name__ and any(each is tool for each in others)


def _load_module(path: Path) -> ModuleType:
    unique = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"agentkit_tools_{unique}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, str(path)))
    if spec is None or spec.loader is None:
        raise ToolError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Source(SourceFileLoader):
    """Loads the source and never cached bytecode, which may be stale: its time is in seconds."""

    def path_stats(self, path: Any) -> Mapping[str, Any]:
        raise OSError
