"""Keep an index's vectors in Chroma: in the index's folder, on a Chroma server, or in Chroma Cloud.

The catalog is the source of truth and stays in the folder; only ids and vectors go to a server.
The catalog says what is active, and an exact scan serves when Chroma fails. A reader must reopen
after another process has written. After the setting names another store, searches do without
Chroma until the next indexing has filled it.
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
from agentkit.knowledge.index.chroma_process import ChromaProcess
from agentkit.knowledge.index.schema import CATALOG, open_read_only, read_meta, read_value
from agentkit.knowledge.index.vectors import CONFIGURATION, Vectors
from agentkit.redaction import get_logger

_log = get_logger(__name__)

CLOUD = "https://api.trychroma.com"
_CLOUD_CONFIGURATION = {"spann": {"space": "cosine"}}
_SERVER_BATCH = 1000
_CLOUD_BATCH = 300
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_PAUSE_SECONDS = 30.0
"""How long searches do without a server that did not answer in time."""
_CLOUD_KEY = "CHROMA_API_KEY"
_CLOUD_PLACE = re.compile(r"(?:\$(\w+)@)?([\w-]+)/([\w-]+)")
_FORMS = (
    "Use http://HOST:PORT, https://$KEY_VARIABLE@HOST, cloud:TENANT/DATABASE, or nothing for "
    "the index's own folder."
)


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

    @property
    def place(self) -> dict[str, str]:
        return {"tenant": self.tenant, "database": self.database}


class Owner(Protocol):
    """The index that vectors on a server belong to."""

    @property
    def collection(self) -> str:
        """The name of its collection. Raises KnowledgeError."""
        ...

    def count(self) -> int:
        """The number of its active chunks."""
        ...

    def mark_outdated(self) -> None:
        """Note that the vectors must be filled in again."""
        ...


class ServerVectors(Vectors):
    """The collection of one index on a server, which may restart, or come back with other data:
    then the catalog is scanned, and the next indexing fills the collection. Every call raises
    KnowledgeError where the server does not answer."""

    def __init__(
        self,
        path: Path,
        server: Server,
        owner: Owner,
        *,
        batch_size: int = 0,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        super().__init__(path)
        self._most = batch_size or (_CLOUD_BATCH if server.is_cloud else _SERVER_BATCH)
        self._answer_seconds = answer_seconds
        self._server = server
        self._owner = owner
        self._is_complete = False
        self._paused_until = 0.0

    def count(self) -> int:
        return int(self._call(super().count))

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        from chromadb.errors import InvalidArgumentError, InvalidDimensionException

        size = self._batch_size()
        for at in range(0, len(ids), size):
            part = slice(at, at + size)
            try:
                self._call(super().upsert, ids[part], vectors[part])
            except (InvalidArgumentError, InvalidDimensionException):
                self._owner.mark_outdated()  # The stored vectors have another dimension.
                raise

    def delete(self, ids: Sequence[str]) -> None:
        size = self._batch_size()
        for at in range(0, len(ids), size):
            self._call(super().delete, ids[at : at + size])

    def query(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        self._check_complete()
        k = min(k, _CLOUD_BATCH) if self._server.is_cloud else k
        found: list[tuple[str, float]] = self._call(super().query, vector, k)
        return found

    def clear(self) -> None:
        """Delete this index's collection and nothing else."""
        from chromadb.errors import NotFoundError

        def delete() -> None:
            with suppress(NotFoundError):
                self._connect().delete_collection(self._owner.collection, **self._server.place)

        with self._lock:
            self._call(delete)
            self.close()

    def close(self) -> None:
        with self._lock:
            client, self._client, self._collection = self._client, None, None
            self._is_complete = False
            if client is not None:
                client._session.close()

    def _open(self) -> Any:
        if self._collection is None:
            from chromadb.api.models.Collection import Collection

            client = self._connect()
            model = client.get_or_create_collection(
                self._owner.collection,
                configuration=_CLOUD_CONFIGURATION if self._server.is_cloud else CONFIGURATION,
                **self._server.place,
            )
            self._collection = Collection(client=client, model=model, embedding_function=None)
        return self._collection

    def _check_complete(self) -> None:
        """Check once that the collection holds at least the active chunks: it may be new, or hold
        other data. Raises KnowledgeError."""
        with self._lock:
            if self._is_complete:
                return
            before, held = self._owner.count(), self.count()
            wanted = min(before, self._owner.count())  # Another process may be writing.
            if held < wanted:
                self._owner.mark_outdated()
                raise KnowledgeError(
                    f"The Chroma server {self._server.url} holds {held} of {wanted} vectors of "
                    "this index. Fill it with: agentkit index"
                )
            self._is_complete = True

    def _batch_size(self) -> int:
        """How many vectors one request carries."""
        allowed = int(self._call(lambda: self._connect().get_max_batch_size()))
        return min(self._most, allowed) if allowed > 0 else self._most

    def _connect(self) -> Any:
        if self._client is None:
            self._client = _new_client(self._server, self._answer_seconds)
        return self._client

    def _call(self, call: Callable[..., Any], *args: object) -> Any:
        """The server's answer. A call is repeated once where the connection broke: the server may
        have restarted, and every call is idempotent."""
        import httpx
        from chromadb.errors import NotFoundError

        with self._lock:
            if time.monotonic() < self._paused_until:
                raise KnowledgeError(_no_answer(self._server, "the last call timed out"))
            for attempt in (1, 2):
                try:
                    return call(*args)
                except httpx.TimeoutException as error:
                    self.close()
                    self._paused_until = time.monotonic() + _PAUSE_SECONDS
                    raise KnowledgeError(_no_answer(self._server, "no answer in time")) from error
                except (httpx.TransportError, NotFoundError) as error:
                    self.close()
                    if attempt == 2:
                        raise KnowledgeError(_explain(self._server, error)) from error
                except Exception as error:
                    if message := _explain(self._server, error):
                        raise KnowledgeError(message) from error
                    raise
        raise AssertionError("unreachable")


def _new_client(server: Server, answer_seconds: float) -> Any:
    """Chroma's own HTTP client with timeouts. Unlike HttpClient, its constructor sends nothing,
    and so cannot wait forever."""
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
    client: Any = System(settings).instance(ServerAPI)
    headers = client._session.headers
    client._session.close()
    client._session = httpx.Client(
        headers=headers,
        timeout=httpx.Timeout(answer_seconds, connect=_CONNECT_SECONDS),
        trust_env=not is_loopback(server.url),
    )
    return client


def _no_answer(server: Server, reason: str) -> str:
    step = "Check the network and https://status.trychroma.com"
    if is_loopback(server.url):
        port = urlsplit(server.url).port or 8000
        step = f"Start it: chroma run --path FOLDER --host 127.0.0.1 --port {port}"
    elif server.url != CLOUD:
        step = "Start it there, or check the network."
    return f"The Chroma server {server.url} does not answer ({reason[:200]}). {step}"


def _explain(server: Server, error: Exception) -> str:
    """The message for a lost connection, a missing database, a rejected key, or an answer that is
    not a Chroma server's; "" for any other error."""
    import httpx
    from chromadb.errors import AuthorizationError, ChromaAuthError, NotFoundError

    if isinstance(error, httpx.TransportError):
        return _no_answer(server, str(error))
    if isinstance(error, NotFoundError):
        place = f"{server.tenant}/{server.database}"
        return f"{server.url} has no database {place} ({error}). Create it, or change the setting."
    if isinstance(error, AuthorizationError | ChromaAuthError):
        name = server.key_env or "a key: https://$VARIABLE@HOST"
        return f"The Chroma server {server.url} rejects the key. Check {name}."
    if type(error) is Exception or isinstance(error, json.JSONDecodeError):
        reason = " ".join(str(error).split())[:120]
        return (
            f"{server.url} is not a Chroma server of version 1 ({reason}). "
            "Check knowledge.store in agentkit.toml."
        )
    return ""


def open_store(index: Path, store: str = "") -> Vectors:
    """The vectors of the index in a folder, which need not exist yet. `store` is "" for Chroma in
    the folder itself, "http://HOST:PORT" or "https://..." for a server, "cloud:TENANT/DATABASE"
    for Chroma Cloud, whose key is in CHROMA_API_KEY; "$NAME@" before the host or tenant names
    another variable. Nothing is connected yet. Raises ConfigError."""
    server = parse_server(store) if store else None
    owner = IndexOwner(index, store)
    with suppress(KnowledgeError, sqlite3.Error):
        owner.update_catalog()
    if server is None:
        return ChromaProcess(index / "chroma")
    return ServerVectors(index / "chroma", server, owner)


def parse_server(store: str) -> Server:
    """The server that a setting names, with its key. Raises ConfigError."""
    if store.startswith("cloud:"):
        found = _CLOUD_PLACE.fullmatch(store.removeprefix("cloud:"))
        if found is None:
            raise ConfigError(f"{store!r} is not a database of Chroma Cloud. {_FORMS}")
        name = found[1] or _CLOUD_KEY
        return Server(CLOUD, found[2], found[3], name, _read_key(name))
    try:
        parts = urlsplit(store)
        is_url = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_url = None
    if not is_url or parts.query or parts.fragment:
        masked = re.sub(r"//[^/]*@", "//...@", store)  # It may be a password.
        raise ConfigError(f"{masked!r} is not a store of vectors. {_FORMS}")
    user, at, place = parts.netloc.rpartition("@")
    if at and not re.fullmatch(r"\$\w+", user):
        raise ConfigError(
            "knowledge.store contains a password. Put it in an environment variable and name "
            f"that: {parts.scheme}://$NAME@{place}"
        )
    url = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
    name = user.removeprefix("$")
    if parts.scheme == "http" and not is_loopback(url):
        if name:
            raise ConfigError(f"{url} would show the key in {name} to the network. Use https://")
        _log.warning("%s is not encrypted: others on the network can read the vectors.", url)
    return Server(url, key_env=name, key=_read_key(name) if name else "")


class IndexOwner:
    """An index as the owner of a collection. Its catalog keeps the collection's name, bound to the
    catalog's file: a copy of the folder gets a collection of its own."""

    def __init__(self, index: Path, store: str) -> None:
        self._file = index / CATALOG
        self._store = store

    @property
    def collection(self) -> str:
        self.update_catalog()
        with open_read_only(self._file) as connection:
            return f"agentkit-{read_meta(connection, 'collection').partition(':')[0]}"

    def count(self) -> int:
        with open_read_only(self._file) as connection:
            return int(read_value(connection, "SELECT count(*) FROM chunks WHERE state = 'active'"))

    def mark_outdated(self) -> None:
        with suppress(KnowledgeError, sqlite3.Error), closing(Catalog(self._file)) as catalog:
            catalog.mark_chroma(OUTDATED)

    def update_catalog(self) -> None:
        """Note the store and the collection's name in the catalog, and that a new store is not
        filled yet. Raises KnowledgeError and sqlite3.Error where it cannot be written."""
        if not self._file.exists() or not (changes := self._changes()):
            return
        with closing(Catalog(self._file)) as catalog:
            if catalog.count():
                catalog.mark_chroma(OUTDATED)
            catalog.set_meta(changes)

    def _changes(self) -> dict[str, str]:
        with open_read_only(self._file) as connection:
            store, held = read_meta(connection, "store"), read_meta(connection, "collection")
        changes = {} if store == self._store else {"store": self._store}
        inode = self._file.stat().st_ino
        if self._store and not re.fullmatch(rf"[0-9a-f]{{32}}:{inode}", held):
            changes["collection"] = f"{uuid.uuid4().hex}:{inode}"
        return changes


def _read_key(name: str) -> str:
    key = os.environ.get(name, "")
    if not key:
        raise ConfigError(f"The Chroma server needs a key: set the environment variable {name}.")
    return key
