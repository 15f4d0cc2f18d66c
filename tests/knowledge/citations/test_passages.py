"""Numbers are stable: given once, never reused, and the same after a session is stored."""

import json
from typing import Any

import pytest

from agentkit.documents import Chunk
from agentkit.errors import KnowledgeError
from agentkit.knowledge.citations.passages import Sources


def _chunk(name: str, text: str = "text", start: int = 0) -> Chunk:
    return Chunk(name, "d", "a.md", "t", "t > h", text, start, start + len(text), 3, "page 3")


def test_a_second_search_goes_on_counting() -> None:
    sources = Sources()
    assert [sources.mark(_chunk(name)) for name in "ab"] == ["1", "2"]
    assert [sources.mark(_chunk(name)) for name in "bc"] == ["2", "3"]


def test_stored_and_loaded_they_are_the_same() -> None:
    sources = Sources()
    for name in "abc":
        sources.mark(_chunk(name))
    loaded = Sources.load(json.loads(json.dumps(sources.dump())))
    assert [loaded.find(n) for n in loaded.numbers()] == [_chunk(name) for name in "abc"]
    assert loaded.mark(_chunk("d")) == "4"


def test_windows_of_one_passage_that_meet_become_one() -> None:
    sources = Sources()
    for start, text in ((10, "3456"), (8, "1234"), (11, "4")):
        sources.mark(_chunk("a", text, start))
    assert sources.find("1") == _chunk("a", "123456", 8)


def test_of_two_windows_that_do_not_meet_the_longer_stays() -> None:
    sources = Sources()
    for start, text in ((10, "345"), (90, "far away")):
        sources.mark(_chunk("a", text, start))
    found = sources.find("1")
    assert found is not None
    assert found.text == "far away"


@pytest.mark.parametrize(
    "stored",
    [
        [{"id": "a"}],
        [{**Sources().__dict__}],
        [{"id": "a", "document_id": "d", "source": "s", "title": "", "heading": "",
          "text": "abc", "start": 0, "end": 9}],
    ],
)  # fmt: skip
def test_damaged_passages_are_refused_in_one_line(stored: Any) -> None:
    with pytest.raises(KnowledgeError, match="start a new session"):
        Sources.load(stored)
