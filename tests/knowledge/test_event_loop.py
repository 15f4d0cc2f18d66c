"""An asynchronous program goes on while its documents are indexed and searched: what blocks runs in
threads and children, never on the event loop."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from agentkit import Agent, Document, KnowledgeBase
from tests.conftest import TermEmbedder


@contextmanager
def queries_of_this_thread() -> Iterator[list[str]]:
    """Collect where this thread calls SQLite."""
    found: list[str] = []

    def watch(frame: FrameType, event: str, called: Any) -> None:
        owner = getattr(called, "__self__", None)
        if event == "c_call" and isinstance(owner, sqlite3.Connection | sqlite3.Cursor):
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {called.__name__}")

    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(None)


async def test_no_method_of_a_knowledge_base_queries_the_catalog_on_the_event_loop(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.md").write_text(f"# Part {number}\n\nThe code is K{number}.\n")
    with KnowledgeBase.open(tmp_path / "index", embedder) as kb:
        with queries_of_this_thread() as queries:
            await kb.add([Document("pump.md", "# Pump\n\nThe pump weighs 40 kg.")])
            await kb.add_path(folder)
            (folder / "3.md").unlink()
            (folder / "4.md").write_text("# Part 4\n\nThe code is NEW.\n")
            await kb.update(folder / "4.md")
            await kb.add_path(folder)
            hits = await kb.search("What does the pump weigh?")
            await kb.find_all("code")
            await kb.document("pump.md")
            await kb.document_of(hits[0].chunk.document_id[:8])
            await kb.outline("5.md")
            await kb.documents()
            await kb.unread()
            await kb.widen([hit.chunk for hit in hits], 200)
            await kb.merge([hit.chunk for hit in hits])
            await kb.languages()
            await kb.late_scores("pump", [hits[0].chunk])
            await kb.discard(["5.md", "none.md"])
            await kb.remove("6.md")
            await Agent("extractive", knowledge=kb).run("What does the pump weigh?")
        assert hits[0].chunk.source == "pump.md"
        assert queries == []


async def test_a_new_embedder_is_taken_without_queries_on_the_event_loop(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    class OtherEmbedder(TermEmbedder):
        name = "other"

    with KnowledgeBase.open(tmp_path / "index", embedder) as kb:
        await kb.add([Document("pump.md", "# Pump\n\nThe pump weighs 40 kg.")])
    with queries_of_this_thread() as queries:
        opened = await KnowledgeBase.rebuild(tmp_path / "index", OtherEmbedder())
    opened.close()
    assert queries == []
