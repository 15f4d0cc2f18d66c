"""Golden questions: what an agent must find and say. One JSON object a line.

A line is in the full form (`Question`), or in the plain one for a quick start (`Plain`): one place
and one key fact at the most.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.documents import Chunk
from agentkit.errors import ConfigError
from agentkit.text.terms import is_cjk

Kind = Literal["fact", "list", "formula", "comparison", "sum", "unanswerable"]

_FULL = frozenset(("kind", "expected", "facts"))
_EXAMPLE = '{"question": "...", "answer": "...", "source": "notes.md"}'


class Place(BaseModel):
    """A document, or what stands under a heading or on a page of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(min_length=1)
    heading: str = ""
    page: int | None = None

    def holds(self, chunk: Chunk) -> bool:
        """Whether a passage stands here: under the heading or one below it, and on the page."""
        return (
            chunk.source == self.source
            and (not self.heading or self.heading in chunk.heading.split(" > "))
            and (self.page is None or self.page in _pages(chunk))
        )


class Question(BaseModel):
    """A question, where its answer stands and what the answer must hold.

    `expected` lists every place needed, each with the places that serve equally; `facts` lists
    every key fact, each with the spellings that count. Both are empty where there is no answer.
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


class Plain(BaseModel):
    """The short form. `answer` is the key fact (or its spellings), null says that there is none;
    `source`, with `heading` or `page`, is where it stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = ""
    language: str = ""
    question: str = Field(min_length=1, pattern=r"\S")
    answer: str | tuple[str, ...] | None = ()
    source: str = ""
    heading: str = ""
    page: int | None = None

    def full(self, number: int) -> Question:
        """The question in the full form, named by its line's number where it has no name."""
        spellings = (self.answer,) if isinstance(self.answer, str) else self.answer or ()
        places: tuple[tuple[Place, ...], ...] = ()
        if self.source and self.answer is not None:
            places = ((Place(source=self.source, heading=self.heading, page=self.page),),)
        return Question(
            id=self.id or f"line-{number}",
            language=self.language or language_of(self.question),
            kind="unanswerable" if self.answer is None else "fact",
            question=self.question,
            expected=places,
            facts=(spellings,) if spellings else (),
        )


def language_of(text: str) -> str:
    """What a question is filed under where nobody says: its script, as "zh" or "latin"."""
    return "zh" if is_cjk(text) else "latin"


def load_questions(path: Path) -> list[Question]:
    """Read a file of questions. Raises ConfigError, which names the file and the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Name a .jsonl file."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not in UTF-8. Save it so.") from error
    found = [(n, _read(path, n, line)) for n, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise ConfigError(f"{path} holds no question. Write one a line: {_EXAMPLE}")
    _refuse_twins(path, found)
    return [question for _, question in found]


def _read(path: Path, number: int, line: str) -> Question:
    try:
        data = json.loads(line)
        if isinstance(data, dict) and not _FULL & data.keys():
            return Plain.model_validate(data).full(number)
        return Question.model_validate(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        said = f"{where}: {fault['msg']}" if where else fault["msg"]
        raise ConfigError(f"{path}:{number}: {said}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}:{number}: no JSON: {error}") from error


def _refuse_twins(path: Path, found: Sequence[tuple[int, Question]]) -> None:
    seen: dict[str, int] = {}
    for number, question in found:
        first = seen.setdefault(question.id, number)
        if first != number:
            raise ConfigError(
                f"{path}:{number}: the id {question.id!r} stands in line {first} already. "
                "Give each question its own."
            )


def _pages(chunk: Chunk) -> range:
    """The pages or slides that a passage stands on."""
    named = re.fullmatch(r"(?:page|slide)s? (\d+)(?:-(\d+))?", chunk.part)
    if named:
        first, last = int(named[1]), int(named[2] or named[1])
        return range(first, last + 1)
    return range(chunk.page, chunk.page + 1) if chunk.page is not None else range(0)
