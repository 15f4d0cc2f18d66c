"""Archives: carried to another machine they answer alike; a hostile one changes nothing."""

import hashlib
import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agentkit import Document
from agentkit.documents import Hit
from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.archive import export_archive, import_archive
from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.index.collections import Collections
from agentkit.knowledge.index.doctor import diagnose
from tests.conftest import TermEmbedder

NOTES = {
    "attention.md": "# 注意力\n\n自注意力让每个词与句中所有词交互。",
    "memory.md": "# 显存\n\n7B 模型以 4 位加载约占 4.2 GB。\n\n## 量化\n\n量化用更短的整数。",
    "english.txt": "Gradient descent updates the weights against the gradient.",
}
QUESTIONS = ("自注意力", "4 位加载占多少显存", "gradient descent", "量化", "明天下雨吗")


@pytest.fixture
def here(tmp_path: Path, embedder: TermEmbedder) -> Collections:
    return Collections(tmp_path / "here", lambda: embedder)


@pytest.fixture
def there(tmp_path: Path) -> Collections:
    return Collections(tmp_path / "there", TermEmbedder)


@pytest.fixture
async def archive(here: Collections, tmp_path: Path) -> Path:
    kb = here.create("论文 2026")
    await kb.add([Document(source=s, text=t, metadata={"年": 2026}) for s, t in NOTES.items()])
    await kb.add([Document(source="gone.md", text="# 秘密\n\n已删除的秘密内容。")])
    await kb.remove(["gone.md"])
    kb.close()
    file = tmp_path / "论文.zip"
    export_archive(here.path_of("论文 2026"), "论文 2026", file)
    return file


async def _answers(collections: Collections, name: str) -> list[list[Hit]]:
    kb = collections.open(name)
    found = [await kb.search(question, k=10) for question in QUESTIONS]
    kb.close()
    return found


@pytest.mark.slow
async def test_an_archive_answers_elsewhere_as_it_did_here(
    here: Collections, there: Collections, archive: Path
) -> None:
    made = await import_archive(archive, there)
    assert (made.name, made.embedder, made.documents) == ("论文 2026", "test:terms", 3)
    assert await _answers(there, "论文 2026") == await _answers(here, "论文 2026")
    kb = there.open("论文 2026")
    assert (await kb.document("memory.md")).metadata == {"年": 2026}
    report = await kb.add(
        [Document(source=s, text=t, metadata={"年": 2026}) for s, t in NOTES.items()]
    )
    kb.close()
    assert (len(report.unchanged), report.embedded) == (3, 0)
    assert await diagnose(there.path_of("论文 2026")) == []


async def test_the_same_collection_gives_the_same_bytes(
    here: Collections, archive: Path, tmp_path: Path
) -> None:
    export_archive(here.path_of("论文 2026"), "论文 2026", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


async def test_what_was_removed_does_not_travel_nor_do_this_machines_folders(
    here: Collections, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# 甲\n\n留下的内容。", encoding="utf-8")
    kb = here.create("k")
    await kb.add([Document(source="gone.md", text="# 秘密\n\n已删除的秘密内容。")])
    await kb.add_path(tmp_path / "notes")
    await kb.remove(["gone.md"])
    kb.close()
    export_archive(here.path_of("k"), "k", tmp_path / "k.zip")
    with zipfile.ZipFile(tmp_path / "k.zip") as opened:
        assert sorted(opened.namelist()) == ["catalog.sqlite", "manifest.json"]
        catalog = opened.read("catalog.sqlite")
    assert "留下的内容".encode() in catalog
    assert "秘密".encode() not in catalog
    assert str(tmp_path).encode() not in catalog


async def test_an_export_is_whole_while_a_writer_works(
    here: Collections, there: Collections, archive: Path, tmp_path: Path
) -> None:
    kb = here.open("论文 2026")
    with Catalog(kb.path / "catalog.sqlite").writing() as connection:
        connection.execute("DELETE FROM documents")
        export_archive(kb.path, "x", tmp_path / "meanwhile.zip")
    kb.close()
    assert (await import_archive(tmp_path / "meanwhile.zip", there)).documents == 3


async def test_nothing_is_overwritten_without_being_reported_so(
    here: Collections, there: Collections, archive: Path
) -> None:
    with pytest.raises(KnowledgeError, match="--replace"):
        export_archive(here.path_of("论文 2026"), "x", archive)
    await import_archive(archive, there)
    with pytest.raises(KnowledgeError, match="--replace"):
        await import_archive(archive, there)
    await import_archive(archive, there, name="另一个")
    assert [info.name for info in there.list()] == ["另一个", "论文 2026"]


async def test_a_replacement_takes_the_place_of_the_old_one_whole(
    there: Collections, archive: Path
) -> None:
    kb = there.create("论文 2026")
    await kb.add([Document(source="old.md", text="旧的内容。")])
    kb.close()
    await import_archive(archive, there, replace=True)
    assert [info.documents for info in there.list()] == [3]
    assert len(list((there.root / "collections").iterdir())) == 1


async def test_an_import_may_become_the_folders_own_index(
    there: Collections, archive: Path
) -> None:
    await import_archive(archive, there, name="knowledge")
    assert [info.name for info in there.list()] == ["knowledge"]
    assert (await _answers(there, "knowledge"))[0][0].chunk.source == "attention.md"


async def test_another_embedders_archive_imports_and_its_search_says_what_it_needs(
    there: Collections, archive: Path, tmp_path: Path
) -> None:
    await import_archive(archive, there)
    other = TermEmbedder()
    other.name = "test:other"
    with pytest.raises(KnowledgeError, match="test:terms"):
        Collections(there.root, lambda: other).open("论文 2026")


def _repacked(
    archive: Path,
    target: Path,
    *,
    sql: str = "",
    manifest: dict[str, object] | None = None,
    members: Any = None,
) -> Path:
    """The archive with its catalog changed by SQL, its hash made right again, and the like."""
    with zipfile.ZipFile(archive) as opened:
        parts = {name: opened.read(name) for name in opened.namelist()}
    if sql:
        changed = target.with_suffix(".sqlite")
        changed.write_bytes(parts["catalog.sqlite"])
        with sqlite3.connect(changed) as connection:
            connection.executescript(sql)
        connection.close()
        parts["catalog.sqlite"] = changed.read_bytes()
    catalog = parts["catalog.sqlite"]
    right = {"sha256": hashlib.sha256(catalog).hexdigest(), "bytes": len(catalog)}
    reported = json.loads(parts["manifest.json"]) | right | (manifest or {})
    parts["manifest.json"] = json.dumps(reported).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in (parts | (members or {})).items():
            made.writestr(name, data)
    return target


HOSTILE: dict[str, dict[str, Any]] = {
    "a trigger": {"sql": "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM chunks; END"},
    "a view": {"sql": "CREATE VIEW v AS SELECT 1"},
    "a table more": {"sql": "CREATE TABLE extra (x)"},
    "a wrong type": {"sql": "UPDATE documents SET text = x'00ff'"},
    "a text that is not JSON": {"sql": "UPDATE documents SET metadata = '{'"},
    "a passage that is not in its document": {"sql": "UPDATE chunks SET start = start + 1"},
    "a vector that is not a number": {"sql": "UPDATE embeddings SET vector = zeroblob(256)"},
    "chunks that are pending": {"sql": "UPDATE chunks SET state = 'staged' WHERE number = 1"},
    "fewer documents than it says": {"manifest": {"documents": 4}},
    "another hash": {"manifest": {"sha256": "0" * 64}},
    "another size": {"manifest": {"bytes": 1}},
    "another version": {"manifest": {"version": 2}},
    "another table format": {"manifest": {"table_format": "99"}},
    "a name that is none": {"manifest": {"name": "\u202e"}},
    "another embedder": {"manifest": {"embedder": "x"}},
    "a path that leads out": {"members": {"../outside.txt": b"x"}},
    "a catalog that is none": {"members": {"catalog.sqlite": b"x" * 999}},
    "a manifest that is none": {"members": {"manifest.json": b"[" * 999}},
    "a huge manifest": {"members": {"manifest.json": b" " * 200_000}},
}


@pytest.mark.parametrize("how", HOSTILE)
async def test_a_hostile_or_damaged_archive_changes_nothing(
    there: Collections, archive: Path, tmp_path: Path, how: str
) -> None:
    bad = _repacked(archive, tmp_path / "bad.zip", **HOSTILE[how])
    with pytest.raises(KnowledgeError) as raised:
        await import_archive(bad, there)
    assert "\n" not in str(raised.value)
    assert there.list() == []
    assert not there.root.exists() or list(there.root.iterdir()) == []
    assert not (tmp_path / "outside.txt").exists()


async def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    there: Collections, archive: Path, tmp_path: Path
) -> None:
    zeros = bytes(30_000_000)
    reported = {"bytes": len(zeros), "sha256": hashlib.sha256(zeros).hexdigest()}
    bad = _repacked(
        archive, tmp_path / "bad.zip", manifest=reported, members={"catalog.sqlite": zeros}
    )
    with pytest.raises(KnowledgeError, match="size of its catalog"):
        await import_archive(bad, there)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"text"])
async def test_what_is_no_archive_is_named(
    there: Collections, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(KnowledgeError, match=r"x\.zip is not an agentkit archive"):
        await import_archive(tmp_path / "x.zip", there)
    with pytest.raises(KnowledgeError, match="does not exist"):
        await import_archive(tmp_path / "nowhere.zip", there)


async def test_a_replacement_cut_short_between_its_renames_loses_nothing(
    there: Collections, archive: Path
) -> None:
    await import_archive(archive, there)
    path = there.path_of("论文 2026")
    path.rename(path.with_name(f".replaced-{path.name}"))
    with pytest.raises(KnowledgeError, match="already"):
        await import_archive(archive, there)
    assert (await _answers(there, "论文 2026"))[0][0].chunk.source == "attention.md"
