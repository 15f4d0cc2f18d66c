"""A server answers at once and indexes behind; files that change are seen while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from agentkit._sync import in_background
from agentkit.answers import Answer
from agentkit.knowledge.index.report import IndexReport
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.mcp.server import build_server
from agentkit.mcp.server.indexing import BackgroundIndex
from tests.conftest import TermEmbedder
from tests.mcp.server.test_app import Clerk

both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])


class Held(KnowledgeBase):
    """An index whose first run waits until it is released."""

    released: asyncio.Event

    async def add_path(self, *args: Any, **options: Any) -> IndexReport:
        await self.released.wait()
        return await super().add_path(*args, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    knowledge = tmp_path / "knowledge"
    knowledge.mkdir()
    for number in range(3):
        (knowledge / f"{number}.md").write_text(f"# Cats {number}\n\nCats purr.\n")
    return knowledge


@asynccontextmanager
async def serving(
    folder: Path, embedder: TermEmbedder, era: str, *, released: bool = True
) -> AsyncIterator[tuple[Client, Held]]:
    """A client of a server of the folder, and the index."""
    knowledge = Held(folder.parent / "index", embedder)
    knowledge.released = asyncio.Event()
    if released:
        knowledge.released.set()
    indexing = BackgroundIndex(
        knowledge, folder, settle_seconds=30 if released else 0.05, report=warnings.append
    )
    clerk = Clerk(Answer("Yes."))
    server = build_server(
        "demo", knowledge=knowledge, agent=clerk, indexing=indexing, watch_seconds=0.05
    )
    try:
        async with in_background(indexing.run()), Client(server, mode=era) as client:
            yield client, knowledge
    finally:
        knowledge.close()


warnings: list[str] = []


async def structured(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return dict(result.structured_content or {})


@both_eras
async def test_a_call_waits_for_a_short_run(folder: Path, embedder: TermEmbedder, era: str) -> None:
    async with serving(folder, embedder, era) as (client, _):
        listed = await structured(client, "list_documents")
        assert listed["total"] == 3
        assert "note" not in listed
        assert len((await client.list_resources()).resources) == 3


@both_eras
async def test_results_say_how_much_is_indexed_while_a_run_goes_on(
    folder: Path, embedder: TermEmbedder, era: str
) -> None:
    async with serving(folder, embedder, era, released=False) as (client, knowledge):
        assert {tool.name for tool in (await client.list_tools()).tools} > {"search_knowledge"}
        for name, arguments in {
            "search_knowledge": {"query": "cats"},
            "find_all": {"text": "cats"},
            "list_documents": {},
            "ask": {"question": "cats?"},
        }.items():
            assert "Indexing has begun" in (await structured(client, name, **arguments))["note"]
        knowledge.released.set()
        async with asyncio.timeout(30):
            while "note" in (found := await structured(client, "list_documents")):
                assert found["total"] in (0, 3)
        assert found["total"] == 3


@both_eras
async def test_new_and_changed_and_deleted_files_are_seen(
    folder: Path, embedder: TermEmbedder, era: str
) -> None:
    async with serving(folder, embedder, era) as (client, _):
        assert (await structured(client, "find_all", text="zebra"))["times"] == 0
        (folder / "new.md").write_text("A zebra.")
        (folder / "0.md").write_text("Another zebra.")
        (folder / "1.md").unlink()
        async with asyncio.timeout(30):
            while True:
                found = await structured(client, "find_all", text="zebra")
                listed = await structured(client, "list_documents")
                if found["times"] == 2 and listed["total"] == 3:
                    break
                await asyncio.sleep(0.05)
        assert {each["source"] for each in found["documents"]} == {"new.md", "0.md"}


async def test_a_client_that_listed_the_resources_learns_of_a_new_one(
    folder: Path, embedder: TermEmbedder
) -> None:
    changed = asyncio.Event()

    async def on_message(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/resources/list_changed":
            changed.set()

    knowledge = KnowledgeBase.open(folder.parent / "index", embedder)
    await knowledge.add_path(folder)
    server = build_server("demo", knowledge=knowledge, watch_seconds=0.05)
    async with Client(server, mode="legacy", message_handler=on_message) as client:
        assert client.server_capabilities.resources is not None
        assert client.server_capabilities.resources.list_changed
        assert len((await client.list_resources()).resources) == 3
        (folder / "new.md").write_text("A zebra.")
        await knowledge.add_path(folder)
        await asyncio.wait_for(changed.wait(), 30)
        assert len((await client.list_resources()).resources) == 4
    knowledge.close()


async def test_a_folder_that_cannot_be_indexed_is_reported_and_the_index_used(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    lines: list[str] = []
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    indexing = BackgroundIndex(knowledge, tmp_path / "gone", report=lines.append)
    server = build_server("demo", knowledge=knowledge, indexing=indexing)
    async with in_background(indexing.run()), Client(server) as client:
        assert (await structured(client, "list_documents"))["total"] == 0
    assert "no longer updated" in lines[0]
    knowledge.close()
