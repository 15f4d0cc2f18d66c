"""Re-indexing: nothing read, embedded or removed that need not be, and no text embedded twice."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from agentkit import Document, KnowledgeBase
from agentkit.documents import Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.index.embedding_cache import EmbeddingCache
from agentkit.knowledge.index.folder import watch
from agentkit.knowledge.index.report import Progress
from agentkit.knowledge.index.vectors import Vectors
from tests.conftest import TermEmbedder

NOTES = {
    "attention.md": "# 注意力\n\n自注意力让每个词与句中所有词交互。",
    "memory.md": "# 显存\n\n7B 模型以 4 位加载约占 4.2 GB。",
    "english.txt": "Gradient descent updates the weights against the gradient.",
}


@pytest.fixture
def vectors(tmp_path: Path) -> Vectors:
    return Vectors(tmp_path / "index" / "chroma")


@pytest.fixture
def kb(tmp_path: Path, embedder: TermEmbedder, vectors: Vectors) -> Iterator[KnowledgeBase]:
    opened = KnowledgeBase.open(tmp_path / "index", embedder, vectors=vectors)
    yield opened
    opened.close()


def catalog_of(kb: KnowledgeBase) -> Catalog:
    """Another connection to the catalog of an index."""
    return Catalog(kb.path / "catalog.sqlite")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return _write(tmp_path / "notes", NOTES)


def _write(folder: Path, texts: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


async def _sources(kb: KnowledgeBase) -> list[str]:
    return [d.source for d in await kb.documents()]


async def test_unchanged_files_are_not_split_and_chroma_is_not_opened(
    notes: Path, tmp_path: Path
) -> None:
    class CountedVectors(Vectors):
        calls = 0

        def count(self) -> int:
            self.calls += 1
            return super().count()

    class CountedEmbedder(TermEmbedder):
        calls = 0

        def count_tokens(self, text: str) -> int:
            self.calls += 1
            return super().count_tokens(text)

    vectors, embedder = CountedVectors(tmp_path / "index" / "chroma"), CountedEmbedder()
    kb = KnowledgeBase.open(tmp_path / "index", embedder, vectors=vectors)
    await kb.add_path(notes)
    vectors.calls = embedder.calls = 0
    report = await kb.add_path(notes)
    assert sorted(report.unchanged) == sorted(NOTES)
    assert vectors.calls == embedder.calls == 0
    kb.close()


async def test_a_file_of_other_bytes_but_the_same_text_is_read_and_left_alone(
    kb: KnowledgeBase, notes: Path, embedder: TermEmbedder
) -> None:
    await kb.add_path(notes)
    (notes / "english.txt").write_bytes(b"\xef\xbb\xbf" + NOTES["english.txt"].encode())
    report = await kb.add_path(notes)
    assert not report.has_news
    assert len(embedder.embedded) == 3


async def test_another_chunk_size_cuts_unchanged_files_anew(
    kb: KnowledgeBase, notes: Path, tmp_path: Path, embedder: TermEmbedder
) -> None:
    (notes / "long.md").write_text("# Long\n\n" + "A sentence of words. " * 30, encoding="utf-8")
    await kb.add_path(notes)
    before = kb.chunk_count
    kb.close()
    smaller = KnowledgeBase.open(tmp_path / "index", embedder, chunk_tokens=100)
    assert "long.md" in (await smaller.add_path(notes)).changed
    assert smaller.chunk_count > before
    smaller.close()


async def test_a_renamed_file_is_not_embedded_again(
    kb: KnowledgeBase, notes: Path, embedder: TermEmbedder
) -> None:
    await kb.add_path(notes)
    embedder.embedded.clear()
    for name in NOTES:
        (notes / name).rename(notes / f"new-{name}")
    report = await kb.add_path(notes)
    assert report.removed == tuple(sorted(NOTES))
    assert embedder.embedded == []
    assert (await kb.search("gradient descent"))[0].chunk.source == "new-english.txt"


async def test_identical_files_are_embedded_once_and_both_found(
    kb: KnowledgeBase, notes: Path, embedder: TermEmbedder, vectors: Vectors
) -> None:
    (notes / "copy.txt").write_text(NOTES["english.txt"], encoding="utf-8")
    await kb.add_path(notes)
    assert len(embedder.embedded) == 3
    assert {"copy.txt", "english.txt"} < set(await _sources(kb))
    assert vectors.count() == kb.chunk_count == 4


async def test_a_document_that_was_removed_comes_back_without_being_embedded(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    documents = [Document(source=source, text=text) for source, text in NOTES.items()]
    await kb.add(documents)
    await kb.remove(["memory.md"])
    embedder.embedded.clear()
    assert (await kb.add(documents)).added == ("memory.md",)
    assert embedder.embedded == []


async def test_what_was_added_by_hand_outlives_the_sync_of_a_folder(
    kb: KnowledgeBase, notes: Path
) -> None:
    await kb.add([Document(source="by hand", text="残差连接")])
    await kb.add_path(notes)
    (notes / "memory.md").unlink()
    assert (await kb.add_path(notes)).removed == ("memory.md",)
    assert "by hand" in await _sources(kb)


async def test_two_folders_keep_their_own_documents(
    kb: KnowledgeBase, notes: Path, tmp_path: Path
) -> None:
    other = _write(tmp_path / "other", {"memory.md": "# 别的\n\n另一个文件夹。", "more.md": "更多"})
    await kb.add_path(notes)
    await kb.add_path(other, prefix="other/")
    (other / "more.md").unlink()
    (notes / "english.txt").unlink()
    assert (await kb.add_path(notes)).removed == ("english.txt",)
    assert (await kb.add_path(other, prefix="other/")).removed == ("other/more.md",)
    assert await _sources(kb) == ["attention.md", "memory.md", "other/memory.md"]


async def test_folders_that_share_a_name_are_reported_to_take_a_prefix(
    kb: KnowledgeBase, notes: Path, tmp_path: Path
) -> None:
    await kb.add_path(notes)
    other = _write(tmp_path / "other", {"memory.md": "# 别的\n\n另一个文件夹。"})
    assert "prefix" in (await kb.add_path(other)).warnings[0]


async def test_an_index_moved_with_its_folder_still_knows_it(
    kb: KnowledgeBase, notes: Path, tmp_path: Path, embedder: TermEmbedder
) -> None:
    await kb.add_path(notes)
    kb.close()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("notes", "index"):
        (tmp_path / name).rename(moved / name)
    (moved / "notes" / "memory.md").unlink()
    again = KnowledgeBase.open(moved / "index", embedder)
    report = await again.add_path(moved / "notes")
    assert (len(report.unchanged), report.removed) == (2, ("memory.md",))
    again.close()


async def test_a_file_that_became_unreadable_keeps_its_passages(
    kb: KnowledgeBase, notes: Path
) -> None:
    await kb.add_path(notes)
    (notes / "memory.md").write_bytes(b"\x7fELF\0\0\1\2")
    report = await kb.add_path(notes)
    assert "memory.md" in report.warnings[0]
    assert not report.has_news
    assert "4.2 GB" in (await kb.search("4.2 GB"))[0].chunk.text


async def test_several_jobs_give_the_index_that_one_gives(
    kb: KnowledgeBase, notes: Path, tmp_path: Path, embedder: TermEmbedder
) -> None:
    await kb.add_path(notes)
    other = KnowledgeBase.open(tmp_path / "other", embedder)
    await other.add_path(notes, jobs=2)
    rows = "SELECT number, id, document_id, content FROM chunks ORDER BY number"
    assert catalog_of(other).rows(rows) == catalog_of(kb).rows(rows)
    other.close()


async def test_passages_of_many_documents_are_embedded_together(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    calls = []

    async def count(texts: Sequence[str]) -> None:
        calls.append(len(texts))

    embedder.before_passages = count
    await kb.add([Document(source=f"{at}.md", text=f"Text {at}.") for at in range(130)])
    assert calls == [32, 32, 32, 32, 2]


async def test_what_came_before_a_failing_call_is_published_and_paid_once(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    documents = [Document(source=f"{at:03}.md", text=f"Text {at}.") for at in range(100)]
    calls = []

    async def fail_in_the_second_call(texts: Sequence[str]) -> None:
        calls.append(len(texts))
        if len(calls) == 2:
            raise ConnectionError("the embedder is down")

    embedder.before_passages = fail_in_the_second_call
    with pytest.raises(ConnectionError):
        await kb.add(documents)
    assert kb.chunk_count == 32
    await kb.add(documents)
    assert kb.chunk_count == 100
    assert len(embedder.embedded) == 100


async def test_long_passages_are_embedded_in_smaller_calls(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    calls: list[int] = []

    async def measure(texts: Sequence[str]) -> None:
        calls.append(sum(map(len, texts)))

    embedder.before_passages = measure
    rows = tuple(Part("row", str(n), n * 10_001, n * 10_001 + 10_000) for n in range(40))
    words = "".join(f"{chr(97 + n % 26) * (n // 26)} " for n in range(624))
    text = "\n".join(f"{n:04} {words * 2}"[:10_000].ljust(10_000, "z") for n in range(40))
    await kb.add([Document("wide.csv", text, format="rows", parts=rows)])
    assert len(embedder.embedded) == 40
    assert max(calls) <= 25_000


async def test_a_long_document_that_fails_midway_leaves_nothing_and_is_embedded_once(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    long = Document("long.txt", "\n\n".join(f"Text {n} " + "a b " * 60 for n in range(600)))
    calls = 0

    async def fail_in_the_tenth_call(texts: Sequence[str]) -> None:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise ConnectionError("the embedder is down")

    embedder.before_passages = fail_in_the_tenth_call
    with pytest.raises(ConnectionError):
        await kb.add([Document("good.md", "The good text."), long])
    assert await _sources(kb) == ["good.md"]
    assert catalog_of(kb).inactive_ids() == []
    await kb.add([long])
    assert await _sources(kb) == ["good.md", "long.txt"]
    assert len(embedder.embedded) == len(set(embedder.embedded)) == kb.chunk_count


async def test_progress_tells_rate_and_time_left(kb: KnowledgeBase) -> None:
    reported: list[Progress] = []
    documents = [Document(source=f"{at}.md", text=f"Text {at}.") for at in range(130)]
    await kb.add(documents, on_progress=reported.append)
    assert (reported[-1].done, reported[-1].total, reported[-1].chunks) == (130, 130, 130)
    assert reported[-1].rate > 0
    assert reported[-1].seconds_left == 0
    assert reported[0].seconds_left is None


async def test_the_time_left_follows_the_place_within_a_long_document(kb: KnowledgeBase) -> None:
    reported: list[Progress] = []
    long = "\n\n".join(f"Paragraph {at} of a long text." * 20 for at in range(1500))
    documents = [Document("a.md", "Short."), Document("long.txt", long)]
    await kb.add(documents, on_progress=reported.append)
    shares = [
        round(p.seconds / (p.seconds + p.seconds_left), 6) for p in reported if p.seconds_left
    ]
    assert reported[-1].chunks > 1000
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert 0.02 < shares[0] < 0.5 < shares[-1]


async def test_vectors_that_nothing_uses_are_dropped_oldest_first(
    kb: KnowledgeBase, tmp_path: Path
) -> None:
    await kb.add([Document(source="kept.md", text="Kept.")])
    catalog = Catalog(tmp_path / "index" / "catalog.sqlite")
    cache = EmbeddingCache(catalog, least_kept=2)
    cache.keep(["a", "b", "c"], np.eye(3, 64, dtype=np.float32))
    cache.trim()
    assert cache.known(["a", "b", "c"]) == {"b", "c"}
    assert catalog.chunks_without_vector() == []
    catalog.close()


async def test_another_embedder_takes_an_index_over_without_a_file(
    kb: KnowledgeBase, notes: Path, tmp_path: Path, embedder: TermEmbedder
) -> None:
    await kb.add_path(notes)
    hits = [hit.chunk.source for hit in await kb.search("自注意力")]
    other = TermEmbedder()
    other.name = "test:other"
    stored = Vectors(tmp_path / "index" / "chroma")
    rebuilt = await KnowledgeBase.rebuild(tmp_path / "index", other, vectors=stored)
    assert len(other.embedded) == 3
    assert [hit.chunk.source for hit in await rebuilt.search("自注意力")] == hits
    assert stored.count() == rebuilt.chunk_count == 3
    with pytest.raises(KnowledgeError, match="created with the embedder test:other"):
        await kb.add_path(notes)
    assert (await rebuilt.add_path(notes)).embedded == 0
    rebuilt.close()


async def test_a_rebuild_cut_short_pays_for_the_rest_only(
    kb: KnowledgeBase, tmp_path: Path
) -> None:
    await kb.add([Document(source=f"{at}.md", text=f"Text {at}.") for at in range(100)])
    other = TermEmbedder()
    other.name = "test:other"

    async def fail_after_the_first_call(texts: Sequence[str]) -> None:
        if other.embedded:
            raise ConnectionError("down")

    other.before_passages = fail_after_the_first_call
    with pytest.raises(ConnectionError):
        await KnowledgeBase.rebuild(tmp_path / "index", other)
    assert len(await kb.search("Text 7")) == 5
    other.before_passages = None
    rebuilt = await KnowledgeBase.rebuild(tmp_path / "index", other)
    assert len(other.embedded) == len(set(other.embedded)) == 100
    rebuilt.close()


async def test_a_vector_lost_to_damage_is_embedded_anew(
    kb: KnowledgeBase, notes: Path, embedder: TermEmbedder
) -> None:
    await kb.add_path(notes)
    with catalog_of(kb).writing() as connection:
        connection.execute("DELETE FROM embeddings WHERE rowid = 1")
    embedder.embedded.clear()
    await kb.add_path(notes)
    assert len(embedder.embedded) == 1
    assert catalog_of(kb).chunks_without_vector() == []


async def test_a_cancelled_write_ends_before_its_lock_is_released(
    kb: KnowledgeBase, embedder: TermEmbedder, vectors: Vectors
) -> None:
    documents = [Document(source=f"{at}.md", text=f"Text {at}.") for at in range(300)]
    embedding = asyncio.Event()

    async def signal(texts: Sequence[str]) -> None:
        embedding.set()

    embedder.before_passages = signal
    writing = asyncio.create_task(kb.add(documents))
    await embedding.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await kb.add(documents)
    assert kb.chunk_count == vectors.count() == 300
    assert len(embedder.embedded) - len(set(embedder.embedded)) <= 64


async def test_a_watched_folder_is_kept_fresh(kb: KnowledgeBase, notes: Path) -> None:
    stop = asyncio.Event()
    reports = watch(kb, notes, quiet_ms=50, stop=stop)
    assert len((await anext(reports)).added) == 3
    (notes / "new.md").write_text("# 新\n\n残差连接。", encoding="utf-8")
    assert (await anext(reports)).added == ("new.md",)
    (notes / ".hidden.md").write_text("x", encoding="utf-8")
    (notes / "new.md").unlink()
    assert (await anext(reports)).removed == ("new.md",)
    stop.set()
    assert [report async for report in reports] == []


@pytest.mark.parametrize("version", ["2", "9"])
async def test_an_index_of_another_schema_version_is_refused_with_the_next_step(
    kb: KnowledgeBase, tmp_path: Path, embedder: TermEmbedder, version: str
) -> None:
    catalog_of(kb).set_meta({"schema": version})
    with pytest.raises(KnowledgeError, match=rf"format {version}.*index again"):
        KnowledgeBase.open(tmp_path / "index", embedder)
