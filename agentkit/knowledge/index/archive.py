"""Export a collection to one file and import it elsewhere: a zip with a manifest and the catalog.

Full text and Chroma are left out and rebuilt on import, without embedding. An archive is untrusted:
names, sizes, hashes, schema and every value are checked, and its rows are copied into a catalog
that is created here. A stranger's SQLite file could contain triggers, views and broken indexes, so
only plain rows of the right types are copied. The same collection gives the same bytes.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.errors import KnowledgeError, file_error, value_error
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
    PREVIOUS_VERSION,
    SCHEMA_VERSION,
    create_tables,
    fill_full_text,
    open_read_only,
    read_json_parts,
    read_meta,
    read_value,
    unpack_parts,
)

MANIFEST = "manifest.json"
MAX_BYTES = 50_000_000_000
_MAX_MANIFEST = 100_000
_MAX_RATIO = 200
_BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DERIVED = ("full_text", "vocabulary")
_LOCAL_META = ("name", "generation", "chroma")
_FORGET_ORIGINS = (
    "UPDATE documents SET origin = ''",
    "DELETE FROM files",
    "DELETE FROM meta WHERE key LIKE 'folder %'",
)
"""The folders of one machine mean nothing on another: documents travel as if added by hand."""
_PAGE = 1000
_READERS: Mapping[tuple[str, str], Callable[[Any], object]] = {
    ("metadata", "TEXT"): json.loads,
    ("parts", "TEXT"): read_json_parts,
    ("parts", "BLOB"): unpack_parts,
}
"""How a column is read that has a form of its own, by its name and type."""
_TYPES = {"TEXT": str, "INTEGER": int, "BLOB": bytes}


class Manifest(BaseModel):
    """The description of an archive; `sha256` and `bytes` are those of its catalog."""

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
    """Write the collection in a folder to a file, as it is at one instant; writers are not blocked.
    Raises KnowledgeError."""
    if file.exists() and not replace:
        raise KnowledgeError(f"{file} exists. Choose another name, or add --replace.")
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=file.parent) as folder:
            copy = Path(folder) / CATALOG
            with (
                open_read_only(index / CATALOG) as connection,
                closing(sqlite3.connect(copy)) as target,
            ):
                connection.backup(target)
            _strip(copy)
            manifest = _describe(copy, name)
            _write_zip(copy, manifest, Path(folder) / "archive.zip")
            os.replace(Path(folder) / "archive.zip", file)
    except (OSError, sqlite3.Error) as error:
        raise KnowledgeError(f"{file} cannot be written from {index}: {error}.") from error
    return manifest


async def import_archive(
    file: Path, collections: Collections, *, name: str = "", replace: bool = False
) -> Manifest:
    """Create a collection from an archive, under its own name or another: whole or not at all.
    Raises KnowledgeError."""
    with _open_zip(file) as archive:
        manifest = _read_manifest(archive, file)
        shown = display_name(name or manifest.name)
        target = collections.path_of(shown)
        restore_aside(target)
        if target.exists() and not replace:
            raise KnowledgeError(
                f"There is a collection {shown!r} already. Use --name NEW, or --replace."
            )
        root = collections.root
        root.mkdir(parents=True, exist_ok=True)
        needed = 4 * manifest.bytes
        if shutil.disk_usage(root).free < needed:
            raise KnowledgeError(f"The disk of {root} has no room for {needed / 1e6:.0f} MB.")
        with tempfile.TemporaryDirectory(prefix=".import-", dir=root) as folder:
            label = "" if target.parent == root else shown
            await asyncio.to_thread(_build, archive, manifest, Path(folder), label)
            await put_in_place(Path(folder) / "index", target)
    return manifest.model_copy(update={"name": shown})


def _strip(file: Path) -> None:
    """Keep the active chunks only, without full text and this machine's folders."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN")
        connection.execute("DELETE FROM chunks WHERE state != 'active'")
        connection.execute(
            "DELETE FROM embeddings WHERE content NOT IN (SELECT content FROM chunks)"
        )
        connection.executemany("DELETE FROM meta WHERE key = ?", [(k,) for k in _LOCAL_META])
        for statement in _FORGET_ORIGINS:
            connection.execute(statement)
        for table in reversed(_DERIVED):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("COMMIT")
        connection.execute("VACUUM")


def _describe(copy: Path, name: str) -> Manifest:
    with open_read_only(copy) as connection:
        return Manifest(
            name=name,
            table_format=read_meta(connection, "schema"),
            embedder=read_meta(connection, "embedder"),
            documents=read_value(connection, "SELECT count(*) FROM documents"),
            chunks=read_value(connection, "SELECT count(*) FROM chunks"),
            sha256=_hash(copy),
            bytes=copy.stat().st_size,
        )


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_zip(catalog: Path, manifest: Manifest, file: Path) -> None:
    def member(name: str, size: int = 0) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, _EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        info.file_size = size
        return info

    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr(member(MANIFEST), manifest.model_dump_json(indent=2))
        with (
            catalog.open("rb") as source,
            archive.open(member(CATALOG, manifest.bytes), "w") as target,
        ):
            shutil.copyfileobj(source, target, _BLOCK)


@contextmanager
def _open_zip(file: Path) -> Iterator[zipfile.ZipFile]:
    """The archive. Every error of zipfile on a damaged or hostile one becomes a KnowledgeError."""
    try:
        opened = zipfile.ZipFile(file)
    except OSError as error:
        raise KnowledgeError(file_error(file, error)) from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise KnowledgeError(
            f"{file} is not an agentkit archive: it is not a zip file. "
            "Write one with: agentkit kb export"
        ) from error
    try:
        with opened as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise KnowledgeError(
            f"{file} is damaged ({error}). Write it again with: agentkit kb export"
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise KnowledgeError(
            f"{file} cannot be imported: {error}. Check the disk and its permissions."
        ) from error


def _read_manifest(archive: zipfile.ZipFile, file: Path) -> Manifest:
    members = {member.filename: member for member in archive.infolist()}
    if sorted(members) != sorted((MANIFEST, CATALOG)) or len(archive.infolist()) != 2:
        raise KnowledgeError(f"{file} is not an agentkit archive: it contains other files.")
    if members[MANIFEST].file_size > _MAX_MANIFEST:
        raise KnowledgeError(f"{file} is not an agentkit archive: its manifest is too large.")
    try:
        with archive.open(MANIFEST) as stream:
            manifest = Manifest.model_validate_json(stream.read(_MAX_MANIFEST + 1))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or MANIFEST
        raise KnowledgeError(
            f"{file} cannot be read here: {where}: {value_error(fault)}."
        ) from error
    catalog = members[CATALOG]
    is_bomb = catalog.file_size > _MAX_RATIO * max(catalog.compress_size, 5000)
    if catalog.file_size != manifest.bytes or is_bomb:
        raise KnowledgeError(f"{file} is damaged: the size of its catalog is not the stated one.")
    if manifest.table_format not in (SCHEMA_VERSION, PREVIOUS_VERSION):
        raise KnowledgeError(
            f"{file} has schema version {manifest.table_format}, this agentkit reads "
            f"{SCHEMA_VERSION}. Export it again with the same version of agentkit."
        )
    return manifest


def _build(archive: zipfile.ZipFile, manifest: Manifest, folder: Path, label: str) -> None:
    """Create the whole collection in `folder`/index, and check it against the manifest."""
    incoming, index = folder / "incoming.sqlite", folder / "index"
    with archive.open(CATALOG) as source, incoming.open("wb") as target:
        left = manifest.bytes
        while left > 0 and (block := source.read(min(left, _BLOCK))):
            target.write(block)
            left -= len(block)
    if incoming.stat().st_size != manifest.bytes or _hash(incoming) != manifest.sha256:
        raise KnowledgeError(f"{archive.filename} is damaged: its catalog has another hash.")
    index.mkdir()
    _copy_rows(incoming, index / CATALOG, manifest.table_format)
    Catalog(index / CATALOG).close()  # Upgrades one of the previous version.
    if found := check(index / CATALOG):
        raise KnowledgeError(
            f"{archive.filename} is not sound: {found[0].part}: {found[0].message}."
        )
    with open_read_only(index / CATALOG) as connection:
        stored = (
            read_value(connection, "SELECT count(*) FROM documents"),
            read_value(connection, "SELECT count(*) FROM chunks"),
            read_meta(connection, "embedder"),
        )
    if stored != (manifest.documents, manifest.chunks, manifest.embedder):
        raise KnowledgeError(f"{archive.filename} is damaged: it contradicts its manifest.")
    name_catalog(index, label)
    rebuild_chroma(index)


def _copy_rows(source: Path, target: Path, version: str) -> None:
    """Create a catalog at `target` from the rows of an untrusted one of a schema version. Raises
    KnowledgeError."""
    with (
        open_read_only(source) as incoming,
        closing(sqlite3.connect(target, isolation_level=None)) as own,
    ):
        create_tables(own, version)
        schema = _schema(own)
        if _schema(incoming) != schema:  # another table, a trigger, a view
            raise KnowledgeError(
                "The archive's tables are not those of this agentkit. Export it again."
            )
        answer = incoming.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if answer != "ok":
            raise KnowledgeError(f"The archive's catalog is damaged: {answer}. Export it again.")
        own.execute("BEGIN IMMEDIATE")
        for table in sorted(name for kind, name, _ in schema if kind == "table"):
            columns = own.execute(f"PRAGMA table_info({table})").fetchall()
            marks = ", ".join("?" * len(columns))
            rows = incoming.execute(f"SELECT * FROM {table} ORDER BY rowid")
            while page := rows.fetchmany(_PAGE):
                for row in page:
                    _check_row(table, columns, row)
                own.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", page)
        for statement in _FORGET_ORIGINS:
            own.execute(statement)
        fill_full_text(own)
        own.execute("COMMIT")


def _schema(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return {row for row in rows if not row[1].startswith(_DERIVED)}


def _check_row(table: str, columns: list[tuple[object, ...]], row: tuple[object, ...]) -> None:
    """Check that every value has its column's type, which SQLite does not. Raises
    KnowledgeError."""
    for (_, name, kind, required, _, key), cell in zip(columns, row, strict=True):
        fits = type(cell) is _TYPES[str(kind)] or (cell is None and not required and not key)
        if fits and (read := _READERS.get((str(name), str(kind)))):
            try:
                read(cell)
            except (ValueError, RecursionError):
                fits = False
        if not fits:
            raise KnowledgeError(f"The archive's table {table} has a wrong value in {name}.")
