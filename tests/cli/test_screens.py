"""The screens of every command but the chat, as people see them in a terminal."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pyte
import pytest

from tests.cli.screens import check, in_every_look, render_screen

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROWS = 1500


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder whose name is short, and as long as any other's."""
    with tempfile.TemporaryDirectory(prefix="tour-", dir="/tmp") as folder:
        yield Path(folder)


@in_every_look
def test_every_command_looks_as_it_was_looked_at(columns: Any, look: Any, place: Path) -> None:
    removed = ("NO_COLOR", "COLUMNS", "LINES", "AGENTKIT_SCREEN_READER")
    env = {name: value for name, value in os.environ.items() if name not in removed}
    env |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "OLLAMA_HOST": "127.0.0.1:1"}
    env |= {"NO_COLOR": "1"} if look == "plain" else {}
    command = ["-m", "tests.cli.screen_tour", str(place)]
    child = pexpect.spawn(
        sys.executable, command, cwd=ROOT, env=env, dimensions=(ROWS, columns), timeout=110
    )
    screen = pyte.Screen(columns, ROWS)
    child.expect_exact("[y/N] ")
    child.send("y\r")
    pyte.ByteStream(screen).feed(child.before + child.after + child.read())
    child.close()
    assert child.exitstatus == 0
    _, *parts = re.split("^=== ", render_screen(screen, look), flags=re.MULTILINE)
    found = {}
    for number, part in enumerate(parts, 1):
        title, _, text = part.partition("\n")
        found[f"{number}. agentkit {title}"] = text.rstrip().replace(str(place), "/tmp/tour")
    check(f"commands-{columns}-{look}", found)
