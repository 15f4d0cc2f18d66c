"""`agentkit keys`: make, list and revoke the keys of `agentkit serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import Folder, Json, command, group
from agentkit.cli.console import open_consoles, print_json, print_rows
from agentkit.cli.i18n import _
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.server.auth import Role
    from agentkit.server.keys import KeyStore

app = group("keys", _("Make, list and revoke the keys of agentkit serve."))

Name = Annotated[str, Argument(help=_("The name of the key, such as that of its user."))]


@command(
    app,
    "add",
    _("Make a key and print it; it is not shown again."),
    "agentkit keys add alice",
    "agentkit keys add reader --role ask",
)
def add(
    name: Name,
    role: Annotated[
        list[str] | None,
        Option("--role", help=_("ask, documents or approve; default: all three.")),
    ] = None,
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    from agentkit.server.auth import ROLES

    roles: set[Role] = {known for known in ROLES if known in (role or ROLES)}
    if unknown := set(role or ()) - ROLES:
        known_roles = ", ".join(sorted(ROLES))
        raise ConfigError(f"There is no role {min(unknown)!r}. Choose of: {known_roles}.")
    out, log = open_consoles()
    key = _store(folder).add(name, roles)
    if json:
        print_json({"name": name, "key": key, "roles": sorted(roles)})
        return
    out.print(Text(key))
    log.print(Text(_("Keep it: it is not shown again. Clients send it as their API key.")))


@command(app, "list", _("List the keys: names, roles and dates."), "agentkit keys list")
def list_keys(folder: Folder = Path(), json: Json = False) -> None:
    out, log = open_consoles()
    keys = _store(folder).list()
    if json:
        print_json(
            [
                {
                    "name": key.name,
                    "roles": list(key.roles),
                    "created": key.created,
                    "revoked": key.revoked,
                }
                for key in keys
            ]
        )
        return
    rows = [
        (Text(key.name), Text(_("revoked") if key.revoked else ", ".join(key.roles)))
        for key in keys
    ]
    if rows:
        print_rows(rows, out)
    else:
        log.print(Text(_("There are no keys yet. Make one: agentkit keys add NAME")))


@command(app, "revoke", _("Refuse a key from now on."), "agentkit keys revoke alice")
def revoke(name: Name, folder: Folder = Path()) -> None:
    _out, log = open_consoles()
    _store(folder).revoke(name)
    log.print(Text(_("The key {name} is revoked.").format(name=name)))


def _store(folder: Path) -> KeyStore:
    from agentkit.server.keys import KeyStore

    return KeyStore(folder)
