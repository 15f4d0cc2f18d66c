"""Load the tools of a folder: every `@tool` in its Python files.

Each file becomes a module with a unique name, which cannot collide with an installed one. A file
that fails is reported and the others are loaded. Loading executes code: check trust first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from agentkit._code import CODE_FOLDERS, MAX_BYTES, Code, CodeLoader, CodeTooLarge, read_code
from agentkit.errors import file_error
from agentkit.tools.callables import implementation
from agentkit.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class LoadedTools:
    """The tools of a folder, and a message for each file that could not be loaded."""

    tools: tuple[Tool, ...] = ()
    problems: tuple[str, ...] = ()


def load_tools(folder: Path, code: Code | None = None) -> LoadedTools:
    """Load `folder/*.py`, except names that begin with "_" or ".", from their bytes in `code`, by
    default as they are now. From now on their imports too come from there only."""
    try:
        code = code or read_code(folder.parent, (folder.name,))
    except OSError as error:
        return LoadedTools(problems=(file_error(folder, error),))
    except CodeTooLarge:
        return LoadedTools(problems=(f"{folder} holds more than {MAX_BYTES // 10**6} MB.",))
    code.only(*CODE_FOLDERS, folder.name).activate()
    found: dict[str, Tool] = {}
    problems: list[str] = []
    for name in code.files:
        path = code.folder / name
        if path.parent != folder or path.suffix != ".py" or path.name.startswith(("_", ".")):
            continue
        try:
            module = _load_module(path, code.files[name])
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


def _load_module(path: Path, content: bytes) -> ModuleType:
    unique = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"agentkit_tools_{unique}_{path.stem}"
    loader = CodeLoader(name, str(path), content)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
