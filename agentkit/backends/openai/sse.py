"""Decode the body of a chat completion: server-sent events, JSON lines, or one JSON value.

Servers leave out the space after `data:`, blank lines, the content type or the end mark; they send
comments, a byte order mark, CRLF, and whole JSON where a stream was asked for.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from agentkit.backends.faults import ServerError, ServerFault

_MAX_BYTES = 64 * 2**20
"""Of one event."""
_DECODER = json.JSONDecoder()
_KEEP_ALIVE = (b"ping", b"heartbeat", b"keep-alive", b"keepalive", b"processing")


async def decode(pieces: AsyncIterable[bytes]) -> AsyncIterator[Any]:
    """Yield the JSON values of a body until its end mark. Raises ServerError for an error that is
    no JSON, and ValueError for what cannot be decoded."""
    decoder = EventDecoder()
    async for piece in pieces:
        for value in decoder.feed(piece):
            yield value
        if decoder.is_done:
            return
    for value in decoder.end():
        yield value


class EventDecoder:
    """Takes the bytes of a body piece by piece. `is_done` is set by the end mark, `[DONE]`."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._event = b""
        self._is_json: bool | None = None
        self.is_done = False

    def feed(self, piece: bytes) -> list[Any]:
        data = self._rest + piece
        # A CR at the end may be half of a CRLF: its line waits.
        end = len(data) - data.endswith(b"\r")
        cut = max(data.rfind(b"\n", 0, end), data.rfind(b"\r", 0, end)) + 1
        self._rest = data[cut:]
        if len(self._rest) > _MAX_BYTES:
            raise ValueError("an event is too large")
        values: list[Any] = []
        for line in data[:cut].splitlines():
            self._take(line, values)
        return values

    def end(self) -> list[Any]:
        """The values of what the last line break did not end."""
        values: list[Any] = []
        if self._rest:
            self._take(self._rest, values)
        self._dispatch(values)
        return values

    def _take(self, line: bytes, values: list[Any]) -> None:
        if self._is_json is None and line.strip(b"\xef\xbb\xbf \t"):
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._is_json = line.lstrip()[:1] in (b"{", b"[")
        if self._is_json:
            self._data.append(line)
            if len(self._data) == 1 and line.rstrip().endswith(b"}"):  # JSON lines.
                self._dispatch(values, may_continue=True)
        elif not line:
            self._dispatch(values)
        elif line.startswith(b"data:"):
            self._data.append(line[5:])
        elif line.startswith(b"{"):
            self._data.append(line)
        elif line.startswith(b"event:"):
            self._event = line[6:].strip()

    def _dispatch(self, values: list[Any], may_continue: bool = False) -> None:
        """Decode the data of an event. Some servers put no blank line between events."""
        if not self._data:
            self._event = b""
            return
        lines, data = self._data, b"\n".join(self._data).strip()
        if not data or self.is_done:
            self._data = []
            return
        try:
            found = [json.loads(data)]
        except (ValueError, RecursionError):
            if may_continue:
                return
            found = self._decode_lines(lines)
        self._data = []
        is_error, self._event = self._event == b"error", b""
        values += (
            {"error": value} if is_error and not _is_error(value) else value for value in found
        )

    def _decode_lines(self, lines: list[bytes]) -> list[Any]:
        """Decode an event's data that is not one JSON value."""
        found: list[Any] = []
        for line in filter(None, map(bytes.strip, lines)):
            if line.lower().startswith(_KEEP_ALIVE):
                continue
            if self._event == b"error" and line[:1] not in (b"{", b"["):
                raise ServerError(ServerFault(line.decode("utf-8", "replace")[:300]))
            found += self._decode_parts(line.decode("utf-8", "replace"))
            if self.is_done:
                break
        return found

    def _decode_parts(self, line: str) -> list[Any]:
        """Decode what some proxies put on one line: several values, or a field's name again."""
        found: list[Any] = []
        while line := line.lstrip().removeprefix("data:").lstrip():
            if line.strip('"').startswith("[DONE]"):
                self.is_done = True
                break
            value, end = _DECODER.raw_decode(line)
            found.append(value)
            line = line[end:]
        return found


def _is_error(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("error"))
