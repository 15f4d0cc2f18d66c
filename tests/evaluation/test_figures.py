"""What is asked of a figure, and how two runs differ."""

import json
from pathlib import Path

import pytest

from agentkit.errors import ConfigError
from agentkit.evaluation.report import (
    Figure,
    check_bounds,
    compare,
    figures,
    load_earlier,
    parse_bounds,
)
from agentkit.evaluation.runner import Outcome
from tests.evaluation.made import question


def _outcomes(*ranks: int | None) -> list[Outcome]:
    asked = [question([("a.md", "A")], id=str(at)) for at in range(len(ranks))]
    return [Outcome(q, (), (rank,)) for q, rank in zip(asked, ranks, strict=True)]


def test_a_bound_is_from_below_and_of_faults_from_above() -> None:
    assert Figure("recall@5", (1.0, 0.0), 0.5).met
    assert not Figure("recall@5", (1.0, 0.0), 0.51).met
    assert Figure("over_refused", (1.0, 0.0), 0.5).met
    assert not Figure("over_refused", (1.0, 0.0), 0.4).met
    assert Figure("recall@5", (1.0,)).met is None


def test_groups_are_by_language_kind_and_wording() -> None:
    both = [
        Outcome(question([("a", "A")], id="1", language="en", paraphrased=True), (), (1,)),
        Outcome(question([("a", "A")], id="2", kind="list"), (), (None,)),
    ]
    found = {figure.key: figure.share for figure in figures(both, 5)}
    for group in ("en", "fact", "paraphrased"):
        assert found[f"first:{group}"] == 1
    for group in ("zh", "list", "own-words"):
        assert found[f"first:{group}"] == 0
    assert found["first"] == 0.5


def test_bounds_are_read_and_checked_before_anything_is_asked() -> None:
    asked = [question([("a.md", "A")], facts=(("x",),))]
    bounds = parse_bounds(["recall@5=0.9", "facts:fact = 0.75", "citation_precision=0.5"])
    assert bounds == {"recall@5": 0.9, "facts:fact": 0.75, "citation_precision": 0.5}
    check_bounds(bounds, asked, answers=True, depth=10)
    with pytest.raises(ConfigError, match="not measure 'facts:fact'"):
        check_bounds(bounds, asked, answers=False, depth=10)
    with pytest.raises(ConfigError, match="Did you mean: recall@10"):
        check_bounds({"recal@10": 1}, asked, answers=True, depth=10)


@pytest.mark.parametrize("given", ["recall@5", "recall@5=90", "recall@5=nan", "recall@5=x"])
def test_a_bound_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="Invalid bound"):
        parse_bounds([given])


def test_two_runs_are_compared_question_by_question(tmp_path: Path) -> None:
    path = tmp_path / "earlier.json"
    rows = [{"id": o.question.id, "scores": o.scores(10)} for o in _outcomes(1, 2, None, 1)]
    path.write_text(json.dumps({"format": 1, "questions": [*rows, {"id": "z", "scores": {}}]}))
    changes = {c.name: c for c in compare(load_earlier(path), _outcomes(1, 1, 3, 4), 10)}
    first = changes["first"]
    assert (first.earlier, first.now, first.better, first.worse) == (0.5, 0.5, ("1",), ("3",))
    assert not first.is_certain
    assert changes["recall@5"].better == ("2",)


def test_a_steady_gain_is_certain(tmp_path: Path) -> None:
    path = tmp_path / "earlier.json"
    rows = [{"id": o.question.id, "scores": o.scores(10)} for o in _outcomes(*[2] * 20)]
    path.write_text(json.dumps({"questions": rows}))
    changes = {c.name: c for c in compare(load_earlier(path), _outcomes(*[1] * 20), 10)}
    assert changes["first"].is_certain
    assert changes["first"].interval == (1, 1)


def test_a_file_that_is_no_earlier_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]")
    with pytest.raises(ConfigError, match="is not a report"):
        load_earlier(path)
