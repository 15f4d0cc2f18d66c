"""Where an index keeps its vectors: in its folder, on a Chroma server, or in Chroma Cloud.

The catalog stays the truth and stays in the folder. A setting that names another place than the
last time is noted there: searches do without Chroma until the next indexing has filled it.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from agentkit.backends.addresses import is_loopback
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.knowledge.catalog import STALE, Catalog
from agentkit.knowledge.catalog_file import CATALOG, meta, reading, value
from agentkit.knowledge.chroma_server import CLOUD, Server, ServerVectors
from agentkit.knowledge.vectors import Vectors

_log = logging.getLogger(__name__)

_CLOUD_KEY = "CHROMA_API_KEY"
_CLOUD_PLACE = re.compile(r"(?:\$(\w+)@)?([\w-]+)/([\w-]+)")
_FORMS = (
    "Use http://HOST:PORT, https://$KEY_VARIABLE@HOST, cloud:TENANT/DATABASE, or nothing for "
    "the index's own folder."
)


def open_store(index: Path, store: str = "") -> Vectors:
    """The vectors of the index in a folder, which need not be there yet. `store` is "" for Chroma
    in the folder itself, "http://HOST:PORT" or "https://..." for a server, "cloud:TENANT/DATABASE"
    for Chroma Cloud, whose key is in CHROMA_API_KEY; "$NAME@" before the host or tenant names
    another variable. Nothing is connected yet. Raises ConfigError."""
    server = server_of(store) if store else None
    owner = IndexOwner(index, store)
    with suppress(KnowledgeError, sqlite3.Error):
        owner.settle()
    if server is None:
        return Vectors(index / "chroma")
    return ServerVectors(index / "chroma", server, owner)


def server_of(store: str) -> Server:
    """The server that a setting names, with its key. Raises ConfigError."""
    if store.startswith("cloud:"):
        found = _CLOUD_PLACE.fullmatch(store.removeprefix("cloud:"))
        if found is None:
            raise ConfigError(f"{store!r} is no place in Chroma Cloud. {_FORMS}")
        name = found[1] or _CLOUD_KEY
        return Server(CLOUD, found[2], found[3], name, _key(name))
    try:
        parts = urlsplit(store)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        known = None
    if not known or parts.query or parts.fragment:
        raise ConfigError(f"{_shown(store)!r} is no store of vectors. {_FORMS}")
    user, at, place = parts.netloc.rpartition("@")
    if at and not re.fullmatch(r"\$\w+", user):
        raise ConfigError(
            "knowledge.store holds a password. Put it in an environment variable and name that: "
            f"{parts.scheme}://$NAME@{place}"
        )
    url = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
    name = user.removeprefix("$")
    _check_privacy(url, name)
    return Server(url, key_env=name, key=_key(name) if name else "")


class IndexOwner:
    """An index as the owner of a collection. Its catalog keeps the collection's name, bound to the
    catalog's file: a copy of the folder gets a collection of its own."""

    def __init__(self, index: Path, store: str) -> None:
        self._file = index / CATALOG
        self._store = store

    @property
    def collection(self) -> str:
        self.settle()
        with reading(self._file) as connection:
            return f"agentkit-{meta(connection, 'collection').partition(':')[0]}"

    def count(self) -> int:
        with reading(self._file) as connection:
            return int(value(connection, "SELECT count(*) FROM chunks WHERE state = 'live'"))

    def distrust(self) -> None:
        with suppress(KnowledgeError, sqlite3.Error), closing(Catalog(self._file)) as catalog:
            catalog.mark_chroma(STALE)

    def settle(self) -> None:
        """Note where the vectors are to be, and that they are not there yet where that is new.
        Raises KnowledgeError and sqlite3.Error where the catalog cannot be written."""
        if not self._file.exists() or not self._changes():
            return
        with closing(Catalog(self._file)) as catalog:
            if catalog.count():
                catalog.mark_chroma(STALE)
            catalog.set_meta(self._changes())

    def _changes(self) -> dict[str, str]:
        """What the catalog has otherwise than it should."""
        with reading(self._file) as connection:
            store, held = meta(connection, "store"), meta(connection, "collection")
        changes = {} if store == self._store else {"store": self._store}
        if self._store and not self._is_ours(held):
            changes["collection"] = f"{uuid.uuid4().hex}:{self._file.stat().st_ino}"
        return changes

    def _is_ours(self, held: str) -> bool:
        return bool(re.fullmatch(rf"[0-9a-f]{{32}}:{self._file.stat().st_ino}", held))


def _key(name: str) -> str:
    key = os.environ.get(name, "")
    if not key:
        raise ConfigError(f"The Chroma server wants a key: set the environment variable {name}.")
    return key


def _check_privacy(url: str, key_env: str) -> None:
    """Plain HTTP to another machine can be read on the way."""
    if url.startswith("https:") or is_loopback(url):
        return
    if key_env:
        raise ConfigError(f"{url} would show the key in {key_env} to the network. Use https://")
    _log.warning("%s is not encrypted: others on the network can read the vectors.", url)


def _shown(store: str) -> str:
    """Without what may be a password."""
    return re.sub(r"//[^/]*@", "//...@", store)
