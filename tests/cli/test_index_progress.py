"""`agentkit index` in a pipe: lines of progress, and what an interruption keeps."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import run_agentkit

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


def test_files_that_cannot_be_read_are_named_once_and_counted_by_reason(tmp_path: Path) -> None:
    knowledge = tmp_path / "knowledge"
    knowledge.mkdir()
    (knowledge / "a.md").write_text("# A\n\nalpha")
    for number in range(5):
        (knowledge / f"f{number}.docx").write_text("no Word file")
    first, again = (run_agentkit("index", "--folder", tmp_path) for _ in range(2))
    assert "5 files: damaged: open it in its program" in first.stderr
    line = f"5 files not read: agentkit kb show --unread -C {tmp_path}"
    assert line in first.stderr.splitlines()
    assert f"{line} (damaged: open it in its program" in again.stderr
    assert "f0.docx" not in again.stderr
    listed = run_agentkit("kb", "show", "--unread", "--folder", tmp_path)
    assert listed.stdout.count("damaged: open it in its program") == 5
    (knowledge / "f0.docx").unlink()
    assert "4 files not read" in run_agentkit("index", "--folder", tmp_path).stderr


def test_a_run_is_reported_as_json_for_programs(tmp_path: Path) -> None:
    knowledge = tmp_path / "knowledge"
    knowledge.mkdir()
    (knowledge / "a.md").write_text("# A\n\nalpha")
    (knowledge / "bad.pdf").write_text("no PDF")
    first = json.loads(run_agentkit("index", "--json", "--folder", tmp_path).stdout)
    assert (first["added"], first["embedded"], first["documents"]) == (["a.md"], 1, 1)
    assert list(first["unread"]) == ["bad.pdf"]
    (knowledge / "a.md").write_text("# A\n\nbeta")
    again = json.loads(run_agentkit("index", "--json", "--folder", tmp_path).stdout)
    assert (again["added"], again["changed"], again["removed"]) == ([], ["a.md"], [])
    assert list(again["unread"]) == ["bad.pdf"]


def test_a_file_that_is_named_and_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "a.md").write_text("# A\n\nalpha")
    (tmp_path / "bad.pdf").write_text("no PDF")
    run_agentkit("index", "--folder", tmp_path)
    for _ in range(2):
        refused = run_agentkit("index", tmp_path / "bad.pdf", "--folder", tmp_path)
        assert refused.returncode != 0
        assert "bad.pdf: not a PDF" in refused.stderr
