"""What counts is exact, and the ranking metrics are trec_eval's."""

import random
from random import Random

import pytest
import pytrec_eval

from agentkit import Answer
from agentkit.answers import Citation
from agentkit.evaluation.metrics import (
    citation_precision,
    citation_recall,
    fact_recall,
    found_all,
    has_exact_quotes,
    ndcg,
    ranks_of,
    recall,
    reciprocal_rank,
)
from tests.evaluation.made import chunk, hit, question

CUTOFFS = (1, 5, 10)


def _random_run(dice: Random) -> tuple[list[str], list[str]]:
    """A question with one to six places, and a ranking of thirty documents that may lack some."""
    documents = [f"d{number}" for number in range(40)]
    wanted = dice.sample(documents, dice.randint(1, 6))
    return wanted, dice.sample(documents, 30)


def test_recall_reciprocal_rank_and_ndcg_are_those_of_trec_eval() -> None:
    dice = random.Random(4)
    runs = {f"q{number}": _random_run(dice) for number in range(200)}
    judged = {id_: dict.fromkeys(wanted, 1) for id_, (wanted, _) in runs.items()}
    ranked = {
        id_: {name: float(-at) for at, name in enumerate(found)} for id_, (_, found) in runs.items()
    }
    measures = {"recall.1,5,10", "recip_rank", "ndcg_cut.1,5,10"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(ranked)
    for id_, (wanted, found) in runs.items():
        asked = question(*([(name, "")] for name in wanted))
        ranks = ranks_of(asked, enumerate(map(hit, found), start=1))
        ours = {"recip_rank": reciprocal_rank(ranks)}
        ours |= {f"recall_{k}": recall(ranks, k) for k in CUTOFFS}
        ours |= {f"ndcg_cut_{k}": ndcg(ranks, k) for k in CUTOFFS}
        assert ours == pytest.approx(theirs[id_], abs=1e-9)


def test_a_comparison_needs_every_place_and_any_of_its_alternatives() -> None:
    asked = question([("a.md", "A"), ("b.md", "B")], [("c.md", "C")])
    ranks = ranks_of(asked, [(1, hit("b.md", "B")), (4, hit("c.md", "C"))])
    assert ranks == (1, 4)
    assert (found_all(ranks, 3), found_all(ranks, 4), recall(ranks, 3)) == (0, 1, 0.5)


def test_one_passage_that_meets_two_places_is_not_better_than_best() -> None:
    asked = question([("a.md", "A")], [("a.md", "B")])
    assert ndcg(ranks_of(asked, [(1, hit("a.md", "A > B"))]), 10) == 1


def test_facts_count_in_any_spelling_and_case() -> None:
    asked = question(facts=(("16.8", "16.8 GB"), ("Teacher", "教师")))
    assert fact_recall(asked, "16.8 and a teacher") == 1
    assert fact_recall(asked, "16.8") == 0.5


def test_an_answer_has_exact_quotes_only_if_all_are_in_their_passages() -> None:
    passage = chunk(text="quoted text")
    assert has_exact_quotes(Answer("x", (Citation("1", passage, "quoted", True),)))
    assert not has_exact_quotes(Answer("x", (Citation("1", passage, "other", True),)))
    assert not has_exact_quotes(Answer("x"))


def test_a_citation_is_good_when_its_quote_supports_and_its_place_is_expected() -> None:
    asked = question([("a.md", "A")], [("b.md", "B")])
    right, elsewhere = chunk("a.md", "A", "quoted text"), chunk("x.md", "X", "quoted text")
    cited = [
        Citation("1", right, "quoted", True),
        Citation("1", right, None, False),
        Citation("2", elsewhere, "quoted", True),
        Citation("1", right, "other words", True),
    ]
    assert citation_precision(asked, cited) == 0.25
    assert citation_recall(asked, cited) == 0.5
    assert citation_recall(asked, cited[1:]) == 0
