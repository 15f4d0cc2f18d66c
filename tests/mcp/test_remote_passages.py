"""An agent cites documents that an MCP server serves, through passages in structured content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mcp_types import CallToolResult, ResourceLink, TextContent

from agentkit.agent.agent import Agent
from agentkit.agent.approval import Policy
from agentkit.answers import Answer, Citation
from agentkit.backends.scripted import ScriptedModel
from agentkit.documents import Chunk, Document, Part
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.results import convert_result
from agentkit.mcp.server import build_server
from agentkit.mcp.server.http import mcp_app
from agentkit.messages import ToolCall
from tests.mcp.server.test_app import Clerk
from tests.mcp.server.test_http import served

NOTES = "# Cats\n\nCats purr when they are content.\n\n# Dogs\n\nDogs bark at strangers.\n"
SLIDES = "Cats purr.\n\nBirds sing at dawn."
QUOTE = "Cats purr when they are content"


@pytest.fixture
def notes(tmp_path: Any) -> Iterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path)
    slides = (Part("slide", "1", 0, 10), Part("slide", "2", 12, 31))
    knowledge.add_sync(
        [
            Document("pets.md", NOTES, title="Pets"),
            Document("birds.pptx", SLIDES, title="Birds", parts=slides),
        ]
    )
    yield knowledge
    knowledge.close()


async def answer_with(
    knowledge: KnowledgeBase, tool: str, reply: str, /, **arguments: Any
) -> Answer:
    """The answer of an agent that calls one tool of a server with these documents."""
    chunk = Chunk("c1d", "d", "pets.md", "Pets", "Cats", NOTES[8:40], 8, 40)
    clerk = Clerk(Answer(f"{QUOTE} [1].", (Citation("1", chunk, QUOTE, True),)))
    app = mcp_app(build_server("b", knowledge=knowledge, agent=clerk))
    async with served(app) as url, McpServers([ServerConfig("b", "http", url=url)]) as servers:
        model = ScriptedModel([ToolCall("1", f"b__{tool}", arguments), reply])
        agent = Agent(model, tools=servers.tools, policy=Policy(allow=("b__*",)))
        return await agent.run("Why do cats purr?")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search_knowledge", {"query": "Why do cats purr?", "k": 1}),
        ("find_all", {"text": "content"}),
        ("read_document", {"source": "pets.md"}),
        ("outline_document", {"source": "pets.md"}),
        ("ask", {"question": "Why do cats purr?"}),
    ],
)
async def test_an_answer_cites_a_served_document_with_its_exact_range(
    notes: KnowledgeBase, tool: str, arguments: dict[str, Any]
) -> None:
    answer = await answer_with(notes, tool, f"{QUOTE} [1].", **arguments)
    (citation,) = answer.citations
    assert (citation.marker, citation.quote, citation.supported) == ("1", QUOTE, True)
    assert citation.chunk.source == "b:pets.md"
    assert NOTES[citation.start : citation.end] == QUOTE
    assert NOTES[citation.chunk.start : citation.chunk.end] == citation.chunk.text


async def test_a_citation_of_a_served_document_has_its_heading_and_slide(
    notes: KnowledgeBase,
) -> None:
    query = {"query": "What do birds do at dawn?", "k": 1}
    answer = await answer_with(notes, "search_knowledge", "Birds sing at dawn [1].", **query)
    (citation,) = answer.citations
    assert citation.chunk.title == "Birds"
    assert "slide" in citation.place
    assert citation.place.startswith("b:birds.pptx")


async def test_the_model_reads_each_passage_once_and_no_link_to_it(notes: KnowledgeBase) -> None:
    query = {"query": "Why do cats purr?"}
    answer = await answer_with(notes, "search_knowledge", "Yes [1].", **query)
    (result,) = [message for message in answer.messages if message.role == "tool"]
    assert result.prompt_text.count(QUOTE) == 1
    assert "knowledge:///" not in result.prompt_text


async def test_ids_in_the_answer_of_another_agent_become_markers(notes: KnowledgeBase) -> None:
    answer = await answer_with(notes, "ask", "Yes [1].", question="Why do cats purr?")
    (result,) = [message for message in answer.messages if message.role == "tool"]
    assert f"{QUOTE} [1]." in result.text


def record(**changes: Any) -> dict[str, Any]:
    return {"id": "x", "source": "a.md", "start": 0, "end": 5, "text": "Hello"} | changes


def convert(structured: dict[str, Any], limit: int = 1000) -> tuple[str, list[Chunk]]:
    result = CallToolResult(content=[], structured_content=structured)
    converted = convert_result(result, "s", limit, lambda chunk: chunk.id)
    return converted.text, [passage.chunk for passage in converted.passages]


@pytest.mark.parametrize(
    "structured",
    [
        {"hits": []},
        {"hits": [record(end=4)]},
        {"hits": [record(start=-1, end=4)]},
        {"hits": [record(text="Hell\u200b")]},
        {"hits": [record(text="", end=0)]},
        {"hits": [record(start="0")]},
        {"deep": {"hits": [record()]}},
    ],
)
def test_content_that_is_no_passage_stays_text(structured: dict[str, Any]) -> None:
    text, chunks = convert(structured)
    assert chunks == []
    assert "hits" in text


def test_passages_of_other_servers_are_taken_out_of_the_rest() -> None:
    text, (chunk,) = convert({"total": 7, "found": [record(extra=1), "other"]})
    assert '{"total": 7, "found": ["other"]}' in text
    assert (chunk.source, chunk.text, chunk.start, chunk.end) == ("s:a.md", "Hello", 0, 5)


def test_two_servers_and_two_quotes_of_one_chunk_are_different_passages() -> None:
    quotes = [{**record(), "text": None, "quote": "Hello"}]
    quotes.append({**quotes[0], "start": 6, "end": 11})
    _, chunks = convert({"citations": quotes})
    _, (whole,) = convert({"hits": [record()]})
    assert len({chunk.id for chunk in [*chunks, whole]}) == 3


def test_passages_that_are_too_long_are_left_out_with_a_note() -> None:
    hits = [record(id=name, text="x" * 300, end=300) for name in "abc"]
    text, chunks = convert({"hits": hits}, limit=700)
    assert len(chunks) == 2
    assert "(1 more passages did not fit.)" in text


def test_other_links_and_texts_are_kept() -> None:
    content: list[Any] = [
        TextContent(text="A remark."),
        ResourceLink(uri="knowledge:///a.md", name="a.md"),
        ResourceLink(uri="file:///b", name="b"),
    ]
    result = CallToolResult(content=content, structured_content={"hits": [record()]})
    converted = convert_result(result, "s", 1000, lambda chunk: chunk.id)
    assert "A remark.\n[resource: b, file:///b]" in converted.text
    assert "a.md" not in converted.text
