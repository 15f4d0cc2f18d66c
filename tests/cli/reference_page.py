"""docs/cli.md, whose lower part is what `--help` says: `python -m tests.cli.reference_page` writes
it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentkit.cli.app import command_line
from agentkit.cli.helping import commands

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
MARK = "<!-- What follows is made from --help: python -m tests.cli.reference_page -->\n"
WIDTH = 90


def main() -> None:
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(head + MARK + made(), encoding="utf-8")


def made() -> str:
    """The help of every command, each under its own heading."""
    return "".join(f"\n## agentkit {words}".rstrip() + f"\n\n```text\n{said}\n```\n"
                   for words, said in helps())  # fmt: skip


def helps() -> Iterator[tuple[str, str]]:
    """The words of every command, and its help."""
    root = command_line()
    for words, command in commands(root):
        context = command.context_class(
            command, info_name=f"agentkit {words}".strip(), terminal_width=WIDTH
        )
        yield words, command.get_help(context).rstrip()


if __name__ == "__main__":
    main()
