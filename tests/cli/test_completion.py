"""Tab at the shell, in the real shells: commands, options, and names of what there is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit.agent.session_store import SessionStore
from agentkit.messages import Message

pytestmark = pytest.mark.slow

BASH = """
source <(agentkit completion bash)
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_agentkit_completion agentkit
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = "agentkit completion fish | source; complete --do-complete {line!r}"
ZSH = """
autoload -Uz compinit; compinit -D
compdef() {{ : }}
_arguments() {{ print -l -- "$@" }}
eval "$(agentkit completion zsh)"
words=({words}); CURRENT=$#words
_agentkit_completion
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mcp_servers").mkdir()
    (tmp_path / "mcp_servers" / "mcp.json").write_text(
        '{"mcpServers": {"clock": {"command": "x"}}}', encoding="utf-8"
    )
    (tmp_path / ".agentkit").mkdir()
    store = SessionStore(tmp_path / ".agentkit" / "sessions.sqlite")
    session = store.create("thesis")
    session.add([Message("user", "hello")])
    session.close()
    store.close()
    return tmp_path


def _completions(shell: str, script: str, folder: Path) -> str:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [shell, "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("agentkit sea", ["search"]),
        ("agentkit ask --sch", ["--schema"]),
        ("agentkit ask --session ''", ["thesis"]),
        ("agentkit ask -m extr", ["extractive"]),
        ("agentkit mcp tools ''", ["clock"]),
        ("agentkit ask --source ''", []),
    ],
)
def test_bash_completes_commands_options_and_names(folder: Path, words: str, offered: Any) -> None:
    assert _completions("bash", BASH.format(words=words), folder).split() == offered


def test_a_models_name_with_a_colon_is_one_word_in_bash(folder: Path) -> None:
    script = 'source <(agentkit completion bash); printf %s "$COMP_WORDBREAKS"'
    assert ":" not in _completions("bash", script, folder)


def test_zsh_completes_commands(folder: Path) -> None:
    assert "search" in _completions("zsh", ZSH.format(words="agentkit sea"), folder)


def test_fish_completes_commands(folder: Path) -> None:
    assert "search" in _completions("fish", FISH.format(line="agentkit sea"), folder)


def test_a_damaged_folder_offers_nothing_and_says_nothing(folder: Path) -> None:
    (folder / ".agentkit" / "sessions.sqlite").write_bytes(b"nonsense" * 100)
    assert (
        _completions("bash", BASH.format(words="agentkit ask --session ''"), folder).split() == []
    )
