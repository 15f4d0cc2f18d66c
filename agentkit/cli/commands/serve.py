"""`agentkit serve`: the folder's agent behind an OpenAI-compatible API and a web page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from agentkit.cli.command import BaseUrl, Folder, Model, command
from agentkit.cli.i18n import _
from agentkit.errors import ConfigError

app = typer.Typer()


@command(
    app,
    "serve",
    _("Serve the agent to OpenAI clients and to a browser, at one address."),
    "agentkit serve --open",
    "agentkit serve --folder my-app --model ollama:qwen3:8b",
    "agentkit serve --host 0.0.0.0 --allow-host docs.example.org",
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
    key_env: Annotated[
        str, Option("--key-env", help=_("The variable with the key that callers must send."))
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        Option("--allow-host", help=_("Another host name to accept, such as a proxy's.")),
    ] = None,
) -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            'The server needs the extra "serve". Run: pip install "agentkit-rag[serve]"'
        ) from error
    from agentkit.mcp.server.http import is_loopback, serve_http
    from agentkit.project.project import Project
    from agentkit.server.app import create_app
    from agentkit.server.keys import KeyStore, SingleKey

    project = Project.open(folder, model=model, base_url=base_url)
    chosen = project.settings.serve
    host = host or chosen.host
    keys = SingleKey(_key_of(key_env)) if key_env else KeyStore(folder)
    needs_key = bool(key_env) or not is_loopback(host)
    if isinstance(keys, KeyStore) and needs_key and not any(not k.revoked for k in keys.list()):
        raise ConfigError(
            f"At {host} other machines can call, and there is no key yet. "
            "Make one: agentkit keys add NAME"
        )
    web = create_app(project, keys=keys, needs_key=needs_key, hosts=[*(allow_host or []), host])

    def ready(url: str) -> None:
        address = url.removesuffix("/mcp")
        print(f"{project.path.resolve().name}: {address}  (Ctrl-C stops)", file=sys.stderr)
        if open_:
            import webbrowser

            webbrowser.open(address)

    async with project:
        for notice in project.notices:
            print(f"note: {notice}", file=sys.stderr)
        where = chosen.port if port is None else port
        await serve_http(web, host, where, has_verifier=needs_key, on_ready=ready)


def _key_of(variable: str) -> str:
    key = os.environ.get(variable, "")
    if not key:
        raise ConfigError(f"The variable {variable} has no key. Set it, or drop --key-env.")
    return key
