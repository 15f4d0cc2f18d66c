"""The command lines of `agentkit eval`: asking golden questions is what it does unless told to
generate some."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agentkit.cli.options import BaseUrl, Folder, Model
from agentkit.cli.options import run as run_command

_RUN = "run"


class _RunsByDefault(TyperGroup):
    """A group whose first command need not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else [_RUN, *args])


evaluation = typer.Typer(
    cls=_RunsByDefault,
    help="Ask golden questions: what was found, answered, refused. `run` need not be written; "
    "its options: agentkit eval run --help.",
)


@evaluation.command(name=_RUN)
def run(
    questions: Annotated[
        Path | None, typer.Argument(help="Default: questions.jsonl there.")
    ] = None,
    folder: Folder = Path(),
    model: Annotated[str, typer.Option("--model", "-m")] = "extractive",
    base_url: BaseUrl = None,
    only_retrieval: Annotated[bool, typer.Option(help="Search, ask no model.")] = False,
    legs: Annotated[
        bool, typer.Option("--legs", help="Dense, keyword, hybrid and rerank side by side.")
    ] = False,
    misses: Annotated[bool, typer.Option(help="List the questions that failed.")] = False,
    json: Annotated[
        str, typer.Option("--json", metavar="FILE", help="Write the whole result; - prints it.")
    ] = "",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots.", metavar="FILE")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="An earlier --json FILE.", metavar="FILE")
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(help="Such as recall@5=0.9; repeatable. Ends with 12.", metavar="NAME=SHARE"),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, max=50, help="Passages a search.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Questions asked at once.")] = 1,
) -> None:
    """Ask the golden questions and print what was found, answered and refused."""
    from agentkit.cli import evaluate as command

    wanted = command.Wanted(
        questions=questions or folder / "questions.jsonl",
        folder=folder,
        model=None if only_retrieval else model,
        base_url=base_url,
        legs=legs,
        misses=misses,
        json=json,
        html=html,
        compare=compare,
        fail_under=tuple(fail_under or ()),
        depth=k,
        limit=limit,
        kinds=tuple(kind or ()),
        jobs=jobs,
    )
    run_command(command.run_eval(wanted))


@evaluation.command()
def generate(
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000)] = 20,
    out: Annotated[
        Path | None, typer.Option(help="Default: questions.jsonl there.", metavar="FILE")
    ] = None,
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    seed: Annotated[int, typer.Option(help="Another one takes other passages.")] = 0,
) -> None:
    """Have a model write questions about the documents, to be looked through by a person."""
    from agentkit.cli import generate as command

    path = out or folder / "questions.jsonl"
    run_command(command.run_generate(path, count, seed, folder, model, base_url))
