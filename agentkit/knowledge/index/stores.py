"""Where an index keeps its vectors: in its folder, on a Chroma server, or in Chroma Cloud.

The catalog stays the truth and stays in the folder. A setting that names another place than the
last time is noted there: searches do without Chroma until the next indexing has filled it.

Vectors on a Chroma server or in Chroma Cloud: one collection for an index.

Only ids and vectors are sent there, never a text. The server may go, come back, or come back with
other data: then the catalog is searched, and the next indexing fills the collection anew.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from agentkit.addresses import is_loopback
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.knowledge.index.catalog import OUTDATED, Catalog
from agentkit.knowledge.index.schema import CATALOG, open_read_only, read_meta, read_value
from agentkit.knowledge.index.vectors import CONFIGURATION, Vectors

CLOUD = "https://api.trychroma.com"
_ROWS = 1000
_CLOUD_ROWS = 300
_IN_CLOUD = {"spann": {"space": "cosine"}}
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_PAUSE_SECONDS = 30.0
"""After a server that lets callers wait, searches do without it for so long."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a Chroma server is, and the environment variable `key_env` that its `key` came from."""

    url: str
    tenant: str = "default_tenant"
    database: str = "default_database"
    key_env: str = ""
    key: str = field(default="", repr=False)

    @property
    def is_cloud(self) -> bool:
        return self.url == CLOUD


class Owner(Protocol):
    """The index whose vectors they are, as its catalog has it."""

    @property
    def collection(self) -> str:
        """The name of its collection. Raises KnowledgeError."""
        ...

    def count(self) -> int:
        """Its live chunks."""
        ...

    def distrust(self) -> None:
        """Note that the vectors are to be filled in anew."""
        ...


class ServerVectors(Vectors):
    """The collection of one index on a server. Every call raises KnowledgeError where the server
    does not answer."""

    def __init__(self, path: Path, server: Server, owner: Owner) -> None:
        super().__init__(path)
        self._server = server
        self._owner = owner
        self._api: Any = None
        self._is_whole = False
        self._away_until = 0.0

    def count(self) -> int:
        return int(self._asked(super().count))

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        from chromadb.errors import InvalidArgumentError, InvalidDimensionException

        rows = self._rows()
        for at in range(0, len(ids), rows):
            part = slice(at, at + rows)
            try:
                self._asked(super().upsert, ids[part], vectors[part])
            except (InvalidArgumentError, InvalidDimensionException):
                self._owner.distrust()  # What is there has another dimension.
                raise

    def delete(self, ids: Sequence[str]) -> None:
        rows = self._rows()
        for at in range(0, len(ids), rows):
            self._asked(super().delete, ids[at : at + rows])

    def query(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        self._check()
        k = min(k, _CLOUD_ROWS) if self._server.is_cloud else k
        found: list[tuple[str, float]] = self._asked(super().query, vector, k)
        return found

    def clear(self) -> None:
        """Delete this index's collection and nothing else."""
        with self._lock:
            self._asked(self._dropped)
            self.close()

    def close(self) -> None:
        with self._lock:
            api, self._api, self._collection = self._api, None, None
            self._is_whole = False
            if api is not None:
                api._session.close()

    def _opened(self) -> Any:
        if self._collection is None:
            from chromadb.api.models.Collection import Collection

            api = self._connected()
            model = api.get_or_create_collection(
                self._owner.collection,
                configuration=_IN_CLOUD if self._server.is_cloud else CONFIGURATION,
                **self._place(),
            )
            self._collection = Collection(client=api, model=model, embedding_function=None)
        return self._collection

    def _dropped(self) -> None:
        from chromadb.errors import NotFoundError

        try:
            self._connected().delete_collection(self._owner.collection, **self._place())
        except NotFoundError:
            return

    def _check(self) -> None:
        """Whether the collection holds at least what is live: it may be new, or another's data.
        Raises KnowledgeError."""
        with self._lock:
            if self._is_whole:
                return
            before, held = self._owner.count(), self.count()
            wanted = min(before, self._owner.count())  # A writer may have been at work between.
            if held < wanted:
                self._owner.distrust()
                raise KnowledgeError(
                    f"The Chroma server {self._server.url} holds {held} of {wanted} vectors of "
                    "this index. Fill it with: agentkit index"
                )
            self._is_whole = True

    def _rows(self) -> int:
        """How many vectors one request carries."""
        allowed = int(self._asked(lambda: self._connected().get_max_batch_size()))
        most = _CLOUD_ROWS if self._server.is_cloud else _ROWS
        return min(most, allowed) if allowed > 0 else most

    def _place(self) -> dict[str, str]:
        return {"tenant": self._server.tenant, "database": self._server.database}

    def _connected(self) -> Any:
        if self._api is None:
            self._api = _api(self._server)
        return self._api

    def _asked(self, call: Callable[..., Any], *args: object) -> Any:
        """What the server answers, asked twice where a connection broke: it may have restarted,
        and every call may be repeated."""
        import httpx
        from chromadb.errors import NotFoundError

        with self._lock:
            if time.monotonic() < self._away_until:
                raise KnowledgeError(_away(self._server, "it let the last caller wait"))
            for attempt in (1, 2):
                try:
                    return call(*args)
                except httpx.TimeoutException as error:
                    self.close()
                    self._away_until = time.monotonic() + _PAUSE_SECONDS
                    raise KnowledgeError(_away(self._server, "no answer in time")) from error
                except (httpx.TransportError, NotFoundError) as error:
                    self.close()
                    if attempt == 2:
                        raise KnowledgeError(_lost(self._server, error)) from error
                except Exception as error:
                    if refusal := _refusal(self._server, error):
                        raise KnowledgeError(refusal) from error
                    raise
        raise AssertionError("unreachable")


def _api(server: Server) -> Any:
    """Chroma's own client of the HTTP interface, with bounded waits. Its constructor asks nothing,
    unlike HttpClient's, which waits for ever."""
    import httpx
    from chromadb.api import ServerAPI
    from chromadb.config import Settings, System

    logging.getLogger("chromadb").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = Settings(
        anonymized_telemetry=False,
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host=server.url,
        chroma_server_http_port=urlsplit(server.url).port or 8000,
        chroma_server_headers={"x-chroma-token": server.key} if server.key else None,
    )
    api: Any = System(settings).instance(ServerAPI)
    headers = api._session.headers
    api._session.close()
    api._session = httpx.Client(
        headers=headers,
        timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
        trust_env=not is_loopback(server.url),
    )
    return api


def _away(server: Server, why: str) -> str:
    start = "Look at the network and at https://status.trychroma.com"
    if is_loopback(server.url):
        port = urlsplit(server.url).port or 8000
        start = f"Start it: chroma run --path FOLDER --host 127.0.0.1 --port {port}"
    elif server.url != CLOUD:
        start = "Start it there, or look at the network."
    return f"The Chroma server {server.url} does not answer ({why[:200]}). {start}"


def _lost(server: Server, error: Exception) -> str:
    from chromadb.errors import NotFoundError

    if not isinstance(error, NotFoundError):
        return _away(server, str(error))
    place = f"{server.tenant}/{server.database}"
    return f"{server.url} has no database {place} ({error}). Make it there, or change the setting."


def _refusal(server: Server, error: Exception) -> str:
    """What to do about a refused key, or an answer that no Chroma server gives; else ""."""
    from chromadb.errors import AuthorizationError, ChromaAuthError

    if isinstance(error, AuthorizationError | ChromaAuthError):
        name = server.key_env or "a key: https://$VARIABLE@HOST"
        return f"The Chroma server {server.url} refuses the key. Look at {name}."
    if type(error) is not Exception and not isinstance(error, json.JSONDecodeError):
        return ""
    said = " ".join(str(error).split())[:120]
    return (
        f"{server.url} answers unlike a Chroma server of version 1 ({said}). "
        "Look at knowledge.store in agentkit.toml."
    )


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
        with open_read_only(self._file) as connection:
            return f"agentkit-{read_meta(connection, 'collection').partition(':')[0]}"

    def count(self) -> int:
        with open_read_only(self._file) as connection:
            return int(read_value(connection, "SELECT count(*) FROM chunks WHERE state = 'active'"))

    def distrust(self) -> None:
        with suppress(KnowledgeError, sqlite3.Error), closing(Catalog(self._file)) as catalog:
            catalog.mark_chroma(OUTDATED)

    def settle(self) -> None:
        """Note where the vectors are to be, and that they are not there yet where that is new.
        Raises KnowledgeError and sqlite3.Error where the catalog cannot be written."""
        if not self._file.exists() or not self._changes():
            return
        with closing(Catalog(self._file)) as catalog:
            if catalog.count():
                catalog.mark_chroma(OUTDATED)
            catalog.set_meta(self._changes())

    def _changes(self) -> dict[str, str]:
        """What the catalog has otherwise than it should."""
        with open_read_only(self._file) as connection:
            store, held = read_meta(connection, "store"), read_meta(connection, "collection")
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
