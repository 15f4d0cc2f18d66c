"""Folders that tools may look into, and no way out of them.

A path is followed to where it really leads and must end inside a root; hidden files and folders do
not exist here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agentkit.errors import ConfigError, ToolError

_SEEN = 20_000


class Roots:
    """Some folders. Paths are shown with the root's name before them where there is more than
    one. Raises ConfigError for folders that are not there, or of one name."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = {path.resolve().name: path.resolve() for path in roots}
        if len(self._roots) != len(roots):
            raise ConfigError("Two of the folders for files have one name. Leave one out.")
        for path in roots:
            if not path.is_dir():
                raise ConfigError(f"{path} is no folder. Name a folder that tools may read.")

    def shown(self, path: Path) -> str:
        """A path as tools name it, with forward slashes."""
        name, root = next((n, r) for n, r in self._roots.items() if path.is_relative_to(r))
        inner = path.relative_to(root).as_posix()
        return inner if len(self._roots) == 1 else f"{name}/{inner}"

    def files(self, path: str) -> Iterator[Path]:
        """The files at or below a path, sorted, at most twenty thousand looked at."""
        seen = 0
        for start in [self._inside(path)] if path.strip("/. ") else self._roots.values():
            if start.is_file():
                yield start
            for folder, folders, names in os.walk(start):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(names):
                    seen += 1
                    if seen > _SEEN:
                        return
                    with suppress(ToolError):
                        found = self._checked(Path(folder) / name, name)
                        if found.is_file():
                            yield found

    def file(self, path: str) -> Path:
        """A file that is there. Raises ToolError."""
        found = self._inside(path)
        if not found.is_file():
            raise ToolError(f"There is no file {path!r}. See list_files.")
        return found

    def target(self, path: str) -> Path:
        """Where a file may be written. Raises ToolError."""
        found = self._inside(path)
        if found.is_dir() or not found.parent.is_dir():
            raise ToolError(f"{path!r} is a folder, or its folder is not there. See list_files.")
        return found

    def _inside(self, path: str) -> Path:
        inner = Path(path)
        if len(self._roots) > 1:
            root = self._roots.get(inner.parts[0] if inner.parts else "")
            inner = Path(*inner.parts[1:])
        else:
            root = next(iter(self._roots.values()), None)
        if root is None:
            raise ToolError(f"{path!r} is in none of the folders: {', '.join(self._roots)}.")
        return self._checked(root / inner, path)

    def _checked(self, path: Path, name: str) -> Path:
        """A path as it really leads. Raises ToolError where that is hidden or outside."""
        try:
            found = path.resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise ToolError(f"{name!r} is no path. See list_files.") from error
        for root in self._roots.values():
            if found.is_relative_to(root):
                if any(part.startswith(".") for part in found.relative_to(root).parts):
                    raise ToolError(f"{name!r} is hidden: hidden files are not for tools.")
                return found
        raise ToolError(f"{name!r} leads out of the folders that tools may see. See list_files.")
