"""A streamable HTTP server that requires OAuth, and its authorization server.

It uses the standard library only. A code is exchanged for a token once, with the matching verifier.
"""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.servers.http_sessions import SessionServer, _Handler, running


class SignInServer(SessionServer):
    """`granted` are the tokens that hold, `grants` how each was bought."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = _SignIn
        self.granted: set[str] = set()
        self.grants: list[str] = []
        self.codes: dict[str, str] = {}
        self.seconds = 3600

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def signing_in() -> AbstractContextManager[SignInServer]:
    return running(SignInServer())


class _SignIn(_Handler):
    server: SignInServer

    def do_GET(self) -> None:  # noqa: N802
        origin, path = self.server.origin, urlsplit(self.path)
        if path.path.startswith("/.well-known/oauth-protected-resource"):
            self._json({"resource": self.server.url, "authorization_servers": [origin]})
        elif path.path.startswith("/.well-known/oauth-authorization-server"):
            self._json(_metadata(origin))
        elif path.path == "/authorize":
            query = {name: values[0] for name, values in parse_qs(path.query).items()}
            code = f"code-{len(self.server.codes)}"
            self.server.codes[code] = query["code_challenge"]
            back = urlencode({"code": code, "state": query["state"]})
            self.send_response(302)
            self.send_header("Location", f"{query['redirect_uri']}?{back}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(405)

    def do_POST(self) -> None:  # noqa: N802
        if self.path == "/register":
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._json({**asked, "client_id": "me", "token_endpoint_auth_method": "none"}, 201)
        elif self.path == "/token":
            self._token(self.rfile.read(int(self.headers["Content-Length"])).decode())
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") in self.server.granted:
            super().do_POST()
        else:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(401)

    def _token(self, body: str) -> None:
        given = {name: values[0] for name, values in parse_qs(body).items()}
        grant = given["grant_type"]
        if grant == "authorization_code":
            digest = hashlib.sha256(given["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            assert self.server.codes.pop(given["code"]) == challenge
        self.server.grants.append(grant)
        token = f"token-{len(self.server.grants)}"
        self.server.granted = {token}
        reported = {"access_token": token, "token_type": "Bearer", "refresh_token": "again"}
        self._json({**reported, "expires_in": self.server.seconds})

    def _json(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _metadata(origin: str) -> dict[str, Any]:
    return {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "registration_endpoint": f"{origin}/register",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    }
