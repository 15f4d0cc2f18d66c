"""A quote's own page: a passage may reach over several."""

from pathlib import Path

from agentkit import Document, KnowledgeBase
from agentkit.answers import Citation
from agentkit.documents import Part
from agentkit.knowledge.citations.verify import located
from tests.conftest import TermEmbedder

TEXT = "Zebras eat grass.\n\nAn octopus has three hearts.\n\nKiwis cannot fly."


def _document(text: str) -> Document:
    pages, at = [], 0
    for number, page in enumerate(text.split("\n\n"), start=1):
        pages.append(Part("page", str(number), at, at + len(page)))
        at += len(page) + 2
    return Document("animals.pdf", text, format="text", parts=tuple(pages))


async def test_a_quote_is_cited_at_its_own_page_within_a_passage_of_many(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    kb = KnowledgeBase.open(tmp_path / "index", embedder)
    await kb.add([_document(TEXT)])
    chunk = (await kb.search("octopus hearts", 1))[0].chunk
    quoted = Citation("1", chunk, "An octopus has three hearts.", True)
    (cited, whole) = await located([quoted, Citation("1", chunk, None, False)], kb)
    kb.close()
    assert (chunk.part, cited.page, cited.part) == ("pages 1-3", 2, "page 2")
    assert (cited.place, whole.place) == ("animals.pdf > page 2", "animals.pdf > pages 1-3")


async def test_a_document_that_changed_since_leaves_the_passages_place(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    kb = KnowledgeBase.open(tmp_path / "index", embedder)
    await kb.add([_document(TEXT)])
    chunk = (await kb.search("octopus hearts", 1))[0].chunk
    await kb.add([_document("A new first page.\n\n" + TEXT)])
    quoted = Citation("1", chunk, "An octopus has three hearts.", True)
    (cited,) = await located([quoted], kb)
    kb.close()
    assert cited.place == "animals.pdf > pages 1-3"
