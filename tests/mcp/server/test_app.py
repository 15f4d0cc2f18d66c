"""Our server with the SDK's client, in memory, in both versions of the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from mcp import Client
from mcp.server import Server
from mcp.server.subscriptions import InMemorySubscriptionBus
from pydantic import BaseModel, RootModel

from agentkit.agent.agent import Agent
from agentkit.answers import Answer, Citation
from agentkit.backends.scripted import ScriptedModel
from agentkit.documents import Chunk, Document
from agentkit.errors import ConfigError, ModelError
from agentkit.events import Event, Finished, TextDelta, ToolProgress, ToolStarted
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.lookup import Occurrences
from agentkit.mcp.server import build_server
from agentkit.mcp.server.tools import PublishedTool, ToolHandlers, ask_tool, use_chunk_ids
from agentkit.messages import ToolCall
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import tool

NOTES = "# Cats\n\nCats purr when they are content.\n\n# Dogs\n\nDogs bark at strangers.\n"

pytestmark = pytest.mark.parametrize("era", ["auto", "legacy"])


class Score(BaseModel):
    hits: int


class Clerk:
    """An agent of three events and an answer."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer

    async def stream(self, prompt: str) -> AsyncGenerator[Event, None]:
        call = ToolCall("1", "search_knowledge", {"query": prompt})
        yield ToolStarted(call)
        yield ToolProgress(call, "half way", 0.5)
        yield TextDelta("Cats")
        if self.answer is None:
            raise ModelError("The model is not there. Run: ollama pull it")
        yield Finished(self.answer)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path_factory.mktemp("index"))
    knowledge.add_sync([Document(source="pets.md", title="Pets", text=NOTES)])
    yield knowledge
    knowledge.close()


async def called(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    assert json.loads(result.content[0].text) == result.structured_content  # type: ignore[union-attr]
    return dict(result.structured_content)


async def refused(client: Client, name: str, **arguments: Any) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return str(result.content[0].text)  # type: ignore[union-attr]


async def test_search_returns_passages_with_exact_ranges(notes: KnowledgeBase, era: str) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        hits = (await called(client, "search_knowledge", query="Why do cats purr?"))["hits"]
    fields = {"id", "uri", "source", "title", "heading", "start", "end", "score", "text"}
    assert set(hits[0]) == fields
    assert (hits[0]["source"], hits[0]["heading"]) == ("pets.md", "Cats")
    assert all(NOTES[hit["start"] : hit["end"]] == hit["text"] for hit in hits)


async def test_documents_are_listed_and_read_in_ranges(notes: KnowledgeBase, era: str) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        part = await called(client, "read_document", source="pets.md", start=2, end=6)
        assert part["text"] == "Cats"
        assert part["characters"] == len(NOTES)
        assert (await called(client, "read_document", source="pets.md"))["text"] == NOTES
        (entry,) = (await called(client, "list_documents"))["documents"]
        assert (entry["source"], entry["characters"]) == ("pets.md", len(NOTES))


async def test_a_long_document_is_read_in_parts(era: str) -> None:
    class Library:
        async def document(self, source: str, *, filters: Any = None) -> Document:
            return Document(source=source, text="x" * 30_000)

        async def search(
            self, query: str, k: int = 5, *, filters: Filters = Filters()
        ) -> list[Any]:
            return []

        async def find_all(self, text: str, *, filters: Filters = Filters()) -> Occurrences:
            return Occurrences(())

        async def documents(self, *, filters: Any = None) -> list[Any]:
            return []

    server = build_server("demo", knowledge=Library())  # type: ignore[arg-type]
    async with Client(server, mode=era) as client:
        first = await called(client, "read_document", source="long")
        rest = await called(client, "read_document", source="long", start=first["end"])
    assert (first["end"], rest["end"], rest["characters"]) == (20_000, 30_000, 30_000)


async def test_knowledge_tools_have_schemas_and_are_read_only(
    notes: KnowledgeBase, era: str
) -> None:
    server = build_server("demo", knowledge=notes, agent=Clerk(None))
    async with Client(server, mode=era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    read = {
        "search_knowledge",
        "find_all",
        "outline_document",
        "read_document",
        "list_documents",
    }
    assert set(tools) == {*read, "ask"}
    assert all(t.output_schema and t.description and t.title for t in tools.values())
    assert tools["search_knowledge"].input_schema["required"] == ["query"]
    hints = {name: tool.annotations for name, tool in tools.items() if tool.annotations}
    assert {name for name, hint in hints.items() if hint.read_only_hint} == read
    assert {name for name, hint in hints.items() if hint.open_world_hint} == {"ask"}


async def test_every_place_of_a_word_is_found_and_counted(notes: KnowledgeBase, era: str) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        found = await called(client, "find_all", text="cats")
    assert (found["times"], found["next_page"]) == (2, None)
    assert found["documents"] == [{"source": "pets.md", "times": 2}]
    assert all(NOTES[p["start"] : p["end"]] == p["text"] for p in found["places"])


async def test_search_is_limited_to_the_given_sources(notes: KnowledgeBase, era: str) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        within = await called(client, "search_knowledge", query="cats", source="*.md")
        without = await called(client, "search_knowledge", query="cats", source="*.pdf")
    assert within["hits"]
    assert without["hits"] == []


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("read_document", {"source": "pet.md"}, "Did you mean 'pets.md'?"),
        ("read_document", {"source": "pets.md", "start": 10_000}, "nothing from 10000"),
        ("read_document", {"source": "../../etc/passwd"}, "No document"),
        ("search_knowledge", {"query": " "}, "The query is empty"),
        (
            "search_knowledge",
            {"query": "cats", "k": 0},
            "Invalid arguments for search_knowledge: k",
        ),
        ("search_knowledge", {"question": "cats"}, "Invalid arguments for search_knowledge: query"),
        ("ask", {"question": "cats"}, "Run: ollama pull it"),
    ],
)
async def test_a_failed_call_has_a_message_for_the_model(
    notes: KnowledgeBase, name: str, arguments: dict[str, Any], words: str, era: str
) -> None:
    server = build_server("demo", knowledge=notes, agent=Clerk(None))
    async with Client(server, mode=era) as client:
        assert words in await refused(client, name, **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"query": "cats", "k": 99}, "k: Input should be less than or equal to 50"),
        ({"query": "cats", "k": "many"}, "k: Input should be a valid integer"),
        ({}, "query: Field required (What to look for"),
        ({"query": "cats", "sources": "a.md"}, "Its arguments are: query, k, source, tags"),
        ({"query": "cats", "after": "soon"}, "after: 'soon' is not a date"),
    ],
)
async def test_an_argument_error_names_the_argument_and_not_the_schema(
    notes: KnowledgeBase, arguments: dict[str, Any], words: str, era: str
) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        message = await refused(client, "search_knowledge", **arguments)
    assert words in message
    assert "properties" not in message
    assert len(message) < 400


async def test_an_argument_of_another_type_is_read_where_that_is_clear(
    notes: KnowledgeBase, era: str
) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        found = await called(client, "search_knowledge", query="cats", k="1", tags=None)
    assert len(found["hits"]) == 1


async def test_a_search_without_a_likely_passage_says_so(notes: KnowledgeBase, era: str) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        right = await called(client, "search_knowledge", query="Why do cats purr?")
        wrong = await called(client, "search_knowledge", query="How high is the Eiffel tower?")
    assert "note" not in right
    assert right["hits"][0]["score"] > 0.7
    assert wrong["note"].startswith(("None of these passages is likely", "No passage was found"))
    assert all(hit["score"] < 0.3 for hit in wrong["hits"])


async def test_results_have_no_links_unless_they_are_wanted(notes: KnowledgeBase, era: str) -> None:
    for links, count in ((False, 1), (True, 2)):
        server = build_server("demo", knowledge=notes, links=links)
        async with Client(server, mode=era) as client:
            found = await client.call_tool("search_knowledge", {"query": "cats", "k": 1})
        assert len(found.content) == count


async def test_a_hit_is_read_again_by_its_id_and_by_its_uri(notes: KnowledgeBase, era: str) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        (hit, *_) = (await called(client, "search_knowledge", query="Why do cats purr?"))["hits"]
        for reference in (hit["id"], hit["uri"]):
            assert (await called(client, "read_document", source=reference))["text"] == hit["text"]
        (resource,) = (await client.read_resource(hit["uri"])).contents
    assert resource.text == hit["text"]  # type: ignore[union-attr]


async def test_ask_reports_the_time_while_the_agent_is_silent(era: str) -> None:
    class Slow(Clerk):
        async def stream(self, prompt: str) -> AsyncGenerator[Event, None]:
            await reported.wait()
            yield Finished(Answer("Yes."))

    steps: list[str | None] = []
    reported = asyncio.Event()

    async def noted(progress: float, total: float | None, message: str | None) -> None:
        steps.append(message)
        if len(steps) == 2:
            reported.set()

    published = PublishedTool(ask_tool(Slow(None), progress_seconds=0.05))
    handlers = ToolHandlers([published], InMemorySubscriptionBus())
    server: Server[Any] = Server(
        "demo", on_list_tools=handlers.list_tools, on_call_tool=handlers.call_tool
    )
    async with Client(server, mode=era) as client:
        await client.call_tool("ask", {"question": "Is it?"}, progress_callback=noted)
    assert all((step or "").startswith("still working") for step in steps)


async def test_ask_returns_the_answer_with_citations_by_short_ids(era: str) -> None:
    chunk = Chunk("c1d", "d", "pets.md", "Pets", "Cats", "Cats purr. They sleep.", 10, 32)
    citation = Citation("1", chunk, "They sleep.", True)
    answer = Answer("Cats sleep [1], not `x[1]`.", (citation,), model="clerk")
    async with Client(build_server("demo", agent=Clerk(answer)), mode=era) as client:
        result = await called(client, "ask", question="What do cats do?")
    assert result["answer"] == "Cats sleep [d:10-32], not `x[1]`."
    assert result["citations"] == [
        {
            "marker": "d:10-32",
            "uri": "knowledge:///pets.md#char=21,32",
            "source": "pets.md",
            "heading": "Cats",
            "start": 21,
            "end": 32,
            "quote": "They sleep.",
            "supported": True,
        }
    ]
    assert (result["model"], result["stop_reason"]) == ("clerk", "stop")


async def test_ask_reports_its_steps_as_progress(era: str) -> None:
    steps: list[tuple[float, str | None]] = []

    async def noted(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, message))

    async with Client(build_server("demo", agent=Clerk(Answer("Yes."))), mode=era) as client:
        await client.call_tool("ask", {"question": "Is it?"}, progress_callback=noted)
    assert steps == [(1, "calls search_knowledge"), (2, "search_knowledge: half way")]


async def test_tools_of_a_folder_are_served_with_their_schema_and_errors(
    era: str, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    def halve(number: int, context: ToolContext) -> int:
        """Halve an even number."""
        if number % 2:
            raise ValueError("give an even number")
        return number // 2

    @tool(needs_approval=True)
    def erase() -> str:
        """Erase everything."""
        return "gone"

    async with Client(build_server("demo", tools=[halve, erase]), mode=era) as client:
        (listed,) = (await client.list_tools()).tools
        assert listed.input_schema == halve.parameters
        result = await client.call_tool("halve", {"number": 8})
        assert result.content[0].text == "4"  # type: ignore[union-attr]
        assert "give an even number" in await refused(client, "halve", number=7)
        assert "Invalid arguments" in await refused(client, "halve", number="x")
    [logged] = [record for record in caplog.records if record.name == "agentkit.tools"]
    assert logged.exc_info is not None
    assert logged.exc_info[0] is ValueError


async def test_objects_of_own_tools_are_structured_and_get_no_links(
    notes: KnowledgeBase, era: str
) -> None:
    @tool
    def score() -> Score:
        """Count."""
        return Score(hits=3)

    @tool
    def scores() -> RootModel[list[int]]:
        """Count apart."""
        return RootModel([1, 2])

    server = build_server("demo", knowledge=notes, tools=[score, scores])
    async with Client(server, mode=era) as client:
        assert await called(client, "score") == {"hits": 3}
        plain = await client.call_tool("scores", {})
    assert (plain.content[0].text, plain.structured_content) == ("[1,2]", None)  # type: ignore[union-attr]


def test_two_tools_of_one_name_are_refused(era: str) -> None:
    @tool
    def ask() -> str:
        """Ask."""
        return ""

    with pytest.raises(ConfigError, match="'ask': rename one"):
        build_server("demo", agent=Clerk(None), tools=[ask])


def test_markers_in_code_and_formulas_and_unknown_ones_stay(era: str) -> None:
    citations = [
        Citation(marker, Chunk("c", "d", "s", "", "", "t", 0, end), None, False)
        for marker, end in [("1", 1), ("3", 3)]
    ]
    text = "A [1][2]. ```\nx[1]\n``` `y[1]` $$z[1]$$ $v[1]$ [1](url) B [1, 3] 共 [3、2]."
    marked = (
        "A [d:0-1][2]. ```\nx[1]\n``` `y[1]` $$z[1]$$ $v[1]$ [1](url) B [d:0-1, d:0-3] "
        "共 [d:0-3、2]."
    )
    assert use_chunk_ids(text, citations) == marked


async def test_ask_runs_a_real_agent_over_the_served_knowledge(
    notes: KnowledgeBase, era: str
) -> None:
    search = ToolCall("1", "search_knowledge", {"query": "Why do cats purr?"})
    model = ScriptedModel([search, "Cats purr when they are content [1]."])
    agent = Agent(model, knowledge=notes)
    async with Client(build_server("demo", knowledge=notes, agent=agent), mode=era) as client:
        found = await called(client, "search_knowledge", query="Why do cats purr?")
        result = await called(client, "ask", question="Why do cats purr?")
    marker = found["hits"][0]["id"]
    assert result["answer"] == f"Cats purr when they are content [{marker}]."
    (citation,) = result["citations"]
    assert NOTES[citation["start"] : citation["end"]] == citation["quote"]
