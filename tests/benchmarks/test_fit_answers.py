"""The weights of answer units are fitted towards the units that answer."""

import json
from pathlib import Path

import numpy as np

from agentkit.answering.question import Question
from agentkit.answering.scoring import WEIGHTS, Scored, Scorer
from agentkit.answering.units import split_units
from agentkit.documents import Chunk, Passage
from benchmarks.fit_answers import Example, fit_ranking, read_squad


def test_a_feature_that_answering_units_have_gets_the_highest_weight() -> None:
    chunk = Chunk("1", "1", "a.md", "", "", "It takes ten minutes. The sky is blue.", 0, 38)
    passages = [Passage("1", chunk)]
    scorer = Scorer(Question("how long does it take?"), passages, {})
    unit = split_units(passages[0])[0]
    right, wrong = (Scored(unit, {"kind": kind, "first": 1.0}, 0.0) for kind in (1.0, 0.0))
    data = [Example("set", True, scorer, [wrong, right], np.array([0.0, 1.0]), 1.0)] * 2
    weights = fit_ranking(data)
    assert list(WEIGHTS)[int(weights.argmax())] == "kind"
    assert data[0].order(weights)[0] == 1


def test_a_question_of_a_squad_file_is_answered_by_any_spelling(tmp_path: Path) -> None:
    answers = [{"text": "10 min"}, {"text": "ten minutes"}]
    paragraph = {
        "context": "It takes 10 min.",
        "qas": [{"question": "How long?", "answers": answers}],
    }
    file = tmp_path / "set.json"
    file.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    asked, documents = read_squad(file, sample=5)
    assert [document.text for document in documents] == ["It takes 10 min."]
    assert asked.questions[0].is_answered_by("in ten minutes")
    assert not asked.questions[0].is_answered_by("soon")
