"""Files that need trust and change while the server runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agentkit import Project
from agentkit.project.trust import trust
from agentkit.server.app import create_app
from agentkit.server.reloading import TrustWatch
from agentkit.server.service import Service

TOOL = """from agentkit import tool

@tool
def greet() -> str:
    \"\"\"Greet.\"\"\"
    return "Hello"
"""

Watching = tuple[Service, TrustWatch, list[str]]


@pytest.fixture
async def watching(folder: Path) -> AsyncIterator[Callable[[bool], Watching]]:
    """Serve the folder, whose tool is trusted, and watch it."""
    (folder / "tools").mkdir()
    (folder / "tools" / "greet.py").write_text(TOOL, encoding="utf-8")
    trust(folder)
    project = Project.open(folder, model="extractive")
    project.in_background = True
    async with project:
        server: Service = create_app(project).state.service

        def watched(dev: bool) -> Watching:
            reports: list[str] = []
            return server, TrustWatch(server, dev=dev, report=reports.append), reports

        yield watched


async def test_a_changed_tool_is_shown_reported_once_and_waits_for_trust(
    watching: Callable[[bool], Watching], folder: Path
) -> None:
    server, watch, reports = watching(False)
    (folder / "tools" / "greet.py").write_text(TOOL.replace("Hello", "Hi"), encoding="utf-8")
    (folder / "tools" / "more.py").write_text("", encoding="utf-8")
    await watch.check()
    await watch.check()
    assert server.changed == [
        {"path": "tools/greet.py", "what": "changed"},
        {"path": "tools/more.py", "what": "added"},
    ]
    assert not server.reload.is_set()
    trust(folder)
    await watch.check()
    assert server.changed == []
    assert server.reload.is_set()
    waits, used = reports
    assert "not used until you trust it: tools/greet.py, tools/more.py" in waits
    assert f"agentkit trust {folder}" in waits
    assert "opened again: tools/greet.py, tools/more.py changed" in used


async def test_a_change_that_is_taken_back_is_not_shown_any_more(
    watching: Callable[[bool], Watching], folder: Path
) -> None:
    server, watch, _ = watching(False)
    (folder / "tools" / "greet.py").write_text("x = 1", encoding="utf-8")
    await watch.check()
    assert server.changed == [{"path": "tools/greet.py", "what": "changed"}]
    (folder / "tools" / "greet.py").write_text(TOOL, encoding="utf-8")
    await watch.check()
    assert server.changed == []
    assert not server.reload.is_set()


async def test_in_development_a_changed_tool_is_used_at_once(
    watching: Callable[[bool], Watching], folder: Path
) -> None:
    server, watch, _ = watching(True)
    (folder / "tools" / "greet.py").write_text(TOOL.replace("Hello", "Hi"), encoding="utf-8")
    await watch.check()
    assert server.reload.is_set()


async def test_a_live_setting_is_applied_without_opening_the_project_again(
    watching: Callable[[bool], Watching], folder: Path
) -> None:
    server, watch, _ = watching(False)
    settings = folder / "agentkit.toml"
    settings.write_text('instructions = "Be brief."\n[knowledge]\nresults = 3\n', encoding="utf-8")
    await watch.check()
    assert server.agent.instructions == ""
    trust(folder)
    await watch.check()
    assert server.agent.instructions == "Be brief."
    assert server.agent.retrieval.results == 3
    assert not server.reload.is_set()
    settings.write_text("[knowledge]\nrerank = 'st:x'\n", encoding="utf-8")
    trust(folder)
    await watch.check()
    assert server.reload.is_set()


async def test_settings_that_cannot_be_read_have_the_project_opened_again(
    watching: Callable[[bool], Watching], folder: Path
) -> None:
    server, watch, _ = watching(True)
    (folder / "agentkit.toml").write_text("model = [1]\n", encoding="utf-8")
    await watch.check()
    assert server.reload.is_set()
