"""Markers become passages, and quotes are proven or are none."""

import pytest

from agentkit.documents import Chunk
from agentkit.knowledge.citations import Sources, cite

TEXT = "INT8 是 8 位量化。7B 模型以 4 位加载约占 4.2 GB 显存。蒸馏由教师模型教学生模型。"
CHUNK = Chunk("c1", "d", "a.md", "笔记", "量化", TEXT, 100, 100 + len(TEXT))
OTHER = Chunk("c2", "d", "b.md", "笔记", "", "Attention weighs every token.", 0, 29)


@pytest.fixture
def sources():
    found = Sources()
    found.mark(CHUNK)
    found.mark(OTHER)
    return found


def test_a_passage_keeps_the_number_of_its_first_appearance(sources):
    assert [sources.mark(OTHER), sources.mark(CHUNK), len(sources)] == ["2", "1", 2]


async def test_a_verbatim_sentence_is_quoted_at_its_exact_range(sources):
    (citation,) = await cite("7B 模型以 4 位加载约占 4.2 GB 显存。 [1]", sources)
    assert citation.supported
    assert TEXT[citation.start - 100 : citation.end - 100] == citation.quote
    assert citation.quote == "7B 模型以 4 位加载约占 4.2 GB 显存。"


async def test_a_rephrased_claim_quotes_the_sentence_that_supports_it(sources):
    (citation,) = await cite("4 位加载的 7B 模型约占显存 4.2 GB[1]。", sources)
    assert citation.quote == "7B 模型以 4 位加载约占 4.2 GB 显存。"


async def test_a_changed_number_is_not_supported(sources):
    (citation,) = await cite("7B 模型以 4 位加载约占 5.2 GB 显存。[1]", sources)
    assert (citation.quote, citation.supported) == (None, False)
    assert (citation.start, citation.end) == (CHUNK.start, CHUNK.end)


async def test_a_claim_that_no_sentence_holds_is_not_supported(sources):
    (citation,) = await cite("模型的价格每月下降。[1]", sources)
    assert not citation.supported


async def test_one_marker_group_may_name_several_passages(sources):
    found = await cite(
        "蒸馏由教师模型教学生模型。[1][2] Attention weighs every token [1, 2].", sources
    )
    assert [(c.marker, c.supported) for c in found] == [
        ("1", True), ("2", False), ("1", False), ("2", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "`x[1]` is code",
        "```\na[1]\n```",
        "$x[1]$ and $$y[1]$$",
        "[1](http://a.b)",
        "见 [7]",
        "x [a]",
    ],
)
async def test_code_formulas_links_and_unknown_numbers_are_no_citations(sources, text):
    assert await cite(text, sources) == ()


async def test_across_languages_the_embedders_similarity_decides(sources):
    async def similar(claim, parts):
        return [0.9 if "教师" in part else 0.7 for part in parts]

    (citation,) = await cite(
        "In distillation a teacher model instructs a student [1].", sources, similar
    )
    assert citation.quote == "蒸馏由教师模型教学生模型。"


async def test_brackets_that_a_quoted_source_has_itself_are_no_markers(sources):
    text = "As Smith shows in [2], water boils at 100 degrees [1] at sea level, like a[0]."
    sources.mark(Chunk("c3", "d", "c.md", "t", "", text, 0, len(text)))
    (citation,) = await cite(f"Quoted:\n\n{text} [3]", sources)
    assert (citation.marker, citation.quote) == ("3", text)
