"""Questions written by a model: what stands the checks is kept, the rest is counted."""

import json
from typing import Any

import pytest

from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError, ModelError
from agentkit.evaluation.generate import GeneratedQuestions, generate, sample_passages
from tests.evaluation.made import chunk

TEXT = "The harbour of Port Elin was dug in 1843 by Mara Voss, and holds forty ships at low tide."
PASSAGE = chunk("port.md", "Ports > Port Elin", TEXT)
GOOD = {"question": "Who built the haven there?", "facts": ["Mara Voss"], "language": "en"}


def _reply(**more: Any) -> str:
    return json.dumps({**GOOD, **more}, ensure_ascii=False)


async def _generate(
    *turns: str | ModelError, count: int = 1, passages: None = None
) -> GeneratedQuestions:
    return await generate(ScriptedModel(turns), passages or [PASSAGE] * len(turns), count)


async def test_a_good_question_is_kept_with_its_place_and_facts() -> None:
    made = await _generate(f"<think>hm {{</think>Sure!\n```json\n{_reply()}\n```")
    (found,) = made.questions
    assert found.generated
    assert found.facts == (("Mara Voss",),)
    assert found.language == "en"
    assert found.expected[0][0].contains(PASSAGE)
    assert made.dropped == {}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Certainly! What a fine harbour.", "invalid JSON"),
        ('{"question": ["x"]}', "invalid JSON"),
        ("[" * 5000, "invalid JSON"),
        (_reply(question="Who?"), "too short"),
        (_reply(question="x" * 400), "too long"),
        (_reply(question="Who dug it, according to the passage?"), "this passage"),
        (_reply(question="这段文字里说的港口是谁挖的？"), "this passage"),
        (_reply(question="埃林港是谁主持开挖的？"), "not in the language"),
        (_reply(question="the harbour of Port Elin was dug in 1843?"), "copied"),
        (_reply(facts=["Mara Foss", "1844"]), "no key fact"),
        (_reply(question="What did Mara Voss do for the haven?"), "no key fact"),
        (_reply(facts=[]), "no key fact"),
        ("", "invalid JSON"),
    ],
)
async def test_rubbish_is_dropped_and_counted_by_its_reason(reply: str, reason: str) -> None:
    made = await _generate(reply)
    assert made.questions == ()
    (counted,) = made.dropped
    assert reason in counted


async def test_a_similar_question_is_dropped_and_another_passage_is_tried() -> None:
    other = _reply(question="When did they excavate it?", facts=["1843", "absent"])
    made = await _generate(
        _reply(), _reply(question="Who built the haven there then?"), other, count=2
    )
    assert [q.facts for q in made.questions] == [(("Mara Voss",),), (("1843",),)]
    assert made.dropped == {"similar to another question": 1}
    assert made.tried == 3


async def test_no_more_passages_are_shown_than_three_for_each_question() -> None:
    model = ScriptedModel(lambda messages: "no")
    made = await generate(model, [PASSAGE] * 50, 2)
    assert made.tried == len(model.requests) == 6


async def test_a_model_that_fails_at_once_is_an_error_and_later_a_dropped_passage() -> None:
    with pytest.raises(ModelError, match="down"):
        await _generate(ModelError("down"))
    made = await _generate(_reply(), *[ModelError("down")] * 5, count=5)
    assert len(made.questions) == 1
    assert made.dropped == {"the model failed": 3}


async def test_an_extractive_model_is_refused_with_the_next_step() -> None:
    with pytest.raises(ConfigError, match=r"cannot write questions.*--model"):
        await generate(ExtractiveModel(), [PASSAGE], 1)


def test_passages_are_taken_evenly_from_the_documents_and_the_same_for_a_seed() -> None:
    documents = [[chunk(f"{d}.md", text=f"{d}{n} " * 40) for n in range(d + 2)] for d in range(3)]
    documents.append([chunk("short.md", text="short")])
    taken = sample_passages(documents, seed=1)
    assert {c.source for c in taken[:3]} == {"0.md", "1.md", "2.md"}
    assert len(taken) == 9
    assert taken == sample_passages(documents, seed=1) != sample_passages(documents, seed=2)
