"""The JSON Schema that `--schema` names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError

_MOST_BYTES = 1_000_000


def read_schema(path: Path | None) -> dict[str, Any] | None:
    """The schema of a file. Raises ConfigError."""
    if path is None:
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} is too large for a JSON Schema: 1 MB is the most.")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no JSON Schema: it must be an object.")
    return found
