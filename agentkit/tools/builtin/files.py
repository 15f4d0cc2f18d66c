"""The files of given folders: list them, read them, find words in them, and write new ones.

What is read is bounded and decoded as documents are. Writing asks first.

Folders that tools may look into, and no way out of them.

A path is followed to where it really leads and must end inside a root; hidden files and folders do
not exist here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agentkit.errors import AgentkitError, ConfigError, ToolError
from agentkit.tools.tool import Tool, tool

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


Reader = Callable[[bytes, str], str]
"""A file's bytes and name in, its text out. Raises AgentkitError for what is no text."""

READ_LIMIT = 8000
"""Most characters that one `read_file` gives."""

_LARGEST = 20_000_000
_SEARCHED_BYTES = 50_000_000
_SEARCHED_FILE = 2_000_000
_LISTED = 200
_FOUND = 50
_LONGEST_LINE = 200

FilePath = Annotated[str, Field(max_length=500)]
Pattern = Annotated[str, Field(max_length=200)]


def file_tools(roots: Sequence[Path], text_of: Reader, plain_text: Reader) -> tuple[Tool, ...]:
    """The tools over some folders. `text_of` reads any document, `plain_text` only what is text,
    for a search goes through many files."""
    folders = Roots(roots)

    @tool(idempotent=True)
    def list_files(path: FilePath = "", pattern: Pattern = "*") -> str:
        """List the files below a folder, with their sizes.

        Args:
            path: A folder as it is listed; empty for all that may be read.
            pattern: Only names like this, such as *.md.
        """
        found = (file for file in folders.files(path) if fnmatch(file.name, pattern))
        lines = (f"{folders.shown(file)}  {file.stat().st_size} bytes" for file in found)
        return _some(lines, _LISTED) or "No such files."

    @tool(idempotent=True)
    def read_file(path: FilePath, start: Annotated[int, Field(ge=0)] = 0) -> str:
        """Read a file as text; PDF and office files too.

        Args:
            path: The file, as list_files shows it.
            start: The character to start at; a long file comes in pieces.
        """
        found = folders.file(path)
        text = text_of(_content(found, _LARGEST), found.name)
        end = start + READ_LIMIT
        more = f"\n[{len(text) - end} more characters: start={end}]" if end < len(text) else ""
        return f"{text[start:end]}{more}" or f"[nothing there: it has {len(text)} characters]"

    @tool(idempotent=True)
    def search_files(
        text: Annotated[str, Field(min_length=1, max_length=200)],
        path: FilePath = "",
        pattern: Pattern = "*",
    ) -> str:
        """Find the lines of text files that hold a word or phrase, upper and lower case alike.

        Args:
            text: The words themselves.
            path: Only below this folder.
            pattern: Only files of such names, such as *.md.
        """
        found = (file for file in folders.files(path) if fnmatch(file.name, pattern))
        lines = (
            f"{folders.shown(file)}:{line}"
            for file in _small(found)
            for line in _matches(file, text, plain_text)
        )
        return _some(lines, _FOUND) or "No line holds that."

    @tool(needs_approval=True)
    def write_file(
        path: FilePath,
        text: Annotated[str, Field(max_length=200_000)],
        overwrite: bool = False,
    ) -> str:
        """Write a text file, as UTF-8. The whole file is written or nothing.

        Args:
            path: The new file. Its folder must be there.
            text: All that the file shall hold.
            overwrite: Whether a file that is there may be replaced.
        """
        target = folders.target(path)
        _written(target, text, overwrite)
        return f"{folders.shown(target)} is written: {len(text)} characters."

    return list_files, read_file, search_files, write_file


def _content(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ToolError(f"{path.name} cannot be read: {error.strerror}.") from error
    if len(content) > most:
        raise ToolError(f"{path.name} is larger than {most / 1e6:g} MB: too large to read.")
    return content


def _small(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that a search opens: none too large, and not too much of all."""
    left = _SEARCHED_BYTES
    for path in paths:
        size = path.stat().st_size
        if size <= _SEARCHED_FILE:
            left -= size
            yield path
        if left < 0:
            return


def _matches(path: Path, text: str, plain_text: Reader) -> Iterator[str]:
    try:
        lines = plain_text(_content(path, _SEARCHED_FILE), path.name).splitlines()
    except AgentkitError:
        return
    wanted = text.casefold()
    for number, line in enumerate(lines, 1):
        if wanted in line.casefold():
            yield f"{number}: {line.strip()[:_LONGEST_LINE]}"


def _some(lines: Iterable[str], most: int) -> str:
    first = list(islice(lines, most + 1))
    rest = ["... and more. Narrow it by path or pattern."] if len(first) > most else []
    return "\n".join(first[:most] + rest)


def _written(target: Path, text: str, overwrite: bool) -> None:
    """A temporary file beside the target takes its place at once; a link refuses to replace."""
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            os.chmod(name, 0o644)
            if overwrite:
                os.replace(name, target)
            else:
                os.link(name, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)
    except FileExistsError as error:
        raise ToolError(
            f"{target.name} is there already. Choose another name, or set overwrite to true."
        ) from error
    except OSError as error:
        raise ToolError(f"{target.name} cannot be written: {error.strerror}.") from error
