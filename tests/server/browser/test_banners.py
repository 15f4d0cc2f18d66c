"""Banners of the page of `agentkit serve`: no language model, changed tools, trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Page, expect

from agentkit.project.trust import trust
from tests.server.browser.conftest import write_folder
from tests.server.browser.test_conversation import ask, wait_for_answer
from tests.server.process import Served, serve_process

pytestmark = pytest.mark.slow

QUESTION = "When is a backup of the archive made?"
NEW_TOOL = '''from agentkit import tool


@tool
def count_runs() -> int:
    """Count the runs."""
    return 3
'''
BROKEN_SETTINGS = "instructions = 3\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = write_folder(tmp_path / "handbook")
    trust(path)
    return path


@pytest.fixture
def server(folder: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    """The served folder, with the options of the test."""
    options = getattr(request, "param", ())
    with serve_process(folder, "--model", "extractive", *options) as served:
        yield served


@pytest.fixture
def address(server: Served) -> str:
    return server.url


def reports(server: Served, text: str) -> int:
    """How many lines of the terminal have a text."""
    return sum(text in line for line in list(server.lines))


def wait_until(page: Page, condition: Callable[[], bool]) -> None:
    for _ in range(150):
        if condition():
            return
        page.wait_for_timeout(200)
    raise AssertionError("the server did not report the change")


def test_without_a_language_model_a_banner_says_how_to_add_one(page: Page) -> None:
    banner = page.locator(".banner", has_text="No language model is set up")
    expect(banner.locator("code").first).to_contain_text("ollama pull")
    ask(page, QUESTION)
    wait_for_answer(page)
    expect(page.locator(".answer")).to_contain_text("every Sunday at 03:00")
    banner.get_by_role("button", name="Dismiss").click()
    expect(banner).to_have_count(0)


def test_a_changed_tool_waits_for_trust_on_the_page_and_in_the_terminal(
    page: Page, server: Served, folder: Path
) -> None:
    (folder / "tools" / "count.py").write_text(NEW_TOOL, encoding="utf-8")
    banner = page.locator(".banner", has_text="wait for trust")
    expect(banner).to_contain_text("tools/count.py")
    expect(banner.locator("code")).to_have_text("agentkit trust")
    page.reload()
    expect(banner).to_contain_text("tools/count.py")
    trust(folder)
    expect(banner).to_have_count(0)
    wait_until(page, lambda: reports(server, "opened again: tools/count.py changed") == 1)
    assert reports(server, "not used until you trust it: tools/count.py") == 1
    ask(page, QUESTION)
    wait_for_answer(page)


@pytest.mark.parametrize("server", [("--dev",)], indirect=True)
def test_in_development_a_changed_tool_is_used_without_a_banner(
    page: Page, server: Served, folder: Path
) -> None:
    (folder / "tools" / "count.py").write_text(NEW_TOOL, encoding="utf-8")
    wait_until(page, lambda: reports(server, "opened again: tools/count.py changed") == 1)
    ask(page, QUESTION)
    wait_for_answer(page)
    expect(page.locator(".banner", has_text="trust")).to_have_count(0)


def test_settings_that_cannot_be_used_are_shown_with_the_reason(page: Page, folder: Path) -> None:
    (folder / "agentkit.toml").write_text(BROKEN_SETTINGS, encoding="utf-8")
    trust(folder)
    banner = page.locator(".banner", has_text="cannot be opened")
    expect(banner).to_contain_text("instructions")
