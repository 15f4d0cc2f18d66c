"""`agentkit demo`: the lecture notes, five questions, five answers that prove themselves."""

from __future__ import annotations

from pathlib import Path

from rich.cells import set_cell_size
from rich.console import Console

from agentkit.cli.language import translated
from agentkit.cli.render import consoles, index_progress, show, warn
from agentkit.errors import KnowledgeError
from agentkit.project.demo import copy_demo
from agentkit.project.project import Project

QUESTIONS = (
    "7B 模型用 4 位量化加载，大约占多少显存？",
    "什么是知识蒸馏？教师模型和学生模型各做什么？",
    "KV Cache 是什么，为什么能加快推理？",
    "What are the three parts of the 3H principle in RLHF?",
    "How many tokens was DeepSeek-V3 trained on?",
)


async def demo(folder: Path, model: str) -> int:
    """Copy the demo to a folder, index it, ask five questions and check every quote."""
    out, log = consoles()
    copy_demo(folder)
    with index_progress(log) as tell:
        project = Project.open(folder, model=model, on_progress=tell)
        await project.__aenter__()
    try:
        warn(project.notices, log)
        for number, question in enumerate(QUESTIONS, start=1):
            out.rule(f"[bold]{number}. {question}[/bold]", align="left")
            await _answered(project, question, out, log)
    finally:
        await project.close()
    _next_steps(folder, out)
    return 0


async def _answered(project: Project, question: str, out: Console, log: Console) -> None:
    """Answer, and compare each quote with the document at the range that was printed."""
    answer = await show(project.agent.stream(question), out, log)
    assert project.agent.knowledge is not None
    proven = 0
    for citation in (c for c in answer.citations if c.quote):
        document = await project.agent.knowledge.document(citation.chunk.source)
        if document.text[citation.start : citation.end] != citation.quote:
            raise KnowledgeError(
                f"A quote is not where it was said to be: {citation.place}, characters "
                f"{citation.start}-{citation.end}. Please report this."
            )
        proven += 1
    if not proven:
        raise KnowledgeError(f"The demo's question {question!r} was answered without a citation.")
    log.print(f"[dim]{translated(f'{proven} quotes checked against the files')}[/dim]\n")


def _next_steps(folder: Path, out: Console) -> None:
    out.rule(align="left")
    steps = (
        ("Ask your own:", f'agentkit ask --folder {folder} "RLHF 分哪几步？"'),
        ("Talk about it:", f"agentkit chat --folder {folder}"),
        ("Your documents:", "put files (Markdown, PDF, HTML, ...) into knowledge/, then"),
        ("", 'agentkit ask --folder THAT_FOLDER "…"'),
        ("With a model:", "add --model ollama:qwen3:8b, or openai:NAME with OPENAI_API_KEY set."),
    )
    for label, way in steps:
        out.print(f"{set_cell_size(translated(label), 16)} {translated(way)}", markup=False)
