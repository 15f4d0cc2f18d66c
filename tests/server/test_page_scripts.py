"""The page's modules, tested by Node's own test runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.node import FOLDER, with_node

SCRIPTS = sorted((Path(__file__).with_name("page")).glob("*.test.js"))


@pytest.mark.slow
@with_node
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_pages_modules_do_as_their_tests_say(script: Path) -> None:
    done = subprocess.run(
        [FOLDER.node, "--test", str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
