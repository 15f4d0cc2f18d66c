"""Numbers are stable: given once, and never reused."""

from agentkit.documents import Chunk
from agentkit.knowledge.citations.passages import Sources


def _chunk(name: str, text: str = "text", start: int = 0) -> Chunk:
    return Chunk(name, "d", "a.md", "t", "t > h", text, start, start + len(text), 3, "page 3")


def test_a_second_search_goes_on_counting() -> None:
    sources = Sources()
    assert [sources.mark(_chunk(name)) for name in "ab"] == ["1", "2"]
    assert [sources.mark(_chunk(name)) for name in "bc"] == ["2", "3"]


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
