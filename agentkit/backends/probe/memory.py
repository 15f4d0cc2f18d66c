"""What was learned of models, in the user's cache directory: what a probe found they can do, and
what their servers refused.

A file that cannot be read counts as missing; one that cannot be written is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentkit.backends.base import Capabilities
from agentkit.settings.sources import cache_folder, write_private

_REFUSALS_DAYS = 30
"""Days after which a refusal is tried again, since servers are updated."""


def cached_capabilities(name: str, server: str = "") -> Capabilities | None:
    """Return what the last probe of the model found; None where there was none."""
    try:
        found = _read(name, server)["capabilities"]
        return Capabilities(**{key: bool(value) for key, value in found.items()})
    except (TypeError, KeyError, AttributeError):
        return None


def save_capabilities(
    name: str, server: str, found: Capabilities, checks: Sequence[dict[str, Any]] = ()
) -> None:
    """Write what a probe found."""
    _update(name, server, {"capabilities": asdict(found), "checks": list(checks)})


def learned_fields(name: str, server: str) -> dict[str, Any]:
    """Return the fields of the profile that refusals of the server changed, as JSON."""
    found = _read(name, server)
    fields, at = found.get("profile"), found.get("profile_at")
    if not isinstance(fields, dict) or not isinstance(at, int | float):
        return {}
    return fields if time.time() - at < _REFUSALS_DAYS * 86400 else {}


def save_learned(name: str, server: str, fields: Mapping[str, Any]) -> None:
    """Write the fields of a profile that refusals changed; none forgets them."""
    _update(name, server, {"profile": dict(fields), "profile_at": int(time.time())})


def _read(name: str, server: str) -> dict[str, Any]:
    try:
        found = json.loads(_path(name, server).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _update(name: str, server: str, fields: Mapping[str, Any]) -> None:
    """Replace fields of a model's file, atomically."""
    path = _path(name, server)
    body = {"model": name, "server": server, **_read(name, server), **fields}
    with contextlib.suppress(OSError):
        write_private(path, json.dumps(body, ensure_ascii=False, indent=2))


def _path(name: str, server: str) -> Path:
    digest = hashlib.sha256(f"{name}\n{server}".encode()).hexdigest()[:32]
    return cache_folder() / "probes" / f"{digest}.json"
