"""Sign in to a server over HTTP: OAuth 2.1 with PKCE by the SDK, with stored tokens.

Tokens are kept in the user's configuration directory, in files that only the user may read. Where
no browser can be opened, the error says to run `agentkit mcp login`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from agentkit.errors import McpError, file_error
from agentkit.findings import for_folder
from agentkit.mcp.config import OAuth, ServerConfig
from agentkit.settings.sources import user_folder, write_private

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.auth.oauth2 import OAuthContext
    from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthToken

Browse = Callable[[str], Awaitable[None]]
"""Opens the page where the user signs in."""

SIGN_IN_SECONDS = 300.0
_MAX_REQUEST = 16_384
_PAGE = b"<!doctype html><title>agentkit</title><p>Done. You may close this page.</p>"


def uses_oauth(config: ServerConfig) -> bool:
    """Whether to sign in to a server that refuses us: one that has no Authorization header."""
    has_header = any(name.lower() == "authorization" for name in config.headers)
    return bool(config.url) and (config.oauth is not None or not has_header)


def auth_for(
    config: ServerConfig, browse: Browse | None = None, folder: Path = Path()
) -> OAuthClientProvider:
    """The SDK's authentication for a server of a project. Without `browse`, only stored tokens are
    used and renewed."""
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientMetadata
    from pydantic import AnyUrl

    oauth = config.oauth or OAuth()
    tokens = TokenFile(token_path(config))
    callback = _CallbackServer(
        config.name, oauth.redirect_port or tokens.redirect_port() or _free_port()
    )
    tokens.preregister(oauth, callback.url)

    async def redirect(url: str) -> None:
        if browse is None:
            command = for_folder(f"agentkit mcp login {config.name}", folder, "-C")
            raise McpError(
                f"The MCP server {config.name!r} needs you to sign in. Run: {command}", config.name
            )
        await callback.listen()
        await browse(url)

    metadata = OAuthClientMetadata(
        client_name="agentkit",
        redirect_uris=[AnyUrl(callback.url)],
        grant_types=["authorization_code", "refresh_token"],
        scope=oauth.scope or None,
    )
    provider = OAuthClientProvider(
        config.url, metadata, tokens, redirect, callback.wait, oauth.client_metadata_url or None
    )
    tokens.restore(provider.context)
    return provider


def token_path(config: ServerConfig) -> Path:
    """The file of a server's tokens, by its URL and our client id."""
    client_id = config.oauth.client_id if config.oauth else ""
    name = hashlib.sha256(f"{config.url}\0{client_id}".encode()).hexdigest()[:32]
    return user_folder() / "mcp_tokens" / f"{name}.json"


def delete_tokens(config: ServerConfig) -> bool:
    """Delete the stored tokens; returns whether there were any."""
    path = token_path(config)
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


class TokenFile:
    """The SDK's token storage in a file, with the expiry and the issuer, so that another process
    can renew the token."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context: OAuthContext | None = None

    async def get_tokens(self) -> OAuthToken | None:
        from mcp.shared.auth import OAuthToken

        found = self._read().get("tokens")
        return OAuthToken.model_validate(found) if found else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        metadata = self._context.oauth_metadata if self._context else None
        self._update(
            {
                "tokens": tokens.model_dump(mode="json", exclude_none=True),
                "ends": time.time() + tokens.expires_in if tokens.expires_in else None,
                "issuer": metadata.model_dump(mode="json", exclude_none=True) if metadata else None,
            }
        )

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        from mcp.shared.auth import OAuthClientInformationFull

        found = self._read().get("client")
        return OAuthClientInformationFull.model_validate(found) if found else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._update({"client": client_info.model_dump(mode="json", exclude_none=True)})

    def redirect_port(self) -> int:
        """The port that we registered with, 0 for none."""
        urls = self._read().get("client", {}).get("redirect_uris") or [""]
        return urlsplit(str(urls[0])).port or 0

    def preregister(self, oauth: OAuth, redirect_url: str) -> None:
        """Store the client that mcp.json names, if any, with its current secret."""
        stored = self._read().get("client", {})
        is_stored = stored and stored.get("client_secret", "") == oauth.client_secret
        if oauth.client_id and not is_stored:
            method = "client_secret_basic" if oauth.client_secret else "none"
            client = {
                "client_id": oauth.client_id,
                "client_secret": oauth.client_secret or None,
                "redirect_uris": [redirect_url],
                "token_endpoint_auth_method": method,
            }
            self._update({"client": {k: v for k, v in client.items() if v is not None}})

    def restore(self, context: OAuthContext) -> None:
        """Set the expiry and the issuer, which the SDK does not load."""
        from mcp.shared.auth import OAuthMetadata

        self._context = context
        stored = self._read()
        context.token_expiry_time = stored.get("ends")
        if stored.get("issuer"):
            context.oauth_metadata = OAuthMetadata.model_validate(stored["issuer"])

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _update(self, change: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self._path, json.dumps(self._read() | change))
        except OSError as error:
            raise McpError(file_error(self._path, error, "written")) from error


class _CallbackServer:
    """The local page to which the authorization server redirects the browser."""

    def __init__(self, server: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/callback"
        self._server = server
        self._port = port
        self._listening: asyncio.Server | None = None
        self._query: asyncio.Future[dict[str, str]] | None = None

    async def listen(self) -> None:
        """Listen before the browser is opened. Raises McpError."""
        self._query = asyncio.get_running_loop().create_future()
        try:
            self._listening = await asyncio.start_server(
                self._handle, "127.0.0.1", self._port, limit=_MAX_REQUEST
            )
        except OSError as error:
            raise McpError(
                f"Cannot sign in to {self._server!r}: port {self._port} is in use. Free it, or set "
                "oauth.redirectPort.",
                self._server,
            ) from error

    async def wait(self) -> AuthorizationCodeResult:
        """Return the authorization code. Raises McpError."""
        from mcp.shared.auth import AuthorizationCodeResult

        assert self._query is not None
        assert self._listening is not None
        try:
            async with asyncio.timeout(SIGN_IN_SECONDS):
                query = await self._query
        except TimeoutError as error:
            raise McpError(
                f"Nobody signed in to {self._server!r} within {SIGN_IN_SECONDS:g} s.", self._server
            ) from error
        finally:
            self._listening.close()
        if "code" not in query:
            reason = query.get("error_description") or query.get("error") or "no code was returned"
            raise McpError(f"Signing in to {self._server!r} failed: {reason[:300]}.", self._server)
        return AuthorizationCodeResult(
            code=query["code"], state=query.get("state"), iss=query.get("iss")
        )

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                line = (await reader.readline()).decode("latin-1")
            path = urlsplit(line.split()[1] if len(line.split()) > 1 else "")
            is_callback = line.startswith("GET ") and path.path == "/callback"
            status = b"200 OK" if is_callback else b"404 Not Found"
            writer.write(b"HTTP/1.1 %s\r\nContent-Type: text/html\r\n" % status)
            writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(_PAGE) + _PAGE)
            await writer.drain()
            if is_callback and self._query is not None and not self._query.done():
                query = parse_qs(path.query, max_num_fields=20)
                self._query.set_result({name: values[0] for name, values in query.items()})
        except (OSError, TimeoutError, ValueError):
            pass
        finally:
            writer.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
