"""Indexing under faults: killed at any step, with failing parts, without disk, with rivals. Nothing
published is lost or doubled, search answers, and the next run ends with what a fresh one gives.

AGENTKIT_CHAOS_SEEDS says how many seeds are tried.
"""

import asyncio
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.index.doctor import diagnose
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.knowledge_base import KnowledgeBase
from tests.chaos.child import CHUNK_TOKENS, PUBLISHED_CHUNKS, index
from tests.conftest import TermEmbedder

pytestmark = pytest.mark.slow

SEEDS = range(int(os.environ.get("AGENTKIT_CHAOS_SEEDS", "10")))
STEPS = 120
SECONDS = 0.5
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.chaos.child"])
COUNTS: Counter[str] = Counter()
WORDS = ("注意力", "gradient", "显存", "token", "量化", "layer", "模型", "weights", "训练", "loss")

Notes = dict[str, str]


@pytest.fixture(scope="module", autouse=True)
def _print_counts() -> Iterator[None]:
    yield
    print(f"\n{len(SEEDS)} seeds")
    for name, count in sorted(COUNTS.items()):
        print(f"{count:6} {name}")


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_killed_run_loses_and_doubles_nothing(seed: Any, tmp_path: Path) -> None:
    chance = random.Random(seed)
    before: Notes = {}
    now = _fresh_notes(chance)
    for _ in range(2):
        _write(tmp_path / "notes", now)
        for _ in range(chance.randint(1, 2)):  # the second dies while it repairs
            await _killed(tmp_path, chance)
            await _check_between(tmp_path, before, now)
        await _check_whole(tmp_path, now)
        before, now = now, _mutated(now, chance)


@pytest.mark.parametrize("seed", SEEDS)
async def test_failing_calls_lose_and_double_nothing(seed: Any, tmp_path: Path) -> None:
    chance = random.Random(seed)
    before: Notes = {}
    now = _fresh_notes(chance)
    faults = Faults(chance.randint(1, 9), most=4)
    embedder = FailingEmbedder(faults)
    for _ in range(2):
        _write(tmp_path / "notes", now)
        for _ in range(faults.most + 1):
            vectors = FailingVectors(tmp_path / "index" / "chroma", faults)
            if await _tried(tmp_path, embedder, vectors):
                break
            await _check_between(tmp_path, before, now)
        await _check_whole(tmp_path, now)
        before, now = now, _mutated(now, chance)
        faults.left = faults.most
    assert len(embedder.embedded) == len(set(embedder.embedded))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_full_disk_loses_and_doubles_nothing(seed: Any, tmp_path: Path) -> None:
    chance = random.Random(seed)
    before = _fresh_notes(chance)
    now = _mutated(before, chance)
    _write(tmp_path / "notes", before)
    await _check_whole(tmp_path, before)
    _write(tmp_path / "notes", now)
    most_bytes = chance.choice([0, 1, 10_000, 60_000, 150_000, 400_000])
    code = _child(tmp_path, most_bytes=most_bytes, most_pages=0 if most_bytes else 1 + seed % 12)
    COUNTS[f"disk full: {'an error' if code == 3 else 'enough room' if code == 0 else code}"] += 1
    assert code in (0, 3)
    await _check_between(tmp_path, before, now)
    await _check_whole(tmp_path, now)


async def test_two_writers_take_turns(tmp_path: Path) -> None:
    now = _fresh_notes(random.Random(0))
    _write(tmp_path / "notes", now)
    rivals = [_started(tmp_path) for _ in range(2)]
    codes = [await asyncio.to_thread(_code, rival) for rival in rivals]
    COUNTS["two writers: both done"] += codes == [0, 0]
    assert codes == [0, 0]
    await _check_whole(tmp_path, now)


class Faults:
    """Fails every n-th call, until there were enough of them: an outage ends."""

    def __init__(self, every: int, most: int) -> None:
        self.every, self.most, self.left, self.calls = every, most, most, 0

    def check(self, name: str) -> None:
        self.calls += 1
        if self.calls % self.every == 0 and self.left:
            self.left -= 1
            COUNTS[f"failed: {name}"] += 1
            raise ConnectionError(f"{name} is down")


class MemoryVectors(Vectors):
    """As good as Chroma for an index that nobody searches."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._ids: set[str] = set()

    def count(self) -> int:
        return len(self._ids)

    def upsert(self, ids: Any, vectors: Any) -> None:
        self._ids |= set(ids)

    def delete(self, ids: Any) -> None:
        self._ids -= set(ids)

    def clear(self) -> None:
        self._ids.clear()


class FailingEmbedder(TermEmbedder):
    passages_per_call = 4

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    async def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        self._faults.check("an embedding call")
        return await super().embed_passages(texts)


class FailingVectors(Vectors):
    def __init__(self, path: Path, faults: Faults) -> None:
        super().__init__(path)
        self._faults = faults

    def count(self) -> int:
        self._faults.check("Chroma's count")
        return super().count()

    def upsert(self, ids: Any, vectors: Any) -> None:
        self._faults.check("Chroma's upsert")
        super().upsert(ids, vectors)

    def delete(self, ids: Any) -> None:
        self._faults.check("Chroma's delete")
        super().delete(ids)


async def _tried(home: Path, embedder: FailingEmbedder, vectors: FailingVectors) -> bool:
    kb = _open(home / "index", embedder, vectors)
    try:
        await kb.add_path(home / "notes")
    except (ConnectionError, KnowledgeError):
        return False
    finally:
        kb.close()
    return True


async def _killed(home: Path, chance: random.Random) -> None:
    """Index in a child that is killed, at a step or at an instant."""
    if chance.random() < 0.7:
        code = await asyncio.to_thread(_child, home, dies_at=chance.randint(1, STEPS))
    else:
        child = _started(home)
        await asyncio.sleep(chance.uniform(0.02, SECONDS))
        child.kill()
        code = await asyncio.to_thread(_code, child)
    phase = (home / "phase").read_text().strip() if (home / "phase").exists() else "forking"
    COUNTS[f"killed: {phase}" if code else "not killed: had ended before"] += 1
    assert code in (0, -9)


def _child(home: Path, dies_at: int = 0, most_bytes: int = 0, most_pages: int = 0) -> int:
    return _code(_started(home, dies_at, most_bytes, most_pages))


def _started(
    home: Path, dies_at: int = 0, most_bytes: int = 0, most_pages: int = 0
) -> ForkServerProcess:
    child = FORKS.Process(target=index, args=(home, dies_at, most_bytes, most_pages, 60.0))
    child.start()
    return child


def _code(child: ForkServerProcess) -> int:
    child.join(60)
    code = child.exitcode
    assert code is not None
    child.close()
    return code


async def _check_between(home: Path, before: Notes, now: Notes) -> None:
    """After a fault: every document whole, as it was or as it is to be, and found by search."""
    vectors = Vectors(home / "index" / "chroma")
    kb = _open(home / "index", TermEmbedder(), vectors)
    try:
        held = {d.source for d in await kb.documents()}
        assert before.keys() & now.keys() <= held <= before.keys() | now.keys()
        for source in held:
            text = (await kb.document(source)).text
            assert text in (before.get(source), now.get(source))
            if before.get(source) == now.get(source):
                assert any(h.chunk.text in text for h in await kb.search(text[:60], k=10))
        with closing(_catalog_of(kb)) as catalog:
            _check_chunks(catalog)
            if catalog.meta("chroma") != "outdated" and held:
                assert _active(catalog) <= set(_in_chroma(vectors))
    finally:
        kb.close()


async def _check_whole(home: Path, now: Notes) -> None:
    """The next run ends the work: the index is sound and equals a fresh one, chunk for chunk."""
    vectors = Vectors(home / "index" / "chroma")
    kb = _open(home / "index", TermEmbedder(), vectors)
    await kb.add_path(home / "notes")
    assert {d.source: (await kb.document(d.source)).text for d in await kb.documents()} == now
    fresh = _open(home / f"fresh{time.monotonic_ns()}", TermEmbedder(), MemoryVectors())
    await fresh.add_path(home / "notes")
    with closing(_catalog_of(kb)) as catalog, closing(_catalog_of(fresh)) as other:
        _check_chunks(catalog)
        assert sorted(_in_chroma(vectors)) == sorted(_active(catalog))
        assert await diagnose(home / "index", vectors=vectors) == []
        assert _rows(catalog) == _rows(other)
    fresh.close()
    kb.close()
    COUNTS["recovered: equal to a fresh index"] += 1


def _check_chunks(catalog: Catalog) -> None:
    """Passages are slices of their document, none twice, and cover it."""
    rows = catalog.rows(
        "SELECT documents.source, documents.text, chunks.text, start, end FROM documents"
        " LEFT JOIN chunks ON document_id = documents.id AND state = 'active'"
    )
    spans = [(source, start, end) for source, _, _, start, end in rows]
    assert len(spans) == len(set(spans))
    covered: Counter[str] = Counter()
    for source, text, chunk, start, end in rows:
        assert text[start:end] == chunk
        covered[source] += len("".join(chunk.split()))
    assert all(covered[source] == len("".join(text.split())) for source, text, *_ in rows)


def _rows(catalog: Catalog) -> list[tuple[Any, ...]]:
    return catalog.rows(
        "SELECT chunks.id, chunks.source, chunks.title, heading, chunks.text, start, end, hash,"
        " content, vector, terms FROM chunks JOIN documents ON document_id = documents.id"
        " JOIN embeddings USING (content) JOIN full_text ON full_text.rowid = number"
        " WHERE state = 'active' ORDER BY chunks.id"
    )


def _active(catalog: Catalog) -> set[str]:
    return {row[0] for row in catalog.rows("SELECT id FROM chunks WHERE state = 'active'")}


def _catalog_of(kb: KnowledgeBase) -> Catalog:
    return Catalog(kb.path / "catalog.sqlite")


def _in_chroma(vectors: Vectors) -> list[str]:
    return [id_ for ids, _ in vectors.pages() for id_ in ids]


def _open(
    path: Path, embedder: FailingEmbedder | TermEmbedder, vectors: Vectors | None = None
) -> KnowledgeBase:
    return KnowledgeBase.open(
        path,
        embedder,
        chunk_tokens=CHUNK_TOKENS,
        vectors=vectors,
        published_chunks=PUBLISHED_CHUNKS,
    )


def _write(folder: Path, notes: Notes) -> None:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, text in notes.items():
        (folder / name).write_text(text, encoding="utf-8")


def _fresh_notes(chance: random.Random) -> Notes:
    return {f"{name}.md": _text(chance) for name in "abcdefgh"}


def _mutated(notes: Notes, chance: random.Random) -> Notes:
    """One file removed, one renamed, one copied, one new, two changed."""
    names = chance.sample(sorted(notes), 5)
    mutated = {name: text for name, text in notes.items() if name not in names[:2]}
    mutated[f"renamed-{names[1]}"] = notes[names[1]]
    mutated[f"copied-{names[2]}"] = notes[names[2]]
    mutated[names[3]] += f"\n\n{_paragraph(chance)}"
    mutated[names[4]] = _text(chance)
    mutated[f"new{chance.randint(0, 9)}.md"] = _text(chance)
    return mutated


def _text(chance: random.Random) -> str:
    sections = [f"## {chance.choice(WORDS)}\n\n{_paragraph(chance)}" for _ in range(3)]
    return "\n\n".join([f"# {chance.choice(WORDS)} {chance.randint(0, 999)}", *sections])


def _paragraph(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=12)) + f" {chance.randint(0, 9999)}."
