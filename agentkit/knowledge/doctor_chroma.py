"""Compare Chroma with the catalog in a process of its own: a damaged HNSW file can end the process
that reads it, or keep it busy for ever.

Nothing is mended here. Every vector is compared, not a sample.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit.knowledge.catalog_file import CATALOG, reading
from agentkit.knowledge.doctor_catalog import sound_vectors
from agentkit.knowledge.findings import Finding, Severity, counted, mendable
from agentkit.knowledge.vectors import Vectors

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
        with reading(index / CATALOG) as connection:
            ids, _ = sound_vectors(connection)
        return [mendable("chroma", "its folder is not there")] if ids else []
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
        return [mendable("chroma", f"it cannot be read ({error})")]


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
        return mendable("chroma", f"reading it took more than {seconds:.0f} s and was ended")
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    if child.returncode:
        return mendable("chroma", _ending(child.returncode, said.decode(errors="replace")))
    answer: dict[str, int] = json.loads(out.splitlines()[-1])
    return answer


def compared(index: Path, vectors: Vectors) -> Comparison:
    """Read all of Chroma, which may end this process."""
    with reading(index / CATALOG) as connection:
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
    faults: list[tuple[int, str, Severity]] = [
        (c.missing, f"it lacks {counted(c.missing, 'passage')} of the catalog", "error"),
        (
            c.different,
            f"it holds {counted(c.different, 'vector')} other than the catalog's",
            "error",
        ),
        (
            c.extra,
            f"it holds {counted(c.extra, 'vector')} that the catalog does not know",
            "warning",
        ),
    ]
    return [mendable("chroma", problem, how) for number, problem, how in faults if number]


def _ending(code: int, said: str) -> str:
    if code < 0:
        return f"the process that read it was ended by {signal.Signals(-code).name}"
    last = [line for line in said.splitlines() if line.strip()][-1:]
    return f"it cannot be read ({''.join(last)[:_LONGEST_WORD].strip()})"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(json.dumps(asdict(compared(folder, Vectors(folder / "chroma")))))
