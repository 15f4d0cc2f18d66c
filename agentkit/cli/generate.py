"""`agentkit eval generate`: questions about the documents, written by a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agentkit.cli.language import translated
from agentkit.cli.render import consoles, described, index_progress, warn
from agentkit.documents import Chunk
from agentkit.errors import ConfigError, KnowledgeError, ModelError
from agentkit.evaluation.generate import GeneratedQuestions, generate, sample_passages
from agentkit.evaluation.questions import Question
from agentkit.knowledge.chunking.splitter import split
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.project.project import Project

_EXAMPLES = 3


async def run_generate(
    path: Path, count: int, seed: int, folder: Path, model: str | None, base_url: str | None
) -> int:
    """Write a file of questions. One that is there already is not touched."""
    out, log = consoles()
    if path.exists():
        raise ConfigError(f"{path} is there already. Name another file with --out.")
    with index_progress(log) as tell:
        project = Project.open(folder, model=model, base_url=base_url, on_progress=tell)
        await project.__aenter__()
    try:
        knowledge = project.agent.knowledge
        if knowledge is None:
            raise KnowledgeError(project.notices.pop())
        warn(project.notices, log)
        name = await described(project.agent.model)
        passages = sample_passages(
            await _passages(knowledge, project.settings.knowledge.chunk_tokens), seed
        )
        if not passages:
            raise KnowledgeError(
                f"{folder / 'knowledge'} holds no passage long enough to ask about."
            )
        told = f"{name} is asked about {len(passages)} passages at the most."
        log.print(Text(translated(told)))
        made = await generate(
            project.agent.model, passages, count, seed=seed, on_progress=_counter(count, log)
        )
    finally:
        await project.close()
    if not made.questions:
        raise ModelError(f"{name} wrote no question of use ({_reasons(made)}). Try a larger model.")
    _write(path, made.questions)
    _show(made, path, count, out)
    return 0


async def _passages(knowledge: KnowledgeBase, limit: int) -> list[list[Chunk]]:
    """The passages of each document, as the index cuts them."""
    found = []
    for info in await knowledge.documents():
        document = await knowledge.document(info.source)
        count = knowledge.embedder.count_tokens
        found.append(await asyncio.to_thread(split, document, count, limit))
    return found


def _write(path: Path, questions: Sequence[Question]) -> None:
    lines = [question.model_dump_json(exclude_defaults=True) + "\n" for question in questions]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(lines)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}. Name another.") from error


def _show(made: GeneratedQuestions, path: Path, count: int, out: Console) -> None:
    number, shown = len(made.questions), made.tried
    told = f"{path}: {number} questions from {shown} passages."
    if made.dropped:
        dropped = _reasons(made, translated)
        told = f"{path}: {number} questions from {shown} passages; dropped: {dropped}."
    out.print(Text(translated(told)))
    if number < count:
        out.print(Text(translated(f"{count} were asked for: a larger model drops fewer.")))
    for question in made.questions[:_EXAMPLES]:
        out.print(Text(f"  {question.question}"))
    out.print(Text(translated(f"Read them through, then run: agentkit eval {path}")))


def _reasons(made: GeneratedQuestions, say: Callable[[str], str] = str) -> str:
    told = [f"{count} {say(reason)}" for reason, count in made.dropped.most_common()]
    return ", ".join(told) or "none"


def _counter(count: int, log: Console) -> Callable[[int, int], None]:
    """A running count on a terminal; silent when piped."""

    def tell(kept: int, shown: int) -> None:
        if log.is_terminal:
            end = "\n" if kept == count else "\r"
            told = translated(f"{kept} of {count} questions, {shown} passages")
            log.print(f"[dim]{told}[/dim]", end=end)

    return tell
