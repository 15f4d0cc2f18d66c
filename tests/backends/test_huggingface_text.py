"""Tokens as text: characters are never split, stop strings never told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkit.backends.huggingface_text import TokenText, silent_tokens

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(smollm2_folder)


def told(tokenizer: Any, text: str, *stops: str) -> tuple[list[str], bool]:
    """The pieces of a text fed token by token, and whether a stop string was found."""
    reader = TokenText(tokenizer, stops, silent_tokens(tokenizer, [tokenizer.eos_token_id]))
    pieces = []
    for token in tokenizer.encode(text, add_special_tokens=False):
        pieces.append(reader.feed(token))
        if reader.stopped:
            break
    pieces.append(reader.end())
    return pieces, reader.stopped


@pytest.mark.parametrize(
    "text", ["🌍🚀👩‍👩‍👧‍👦!", "蓝色和龘靐", "naïve – “yes”", "a 한국어 b", "\n\n  x  \n"]
)
def test_no_character_is_split(tokenizer: Any, text: str) -> None:
    pieces, _ = told(tokenizer, text)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_never_become_a_character_are_told_at_the_end(tokenizer: Any) -> None:
    [first, *_] = tokenizer.encode("龘", add_special_tokens=False)
    reader = TokenText(tokenizer, (), ())
    assert reader.feed(first) == ""
    assert reader.end() == "\ufffd"


@pytest.mark.parametrize(
    ("stop", "left"),
    [("ND OF", "It is the E"), ("the END", "It is "), (" of", "It is the END OF"), ("it", "")],
)
def test_a_stop_string_over_several_tokens_is_found(tokenizer: Any, stop: str, left: str) -> None:
    text = "It is the END OF of it" if stop != "it" else "it is"
    pieces, stopped = told(tokenizer, text, "never", stop)
    assert ("".join(pieces), stopped) == (left, True)


def test_the_beginning_of_a_stop_string_is_told_where_it_does_not_go_on(tokenizer: Any) -> None:
    pieces, stopped = told(tokenizer, "almost STO", "STOP")
    assert ("".join(pieces), stopped) == ("almost STO", False)


def test_tokens_that_mark_a_turn_are_silent(tokenizer: Any) -> None:
    pieces, _ = told(tokenizer, "one<|im_start|> two<|im_end|>")
    assert "".join(pieces) == "one two"
