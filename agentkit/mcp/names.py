"""Names that every model's provider accepts, for tools of many servers."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

LONGEST_NAME = 64


def unique_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each (server, tool): `server__tool` in `[A-Za-z0-9_-]`, at most 64 characters.

    A name that had to be cut, or that two tools share after cleaning, ends in a hash of both. A
    server may choose a name that is already such a one: it is hashed again.
    """
    plain = [_cleaned(f"{server}__{tool}") for server, tool in pairs]
    count = Counter(plain)
    names: dict[str, None] = {}
    for name, pair in zip(plain, pairs, strict=True):
        while len(name) > LONGEST_NAME or count[name] > 1 or name in names:
            name = f"{name[: LONGEST_NAME - 9]}_{_hash(name, *pair)}"
        names[name] = None
    return list(names)


def may_lend(server: str, name: str) -> bool:
    """Whether a name of `unique_names` can be that of a server's tool."""
    return name.startswith(_cleaned(f"{server}__")[: LONGEST_NAME - 9])


def _cleaned(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
