"""Fit the weights that decide whether a claim's words were exchanged (`alignment.WEIGHTS`).

    python benchmarks/fit_support.py tests/knowledge/citations/support_*.jsonl

Each line of a file has `passage`, `heading`, `sentence`, `supported` and `split`; only the split
"dev" is used, and only sentences whose numbers and names are in their passage. A sentence is false
where all comparisons of one of its clauses say so, so the fit alternates: the comparison that
decides is selected with the weights so far, and a logistic regression follows its gradient.
The constant in use is 0.17 lower, since to mark a true sentence is worse than to miss a false one.
`--folds` estimates the error on passages that were not fitted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentkit.knowledge.citations.alignment import WEIGHTS, comparisons
from agentkit.knowledge.citations.evidence import missing_name, missing_number

Vector = NDArray[np.float64]
PRIORS = dict.fromkeys(WEIGHTS, 2.0) | {
    "reversed": 2.5, "denied": 3.0, "opposite": 1.0, "reversed_numbers": 3.0,
    "rate": 3.0, "counted": 2.6, "misplaced": 3.0, "constant": -2.0,
}  # fmt: skip
"""The weights before any example: the fit stays near them where examples are few."""
STEPS, RATE, PULL = 400, 0.3, 0.002


class Example(NamedTuple):
    """A sentence: the features of its comparisons, by clause, and whether it is false."""

    row: dict[str, Any]
    groups: list[Vector]
    is_false: bool


def read(paths: Iterable[Path]) -> list[Example]:
    examples = []
    for path in paths:
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if row["split"] == "dev" and (example := _example(row)):
                examples.append(example)
    return examples


def _example(row: dict[str, Any]) -> Example | None:
    claim, passage, context = row["sentence"], row["passage"], row["heading"]
    if missing_number(claim, passage, context) or missing_name(claim, passage, context):
        return None
    found = comparisons(claim, passage, context)
    groups = [np.array([[*one.features.values()] for one in group]) for group in found]
    return Example(row, groups, not row["supported"]) if groups else None


def decisive(weights: Vector, groups: Sequence[Vector]) -> tuple[float, Vector]:
    """The score of a sentence, and the comparison that it comes from."""
    nearest = [group[int((group @ weights).argmin())] for group in groups]
    worst = max(nearest, key=lambda features: float(features @ weights))
    return float(worst @ weights), worst


def fit(examples: Sequence[Example]) -> Vector:
    priors = np.array([PRIORS[name] for name in WEIGHTS])
    weights = priors.copy()
    for _ in range(STEPS):
        gradient = PULL * (weights - priors)
        for example in examples:
            score, features = decisive(weights, example.groups)
            error = 1 / (1 + np.exp(-score)) - example.is_false
            gradient += error * features / len(examples)
        weights -= RATE * gradient
    return weights


def report(name: str, weights: Vector, examples: Sequence[Example]) -> None:
    found = [(decisive(weights, e.groups)[0] > 0, e.is_false) for e in examples]
    caught = sum(is_marked and is_false for is_marked, is_false in found)
    wrong = sum(is_marked and not is_false for is_marked, is_false in found)
    false = sum(is_false for _, is_false in found)
    print(f"{name}: {caught} of {false} false marked, {wrong} of {len(found) - false} true")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path, help="labelled sentences, JSON Lines")
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    examples = read(options.data)
    weights = fit(examples)
    report("fitted", weights, examples)
    passages = sorted({example.row["passage"] for example in examples})
    for fold in range(options.folds):
        kept = set(passages[fold :: options.folds])
        rest = fit([e for e in examples if e.row["passage"] not in kept])
        report(f"fold {fold + 1}", rest, [e for e in examples if e.row["passage"] in kept])
    print({name: round(float(weight), 2) for name, weight in zip(WEIGHTS, weights, strict=True)})


if __name__ == "__main__":
    main()
