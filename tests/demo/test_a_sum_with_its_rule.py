"""A sum goes to a tool, and the answer shows the notes' rule beside the computed figure."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from agentkit import Agent, KnowledgeBase, demo_path
from agentkit.backends.scripted import ScriptedModel
from agentkit.messages import Message, ToolCall
from agentkit.tools.loading import load_tools
from tests.conftest import TermEmbedder

pytestmark = pytest.mark.slow

RULE = "按照大模型资源占用计算公式，7B 模型以 4 位加载需要 4.2 GB [{marker}]。"
FIGURE = "计入 8k 上下文的 KV Cache，estimate_memory 算出共 4.6698 GB。"


async def test_the_rule_is_cited_and_the_figure_is_the_tools(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    await knowledge.add_path(demo_path() / "knowledge")
    tools = load_tools(demo_path() / "tools").tools
    arguments = {"parameters_billion": 7, "bits": 4, "context": 8192}

    def script(messages: Sequence[Message]) -> str | ToolCall:
        if messages[-1].tool_call_id == "sum":
            passages = [passage for message in messages for passage in message.passages]
            rule = next(passage for passage in passages if "4.2" in passage.chunk.text)
            return RULE.format(marker=rule.marker) + FIGURE
        return ToolCall("sum", "estimate_memory", arguments)

    agent = Agent(ScriptedModel(script), tools, knowledge)
    answer = await agent.run("按大模型资源占用计算公式，7B 模型 4 位、8k 上下文要多少 GB？")
    knowledge.close()
    assert answer.tool_calls == ("search_knowledge", "estimate_memory")
    assert answer.citations[0].supported
    assert answer.citations[0].chunk.source == "lecture_notes/02_theory_and_practice.md"
    assert [sentence.reason for sentence in answer.unsupported] == []
    assert len(answer.sentences) == 2
