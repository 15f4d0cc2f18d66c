"""`agentkit kb` as a user meets it, in a process of its own."""

import json
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli.process import run_agentkit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one collection beside its own index."""
    folder = tmp_path_factory.mktemp("kb")
    notes = folder / "knowledge"
    notes.mkdir()
    (notes / "注意力.md").write_text("# 注意力机制\n\n自注意力让每个词交互。", encoding="utf-8")
    (notes / "memory.md").write_text("# Memory\n\n7B takes 4.2 GB.", encoding="utf-8")
    assert _agentkit(folder, "index").returncode == 0
    return folder


def _kb(folder: Path, command: str, *arguments: str | Path) -> CompletedProcess[str]:
    return _agentkit(folder, "kb", command, *arguments)


def _agentkit(folder: Path, command: str, *arguments: str | Path) -> CompletedProcess[str]:
    return run_agentkit(command, *arguments, "-C", folder, env={"COLUMNS": "80"})


def test_a_collection_is_carried_away_brought_back_listed_and_removed(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "论文.zip"
    assert "2 documents, 2 passages" in _kb(folder, "export", "knowledge", file).stdout
    made = _kb(folder, "import", file, "--name", "论文 2026")
    assert made.stdout == "论文 2026: 2 documents, 2 passages.\n", made.stderr
    found = json.loads(_kb(folder, "list", "--json").stdout)
    assert [(info["name"], info["documents"]) for info in found] == [
        ("knowledge", 2),
        ("论文 2026", 2),
    ]
    refused = _kb(folder, "remove", "论文 2026")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "--yes" in refused.stderr
    assert _kb(folder, "remove", "论文 2026", "memory.md", "--yes").returncode == 0
    assert [d["source"] for d in json.loads(_kb(folder, "show", "论文 2026", "--json").stdout)] == [
        "注意力.md"
    ]
    assert _kb(folder, "remove", "论文 2026", "--yes").stdout == "Removed: 论文 2026\n"
    assert len(json.loads(_kb(folder, "list", "--json").stdout)) == 1


def test_show_and_stats_print_what_is_there(folder: Path) -> None:
    shown = _kb(folder, "show", "knowledge").stdout
    assert "注意力机制" in shown
    assert "markdown" in shown
    stats = json.loads(_kb(folder, "stats", "--json").stdout)
    assert (stats["documents"], stats["chunks"], stats["dimension"]) == (2, 2, 384)
    assert stats["largest"][0] == ["memory.md", 26]
    assert stats["bytes"] >= stats["catalog_bytes"] + stats["chroma_bytes"] > 0
    assert "full text" in _kb(folder, "stats", "knowledge").stdout


def test_the_doctor_finds_and_repairs_damage_and_reports_by_its_exit_code(folder: Path) -> None:
    shutil.rmtree(folder / ".agentkit" / "index" / "chroma")
    found = _kb(folder, "doctor")
    assert found.returncode == 8
    assert "its folder does not exist" in found.stdout
    assert "agentkit kb doctor --repair" in found.stdout
    repaired = _kb(folder, "doctor", "--repair", "--json")
    assert (repaired.returncode, json.loads(repaired.stdout)) == (0, {"knowledge": []})


def test_an_unknown_name_and_an_empty_folder_are_one_line_each(
    folder: Path, tmp_path: Path
) -> None:
    for done in (_kb(folder, "show", "knowlege"), _kb(tmp_path, "doctor")):
        assert (done.returncode, done.stdout) == (8, "")
        assert done.stderr.count("\n") == 1
    assert "no collection yet" in _kb(tmp_path, "list").stderr
