"""The command lines of `agentkit ask` and `agentkit chat`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.options import (
    BaseUrl,
    Folder,
    Json,
    Model,
    Plain,
    Resume,
    SessionName,
    Source,
    run,
)

Question = Annotated[
    str,
    typer.Argument(metavar="QUESTION", help="What you want to know; without it, what is piped in."),
]
JsonLines = Annotated[
    bool, typer.Option("--jsonl", help="Print events as JSON Lines, as they happen.")
]
Schema = Annotated[
    Path | None, typer.Option(help="A JSON Schema file that the answer must fit.", metavar="FILE")
]
NoRetrieve = Annotated[bool, typer.Option("--no-retrieve", help="Leave the documents out of it.")]
Passages = Annotated[
    int | None,
    typer.Option("--k", "-k", min=1, max=50, metavar="N", help="How many passages a search gives."),
]
Strict = Annotated[
    bool | None,
    typer.Option(
        "--strict/--no-strict", help="Leave out what no passage supports; exit 5 if all is."
    ),
]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="TOOL", help='Tools that run unasked: "send", "git__*".'),
]


def ask(
    question: Question = "",
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    json: Json = False,
    jsonl: JsonLines = False,
    plain: Plain = False,
    session: SessionName = "",
    resume: Resume = False,
    schema: Schema = None,
    no_retrieve: NoRetrieve = False,
    k: Passages = None,
    source: Source = None,
    strict: Strict = None,
    allow: Allow = None,
) -> None:
    """Answer one question from the documents, with citations.

    What is piped in goes with the question, and is cited like a document.
    """
    formats = {"json": json, "jsonl": jsonl, "plain": plain}
    chosen = [name for name, wanted in formats.items() if wanted]
    if len(chosen) > 1:
        raise typer.BadParameter(f"choose one of --{' and --'.join(chosen)}")
    if session and resume:
        raise typer.BadParameter("choose one of --session and --continue")

    from agentkit.cli import ask as command

    options = command.AskOptions(
        model,
        base_url,
        "".join(chosen),
        session,
        resume,
        schema,
        not no_retrieve,
        k,
        tuple(source or ()),
        strict,
        tuple(allow or ()),
    )
    run(command.ask(question, folder, options))


def chat(
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    session: SessionName = "",
    resume: Resume = False,
    plain: Plain = False,
) -> None:
    """Talk with the agent; /help lists what can be done."""
    from agentkit.cli.chat import start as command

    run(command.chat(folder, model, base_url, session, resume, plain))
