"""What a server writes to standard error, kept in a file that stays small.

A full file becomes `NAME.log.1` and a new one begins: at most two files of a megabyte each.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

LARGEST = 1_000_000


def log_path(folder: Path, server: str) -> Path:
    """The log of a server. Two names that differ in special characters alone share one."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', server)}.log"


def last_lines(path: Path, lines: int) -> list[str]:
    """The last lines of a log, older ones from the file before it."""
    found: list[str] = []
    for part in (path.with_name(f"{path.name}.1"), path):
        with suppress(FileNotFoundError):
            found += part.read_text(encoding="utf-8", errors="replace").splitlines()
    return found[-lines:] if lines > 0 else []


class ServerLog:
    """A log, open. Without a path it forgets all; what cannot be written is dropped."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, data: bytes) -> None:
        """Add to the log."""
        if self._file is None:
            return
        with suppress(OSError):
            if self._file.tell() + len(data) > LARGEST:
                self._turn()
            self._file.write(data[-LARGEST:])
            self._file.flush()

    def _turn(self) -> None:
        assert self._path is not None
        assert self._file is not None
        self._file.close()
        os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("ab")
