"""The Chinese messages: `python -m tests.cli.language_file` brings agentkit.po up to date with the
source, new messages untranslated, and compiles it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from typing import get_args

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from agentkit.backends.probe.checks import CHECKS
from agentkit.backends.probe.runner import Status
from agentkit.cli.app import command_line
from agentkit.cli.helping import OWN_WORDS, commands, paragraphs
from agentkit.cli.language import NOTHING
from agentkit.cli.probe import about
from agentkit.evaluation.report import LABELS
from tests.cli.language_source import PACKAGE, read
from tests.cli.language_syntax import escaped, is_message

PO = PACKAGE / "locale" / "zh" / "LC_MESSAGES" / "agentkit.po"
MO = PO.with_suffix(".mo")
_HEADER = "# Chinese messages of agentkit: `python -m tests.cli.language_file` writes this file."
_MADE = datetime(2026, 11, 28, tzinfo=UTC)
"""The same file for the same messages, whenever it is written."""


def main() -> None:
    catalog = updated()
    PO.write_bytes(as_po(catalog))
    MO.write_bytes(as_mo(catalog))
    missing = [message.id for message in catalog if message.id and not message.string]
    print(f"{len(catalog)} messages, {len(missing)} without a translation")


def updated() -> Catalog:
    """The catalog of what the source says now, with the translations there are."""
    known = translations()
    made = _empty()
    for text in sorted(messages()):
        made.add(text, known.get(text, ""))
    return made


def translations() -> dict[str, str]:
    """What the file holds: each message and its translation, "" where it has none."""
    with PO.open("rb") as file:
        return {str(each.id): str(each.string) for each in read_po(file, locale="zh") if each.id}


@cache
def messages() -> frozenset[str]:
    """Every message of the program, as a template."""
    written = filter(is_message, map(escaped, (*_helps(), *map(about, CHECKS))))
    listed = (*OWN_WORDS, *NOTHING, *LABELS.values(), *get_args(Status))
    return frozenset({*listed, *written, *read().messages()})


def as_po(catalog: Catalog) -> bytes:
    file = BytesIO()
    write_po(file, catalog, width=100, sort_output=True)
    return file.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def _empty() -> Catalog:
    return Catalog(
        locale="zh",
        domain="agentkit",
        header_comment=_HEADER,
        fuzzy=False,
        creation_date=_MADE,
        revision_date=_MADE,
        last_translator="",
        language_team="",
        project="agentkit",
        version="1",
        msgid_bugs_address="",
    )


def _helps() -> Iterator[str]:
    """What `--help` says of commands and their parameters."""
    for _, command in commands(command_line()):
        yield from paragraphs(command.help)
        yield from (param.help for param in command.params if getattr(param, "help", None))
        yield from (entry.about for entry in getattr(command, "table", {}).values())


if __name__ == "__main__":
    main()
