"""Golden questions: what an agent must find and say. One JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.documents import Hit
from agentkit.errors import ConfigError

Kind = Literal["fact", "list", "formula", "comparison", "sum", "unanswerable"]


class Place(BaseModel):
    """A heading of a document."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    heading: str

    def holds(self, hit: Hit) -> bool:
        """Whether a hit stands under this heading, or under one below it."""
        path = hit.chunk.heading.split(" > ")
        return hit.chunk.source == self.source and self.heading in path


class Question(BaseModel):
    """A question, where its answer stands and what the answer must hold.

    `expected` lists every place needed, each with the places that serve equally; `facts` lists
    every key fact, each with the spellings that count. Both are empty where there is no answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    language: str
    kind: Kind
    question: str = Field(min_length=1)
    paraphrased: bool = False
    expected: tuple[tuple[Place, ...], ...] = ()
    facts: tuple[tuple[str, ...], ...] = ()

    @property
    def answerable(self) -> bool:
        return self.kind != "unanswerable"


def load_questions(path: Path) -> list[Question]:
    """Read a file of questions. Raises ConfigError, which names the file and the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Name a .jsonl file."
        ) from error
    questions = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            questions.append(Question.model_validate_json(line))
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise ConfigError(f"{path}:{number}: {where}: {fault['msg']}") from error
    return questions
