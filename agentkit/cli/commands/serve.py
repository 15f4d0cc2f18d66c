"""`agentkit serve`: the folder's agent behind an OpenAI-compatible API and a web page."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from agentkit.cli.command import BaseUrl, Folder, Model, command
from agentkit.cli.i18n import _
from agentkit.cli.serving import AllowHost, KeyEnv, log, open_served, read_key
from agentkit.errors import ConfigError
from agentkit.findings import for_folder

if TYPE_CHECKING:
    from agentkit.project.project import Project

app = typer.Typer()


@command(
    app,
    "serve",
    _("Serve the agent to OpenAI clients and to a browser, at one address."),
    "agentkit serve --open",
    "agentkit serve --folder my-app --model ollama:qwen3:8b",
    "agentkit serve --host 0.0.0.0 --allow-host docs.example.org --workers 4",
)
async def serve(
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    host: Annotated[
        str,
        Option("--host", help=_("The address to serve at; not this machine alone: needs keys.")),
    ] = "",
    port: Annotated[int | None, Option("--port", min=0, max=65535, help=_("The port."))] = None,
    open_: Annotated[bool, Option("--open", help=_("Open the page in a browser."))] = False,
    key_env: KeyEnv = "",
    allow_host: AllowHost = None,
    dev: Annotated[
        bool,
        Option(
            "--dev",
            help=_("Use changes of agentkit.toml, tools/ and mcp_servers/ at once, trusted."),
        ),
    ] = False,
    workers: Annotated[
        int, Option("--workers", min=1, max=64, help=_("Processes that serve at the address."))
    ] = 1,
    worker: Annotated[str, Option("--worker", hidden=True)] = "",
) -> None:
    _require_extra()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from agentkit._asgi_server import ServerLimits, listen
    from agentkit.addresses import is_loopback_host
    from agentkit.server.keys import KeyStore, SingleKey
    from agentkit.server.peers import Worker
    from agentkit.server.serving import serve_project, url_of
    from agentkit.server.supervisor import Supervisor

    open_project = partial(open_served, folder, model, base_url, dev=dev)
    this = Worker.parse(worker) if worker else None

    def ready(url: str, project: Project) -> None:
        for notice in project.notices:
            report(notice)
        if this is None:
            announce(url)

    def report(line: str) -> None:
        if this is None or this.index == 0:
            log(f"note: {line}")

    def announce(url: str) -> None:
        log(_("{name}: {url}  (Ctrl-C stops)").format(name=folder.resolve().name, url=url))
        if open_:
            import webbrowser

            webbrowser.open(url)

    all_settings = open_project().settings
    settings = all_settings.serve
    host, port = host or settings.host, settings.port if port is None else port
    keys = SingleKey(read_key(key_env)) if key_env else KeyStore(folder)
    needs_key = bool(key_env) or not is_loopback_host(host)
    if needs_key and isinstance(keys, KeyStore) and all(key.revoked for key in keys.list()):
        raise ConfigError(
            f"At {host} other machines can call, and there is no key yet. "
            f"Make one: {for_folder('agentkit keys add NAME', folder, '--folder')}"
        )
    if workers > 1 and this is None:
        options = {
            "--folder": str(folder),
            "--model": model or "",
            "--base-url": base_url or "",
            "--host": host,
            "--key-env": key_env,
        }
        command = [sys.executable, "-P", "-m", "agentkit", "serve", *(["--dev"] if dev else [])]
        command += [f"{name}={value}" for name, value in options.items() if value]
        command += [f"--allow-host={name}" for name in allow_host or ()]
        with listen(host, port) as listener:
            url = url_of(host, listener)
            await Supervisor(command, workers, listener, lambda: announce(url)).run()
        return
    await serve_project(
        open_project,
        host,
        port,
        keys=keys,
        needs_key=needs_key,
        hosts=allow_host or (),
        dev=dev,
        report=report,
        limits=ServerLimits(**all_settings.http.model_dump()),
        on_ready=ready,
        worker=this,
    )


def _require_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            'The server needs the extra "serve". Run: pip install "agentkit-rag[serve]"'
        ) from error
