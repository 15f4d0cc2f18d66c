"""What may be quoted from a passage, and whether what was found speaks of the question at all.

Nearness alone cannot tell a question that the documents answer from one about the same subject
that they do not: so the names in the question must stand together in one passage, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentkit.passages import Passage
from agentkit.text import fold, is_cjk, names, sentences

_HEADING = re.compile(r"#{1,6}\s")
_MARKS = re.compile(r"(?:(?:\d+[.)]|[-*+>])[ \t]+)+")
_LEAST_SHARE = 0.25

LEAST_NEARNESS = {
    (True, True): 0.878,
    (False, False): 0.84,
    (True, False): 0.74,
    (False, True): 0.74,
}
"""Least cosine, with a little for shared words, by whether question and passage are CJK. On 150
questions each of CMRC 2018 and XQuAD English they refuse 1 % and 6 % of those whose paragraph is
there, and 67 % and 58 % of those whose paragraph was taken away."""

SHARED_WORDS = 0.05

_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n.*?^---[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Quote:
    """A piece of a passage that may be quoted, and how well it matches the question."""

    passage: Passage
    text: str
    start: int
    cosine: float = 0.0
    share: float = 0.0
    prior: float = 0.0
    score: float = 0.0

    @property
    def in_context(self) -> str:
        """The piece under its heading: what is compared with a question."""
        return f"{self.passage.heading.split(' > ')[-1]}\n{self.text}"


def quotable(passage: Passage) -> Iterator[Quote]:
    """The sentences of a passage, without list marks, headings and front matter, and each table as
    a whole."""
    front = _FRONT_MATTER.match(passage.text)
    begin = front.end() if front else 0
    table: list[tuple[int, int]] = []
    for start, end in [*sentences(passage.text), (len(passage.text), len(passage.text))]:
        text = passage.text[start:end]
        if start < begin:
            continue
        if text.startswith("|"):
            table.append((start, end))
            continue
        if table:
            yield Quote(passage, passage.text[table[0][0] : table[-1][1]], table[0][0])
            table = []
        mark = _MARKS.match(text)
        bare = text[mark.end() :] if mark else text
        if any(map(str.isalnum, bare)) and not _HEADING.match(bare):
            yield Quote(passage, bare, end - len(bare))


def is_evidence(
    question: str, passages: Sequence[Passage], quotes: Sequence[Quote], has_cosines: bool
) -> bool:
    """Whether the passages found, and the likeliest pieces of them, speak of what is asked."""
    if not quotes:
        return False
    across = is_cjk(question) != is_cjk("".join(passage.text for passage in passages))
    wanted = {_squeezed(name) for name in names(question, across)}
    if not _stand_together(wanted, passages):
        return False
    if not has_cosines:
        return max(quote.share for quote in quotes) >= _LEAST_SHARE
    asked = is_cjk(question)
    return any(
        quote.cosine + SHARED_WORDS * quote.share
        >= LEAST_NEARNESS[asked, is_cjk(quote.passage.text)]
        for quote in quotes
    )


def _stand_together(wanted: set[str], passages: Sequence[Passage]) -> bool:
    if not wanted:
        return True
    texts = [_squeezed(f"{p.source} {p.heading} {p.text}") for p in passages]
    return any(all(name in text for name in wanted) for text in texts)


def _squeezed(text: str) -> str:
    """Letters and digits alone, so that d_{model} and d_model are one."""
    return "".join(c for c in fold(text) if c.isalnum())
