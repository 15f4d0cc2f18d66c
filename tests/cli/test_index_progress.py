"""`agentkit index` in a pipe: lines of progress, and what an interruption keeps."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="it sends SIGINT"),
]

WORDS = [
    "pump",
    "valve",
    "seal",
    "pressure",
    "motor",
    "bearing",
    "filter",
    "sensor",
    "cable",
    "housing",
    "flange",
    "gasket",
]


def test_progress_is_printed_by_line_and_an_interruption_says_what_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "knowledge"
    folder.mkdir()
    chance = random.Random(5)
    for number in range(300):
        text = " ".join(chance.choices(WORDS, k=600))
        (folder / f"note{number:03}.md").write_text(f"# Note {number}\n\n{text}\n")
    command = [sys.executable, "-m", "agentkit", "index", "--folder", str(tmp_path)]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert run.stderr is not None
    line = run.stderr.readline()
    assert line.startswith("indexing ")
    assert "/300 " in line
    assert "\x1b" not in line
    run.send_signal(signal.SIGINT)
    printed, errors = run.communicate(timeout=120)
    assert run.returncode == 130
    assert printed == ""
    assert "of 300 documents are indexed" in errors.splitlines()[-1]
