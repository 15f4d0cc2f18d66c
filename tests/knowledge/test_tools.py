"""The tools over documents: filters, counts, outlines, pages, and what did not fit."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentkit import Document, KnowledgeBase
from agentkit.documents import Chunk, Part
from agentkit.errors import ToolError
from agentkit.knowledge.addresses import passage_id
from agentkit.knowledge.citations.passages import Sources
from agentkit.knowledge.search.context import packed
from agentkit.knowledge.tools import knowledge_tools
from agentkit.tools.context import NoContext
from agentkit.tools.tool import Tool
from tests.conftest import TermEmbedder, text_of

GUIDE = (
    "# Guide\n\nHow to keep cats.\n\n## Food\n\nCats eat fish. A cat eats twice."
    "\n\n## Sleep\n\nCats sleep."
)
SLIDES = "Cats purr.\n\nDogs bark."
DOCUMENTS = [
    Document("guide.md", GUIDE, metadata={"tags": ["pets"], "date": "2024-05-01"}),
    Document(
        "slides.pptx",
        SLIDES,
        parts=(Part("slide", "1", 0, 10), Part("slide", "2", 12, 22)),
        metadata={"date": "2020-01-01"},
    ),
    Document("empty.md", ""),
]


class Session(NoContext):
    """Numbers passages as a session does."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.sources = Sources()

    def cite(self, chunk: Chunk) -> str:
        return self.sources.mark(chunk)


@pytest.fixture
async def tools(tmp_path: Path, embedder: TermEmbedder) -> AsyncIterator[dict[str, Tool]]:
    kb = KnowledgeBase.open(tmp_path / "index", embedder)
    await kb.add(DOCUMENTS)
    yield {tool.name: tool for tool in knowledge_tools(kb)}
    kb.close()


async def test_a_search_gives_passages_with_place_and_relevance(tools: Any) -> None:
    session = Session()
    found = (await tools["search_knowledge"].run({"query": "cats purr"}, session)).passages
    assert [passage.marker for passage in found] == [str(n + 1) for n in range(len(found))]
    purr = next(passage for passage in found if "purr" in passage.chunk.text)
    assert purr.chunk.source == "slides.pptx"
    assert purr.chunk.part.startswith("slide")
    assert purr.relevance is not None


@pytest.mark.parametrize(
    ("arguments", "sources"),
    [
        ({"source": "*.md"}, {"guide.md"}),
        ({"tags": ["pets"]}, {"guide.md"}),
        ({"after": "2024-01-01"}, {"guide.md"}),
        ({"before": "2020-12-31"}, {"slides.pptx"}),
    ],
)
async def test_a_search_keeps_to_source_tags_and_dates(
    tools: Any, arguments: dict[str, str] | dict[str, list[str]], sources: set[str]
) -> None:
    found = await tools["search_knowledge"].run({"query": "cats", **arguments}, Session())
    assert {passage.chunk.source for passage in found.passages} == sources


async def test_what_filters_leave_empty_is_stated_with_the_way_out(tools: Any) -> None:
    search = tools["search_knowledge"]
    with pytest.raises(ToolError, match="relative"):
        await search.run({"query": "cats", "source": "/etc/*"}, Session())
    with pytest.raises(ToolError, match="after"):
        await search.run({"query": "cats", "after": "yesterday"}, Session())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"source": "guid.md"},
            "No document matches the source 'guid.md'. Did you mean 'guide.md'?",
        ),
        ({"source": "*.docx"}, "No document matches the source '*.docx'."),
        ({"source": "reports/**"}, "No document matches the source 'reports/**'."),
        ({"tags": ["pet"]}, "No document has the tag 'pet'. Did you mean 'pets'?"),
        ({"tags": ["pets", "zebra"]}, "No document has the tag 'zebra'. Tags: pets."),
        ({"after": "2025-01-01"}, "They are dated 2020-01-01 to 2024-05-01."),
        ({"before": "2019"}, "They are dated 2020-01-01 to 2024-05-01."),
        ({"source": "empty.md", "after": "2020"}, "No document passes source, tags and dates"),
    ],
)
async def test_a_filter_that_no_document_passes_says_so_with_the_nearest_name(
    tools: Any, arguments: dict[str, Any], words: str
) -> None:
    found = await tools["search_knowledge"].run({"query": "cats", **arguments}, Session())
    assert words in found.text
    assert found.structured.note == found.text
    assert found.structured.hits == []


@pytest.fixture
async def nested(tmp_path: Path, embedder: TermEmbedder) -> AsyncIterator[dict[str, Tool]]:
    kb = KnowledgeBase.open(tmp_path / "nested", embedder)
    await kb.add(
        [
            Document("notes/03_[x].md", "# Nets\n\nNets learn.\n\n## Deep\n\nDeep nets learn too."),
            Document("notes/a.md", "Nets here."),
            Document("old/a.md", "Nets there."),
        ]
    )
    yield {tool.name: tool for tool in knowledge_tools(kb)}
    kb.close()


@pytest.mark.parametrize(
    "name",
    ["03_[x].md", "03_[X].MD", "notes/03_[x].md", "./notes/03_[x].md", "knowledge/notes/03_[x].md"],
)
async def test_a_bare_file_name_is_accepted_by_every_tool(nested: Any, name: str) -> None:
    found = await nested["search_knowledge"].run({"query": "nets", "source": name})
    assert {hit.source for hit in found.structured.hits} == {"notes/03_[x].md"}
    every = await nested["find_all"].run({"text": "nets", "source": name})
    assert every.structured.times == 3
    assert [place.heading for place in every.structured.places] == ["Nets", "Nets", "Nets > Deep"]
    for tool in ("read_document", "outline_document"):
        assert (await nested[tool].run({"source": name})).structured.source == "notes/03_[x].md"


async def test_a_file_name_of_several_documents_searches_all_and_reads_none(nested: Any) -> None:
    found = await nested["find_all"].run({"text": "nets", "source": "a.md"})
    assert {each.source for each in found.structured.documents} == {"notes/a.md", "old/a.md"}
    with pytest.raises(ToolError, match=r"Did you mean 'notes/a.md', 'old/a.md'\?"):
        await nested["read_document"].run({"source": "a.md"})


class Stateless(NoContext):
    def cite(self, chunk: Chunk) -> str:
        return passage_id(chunk)


async def test_every_tool_gives_short_ids_and_uris_that_reading_takes(nested: Any) -> None:
    hits = (await nested["search_knowledge"].run({"query": "deep nets"}, Stateless())).structured
    places = (await nested["find_all"].run({"text": "nets"}, Stateless())).structured.places
    outline = await nested["outline_document"].run({"source": "notes/a.md"}, Stateless())
    for record in (*hits.hits, *places, outline.structured.opening):
        for reference in (record.id, f"[{record.id}]", record.uri):
            read = await nested["read_document"].run({"source": reference}, Stateless())
            assert read.structured.text == record.text
            assert read.structured.id == record.id
            assert len(record.id) < 24


async def test_null_is_the_default_of_an_argument(nested: Any) -> None:
    nothing = {"source": None, "tags": None, "after": None, "before": None, "k": None}
    assert (await nested["search_knowledge"].run({"query": "nets", **nothing})).structured.hits
    read = await nested["read_document"].run({"source": "old/a.md", "start": None, "end": None})
    assert read.structured.text == "Nets there."
    assert (await nested["list_documents"].run({"containing": None, "page": None})).structured


def test_parameters_have_one_plain_type_and_a_plain_default(nested: Any) -> None:
    for tool in nested.values():
        for name, schema in tool.parameters["properties"].items():
            assert isinstance(schema["type"], str)
            assert ("default" in schema) != (name in tool.parameters.get("required", []))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": 5, "end": 3}, r"start \(5\) is not before end \(3\)"),
        ({"start": 5, "end": 5}, r"start \(5\) is not before end \(5\)"),
        ({"start": 500}, "nothing from 500"),
        ({"end": -1}, "end"),
    ],
)
async def test_an_empty_range_is_an_error(nested: Any, arguments: Any, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        await nested["read_document"].run({"source": "old/a.md", **arguments})


async def test_documents_are_listed_with_their_dates_and_tags(tools: Any) -> None:
    listed = await tools["list_documents"].run({})
    assert [(each.date, each.tags) for each in listed.structured.documents] == [
        ("", []),
        ("2024-05-01", ["pets"]),
        ("2020-01-01", []),
    ]
    assert "2024-05-01; tags: pets" in listed.text
    found = await tools["list_documents"].run({"containing": "PETS"})
    assert [each.source for each in found.structured.documents] == ["guide.md"]


async def test_a_small_hit_comes_with_the_section_around_it_under_its_own_number(
    tools: Any,
) -> None:
    session = Session()
    search = tools["search_knowledge"]
    (passage,) = (await search.run({"query": "a cat eats twice", "k": 1}, session)).passages
    assert "Cats eat fish. A cat eats twice." in passage.chunk.text
    chunk = session.sources.find(passage.marker)
    assert chunk is not None
    assert GUIDE[chunk.start : chunk.end] == chunk.text == passage.chunk.text
    (again,) = (await search.run({"query": "a cat eats twice", "k": 1}, session)).passages
    assert again.marker == passage.marker


async def test_what_the_model_has_no_room_for_is_left_out_and_stated(tools: Any) -> None:
    found = await tools["search_knowledge"].run({"query": "cats", "k": 5}, Session(room=75))
    assert len(found.passages) == 1
    assert "did not fit" in found.text


async def test_find_all_counts_every_place_word_for_word(tools: Any) -> None:
    found = await tools["find_all"].run({"text": "CATS"}, Session())
    assert found.text == "'CATS' occurs 4 times in 2 documents:\nguide.md: 3\nslides.pptx: 1"
    chunks = [passage.chunk for passage in found.passages]
    assert [chunk.text for chunk in chunks][:2] == ["How to keep cats.", "Cats eat fish."]
    assert "slide 1" in [chunk.part for chunk in chunks]
    assert "does not occur" in (await tools["find_all"].run({"text": "zebra"}, Session())).content
    with pytest.raises(ToolError, match="no word"):
        await tools["find_all"].run({"text": "?!"}, Session())


async def test_an_outline_names_headings_with_the_place_to_read_on_from(tools: Any) -> None:
    outline = await tools["outline_document"].run({"source": "guide.md"}, Session())
    assert f"- Sleep (start={GUIDE.index('## Sleep')})" in outline.text
    assert [passage.chunk.text for passage in outline.passages] == [GUIDE]


async def test_reading_goes_on_where_it_stopped(tools: Any) -> None:
    read = tools["read_document"]
    first = await read.run({"source": "guide.md", "end": 10}, Session())
    assert f"({len(GUIDE) - 10} more characters: read on with start=10.)" in first.text
    rest = await read.run({"source": "guide.md", "start": 10}, Session())
    assert first.passages[0].chunk.text + rest.passages[0].chunk.text == GUIDE
    with pytest.raises(ToolError, match="nothing from 999"):
        await read.run({"source": "guide.md", "start": 999}, Session())


async def test_documents_are_listed_by_page_and_by_name(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    kb = KnowledgeBase.open(tmp_path / "many", embedder)
    await kb.add([Document(f"{n:03}.md", "") for n in range(130)])
    listed = {tool.name: tool for tool in knowledge_tools(kb)}["list_documents"]
    assert text_of(await listed.run({})).endswith("(30 more: ask for page=2, or use containing.)")
    assert len(text_of(await listed.run({"page": 2})).splitlines()) == 30
    assert text_of(await listed.run({"containing": "007"})).startswith("007.md")
    assert text_of(await listed.run({"page": 9})) == "There are no such documents."
    kb.close()


def test_packing_keeps_passages_whole_and_shortens_the_last_at_a_sentence() -> None:
    text = "One sentence. " * 30
    chunks = [Chunk(f"{n}", "d", "a.md", "", "", text, 0, len(text)) for n in range(4)]
    fitting = packed(chunks, 290, lambda text: len(text) // 4)
    first, last = fitting.chunks
    assert first.text == text
    assert text.startswith(last.text)
    assert last.text.endswith("sentence.")
    assert last.end == len(last.text)
    assert fitting.left_out == 2
    assert f"start={last.end}" in fitting.note
    assert packed(chunks, None, len).chunks == tuple(chunks)
