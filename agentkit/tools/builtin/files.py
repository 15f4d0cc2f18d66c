"""File tools: list, read, search and write the files of given folders.

A path is resolved through links and must end inside one of the folders, where all hard links of
its file must be; hidden files and folders are invisible. Sizes are limited, files are decoded as
documents are, and writing asks for approval.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agentkit._files import read_regular, real_path
from agentkit.errors import AgentkitError, ConfigError, ToolError
from agentkit.tools.tool import Tool, tool

_MAX_VISITED = 20_000


class Roots:
    """The folders that tools may access. With more than one, paths begin with the folder's name.
    Raises ConfigError for missing folders and for equal names."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = {path.resolve().name: path.resolve() for path in roots}
        if len(self._roots) != len(roots):
            raise ConfigError("Two folders in tools.roots have the same name. Remove one.")
        for path in roots:
            if not path.is_dir():
                raise ConfigError(f"{path} is not a directory. Correct tools.roots.")

    def relative(self, path: Path) -> str:
        """Return the path that tools use for a file, with forward slashes."""
        name, root = next((n, r) for n, r in self._roots.items() if path.is_relative_to(r))
        inner = path.relative_to(root).as_posix()
        return inner if len(self._roots) == 1 else f"{name}/{inner}"

    def files(self, path: str) -> Iterator[Path]:
        """Yield the files at or below a path, sorted; stops after 20,000 entries."""
        starts = [self._inside(path)] if path.strip("/. ") else list(self._roots.values())
        linked: Counter[tuple[int, int]] | None = None
        for each in _walk(starts):
            with suppress(ToolError, OSError):
                found = self._resolve(each, each.name)
                status = found.stat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                if status.st_nlink > 1:
                    linked = _names(self._roots.values()) if linked is None else linked
                    if linked[status.st_dev, status.st_ino] < status.st_nlink:
                        continue
                yield found

    def file(self, path: str) -> Path:
        """Return an existing file. Raises ToolError."""
        found = self._inside(path)
        if not found.is_file():
            raise ToolError(f"File {path!r} not found. Call list_files to see the files.")
        return self._without_links(found, path)

    def target(self, path: str) -> Path:
        """Return a path that may be written. Raises ToolError."""
        found = self._inside(path)
        if found.is_dir() or not found.parent.is_dir():
            raise ToolError(f"{path!r} is a folder, or its folder does not exist. Call list_files.")
        return self._without_links(found, path) if found.exists() else found

    def _without_links(self, found: Path, name: str) -> Path:
        """Return a file. Raises ToolError if it has hard links that are hidden or outside."""
        status = found.stat()
        if status.st_nlink > 1:
            inside = _names(self._roots.values())[status.st_dev, status.st_ino]
            if inside < status.st_nlink:
                raise ToolError(
                    f"{name!r} has a hard link that is hidden or outside the folders that tools "
                    "may access. Call list_files."
                )
        return found

    def _inside(self, path: str) -> Path:
        inner = Path(path)
        if len(self._roots) > 1:
            root = self._roots.get(inner.parts[0] if inner.parts else "")
            inner = Path(*inner.parts[1:])
        else:
            root = next(iter(self._roots.values()), None)
        if root is None:
            raise ToolError(
                f"{path!r} must begin with one of the folders: {', '.join(self._roots)}."
            )
        return self._resolve(root / inner, path)

    def _resolve(self, path: Path, name: str) -> Path:
        """Resolve links. Raises ToolError if the result is hidden or outside the folders."""
        try:
            found = real_path(path)
        except (OSError, ValueError, RuntimeError) as error:
            raise ToolError(f"Invalid path {name!r}. Call list_files.") from error
        for root in self._roots.values():
            if found.is_relative_to(root):
                if any(part.startswith(".") for part in found.relative_to(root).parts):
                    raise ToolError(f"{name!r} is hidden: tools cannot access hidden files.")
                return found
        raise ToolError(f"{name!r} is outside the folders that tools may access. Call list_files.")


def _walk(starts: Iterable[Path]) -> Iterator[Path]:
    """Yield the visible files at or below some paths, sorted; stops after 20,000."""
    visited = 0
    for start in starts:
        if start.is_file():
            yield start
        for folder, folders, names in os.walk(start):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                visited += 1
                if visited > _MAX_VISITED:
                    return
                yield Path(folder, name)


def _names(roots: Iterable[Path]) -> Counter[tuple[int, int]]:
    """How many visible names below the folders each file with hard links has, by device and
    inode."""
    found: Counter[tuple[int, int]] = Counter()
    for path in _walk(roots):
        with suppress(OSError):
            status = path.lstat()
            if status.st_nlink > 1 and not path.name.startswith("."):
                found[status.st_dev, status.st_ino] += 1
    return found


Reader = Callable[[bytes, str], str]
"""Decodes a file from its bytes and name. Raises AgentkitError for files that are not text."""

READ_LIMIT = 8000
"""Maximum characters of one `read_file` call."""

_MAX_FILE_BYTES = 20_000_000
_MAX_SEARCHED_BYTES = 50_000_000
_MAX_SEARCHED_FILE_BYTES = 2_000_000
_MAX_LISTED = 200
_MAX_MATCHES = 50
_MAX_LINE_LENGTH = 200

FilePath = Annotated[str, Field(max_length=500)]
Pattern = Annotated[str, Field(max_length=200)]


def file_tools(roots: Sequence[Path], text_of: Reader, plain_text: Reader) -> tuple[Tool, ...]:
    """Return the tools for some folders. `text_of` decodes any document; `plain_text` only text
    files, since a search opens many."""
    folders = Roots(roots)

    @tool(idempotent=True)
    def list_files(path: FilePath = "", pattern: Pattern = "*") -> str:
        """List the files below a folder, with their sizes.

        Args:
            path: A folder as listed; empty for all folders.
            pattern: Only names that match, such as *.md.
        """
        found = (file for file in folders.files(path) if fnmatch(file.name, pattern))
        lines = (f"{folders.relative(file)}  {file.stat().st_size} bytes" for file in found)
        return _join_limited(lines, _MAX_LISTED) or "No such files."

    @tool(idempotent=True)
    def read_file(path: FilePath, start: Annotated[int, Field(ge=0)] = 0) -> str:
        """Read a file as text; PDF and office files too.

        Args:
            path: The file, as listed by list_files.
            start: The character to start at; a long file is read in pieces.
        """
        found = folders.file(path)
        text = text_of(_read_bytes(found, _MAX_FILE_BYTES), found.name)
        end = start + READ_LIMIT
        more = f"\n[{len(text) - end} more characters: start={end}]" if end < len(text) else ""
        return (
            f"{text[start:end]}{more}"
            or f"[no text at this position: the file has {len(text)} characters]"
        )

    @tool(idempotent=True)
    def search_files(
        text: Annotated[str, Field(min_length=1, max_length=200)],
        path: FilePath = "",
        pattern: Pattern = "*",
    ) -> str:
        """Find the lines of text files that contain a word or phrase, ignoring case.

        Args:
            text: The word or phrase.
            path: Only below this folder.
            pattern: Only names that match, such as *.md.
        """
        found = (file for file in folders.files(path) if fnmatch(file.name, pattern))
        lines = (
            f"{folders.relative(file)}:{line}"
            for file in _searchable(found)
            for line in _matches(file, text, plain_text)
        )
        return _join_limited(lines, _MAX_MATCHES) or "No matches."

    @tool(needs_approval=True)
    def write_file(
        path: FilePath,
        text: Annotated[str, Field(max_length=200_000)],
        overwrite: bool = False,
    ) -> str:
        """Write a text file as UTF-8. The file is written completely or not at all.

        Args:
            path: The file. Its folder must exist.
            text: The complete contents.
            overwrite: Whether an existing file may be replaced.
        """
        target = folders.target(path)
        _write_atomically(target, text, overwrite)
        return f"Wrote {folders.relative(target)}: {len(text)} characters."

    return list_files, read_file, search_files, write_file


def _read_bytes(path: Path, limit: int) -> bytes:
    try:
        content = read_regular(path, limit + 1)
    except OSError as error:
        raise ToolError(f"{path.name} cannot be read: {error.strerror}.") from error
    if len(content) > limit:
        raise ToolError(f"{path.name} is larger than {limit / 1e6:g} MB, the limit for reading.")
    return content


def _searchable(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that a search opens: limited in size each and together."""
    left = _MAX_SEARCHED_BYTES
    for path in paths:
        size = path.stat().st_size
        if size <= _MAX_SEARCHED_FILE_BYTES:
            left -= size
            yield path
        if left < 0:
            return


def _matches(path: Path, text: str, plain_text: Reader) -> Iterator[str]:
    try:
        lines = plain_text(_read_bytes(path, _MAX_SEARCHED_FILE_BYTES), path.name).splitlines()
    except AgentkitError:
        return
    needle = text.casefold()
    for number, line in enumerate(lines, 1):
        if needle in line.casefold():
            yield f"{number}: {line.strip()[:_MAX_LINE_LENGTH]}"


def _join_limited(lines: Iterable[str], limit: int) -> str:
    first = list(islice(lines, limit + 1))
    rest = ["... and more. Narrow by path or pattern."] if len(first) > limit else []
    return "\n".join(first[:limit] + rest)


def _write_atomically(target: Path, text: str, overwrite: bool) -> None:
    """Write a temporary file beside the target and move it there; without `overwrite` a link, which
    fails if the target exists, does so."""
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
            f"{target.name} already exists. Choose another name, or set overwrite to true."
        ) from error
    except OSError as error:
        raise ToolError(f"{target.name} cannot be written: {error.strerror}.") from error
