"""Ask a server one small question, and get JSON or nothing.

Servers on this machine are asked past any proxy. Redirects are not followed, for a key must not
reach another server, and an answer is cut off at 2 MB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agentkit.backends.addresses import is_loopback

_SECONDS = 3.0
_MOST_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status, 0 where nobody answered, and the JSON object, if it was one."""

    status: int = 0
    body: Mapping[str, Any] | None = None

    def get(self, name: str) -> Any:
        """A field of the object, None where there is none."""
        return None if self.body is None else self.body.get(name)


async def asked(url: str, path: str, *, key: str = "", body: Any = None) -> Reply:
    """What a server answers to GET, or to POST where there is a body."""
    import httpx2

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    method = "GET" if body is None else "POST"
    try:
        async with (
            httpx2.AsyncClient(timeout=_SECONDS, trust_env=not is_loopback(url)) as client,
            client.stream(method, url + path, headers=headers, json=body) as response,
        ):
            text = b""
            async for piece in response.aiter_bytes():
                text += piece
                if len(text) > _MOST_BYTES:
                    return Reply(response.status_code)
            return Reply(response.status_code, _object(text))
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError):
        return Reply()


def root_of(url: str) -> str:
    """The server's own address, without the /v1 of its OpenAI-compatible routes."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _object(text: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
