"""One file is one document: by whatever path, folder or spelling it is indexed."""

import os
import random
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentkit import Document, KnowledgeBase
from agentkit.errors import KnowledgeError
from tests.chaos.test_indexing import MemoryVectors
from tests.conftest import TermEmbedder

DOCUMENTS = ["sub/a.md", "sub/deep/b.md", "top.md"]


@pytest.fixture
def kb(tmp_path: Path, embedder: TermEmbedder) -> Iterator[KnowledgeBase]:
    with KnowledgeBase.open(tmp_path / "index", embedder) as opened:
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for source in DOCUMENTS:
        file = tmp_path / "root" / source
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {source}\n\nThe old text.", encoding="utf-8")
    return tmp_path / "root"


def _edit(file: Path) -> None:
    file.write_text("# New\n\nThe new wording.", encoding="utf-8")


async def _texts(kb: KnowledgeBase) -> dict[str, str]:
    return {info.source: (await kb.document(info.source)).text for info in await kb.documents()}


@pytest.mark.parametrize("part", ["sub/a.md", "sub", "sub/", "sub/deep/../a.md"])
async def test_a_file_or_folder_inside_an_indexed_folder_keeps_its_documents(
    kb: KnowledgeBase, root: Path, part: str
) -> None:
    await kb.add_path(root)
    _edit(root / "sub" / "a.md")
    report = await kb.add_path(f"{root}/{part}", prefix="other/")
    assert (report.changed, report.added, report.warnings) == (("sub/a.md",), (), ())
    assert sorted(await _texts(kb)) == DOCUMENTS
    assert "wording" in (await kb.search("The new wording."))[0].chunk.text


@pytest.mark.parametrize(
    "spelling",
    [
        lambda root: root,
        lambda root: f"{root}/",
        lambda root: os.path.relpath(root),
        lambda root: root / "sub" / "..",
        lambda root: root.parent / "link",
    ],
)
async def test_one_folder_has_one_set_of_documents_however_it_is_named(
    kb: KnowledgeBase, root: Path, spelling: Callable[[Path], str | Path]
) -> None:
    (root.parent / "link").symlink_to(root)
    await kb.add_path(root)
    (root / "top.md").unlink()
    report = await kb.add_path(spelling(root))
    assert (len(report.unchanged), report.removed, report.warnings) == (2, ("top.md",), ())


async def test_paths_stay_the_same_from_another_working_directory(
    root: Path, tmp_path: Path, embedder: TermEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with KnowledgeBase.open("index", embedder) as kb:
        await kb.add_path("root")
        monkeypatch.chdir(root / "sub")
        assert (await kb.update("a.md")).unchanged == ("sub/a.md",)
        assert len((await kb.add_path("..")).unchanged) == 3


@pytest.mark.parametrize("first", ["sub", "sub/a.md"])
async def test_a_folder_around_an_indexed_one_takes_its_documents_over(
    kb: KnowledgeBase, root: Path, embedder: TermEmbedder, first: str
) -> None:
    await kb.add_path(root / first, prefix="early/")
    (root / "sub" / "deep" / "b.md").unlink()
    embedded = len(embedder.embedded)
    report = await kb.add_path(root)
    assert sorted(await _texts(kb)) == ["sub/a.md", "top.md"]
    assert report.warnings == ()
    assert len(embedder.embedded) == embedded + 1


async def test_a_file_that_cannot_be_read_where_it_moves_keeps_its_document(
    kb: KnowledgeBase, root: Path
) -> None:
    await kb.add_path(root / "sub")
    (root / "sub" / "a.md").write_bytes(b"\x7fELF\0\0\1\2")
    report = await kb.add_path(root)
    assert "a.md" in report.warnings[0]
    assert sorted(await _texts(kb)) == ["a.md", "sub/deep/b.md", "top.md"]


async def test_another_prefix_renames_the_documents_of_a_folder(
    kb: KnowledgeBase, root: Path
) -> None:
    await kb.add_path(root)
    await kb.add_path(root, prefix="tenant/")
    assert sorted(await _texts(kb)) == [f"tenant/{source}" for source in DOCUMENTS]


@pytest.mark.parametrize("call", ["update", "add_path"])
async def test_one_file_is_updated_where_it_was_indexed_and_no_other_is_read(
    kb: KnowledgeBase, root: Path, call: str
) -> None:
    await kb.add_path(root, prefix="notes/")
    for source in DOCUMENTS:
        _edit(root / source)
    report = await getattr(kb, call)(root / "sub" / "a.md")
    assert (report.changed, report.unchanged) == (("notes/sub/a.md",), ())
    assert "old" in (await _texts(kb))["notes/top.md"]


@pytest.mark.parametrize("call", ["update", "add_path"])
@pytest.mark.parametrize(
    ("gone", "removed"),
    [
        ("sub/a.md", ("sub/a.md",)),
        ("sub", ("sub/a.md", "sub/deep/b.md")),
    ],
)
async def test_what_was_deleted_on_disk_is_removed(
    kb: KnowledgeBase, root: Path, gone: str, removed: tuple[str, ...], call: str
) -> None:
    await kb.add_path(root)
    (root / gone).rename(root.parent / "elsewhere")
    assert (await getattr(kb, call)(root / gone)).removed == removed
    assert sorted(await _texts(kb)) == sorted({*DOCUMENTS} - {*removed})


async def test_a_folder_that_is_missing_as_a_whole_loses_no_documents(
    kb: KnowledgeBase, root: Path
) -> None:
    await kb.add_path(root)
    root.rename(root.parent / "unmounted")
    for call in (kb.add_path, kb.update):
        with pytest.raises(KnowledgeError, match="does not exist"):
            await call(root)
        with pytest.raises(KnowledgeError, match="does not exist"):
            await call(root / "top.md")
    assert sorted(await _texts(kb)) == DOCUMENTS


async def test_an_emptied_folder_is_still_known(kb: KnowledgeBase, root: Path) -> None:
    await kb.add_path(root, prefix="notes/")
    for source in DOCUMENTS:
        (root / source).rename(root.parent / Path(source).name)
        await kb.update(root / source)
        assert not (await kb.update(root / source)).has_news
    assert await kb.documents() == []
    (root / "new.md").write_text("# New")
    assert (await kb.update(root / "new.md")).added == ("notes/new.md",)
    await kb.add_path(root, prefix="other/")
    (root / "new.md").unlink()
    await kb.update(root)
    (root / "new.md").write_text("# New")
    assert (await kb.add_path(root / "new.md")).added == ("other/new.md",)


async def test_a_renamed_file_is_renamed_without_being_embedded_again(
    kb: KnowledgeBase, root: Path, embedder: TermEmbedder
) -> None:
    await kb.add_path(root)
    embedded = len(embedder.embedded)
    (root / "top.md").rename(root / "renamed.md")
    report = await kb.add_path(root / "renamed.md")
    assert report.added == ("renamed.md",)
    assert (await kb.update(root / "top.md")).removed == ("top.md",)
    assert len(embedder.embedded) == embedded


async def test_a_file_outside_every_indexed_folder_is_not_updated(
    kb: KnowledgeBase, root: Path, tmp_path: Path
) -> None:
    await kb.add_path(root / "sub")
    with pytest.raises(KnowledgeError, match=r"top\.md is in no folder.*add_path"):
        await kb.update(root / "top.md")


async def test_a_single_file_is_followed_like_a_folder(kb: KnowledgeBase, root: Path) -> None:
    file = root / "top.md"
    assert (await kb.add_path(file, prefix="one/")).added == ("one/top.md",)
    assert (await kb.add_path(file, prefix="one/")).unchanged == ("one/top.md",)
    _edit(file)
    assert (await kb.update(file)).changed == ("one/top.md",)
    file.unlink()
    assert (await kb.update(file)).removed == ("one/top.md",)


async def test_links_to_one_file_are_one_document(kb: KnowledgeBase, root: Path) -> None:
    (root / "alias.md").symlink_to("top.md")
    (root.parent / "outside.md").symlink_to(root / "top.md")
    await kb.add_path(root.parent / "outside.md")
    await kb.add_path(root)
    assert sorted(await _texts(kb)) == DOCUMENTS
    for name in (root / "alias.md", root.parent / "outside.md"):
        assert (await kb.add_path(name)).unchanged == ("top.md",)


async def test_a_hidden_file_and_one_of_another_kind_are_documents_of_their_own(
    kb: KnowledgeBase, root: Path
) -> None:
    (root / ".hidden").mkdir()
    await kb.add_path(root)
    for name in (".hidden/h.md", "data.unknown"):
        (root / name).write_text("text", encoding="utf-8")
        await kb.add_path(root / name)
    report = await kb.add_path(root)
    assert report.removed == ()
    assert sorted(await _texts(kb)) == sorted([*DOCUMENTS, "h.md", "data.unknown"])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_a_name_is_one_document_in_every_unicode_form(
    kb: KnowledgeBase, tmp_path: Path, form: str
) -> None:
    (tmp_path / "notes").mkdir()
    on_disk = tmp_path / "notes" / unicodedata.normalize(form, "é가.md")  # type: ignore[arg-type]
    on_disk.write_text("# Accents", encoding="utf-8")
    await kb.add_path(tmp_path / "notes")
    _edit(on_disk)
    other = unicodedata.normalize("NFC" if form == "NFD" else "NFD", on_disk.name)
    assert (await kb.update(on_disk.with_name(other))).changed == ("é가.md",)
    assert (await kb.document(unicodedata.normalize("NFD", "é가.md"))).title == "New"


async def test_two_files_with_names_that_read_the_same_are_reported(
    kb: KnowledgeBase, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    for form in ("NFC", "NFD"):
        (tmp_path / "notes" / f"{unicodedata.normalize(form, 'é')}.md").write_text(form)
    if len(list((tmp_path / "notes").iterdir())) == 1:
        pytest.skip("the file system takes both names for one")
    assert "Unicode form" in (await kb.add_path(tmp_path / "notes")).warnings[0]
    report = await kb.add_path(tmp_path / "notes")
    assert (report.unchanged, report.has_news) == (("é.md",), False)


async def test_only_a_document_of_an_existing_other_file_is_a_conflict(
    kb: KnowledgeBase, root: Path, tmp_path: Path
) -> None:
    await kb.add([Document("top.md", "by hand")])
    assert (await kb.add_path(root)).warnings == ()
    root.rename(tmp_path / "renamed")
    assert (await kb.add_path(tmp_path / "renamed")).warnings == ()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "top.md").write_text("another file")
    assert "from another folder" in (await kb.add_path(tmp_path / "other")).warnings[0]


async def test_remove_refuses_an_unknown_source_and_discard_ignores_it(
    kb: KnowledgeBase, root: Path
) -> None:
    await kb.add_path(root)
    with pytest.raises(KnowledgeError, match=r"Did you mean 'top\.md'"):
        await kb.remove(["sub/a.md", "topp.md"])
    assert sorted(await _texts(kb)) == DOCUMENTS
    assert await kb.discard(["sub/a.md", "topp.md"]) == ("sub/a.md",)
    assert await kb.discard("sub/a.md") == ()
    await kb.remove("top.md")
    assert sorted(await _texts(kb)) == ["sub/deep/b.md"]


async def test_odd_characters_in_folders_and_prefixes_keep_their_meaning(
    kb: KnowledgeBase, tmp_path: Path
) -> None:
    for name in ("a|b", "a%7Cb", "100%"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.md").write_text(name, encoding="utf-8")
        await kb.add_path(tmp_path / name, prefix=f"{name}|/")
    for name in ("a|b", "a%7Cb", "100%"):
        assert (await kb.update(tmp_path / name / "x.md")).unchanged == (f"{name}|/x.md",)


@pytest.mark.parametrize("seed", range(16))
async def test_any_order_of_calls_leaves_one_document_for_each_file(
    tmp_path: Path, embedder: TermEmbedder, seed: int
) -> None:
    chance, base = random.Random(seed), tmp_path / "root"
    paths = [*FILES, "", "s", "s/t", "u", "s/.hidden", "link.md", "u/link.md"]
    for name in FILES:
        _write(base / name, "# First")
    with KnowledgeBase.open(tmp_path / "index", embedder, vectors=MemoryVectors()) as kb:
        for number in range(14):
            _change(base, chance, number)
            with suppress(KnowledgeError):
                path, prefix = base / chance.choice(paths), chance.choice(["", "", "p/"])
                await (kb.update(path) if number % 3 else kb.add_path(path, prefix=prefix))
                if path.is_file():
                    text = path.read_text(encoding="utf-8")
                    assert text in (await _texts(kb)).values()
            titles = [text for text in (await _texts(kb)).values() if text != "# First"]
            assert len(titles) == len(set(titles))
        await kb.add_path(base)
        with KnowledgeBase.open(tmp_path / "new", embedder, vectors=MemoryVectors()) as fresh:
            await fresh.add_path(base)
            expected, found = await _texts(fresh), await _texts(kb)
        assert {s: t for s, t in found.items() if s not in HIDDEN} == expected


FILES = ["a.md", "b.md", "s/a.md", "s/c.md", "s/t/d.md", "u/a.md", "s/.hidden/x.md"]
HIDDEN = ["x.md", "p/x.md"]


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _change(base: Path, chance: random.Random, number: int) -> None:
    """Edit, delete, rename or link a file."""
    one, other = (base / name for name in chance.sample(FILES, 2))
    link = base / chance.choice(["link.md", "u/link.md"])
    match chance.choice(["edit", "edit", "delete", "rename", "link"]):
        case "edit":
            _write(one, f"# Edit {number}")
        case "delete":
            one.unlink(missing_ok=True)
        case "rename" if one.exists() and not other.exists():
            one.rename(other)
            _write(other, f"# Moved {number}")
        case "link" if not link.is_symlink() and ".hidden" not in one.parts:
            link.symlink_to(one)
