"""Keep a built file between runs: written whole or not at all, and checked when read.

A cache that cannot be read or written is as good as none: nothing is raised.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zlib
from pathlib import Path

_SEAL = struct.Struct("<4sQI")
_MAGIC = b"AKE5"


def default_cache() -> Path:
    """The folder for files that can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "agentkit"


def read_cached(path: Path) -> bytes | None:
    """What was written at `path`; None when there is none or it is damaged."""
    try:
        with path.open("rb") as file:
            body = file.read(max(0, path.stat().st_size - _SEAL.size))
            return body if file.read() == _seal(body) else None
    except OSError:
        return None


def write_cached(path: Path, body: bytes) -> None:
    """Write `body` at `path`, if that can be done."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.writelines((body, _seal(body)))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _seal(body: bytes) -> bytes:
    return _SEAL.pack(_MAGIC, len(body), zlib.crc32(body))
