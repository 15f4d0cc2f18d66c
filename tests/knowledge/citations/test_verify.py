"""Markers become passages, and quotes are proven or are none."""

import gc
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.answers import Answer, Citation
from agentkit.documents import Chunk
from agentkit.knowledge.citations.passages import Sources
from agentkit.knowledge.citations.verify import prove

TEXT = "INT8 是 8 位量化。7B 模型以 4 位加载约占 4.2 GB 显存。蒸馏由教师模型教学生模型。"
CHUNK = Chunk("c1", "d", "a.md", "笔记", "量化", TEXT, 100, 100 + len(TEXT))
OTHER = Chunk("c2", "d", "b.md", "笔记", "", "Attention weighs every token.", 0, 29)


@pytest.fixture
def sources() -> Sources:
    found = Sources()
    found.mark(CHUNK)
    found.mark(OTHER)
    return found


async def cite(text: str, sources: Sources, *similarity: Any) -> tuple[Citation, ...]:
    return (await prove(text, sources, *similarity)).citations


def test_a_passage_keeps_the_number_of_its_first_appearance(sources: Sources) -> None:
    assert [sources.mark(OTHER), sources.mark(CHUNK), len(sources)] == ["2", "1", 2]


async def test_a_verbatim_sentence_is_quoted_at_its_exact_range(sources: Sources) -> None:
    (citation,) = await cite("7B 模型以 4 位加载约占 4.2 GB 显存。 [1]", sources)
    assert citation.supported
    assert TEXT[citation.start - 100 : citation.end - 100] == citation.quote
    assert citation.quote == "7B 模型以 4 位加载约占 4.2 GB 显存。"


async def test_a_rephrased_claim_quotes_the_sentence_that_supports_it(sources: Sources) -> None:
    (citation,) = await cite("4 位加载的 7B 模型约占显存 4.2 GB[1]。", sources)
    assert citation.quote == "7B 模型以 4 位加载约占 4.2 GB 显存。"


async def test_a_changed_number_is_not_supported(sources: Sources) -> None:
    (citation,) = await cite("7B 模型以 4 位加载约占 5.2 GB 显存。[1]", sources)
    assert (citation.quote, citation.supported) == (None, False)
    assert (citation.start, citation.end) == (CHUNK.start, CHUNK.end)


async def test_a_claim_that_no_sentence_holds_is_not_supported(sources: Sources) -> None:
    (citation,) = await cite("模型的价格每月下降。[1]", sources)
    assert not citation.supported


async def test_one_marker_group_may_name_several_passages(sources: Sources) -> None:
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
async def test_code_formulas_links_and_unknown_numbers_are_no_citations(
    sources: Sources, text: str
) -> None:
    assert await cite(text, sources) == ()


async def test_across_languages_the_embedders_similarity_decides(sources: Sources) -> None:
    async def similar(claim: str, parts: Sequence[str]) -> list[float]:
        return [0.9 if "教师" in part else 0.7 for part in parts]

    (citation,) = await cite(
        "In distillation a teacher model instructs a student [1].", sources, similar
    )
    assert citation.quote == "蒸馏由教师模型教学生模型。"


async def test_brackets_that_a_quoted_source_has_itself_are_no_markers(sources: Sources) -> None:
    text = "As Smith shows in [2], water boils at 100 degrees [1] at sea level, like a[0]."
    sources.mark(Chunk("c3", "d", "c.md", "t", "", text, 0, len(text)))
    (citation,) = await cite(f"Quoted:\n\n{text} [3]", sources)
    assert (citation.marker, citation.quote) == ("3", text)


async def _judged(
    text: str, sources: Sources, **options: Any
) -> list[tuple[str, bool, tuple[str, ...]]]:  # noqa: E501, RUF100
    proof = await prove(text, sources, **options)
    assert all(text[one.start : one.end] == one.text for one in proof.sentences)
    return [(one.text, one.supported, one.markers) for one in proof.sentences]


async def test_every_sentence_that_claims_something_is_judged(sources: Sources) -> None:
    text = (
        "你好！\n\n## 量化\n\n要点如下：\n\n- INT8 是 8 位量化[1]。\n"
        "- 7B 模型以 4 位加载约占 8.2 GB 显存。[1]\n\n```\nx = 1\n```\n\n还想知道什么？"
    )
    assert await _judged(text, sources) == [
        ("- INT8 是 8 位量化[1]。", True, ("1",)),
        ("- 7B 模型以 4 位加载约占 8.2 GB 显存。", False, ("1",)),
    ]


async def test_the_reason_names_the_marker_and_what_is_wrong(sources: Sources) -> None:
    proof = await prove("7B 模型以 4 位加载约占 8.2 GB 显存 [1]。", sources)
    assert [one.reason for one in proof.sentences] == [
        "[1]: the number 8.2 GB is not in the passage"
    ]


async def test_a_sentence_belongs_to_the_next_marker_of_its_paragraph(sources: Sources) -> None:
    text = "INT8 是 8 位量化。蒸馏由教师模型教学生模型。[1]"
    assert [verdict[1:] for verdict in await _judged(text, sources)] == [(True, ("1",))] * 2


async def test_an_uncited_truth_is_supported_and_stated_to_be_uncited(sources: Sources) -> None:
    text = "Attention weighs every token [2].\n\nINT8 是 8 位量化。"
    proof = await prove(text, sources)
    last = proof.sentences[-1]
    assert (last.supported, last.markers, last.reason) == (True, (), "uncited: it is in [1]")


async def test_an_uncited_untruth_is_marked(sources: Sources) -> None:
    proof = await prove("INT8 是 8 位量化[1]。\n\n模型的价格每月下降三成。", sources)
    assert [(one.supported, one.reason) for one in proof.sentences] == [
        (True, ""),
        (False, "no source cited"),
    ]


async def test_a_marker_without_a_passage_is_reported(sources: Sources) -> None:
    proof = await prove("INT8 是 8 位量化[1]。Attention weighs every token [7].", sources)
    assert proof.unresolved == ("7",)
    assert [(one.supported, one.markers, one.reason) for one in proof.sentences] == [
        (True, ("1",), ""),
        (True, (), "uncited: it is in [2]; [7] refers to no passage"),
    ]
    assert (await prove("Paris is a city [1].", Sources())).unresolved == ("1",)
    assert (await prove("See Smith [2019], 10⁶ and item (9).", sources)).unresolved == ()


async def test_a_sentence_is_not_judged_worse_for_its_neighbours_marker(sources: Sources) -> None:
    alone, beside = "Attention weighs every token.", "INT8 是 8 位量化[1]。"
    for text in (f"{alone} {beside}", f"{beside} {alone}", alone):
        proof = await prove(text, sources)
        (verdict,) = (one for one in proof.sentences if "Attention" in one.text)
        assert (verdict.supported, verdict.markers) == (True, ())
        assert verdict.reason == "uncited: it is in [2]"
    (wrong, _) = (await prove(f"The model costs 99 EUR. {beside}", sources)).sentences
    assert (wrong.supported, wrong.markers, wrong.reason) == (False, (), "no source cited")


@pytest.mark.parametrize(
    "text",
    [
        "**INT8 有 9 位 [1]。**", "**INT8 有 9 位。** [1]", "**INT8 有 9 位。**",
        "*INT8 有 9 位 [1]。*",
        "__INT8 有 9 位 [1]。__", "**INT8 有 9 位** [1]。", "Answer: **INT8 有 9 位 [1]。**",
        "**INT8 has 9 bits.** It is small.", "Sure, INT8 has 9 bits.", "**INT8: 9 位**",
    ],
)  # fmt: skip
async def test_a_bold_sentence_is_judged(text: str, sources: Sources) -> None:
    judged = await _judged(text, sources)
    assert judged
    assert not judged[0][1]


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["INT8 是 8 位量化", "**Attention weighs every token.**", "[1]", " [2].", "。", " (1).",
             "\n\n", "- ", "| a | b |\n|---|---|\n| 7B | 4.2 |\n", "¹", "10⁶ cells. ",
             "[9]", "\u3000"]
        ),
        max_size=12,
    )
)  # fmt: skip
async def test_the_ranges_of_sentences_and_quotes_give_their_text(parts: list[str]) -> None:
    known = Sources()
    for chunk in (CHUNK, OTHER):
        known.mark(chunk)
    text = "".join(parts)
    proof = await prove(text, known)
    assert all(text[one.start : one.end] == one.text for one in proof.sentences)
    for one in proof.citations:
        at = one.start - one.chunk.start
        assert one.quote is None or one.chunk.text[at : one.end - one.chunk.start] == one.quote


async def test_what_a_tool_gave_needs_no_marker(sources: Sources) -> None:
    text = "The model needs 16.8 GB of memory."
    assert not (await prove(text, sources)).sentences[0].supported
    proof = await prove(text, sources, results=["memory: the model needs 16.8 GB"])
    assert proof.sentences[0].supported


async def test_two_passages_may_support_a_sentence_together(sources: Sources) -> None:
    sources.mark(Chunk("c3", "d", "c.md", "t", "", "Orla was built in 1950.", 0, 23))
    sources.mark(Chunk("c4", "d", "c.md", "t", "", "Orla was sold in 1987.", 40, 62))
    text = "Orla was built in 1950 and sold in 1987 [3][4]."
    assert await _judged(text, sources) == [(text, True, ("3", "4"))]


async def test_two_claims_of_a_sentence_are_judged_by_their_own_markers(sources: Sources) -> None:
    right = "INT8 是 8 位量化 [1]，而 attention weighs every token [2]。"
    wrong = "INT8 是 8 位量化 [2]，而 attention weighs every token [1]。"
    assert [verdict[1] for verdict in await _judged(right, sources)] == [True]
    assert [verdict[1] for verdict in await _judged(wrong, sources)] == [False]


async def test_a_quoted_table_is_supported_row_by_row(sources: Sources) -> None:
    table = "| 参数量 | 4 位 |\n|---|---|\n| 7B | 4.2 |\n| 70B | 42 |"
    sources.mark(Chunk("c3", "d", "c.md", "t", "", table, 0, len(table)))
    proof = await prove(f"Quoted:\n\n{table}\n\n[3]", sources)
    assert [(c.marker, c.quote) for c in proof.citations] == [("3", table)]
    assert [one.supported for one in proof.sentences] == [True, True]


async def test_without_passages_nothing_is_judged() -> None:
    assert await prove("Paris is the capital of France.", Sources()) == await prove("", Sources())


async def test_a_quote_in_a_wider_passage_has_its_exact_range(sources: Sources) -> None:
    before = "前面还有一句话。"
    wide = before + TEXT
    again = Chunk("c1", "d", "a.md", "笔记", "量化", wide, 100 - len(before), 100 + len(TEXT))
    assert sources.mark(again) == "1"
    (citation,) = await cite("INT8 是 8 位量化。[1]", sources)
    assert (citation.start, citation.chunk.text) == (100, wide)
    assert citation.quote is not None
    assert wide[citation.start - citation.chunk.start :].startswith(citation.quote)


async def test_a_quote_that_stands_twice_is_cited_where_it_was_found(sources: Sources) -> None:
    text = "Water boils. Ice melts. Water boils."
    sources.mark(Chunk("c3", "d", "c.md", "t", "", text, 50, 50 + len(text)))
    (citation,) = await cite("Water boils [3].", sources)
    assert citation.start == 50
    assert citation.quote is not None
    assert citation.end - citation.start == len(citation.quote)


async def test_the_runs_of_an_answer_join_to_its_text(sources: Sources) -> None:
    text = "INT8 是 8 位量化[1]。模型的价格每月下降三成[1]。完。"
    proof = await prove(text, sources)
    runs = list(Answer(text, proof.citations, sentences=proof.sentences).runs())
    assert "".join(piece for piece, _ in runs) == text
    assert [piece for piece, is_unsupported in runs if is_unsupported] == [
        "模型的价格每月下降三成[1]。"
    ]


async def test_the_number_of_a_list_item_is_none_of_its_claim(sources: Sources) -> None:
    text = "3. **INT8** 是 8 位量化[1]。\n4. 蒸馏由教师模型教学生模型[1]。"
    assert [verdict[1] for verdict in await _judged(text, sources)] == [True, True]


@pytest.mark.parametrize(
    "text",
    [
        "Hello!", "# INT8 有 9 位", "**Quantisation**", "文档里没有提到价格。", "Is it 5 GB?",
        "The documents do not say what it costs.", "要点如下：", "$$x = 5$$", "---", "`x = 5`",
    ],
)  # fmt: skip
async def test_what_claims_nothing_is_not_judged(text: str, sources: Sources) -> None:
    assert await _judged(text, sources) == []


async def test_a_claim_about_the_documents_is_judged(sources: Sources) -> None:
    assert [v[1] for v in await _judged("The documents say that INT8 has 9 bits.", sources)] == [
        False
    ]


async def test_what_was_computed_of_long_tool_results_is_freed(sources: Sources) -> None:
    async def memory_after(turn: int) -> int:
        result = f"{turn} " + "z" * 301_000
        await prove("The pump weighs 7 kg [1].", sources, results=[result])
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    await memory_after(0)
    tracemalloc.start()
    try:
        first, last = await memory_after(1), await memory_after(2)
    finally:
        tracemalloc.stop()
    assert last - first < 100_000
