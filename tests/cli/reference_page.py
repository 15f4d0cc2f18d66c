"""docs/cli.md, whose lower part is what `--help` says: `python -m tests.cli.reference_page` writes
it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentkit.cli.command import walk
from agentkit.cli.main import command_line

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
MARK = "<!-- What follows is made from --help: python -m tests.cli.reference_page -->\n"
WIDTH = 90


def main() -> None:
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(head + MARK + reference(), encoding="utf-8")


def reference() -> str:
    """The help of every command, each under its own heading."""
    return "".join(
        f"\n## agentkit {words}".rstrip() + f"\n\n```text\n{text}\n```\n"
        for words, text in help_texts(WIDTH)
    )


def help_texts(width: int) -> Iterator[tuple[str, str]]:
    """The words of every command, and its help in so many columns."""
    for words, command in walk(command_line()):
        context = command.context_class(
            command, info_name=f"agentkit {words}".strip(), terminal_width=width
        )
        yield words, command.get_help(context).rstrip()


if __name__ == "__main__":
    main()
