"""Files of given folders, and no others."""

import os
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ConfigError, ToolError
from agentkit.project.builtin_tools import builtin_tools
from agentkit.tools.tool import Tool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "notes"
    (root / "deep").mkdir(parents=True)
    (root / "one.md").write_text("# One\n\nAlpha beta.\n", encoding="utf-8")
    (root / "deep" / "two.txt").write_bytes("第二个文件 ALPHA".encode("gb18030"))
    (root / ".secret").write_text("alpha key", encoding="utf-8")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("alpha", encoding="utf-8")
    (root / "image.bin").write_bytes(b"\x00\x01alpha")
    (tmp_path / "outside.txt").write_text("alpha outside", encoding="utf-8")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "up").symlink_to(tmp_path)
    return root


@pytest.fixture
def tools(folder: Path) -> dict[str, Tool]:
    return {tool.name: tool for tool in builtin_tools(["files"], roots=[folder])}


async def test_files_are_listed_without_the_hidden_and_what_leads_out(tools: Any) -> None:
    listed = (await tools["list_files"].run({})).content
    assert [line.split()[0] for line in listed.splitlines()] == [
        "image.bin",
        "one.md",
        "deep/two.txt",
    ]
    assert ((await tools["list_files"].run({"pattern": "*.txt"})).content).startswith(
        "deep/two.txt"
    )
    assert ((await tools["list_files"].run({"path": "deep"})).content).startswith("deep/two.txt")


async def test_a_file_is_read_in_whatever_encoding_it_has(tools: Any) -> None:
    assert (await tools["read_file"].run({"path": "deep/two.txt"})).content == "第二个文件 ALPHA"


async def test_a_long_file_comes_in_pieces(tools: Any, folder: Path) -> None:
    (folder / "long.txt").write_text("a" * 8000 + "b" * 10, encoding="utf-8")
    first = (await tools["read_file"].run({"path": "long.txt"})).content
    assert first.endswith("a\n[10 more characters: start=8000]")
    assert (await tools["read_file"].run({"path": "long.txt", "start": 8000})).content == "b" * 10
    assert (
        "the file has 8010 characters"
        in (await tools["read_file"].run({"path": "long.txt", "start": 9000})).content
    )


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt",
        "link.txt",
        "up/outside.txt",
        "/etc/passwd",
        ".secret",
        ".git/config",
        "deep/../.secret",
        "a\0b",
        "x" * 400,
        "missing.txt",
        "deep",
        "",
    ],
)
async def test_nothing_outside_hidden_or_missing_is_read_or_written(
    tools: Any, folder: Path, path: str
) -> None:
    with pytest.raises(ToolError):
        await tools["read_file"].run({"path": path})
    if path != "missing.txt":
        with pytest.raises(ToolError):
            await tools["write_file"].run({"path": path, "text": "x", "overwrite": True})
    assert (folder.parent / "outside.txt").read_text(encoding="utf-8") == "alpha outside"


async def test_what_is_no_text_is_named(tools: Any) -> None:
    with pytest.raises(ToolError, match=r"image\.bin: not text"):
        await tools["read_file"].run({"path": "image.bin"})


async def test_words_are_found_in_text_files_whatever_their_case(tools: Any) -> None:
    assert ((await tools["search_files"].run({"text": "alpha"})).content).splitlines() == [
        "one.md:3: Alpha beta.",
        "deep/two.txt:1: 第二个文件 ALPHA",
    ]
    assert (await tools["search_files"].run({"text": "gamma"})).content == "No matches."
    assert (await tools["search_files"].run({"text": "alpha", "pattern": "*.py"})).content == (
        "No matches."
    )


async def test_many_matches_are_cut_and_that_is_reported(tools: Any, folder: Path) -> None:
    (folder / "many.txt").write_text("alpha\n" * 60, encoding="utf-8")
    found = (
        (await tools["search_files"].run({"text": "alpha", "path": "many.txt"})).content
    ).splitlines()
    assert len(found) == 51
    assert found[-1] == "... and more. Narrow by path or pattern."


async def test_writing_asks_and_replaces_only_on_request(tools: Any, folder: Path) -> None:
    write = tools["write_file"]
    assert write.needs_approval
    assert not any(tool.needs_approval for tool in tools.values() if tool is not write)
    assert "Wrote deep" in (await write.run({"path": "deep/new.txt", "text": "新"})).content
    with pytest.raises(ToolError, match="set overwrite to true"):
        await write.run({"path": "deep/new.txt", "text": "other"})
    assert (folder / "deep" / "new.txt").read_text(encoding="utf-8") == "新"
    await write.run({"path": "deep/new.txt", "text": "other", "overwrite": True})
    assert (folder / "deep" / "new.txt").read_text(encoding="utf-8") == "other"
    assert sorted(os.listdir(folder / "deep")) == ["new.txt", "two.txt"]


async def test_a_file_needs_a_folder_that_is_there(tools: Any) -> None:
    with pytest.raises(ToolError, match="its folder does not exist"):
        await tools["write_file"].run({"path": "nowhere/new.txt", "text": "x"})


async def test_two_folders_are_distinguished_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.txt").write_text(name, encoding="utf-8")
    roots = [tmp_path / "a", tmp_path / "b"]
    tools = {tool.name: tool for tool in builtin_tools(["files"], roots=roots)}
    assert (await tools["read_file"].run({"path": "b/same.txt"})).content == "b"
    assert "a/same.txt" in (await tools["list_files"].run({})).content
    with pytest.raises(ToolError, match="one of the folders: a, b"):
        await tools["read_file"].run({"path": "same.txt"})


def test_folders_that_cannot_be_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a folder"):
        builtin_tools(["files"])
    with pytest.raises(ConfigError, match="is not a directory"):
        builtin_tools(["files"], roots=[tmp_path / "missing"])
    with pytest.raises(ConfigError, match="same name"):
        builtin_tools(["files"], roots=[tmp_path, tmp_path])


async def test_a_hard_link_is_read_only_if_all_names_of_its_file_are_visible_inside(
    tools: Any, folder: Path, tmp_path: Path
) -> None:
    os.link(tmp_path / "outside.txt", folder / "hard.txt")
    os.link(folder / ".secret", folder / "deep" / "open.txt")
    os.link(folder / "one.md", folder / "deep" / "same.md")
    for path in ("hard.txt", "deep/open.txt"):
        with pytest.raises(ToolError, match="hard link"):
            await tools["read_file"].run({"path": path})
        with pytest.raises(ToolError, match="hard link"):
            await tools["write_file"].run({"path": path, "text": "x", "overwrite": True})
        assert not (await tools["list_files"].run({"pattern": Path(path).name})).content.count(path)
    assert "hard.txt" not in (await tools["search_files"].run({"text": "outside"})).content
    assert "Alpha" in (await tools["read_file"].run({"path": "deep/same.md"})).content
    assert "deep/same.md" in (await tools["list_files"].run({})).content
