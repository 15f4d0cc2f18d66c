"""Chunking takes time in proportion to the text, whatever it is made of."""

import gc
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from agentkit.documents import Document, Format
from agentkit.knowledge.chunking.splitter import split
from agentkit.knowledge.loaders.files import parse

TEXTS: dict[str, Callable[[int], str]] = {
    "one word.txt": lambda n: "a" * n,
    "words.txt": lambda n: "word " * (n // 5),
    "lines.txt": lambda n: "a line without an end\n" * (n // 22),
    "quotes.txt": lambda n: (">" * 1000 + " hi\n") * (n // 1004),
    "long lines.txt": lambda n: ("word " * 100 + "\n") * (n // 501),
    "no spaces.txt": lambda n: "汉字没有结尾" * (n // 6),
    "prose.md": lambda n: "A sentence of prose. Another one follows.\n\n" * (n // 43),
    "headings.md": lambda n: "".join(f"# h{i}\n\n" for i in range(n // 9)),
    "quotes.md": lambda n: (">" * 1000 + " hi\n") * (n // 1004),
    "lists.md": lambda n: "\n".join("  " * i + "- item" for i in range(int(n**0.5))),
    "brackets.md": lambda n: "[" * n,
    "links.md": lambda n: "[a](b " * (n // 6),
    "fences.md": lambda n: "```\nx\n~~~\n$$\n" * (n // 13),
    "ticks.md": lambda n: ("`" * 500 + " ") * (n // 501),
    "tags.md": lambda n: "<a " * (n // 3),
    "front matter of brackets.md": lambda n: f"---\na: {'[' * n}\n---\n\ntext",
    "front matter of keys.md": lambda n: f"---\n{'k: v' * 1}\n" + "k: v\n" * (n // 5) + "---\ntext",
    "code.py": lambda n: "".join(f"def f{i}(a):\n    return a\n\n" for i in range(n // 30)),
    "encoded.txt": lambda n: "0123456789abcdef" * (n // 16),
}
SIZE = 100_000
NUMBERS = count()
"""Of texts: what was parsed before is cached, also for a test that runs again."""


def _seconds(name: str, size: int) -> float:
    """CPU seconds of this thread."""
    content = f"{TEXTS[name](size)}\n\n{next(NUMBERS)}".encode()
    began = time.thread_time()
    document = parse(content, name).document
    split(document, lambda text: len(text) // 4, 320)
    return time.thread_time() - began


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """A collection takes time by what the tests before have left, not by the text."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("name", TEXTS)
def test_sixteen_times_the_text_takes_nowhere_near_256_times_the_time(name: str) -> None:
    parse(TEXTS[name](100).encode(), name)
    small = min(_seconds(name, SIZE) for _ in range(3))
    assert _seconds(name, 16 * SIZE) < 64 * small + 0.1


@pytest.mark.parametrize("format_", ["text", "markdown"])
@pytest.mark.parametrize(
    "run", ["QUJD" * 100_000, "`" * 400_000, "的" * 400_000, "=" * 9000 + "QUJD" * 9000]
)
def test_encoded_data_without_an_end_is_one_short_passage(format_: Format, run: str) -> None:
    text = f"Before it.\n\n{run}\n\nAfter it."
    chunks = split(Document("a", text, format=format_), lambda part: len(part) // 4, 320)
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert sum(len(chunk.text) for chunk in chunks) < 1000
    assert chunks[0].text.startswith("Before it.")
    assert "After it." in chunks[-1].text
