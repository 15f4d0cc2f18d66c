"""Signing in at a server over HTTP: OAuth 2.1 with PKCE, by the SDK, and tokens that outlive us.

Tokens are kept in the user's own configuration folder, in files that only the user may read. Who
has nobody to ask is told to run `agentkit mcp login`.
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

from agentkit.errors import McpError
from agentkit.mcp.config import OAuth, ServerConfig
from agentkit.mcp.pins import write_private
from agentkit.settings.sources import user_folder

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.auth.oauth2 import OAuthContext
    from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthToken

Browse = Callable[[str], Awaitable[None]]
"""Shows the user a page, where they sign in."""

SIGN_IN_SECONDS = 300.0
_LARGEST_REQUEST = 16_384
_PAGE = b"<!doctype html><title>agentkit</title><p>Done. You may close this page.</p>"


def uses_oauth(config: ServerConfig) -> bool:
    """Whether a server that refuses us may be signed in at: one that no header of ours serves."""
    has_header = any(name.lower() == "authorization" for name in config.headers)
    return bool(config.url) and (config.oauth is not None or not has_header)


def auth_for(config: ServerConfig, browse: Browse | None = None) -> OAuthClientProvider:
    """The SDK's sign-in for a server. Without `browse` only what is kept is used and renewed."""
    from mcp.client.auth import OAuthClientProvider

    wanted = config.oauth or OAuth()
    kept = TokenFile(token_path(config))
    back = _Callback(config.name, wanted.redirect_port or kept.redirect_port() or _free_port())
    kept.preregister(wanted, back.url)

    async def shown(url: str) -> None:
        if browse is None:
            raise McpError(
                f"The MCP server {config.name!r} wants you to sign in. "
                f"Run: agentkit mcp login {config.name}",
                config.name,
            )
        await back.listen()
        await browse(url)

    provider = OAuthClientProvider(
        config.url,
        _metadata(wanted, back.url),
        kept,
        shown,
        back.answer,
        wanted.client_metadata_url or None,
    )
    kept.restore(provider.context)
    return provider


def token_path(config: ServerConfig) -> Path:
    """Where the tokens of a server are kept: by its URL, and by whom we are there."""
    known = config.oauth.client_id if config.oauth else ""
    name = hashlib.sha256(f"{config.url}\0{known}".encode()).hexdigest()[:32]
    return user_folder() / "mcp_tokens" / f"{name}.json"


def forget(config: ServerConfig) -> bool:
    """Remove what is kept of a sign-in; whether there was any."""
    path = token_path(config)
    was_there = path.exists()
    path.unlink(missing_ok=True)
    return was_there


class TokenFile:
    """The SDK's token storage in a file, with when the token ends and who issued it, so that it
    can be renewed in another process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context: OAuthContext | None = None

    async def get_tokens(self) -> OAuthToken | None:
        from mcp.shared.auth import OAuthToken

        found = self._read().get("tokens")
        return OAuthToken.model_validate(found) if found else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        ends = time.time() + tokens.expires_in if tokens.expires_in else None
        metadata = self._context.oauth_metadata if self._context else None
        issuer = metadata.model_dump(mode="json", exclude_none=True) if metadata else None
        told = tokens.model_dump(mode="json", exclude_none=True)
        self._write({"tokens": told, "ends": ends, "issuer": issuer})

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        from mcp.shared.auth import OAuthClientInformationFull

        found = self._read().get("client")
        return OAuthClientInformationFull.model_validate(found) if found else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._write({"client": client_info.model_dump(mode="json", exclude_none=True)})

    def redirect_port(self) -> int:
        """The port that we registered with, 0 for none."""
        urls = self._read().get("client", {}).get("redirect_uris") or [""]
        return urlsplit(str(urls[0])).port or 0

    def preregister(self, wanted: OAuth, redirect_url: str) -> None:
        """Be the client that mcp.json names, if it names one, with the secret that it has now."""
        kept = self._read().get("client", {})
        is_known = kept and kept.get("client_secret", "") == wanted.client_secret
        if wanted.client_id and not is_known:
            method = "client_secret_basic" if wanted.client_secret else "none"
            client = {
                "client_id": wanted.client_id,
                "client_secret": wanted.client_secret or None,
                "redirect_uris": [redirect_url],
                "token_endpoint_auth_method": method,
            }
            self._write({"client": {k: v for k, v in client.items() if v is not None}})

    def restore(self, context: OAuthContext) -> None:
        """Tell the SDK what it does not ask for: when the token ends, and who renews it."""
        from mcp.shared.auth import OAuthMetadata

        self._context = context
        kept = self._read()
        context.token_expiry_time = kept.get("ends")
        if kept.get("issuer"):
            context.oauth_metadata = OAuthMetadata.model_validate(kept["issuer"])

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, change: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self._path, json.dumps(self._read() | change))
        except OSError as error:
            raise McpError(f"{self._path} cannot be written: {error.strerror}.") from error


class _Callback:
    """The page of ours to which the server that signs in sends the user back."""

    def __init__(self, server: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/callback"
        self._server = server
        self._port = port
        self._listening: asyncio.Server | None = None
        self._answer: asyncio.Future[dict[str, str]] | None = None

    async def listen(self) -> None:
        """Be there before the user is sent away."""
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._listening = await asyncio.start_server(
                self._visited, "127.0.0.1", self._port, limit=_LARGEST_REQUEST
            )
        except OSError as error:
            raise McpError(
                f"Port {self._port} is taken, so nobody can come back from signing in at "
                f"{self._server!r}. Free it, or give oauth.redirectPort.",
                self._server,
            ) from error

    async def answer(self) -> AuthorizationCodeResult:
        """What the user came back with. Raises McpError."""
        from mcp.shared.auth import AuthorizationCodeResult

        assert self._answer is not None
        assert self._listening is not None
        try:
            async with asyncio.timeout(SIGN_IN_SECONDS):
                told = await self._answer
        except TimeoutError as error:
            raise McpError(
                f"Nobody signed in at {self._server!r} in time.", self._server
            ) from error
        finally:
            self._listening.close()
        if "code" not in told:
            said = told.get("error_description") or told.get("error") or "no code came back"
            raise McpError(f"Signing in at {self._server!r} failed: {said[:300]}.", self._server)
        return AuthorizationCodeResult(
            code=told["code"], state=told.get("state"), iss=told.get("iss")
        )

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                line = (await reader.readline()).decode("latin-1")
            path = urlsplit(line.split()[1] if len(line.split()) > 1 else "")
            is_ours = line.startswith("GET ") and path.path == "/callback"
            status = b"200 OK" if is_ours else b"404 Not Found"
            writer.write(b"HTTP/1.1 %s\r\nContent-Type: text/html\r\n" % status)
            writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(_PAGE) + _PAGE)
            await writer.drain()
            if is_ours and self._answer is not None and not self._answer.done():
                query = parse_qs(path.query, max_num_fields=20)
                self._answer.set_result({name: values[0] for name, values in query.items()})
        except (OSError, TimeoutError, ValueError):
            pass
        finally:
            writer.close()


def _metadata(wanted: OAuth, redirect_url: str) -> Any:
    from mcp.shared.auth import OAuthClientMetadata
    from pydantic import AnyUrl

    return OAuthClientMetadata(
        client_name="agentkit",
        redirect_uris=[AnyUrl(redirect_url)],
        grant_types=["authorization_code", "refresh_token"],
        scope=wanted.scope or None,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
