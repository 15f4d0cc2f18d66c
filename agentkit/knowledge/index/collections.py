"""Several indexes side by side, each with a name in any language.

The project's own index is called "knowledge". The name of a collection's folder is derived from its
display name, so that another spelling (upper case, decomposed accents) finds the same one, and no
name leads out of the root.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import sqlite3
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from agentkit.errors import KnowledgeError
from agentkit.findings import name_project
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.index.schema import (
    CATALOG,
    open_read_only,
    read_meta,
    read_value,
)
from agentkit.knowledge.index.stores import open_store
from agentkit.knowledge.index.token_store import TOKENS
from agentkit.knowledge.index.write_lock import writing
from agentkit.knowledge.knowledge_base import KnowledgeBase

DEFAULT = "knowledge"
MAX_NAME = 100
_JOINERS = "\u200c\u200d"
_FORBIDDEN = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")
_ASIDE = ".replaced-"
_WAIT = 5.0


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection in a list. `problem` is why it could not be read."""

    name: str
    path: Path
    documents: int = 0
    chunks: int = 0
    bytes: int = 0
    embedder: str = ""
    problem: str = ""


class Collections:
    """The indexes under a project's own folder, `root`; `embedder` creates the one they use."""

    def __init__(
        self,
        root: Path,
        embedder: Callable[[], Embedder],
        *,
        chunk_tokens: int = 320,
        store: str = "",
    ) -> None:
        self.root = root
        self.store = store
        self._chunk_tokens = chunk_tokens
        self._embedder = embedder

    def path_of(self, name: str) -> Path:
        """The path of a collection, existing or not. Raises KnowledgeError for an invalid name."""
        key = _key(display_name(name))
        if key == DEFAULT:
            return self.root / "index"
        slug = re.sub(r"[^a-z0-9]+", "-", key)[:32].strip("-") or "c"
        return self.root / "collections" / f"{slug}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    def list(self) -> list[CollectionInfo]:
        """Every collection: the default one first, the others by name."""
        others = sorted((self.root / "collections").glob("*/" + CATALOG))
        files = [file for file in others if not file.parent.name.startswith(".")]
        found = sorted((_info(file.parent) for file in files), key=lambda info: _key(info.name))
        own = self.root / "index"
        return [_info(own, DEFAULT), *found] if (own / CATALOG).exists() else found

    def find(self, name: str) -> CollectionInfo:
        """The collection of a name. Raises KnowledgeError, with the nearest name, if there is
        none."""
        path = self.path_of(name)
        if (path / CATALOG).exists():
            return _info(path, DEFAULT if path.parent == self.root else "")
        known = {_key(info.name): info.name for info in self.list()}
        near = get_close_matches(_key(display_name(name)), known, n=1, cutoff=0.4)
        listing = name_project("See: agentkit kb list", path)
        hint = f"Did you mean {known[near[0]]!r}?" if near else listing
        raise KnowledgeError(f"There is no collection {name!r}. {hint}")

    def open(self, name: str) -> KnowledgeBase:
        """Open an existing collection. Raises KnowledgeError."""
        return self._opened(self.find(name).path)

    def create(self, name: str) -> KnowledgeBase:
        """Create a collection and open it. Raises KnowledgeError if the name is taken."""
        shown, path = display_name(name), self.path_of(name)
        if (path / CATALOG).exists():
            raise KnowledgeError(f"There is a collection {shown!r} already. Choose another name.")
        opened = self._opened(path)
        name_catalog(path, shown)
        return opened

    async def remove(self, name: str) -> None:
        """Delete a collection's folder. Raises KnowledgeError if there is none or another process
        writes to it."""
        path = self.find(name).path
        async with writing(path, _WAIT):
            if self.store:
                await asyncio.to_thread(_delete_from_server, path, self.store)
            aside = _set_aside(path)
        await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)

    def _opened(self, path: Path) -> KnowledgeBase:
        return KnowledgeBase.open(
            path, self._embedder(), chunk_tokens=self._chunk_tokens, store=self.store
        )


def _delete_from_server(path: Path, store: str) -> None:
    """Delete an index's vectors from a server, which would keep them forever."""
    vectors = open_store(path, store)
    vectors.clear()
    vectors.close()


def display_name(name: str) -> str:
    """A normalized name: composed, single spaces. Raises KnowledgeError for an invalid one."""
    shown = " ".join(unicodedata.normalize("NFC", name).split(" ")).strip()
    shown = re.sub(" +", " ", shown)
    bad = [c for c in shown if unicodedata.category(c) in _FORBIDDEN and c not in _JOINERS]
    if bad or len(shown) > MAX_NAME or not shown.strip(_JOINERS):
        fault = "holds control characters" if bad else "is empty or too long"
        raise KnowledgeError(
            f"The name {name[:MAX_NAME]!a} {fault}. Use 1 to {MAX_NAME} letters, digits, signs."
        )
    return shown


def name_catalog(path: Path, name: str) -> None:
    """Write a display name into the catalog of a folder."""
    catalog = Catalog(path / CATALOG)
    catalog.set_meta({"name": name})
    catalog.close()


async def put_in_place(new: Path, path: Path) -> None:
    """Move a new collection to `path`; only then an old one there is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        new.rename(path)
        return
    async with writing(path, _WAIT):
        aside = _set_aside(path)
        try:
            new.rename(path)
        except BaseException:
            aside.rename(path)
            raise
    await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)


def restore_aside(path: Path) -> None:
    """Restore the old collection after a crash between the two renames of a replacement."""
    aside = path.with_name(_ASIDE + path.name)
    if aside.exists() and not path.exists():
        aside.rename(path)


def _set_aside(path: Path) -> Path:
    aside = path.with_name(_ASIDE + path.name)
    shutil.rmtree(aside, ignore_errors=True)
    return path.rename(aside)


def size_of(path: Path) -> int:
    """The size of a folder's files, without those that vanish meanwhile."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _key(name: str) -> str:
    """A key that is equal for names that read the same."""
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", folded).translate(dict.fromkeys(map(ord, _JOINERS)))


def _info(path: Path, name: str = "") -> CollectionInfo:
    size = size_of(path)
    try:
        with open_read_only(path / CATALOG) as connection:
            documents = int(read_value(connection, "SELECT count(*) FROM documents"))
            chunks = int(
                read_value(connection, "SELECT count(*) FROM chunks WHERE state = 'active'")
            )
            shown = name or read_meta(connection, "name") or path.name
            return CollectionInfo(
                shown, path, documents, chunks, size, read_meta(connection, "embedder")
            )
    except sqlite3.Error as error:
        return CollectionInfo(name or path.name, path, bytes=size, problem=str(error))


_LARGEST = 5
_FULL_TEXT = (
    "SELECT (SELECT coalesce(sum(length(block)), 0) FROM full_text_data)"
    " + (SELECT coalesce(sum(length(c0) + length(c1)), 0) FROM full_text_content)"
)


@dataclass(frozen=True, slots=True)
class Stats:
    """Sizes in bytes; `indexed_at` is the Unix time of the last write."""

    name: str
    path: Path
    embedder: str
    dimension: int
    documents: int
    characters: int
    chunks: int
    mean_characters: int
    indexed_at: float
    bytes: int
    catalog_bytes: int
    full_text_bytes: int
    vector_bytes: int
    chroma_bytes: int
    token_bytes: int
    largest: tuple[tuple[str, int], ...]


def token_bytes(index: Path) -> int:
    """The size of the file that keeps token vectors, 0 where there is none."""
    return sum(path.stat().st_size for path in index.glob(TOKENS + "*"))


def stats_of(info: CollectionInfo) -> Stats:
    """Read a collection's figures. Raises KnowledgeError where its catalog cannot be read."""
    try:
        with open_read_only(info.path / CATALOG) as connection:
            return _stats(info, connection)
    except sqlite3.Error as error:
        step = name_project("Run: agentkit kb doctor", info.path)
        raise KnowledgeError(f"{info.name} cannot be read ({error}). {step}") from error


def _stats(info: CollectionInfo, connection: sqlite3.Connection) -> Stats:
    def number(sql: str) -> int:
        return int(read_value(connection, sql) or 0)

    files = [path for path in info.path.glob(CATALOG + "*") if not path.name.endswith("-shm")]
    largest = connection.execute(
        f"SELECT source, length(text) FROM documents ORDER BY 2 DESC, 1 LIMIT {_LARGEST}"
    )
    return Stats(
        name=info.name,
        path=info.path,
        embedder=read_meta(connection, "embedder"),
        dimension=number("SELECT length(vector) / 4 FROM embeddings LIMIT 1"),
        documents=info.documents,
        characters=number("SELECT sum(length(text)) FROM documents"),
        chunks=info.chunks,
        mean_characters=number("SELECT avg(length(text)) FROM chunks WHERE state = 'active'"),
        indexed_at=max((path.stat().st_mtime for path in files), default=0.0),
        bytes=info.bytes,
        catalog_bytes=sum(path.stat().st_size for path in files),
        full_text_bytes=number(_FULL_TEXT),
        vector_bytes=number("SELECT sum(length(vector)) FROM embeddings"),
        chroma_bytes=size_of(info.path / "chroma"),
        token_bytes=token_bytes(info.path),
        largest=tuple((source, characters) for source, characters in largest),
    )
