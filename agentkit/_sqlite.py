"""Open SQLite files that cannot be written, and tell a full disk from other faults."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

_LEAST_BYTES = 100_000
DISK_FULL = "the disk is full"


def open_immutable(path: Path, probe: str) -> sqlite3.Connection:
    """Open a file to read where nothing can be written beside it, as on a full disk. `probe` is a
    query that must succeed. Raises sqlite3.Error."""
    address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
    try:
        db.execute(probe).fetchone()
    except sqlite3.Error:
        db.close()
        raise
    return db


def write_fault(path: Path, error: Exception) -> tuple[str, str]:
    """Why a file cannot be written, and what to do. SQLite reports a full disk in many ways, and a
    file that it could only open to read as one without permission."""
    full = DISK_FULL, "Free some disk space."
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return full
        return (error.strerror or str(error)).lower(), "Change its permissions."
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if path.exists() and not path.is_file():
        return "it is not a file", "Move it away."
    with suppress(OSError):
        if code == sqlite3.SQLITE_FULL or shutil.disk_usage(path.parent).free < _LEAST_BYTES:
            return full
    if code == sqlite3.SQLITE_IOERR:
        return str(error), "Check the disk and its space."
    return str(error), "Change its permissions."
