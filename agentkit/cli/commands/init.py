"""`agentkit init`: make a folder a project; and what to do in a folder that is none yet."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import command
from agentkit.cli.console import confirm, open_consoles, print_rows
from agentkit.cli.i18n import _, counted
from agentkit.errors import ConfigError
from agentkit.findings import for_folder

if TYPE_CHECKING:
    from agentkit.project.scaffold import NewProject

SAMPLE_QUESTION = "How do I add my documents?"
_DEMO_QUESTION = "KV Cache 为什么能加快推理？"
_DEMO = "agentkit-demo"
_NEW = "my-app"
_NAMED = 3
_WIDTH = 23

app = typer.Typer()


@command(
    app,
    "init",
    _("Make a folder a project.\n\nIt gets settings, knowledge/, a sample tool and server."),
    "agentkit init my-app",
    "agentkit init notes --from-demo",
)
async def init(
    folder: Annotated[Path, Argument(help=_("The folder; created if it does not exist."))] = Path(),
    from_demo: Annotated[
        bool, Option("--from-demo", help=_("Copy the lecture notes, their tools and servers."))
    ] = False,
) -> None:
    out, _log = open_consoles()
    if from_demo:
        from agentkit.project.demo import copy_demo

        copy_demo(folder)
        text = _("The demo is in {folder}: lecture notes, tools, questions.")
        out.print(Text(text.format(folder=folder)))
        _show_next(folder, _DEMO_QUESTION, out)
        return
    made = set_up(folder, out)
    has_sample = any(part.path.startswith("knowledge/") for part in made.new)
    _show_next(folder, SAMPLE_QUESTION if has_sample else "…", out)


def set_up(folder: Path, log: Console) -> NewProject:
    """Write what a folder lacks, and move in the documents that lie there if the user agrees."""
    from agentkit.project.scaffold import loose_documents, make_project

    loose = loose_documents(folder) if folder.is_dir() else []
    moved = loose if _wants_move(folder, loose) else []
    made = make_project(folder, moved)
    _show_made(made, log)
    if moved:
        names = _format_names(moved, folder)
        log.print(Text(_("Moved into knowledge/: {files}.").format(files=names)))
    elif loose:
        text = _("Not in knowledge/, so not read: {files}. Move or copy them there.")
        log.print(Text(text.format(files=_format_names(loose, folder))))
    return made


def project_folder(folder: Path, log: Console, *, ask: bool = True) -> Path | None:
    """The project to work in: the folder, or what the user chooses to make of it. None where there
    is nothing to ask about yet. Raises ConfigError, also where the user cannot be asked."""
    from agentkit.project.project import Project

    if Project.exists(folder):
        return folder
    command = for_folder("agentkit init", folder)
    if not folder.is_dir():
        text = _("{folder} is not a directory. Make a project there: {command}")
        raise ConfigError(text.format(folder=folder, command=command))
    if not (ask and sys.stdin.isatty() and sys.stderr.isatty()):
        text = _(
            "{folder} is not a project yet: it has neither knowledge/ nor agentkit.toml. Make it "
            "one with `{command}`, or see the lecture notes with `agentkit demo`."
        )
        raise ConfigError(text.format(folder=folder.resolve(), command=command))
    return _choose(folder, log)


def _choose(folder: Path, log: Console) -> Path | None:
    """Ask what to make of a folder, and make it."""
    from agentkit.project.demo import copy_demo

    new = folder / _NEW if folder.resolve() in (Path.home(), Path("/")) else folder
    text = _("{folder} is not a project yet: it has no knowledge/ to answer from.")
    log.print(Text(text.format(folder=folder.resolve())))
    log.print(Text(f"  1  {_describe_new(new, folder)}"))
    demo = _("see the demo first: lecture notes, copied to {folder}/").format(folder=_DEMO)
    log.print(Text(f"  2  {demo}"))
    question = _("1, 2, or Enter to change nothing: ")
    print(question, end="", file=sys.stderr, flush=True)
    match sys.stdin.readline().strip():
        case "1":
            return _make(new, folder, log)
        case "2":
            return copy_demo(folder / _DEMO)
    text = _("Nothing was changed. Later: {command}, or agentkit demo.")
    raise ConfigError(text.format(command=for_folder("agentkit init", new)))


def _describe_new(new: Path, folder: Path) -> str:
    from agentkit.project.scaffold import loose_documents

    if new != folder:
        return _("make a project in {folder}/").format(folder=new.name)
    if loose := len(loose_documents(folder)):
        return counted(
            "make it a project ({count} document here)",
            "make it a project ({count} documents here)",
            loose,
        )
    return _("make it a project")


def _make(folder: Path, here: Path, log: Console) -> Path | None:
    """The new project, if it has documents of the user's to ask about."""
    made = set_up(folder, log)
    if not any(part.path.startswith("knowledge/") for part in made.new):
        return folder
    if folder == here:
        log.print(_("Next: put your documents into knowledge/, and ask again."))
    else:
        text = _("Next: cd {folder}, put your documents into knowledge/, and ask again.")
        log.print(Text(text.format(folder=folder.name)))
    return None


def _wants_move(folder: Path, loose: Sequence[Path]) -> bool:
    """Whether to move documents into knowledge/. In a repository they stay where they are."""
    if not loose or (folder / ".git").exists() or not sys.stdin.isatty():
        return False
    text = _("Only knowledge/ is read. Move these documents into it: {files}?")
    return confirm(text.format(files=_format_names(loose, folder)))


def _show_made(made: NewProject, log: Console) -> None:
    """A line for each new file, then whether the folder must be trusted."""
    where = _("this folder") if made.folder == Path() else str(made.folder)
    text = _("Made in {folder}:") if made.new else _("Nothing to make: {folder} is complete.")
    log.print(Text(text.format(folder=where)))
    about = {
        "agentkit.toml": _("all settings, explained"),
        "knowledge/welcome.md": _("a sample note: your documents go there"),
        "tools/split_bill.py": _("a sample tool"),
        "mcp_servers/mcp.json": _("an example of an MCP server, disabled"),
        "questions.jsonl": _("sample questions for agentkit eval"),
        ".gitignore": _("keeps the index and keys out of git"),
    }
    rows = [(Text(f"  {p.path}"), Text(about.get(p.path, p.about), "dim")) for p in made.new]
    if rows:
        print_rows(rows, log, width=_WIDTH)
    if not made.trusted:
        command = for_folder("agentkit trust", made.folder)
        text = _("Its settings and tools are not used until you run: {command}")
        log.print(Text(text.format(command=command)))


def _show_next(folder: Path, question: str, out: Console) -> None:
    """The two commands to type next."""
    at = [f"--folder={folder}"] if folder != Path() else []
    out.print(_("Next:"))
    out.print(Text(f'  {shlex.join(["agentkit", "ask", *at])} "{question}"'))
    out.print(Text(f"  {shlex.join(['agentkit', 'chat', *at])}"))


def _format_names(paths: Sequence[Path], folder: Path) -> str:
    names = ", ".join(path.relative_to(folder).as_posix() for path in paths[:_NAMED])
    more = len(paths) - _NAMED
    return _("{names} and {count} more").format(names=names, count=more) if more > 0 else names
