"""The Chinese messages: `python -m tests.cli.language_file` brings agentkit.po up to date with the
source, new messages untranslated, and compiles it."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from agentkit import errors
from agentkit.cli.app import command_line
from agentkit.cli.helping import OWN_WORDS, commands, paragraphs

PACKAGE = Path(errors.__file__).parent
PO = PACKAGE / "locale" / "zh" / "LC_MESSAGES" / "agentkit.po"
ERRORS = {name for name, each in vars(errors).items() if isinstance(each, type)}
SAYING = {*ERRORS, "translated", "Finding"}
LISTS = {"notices", "warnings", "problems"}
"""What is called with a message, and lists of messages."""


def main() -> None:
    catalog = updated()
    with PO.open("wb") as file:
        write_po(file, catalog, width=100, sort_output=True, omit_header=False)
    with PO.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalog)
    missing = [message.id for message in catalog if message.id and not message.string]
    print(f"{len(catalog)} messages, {len(missing)} without a translation")


def updated() -> Catalog:
    """The catalog of what the source says now, with the translations there are."""
    known = read()
    made = Catalog(locale="zh", domain="agentkit", project="agentkit", fuzzy=False)
    for text in sorted(set(messages())):
        before = known.get(text)
        made.add(text, before.string if before else "")
    return made


def read() -> Catalog:
    if not PO.is_file():
        return Catalog(locale="zh")
    with PO.open("rb") as file:
        return read_po(file, locale="zh", domain="agentkit")


def messages() -> Iterator[str]:
    """Every message of the program, as a template."""
    yield from OWN_WORDS
    for _, command in commands(command_line()):
        helps = [getattr(param, "help", "") or "" for param in command.params]
        yield from filter(None, map(_escaped, [*paragraphs(command.help), *helps]))
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = [each for node in ast.walk(tree) for each in _said(node)]
        made = {
            each.func.id
            for each in said
            if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
        }
        for each in [*said, *_returned(tree, made)]:
            yield from filter(_is_message, _templates(each))


def _returned(tree: ast.Module, names: Collection[str]) -> Iterator[ast.expr]:
    """What functions of these names return."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            yield from (
                each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value
            )


def _said(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that make messages here."""
    match node:
        case ast.Call(ast.Name(name), args) if name in SAYING:
            yield from args
            yield from (keyword.value for keyword in node.keywords)
        case ast.Call(ast.Attribute(of, "append"), [said]) if _name(of) in LISTS:
            yield said
        case ast.AugAssign(of, _, ast.List(said)) if _name(of) in LISTS:
            yield from said


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _templates(node: ast.expr) -> Iterator[str]:
    """A literal, an f-string, or each side of a choice, as templates."""
    match node:
        case ast.Constant(str(text)):
            yield _escaped(text).strip()
        case ast.JoinedStr(values):
            number = -1
            pieces = []
            for value in values:
                if isinstance(value, ast.Constant):
                    pieces.append(_escaped(str(value.value)))
                else:
                    number += 1
                    pieces.append(f"{{{number}}}")
            yield "".join(pieces).strip()
        case ast.IfExp(_, yes, no):
            yield from _templates(yes)
            yield from _templates(no)


def _is_message(text: str) -> bool:
    return sum(map(str.isalpha, text)) >= 4


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


if __name__ == "__main__":
    main()
