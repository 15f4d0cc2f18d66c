"""The labelled sentences about the lecture notes: exact passages, one change each, balanced."""

from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest

from benchmarks.support import NOTES, SENTENCES, rows

KNOWLEDGE = Path(__file__).parents[3] / "knowledge"
HALVES = [rows(split, NOTES) for split in ("dev", "test")]
ALL = [row for half in HALVES for row in half]
PAIRS = list(zip(ALL[::2], ALL[1::2], strict=True))


def test_each_passage_is_an_exact_part_of_its_section() -> None:
    for row in ALL:
        text = (KNOWLEDGE / row["source"]).read_text(encoding="utf-8")
        assert text.count(row["passage"]) >= 1, row["id"]
        above = text[: text.index(row["passage"])]
        assert above.rpartition("\n### ")[2].startswith(f"{row['heading']}\n"), row["id"]


def test_a_false_sentence_is_a_true_one_with_a_single_short_change() -> None:
    for true, false in PAIRS:
        assert (true["supported"], false["supported"]) == (True, False)
        assert true["passage"] == false["passage"]
        changed = _changed(true["sentence"], false["sentence"])
        assert changed, true["id"]
        assert len(changed) <= (50 if false["change"] == "relation" else 24), changed


def test_no_sentence_occurs_twice() -> None:
    older = [row["sentence"] for split in ("dev", "test") for row in rows(split, SENTENCES)]
    sentences = [row["sentence"] for row in ALL] + older
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize("half", HALVES)
def test_each_half_is_balanced(half: list[dict[str, str]]) -> None:
    assert Counter(row["supported"] for row in half) == {True: 100, False: 100}
    changes = Counter(row["change"] for row in half if not row["supported"])
    assert changes.keys() == {"number", "name", "relation", "antonym", "unit"}
    assert all(10 <= count <= 30 for count in changes.values())
    sources = Counter(row["source"] for row in half)
    assert len(sources) == 5
    assert min(sources.values()) >= 30
    assert sum(row["language"] == "en-zh" for row in half) <= 40


def _changed(true: str, false: str) -> str:
    """The part of the true sentence, or of the false one, that the other does not share."""
    start = _shared(true, false)
    end = _shared(true[start:][::-1], false[start:][::-1])
    return max(true[start : len(true) - end], false[start : len(false) - end], key=len)


def _shared(one: str, other: str) -> int:
    """The length of the common beginning."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
