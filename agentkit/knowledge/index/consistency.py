"""Check a catalog against itself, and Chroma against the catalog. Nothing is changed.

SQLite keeps no checksums: a byte changed inside a text is found where chunk and document disagree,
a byte changed in a vector where its length is no longer one. Chroma is read in a child process: a
damaged HNSW file can end the process that reads it, or keep it busy forever. Every vector is
compared, not a sample.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit._child import Bounds, ChildFailed
from agentkit._child.process import call_in_child
from agentkit._child.worker import Report
from agentkit.findings import Finding, Level, join_names, quantity
from agentkit.knowledge.index.catalog import OUTDATED
from agentkit.knowledge.index.schema import (
    CATALOG,
    PREVIOUS_VERSION,
    SCHEMA_VERSION,
    open_read_only,
    read_meta,
    read_value,
)
from agentkit.knowledge.index.vectors import Vectors

REPAIR = "Run: agentkit kb doctor --repair"
RESTORE = (
    "It cannot be repaired: delete the folder and index again, or restore an archive with "
    "agentkit kb import --replace."
)
_LENGTH_ERROR = 0.01
_TOLERANCE = 1e-3
_MOST_SHOWN = 300
_BARE = "a text but no passages"
_REPAIR_THEN_INDEX = f"{REPAIR}, then index its file again."
_ACTIVE_AND_INDEXED = ("number FROM chunks WHERE state = 'active'", "rowid FROM full_text")
_ACTIVE = "FROM chunks LEFT JOIN embeddings USING (content) WHERE state = 'active'"
_ACTIVE_VECTORS = f"SELECT id, source, vector {_ACTIVE} ORDER BY number"


def check(file: Path) -> list[Finding]:
    """Check a catalog; after damage to the file itself nothing else is checked."""
    try:
        with open_read_only(file) as connection:
            return _check_file(connection) or [
                *_check_documents(connection),
                *_check_vectors(connection),
                *_check_full_text(connection),
            ]
    except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
        return [_damaged(f"it cannot be read ({error})")]


def unfinished(file: Path) -> list[Finding]:
    """What a killed writer left behind. To be called while nobody writes."""
    with open_read_only(file) as connection:
        number = read_value(connection, "SELECT count(*) FROM chunks WHERE state != 'active'")
        is_outdated = read_meta(connection, "chroma") == OUTDATED
    found = []
    if number:
        message = f"{quantity(number, 'passage')} left by an interrupted write"
        found.append(_repairable("catalog", message, "warning"))
    if is_outdated:
        found.append(_repairable("chroma", "a rebuild of it was interrupted", "warning"))
    return found


def sound_vectors(connection: sqlite3.Connection) -> tuple[list[str], NDArray[np.float32]]:
    """Ids and vectors of the active chunks whose vector can be used, shape (ids, dimension)."""
    length = _usual_length(connection)
    ids: list[str] = []
    found: list[NDArray[np.float32]] = []
    for id_, _, blob in connection.execute(_ACTIVE_VECTORS):
        if length and _fault(blob, length) is None:
            ids.append(id_)
            found.append(np.frombuffer(blob, np.float32))
    return ids, np.stack(found) if found else np.empty((0, 0), np.float32)


def unsound_contents(connection: sqlite3.Connection) -> list[str]:
    """The keys of active chunks' vectors that cannot be used."""
    length = _usual_length(connection)
    rows = connection.execute(f"SELECT content, vector {_ACTIVE}")
    return [content for content, blob in rows if _fault(blob, length)]


def unsound_documents(connection: sqlite3.Connection) -> list[str]:
    """The ids of the documents that have to be indexed again."""
    length = _usual_length(connection)
    rows = connection.execute(f"SELECT document_id, vector {_ACTIVE}")
    without = {id_ for id_, blob in rows if _fault(blob, length)}
    return sorted(without | {id_ for _, id_, _ in _inconsistent(connection)})


def _check_file(connection: sqlite3.Connection) -> list[Finding]:
    """SQLite's own structures and the schema version."""
    answers = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    if answers != ["ok"]:
        return [_damaged(f"SQLite says: {'; '.join(map(str, answers))}")]
    version = read_meta(connection, "schema")
    if version in (SCHEMA_VERSION, PREVIOUS_VERSION):
        return []
    problem = f"it has schema version {version or 'unknown'}, this agentkit reads {SCHEMA_VERSION}"
    return [Finding("problem", "catalog", problem, "Delete the index's folder and index again.")]


def _check_documents(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Chunks belong to a document and are slices of its text; every text has chunks."""
    orphans = read_value(
        connection,
        "SELECT count(*) FROM chunks WHERE state = 'active'"
        " AND document_id NOT IN (SELECT id FROM documents)",
    )
    if orphans:
        yield _repairable("documents", f"{quantity(orphans, 'passage')} of no document")
    faults: dict[str, list[str]] = {}
    for fault, _, source in _inconsistent(connection):
        faults.setdefault(fault, []).append(source)
    for fault, sources in faults.items():
        yield _documents_with("documents", fault, sources)


def _inconsistent(connection: sqlite3.Connection) -> Iterator[tuple[str, str, str]]:
    """(fault, id, source) of documents and chunks that do not fit each other."""
    for id_, source, text in connection.execute("SELECT id, source, text FROM documents"):
        chunks = connection.execute(
            "SELECT text, start, end FROM chunks WHERE document_id = ? AND state = 'active'", (id_,)
        ).fetchall()
        if any(text[start:end] != chunk for chunk, start, end in chunks):
            yield "passages that are not in its text", id_, source
        elif not chunks and text.strip():
            yield _BARE, id_, source


def _check_vectors(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Every active chunk has a vector of length one, of the same dimension as the others."""
    length = _usual_length(connection)
    faults: dict[str, Counter[str]] = {}
    for _, source, blob in connection.execute(_ACTIVE_VECTORS):
        if fault := _fault(blob, length):
            faults.setdefault(fault, Counter())[source] += 1
    for fault, sources in faults.items():
        yield _documents_with("vectors", fault, list(sources))


def _usual_length(connection: sqlite3.Connection) -> int:
    """The bytes of most active vectors, 0 where there is none."""
    return int(
        read_value(
            connection,
            f"SELECT length(vector) {_ACTIVE} AND vector IS NOT NULL"
            " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
        )
        or 0
    )


def _fault(blob: object, length: int) -> str | None:
    if blob is None:
        return "passages without a vector"
    if not isinstance(blob, bytes) or len(blob) != length or length % 4:
        return "vectors of another dimension"
    vector = np.frombuffer(blob, np.float32)
    if not np.isfinite(vector).all():
        return "vectors with numbers that are not finite"
    if abs(float(np.linalg.norm(vector)) - 1) > _LENGTH_ERROR:
        return "vectors whose length is not one"
    return None


def _check_full_text(connection: sqlite3.Connection) -> list[Finding]:
    """The full text holds the active chunks and no others."""
    try:
        lacking, extra = (
            read_value(connection, f"SELECT count(*) FROM (SELECT {a} EXCEPT SELECT {b})")
            for a, b in (_ACTIVE_AND_INDEXED, reversed(_ACTIVE_AND_INDEXED))
        )
        connection.execute("SELECT rowid FROM full_text WHERE full_text MATCH 'a'").fetchone()
    except sqlite3.DatabaseError as error:
        return [_repairable("full text", f"it cannot be read ({error})")]
    if lacking or extra:
        problem = f"it lacks {quantity(lacking, 'passage')} and holds {extra} too many"
        return [_repairable("full text", problem)]
    return []


def _repairable(part: str, message: str, level: Level = "problem") -> Finding:
    return Finding(level, part, message, REPAIR, repairable=True)


def _damaged(problem: str) -> Finding:
    return Finding("problem", "catalog", f"the file is damaged: {problem}", RESTORE)


def _documents_with(part: str, what: str, sources: list[str]) -> Finding:
    problem = f"{quantity(len(sources), 'document')} with {what}: {join_names(sources)}"
    next_step = "Index its file again, or add it again." if what == _BARE else _REPAIR_THEN_INDEX
    return Finding("problem", part, problem, next_step)


async def check_chroma(index: Path, seconds: float) -> list[Finding]:
    """Compare the Chroma in an index's folder with the catalog, in a child process."""
    if not (index / "chroma").is_dir():
        with open_read_only(index / CATALOG) as connection:
            ids, _ = sound_vectors(connection)
        return [_repairable("chroma", "its folder does not exist")] if ids else []
    try:
        counts = await call_in_child(
            f"{__name__}:compare_folder", {"index": str(index)}, bounds=Bounds(seconds=seconds)
        )
    except ChildFailed as error:
        return [_repairable("chroma", _explain(error, seconds))]
    except OSError as error:
        message = f"it was not checked: no process can be started ({error.strerror})"
        return [Finding("warning", "chroma", message, "Check it where processes can be started.")]
    return _differences(counts)


def _explain(error: ChildFailed, seconds: float) -> str:
    match error.kind:
        case "time":
            return f"reading it took more than {seconds:.0f} s and was stopped"
        case "raised":
            return f"it cannot be read ({str(error)[:_MOST_SHOWN]})"
        case _:
            return f"the process that read it {error}"


def check_store(index: Path, vectors: Vectors) -> list[Finding]:
    """Compare vectors kept elsewhere with the catalog: a server cannot end this process."""
    try:
        return _differences(compare(index, vectors))
    except Exception as error:
        return [_repairable("chroma", f"it cannot be read ({error})")]


def compare_folder(_: bytes, report: Report, index: str) -> dict[str, int]:
    """Compare the Chroma in an index's folder, in a child."""
    return compare(Path(index), Vectors(Path(index) / "chroma"))


def compare(index: Path, vectors: Vectors) -> dict[str, int]:
    """How many of the catalog's vectors Chroma lacks (`missing`) or holds changed (`different`),
    and how many others it holds (`extra`). Reads all of Chroma, which may end this process."""
    with open_read_only(index / CATALOG) as connection:
        ids, expected = sound_vectors(connection)
    place = {id_: at for at, id_ in enumerate(ids)}
    held = vectors.count()
    found = different = 0
    for page, stored in vectors.pages():
        known = [at for at, id_ in enumerate(page) if id_ in place]
        found += len(known)
        different += _count_different(stored[known], expected[[place[page[at]] for at in known]])
    if len(ids):
        vectors.query(expected[0], min(len(ids), 5))
    return {"missing": len(ids) - found, "extra": held - found, "different": different}


def _count_different(stored: NDArray[np.float32], expected: NDArray[np.float32]) -> int:
    """The number of rows that point in another direction."""
    if stored.shape != expected.shape:
        return len(expected)
    lengths = np.maximum(np.linalg.norm(stored, axis=1, keepdims=True), 1e-12)
    return int((np.abs(stored / lengths - expected).max(axis=1, initial=0) > _TOLERANCE).sum())


def _differences(counts: Mapping[str, int]) -> list[Finding]:
    messages: dict[str, tuple[str, str, Level]] = {
        "missing": ("passage", "it lacks {} of the catalog", "problem"),
        "different": ("vector", "it holds {} other than the catalog's", "problem"),
        "extra": ("vector", "it holds {} that the catalog does not know", "warning"),
    }
    return [
        _repairable("chroma", message.format(quantity(counts[name], noun)), level)
        for name, (noun, message, level) in messages.items()
        if counts[name]
    ]
