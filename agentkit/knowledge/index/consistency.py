"""Check a catalog against itself: the file, its passages, their vectors and their full text.

SQLite keeps no checksums: a byte changed inside a text is found where passage and document
disagree, a byte changed in a vector where its length is no longer one.

Compare Chroma with the catalog in a process of its own: a damaged HNSW file can end the process
that reads it, or keep it busy for ever.

Nothing is mended here. Every vector is compared, not a sample.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit.findings import Finding, Level, counted, join_names
from agentkit.knowledge.index.catalog import OUTDATED
from agentkit.knowledge.index.schema import (
    CATALOG,
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
_BARE = "a text but no passages"
_REPAIR_THEN_INDEX = f"{REPAIR}, then index its file again."
_LIVE_AND_FULL = ("number FROM chunks WHERE state = 'active'", "rowid FROM full_text")
_LIVE = "FROM chunks LEFT JOIN embeddings USING (content) WHERE state = 'active'"
_LIVE_VECTORS = f"SELECT id, source, vector {_LIVE} ORDER BY number"


def check(file: Path) -> list[Finding]:
    """What is wrong inside a catalog; after damage to the file itself nothing else is looked at."""
    try:
        with open_read_only(file) as connection:
            return _whole(connection) or [
                *_documents(connection),
                *_vectors(connection),
                *_full_text(connection),
            ]
    except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
        return [_damaged(f"it cannot be read ({error})")]


def unfinished(file: Path) -> list[Finding]:
    """What a writer that was killed left behind. Ask while nobody writes."""
    with open_read_only(file) as connection:
        number = read_value(connection, "SELECT count(*) FROM chunks WHERE state != 'active'")
        stale = read_meta(connection, "chroma") == OUTDATED
    left = f"{counted(number, 'passage')} left by a write that was cut short"
    found = [_repairable("catalog", left, "warning")] if number else []
    cut = _repairable("chroma", "a rebuild of it was cut short", "warning")
    return [*found, cut] if stale else found


def sound_vectors(connection: sqlite3.Connection) -> tuple[list[str], NDArray[np.float32]]:
    """Ids and vectors of the live passages whose vector can be used, shape (ids, dimension)."""
    length = _usual_length(connection)
    ids: list[str] = []
    found: list[NDArray[np.float32]] = []
    for id_, _, blob in connection.execute(_LIVE_VECTORS):
        if length and _fault(blob, length) is None:
            ids.append(id_)
            found.append(np.frombuffer(blob, np.float32))
    return ids, np.stack(found) if found else np.empty((0, 0), np.float32)


def unsound_contents(connection: sqlite3.Connection) -> list[str]:
    """The names of the live passages' vectors that cannot be used."""
    length = _usual_length(connection)
    rows = connection.execute(f"SELECT content, vector {_LIVE}")
    return [content for content, blob in rows if _fault(blob, length)]


def unsound_documents(connection: sqlite3.Connection) -> list[str]:
    """The ids of the documents that have to be indexed again."""
    length = _usual_length(connection)
    rows = connection.execute(f"SELECT document_id, vector {_LIVE}")
    without = {id_ for id_, blob in rows if _fault(blob, length)}
    return sorted(without | {id_ for _, id_, _ in _torn(connection)})


def _whole(connection: sqlite3.Connection) -> list[Finding]:
    """Whether SQLite finds its own structures in order, and the tables are ours."""
    answers = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    if answers != ["ok"]:
        return [_damaged(f"SQLite says: {'; '.join(map(str, answers))}")]
    version = read_meta(connection, "schema")
    if version == SCHEMA_VERSION:
        return []
    problem = f"it has format {version or 'unknown'}, this agentkit reads {SCHEMA_VERSION}"
    return [Finding("problem", "catalog", problem, "Delete the index's folder and index again.")]


def _documents(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Passages belong to a document and are slices of its text; every text has passages."""
    orphans = read_value(
        connection,
        "SELECT count(*) FROM chunks WHERE state = 'active'"
        " AND document_id NOT IN (SELECT id FROM documents)",
    )
    if orphans:
        yield _repairable("documents", f"{counted(orphans, 'passage')} of no document")
    faults: dict[str, list[str]] = {}
    for fault, _, source in _torn(connection):
        faults.setdefault(fault, []).append(source)
    for fault, sources in faults.items():
        yield _again("documents", fault, sources)


def _torn(connection: sqlite3.Connection) -> Iterator[tuple[str, str, str]]:
    """(what is wrong, id, source) of documents and passages that do not fit each other."""
    for id_, source, text in connection.execute("SELECT id, source, text FROM documents"):
        chunks = connection.execute(
            "SELECT text, start, end FROM chunks WHERE document_id = ? AND state = 'active'", (id_,)
        ).fetchall()
        if any(text[start:end] != chunk for chunk, start, end in chunks):
            yield "passages that are not in its text", id_, source
        elif not chunks and text.strip():
            yield _BARE, id_, source


def _vectors(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Every live passage has a vector of length one, of the same dimension as the others."""
    length = _usual_length(connection)
    faults: dict[str, Counter[str]] = {}
    for _, source, blob in connection.execute(_LIVE_VECTORS):
        if fault := _fault(blob, length):
            faults.setdefault(fault, Counter())[source] += 1
    for fault, sources in faults.items():
        yield _again("vectors", fault, list(sources))


def _usual_length(connection: sqlite3.Connection) -> int:
    """The bytes of most live vectors, 0 where there is none."""
    return int(
        read_value(
            connection,
            f"SELECT length(vector) {_LIVE} AND vector IS NOT NULL"
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


def _full_text(connection: sqlite3.Connection) -> list[Finding]:
    """The full text holds the live passages and no others."""
    try:
        lacking, extra = (
            read_value(connection, f"SELECT count(*) FROM (SELECT {a} EXCEPT SELECT {b})")
            for a, b in (_LIVE_AND_FULL, reversed(_LIVE_AND_FULL))
        )
        connection.execute("SELECT rowid FROM full_text WHERE full_text MATCH 'a'").fetchone()
    except sqlite3.DatabaseError as error:
        return [_repairable("full text", f"it cannot be read ({error})")]
    if lacking or extra:
        problem = f"it lacks {counted(lacking, 'passage')} and holds {extra} too many"
        return [_repairable("full text", problem)]
    return []


def _repairable(part: str, message: str, level: Level = "problem") -> Finding:
    return Finding(level, part, message, REPAIR, repairable=True)


def _damaged(problem: str) -> Finding:
    return Finding("problem", "catalog", f"the file is damaged: {problem}", RESTORE)


def _again(part: str, what: str, sources: list[str]) -> Finding:
    problem = f"{counted(len(sources), 'document')} with {what}: {join_names(sources)}"
    next_step = "Index its file again, or add it again." if what == _BARE else _REPAIR_THEN_INDEX
    return Finding("problem", part, problem, next_step)


_PAGE = 2000
_TOLERANCE = 1e-3
_LONGEST_WORD = 300


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many of the catalog's live vectors Chroma lacks or holds changed, and how many others
    it holds."""

    missing: int
    extra: int
    different: int


async def examined(index: Path, seconds: float) -> list[Finding]:
    """What is wrong with the Chroma in an index's folder, asked of a child process."""
    if not (index / "chroma").is_dir():
        with open_read_only(index / CATALOG) as connection:
            ids, _ = sound_vectors(connection)
        return [_repairable("chroma", "its folder is not there")] if ids else []
    command = [sys.executable, "-P", "-m", __name__, str(index)]
    answer = await answered(command, seconds)
    if isinstance(answer, Finding):
        return [answer]
    return _told(Comparison(**answer))


def asked(index: Path, vectors: Vectors) -> list[Finding]:
    """What is wrong with vectors kept elsewhere: a server cannot end this process."""
    try:
        return _told(compared(index, vectors))
    except Exception as error:
        return [_repairable("chroma", f"it cannot be read ({error})")]


async def answered(command: Sequence[str], seconds: float) -> dict[str, int] | Finding:
    """The JSON that a child prints last, or what became of the child."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=nothing, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        problem = f"it was not looked at: no process can be started ({error.strerror})"
        return Finding("warning", "chroma", problem, "Look again where processes can be started.")
    try:
        out, said = await asyncio.wait_for(child.communicate(), seconds)
    except TimeoutError:
        return _repairable("chroma", f"reading it took more than {seconds:.0f} s and was ended")
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    if child.returncode:
        return _repairable("chroma", _ending(child.returncode, said.decode(errors="replace")))
    answer: dict[str, int] = json.loads(out.splitlines()[-1])
    return answer


def compared(index: Path, vectors: Vectors) -> Comparison:
    """Read all of Chroma, which may end this process."""
    with open_read_only(index / CATALOG) as connection:
        ids, truth = sound_vectors(connection)
    place = {id_: at for at, id_ in enumerate(ids)}
    held = vectors.count()
    found = different = 0
    for page, stored in _pages(vectors, held):
        known = [at for at, id_ in enumerate(page) if id_ in place]
        found += len(known)
        different += _different(stored[known], truth[[place[page[at]] for at in known]])
    if len(ids):
        vectors.query(truth[0], min(len(ids), 5))
    return Comparison(len(ids) - found, held - found, different)


def _pages(vectors: Vectors, count: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    collection = vectors._opened()
    for at in range(0, count, _PAGE):
        got = collection.get(limit=_PAGE, offset=at, include=["embeddings"])
        yield got["ids"], np.asarray(got["embeddings"], np.float32)


def _different(stored: NDArray[np.float32], truth: NDArray[np.float32]) -> int:
    """How many rows point elsewhere."""
    if stored.shape != truth.shape:
        return len(truth)
    lengths = np.maximum(np.linalg.norm(stored, axis=1, keepdims=True), 1e-12)
    return int((np.abs(stored / lengths - truth).max(axis=1, initial=0) > _TOLERANCE).sum())


def _told(comparison: Comparison) -> list[Finding]:
    c = comparison
    faults: list[tuple[int, str, Level]] = [
        (c.missing, f"it lacks {counted(c.missing, 'passage')} of the catalog", "problem"),
        (
            c.different,
            f"it holds {counted(c.different, 'vector')} other than the catalog's",
            "problem",
        ),
        (
            c.extra,
            f"it holds {counted(c.extra, 'vector')} that the catalog does not know",
            "warning",
        ),
    ]
    return [_repairable("chroma", problem, how) for number, problem, how in faults if number]


def _ending(code: int, said: str) -> str:
    if code < 0:
        return f"the process that read it was ended by {signal.Signals(-code).name}"
    last = [line for line in said.splitlines() if line.strip()][-1:]
    return f"it cannot be read ({''.join(last)[:_LONGEST_WORD].strip()})"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(json.dumps(asdict(compared(folder, Vectors(folder / "chroma")))))
