"""The requests of a conversation of twelve turns with a folder's tools and documents, in tokens.

    python benchmarks/prompts.py [FOLDER] [--windows 8192 32768]

The model is scripted: it rewrites follow-ups, searches again, calculates, reads, and answers. For
each request: the tokens of the tools and of everything else (three bytes of UTF-8 are a token),
how much of the request is the beginning of the one before it, which a server's prefix cache needs
not read again, and how many of the passages that the newest search found stand whole in it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkit import Session
from agentkit.agent.compaction import SUMMARIZE
from agentkit.agent.query_rewriting import is_rewriting
from agentkit.backends.base import Options, estimated_tokens, tokens_of_all, tool_tokens
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.events import Compacted, ModelPart
from agentkit.messages import Message, ToolCall
from agentkit.project.project import Project
from agentkit.tools.tool import Tool

CONVERSATION: tuple[tuple[str, str, tuple[ToolCall, ...]], ...] = (
    ("7B 模型在 16 位精度下需要多少显存？", "", ()),
    ("那 4 位呢？", "7B 模型在 4 位量化下需要多少显存？", ()),
    ("什么是 LoRA？", "", (ToolCall("a", "search_knowledge", {"query": "LoRA 低秩适配"}),)),
    ("它和全量微调有什么区别？", "LoRA 和全量微调有什么区别？", ()),
    ("What is self-attention?", "", (ToolCall("b", "find_all", {"text": "自注意力"}),)),
    ("And multi-head?", "What is multi-head attention?", ()),
    ("Transformer 由哪些部分组成？", "", (ToolCall("c", "calculator", {"expression": "2^10"}),)),
    ("梯度下降是怎么工作的？", "", ()),
    ("学习率太大会怎样？", "", (ToolCall("d", "search_knowledge", {"query": "学习率"}),)),
    ("那太小呢？", "学习率太小会怎样？", ()),
    (
        "RLHF 的三个步骤是什么？",
        "",
        (ToolCall("e", "search_knowledge", {"query": "PPO 奖励模型"}),),
    ),
    ("How is the reward model of RLHF trained?", "", ()),
)
"""Questions, each with its rewriting if it is a follow-up, and the calls that come before the
answer."""

ANSWER = "这是一个用来占位的回答，大约和一段真实的回答一样长。" * 6 + " [1]"


@dataclass(frozen=True, slots=True)
class Request:
    """The messages of a request, the names and tokens of its tools, and its turn."""

    turn: int
    messages: tuple[Message, ...]
    tools: tuple[str, ...]
    tool_tokens: int


class Scripted(ScriptedModel):
    """Plays the conversation and keeps its requests. A summary is the same short text each time."""

    def __init__(self, window: int) -> None:
        super().__init__(self._reply)
        self._window = window
        self._made: set[int] = set()
        self.turn = 0
        self.kept: list[Request] = []

    async def context_window(self) -> int | None:
        return self._window

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        size = tool_tokens(tools, estimated_tokens)
        names = tuple(tool.name for tool in tools)
        self.kept.append(Request(self.turn, tuple(messages), names, size))
        async for part in super().request(messages, tools, options):
            yield part

    def _reply(self, messages: Sequence[Message]) -> Turn:
        _, rewriting, calls = CONVERSATION[self.turn]
        if is_rewriting(messages):
            return rewriting
        if messages[0].text == SUMMARIZE:
            return ANSWER
        if calls and self.turn not in self._made:
            self._made.add(self.turn)
            return list(calls)
        return ANSWER


async def converse(project: Project, window: int) -> tuple[Scripted, int]:
    """The requests of the conversation, and how often it was compacted."""
    model, session, compactions = Scripted(window), Session(), 0
    for model.turn, (question, _, _) in enumerate(CONVERSATION):
        async for event in project.agent.stream(question, session, model=model):
            compactions += isinstance(event, Compacted)
    return model, compactions


def shared_prefix(request: Request, before: Request) -> float:
    """The share of the earlier request's messages with which this one begins."""
    if request.tools != before.tools:
        return 0.0
    shared = 0
    for one, other in zip(request.messages, before.messages, strict=False):
        if one != other:
            break
        shared += 1
    size = tokens_of_all(before.messages, estimated_tokens)
    return tokens_of_all(before.messages[:shared], estimated_tokens) / max(1, size)


def passages(messages: Sequence[Message]) -> tuple[int, int]:
    """How many passages the newest search found, and how many of them stand whole."""
    newest = next((m for m in reversed(messages) if m.passages), None)
    if newest is None:
        return 0, 0
    whole = {p.marker for m in messages for p in m.passages if not p.above}
    found = [p.above or p.marker for p in newest.passages]
    return len(found), sum(marker in whole for marker in found)


def kind_of(request: Request) -> str:
    """What a request asks for."""
    if request.messages[0].text == SUMMARIZE:
        return "summary"
    return "rewriting" if is_rewriting(request.messages) else "answer"


def report(model: Scripted, window: int, compactions: int) -> None:
    """Print a row for each request, and what holds for all of them."""
    print(f"\nWindow of {window} tokens, {compactions} compactions\n")
    print("| turn | request | tools | everything else | prefix kept | passages found, whole |")
    print("|---|---|---|---|---|---|")
    before: Request | None = None
    shares: list[tuple[str, float]] = []
    sizes, wholes = [], []
    for request in model.kept:
        kind = kind_of(request)
        rest = tokens_of_all(request.messages, estimated_tokens)
        found, whole = passages(request.messages)
        kept = shared_prefix(request, before) if before and kind != "summary" else 1.0
        share = f"{kept:.0%}" if kind != "summary" else "-"
        tools = f"{request.tool_tokens} ({len(request.tools)})"
        print(f"| {request.turn + 1} | {kind} | {tools} | {rest} | {share} | {found}, {whole} |")
        sizes.append(request.tool_tokens + rest)
        wholes += [whole] if found >= 3 else []
        if kind != "summary":
            shares.append((kind, kept))
            before = request if kind == "answer" else before
    rewritings = [kept for kind, kept in shares if kind == "rewriting"]
    extended = sum(kept == 1.0 for _, kept in shares)
    print(f"\n{extended} of {len(shares)} requests extend the one before, with {compactions}")
    print(f"compactions between; {rewritings.count(1.0)} of {len(rewritings)} rewritings do. The")
    print(f"largest request has {max(sizes)} tokens. Of three passages or more that a search")
    print(f"found, at least {min(wholes)} stand whole.")


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--windows", type=int, nargs="+", default=[8192, 32768])
    options = parser.parse_args()
    project = Project.open(options.folder, trust=True, model="extractive")
    project.skip_unused_servers = True
    async with project:
        print(f"{len(project.agent.offered_tools)} tools, documents of {options.folder.name}")
        for window in options.windows:
            model, compactions = await converse(project, window)
            report(model, window, compactions)


if __name__ == "__main__":
    asyncio.run(main())
