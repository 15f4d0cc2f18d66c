"""Documents as resources, their completion and subscriptions, and the prompts about them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import mcp_types as sdk
import pytest
from mcp import Client, MCPError

from agentkit import __version__
from agentkit.answers import Answer, Citation
from agentkit.documents import Chunk, Document
from agentkit.knowledge.addresses import PREFIX, Address, parse_address
from agentkit.knowledge.index.catalog import DocumentInfo
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.mcp.server import build_server
from agentkit.mcp.server.resources import TEMPLATE, paginate
from tests.mcp.server.test_app import Clerk

NOTES = "# Cats\n\nCats purr when they are content.\n\n# Dogs\n\nDogs bark at strangers.\n"
ODD = "a folder/50% #1?.txt"

both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])


@pytest.fixture
def notes(tmp_path: Any) -> Iterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path)
    knowledge.add_sync(
        [
            Document(source="pets.md", title="Pets", text=NOTES),
            Document(source=ODD, text="Odd names are read too.\n"),
        ]
    )
    yield knowledge
    knowledge.close()


async def text_at(client: Client, uri: str) -> str:
    (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, sdk.TextResourceContents)
    return contents.text


@both_eras
async def test_documents_are_listed_and_read_whole_and_in_part(
    notes: KnowledgeBase, era: str
) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        odd, pets = (await client.list_resources()).resources
        assert (pets.uri, pets.name, pets.title) == (f"{PREFIX}pets.md", "pets.md", "Pets")
        assert (pets.mime_type, odd.mime_type) == ("text/markdown", "text/plain")
        assert await text_at(client, pets.uri) == NOTES
        assert await text_at(client, odd.uri) == "Odd names are read too.\n"
        assert await text_at(client, f"{pets.uri}#char=2,6") == "Cats"


@both_eras
@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "knowledge:///",
        "knowledge:///../../etc/passwd",
        "knowledge:///..%2F..%2Fetc%2Fpasswd",
        "knowledge:////etc/passwd",
        "knowledge:///pets.md/../pets.md",
        "knowledge:///pets.md#char=5,2",
        "knowledge:///pets.md#char=0,999999",
        "knowledge:///pets.md%00",
    ],
)
async def test_nothing_but_documents_of_the_index_is_read(
    notes: KnowledgeBase, era: str, uri: str
) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
    assert refused.value.error.code == sdk.INVALID_PARAMS
    assert refused.value.error.data == {"uri": uri}


@both_eras
async def test_hits_and_citations_have_resource_links(notes: KnowledgeBase, era: str) -> None:
    chunk = Chunk("c1d", "d", "pets.md", "Pets", "Cats", NOTES[8:40], 8, 40)
    answer = Answer("Cats purr [1].", (Citation("1", chunk, "Cats purr", True),))
    server = build_server("demo", knowledge=notes, agent=Clerk(answer), links=True)
    async with Client(server, mode=era) as client:
        found = await client.call_tool("search_knowledge", {"query": "Why do cats purr?"})
        asked = await client.call_tool("ask", {"question": "Why do cats purr?"})
        for result in (found, asked):
            link = result.content[1]
            assert isinstance(link, sdk.ResourceLink)
            assert link.name == "pets.md"
            assert await text_at(client, link.uri) in NOTES
        assert await text_at(client, asked.content[1].uri) == "Cats purr"  # type: ignore[union-attr]


@both_eras
async def test_sources_are_completed_for_the_template_and_the_prompts(
    notes: KnowledgeBase, era: str
) -> None:
    template = sdk.ResourceTemplateReference(uri=TEMPLATE)
    summary = sdk.PromptReference(name="summarize_document")
    quiz = sdk.PromptReference(name="quiz_me")
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:

        async def completed(ref: Any, name: str, value: str) -> list[str]:
            return (await client.complete(ref, {"name": name, "value": value})).completion.values

        assert (await client.list_resource_templates()).resource_templates[
            0
        ].uri_template == TEMPLATE
        assert await completed(template, "source", "PE") == ["pets.md"]
        assert await completed(summary, "source", "") == [ODD, "pets.md"]
        assert await completed(quiz, "questions", "1") == ["10"]
        assert await completed(quiz, "nothing", "1") == []


@both_eras
async def test_prompts_contain_their_passages_and_documents(notes: KnowledgeBase, era: str) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        listed = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert set(listed) == {"ask_with_sources", "summarize_document", "quiz_me"}
        (asked,) = (
            await client.get_prompt("ask_with_sources", {"question": "Why do cats purr?"})
        ).messages
        assert "Cats purr when they are content." in asked.content.text  # type: ignore[union-attr]
        for name, more in (("summarize_document", {}), ("quiz_me", {"questions": "3"})):
            given = {"source": "pets.md"} | more
            _, document = (await client.get_prompt(name, given)).messages
            assert isinstance(document.content, sdk.EmbeddedResource)
            assert document.content.resource.text == NOTES  # type: ignore[union-attr]


@both_eras
@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("nothing", {}, "no prompt"),
        ("quiz_me", {}, "needs 'source'"),
        ("quiz_me", {"source": "pets.md", "questions": "99"}, "1 to 20"),
        ("quiz_me", {"source": "../x"}, "No document"),
        ("ask_with_sources", {"question": "q", "tone": "rude"}, "no argument 'tone'"),
        ("ask_with_sources", {"question": "x" * 3000}, "too long"),
    ],
)
async def test_invalid_prompt_arguments_are_errors_with_the_reason(
    notes: KnowledgeBase, era: str, name: str, arguments: dict[str, str], words: str
) -> None:
    async with Client(build_server("demo", knowledge=notes), mode=era) as client:
        with pytest.raises(MCPError, match=words):
            await client.get_prompt(name, arguments)


@both_eras
async def test_long_lists_come_in_pages(tmp_path: Any, era: str) -> None:
    class Library:
        async def documents(self, *, filters: Any = None) -> list[Any]:
            return [DocumentInfo(f"{number:04}.md", "", 1, 1) for number in range(250)]

    server = build_server("demo", knowledge=Library())  # type: ignore[arg-type]
    async with Client(server, mode=era) as client:
        first = await client.list_resources()
        second = await client.list_resources(cursor=first.next_cursor)
        third = await client.list_resources(cursor=second.next_cursor)
        names = [r.name for page in (first, second, third) for r in page.resources]
        assert names == [f"{number:04}.md" for number in range(250)]
        assert third.next_cursor is None
        with pytest.raises(MCPError, match="cursor"):
            await client.list_resources(cursor="é")
        listed = await client.call_tool("list_documents", {"page": 3})
        assert listed.structured_content is not None
        assert len(listed.structured_content["documents"]) == 50
        assert listed.structured_content["next_page"] is None


def test_changes_between_two_pages_neither_repeat_nor_skip_items() -> None:
    page, cursor = paginate(["b", "d", "f"], None, str, size=2)
    assert page == ["b", "d"]
    params = sdk.PaginatedRequestParams(cursor=cursor)
    assert paginate(["a", "b", "e", "f"], params, str, size=2) == (["e", "f"], None)


@both_eras
async def test_the_server_reports_its_name_and_version(era: str) -> None:
    async with Client(build_server("demo"), mode=era) as client:
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("demo", __version__)


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_subscriber_of_the_stateful_protocol_is_notified_of_a_change(
    notes: KnowledgeBase,
) -> None:
    received: asyncio.Queue[str] = asyncio.Queue()

    async def noted(message: Any) -> None:
        if isinstance(message, sdk.ResourceUpdatedNotification):
            received.put_nowait(str(message.params.uri))

    server = build_server("demo", knowledge=notes, watch_seconds=0.05)
    async with Client(server, mode="legacy", message_handler=noted) as client:
        await client.subscribe_resource(f"{PREFIX}pets.md")
        await notes.add([Document(source="pets.md", title="Pets", text=NOTES + "More.\n")])
        assert await asyncio.wait_for(received.get(), 60) == f"{PREFIX}pets.md"
        await client.unsubscribe_resource(f"{PREFIX}pets.md")
        with pytest.raises(MCPError):
            await client.subscribe_resource("file:///etc/passwd")


def test_addresses_are_parsed_as_they_were_written() -> None:
    for source in ("pets.md", ODD, "https://example.org/a?b=c#d", "深度/学习.md", "a#char=1,2"):
        for address in (Address(source), Address(source, 3, 9)):
            assert parse_address(str(address)) == address
