"""Keep what `agentkit probe` found in the user's cache directory, by model and server.

A file that cannot be read counts as missing; one that cannot be written is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentkit.backends.base import Capabilities


def cached_capabilities(name: str, server: str = "") -> Capabilities | None:
    """Return what the last probe of the model found; None where there was none."""
    try:
        found = json.loads(_path(name, server).read_text(encoding="utf-8"))
        return Capabilities(**{key: bool(value) for key, value in found["capabilities"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def save_capabilities(
    name: str, server: str, found: Capabilities, checks: Sequence[dict[str, Any]] = ()
) -> None:
    """Write what a probe found, atomically."""
    path = _path(name, server)
    body = {"model": name, "server": server, "capabilities": asdict(found), "checks": list(checks)}
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(body, ensure_ascii=False, indent=2), encoding="utf-8")
        part.replace(path)


def _path(name: str, server: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = hashlib.sha256(f"{name}\n{server}".encode()).hexdigest()[:32]
    return Path(base) / "agentkit" / "probes" / f"{digest}.json"
