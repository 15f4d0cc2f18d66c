"""`agentkit init` as a user meets it."""

from pathlib import Path
from typing import Any

import pytest

from agentkit.project.trust import is_trusted
from tests.cli.process import run_agentkit
from tests.cli.terminals import Terminal

pytestmark = pytest.mark.slow


def test_it_says_what_it_made_and_the_two_commands_that_come_next(tmp_path: Path) -> None:
    done = run_agentkit("init", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "Made in this folder:"
    assert [line.split()[0] for line in lines[1:7]] == [
        "agentkit.toml", "knowledge/welcome.md", "tools/split_bill.py", "mcp_servers/mcp.json",
        "questions.jsonl", ".gitignore",
    ]  # fmt: skip
    assert lines[7:] == [
        "Next:",
        '  agentkit ask "How do I add my documents?"',
        "  agentkit chat",
    ]
    assert is_trusted(tmp_path)


def test_it_makes_a_folder_of_that_name_and_says_how_to_ask_there(tmp_path: Path) -> None:
    done = run_agentkit("init", "my app", cwd=tmp_path)
    assert "Made in my app:" in done.stdout
    assert "agentkit chat '--folder=my app'" in done.stdout
    assert (tmp_path / "my app" / "agentkit.toml").is_file()


def test_it_fits_fifty_columns(tmp_path: Path) -> None:
    screen = Terminal("init", tmp_path / "app", columns=50, rows=40)
    screen.until(lambda: "agentkit chat" in screen.text, "the next commands")
    assert screen.close() == 0


def test_a_second_time_it_changes_nothing(tmp_path: Path) -> None:
    run_agentkit("init", cwd=tmp_path)
    (tmp_path / "agentkit.toml").write_text('model = "extractive"\n', encoding="utf-8")
    done = run_agentkit("init", cwd=tmp_path)
    assert done.stdout.startswith("Nothing to make: this folder is complete.")
    assert "agentkit trust" in done.stdout
    text = (tmp_path / "agentkit.toml").read_text(encoding="utf-8")
    assert text == 'model = "extractive"\n'


def test_documents_beside_knowledge_stay_where_nobody_can_be_asked(tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("# Plan", encoding="utf-8")
    done = run_agentkit("init", cwd=tmp_path)
    assert "Not in knowledge/, so not read: plan.md." in done.stdout
    assert (tmp_path / "plan.md").is_file()


def test_documents_of_a_repository_are_not_offered_to_be_moved(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").write_text("# Mine", encoding="utf-8")
    screen = Terminal("init", tmp_path)
    assert screen.close() == 0
    assert "[y/N]" not in screen.whole
    assert (tmp_path / "README.md").is_file()


def test_code_of_a_stranger_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "theirs.py").write_text("print('boo')", encoding="utf-8")
    done = run_agentkit("init", cwd=tmp_path)
    assert "are not used until you run: agentkit trust" in done.stdout
    assert not is_trusted(tmp_path)


def test_from_demo_copies_the_lecture_notes(tmp_path: Path) -> None:
    done = run_agentkit("init", "--from-demo", "demo", cwd=tmp_path)
    assert done.returncode == 0
    assert "agentkit ask --folder=demo" in done.stdout
    assert (tmp_path / "demo" / "questions.jsonl").is_file()


@pytest.mark.parametrize("options", [[], ["--from-demo"]])
def test_what_cannot_be_made_is_one_line_and_code_3(tmp_path: Path, options: Any) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = run_agentkit("init", *options, tmp_path / "file" / "app")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
