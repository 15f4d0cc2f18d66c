"""A served folder and a Chromium that looks at it; skipped where there is no browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from reportlab.pdfgen.canvas import Canvas

from tests.server.browser.app import KEY_VARIABLE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[3]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
SLOWEST_MS = 30_000

STORAGE = """# Storage

The archive keeps everything that the laboratory produces.

## Backups

A backup of the archive is made every Sunday at 03:00 and kept for 90 days.

## Limits

One bucket holds at most 500 objects.

| Tier | Copies | Kept |
|---|---:|---|
| hot | 3 | 90 days |
| cold | 2 | 7 years |
"""
TOOLS = '''from agentkit import tool


@tool(needs_approval=True)
def delete_run(run: int, reason: str = "", force: bool = False) -> str:
    """Delete the files of a run.

    Args:
        run: Number of the run.
        reason: Why it may be deleted.
        force: Delete it even if it is locked.
    """
    return f"run {run} deleted, {reason}"
'''


def write_folder(path: Path) -> Path:
    """A project folder with a document and a tool."""
    (path / "knowledge").mkdir(parents=True)
    (path / "tools").mkdir()
    (path / "knowledge" / "storage.md").write_text(STORAGE, encoding="utf-8")
    (path / "tools" / "runs.py").write_text(TOOLS, encoding="utf-8")
    (path / "agentkit.toml").write_text(
        '[serve]\nexamples = ["When is the archive backed up?", "Delete run 17"]\n',
        encoding="utf-8",
    )
    return path


def write_pdf(path: Path) -> Path:
    """A PDF of three pages; the second has what the tests ask for."""
    canvas = Canvas(str(path))
    for lines in (
        ["Operations manual", "This manual is for the staff of the archive."],
        ["Verification", "The copy of the archive is verified by checksum on Monday morning."],
        ["Contacts", "Call the help desk before you replace a disk."],
    ):
        for number, line in enumerate(lines):
            canvas.setFont(
                "Helvetica-Bold" if number == 0 else "Helvetica", 20 if number == 0 else 12
            )
            canvas.drawString(72, 760 - 40 * number, line)
        canvas.showPage()
    canvas.save()
    return path


@contextmanager
def served(folder: Path, key: str = "") -> Iterator[str]:
    """The address of a folder that is served in a process, where callers need `key` if given."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", KEY_VARIABLE: key}
    command = [sys.executable, "-m", "tests.server.browser.app", str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url, "the server did not start"
        yield url
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a served folder, one for the tests of a file."""
    with served(write_folder(tmp_path_factory.mktemp("served") / "handbook")) as url:
        yield url


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A browser that asks no other server for anything by itself."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed: apt install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    api.expect.set_options(timeout=SLOWEST_MS)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def faults() -> list[str]:
    """What the browser complains about: script errors, violations of the content policy, and
    requests to other servers. Empty at the end of each test."""
    return []


@pytest.fixture
def page(chromium: Browser, address: str, faults: list[str]) -> Iterator[Page]:
    """The page in a new browser profile, at desktop size, in English."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 860}, locale="en-US", permissions=["clipboard-write"]
    )
    context.set_default_timeout(SLOWEST_MS)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: faults.extend(_outside(request.url, address)))
    page.on("console", lambda message: faults.extend(policy_faults(message.text)))
    page.goto(address)
    page.get_by_role("textbox", name="Your question").wait_for()
    yield page
    context.close()
    assert faults == []


def _outside(url: str, address: str) -> list[str]:
    """The fault of a request to another server."""
    own = ("data:", "blob:", f"{address}/")
    return [] if url.startswith(own) else [f"outside request: {url}"]


def policy_faults(text: str) -> list[str]:
    """The fault that a browser reports of a violated content policy."""
    return [text] if "Content Security Policy" in text else []
