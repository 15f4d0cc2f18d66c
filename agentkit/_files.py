"""Read regular files only: a pipe would wait for its writer, and a device has no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

NOT_REGULAR = errno.ENXIO
"""The error number of what is neither a regular file nor a directory; the system's for a socket."""


def read_regular(path: Path, most: int = -1) -> bytes:
    """The bytes of a regular file, at most so many. Raises OSError, also for any other kind."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(NOT_REGULAR, "Not a regular file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(descriptor)


def real_path(path: Path) -> Path:
    """The path without symbolic links. `Path.resolve` raises RuntimeError for a link that leads to
    itself, before Python 3.13."""
    return Path(os.path.realpath(path))
