"""What no client of an MCP server over HTTP should send, for benchmarks/soak.py."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any


async def visit(name: str, port: int) -> None:
    """Send one of VISITS to a server on this machine, and leave."""
    content, seconds = VISITS[name]
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(content.replace(b"PORT", str(port).encode()))
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(2000), seconds)
        finally:
            writer.close()


def _post(body: bytes, *headers: str, host: str = "127.0.0.1:PORT") -> bytes:
    lines = [
        "POST /mcp HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _request(method: str, **params: Any) -> bytes:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return json.dumps(call).encode()


_HELLO = _request(
    "initialize",
    protocolVersion="2025-11-25",
    capabilities={},
    clientInfo={"name": "soak", "version": "1"},
)
VISITS: dict[str, tuple[bytes, float]] = {
    "half a header": (b"POST /mcp HTTP/1.1\r\nHost: 127", 3),
    "no protocol": (bytes(range(256)) * 20, 1),
    "endless header": (b"GET /mcp HTTP/1.1\r\nX: " + b"a" * 200_000, 1),
    "half a body": (_post(_HELLO, "X: y")[:-20], 3),
    "announced gigabytes": (_post(b"")[:-2].replace(b"Length: 0", b"Length: 9000000000"), 1),
    "large body": (_post(b'{"a": "' + b"x" * 3_000_000 + b'"}'), 2),
    "deep JSON": (_post(b"[" * 100_000), 2),
    "no JSON": (_post(b"\xff\xfe{"), 1),
    "unknown method": (_post(_request("no/such")), 1),
    "unknown session": (_post(_request("tools/list"), "Mcp-Session-Id: " + "f" * 32), 1),
    "abandoned session": (_post(_HELLO), 2),
    "left while asking": (
        _post(_request("tools/call", name="ask", arguments={"question": "code of part 1"})),
        0.05,
    ),
    "foreign origin": (_post(_HELLO, "Origin: https://evil.example"), 1),
    "foreign host": (_post(_HELLO, host="evil.example"), 1),
}
"""What is sent, and the seconds that its sender stays."""
