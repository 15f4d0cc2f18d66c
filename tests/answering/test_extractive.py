"""The extractive model: it searches, quotes verbatim, and refuses what was not found."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from agentkit import Agent, KnowledgeBase
from agentkit.answering.extractive import MAX_CHARACTERS, ExtractiveModel, SearchIndex
from agentkit.documents import Chunk, Document, Passage
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall
from agentkit.text.terms import names
from agentkit.tools.tool import tool

NOTES = [
    Document(
        source="memory.md",
        text="# 显存\n\n## 公式\n\n估算显存用 M = P*4*1.2/(32/Q)。"
        "7B 模型以 4 位加载约占 4.2 GB。\n\n"
        "| 规模 | 位数 | GB |\n|---|---|---|\n| 7B | 4 | 4.2 |\n| 70B | 4 | 42 |\n",
    ),
    Document(source="distill.md", text="# 蒸馏\n\n教师模型输出软标签，学生模型向它靠拢。"),
    Document(source="rlhf.md", text="# RLHF\n\n评判标准是 3H：Helpful、Honest、Harmless。"),
]


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    kb = KnowledgeBase.open(tmp_path_factory.mktemp("index"))
    kb.add_sync(NOTES)
    yield kb
    kb.close()


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("7B 模型以 4 位加载要多少显存？", "4.2"),
        ("学生模型向什么靠拢？", "软标签"),
        ("What does the teacher model give in distillation?", "软标签"),
    ],
)
async def test_an_answer_quotes_the_passage_with_a_proven_citation(
    knowledge: KnowledgeBase, question: str, fact: str
) -> None:
    answer = await Agent("extractive", knowledge=knowledge).run(question)
    assert fact in answer.text
    assert answer.stop_reason == "stop"
    assert answer.tool_calls == ("search_knowledge",)
    for citation in answer.citations:
        document = await knowledge.document(citation.chunk.source)
        assert document.text[citation.start : citation.end] == citation.quote


@pytest.mark.parametrize("question", ["红烧肉要炖多久？", "Who won the World Cup in 2018?"])
async def test_a_question_that_the_documents_do_not_answer_is_refused(
    knowledge: KnowledgeBase, question: str
) -> None:
    answer = await Agent("extractive", knowledge=knowledge).run(question)
    assert (answer.stop_reason, answer.citations) == ("refused", ())


async def test_a_name_missing_from_every_passage_is_refused(
    knowledge: KnowledgeBase,
) -> None:
    question = "Qwen9X 模型以 4 位加载要多少显存？"
    answer = await Agent("extractive", knowledge=knowledge).run(question)
    assert answer.stop_reason == "refused"


def _passage(text: str, heading: str = "", source: str = "a.md", marker: str = "1") -> Passage:
    return Passage(marker, Chunk("c", "d", source, "", heading, text, 0, len(text)))


async def _parts(
    messages: Sequence[Message], tools: Any = (), index: SearchIndex | None = None
) -> list[ModelPart]:
    return [part async for part in ExtractiveModel(index).stream(messages, tools)]


def _text(parts: Sequence[ModelPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


class _Alike:
    """An index without token vectors, in which every text is near to every question."""

    async def late_scores(self, question: str, ranges: Sequence[Chunk]) -> list[float] | None:
        return None

    async def similarity(self, text: str, others: Sequence[str]) -> list[float]:
        return [0.9] * len(others)

    async def rarity(self, words: Sequence[str]) -> list[float]:
        return [0.5] * len(words)


async def test_without_documents_it_says_that_it_can_only_quote() -> None:
    assert (
        _text(await _parts([Message("user", "Where is the harbour?")]))
        == "I can only quote documents, and there are none here to search."
    )


@tool
def search_knowledge(query: str) -> str:
    """Search."""
    return ""


async def test_it_searches_for_the_last_question_of_a_conversation() -> None:
    history = [Message("user", "一"), Message("assistant", "答"), Message("user", "二是什么")]
    call = (await _parts(history, [search_knowledge]))[0]
    assert isinstance(call, ToolCall)
    assert call.arguments == {"query": "二是什么"}


async def test_an_answer_is_bounded_however_long_the_passages() -> None:
    text = "量化" + "很" * 400 + "好。"
    passages = tuple(_passage(text, marker=str(n)) for n in range(9))
    asked = [Message("user", "量化好不好"), Message("tool", passages=passages)]

    answer = _text(await _parts(asked, index=_Alike()))
    assert len(answer) < MAX_CHARACTERS + 200


@pytest.mark.parametrize("thanks", ["谢谢", "好的，谢谢！", "thanks a lot!", "ok", "Hello"])
async def test_thanks_and_greetings_are_answered_and_not_searched(
    thanks: str,
) -> None:
    parts = await _parts([Message("user", thanks)], [search_knowledge])
    assert not [part for part in parts if isinstance(part, ToolCall)]
    assert isinstance(parts[-1], Done)
    assert parts[-1].stop_reason == "stop"


TABLE = "| Size | Price |\n|---|---|\n| small | 4 EUR |\n| large | 7 EUR |\n| huge | 9 EUR |"


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        (TABLE, "price of large", "| Size | Price |\n|---|---|\n| large | 7 EUR |"),
        ("Two kinds exist:\n\n- red\n- blue\n", "which kinds exist", "Two kinds exist:\n\n- red"),
        ("# News\n\n## Release 2.4 (2025-03-14)\n\n", "when was 2.4 released", "(2025-03-14)"),
        (
            "Start it like this:\n\n```sh\nrun --all\n```\n\nIt stops at noon.",
            "how do I start it",
            "```sh\nrun --all\n```",
        ),
    ],
    ids=["a row with its header", "a list with its lead-in", "a heading", "code with its lead-in"],
)
async def test_an_answer_is_a_unit_of_the_passage(text: str, question: str, answer: str) -> None:
    asked = [Message("user", question), Message("tool", passages=(_passage(text),))]
    assert answer in _text(await _parts(asked))


async def test_a_sentence_that_a_passage_repeats_is_quoted_once() -> None:
    sentence = "The zoning rules limit hotels to nine floors."
    passage = _passage(f"{sentence}\n\nOther text stands between.\n\n{sentence}\n")
    question = "How many floors do the zoning rules allow hotels?"
    text, is_refusal = await ExtractiveModel(_Alike()).quote(question, [passage])
    assert (text.count(sentence), is_refusal) == (1, False)


@pytest.mark.parametrize("text", ["Libtasn1\n\n{}\n", "{}\n\n- Libtasn1\n"])
async def test_a_title_or_an_item_that_only_repeats_the_question_is_not_added(text: str) -> None:
    sentence = "This manual is for GNU Libtasn1, a library for Abstract Syntax Notation One."
    passage = _passage(text.format(sentence))
    answer, _is_refusal = await ExtractiveModel(_Alike()).quote("What is libtasn1?", [passage])
    assert answer.endswith(f"inferred:\n\n{sentence} [1]")


@pytest.mark.parametrize(
    ("question", "is_whole"),
    [
        ("How are models, prompts, costs, files and plugins used without streaming?", False),
        ("List models, prompts, costs, files, plugins and streaming.", True),
    ],
)
async def test_a_list_that_nothing_announces_is_quoted_whole_only_where_a_list_is_asked_for(
    question: str, is_whole: bool
) -> None:
    log = "# Changes\n\n" + "".join(
        f"- {text}\n"
        for text in (
            "Models can be marked as without streaming where it is not supported.",
            "Changes of prompts are saved when the window of the editor is closed.",
            "The costs of the requests are printed after each of the answers now.",
            "Fixed the order of the files that are attached to a message in a chat.",
            "Plugins are loaded from a directory that a variable of yours names now.",
        )
    )
    text, _is_refusal = await ExtractiveModel(_Alike()).quote(question, [_passage(log)])
    assert "streaming" in text
    assert (text.count("\n- ") > 3) is is_whole


async def test_a_comparison_gives_a_unit_for_each_side() -> None:
    text = "Cats sleep sixteen hours.\n\nDogs sleep twelve hours.\n\nBoth eat meat."
    asked = [
        Message("user", "difference between cats and dogs"),
        Message("tool", passages=(_passage(text),)),
    ]
    answer = _text(await _parts(asked))
    assert "Cats sleep sixteen hours." in answer
    assert "Dogs sleep twelve hours." in answer


async def test_the_rows_of_both_sides_of_a_comparison_are_one_table() -> None:
    asked = [
        Message("user", "small vs large"),
        Message("tool", passages=(_passage(TABLE),)),
    ]
    rows = "| Size | Price |\n|---|---|\n| small | 4 EUR |\n| large | 7 EUR |\n\n[1]"
    assert _text(await _parts(asked)).endswith(rows)


async def test_a_side_that_the_documents_lack_is_named() -> None:
    asked = [
        Message("user", "difference between cats and ferrets"),
        Message("tool", passages=(_passage("Cats sleep sixteen hours. Cats eat meat."),)),
    ]
    text, is_refusal = await ExtractiveModel(refuse_below=0.0).quote(
        asked[0].text, asked[1].passages
    )
    assert not is_refusal
    assert text.endswith("The documents do not mention “ferrets”.")


async def test_a_refusal_names_the_part_that_the_documents_lack() -> None:
    passage = _passage("Gift cards are valid for two years. Gift cards can be mailed.")
    text, is_refusal = await ExtractiveModel(refuse_below=1.0).quote(
        "gift cards surcharge", [passage]
    )
    assert is_refusal
    assert text.endswith("The documents mention “gift cards” but nothing about “surcharge”.")


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("GPT-4o 的接口每百万 token 收多少钱？", ["GPT-4o", "token"]),
        ("Is BERT a GPT-like model on GPUs?", ["BERT", "GPT", "GPU"]),
        ("Who won the World Cup?", ["World", "Cup"]),
    ],
)
def test_names_are_latin_words_in_chinese_and_capitalised_ones_in_english(
    question: str, found: list[str]
) -> None:
    assert sorted(names(question)) == sorted(found)


def test_across_languages_only_names_that_nobody_translates_count() -> None:
    assert names("What does FlashAttention change in Paris?", across=True) == ["FlashAttention"]
