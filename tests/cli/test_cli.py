"""The command line as a user meets it: in a process of its own, with its exit codes."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from agentkit.project.demo import copy_demo
from tests.cli.process import AGENTKIT, SECONDS, run_agentkit
from tests.servers.http_sessions import INITIALIZE

pytestmark = pytest.mark.slow


def _is_one_line(text: str) -> bool:
    return text.count("\n") == 1 and text.startswith("error: ") and "Traceback" not in text


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, copied and indexed once."""
    folder = copy_demo(tmp_path_factory.mktemp("cli") / "demo")
    done = run_agentkit("index", "--folder", folder)
    assert done.returncode == 0, done.stderr
    assert "5 added" in done.stdout
    return folder


def test_version_and_help_are_quick_to_ask_for() -> None:
    assert run_agentkit("--version").stdout.startswith("agentkit 0.")
    assert {"ask", "chat", "demo"} <= set(run_agentkit("--help").stdout.split())


@pytest.mark.parametrize("variables", [{}, {"PYTHONPATH": ""}], ids=["", "empty PYTHONPATH"])
@pytest.mark.parametrize("form", [AGENTKIT, (str(Path(sys.executable).with_name("agentkit")),)])
def test_no_module_of_the_current_folder_is_imported(
    tmp_path: Path, form: tuple[str, ...], variables: dict[str, str]
) -> None:
    mark = tmp_path / "ran"
    for name in ("yaml", "typer", "rich", "numpy", "psutil", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    done = subprocess.run(
        [*form, "doctor"],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert not mark.exists()


def test_a_second_index_run_touches_nothing(demo: Path) -> None:
    assert "5 unchanged" in run_agentkit("index", "--folder", demo).stdout


def test_search_prints_json_of_the_agreed_shape(demo: Path) -> None:
    hits = json.loads(
        run_agentkit("search", "注意力机制最早用在哪里", "-k", 3, "--json", "-C", demo).stdout
    )
    assert len(hits) == 3
    assert list(hits[0]) == [
        "source", "title", "heading", "page", "part", "start", "end", "score", "text",
    ]  # fmt: skip
    text = (demo / "knowledge" / hits[0]["source"]).read_text(encoding="utf-8")
    assert text[hits[0]["start"] : hits[0]["end"]] == hits[0]["text"]


def test_ask_prints_json_whose_quotes_stand_in_the_files(demo: Path) -> None:
    done = run_agentkit("ask", "什么是知识蒸馏？", "-m", "extractive", "--json", "-C", demo)
    answer = json.loads(done.stdout)
    assert list(answer) == [
        "answer", "citations", "sentences", "unresolved_markers", "left_out", "model",
        "tool_calls", "usage", "cost", "stop_reason",
    ]  # fmt: skip
    assert list(answer["citations"][0]) == [
        "marker", "source", "heading", "page", "part", "start", "end", "quote", "supported",
    ]  # fmt: skip
    for citation in answer["citations"]:
        text = (demo / "knowledge" / citation["source"]).read_text(encoding="utf-8")
        assert text[citation["start"] : citation["end"]] == citation["quote"]


def test_a_piped_answer_is_plain_text_and_the_rest_goes_to_standard_error(demo: Path) -> None:
    done = run_agentkit("ask", "什么是知识蒸馏？", "-m", "extractive", "-C", demo)
    assert "\x1b" not in done.stdout + done.stderr
    assert "search_knowledge" in done.stderr
    assert "search_knowledge" not in done.stdout
    assert "[1] lecture_notes/" in done.stdout


def test_a_closed_pipe_is_quiet(demo: Path) -> None:
    command = f'{" ".join(AGENTKIT)} search 注意力 -k 50 -C "{demo}" | head -n 1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_conversation_by_pipe_answers_lists_and_leaves(demo: Path) -> None:
    lines = "/help\n什么是知识蒸馏？\n/sources\n/tools\n/quti\n/clear\n/sources\n/quit\n"
    done = run_agentkit("chat", "-m", "extractive", "-C", demo, stdin=lines)
    assert done.returncode == 0
    assert "/sources" in done.stdout
    assert done.stdout.count("[1] lecture_notes/") == 2
    assert "estimate_memory" in done.stdout
    assert "Did you mean /quit?" in done.stderr
    assert "Nothing is cited yet" in done.stderr


def test_a_conversation_may_come_from_a_file(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("/help\n", encoding="utf-8")
    with (tmp_path / "lines.txt").open() as lines:
        command = [*AGENTKIT, "chat", "-m", "extractive", "-C", str(demo)]
        done = subprocess.run(command, stdin=lines, capture_output=True, text=True, check=True)
    assert "/sources" in done.stdout


def test_the_demo_ends_with_five_proven_answers_and_the_next_step(tmp_path: Path) -> None:
    done = run_agentkit("demo", "--folder", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("checked against the files") == 5
    assert "Ask your own" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("ask", "x", "-C", "nowhere"), 3, "not a directory"),
        (("ask", "x", "-m", "opnai:gpt"), 3, "openai"),
        (("ask", "x", "-m", "openai:gpt"), 3, "OPENAI_API_KEY"),
        (("ask", "x", "-m", "openai:gpt", "--base-url", "http://127.0.0.1:9/v1"), 4, "127.0.0.1:9"),
        (("index",), 8, "knowledge/"),
        (("search", "x"), 8, "knowledge/"),
        (("ask", " "), 3, "empty"),
        (("eval",), 3, "questions.jsonl"),
    ],
)
def test_an_error_is_one_line_with_the_next_step_and_a_code_of_its_own(
    arguments: Any, code: int, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "agentkit.toml").touch()
    done = run_agentkit(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert _is_one_line(done.stderr.splitlines(keepends=True)[-1]), done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_knowledge_folder_says_what_to_put_there(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    done = run_agentkit("index", cwd=tmp_path)
    assert done.returncode == 8
    assert "Put some there: Markdown, PDF, HTML, Word" in done.stderr


def test_bad_files_are_warnings_and_the_rest_is_indexed(shared_folder: Path) -> None:
    knowledge = shared_folder / "knowledge"
    knowledge.mkdir()
    (knowledge / "good.md").write_text("# 好\n\n可以读的内容。", encoding="utf-8")
    (knowledge / "binary.md").write_bytes(b"\0\1")
    done = run_agentkit("index", cwd=shared_folder)
    assert done.returncode == 0
    assert "1 added" in done.stdout
    assert "note:" in done.stderr
    assert "binary.md" in done.stderr


def test_trust_lists_what_it_covers(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "mine.py").write_text("x = 1", encoding="utf-8")
    done = run_agentkit("trust", tmp_path)
    assert "tools/mine.py" in done.stdout
    assert "not trusted" not in run_agentkit("search", "x", cwd=tmp_path).stderr


def test_what_a_tool_prints_does_not_break_json(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    tool = (
        "from agentkit import tool\nprint('loading')\n"
        "@tool\ndef search_knowledge(query: str) -> str:\n"
        "    'Search.'\n    print('a print')\n    return ''\n"
    )
    (tmp_path / "tools" / "loud.py").write_text(tool, encoding="utf-8")
    (tmp_path / "agentkit.toml").touch()
    assert run_agentkit("trust", tmp_path).returncode == 0
    done = run_agentkit("ask", "x?", "-m", "extractive", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["tool_calls"] == ["search_knowledge"]
    assert "a print" in done.stderr


def test_nothing_is_written_for_a_vendor_in_the_users_home(demo: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    home.mkdir()
    assert run_agentkit("search", "注意力", "-C", demo, env=env).returncode == 0
    written = {path.relative_to(home).parts[:2] for path in home.rglob("*") if path.is_file()}
    assert written <= {("cache", "agentkit")}


def _interruptible(*arguments: str | Path, cwd: Path | None = None) -> Popen[str]:
    """A child that Ctrl-C reaches, also where the tests run in the background of a shell, which
    ignores it for all its children."""
    return subprocess.Popen(
        [*AGENTKIT, *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_ctrl_c_ends_a_server_that_waits_for_its_client(demo: Path) -> None:
    with _interruptible("mcp", "serve", "-C", demo, "-m", "extractive") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(f"{json.dumps(INITIALIZE)}\n")
            child.stdin.flush()
            assert json.loads(child.stdout.readline())["id"] == INITIALIZE["id"]
            child.send_signal(signal.SIGINT)
            assert child.wait(timeout=SECONDS) in (130, -signal.SIGINT)
        finally:
            child.kill()


def _interrupted(child: Popen[str]) -> int:
    """The exit code after Ctrl-C, pressed again where a press met a command and ended only that."""
    for _ in range(20):
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return child.wait(timeout=10)
    pytest.fail("it goes on")


def test_ctrl_c_ends_with_its_own_code_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "agentkit.toml").touch()
    with _interruptible("chat", "-m", "extractive", cwd=tmp_path) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        child.stdin.write("/sources\n")
        child.stdin.flush()
        while "Nothing is cited yet" not in child.stderr.readline():
            assert child.poll() is None
        try:
            assert _interrupted(child) == 130
            assert "Traceback" not in child.stderr.read()
        finally:
            child.kill()


def test_starting_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['agentkit', '--help']\n"
        "from agentkit.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'chromadb', 'mcp', 'openai', 'ollama', 'numpy', 'pydantic')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
