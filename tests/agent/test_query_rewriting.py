"""A follow-up becomes a standalone question: what is asked of the model, what of its reply is the
question, and what is left alone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import pytest

from agentkit import Agent, KnowledgeBase, Session, tool
from agentkit.agent.limits import UsageMeter
from agentkit.agent.query_rewriting import QueryRewriter, is_rewriting, read_question
from agentkit.agent.turn import without_thinking
from agentkit.answers import Answer
from agentkit.backends.base import Model, Options
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.documents import Document
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.knowledge.tools import SEARCH
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool
from tests.conftest import TermEmbedder

PROMPT = "and at 4 bits?"
QUESTION = "How much memory does a 7B model take at 4 bits?"
CHINESE = "7B 模型在 4 位量化时需要多少显存？"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
async def knowledge(tmp_path: Path, embedder: TermEmbedder) -> AsyncIterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    await knowledge.add([Document("memory.md", "# Memory\n\nA 7B model takes 14 GB.", "Memory")])
    yield knowledge
    knowledge.close()


def _query(answer: Answer) -> str:
    calls = [c for m in answer.messages for c in m.tool_calls if c.name == SEARCH]
    arguments = calls[-1].arguments
    assert not isinstance(arguments, str)
    return str(arguments["query"])


async def _followed_up(
    knowledge: KnowledgeBase, rewriting: Turn, prompt: str = PROMPT
) -> tuple[ScriptedModel, Answer]:
    """The answer to a second question, where the model is asked for a rewriting."""
    model = ScriptedModel(["14 GB [1].", rewriting, "3.5 GB."])
    agent, session = Agent(model, [add], knowledge=knowledge), Session()
    await agent.run("How much memory does a 7B model take?", session)
    return model, await agent.run(prompt, session)


async def test_a_rewriting_extends_the_conversation_with_the_same_tools(
    knowledge: KnowledgeBase,
) -> None:
    model, answer = await _followed_up(knowledge, QUESTION)
    first, rewriting, second = model.requests
    assert is_rewriting(rewriting)
    assert rewriting[: len(first)] == first
    assert rewriting[:-1] == second[: len(rewriting) - 1]
    assert len(set(model.tools_offered)) == 1
    assert _query(answer) == QUESTION


@pytest.mark.parametrize(
    "prompt",
    [
        "How much memory does a 70B model take at 16 bits?",
        "What is the price of a GPU?",
        "70B 模型在 16 位时需要多少显存？",
    ],
)
async def test_a_question_that_stands_alone_is_not_rewritten(
    knowledge: KnowledgeBase, prompt: str
) -> None:
    model, answer = await _followed_up(knowledge, "the answer", prompt)
    assert len(model.requests) == 2
    assert _query(answer) == prompt


@pytest.mark.parametrize("prompt", ["et à 4 bits ?", "а при 4 битах?", "4ビットでは？"])
async def test_a_follow_up_in_another_language_is_left_to_the_model(
    knowledge: KnowledgeBase, prompt: str
) -> None:
    _, answer = await _followed_up(knowledge, f"{QUESTION} {prompt}", prompt)
    assert _query(answer) == f"{QUESTION} {prompt}"


@pytest.mark.parametrize(
    "reply",
    [
        [TextDelta(f"<think>It means memory.</think>\n\n{QUESTION}")],
        [TextDelta(f"The user means memory.\n</think>\n\n{QUESTION}")],
        [ReasoningDelta("It means memory."), TextDelta(QUESTION)],
        ToolCall("1", SEARCH, {"query": QUESTION}),
    ],
    ids=["think", "end of think alone", "reasoning", "a search in place of a text"],
)
async def test_the_question_is_read_without_thinking_and_from_a_call(
    knowledge: KnowledgeBase, reply: Turn
) -> None:
    _, answer = await _followed_up(knowledge, reply)
    assert _query(answer) == QUESTION


@pytest.mark.parametrize(
    "reply",
    ["", "It takes 3.5 GB [1].", ToolCall("1", "add", {"a": 1, "b": 2}), "word " * 300],
    ids=["empty", "answer", "another call", "too long"],
)
async def test_a_reply_that_is_no_question_leaves_both_questions_to_the_search(
    knowledge: KnowledgeBase, reply: Turn
) -> None:
    _, answer = await _followed_up(knowledge, reply)
    assert _query(answer) == f"How much memory does a 7B model take?\n{PROMPT}"


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "Question: {}",
        '"{}"',
        "“{}”",
        "Rewritten: {}",
        "Rewritten question: {}",
        "**Rewritten question:** {}",
        "**Rewritten Question**: {}",
        "Standalone question:\n{}",
        "Sure! Here is the rewritten question:\n\n{}",
        "Sure, here's the standalone version: {}",
        "Certainly! {}",
        "The rewritten question is: {}",
        "Here is the rewritten question: **{}**",
        "# Rewritten question\n{}",
        "Last question: {}",
        "Query: `{}`",
        "A: {}",
        "Output: {}",
        "- {}",
        "> {}",
        "1. {}",
        "```\n{}\n```",
        '{{"question": "{}"}}',
        "<question>{}</question>",
        "{}\n\nNote: I kept the language.",
    ],
)
def test_labels_quotes_and_marks_are_peeled(form: str) -> None:
    assert read_question(form.format(QUESTION), PROMPT) == QUESTION


@pytest.mark.parametrize(
    "form",
    [
        "改写后：{}",
        "改写后的问题：{}",
        "改写:{}",
        "问题：{}",
        "独立问题：{}",
        "重写后的独立问题：{}",
        "好的，改写如下：{}",
        "以下是改写后的问题：\n{}",
        "改写后的问题是：“{}”",
        "最终问题：{}",
        "改写结果：{}",
        "「{}」",
    ],
)
def test_chinese_labels_and_quotes_are_peeled(form: str) -> None:
    assert read_question(form.format(CHINESE), "那 4 位呢？") == CHINESE


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Rewritten question:",
        "It takes 3.5 GB at 4 bits [1].",
        "4.2 GB",
        "Yes",
        "At 4 bits, a 7B model needs about 4.2 GB of memory.",
        "文档说明 7B 需要 4.2 GB。",
        "I'm sorry, I cannot help with that?",
        "Could you clarify what you mean by 4 bits?",
        "您是指 7B 模型吗？",
        f"{'very ' * 100}long?",
        "And at 4 bits?",
    ],
)
def test_what_is_no_rewriting_is_refused(reply: str) -> None:
    assert read_question(reply, PROMPT) == ""


@pytest.mark.parametrize(
    "question", ['Is "LoRA" the same as "QLoRA"?', "What does (a) or (b) mean?", "What is f[1]?"]
)
def test_quotes_within_a_question_are_kept(question: str) -> None:
    assert read_question(question, PROMPT) == question


@pytest.mark.parametrize(
    ("text", "kept", "thought"),
    [
        ("<think>a</think>Answer", "Answer", "a"),
        ("reasoning\n</think>\n\nAnswer", "Answer", "reasoning"),
        ("a</think>b</think>c", "c", "ab"),
        ("<think>never closed", "", "never closed"),
        ("[THINK]x[/THINK]Y", "Y", "x"),
        ("◁think▷x◁/think▷Y", "Y", "x"),
        ("<thinking>\nx\n</thinking>\n\nY", "Y", "x"),
        ("Use `</think>` here", "Use `</think>` here", ""),
        ("```\n<think>x</think>\n```", "```\n<think>x</think>\n```", ""),
        ("DeepSeek writes <think> first.", "DeepSeek writes <think> first.", ""),
    ],
)
def test_thinking_is_taken_out_of_a_text_but_not_out_of_its_code(
    text: str, kept: str, thought: str
) -> None:
    assert without_thinking(text) == (kept, thought)


class StallingModel(Model):
    """Begins a reply and never ends it."""

    name = "stalling"
    is_closed = False

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        try:
            yield TextDelta("How much memory does")
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def test_a_rewriting_that_stalls_is_given_up() -> None:
    model = StallingModel()
    rewriter = QueryRewriter(model, UsageMeter(), silence=0.01)
    query = await rewriter.standalone(PROMPT, ["How much memory does a 7B model take?"])
    assert query == f"How much memory does a 7B model take?\n{PROMPT}"
    assert model.is_closed
