"""Tool names and parameters in the form that a model's server takes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

TOOL_NAME = "[a-zA-Z0-9_-]{1,64}"
"""The pattern of tool names that every hosted service takes."""


def wire_names(names: Iterable[str], pattern: str = TOOL_NAME) -> dict[str, str]:
    """Map tool names to names that fit a pattern, one to one and whatever their order. A name that
    fits is kept; of another the characters that fit are, with a digest of the whole where they
    alone would not distinguish it."""
    distinct = sorted(set(names))
    wire = {name: name for name in distinct if re.fullmatch(pattern, name)}
    plain = {name: re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_") for name in distinct}
    counts = Counter(plain.values())
    for name in distinct:
        short = plain[name]
        is_unique = name.isascii() and counts[short] == 1 and short not in wire
        fits = is_unique and re.fullmatch(pattern, short)
        wire.setdefault(name, short if fits else _with_digest(name, short))
    return wire


def _with_digest(name: str, short: str) -> str:
    kept = re.sub(r"[^a-zA-Z0-9_]", "", short)[:40]
    start = kept if kept[:1].isalpha() else f"tool_{kept}".rstrip("_")
    return f"{start}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
