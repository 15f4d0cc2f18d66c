"""A collection as one file: a zip with a manifest and the catalog, to carry elsewhere.

Full text and Chroma are left out and made anew on import, without embedding. An archive is from a
stranger until proven: names, sizes, hashes, schema and every value are checked, and its rows are
copied into a catalog of our own making. The same collection gives the same bytes.

The rows of an archive: what leaves a collection, and what may enter one.

An archive's catalog is never used as a catalog: SQLite files can carry triggers, views and torn
index structures, so only plain rows of the right types pass into a file of our own making.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.index.collections import (
    Collections,
    display_name,
    name_catalog,
    put_in_place,
    restore_aside,
)
from agentkit.knowledge.index.consistency import check
from agentkit.knowledge.index.doctor import rebuild_chroma
from agentkit.knowledge.index.schema import (
    CATALOG,
    SCHEMA_VERSION,
    fill_full_text,
    open_read_only,
    read_meta,
    read_value,
)

_DERIVED = ("full_text", "vocabulary")
_LOCAL_META = ("name", "generation", "chroma")
_HOMELESS = ("UPDATE documents SET origin = ''", "DELETE FROM files")
"""A folder of one machine is none of another's: documents travel as if added by hand."""

_JSON = ("metadata", "parts")
_PAGE = 1000
_TYPES = {"TEXT": str, "INTEGER": int, "BLOB": bytes}


def strip(file: Path) -> None:
    """Leave what is live, without full text and without where this machine keeps its files."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN")
        connection.execute("DELETE FROM chunks WHERE state != 'active'")
        connection.execute(
            "DELETE FROM embeddings WHERE content NOT IN (SELECT content FROM chunks)"
        )
        connection.executemany("DELETE FROM meta WHERE key = ?", [(k,) for k in _LOCAL_META])
        for statement in _HOMELESS:
            connection.execute(statement)
        for table in reversed(_DERIVED):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("COMMIT")
        connection.execute("VACUUM")


def copy_rows(source: Path, target: Path) -> None:
    """Make a catalog at `target` of the rows of a stranger's. Raises KnowledgeError."""
    Catalog(target).close()
    with open_read_only(source) as incoming, closing(_writable(target)) as own:
        _check_schema(incoming, own)
        own.execute("BEGIN IMMEDIATE")
        for table in _tables(own):
            columns = own.execute(f"PRAGMA table_info({table})").fetchall()
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"
            for page in _pages(incoming.execute(f"SELECT * FROM {table} ORDER BY rowid")):
                for row in page:
                    _check_row(table, columns, row)
                own.executemany(statement, page)
        for statement in _HOMELESS:
            own.execute(statement)
        fill_full_text(own)
        own.execute("COMMIT")


def _writable(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None)


def _check_schema(incoming: sqlite3.Connection, own: sqlite3.Connection) -> None:
    """The tables are ours, and there is nothing else: no trigger, no view."""
    if _schema(incoming) != _schema(own):
        raise KnowledgeError(
            "The archive's tables are not those of this agentkit. Export it again."
        )
    answer = incoming.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if answer != "ok":
        raise KnowledgeError(f"The archive's catalog is damaged: {answer}. Export it again.")


def _schema(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return {row for row in rows if not row[1].startswith(_DERIVED)}


def _tables(own: sqlite3.Connection) -> list[str]:
    return sorted(name for kind, name, _ in _schema(own) if kind == "table")


def _pages(cursor: sqlite3.Cursor) -> Iterator[list[tuple[object, ...]]]:
    while page := cursor.fetchmany(_PAGE):
        yield page


def _check_row(table: str, columns: list[tuple[object, ...]], row: tuple[object, ...]) -> None:
    """Every value is of its column's type: SQLite itself would take any."""
    for (_, name, kind, required, _, key), cell in zip(columns, row, strict=True):
        fits = type(cell) is _TYPES[str(kind)] or (cell is None and not required and not key)
        if not fits or (name in _JSON and not _is_json(str(cell))):
            raise KnowledgeError(f"The archive's table {table} holds a wrong value in {name}.")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


MANIFEST = "manifest.json"
MAX_BYTES = 50_000_000_000
_MAX_MANIFEST = 100_000
_MAX_RATIO = 200
_BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Manifest(BaseModel):
    """What an archive says of itself; `sha256` and `bytes` are of the catalog in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["agentkit-knowledge"] = "agentkit-knowledge"
    version: Literal[1] = 1
    table_format: str = Field(default=SCHEMA_VERSION, max_length=20)
    name: str = Field(max_length=400)
    embedder: str = Field(max_length=400)
    documents: int = Field(ge=0)
    chunks: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0, le=MAX_BYTES)


def export_archive(index: Path, name: str, file: Path, *, replace: bool = False) -> Manifest:
    """Write the collection in a folder to a file, as it is at one instant; writers go on. Raises
    KnowledgeError."""
    if file.exists() and not replace:
        raise KnowledgeError(f"{file} exists. Choose another name, or add --replace.")
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=file.parent) as folder:
            copy = Path(folder) / CATALOG
            _copied(index / CATALOG, copy)
            manifest = _described(copy, name)
            _zipped(copy, manifest, Path(folder) / "archive.zip")
            os.replace(Path(folder) / "archive.zip", file)
    except (OSError, sqlite3.Error) as error:
        raise KnowledgeError(f"{file} cannot be written from {index}: {error}.") from error
    return manifest


async def import_archive(
    file: Path, collections: Collections, *, name: str = "", replace: bool = False
) -> Manifest:
    """Make a collection of an archive, under its own name or another. Nothing is there until all
    of it is. Raises KnowledgeError."""
    with _opened(file) as archive:
        manifest = _manifest(archive, file)
        shown = display_name(name or manifest.name)
        target = collections.path_of(shown)
        restore_aside(target)
        if target.exists() and not replace:
            raise KnowledgeError(
                f"There is a collection {shown!r} already. Use --name NEW, or --replace."
            )
        with _workshop(collections.root, manifest.bytes) as folder:
            label = "" if target.parent == collections.root else shown
            await asyncio.to_thread(_built, archive, manifest, folder, label)
            await put_in_place(folder / "index", target)
    return manifest.model_copy(update={"name": shown})


def _built(archive: zipfile.ZipFile, manifest: Manifest, folder: Path, label: str) -> None:
    """The whole collection, in `folder`/index."""
    incoming, made = folder / "incoming.sqlite", folder / "index"
    _extracted(archive, manifest, incoming)
    copy_rows(incoming, made / CATALOG)
    _verified(made, manifest, str(archive.filename))
    name_catalog(made, label)
    rebuild_chroma(made)


def _copied(source: Path, copy: Path) -> None:
    with open_read_only(source) as connection, closing(sqlite3.connect(copy)) as target:
        connection.backup(target)
    strip(copy)


def _described(copy: Path, name: str) -> Manifest:
    with open_read_only(copy) as connection:
        return Manifest(
            name=name,
            embedder=read_meta(connection, "embedder"),
            documents=read_value(connection, "SELECT count(*) FROM documents"),
            chunks=read_value(connection, "SELECT count(*) FROM chunks"),
            sha256=_hash(copy),
            bytes=copy.stat().st_size,
        )


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _zipped(catalog: Path, manifest: Manifest, file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr(_member(MANIFEST), manifest.model_dump_json(indent=2))
        with catalog.open("rb") as source:
            member = _member(CATALOG)
            member.file_size = manifest.bytes
            with archive.open(member, "w") as target:
                shutil.copyfileobj(source, target, _BLOCK)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o600 << 16
    return member


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever a damaged or hostile one makes zipfile say becomes one line."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except FileNotFoundError as error:
        raise KnowledgeError(f"{file} does not exist. Name an archive of agentkit.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise KnowledgeError(f"{file} is no archive of agentkit, or damaged: {error}.") from error
    except (OSError, sqlite3.Error) as error:
        raise KnowledgeError(f"{file} cannot be imported: {error}.") from error


def _manifest(archive: zipfile.ZipFile, file: Path) -> Manifest:
    members = {member.filename: member for member in archive.infolist()}
    if sorted(members) != sorted((MANIFEST, CATALOG)) or len(archive.infolist()) != 2:
        raise KnowledgeError(f"{file} is no archive of agentkit: it holds other files.")
    if members[MANIFEST].file_size > _MAX_MANIFEST:
        raise KnowledgeError(f"{file} is no archive of agentkit: its manifest is too large.")
    try:
        with archive.open(MANIFEST) as stream:
            manifest = Manifest.model_validate_json(stream.read(_MAX_MANIFEST + 1))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or MANIFEST
        raise KnowledgeError(f"{file} cannot be read here: {where}: {fault['msg']}.") from error
    catalog = members[CATALOG]
    bomb = catalog.file_size > _MAX_RATIO * max(catalog.compress_size, 5000)
    if catalog.file_size != manifest.bytes or bomb:
        raise KnowledgeError(f"{file} is damaged: its catalog is not of the size it says.")
    if manifest.table_format != SCHEMA_VERSION:
        raise KnowledgeError(
            f"{file} has format {manifest.table_format}, this agentkit reads {SCHEMA_VERSION}. "
            "Export it again with the same version of agentkit."
        )
    return manifest


@contextmanager
def _workshop(root: Path, size: int) -> Iterator[Path]:
    """A folder to build in, on the disk of the collections, gone at the end."""
    root.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(root).free < 4 * size:
        raise KnowledgeError(f"The disk of {root} has no room for {4 * size / 1e6:.0f} MB.")
    with tempfile.TemporaryDirectory(prefix=".import-", dir=root) as folder:
        yield Path(folder)


def _extracted(archive: zipfile.ZipFile, manifest: Manifest, file: Path) -> None:
    with archive.open(CATALOG) as source, file.open("wb") as target:
        _bounded_copy(source, target, manifest.bytes)
    if file.stat().st_size != manifest.bytes or _hash(file) != manifest.sha256:
        raise KnowledgeError(f"{archive.filename} is damaged: its catalog has another hash.")


def _bounded_copy(source: IO[bytes], target: IO[bytes], limit: int) -> None:
    left = limit
    while left > 0 and (block := source.read(min(left, _BLOCK))):
        target.write(block)
        left -= len(block)


def _verified(made: Path, manifest: Manifest, file: str) -> None:
    """The copy is sound, and what the manifest says."""
    found = check(made / CATALOG)
    with open_read_only(made / CATALOG) as connection:
        counts = [
            read_value(connection, f"SELECT count(*) FROM {t}") for t in ("documents", "chunks")
        ]
        embedder = read_meta(connection, "embedder")
    if found:
        raise KnowledgeError(f"{file} is not sound: {found[0].part}: {found[0].message}.")
    if counts != [manifest.documents, manifest.chunks] or embedder != manifest.embedder:
        raise KnowledgeError(f"{file} is damaged: it does not hold what its manifest says.")
