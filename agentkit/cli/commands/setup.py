"""`agentkit trust`, `doctor`, `demo` and `completion`: set up a folder and a machine."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import COMPLETE, Folder, Json, command
from agentkit.cli.console import confirm, open_consoles, print_json, print_rows
from agentkit.cli.errors import EXIT_CODES, REFUSED
from agentkit.cli.i18n import _, counted
from agentkit.errors import ConfigError, KnowledgeError, McpError, require_directory
from agentkit.text.hidden import visible

if TYPE_CHECKING:
    from agentkit.findings import Finding
    from agentkit.mcp.config import ServerConfig
    from agentkit.project.project import Project

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}
_COLOUR_SYSTEMS = {"standard": "16 colours", "256": "256 colours", "truecolor": "all colours"}
_BASH_COLONS = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}"
"""Names of models hold colons, at which bash would break a word in two."""

app = typer.Typer()


@command(
    app,
    "trust",
    _("Allow a folder's agentkit.toml, tools/ and mcp_servers/ as they are now."),
    "agentkit trust my-app",
)
async def trust(folder: Annotated[Path, Argument(help=_("The project."))] = Path()) -> int:
    return trust_folder(folder)


@command(
    app,
    "doctor",
    _(
        "Check the machine and the folder.\n\n"
        "Each finding has a next step. Exits with 3 if one is a problem."
    ),
    "agentkit doctor",
    "agentkit doctor --start --json",
)
async def doctor(
    folder: Folder = Path(),
    start: Annotated[
        bool, Option("--start", help=_("Also start the MCP servers, and stop them again."))
    ] = False,
    json: Json = False,
) -> int:
    from agentkit.project.checks.doctor import examine
    from agentkit.project.checks.local import TerminalInfo

    require_directory(folder)
    out, _log = open_consoles()
    colours = "" if out.no_color else _COLOUR_SYSTEMS.get(out.color_system or "", "")
    terminal = TerminalInfo(
        sys.stdout.isatty(), out.encoding, colours, out.width, out.is_dumb_terminal
    )
    found: list[Finding] = []
    async with aclosing(examine(folder, terminal, start)) as findings:
        async for finding in findings:
            found.append(finding)
            if not json:
                _print_finding(finding, out)
    counts: Counter[str] = Counter(finding.level for finding in found)
    if json:
        print_json({"findings": [asdict(each) for each in found], "counts": dict(counts)})
    else:
        out.print(Text(_summary(counts), "bold"))
    return EXIT_CODES[ConfigError] if counts["problem"] else 0


@command(
    app,
    "demo",
    _("Copy the lecture notes to a folder and answer five questions about them."),
    "agentkit demo",
    "agentkit demo --folder ~/demo -m ollama:qwen3:8b",
)
async def demo(
    folder: Folder = Path("agentkit-demo"),
    model: Annotated[str, Option("--model", "-m")] = "extractive",
) -> None:
    from agentkit.cli.project import open_project
    from agentkit.project.demo import copy_demo, demo_questions

    out, log = open_consoles()
    copy_demo(folder)
    async with open_project(folder, log, model=model) as project:
        for number, question in enumerate(demo_questions(), start=1):
            out.rule(Text(f"{number}. {question}", "bold"), align="left")
            await _answer_and_check(project, question, out, log)
    out.rule(align="left")
    steps = {
        _("Ask your own:"): f'agentkit ask --folder {folder} "RLHF 分哪几步？"',
        _("Chat about it:"): f"agentkit chat --folder {folder}",
        _("Your documents:"): _(
            "put files (Markdown, PDF, HTML, ...) into knowledge/, then\n"
            'agentkit ask --folder THAT_FOLDER "…"'
        ),
        _("With a model:"): _("add --model ollama:qwen3:8b, or openai:NAME with OPENAI_API_KEY"),
    }
    print_rows([(Text(label), Text(step)) for label, step in steps.items()], out, width=16)


@command(
    app,
    "completion",
    _("Print the script that completes commands, options and names in a shell."),
    "source <(agentkit completion bash)",
    "agentkit completion zsh > ~/.zfunc/_agentkit",
    "agentkit completion fish > ~/.config/fish/completions/agentkit.fish",
)
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Argument(help=_("Which shell."))],
) -> None:
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell == "bash":
        print(_BASH_COLONS)
    print(get_completion_script(prog_name="agentkit", complete_var=COMPLETE, shell=shell))  # nosec B604


def offer_trust(folder: Path) -> None:
    """On a terminal, show what an untrusted folder would run, and ask."""
    from agentkit.project.trust import is_trusted

    if sys.stdin.isatty() and sys.stdout.isatty() and not is_trusted(folder):
        text = _("{folder} is not trusted yet. Trusted, it uses:").format(folder=folder.resolve())
        open_consoles()[0].print(Text(text))
        trust_folder(folder)


def trust_folder(folder: Path) -> int:
    """List the files and the exact commands that trust covers, what changed since it was given
    first; ask on a terminal, and remember the folder's present contents. Raises ConfigError for
    settings that cannot be read."""
    from agentkit.project.trust import guarded_files, take
    from agentkit.project.trust import trust as remember_trust
    from agentkit.settings.schema import FILE_NAME
    from agentkit.settings.sources import file_layer, merge_layers

    out, _log = open_consoles()
    require_directory(folder)
    shown = take(folder)
    files = [path.relative_to(folder).as_posix() for path in guarded_files(folder)]
    kinds = {"new": _("new"), "changed": _("changed"), "removed": _("removed")}
    for name, kind in sorted(shown.changes.items()):
        out.print(Text(f"  {visible(name, kept='')} ({kinds[kind]})", "bold"))
    for name in files:
        if name not in shown.changes:
            out.print(Text(f"  {visible(name, kept='')}"))
    if not files:
        out.print(Text(_("  (it has no agentkit.toml, tools/ or mcp_servers/)")))
    merge_layers([file_layer(folder / FILE_NAME)])
    _print_servers(folder, out)
    place = folder.resolve()
    question = _("Trust {folder} as it is now?").format(folder=place)
    if files and not confirm(question, yes=not sys.stdin.isatty()):
        return REFUSED
    remember_trust(folder, shown.fingerprint)
    out.print(Text(_("Trusted as it is now: {folder}").format(folder=place)))
    return 0


def _print_servers(folder: Path, out: Console) -> None:
    """Print what each entry of mcp.json starts; an entry that cannot be read starts nothing."""
    from agentkit.mcp.config import read_config

    try:
        servers = read_config(folder).servers
    except McpError as error:
        out.print(Text(_("  mcp.json cannot be used: {error}").format(error=error)))
        return
    for server in servers:
        line = f"  {_describe_server(server)} {server.summary}"
        out.print(Text(line), soft_wrap=True)  # a command is shown as it is, unbroken


def _describe_server(server: ServerConfig) -> str:
    if server.disabled:
        text = _("the server {name} (disabled) {action}:")
    else:
        text = _("the server {name} {action}:")
    return text.format(name=server.name, action=_("calls") if server.url else _("starts"))


def _print_finding(finding: Finding, out: Console) -> None:
    """Print a finding, and its next step below it."""
    levels = {"ok": _("ok"), "note": _("note"), "warning": _("warning"), "problem": _("problem")}
    level = Text(levels[finding.level], _COLOURS[finding.level])
    text = Text.assemble((f"{finding.part}: ", "bold"), finding.message)
    if finding.next_step:
        text.append(f"\n{finding.next_step}", "dim")
    print_rows([(level, text)], out, width=7)


def _summary(counts: Counter[str]) -> str:
    texts = {
        "problem": counted("{count} problem", "{count} problems", counts["problem"]),
        "warning": counted("{count} warning", "{count} warnings", counts["warning"]),
        "note": counted("{count} note", "{count} notes", counts["note"]),
    }
    found = [text for level, text in texts.items() if counts[level]]
    return _(", ").join(found) or _("No problems found.")


async def _answer_and_check(project: Project, question: str, out: Console, log: Console) -> None:
    """Answer, and compare each quote with the document at the range that was printed."""
    from agentkit.cli.render import LinearView, print_ending

    answer = await LinearView(out, log).show(project.agent.stream(question))
    assert answer is not None
    assert project.agent.knowledge is not None
    print_ending(answer, out, log)
    checked = 0
    for citation in (c for c in answer.citations if c.quote):
        document = await project.agent.knowledge.document(citation.chunk.source)
        if document.text[citation.start : citation.end] != citation.quote:
            raise KnowledgeError(
                f"A quote is not at its place: {citation.place}, characters "
                f"{citation.start}-{citation.end}. Please report this."
            )
        checked += 1
    if not checked:
        raise KnowledgeError(f"The demo's question {question!r} was answered without a citation.")
    text = counted(
        "{count} quote checked against the files",
        "{count} quotes checked against the files",
        checked,
    )
    log.print(Text(f"{text}\n", "dim"))
