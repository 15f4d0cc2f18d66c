"""The tables of docs/chat.md, made from the chat's own commands and settings.

`python -m tests.cli.chat_page` writes them; test_chat_commands.py says when they are stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from agentkit.cli.chat.commands.agent import SETTINGS
from agentkit.cli.chat.commands.table import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "chat.md"
MARK = "<!-- Below this line: python -m tests.cli.chat_page -->\n"


def page() -> str:
    """The whole page: its head as it stands, and the tables anew."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    return head + MARK + "\n".join(["", *_commands(), "", *_settings(), ""])


def _commands() -> Iterator[str]:
    yield "## Commands"
    for group, members in groupby(COMMANDS.values(), lambda command: command.group):
        yield f"\n### {group}\n\n| command | does |\n|---|---|"
        for command in members:
            also = f" Also {', '.join(f'`/{name}`' for name in command.aliases)}." * bool(
                command.aliases
            )
            about = ". ".join(filter(None, (command.about, command.more))).rstrip(".")
            yield f"| `{_cell(command.usage)}` | {_cell(about)}.{also} |"


def _settings() -> Iterator[str]:
    yield "## What `/set` changes\n\n| name | is | such as |\n|---|---|---|"
    for setting in SETTINGS.values():
        example = f"`/set {setting.name} {setting.example}`"
        yield f"| `{setting.name}` | {_cell(setting.about)} | {example} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
