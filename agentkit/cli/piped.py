"""What a pipe or a file brings on standard input, as a document that goes with a question.

A terminal, /dev/null and a closed input bring nothing. What does not come soon is waited for, and
said to be.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys

from rich.console import Console
from rich.text import Text

from agentkit.cli.language import translated
from agentkit.documents import Document
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.loaders.text import decoded

NAME = "standard input"
MOST_BYTES = 4_000_000
_SOON = 2.0


async def piped(log: Console) -> Document | None:
    """What is piped in, None where nothing is. Raises ConfigError for too much, or for no text."""
    if not _is_piped():
        return None
    reading = asyncio.ensure_future(_content())
    done, _ = await asyncio.wait([reading], timeout=_SOON)
    if not done:
        log.print(Text(translated("reading standard input … (</dev/null keeps it out)"), "dim"))
    text = _text(await reading)
    return Document(NAME, text, first_heading(text) or NAME) if text.strip() else None


async def _content() -> bytes:
    """All of it, without a thread, which could not be stopped."""
    if stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    reader = asyncio.StreamReader(limit=MOST_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    found = bytearray()
    while len(found) <= MOST_BYTES and (more := await reader.read(65536)):
        found += more
    transport.close()
    return bytes(found)


def _text(content: bytes) -> str:
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"Standard input is longer than {MOST_BYTES // 1_000_000} MB. "
            "Index the file instead: agentkit index FILE."
        )
    try:
        return decoded(content)
    except KnowledgeError as error:
        raise ConfigError(
            f"Standard input is {error}. Index the file instead: agentkit index FILE."
        ) from error


def _is_piped() -> bool:
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)
