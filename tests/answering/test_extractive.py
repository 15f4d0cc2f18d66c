"""The extractive model: it searches, quotes verbatim, and refuses what was not found."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from agentkit import Agent, KnowledgeBase
from agentkit.answering.extractive import MAX_CHARACTERS, ExtractiveModel, split_quotes
from agentkit.documents import Chunk, Document, Passage
from agentkit.events import ModelPart
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
    messages: Sequence[Message], tools: Any = (), similarity: Any = None
) -> list[ModelPart]:  # noqa: E501, RUF100
    return [part async for part in ExtractiveModel(similarity).stream(messages, tools)]


async def test_without_documents_it_says_that_it_can_only_quote() -> None:
    text = "".join(getattr(p, "text", "") for p in await _parts([Message("user", "hello there")]))
    assert text == "I can only quote documents, and there are none here to search."


async def test_it_searches_for_the_last_question_of_a_conversation() -> None:
    @tool
    def search_knowledge(query: str) -> str:
        """Search."""
        return ""

    history = [Message("user", "一"), Message("assistant", "答"), Message("user", "二是什么")]
    call = (await _parts(history, [search_knowledge]))[0]
    assert isinstance(call, ToolCall)
    assert call.arguments == {"query": "二是什么"}


async def test_an_answer_is_bounded_however_long_the_passages() -> None:
    text = "量化" + "很" * 400 + "好。"
    passages = tuple(_passage(text, marker=str(n)) for n in range(9))
    asked = [Message("user", "量化好不好"), Message("tool", passages=passages)]

    async def similar(question: str, sentences: Sequence[str]) -> list[float]:
        return [0.9] * len(sentences)

    parts = await _parts(asked, similarity=similar)
    assert len("".join(getattr(p, "text", "") for p in parts)) < MAX_CHARACTERS + 200


def test_a_table_is_quoted_whole_and_list_marks_and_headings_are_not_quoted() -> None:
    text = "## H\n\n1. 第一步。\n- 点\n\n| a |\n|---|\n| 1 |\n\n后文。"
    quotes = list(split_quotes(_passage(text, "H")))
    assert [q.text for q in quotes] == ["第一步。", "点", "| a |\n|---|\n| 1 |", "后文。"]
    assert all(text[q.start : q.start + len(q.text)] == q.text for q in quotes)


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


async def test_front_matter_and_bare_rules_are_never_quoted() -> None:
    text = "---\ntags: apple, pie\n---\n\nThe harbour opens at six.\n\n***"
    quotes = [quote.text for quote in split_quotes(_passage(text))]
    assert quotes == ["The harbour opens at six."]
