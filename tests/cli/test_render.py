"""How runs and answers are printed: calls on one line, citations below an answer."""

import io

import pytest
from rich.cells import cell_len

from agentkit.answers import Answer, Citation
from agentkit.cli.console import plain_console
from agentkit.cli.render import format_call, print_citations
from agentkit.documents import Chunk
from agentkit.messages import ToolCall
from tests.cli.screens import console, render_console, written_to

TEXT = "Cats purr at 25 hertz. They eat fish."
CHUNK = Chunk("1", "d", "pets/cats.md", "Cats", "Cats > Sounds", TEXT, 100, 100 + len(TEXT), 3)


def _citation(quote: str, chunk: Chunk = CHUNK) -> Citation:
    return Citation("1", chunk, quote, True)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            {"query": "How much memory?\nand at 4 bits?"},
            'f(query="How much memory? and at 4 bits?")',
        ),
        ({"lines": ["a\nb", {"c": "d\n\te"}]}, 'f(lines=["a b", {"c": "d e"}])'),
        ({"path": "C:\\new"}, 'f(path="C:\\\\new")'),
    ],
)
def test_a_call_has_no_line_breaks(arguments: dict[str, object], line: str) -> None:
    assert format_call(ToolCall("1", "f", arguments)) == line


def test_a_quote_that_the_answer_repeats_is_a_place_and_a_range_only() -> None:
    out = plain_console(io.StringIO())
    answer = Answer("**Cats** purr at\n25 hertz. [1]", (_citation("Cats purr at 25 hertz."),))
    print_citations(answer, out)
    assert written_to(out) == "[1] pets/cats.md > page 3 > Sounds (characters 100-122)\n"


@pytest.mark.parametrize(
    ("quotes", "ranges"),
    [
        (["One two.", "Three four."], "0-20"),
        (["One two.", "Seven."], "0-8, 33-39"),
        (["One two.", "Five six.", "Nine."], "0-54"),
    ],
)
def test_ranges_that_meet_and_many_ranges_are_printed_as_one(
    quotes: list[str], ranges: str
) -> None:
    text = "One two. Three four. Five six... Seven. Eight... Nine."
    chunk = Chunk("1", "d", "a.md", "A", "A", text, 0, len(text))
    out = plain_console(io.StringIO())
    print_citations(Answer(text, tuple(_citation(quote, chunk) for quote in quotes)), out)
    assert written_to(out) == f"[1] a.md (characters {ranges})\n"


def test_a_quote_that_the_answer_puts_in_other_words_is_printed() -> None:
    out = plain_console(io.StringIO())
    print_citations(Answer("At 25 Hz [1].", (_citation("Cats purr at 25 hertz."),)), out)
    assert written_to(out) == (
        "[1] pets/cats.md > page 3 > Sounds\n    characters 100-122: “Cats purr at 25 hertz.”\n"
    )


def test_a_long_place_is_cut_before_its_range_in_a_terminal_only() -> None:
    chunk = Chunk("1", "d", "a.md", "A", f"A > {'很长的标题' * 20}", TEXT, 0, len(TEXT))
    answer = Answer(TEXT, (_citation("They eat fish.", chunk),))
    pipe = plain_console(io.StringIO())
    print_citations(answer, pipe)
    assert written_to(pipe) == f"[1] {chunk.place} (characters 23-37)\n"
    out = console(80, "plain")
    print_citations(answer, out)
    line = render_console(out, "plain")
    assert line.endswith("… (characters 23-37)")
    assert cell_len(line) <= 80
