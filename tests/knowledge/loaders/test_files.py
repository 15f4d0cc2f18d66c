"""Files as documents, and the files that cannot be read, each named with the reason."""

import os
from pathlib import Path

import pytest

from agentkit import KnowledgeBase
from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.chunking.splitter import split
from agentkit.knowledge.loaders.files import discover, parse, read_bytes
from agentkit.knowledge.search.filters import Filters
from tests.conftest import TermEmbedder, unprivileged


def _load(path: Path, limit: int = 10_000) -> Document:
    return parse(read_bytes(path, limit), path.name, str(path)).document


def test_front_matter_gives_title_and_metadata_and_stays_in_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    text = "---\ntitle: 笔记\ndate: 2025-02-01\ntopics: [a, b]\n---\n# H\n"
    path.write_text(text, encoding="utf-8")
    document = _load(path)
    assert document.title == "笔记"
    assert document.metadata == {"title": "笔记", "date": "2025-02-01", "topics": ["a", "b"]}
    assert document.text == text


def test_the_title_is_the_first_heading_and_else_the_file_name(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# First\n\ntext", encoding="utf-8")
    (tmp_path / "plain.txt").write_text("# no heading", encoding="utf-8")
    assert _load(tmp_path / "a.md").title == "First"
    assert _load(tmp_path / "plain.txt").title == "plain"


@pytest.mark.parametrize(
    "front",
    [
        '+++\ntitle = "Pumps"\ndate = 2024-03-01\nlimit = 1.10\n+++\n',
        "---\ntitle: Pumps\ndate: 2024-03-01\nlimit: 1.10\n...\n",
    ],
)
def test_front_matter_may_be_toml_or_end_as_a_yaml_document_does(
    tmp_path: Path, front: str
) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"{front}# H\n", encoding="utf-8")
    document = _load(path)
    assert document.title == "Pumps"
    assert document.metadata == {"title": "Pumps", "date": "2024-03-01", "limit": "1.10"}


def test_broken_front_matter_is_text_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("---\ntitle: [unclosed\n---\n# H\n", encoding="utf-8")
    document = _load(path)
    assert (document.title, document.metadata) == ("H", {})
    assert "unclosed" in "".join(chunk.text for chunk in split(document, len, 100))


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("zip: 01234", "zip", "01234"),
        ("version: 1.10", "version", "1.10"),
        ("country: NO", "country", "no"),
        ("start: 12:30:45", "start", "12:30:45"),
        ("id: 1_000", "id", "1_000"),
        ("draft: true", "draft", "true"),
        ("code: 0x1F", "code", "0x1F"),
        ("day: 2025-02-30", "day", "2025-02-30"),
    ],
)
def test_a_value_of_front_matter_is_what_is_written(
    tmp_path: Path, line: str, key: str, value: str
) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"---\n{line}\n---\n# H\n", encoding="utf-8")
    assert Filters(metadata={key: value}).accept("a.md", "H", _load(path).metadata)


@pytest.mark.parametrize("written", ["a: &a [1]\nb: *a", "a: " + "[" * 2000, "a: &a [*a]"])
def test_front_matter_that_is_a_trap_is_text_like_any_other(tmp_path: Path, written: str) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"---\n{written}\n---\n# H\n", encoding="utf-8")
    assert (_load(path).title, _load(path).metadata) == ("H", {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_chinese_encodings_are_read_and_line_ends_kept(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("深度学习\r\n神经网络".encode(encoding))
    assert _load(path).text == "深度学习\r\n神经网络"


def test_hidden_files_other_kinds_and_links_out_of_the_folder_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / ".git").mkdir(parents=True)
    for name in ("a.md", ".hidden.md", ".git/b.md", "c.bin"):
        (folder / name).write_text("x", encoding="utf-8")
    (tmp_path / "secret.md").write_text("secret", encoding="utf-8")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    (folder / "twin.md").symlink_to("a.md")
    assert [path.name for path in discover(folder)] == ["a.md"]


async def test_a_pipe_does_not_hold_up_the_indexing_of_its_folder(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    os.mkfifo(notes / "pipe.md")
    (notes / "a.md").write_text("# A\n\ntext", encoding="utf-8")
    kb = KnowledgeBase.open(tmp_path / "index", embedder)
    report = await kb.add_path(notes)
    kb.close()
    assert (report.added, report.warnings) == (("a.md",), ())


@pytest.mark.slow
async def test_a_file_read_only_in_part_is_named_by_the_warning(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "log.jsonl").write_text('{"a": 1}\n{broken\n', encoding="utf-8")
    kb = KnowledgeBase.open(tmp_path / "index", embedder)
    report = await kb.add_path(notes)
    kb.close()
    assert report.warnings == (f"{notes / 'log.jsonl'}: line 2: broken JSON",)


def test_a_binary_file_named_md_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"\x7fELF\0\0\1\2")
    with pytest.raises(KnowledgeError, match="binary"):
        _load(tmp_path / "a.md")


def test_a_file_past_the_limit_names_the_setting_that_raises_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 101, encoding="utf-8")
    with pytest.raises(KnowledgeError, match="max_file_mb"):
        _load(tmp_path / "a.txt", limit=100)


async def test_one_bad_file_is_a_warning_and_the_rest_is_indexed(
    shared_folder: Path, embedder: TermEmbedder
) -> None:
    notes = shared_folder / "notes"
    with unprivileged():
        notes.mkdir()
        (notes / "good.md").write_text("# 好\n\n可以读的内容。", encoding="utf-8")
        (notes / "binary.md").write_bytes(b"\0\1\2")
        (notes / "big.txt").write_text("x" * 2_000_000, encoding="utf-8")
        (notes / "locked.md").write_text("secret", encoding="utf-8")
        (notes / "locked.md").chmod(0)
        kb = KnowledgeBase.open(shared_folder / "index", embedder)
        report = await kb.add_path(notes, max_file_mb=1)
        kb.close()
    assert report.added == ("good.md",)
    reasons = dict(line.rsplit("/", 1)[1].split(": ", 1) for line in report.warnings)
    assert reasons["locked.md"] == "Permission denied"
    assert "binary" in reasons["binary.md"]
    assert "max_file_mb" in reasons["big.txt"]


async def test_a_file_that_vanishes_while_it_is_read_keeps_what_was_known(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in ("a.md", "b.md"):
        (notes / name).write_text(f"# {name}\n\n内容", encoding="utf-8")
    kb = KnowledgeBase.open(tmp_path / "index", embedder)
    await kb.add_path(notes)
    (notes / "b.md").write_text("# b.md\n\n新内容", encoding="utf-8")
    (notes / "a.md").unlink()
    (notes / "a.md").symlink_to("gone.md")
    report = await kb.add_path(notes)
    assert report.changed == ("b.md",)
    assert "was deleted" in report.warnings[0]
    assert {d.source for d in await kb.documents()} == {"a.md", "b.md"}
    kb.close()
