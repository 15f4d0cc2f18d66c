"""Golden questions, with the places and key facts expected of an answer; one JSON object a line.

A line has the full form (`Question`) or the short one (`ShortQuestion`), with at most one place and
one key fact.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.documents import Chunk
from agentkit.errors import ConfigError, file_error, value_error
from agentkit.text.terms import is_cjk

Kind = Literal["fact", "list", "formula", "comparison", "sum", "unanswerable"]

_FULL_FORM_KEYS = frozenset(("kind", "expected", "facts"))
_EXAMPLE = '{"question": "...", "answer": "...", "source": "notes.md"}'


class Place(BaseModel):
    """A document, or a section or page of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(min_length=1)
    heading: str = ""
    page: int | None = None

    def contains(self, chunk: Chunk) -> bool:
        """Whether a passage is under the heading (or one below it) and on the page."""
        return (
            chunk.source == self.source
            and (not self.heading or self.heading in chunk.heading.split(" > "))
            and (self.page is None or self.page in _pages(chunk))
        )


class Question(BaseModel):
    """A question with the places and key facts expected of its answer.

    `expected` lists the places needed, each as a group of alternatives; `facts` lists the key
    facts, each as a group of spellings. Both are empty for an unanswerable question.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    language: str
    kind: Kind
    question: str = Field(min_length=1, pattern=r"\S")
    paraphrased: bool = False
    generated: bool = False
    expected: tuple[tuple[Place, ...], ...] = ()
    facts: tuple[tuple[str, ...], ...] = ()

    @property
    def answerable(self) -> bool:
        return self.kind != "unanswerable"


class ShortQuestion(BaseModel):
    """The short form of a question. `answer` is the key fact or its spellings, null if the question
    is unanswerable; `source`, with `heading` or `page`, is the expected place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = ""
    language: str = ""
    question: str = Field(min_length=1, pattern=r"\S")
    answer: str | tuple[str, ...] | None = ()
    source: str = ""
    heading: str = ""
    page: int | None = None

    def expand(self, line: int) -> Question:
        """Convert to the full form; the line number replaces a missing id."""
        spellings = (self.answer,) if isinstance(self.answer, str) else self.answer or ()
        places: tuple[tuple[Place, ...], ...] = ()
        if self.source and self.answer is not None:
            places = ((Place(source=self.source, heading=self.heading, page=self.page),),)
        return Question(
            id=self.id or f"line-{line}",
            language=self.language or language_of(self.question),
            kind="unanswerable" if self.answer is None else "fact",
            question=self.question,
            expected=places,
            facts=(spellings,) if spellings else (),
        )


def language_of(text: str) -> str:
    """Return the script of a text, "zh" or "latin", as a default for its language."""
    return "zh" if is_cjk(text) else "latin"


def load_questions(path: Path) -> list[Question]:
    """Read a file of questions. Raises ConfigError, with the file and the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} does not exist. Write it, with one question per line: {_EXAMPLE}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(file_error(path, error)) from error
    questions: dict[str, tuple[int, Question]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        question = _parse(path, number, line)
        first, _ = questions.setdefault(question.id, (number, question))
        if first != number:
            raise ConfigError(
                f"{path}:{number}: the id {question.id!r} is already used in line {first}. "
                "Use a unique id for each question."
            )
    if not questions:
        raise ConfigError(f"{path} has no questions. Write one per line: {_EXAMPLE}")
    return [question for _, question in questions.values()]


def _parse(path: Path, number: int, line: str) -> Question:
    try:
        data = json.loads(line)
        if isinstance(data, dict) and not _FULL_FORM_KEYS & data.keys():
            return ShortQuestion.model_validate(data).expand(number)
        return Question.model_validate(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        reason = value_error(fault)
        message = f"{where}: {reason}" if where else f"the question {reason}"
        raise ConfigError(f"{path}:{number}: {message}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}:{number}: invalid JSON: {error}") from error


def _pages(chunk: Chunk) -> range:
    """Return the pages or slides that a passage covers."""
    match = re.fullmatch(r"(?:page|slide)s? (\d+)(?:-(\d+))?", chunk.part)
    if match:
        first, last = int(match[1]), int(match[2] or match[1])
        return range(first, last + 1)
    return range(chunk.page, chunk.page + 1) if chunk.page is not None else range(0)
