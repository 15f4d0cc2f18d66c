"""An index of the previous schema version is upgraded on opening, without indexing again."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentkit import Document, KnowledgeBase
from agentkit.documents import Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.archive import export_archive, import_archive
from agentkit.knowledge.index.collections import Collections
from agentkit.knowledge.index.consistency import check
from tests.conftest import TermEmbedder

SLIDES = Document(
    source="talk.pptx",
    text="Attention is all you need.\n\nGradient descent.",
    parts=(Part("slide", "1", 0, 26), Part("slide", "2", 28, 45)),
)
ROWS = Document(
    source="prices.csv",
    text="milk 2\nbread 3",
    format="rows",
    parts=(Part("row", "Prices, 2", 0, 6), Part("row", "Prices, 3", 7, 14)),
)
NOTE = Document(source="note.md", text="# Water\n\nWater boils at 100 °C.")
DOCUMENTS = (SLIDES, ROWS, NOTE)
VERSION_5 = """CREATE TABLE documents (
  id TEXT PRIMARY KEY, source TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
  hash TEXT NOT NULL, metadata TEXT NOT NULL, format TEXT NOT NULL, parts TEXT NOT NULL,
  origin TEXT NOT NULL)"""


@pytest.fixture
async def index(tmp_path: Path, embedder: TermEmbedder) -> Path:
    """The folder of an index of schema version 5."""
    kb = Collections(tmp_path / "here", lambda: embedder).create("notes")
    await kb.add(DOCUMENTS)
    kb.close()
    parts = {
        d.source: json.dumps([(p.kind, p.name, p.start, p.end) for p in d.parts]) for d in DOCUMENTS
    }
    with closing(sqlite3.connect(kb.path / "catalog.sqlite")) as connection:
        connection.execute("ALTER TABLE documents RENAME TO newer")
        connection.execute(VERSION_5)
        connection.create_function("parts_of", 1, parts.__getitem__)
        connection.execute(
            "INSERT INTO documents SELECT id, source, title, text, hash, metadata, format,"
            " parts_of(source), origin FROM newer"
        )
        connection.execute("DROP TABLE newer")
        connection.execute("UPDATE meta SET value = '5' WHERE key = 'schema'")
        connection.commit()
    return kb.path


async def _check_documents(kb: KnowledgeBase) -> None:
    assert {d.source: d.pages for d in await kb.documents()} == {
        "talk.pptx": 2,
        "prices.csv": None,
        "note.md": None,
    }
    for document in DOCUMENTS:
        stored = await kb.document(document.source)
        assert (stored.text, tuple(stored.parts)) == (document.text, document.parts)
    report = await kb.add(DOCUMENTS)
    assert (len(report.unchanged), report.embedded) == (3, 0)


async def test_an_older_index_keeps_its_documents_pages_and_vectors(
    index: Path, embedder: TermEmbedder
) -> None:
    kb = KnowledgeBase.open(index, embedder)
    await _check_documents(kb)
    assert (await kb.search("gradient descent"))[0].chunk.part == "slides 1-2"
    kb.close()
    assert check(index / "catalog.sqlite") == []


async def test_an_older_index_is_exported_and_its_archive_imported(
    index: Path, tmp_path: Path, embedder: TermEmbedder
) -> None:
    file = tmp_path / "notes.zip"
    assert export_archive(index, "notes", file).table_format == "5"
    there = Collections(tmp_path / "there", lambda: embedder)
    await import_archive(file, there)
    kb = there.open("notes")
    await _check_documents(kb)
    kb.close()


@pytest.mark.parametrize("parts", ["5", '[["page"]]', '[["page", "1", -1, 2]]', "[" * 99_999])
async def test_an_older_index_with_damaged_parts_is_kept_as_it_is(
    index: Path, embedder: TermEmbedder, parts: str
) -> None:
    file = index / "catalog.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE documents SET parts = ?", (parts,))
        connection.commit()
    for _ in range(2):
        with pytest.raises(KnowledgeError, match=r"damaged.*index again"):
            KnowledgeBase.open(index, embedder)
    assert check(file) == []
