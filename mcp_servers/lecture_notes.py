"""The lecture notes as an MCP server: `python mcp_servers/lecture_notes.py`.

It serves ../knowledge over stdin and stdout, from the project's own index. Changed documents are
indexed at the start, in the background; calls wait for it.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from agentkit.errors import AgentkitError
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.mcp.server import build_server, claim_stdout, serve_stdio

PROJECT = Path(__file__).resolve().parents[1]


class IndexedFirst:
    """A knowledge base whose asynchronous methods wait until indexing has ended."""

    def __init__(self, knowledge: KnowledgeBase, indexing: asyncio.Task[None]) -> None:
        self._knowledge = knowledge
        self._indexing = indexing

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._knowledge, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.shield(self._indexing)
            return await method(*args, **kwargs)

        return call


async def index(knowledge: KnowledgeBase, folder: Path) -> None:
    """Index a folder. Where that fails, another process may be indexing: serve the index as it
    is."""
    try:
        report = await knowledge.add_path(folder)
    except AgentkitError as error:
        print(f"Not indexed: {error}", file=sys.stderr)
    else:
        for warning in report.warnings:
            print(warning, file=sys.stderr)


async def serve(protocol: int) -> None:
    """Serve until stdin ends."""
    knowledge = KnowledgeBase.open(PROJECT / ".agentkit" / "index")
    indexing = asyncio.create_task(index(knowledge, PROJECT / "knowledge"))
    notes = cast(KnowledgeBase, IndexedFirst(knowledge, indexing))
    try:
        await serve_stdio(build_server("lecture-notes", knowledge=notes), protocol)
    finally:
        indexing.cancel()
        await asyncio.wait({indexing})
        knowledge.close()


def main() -> None:
    protocol = claim_stdout()
    try:
        asyncio.run(serve(protocol))
    except AgentkitError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
