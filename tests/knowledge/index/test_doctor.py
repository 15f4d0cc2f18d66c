"""Checks of an index: real damage is found, named and repaired, or gets a next step."""

import asyncio
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit import Document, KnowledgeBase
from agentkit.errors import KnowledgeError
from agentkit.findings import Finding
from agentkit.knowledge.index.consistency import check
from agentkit.knowledge.index.doctor import diagnose, repair
from agentkit.knowledge.index.schema import rebuild_full_text
from agentkit.knowledge.index.vectors import Vectors
from tests.conftest import TermEmbedder, unprivileged

NOTES = {
    "attention.md": "# 注意力\n\n自注意力让每个词与句中所有词交互。",
    "memory.md": "# 显存\n\n7B 模型以 4 位加载约占 4.2 GB。\n\n## 量化\n\n量化用更短的整数。",
    "english.txt": "Gradient descent updates the weights against the gradient.",
}


ATTENTION = "(SELECT content FROM chunks WHERE source = 'attention.md')"


@pytest.fixture
async def index(tmp_path: Path, embedder: TermEmbedder) -> Path:
    """The folder of an index that nobody has open."""
    await _create_index(tmp_path / "index", embedder, NOTES)
    embedder.embedded.clear()
    return tmp_path / "index"


@pytest.fixture
async def large(tmp_path: Path, embedder: TermEmbedder) -> Path:
    """An index large enough that Chroma keeps its vectors in HNSW files."""
    await _create_index(tmp_path / "large", embedder, {f"{n}.md": f"word{n}" for n in range(1200)})
    return tmp_path / "large"


async def _create_index(path: Path, embedder: TermEmbedder, notes: Any) -> None:
    kb = KnowledgeBase.open(path, embedder)
    await kb.add([Document(source=source, text=text) for source, text in notes.items()])
    kb.close()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pristine") / "index"
    kb = KnowledgeBase.open(path, TermEmbedder())
    kb.add_sync(Document(source=source, text=text) for source, text in NOTES.items())
    kb.close()
    return path


@pytest.fixture
def whole(pristine: Path, tmp_path: Path) -> Path:
    """A copy of one index, to be damaged."""
    return shutil.copytree(pristine, tmp_path / "whole")


def _write(index: Path, *statements: str) -> None:
    with closing(sqlite3.connect(index / "catalog.sqlite")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _parts(findings: list[Finding]) -> list[str]:
    return [finding.part for finding in findings]


async def _is_repaired(index: Path, embedder: TermEmbedder) -> None:
    """Repair it: nothing is found afterwards, nothing was embedded, and search answers."""
    assert await repair(index) == []
    assert embedder.embedded == []
    vectors = Vectors(index / "chroma")
    kb = KnowledgeBase.open(index, embedder, vectors=vectors)
    hit = (await kb.search("自注意力让每个词"))[0]
    assert (hit.chunk.source, hit.dense_rank, hit.keyword_rank) == ("attention.md", 1, 1)
    assert vectors.count() == kb.chunk_count == 4
    kb.close()


@pytest.mark.slow
async def test_a_sound_index_has_no_findings_and_is_left_as_it_is(index: Path) -> None:
    before = (index / "catalog.sqlite").read_bytes()
    assert await diagnose(index, embedder="test:terms") == []
    assert (index / "catalog.sqlite").read_bytes() == before


async def test_an_empty_index_is_sound(tmp_path: Path, embedder: TermEmbedder) -> None:
    KnowledgeBase.open(tmp_path / "new", embedder).close()
    assert await diagnose(tmp_path / "new") == []


@pytest.mark.slow
async def test_a_lost_chroma_is_rebuilt(index: Path, embedder: TermEmbedder) -> None:
    shutil.rmtree(index / "chroma")
    assert [f.message for f in await diagnose(index)] == ["its folder does not exist"]
    await _is_repaired(index, embedder)


@pytest.mark.slow
async def test_a_damaged_chroma_database_is_rebuilt(index: Path, embedder: TermEmbedder) -> None:
    (index / "chroma" / "chroma.sqlite3").write_bytes(b"damaged" * 900)
    (finding,) = await diagnose(index)
    assert (finding.part, finding.repairable) == ("chroma", True)
    assert "not a database" in finding.message
    await _is_repaired(index, embedder)


@pytest.mark.slow
async def test_damaged_hnsw_files_are_found_and_rebuilt_whatever_they_do(large: Path) -> None:
    for file in (large / "chroma").rglob("data_level0.bin"):
        file.write_bytes(b"\xff" * file.stat().st_size)
    assert _parts(await diagnose(large)) == ["chroma"]
    assert await repair(large) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("header.bin", 0.5),
        ("header.bin", 0.0),
        ("data_level0.bin", 0.5),
        ("length.bin", 0.0),
        ("index_metadata.pickle", 0.5),
        ("link_lists.bin", 0.5),
    ],
)
async def test_damaged_hnsw_files_are_rebuilt_before_they_are_written(
    large: Path, embedder: TermEmbedder, name: str, kept: float
) -> None:
    for file in (large / "chroma").rglob(name):
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * kept)])
    with KnowledgeBase.open(large, embedder) as kb:
        await kb.add([Document(source="new.md", text="a seal of rubber")])
        assert kb.chunk_count == 1201
    assert await diagnose(large) == []


@pytest.mark.slow
async def test_vectors_missing_changed_or_too_many_in_chroma_are_distinguished(
    index: Path, embedder: TermEmbedder
) -> None:
    vectors = Vectors(index / "chroma")
    with closing(sqlite3.connect(index / "catalog.sqlite")) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM chunks ORDER BY number")]
    vectors.delete(ids[:1])
    vectors.upsert([ids[1]], np.eye(64, dtype=np.float32)[:1])
    vectors.upsert(["stranger-1", "stranger-2"], np.eye(64, dtype=np.float32)[:2])
    vectors.close()
    assert [(f.level, f.message) for f in await diagnose(index)] == [
        ("problem", "it lacks 1 passage of the catalog"),
        ("problem", "it holds 1 vector other than the catalog's"),
        ("warning", "it holds 2 vectors that the catalog does not know"),
    ]
    await _is_repaired(index, embedder)


@pytest.mark.slow
async def test_leftovers_orphans_and_torn_full_text_are_repaired_together(
    index: Path, embedder: TermEmbedder
) -> None:
    copied = (
        "INSERT INTO chunks SELECT {number}, '{id}', '{state}', {document}, source, title, heading,"
        " text, start, end, page, part, context, content FROM chunks WHERE number = 1"
    )
    _write(
        index,
        copied.format(number=98, id="left", state="stale", document="document_id"),
        copied.format(number=99, id="orphan", state="active", document="'nobody'"),
        "DELETE FROM full_text WHERE rowid = 1",
        "INSERT OR REPLACE INTO meta VALUES ('chroma', 'outdated')",
    )
    assert [(f.level, f.part) for f in await diagnose(index)] == [
        ("problem", "documents"),
        ("problem", "full text"),
        ("warning", "catalog"),
        ("warning", "chroma"),
        ("problem", "chroma"),
    ]
    await _is_repaired(index, embedder)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM full_text WHERE rowid = 1",
        "INSERT INTO full_text (rowid, terms) VALUES (99, 'stranger')",
        "DELETE FROM full_text_data WHERE id > 10",
    ],
)
def test_full_text_that_disagrees_is_written_anew(whole: Path, damage: str) -> None:
    _write(whole, damage)
    assert _parts(check(whole / "catalog.sqlite")) == ["full text"]
    with closing(sqlite3.connect(whole / "catalog.sqlite")) as connection, connection:
        rebuild_full_text(connection)
    assert check(whole / "catalog.sqlite") == []


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("UPDATE chunks SET start = start + 1, end = end + 1 WHERE number = 1", "not in its text"),
        ("UPDATE documents SET text = replace(text, '自', '他')", "not in its text"),
        ("DELETE FROM embeddings WHERE content = " + ATTENTION, "without a vector"),
        (
            "UPDATE embeddings SET vector = zeroblob(8) WHERE content = " + ATTENTION,
            "another dimension",
        ),
        (
            "UPDATE embeddings SET vector = zeroblob(256) WHERE content = " + ATTENTION,
            "length is not one",
        ),
        (
            "UPDATE embeddings SET vector = x'" + "ff" * 256 + "' WHERE content = " + ATTENTION,
            "not finite",
        ),
    ],
)
def test_a_document_that_only_its_file_can_restore_is_named(
    whole: Path, damage: str, expected: str
) -> None:
    _write(whole, damage)
    (finding,) = check(whole / "catalog.sqlite")
    assert isinstance(finding, Finding)
    assert expected in finding.message
    assert "attention.md" in finding.message
    assert "--repair, then index" in finding.next_step


@pytest.mark.slow
async def test_what_cannot_be_repaired_is_made_anew_by_the_next_indexing(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    notes, index = tmp_path / "notes", tmp_path / "index"
    notes.mkdir()
    for source, text in NOTES.items():
        (notes / source).write_text(text, encoding="utf-8")
    kb = KnowledgeBase.open(index, embedder)
    await kb.add_path(notes)
    kb.close()
    shutil.rmtree(index / "chroma")
    _write(
        index,
        f"UPDATE embeddings SET vector = zeroblob(256) WHERE content = {ATTENTION}",
        "UPDATE chunks SET start = start + 1 WHERE source = 'english.txt'",
    )
    problems = [f.message for f in await repair(index)]
    assert problems == ["2 documents with a text but no passages: attention.md, english.txt"]
    kb = KnowledgeBase.open(index, embedder)
    report = await kb.add_path(notes)
    kb.close()
    assert (set(report.changed), report.embedded) == ({"attention.md", "english.txt"}, 1)
    assert check(index / "catalog.sqlite") == []


def test_a_document_without_passages_is_named(whole: Path) -> None:
    _write(whole, "DELETE FROM chunks WHERE source = 'english.txt'")
    problems = [f.message for f in check(whole / "catalog.sqlite")]
    assert "1 document with a text but no passages: english.txt" in problems


async def test_a_catalog_with_flipped_bytes_says_how_to_restore_it(index: Path) -> None:
    file = index / "catalog.sqlite"
    data = bytearray(file.read_bytes())
    for at in range(4096, len(data), 97):
        data[at] ^= 0xFF
    file.write_bytes(data)
    for found in (await diagnose(index), await repair(index)):
        assert _parts(found) == ["catalog"]
        assert "kb import" in found[0].next_step


@pytest.mark.parametrize("content", [b"", b"no database, but long enough to look at" * 200])
async def test_a_catalog_that_is_none_is_no_traceback(index: Path, content: bytes) -> None:
    (index / "catalog.sqlite").write_bytes(content)
    assert _parts(await diagnose(index)) == ["catalog"]


async def test_a_missing_catalog_and_a_missing_folder_are_different_things(index: Path) -> None:
    (index / "catalog.sqlite").unlink()
    assert [f.message for f in await repair(index)] == ["the file does not exist"]
    with pytest.raises(KnowledgeError, match="holds no index"):
        await diagnose(index / "nowhere")


async def test_a_catalog_of_another_format_and_another_embedder_are_named(index: Path) -> None:
    shutil.rmtree(index / "chroma")
    assert _parts(await diagnose(index, embedder="test:other")) == ["embedder", "chroma"]
    _write(index, "UPDATE meta SET value = '99' WHERE key = 'schema'")
    assert ["schema version 99" in f.message for f in await diagnose(index)] == [True]


@pytest.mark.slow
async def test_a_process_that_writes_is_reported_and_not_disturbed(index: Path) -> None:
    code = (
        "import sys, filelock\n"
        "with filelock.FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(index / "write.lock")]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"held\n"
        assert _parts(await diagnose(index)) == ["lock"]
        with pytest.raises(KnowledgeError, match="Another process"):
            await repair(index)
    finally:
        child.kill()
        await child.communicate()


@pytest.mark.slow
async def test_an_index_that_cannot_be_written_is_still_examined(
    shared_folder: Path, embedder: TermEmbedder
) -> None:
    index = shared_folder / "index"
    with unprivileged():
        await _create_index(index, embedder, NOTES)
        (index / "catalog.sqlite").chmod(0o400)
        assert _parts(await diagnose(index))[0] == "folder"
        (index / "catalog.sqlite").chmod(0o600)


async def test_vectors_kept_elsewhere_are_compared_too(index: Path, tmp_path: Path) -> None:
    elsewhere = Vectors(tmp_path / "elsewhere")
    found = await diagnose(index, vectors=elsewhere)
    assert [f.message for f in found] == ["it lacks 4 passages of the catalog"]
    assert await repair(index, vectors=elsewhere) == []
    assert elsewhere.count() == 4
    elsewhere.close()
