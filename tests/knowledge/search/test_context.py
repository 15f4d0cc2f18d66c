"""A hit grown to what is around it: exact, bounded, under the same id."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import KnowledgeBase
from agentkit.documents import Chunk, Document, Part
from agentkit.knowledge.chunking.splitter import split
from agentkit.knowledge.search.context import widened
from tests.conftest import TermEmbedder

TEXT = (
    "# A\n\n" + "\n\n".join(f"Paragraph {n} of the first." for n in range(9)) + "\n\n# B\n\nLast."
)


def letters(text: str) -> int:
    return len("".join(text.split()))


def _hit(text: str, words: str, **fields: Any) -> tuple[Document, Chunk]:
    document = Document("d.md", text, "T", "d", **fields)
    chunks = split(document, letters, 30)
    return document, next(chunk for chunk in chunks if words in chunk.text)


def test_a_hit_becomes_its_whole_section_and_keeps_its_id() -> None:
    document, hit = _hit(TEXT, "Paragraph 4")
    wide = widened(document, hit, 1000, letters)
    assert wide.text == TEXT[: TEXT.index("\n\n# B")]
    assert (wide.id, wide.heading) == (hit.id, "A")


def test_a_section_too_large_gives_its_nearest_paragraphs_on_both_sides() -> None:
    document, hit = _hit(TEXT, "Paragraph 4")
    wide = widened(document, hit, 110, letters)
    assert wide.text.startswith("Paragraph 2")
    assert wide.text.endswith("Paragraph 6 of the first.")


def test_at_the_end_of_a_section_all_the_room_goes_to_the_other_side() -> None:
    document, hit = _hit(TEXT, "Paragraph 8")
    wide = widened(document, hit, 75, letters)
    assert wide.text.startswith("Paragraph 6")
    assert wide.text.endswith("Paragraph 8 of the first.")


def test_a_hit_that_fills_the_room_stays_as_it_is() -> None:
    document, hit = _hit(TEXT, "Paragraph 4")
    assert widened(document, hit, 5, letters) == hit


def test_page_and_part_are_those_of_the_grown_passage() -> None:
    half = TEXT.index("Paragraph 4")
    pages = (Part("page", "1", 0, half), Part("page", "2", half, len(TEXT)))
    document, hit = _hit(TEXT, "Paragraph 5", parts=pages)
    assert (hit.page, hit.part) == (2, "page 2")
    wide = widened(document, hit, 1000, letters)
    assert (wide.page, wide.part) == (1, "pages 1-2")


def test_a_hit_of_another_version_of_the_text_stays_as_it_is() -> None:
    _, hit = _hit(TEXT, "Last.")
    shorter = Document("d.md", "# A\n\nNew.", "T", "d")
    assert widened(shorter, hit, 1000, letters) == hit


_PARAGRAPHS = st.lists(
    st.sampled_from(
        ["# A", "## B", "One. Two. Three.", "x" * 30, "- a\n- b", "句子。再一句！", "e\u0301"]
    ),
    min_size=1,
    max_size=15,
)


@settings(max_examples=100, deadline=None)
@given(
    _PARAGRAPHS,
    st.sampled_from(["markdown", "text", "code", "rows"]),
    st.integers(5, 40),
    st.integers(1, 200),
)
def test_a_grown_passage_is_exact_holds_the_hit_and_keeps_to_the_room(
    lines: Any, kind: Any, limit: Any, room: Any
) -> None:
    document = Document("d", "\n\n".join(lines), id="d", format=kind)
    chunks = split(document, letters, limit)
    for hit in chunks:
        wide = widened(document, hit, room, letters)
        assert document.text[wide.start : wide.end] == wide.text
        assert wide.start <= hit.start
        assert hit.end <= wide.end
        assert letters(wide.text) <= max(room, letters(hit.text))
        inside = [c.heading for c in chunks if wide.start <= c.start and c.end <= wide.end]
        assert kind != "markdown" or set(inside) == {hit.heading}


CODE = """import os


class Reader:
    def read(self, name):
        data = open(name).read()
        return data

    def close(self):
        self.closed = True
        return None


def main():
    reader = Reader()
    print(reader.read("a"), reader.read("b"), reader.read("c"), reader.read("d"))
"""
TABLE = "\n".join(f"row {n} | {'word ' * (n % 5)}" for n in range(30))


def _rows(text: str) -> tuple[Part, ...]:
    parts, at = [], 0
    for number, line in enumerate(text.split("\n"), start=1):
        parts.append(Part("row", str(number), at, at + len(line)))
        at += len(line) + 1
    return tuple(parts)


@pytest.mark.parametrize("room", [30, 60, 400])
@pytest.mark.parametrize(
    "document",
    [
        Document("a.md", TEXT, "a"),
        Document("a.txt", TEXT.replace("# ", ""), "a", format="text"),
        Document("a.py", CODE, "a", metadata={"language": "python"}, format="code"),
        Document("a.csv", TABLE, "a", format="rows", parts=_rows(TABLE)),
    ],
    ids=lambda document: document.source,
)
async def test_an_index_widens_a_passage_without_reading_its_whole_document(
    tmp_path: Path, embedder: TermEmbedder, document: Document, room: int
) -> None:
    kb = KnowledgeBase.open(tmp_path / "index", embedder, chunk_tokens=20)
    await kb.add([document])
    stored = await kb.document(document.source)
    chunks = split(stored, embedder.count_tokens, 20)
    wide = await kb.widen(chunks, room)
    assert wide == [widened(stored, chunk, room, embedder.count_tokens) for chunk in chunks]
    assert room < 400 or any(passage != chunk for passage, chunk in zip(wide, chunks, strict=True))
    kb.close()


SECTIONS = (
    "# One\n\n" + "\n\n".join(f"Sentence {n} of one." for n in range(12)) + "\n\n# Two\n\nEnd."
)


@pytest.mark.parametrize(
    ("taken", "spans"),
    [
        ([0, 1], [(0, 1)]),
        ([2, 1, 0], [(0, 2)]),
        ([0, 2, 1], [(0, 2)]),
        ([0, 2], [(0, 0), (2, 2)]),
        ([1, 1], [(1, 1)]),
        ([0, -1], [(0, 0), (-1, -1)]),
    ],
    ids=["adjacent", "backwards", "a bridge", "apart", "the same", "other sections"],
)
async def test_chunks_of_one_section_that_adjoin_are_one_exact_passage(
    tmp_path: Path, embedder: TermEmbedder, taken: list[int], spans: list[tuple[int, int]]
) -> None:
    kb = KnowledgeBase.open(tmp_path / "index", embedder, chunk_tokens=20)
    await kb.add([Document("a.md", SECTIONS, "a")])
    stored = await kb.document("a.md")
    chunks = split(stored, embedder.count_tokens, 20)
    assert len({chunk.heading for chunk in chunks[:3]}) == 1
    merged = await kb.merge([chunks[at] for at in taken])
    assert [(m.start, m.end) for m in merged] == [
        (chunks[first].start, chunks[last].end) for first, last in spans
    ]
    assert all(stored.text[m.start : m.end] == m.text for m in merged)
    assert merged[0].id == chunks[taken[0]].id
    kb.close()


async def test_overlapping_passages_are_merged_without_repeating_their_text(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    kb = KnowledgeBase.open(tmp_path / "index", embedder, chunk_tokens=20)
    await kb.add([Document("a.md", SECTIONS, "a")])
    stored = await kb.document("a.md")
    chunks = split(stored, embedder.count_tokens, 20)
    wide = await kb.widen(chunks[1:3], 40)
    assert wide[0].end > wide[1].start
    (one,) = await kb.merge(wide)
    assert one.text == stored.text[one.start : one.end]
    assert len(one.text) < len(wide[0].text) + len(wide[1].text)
    kb.close()


async def test_chunks_of_a_document_that_has_changed_are_not_merged(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    kb = KnowledgeBase.open(tmp_path / "index", embedder, chunk_tokens=20)
    await kb.add([Document("a.md", SECTIONS, "a")])
    chunks = split(await kb.document("a.md"), embedder.count_tokens, 20)[:2]
    await kb.add([Document("a.md", SECTIONS.replace("Sentence", "Phrase"), "a")])
    assert await kb.merge(chunks) == chunks
    kb.close()
