"""Processes that decide on the calls of one stored session at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentkit import Agent, ScriptedModel, SessionStore, ToolCall, pause, tool

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from pathlib import Path
from agentkit import ALLOWED, Agent, AgentkitError, ScriptedModel, SessionStore, tool

folder = Path(sys.argv[1])

@tool(needs_approval=True)
def send(to: str) -> str:
    "Send a letter."
    with (folder / "sent.txt").open("a") as file:
        file.write(f"to {to}\\n")
    return "sent"

store = SessionStore(folder / "sessions.sqlite")
print("ready", flush=True)
sys.stdin.readline()
try:
    session = store.open("letters")
    answer = Agent(ScriptedModel(["done"]), [send]).resume_sync(session, {"1": ALLOWED})
    print(answer.text)
except AgentkitError as error:
    print(type(error).__name__)
"""


@tool(needs_approval=True)
def send(to: str) -> str:
    """Send a letter."""
    raise AssertionError


def test_of_processes_that_decide_at_once_one_wins_and_the_call_runs_once(
    tmp_path: Path,
) -> None:
    store = SessionStore(tmp_path / "sessions.sqlite")
    session = store.create("letters")
    model = ScriptedModel([ToolCall("1", "send", {"to": "Ada"})])
    assert Agent(model, [send], approve=pause).run_sync("Write.", session).waiting
    session.close()
    store.close()

    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60)[0].strip() for process in running]
    assert ended.count("done") == 1
    assert set(ended) <= {"done", "AlreadyDecided", "ConfigError", "SessionBusy"}
    assert (tmp_path / "sent.txt").read_text() == "to Ada\n"
