"""`agentkit doctor` as a user meets it: every line, its exit codes, and narrow terminals."""

import json
import re
from pathlib import Path

import pytest

from agentkit.project.scaffold import make_project
from agentkit.project.trust import trust
from tests.cli.process import run_agentkit
from tests.cli.terminals import Terminal
from tests.servers.ollama_server import OllamaServer

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_project(tmp_path / "app").folder


def test_a_new_project_is_reported_line_by_line_with_code_0(folder: Path) -> None:
    done = run_agentkit("doctor", "-C", folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(
        re.match(r"(ok|note|warning|problem) +\w+: |         \S", line) for line in lines[:-1]
    )
    assert "ok       trust: trusted (3 files)" in lines
    assert "\x1b" not in done.stdout


def test_programs_get_one_object(folder: Path) -> None:
    done = run_agentkit("doctor", "-C", folder, "--json")
    reported = json.loads(done.stdout)
    assert list(reported) == ["findings", "counts"]
    assert {"level", "part", "message", "next_step", "repairable"} == set(reported["findings"][0])
    assert sum(reported["counts"].values()) == len(reported["findings"])


def test_a_problem_is_code_3(folder: Path) -> None:
    (folder / "agentkit.toml").write_text('model = "gguf:/no.gguf"\n', encoding="utf-8")
    trust(folder)
    done = run_agentkit("doctor", "-C", folder)
    assert done.returncode == 3
    assert re.search(r"problem  model: .*/no\.gguf", done.stdout)
    assert done.stdout.splitlines()[-1].startswith("1 problem")


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = run_agentkit("doctor", "-C", tmp_path / "gone")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1


def test_an_old_ollama_is_reported_to_be_upgraded(
    folder: Path, ollama_server: OllamaServer
) -> None:
    ollama_server.version = "0.5.4"
    done = run_agentkit("doctor", "-C", folder, env={"OLLAMA_HOST": ollama_server.url})
    assert "ollama 0.5.4 has a known vulnerability" in done.stdout
    assert "Upgrade it to 0.17.1 or newer." in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("columns", [80, 50])
def test_in_a_terminal_long_lines_fold_beside_the_level(folder: Path, columns: int) -> None:
    screen = Terminal("doctor", "-C", folder, columns=columns, rows=70)
    assert screen.close() == 0
    lines = [line for line in screen.whole.splitlines() if line.strip()]
    levels = re.compile(r"(ok|note|warning|problem) +\w")
    assert all(levels.match(line) or line.startswith(" " * 9) for line in lines[:-1])
    assert screen.row("packages:")[0].fg == "green"


def test_without_colours_nothing_is_lost(folder: Path) -> None:
    screen = Terminal("doctor", "-C", folder, rows=70, NO_COLOR="1")
    assert screen.close() == 0
    assert screen.row("packages:")[0].fg == "default"
    assert "ok       packages:" in screen.whole
