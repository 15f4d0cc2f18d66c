"""`agentkit init`: make a folder a project, and say what was made and what comes next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agentkit.cli.asking import agreed
from agentkit.cli.language import labelled, translated
from agentkit.cli.render import consoles
from agentkit.cli.rows import print_row
from agentkit.project.demo import copy_demo
from agentkit.project.scaffold import NewProject, loose_documents, make_project

SAMPLE_QUESTION = "How do I add my documents?"
_DEMO_QUESTION = "KV Cache 为什么能加快推理？"
_SHOWN = 3
_WIDTH = 23


async def init(folder: Path, from_demo: bool) -> int:
    """Make the project; with `from_demo`, a copy of the lecture notes and their tools."""
    out, _ = consoles()
    if from_demo:
        copy_demo(folder)
        told = f"The demo is in {folder}: lecture notes, tools, questions."
        out.print(Text(translated(told)))
        _show_next(folder, _DEMO_QUESTION, out)
        return 0
    made = set_up(folder, out)
    samples = [part.path for part in made.new if part.path.startswith("knowledge/")]
    _show_next(folder, SAMPLE_QUESTION if samples else "…", out)
    return 0


def set_up(folder: Path, log: Console) -> NewProject:
    """Make what a folder lacks, and take in the documents that lie there if the user wants so."""
    loose = loose_documents(folder) if folder.is_dir() else []
    wanted = _wanted(folder, loose)
    made = make_project(folder, wanted)
    _show_made(made, log)
    if wanted:
        log.print(Text(translated(f"Moved into knowledge/: {_named(wanted)}.")))
    elif loose:
        told = f"Not in knowledge/, so not read: {_named(loose)}. Move or copy them there."
        log.print(Text(translated(told)))
    return made


def _wanted(folder: Path, loose: Sequence[Path]) -> Sequence[Path]:
    """The documents that the user wants to be moved. In a repository they stay where they are."""
    if not loose or (folder / ".git").exists() or not sys.stdin.isatty():
        return ()
    question = f"Only knowledge/ is read. Move what lies here into it: {_named(loose)}?"
    return loose if agreed(question, False) else ()


def _show_made(made: NewProject, log: Console) -> None:
    """A line for each new file, then what needs a word."""
    where = "this folder" if made.folder == Path() else str(made.folder)
    told = f"Made in {where}:" if made.new else f"Nothing to make: {where} has it all."
    log.print(Text(translated(told)))
    for part in made.new:
        print_row(Text(f"  {part.path}"), _WIDTH, Text(translated(part.about), "dim"), log)
    if not made.trusted:
        command = shlex.join(["agentkit", "trust", *_argument(made.folder)])
        log.print(Text(labelled("Its settings and tools are not used before you say:", command)))


def _show_next(folder: Path, question: str, out: Console) -> None:
    """The two commands that a newcomer types next."""
    at = [f"--folder={folder}"] if folder != Path() else []
    out.print(Text(translated("Next:")))
    out.print(Text(f'  {shlex.join(["agentkit", "ask", *at])} "{question}"'))
    out.print(Text(f"  {shlex.join(['agentkit', 'chat', *at])}"))


def _argument(folder: Path) -> list[str]:
    return [] if folder == Path() else [str(folder)]


def _named(paths: Sequence[Path]) -> str:
    """A few names of many."""
    names = ", ".join(path.name for path in paths[:_SHOWN])
    more = len(paths) - _SHOWN
    return f"{names} and {more} more" if more > 0 else names
