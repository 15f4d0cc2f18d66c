"""From a server's bytes to its messages, a line each, none longer than we want to hold.

Lines that hold no message are nothing. An answer that is too long becomes an error of its request,
where its id can be seen.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

LARGEST_LINE = 16 * 1024 * 1024
_EDGE = 65536
_ANSWER_TOO_LARGE = -32001


def message_of(line: bytes) -> Any:
    """The message of a line, None where it holds none."""
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    if not line.lstrip().startswith(b"{"):
        return None
    for read in (bytes, _mended):
        with suppress(ValueError, RecursionError):
            return SessionMessage(jsonrpc_message_adapter.validate_json(read(line), by_name=False))
    return None


def _mended(line: bytes) -> bytes:
    """The line with a question mark for each half of a character, which a text that was cut in the
    middle of an emoji has. Raises ValueError, RecursionError."""
    value = json.loads(line.decode("utf-8", "replace"))
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


class Lines:
    """Bytes put together to lines. Of a line that is too long, an error in its place is left."""

    def __init__(self, largest: int = LARGEST_LINE) -> None:
        self._largest = largest
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def pending(self) -> int:
        """How long the line is that has not ended yet."""
        return self._size

    def added(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete."""
        first, *others = data.split(b"\n")
        self._add(first)
        done = []
        for other in others:
            done.append(self._taken())
            self._add(other)
        return done

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._pieces.append(piece)
        if self._size > self._largest:
            whole = b"".join(self._pieces)
            self._pieces = [whole[:_EDGE], whole[-_EDGE:]]

    def _taken(self) -> bytes:
        pieces, size = self._pieces, self._size
        self._pieces, self._size = [], 0
        if size <= self._largest:
            return b"".join(pieces)
        return _too_large(pieces[0], b"".join(pieces)[-_EDGE:], size)


def _too_large(head: bytes, tail: bytes, size: int) -> bytes:
    """The error that stands for an answer too large to be read, where its id can be seen."""
    known = re.match(rb'\s*\{[^{}\[\]]{0,99}?"id"\s*:\s*(\d+)', head)
    known = known or re.search(rb'"id"\s*:\s*(\d+)\s*[,}][^{}\[\]]{0,99}\}?\s*$', tail)
    if known is None:
        return b""
    said = f"the answer of {size // 1_000_000} MB is too large (at most {LARGEST_LINE >> 20} MiB)"
    error = f'{{"code":{_ANSWER_TOO_LARGE},"message":"{said}"}}'
    return b'{"jsonrpc":"2.0","id":%s,"error":%s}' % (known[1], error.encode())
