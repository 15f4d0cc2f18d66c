"""The lecture notes as an MCP server: `python mcp_servers/lecture_notes.py`.

It offers ../knowledge over stdin and stdout, from the project's own index. What changed there is
indexed at the start, in the background; calls wait for it.
"""

import asyncio
import sys
from pathlib import Path

from agentkit.documents import Document, Hit
from agentkit.errors import AgentkitError
from agentkit.knowledge.index.catalog import DocumentInfo
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.lookup import Occurrences
from agentkit.mcp.server import build_server, claim_stdout, serve_stdio

PROJECT = Path(__file__).resolve().parents[1]


class IndexedFirst:
    """A knowledge base whose calls wait until a folder is indexed. Where that fails, another
    process may hold the index: then it serves what is there."""

    def __init__(self, knowledge: KnowledgeBase, folder: Path) -> None:
        self._knowledge = knowledge
        self._indexing = asyncio.create_task(self._index(folder))

    async def search(self, query: str, k: int = 5, *, filters: Filters = Filters()) -> list[Hit]:
        await asyncio.shield(self._indexing)
        return await self._knowledge.search(query, k, filters=filters)

    async def find_all(self, text: str, *, filters: Filters = Filters()) -> Occurrences:
        await asyncio.shield(self._indexing)
        return await self._knowledge.find_all(text, filters=filters)

    async def document(self, source: str) -> Document:
        await asyncio.shield(self._indexing)
        return await self._knowledge.document(source)

    async def documents(self) -> list[DocumentInfo]:
        await asyncio.shield(self._indexing)
        return await self._knowledge.documents()

    async def close(self) -> None:
        """Stop indexing and close the knowledge base."""
        self._indexing.cancel()
        await asyncio.wait({self._indexing})
        self._knowledge.close()

    async def _index(self, folder: Path) -> None:
        try:
            report = await self._knowledge.add_path(folder)
        except AgentkitError as error:
            print(f"Not indexed: {error}", file=sys.stderr)
        else:
            for warning in report.warnings:
                print(warning, file=sys.stderr)


async def serve(wire: int) -> None:
    """Serve until stdin ends."""
    knowledge = KnowledgeBase.open(PROJECT / ".agentkit" / "index")
    notes = IndexedFirst(knowledge, PROJECT / "knowledge")
    try:
        await serve_stdio(build_server("lecture-notes", knowledge=notes), wire)
    finally:
        await notes.close()


def main() -> None:
    wire = claim_stdout()
    try:
        asyncio.run(serve(wire))
    except AgentkitError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
