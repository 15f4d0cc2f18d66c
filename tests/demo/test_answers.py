"""The five questions of `agentkit demo`, answered without a model."""

from collections.abc import Iterator

import pytest

from agentkit import Agent, KnowledgeBase, demo_path
from agentkit.project.demo import demo_questions

BEGINNINGS = (
    ("| 7B | 4.2 | 8.4 | 16.8 |",),
    ("教师模型：收到输入数据后", "学生模型：收到同样的输入"),
    ("KV Cache（Key-Value Cache）", "加快自回归模型的推理"),
    ("Helpful（有用）、Honest（诚实）、Harmless（无害）",),
    ("| DeepSeek-V3 | 2025 | 671B（6710 亿） | 14.8T tokens |",),
)
"""What the first quote of each answer holds."""


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    kb = KnowledgeBase.open(tmp_path_factory.mktemp("index"))
    kb.add_path_sync(demo_path() / "knowledge")
    yield kb
    kb.close()


@pytest.mark.parametrize(
    ("question", "facts"), list(zip(demo_questions(), BEGINNINGS, strict=True)), ids=range(1, 6)
)
async def test_the_first_quote_answers_and_is_short(
    knowledge: KnowledgeBase, question: str, facts: tuple[str, ...]
) -> None:
    answer = await Agent("extractive", knowledge=knowledge).run(question)
    first = answer.text.split("\n\n", 1)[1].split("[", 1)[0]
    assert all(fact in first for fact in facts)
    assert len(answer.text) <= 600
