"""A model with a window of 8,192 tokens answers on the demo, with all of its tools."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copytree

import pytest

from agentkit import Session
from agentkit.agent.compaction import SUMMARIZE
from agentkit.agent.query_rewriting import is_rewriting
from agentkit.agent.tool_search import SEARCH_TOOLS, SHARE
from agentkit.backends.base import estimated_tokens, prompt_tokens, tokens_of_all
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.messages import Message
from agentkit.project.demo import demo_path
from agentkit.project.project import Project

WINDOW = 8192
QUESTIONS = (
    "7B 模型在 16 位精度下需要多少显存？",
    "那 4 位呢？",
    "什么是 LoRA？",
    "How is the reward model of RLHF trained?",
)


class Small(ScriptedModel):
    """A model with a small window that answers, rewrites and summarises."""

    async def context_window(self) -> int | None:
        return WINDOW


def _reply(messages: Sequence[Message]) -> Turn:
    if is_rewriting(messages):
        return "7B 模型在 4 位精度下需要多少显存？"
    return "They spoke of memory." if messages[0].text == SUMMARIZE else "答案 [1]。"


@pytest.mark.slow
async def test_every_request_fits_the_window_and_shows_three_whole_passages(
    tmp_path: Path,
) -> None:
    for name in ("knowledge", "tools"):
        copytree(demo_path() / name, tmp_path / name)
    project = Project.open(tmp_path, trust=True, model="extractive")
    project.skip_unused_servers = True
    model, session = Small(_reply), Session()
    async with project:
        tools = {tool.name: tool for tool in project.agent.offered_tools}
        for question in QUESTIONS:
            await project.agent.run(question, session, model=model)
    answered = [r for r in model.requests if not is_rewriting(r) and r[0].text != SUMMARIZE]
    assert len(answered) == len(QUESTIONS)
    for request, names in zip(model.requests, model.tools_offered, strict=True):
        offered = [tools[name] for name in names if name in tools]
        assert prompt_tokens((), offered) <= WINDOW // SHARE
        assert (
            prompt_tokens((), offered) + tokens_of_all(request, estimated_tokens) < WINDOW * 3 // 4
        )
        assert not names or SEARCH_TOOLS in names
    for request in answered:
        whole = [p for p in request[-1].passages if not p.above]
        shown = {p.marker for m in request for p in m.passages if not p.above}
        assert len(whole) + sum(p.above in shown for p in request[-1].passages) >= 3
