"""Collections: names in any language, folders that no name can lead astray."""

import unicodedata
from pathlib import Path

import pytest

from agentkit import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.collections import MAX_NAME, Collections
from tests.conftest import TermEmbedder


@pytest.fixture
def collections(tmp_path: Path, embedder: TermEmbedder) -> Collections:
    return Collections(tmp_path / "own", lambda: embedder)


async def _filled(
    collections: Collections, name: str, text: str = "自注意力让每个词与句中所有词交互。"
) -> None:
    kb = collections.create(name)
    await kb.add([Document(source="a.md", text=text)])
    kb.close()


async def test_names_in_any_language_are_shown_as_they_were_given(collections: Collections) -> None:
    for name in ("论文 2026", "Ünïcode", "کتاب‌ها", "👩‍🔬 notes"):
        await _filled(collections, name)
    found = collections.list()
    assert {info.name for info in found} == {"论文 2026", "Ünïcode", "کتاب‌ها", "👩‍🔬 notes"}
    assert all((info.documents, info.chunks) == (1, 1) for info in found)
    assert all(info.bytes > 0 and info.embedder == "test:terms" for info in found)


async def test_a_name_written_otherwise_finds_the_same_collection(collections: Collections) -> None:
    await _filled(collections, "Ünïcode Straße")
    for other in (unicodedata.normalize("NFD", "ünïcode strasse"), "  ÜNÏCODE   STRASSE "):
        kb = collections.open(other)
        assert (await kb.search("自注意力"))[0].chunk.source == "a.md"
        kb.close()
    with pytest.raises(KnowledgeError, match="already"):
        collections.create("ünïcode straße")


async def test_collections_do_not_see_each_other(collections: Collections) -> None:
    await _filled(collections, "论文", "量化用更短的整数。")
    await _filled(collections, "论文 2", "梯度下降。")
    kb = collections.open("论文")
    assert [hit.chunk.text for hit in await kb.search("梯度下降", k=9)] == ["量化用更短的整数。"]
    kb.close()


async def test_the_folders_own_index_is_called_knowledge_and_comes_first(
    collections: Collections,
) -> None:
    await _filled(collections, "a first")
    await _filled(collections, "Knowledge")
    assert collections.path_of("knowledge") == collections.root / "index"
    assert [info.name for info in collections.list()] == ["knowledge", "a first"]


def test_an_unknown_name_is_answered_with_the_nearest(collections: Collections) -> None:
    collections.create("论文 2026").close()
    with pytest.raises(KnowledgeError, match="Did you mean '论文 2026'"):
        collections.open("论文 2025")
    with pytest.raises(KnowledgeError, match="kb list"):
        collections.open("zzz")


@pytest.mark.parametrize(
    "name", ["", " ", "a\nb", "a\x00b", "\u202eevil", "\ud800", "\u200d", "长" * (MAX_NAME + 1)]
)
def test_what_is_no_name_is_refused_in_one_line(collections: Collections, name: str) -> None:
    with pytest.raises(KnowledgeError, match="The name") as raised:
        collections.create(name)
    assert "\n" not in str(raised.value)
    assert not collections.root.exists()


@pytest.mark.parametrize("name", ["../../etc", "/tmp/x", "..", ".", "C:\\x", "con", "a" * MAX_NAME])
def test_no_name_leads_out_of_the_root(collections: Collections, name: str) -> None:
    path = collections.path_of(name)
    assert path.parent == collections.root / "collections"
    assert path.name.isascii()
    assert len(path.name) < 60
    assert not set(path.name) - set("abcdefghijklmnopqrstuvwxyz0123456789-")


async def test_a_removed_collection_is_gone_and_its_name_is_free(collections: Collections) -> None:
    await _filled(collections, "论文")
    await collections.remove("论文")
    assert collections.list() == []
    assert list((collections.root / "collections").iterdir()) == []
    collections.create("论文").close()


async def test_a_damaged_collection_does_not_hide_the_others(collections: Collections) -> None:
    await _filled(collections, "good")
    await _filled(collections, "bad")
    (collections.path_of("bad") / "catalog.sqlite").write_bytes(b"no database at all" * 99)
    found = {info.documents: info for info in collections.list()}
    assert found[1].name == "good"
    assert "not a database" in found[0].problem
