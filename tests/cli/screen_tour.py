"""Every command but the chat in one process, each below its title, over a small project made here:
`python -m tests.cli.screen_tour FOLDER`, in a terminal of the size that is to be seen."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

from agentkit.cli.main import main as agentkit
from agentkit.project.trust import trust

CATS = "# Cats\n\n## Sounds\n\nCats purr at 25 hertz. 猫会打呼噜。\n\n## Food\n\nCats eat fish.\n"
DOGS = "# Dogs\n\nDogs bark at night.\n"
TOOL = '''from agentkit import tool


@tool(needs_approval=True)
def send(to: str) -> str:
    """Send a letter."""
    return f"sent to {to}"
'''
SETTINGS = 'model = "extractive"\n\n[knowledge]\nresults = 3\n'
SERVERS = {
    "mcpServers": {
        "clock": {"command": "clock-server", "args": ["--zone", "Asia/Shanghai"], "disabled": True}
    }
}
QUESTIONS = (
    {"id": "en-1", "language": "en", "kind": "fact", "paraphrased": False,
     "question": "At how many hertz do cats purr?",
     "expected": [[{"source": "cats.md", "heading": "Sounds"}]], "facts": [["25 hertz"]]},
    {"id": "en-2", "language": "en", "kind": "unanswerable", "paraphrased": False,
     "question": "How tall is the Eiffel Tower?", "expected": [], "facts": []},
)  # fmt: skip
TOUR = (
    "--help",
    "search --help",
    "serach x",
    "init notes",
    "index -C pets",
    "index -C pets",
    "ask -C pets 'At how many hertz do cats purr?'",
    "ask -C pets 'How tall is the Eiffel Tower?' --strict",
    "ask -C pets 'x' -k 0",
    "ask -C nowhere 'x'",
    "ask -C pets 'x' -m opnai:gpt",
    "ask -C pets '猫会做什么？' --session pets",
    "search -C pets 'cats'",
    "kb list -C pets",
    "kb show -C pets",
    "kb doctor -C pets",
    "kb remove -C pets papers",
    "sessions list -C pets",
    "sessions show -C pets pets",
    "trace show -C pets last",
    "eval -C pets",
    "mcp list -C pets",
    "trust pets",
    "config show -C pets knowledge --origin",
    "config set -C pets knowledge.reslts 8",
    "config set -C pets knowledge.results 8",
)


def main(place: Path) -> None:
    folder = place / "pets"
    _write(folder / "knowledge" / "cats.md", CATS)
    _write(folder / "knowledge" / "dogs.md", DOGS)
    _write(folder / "tools" / "mail.py", TOOL)
    _write(folder / "agentkit.toml", SETTINGS)
    _write(folder / "mcp_servers" / "mcp.json", json.dumps(SERVERS))
    _write(folder / "questions.jsonl", "\n".join(map(json.dumps, QUESTIONS)))
    trust(folder)
    os.chdir(place)
    for line in TOUR:
        print(f"=== {line}", flush=True)
        print(f"(exit code {_run_command(shlex.split(line))})", flush=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _run_command(arguments: list[str]) -> object:
    """As the console script would."""
    sys.argv = ["agentkit", *arguments]
    try:
        agentkit()
    except SystemExit as end:
        return end.code
    raise AssertionError("the console script ends by itself")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
