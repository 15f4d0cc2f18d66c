"""Lines from a pipe or a file, one a message; a file, or a device that is none, is read whole."""

from __future__ import annotations

import asyncio
import os
import stat
import sys

_LONGEST_LINE = 16_000_000


class Pipe:
    """A Keyboard that nobody types on. Open one with `Pipe.open`."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @classmethod
    async def open(cls) -> Pipe:
        """Standard input, read without a thread, which could not be stopped."""
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        loop = asyncio.get_running_loop()
        if _is_stream():
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        else:
            reader.feed_data(sys.stdin.buffer.read())
            reader.feed_eof()
        return cls(reader)

    async def line(self, default: str = "") -> str:
        line = await self._reader.readline()
        if not line:
            raise EOFError
        return line.decode("utf-8", "replace")

    async def ask(self, question: str, default: str = "") -> str:
        return await self.line()


def _is_stream() -> bool:
    """Whether one can wait for what comes."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()
