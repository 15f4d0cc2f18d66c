"""Tokens as text: characters are never split, stop strings never emitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkit.backends.base import Options
from agentkit.backends.huggingface.generator import Generation, GenerationEnd
from agentkit.backends.huggingface.load import LoadedModel, Source
from agentkit.errors import ModelError

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(smollm2_folder)


def pieces_of(tokenizer: Any, text: str, *stops: str) -> tuple[list[str], int]:
    """The pieces of an answer made of the text's tokens, and its length in tokens."""
    loaded = LoadedModel(Source("hf:x", "x"), tokenizer, _Configured(tokenizer.eos_token_id), None)
    emitted: list[str | GenerationEnd | ModelError] = []
    answer = Generation(loaded, [1], 10_000, Options(stop=stops), emitted.append)
    for token in [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]:
        if answer.take(token):
            break
    answer.finish()
    *pieces, outcome = emitted
    assert isinstance(outcome, GenerationEnd)
    assert outcome.reason == "stop"
    return [str(piece) for piece in pieces], outcome.tokens


class _Configured:
    """A model of which only the tokens that end a turn are asked."""

    def __init__(self, end: int) -> None:
        self.generation_config = transformers.GenerationConfig(eos_token_id=end)


@pytest.mark.parametrize(
    "text", ["🌍🚀👩‍👩‍👧‍👦!", "蓝色和龘靐", "naïve – “yes”", "a 한국어 b", "\n\n  x  \n"]
)
def test_no_character_is_split(tokenizer: Any, text: str) -> None:
    pieces, _ = pieces_of(tokenizer, text)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_never_become_a_character_come_at_the_end(tokenizer: Any) -> None:
    [first, *_] = tokenizer.encode("龘", add_special_tokens=False)
    loaded = LoadedModel(Source("hf:x", "x"), tokenizer, _Configured(tokenizer.eos_token_id), None)
    emitted: list[str | GenerationEnd | ModelError] = []
    answer = Generation(loaded, [1], 1, Options(), emitted.append)
    assert answer.take(first)
    answer.finish()
    assert emitted == ["\ufffd", GenerationEnd(1, "length")]


@pytest.mark.parametrize(
    ("stop", "left"),
    [("ND OF", "It is the E"), ("the END", "It is "), (" of", "It is the END OF"), ("it", "")],
)
def test_a_stop_string_over_several_tokens_is_found(tokenizer: Any, stop: str, left: str) -> None:
    text = "It is the END OF of it" if stop != "it" else "it is"
    pieces, tokens = pieces_of(tokenizer, text, "never", stop)
    assert "".join(pieces) == left
    assert tokens < len(tokenizer.encode(text)) + 1


def test_the_beginning_of_a_stop_string_that_does_not_go_on_is_text(tokenizer: Any) -> None:
    pieces, _ = pieces_of(tokenizer, "almost STO", "STOP")
    assert "".join(pieces) == "almost STO"


def test_tokens_that_mark_a_turn_are_left_out(tokenizer: Any) -> None:
    pieces, _ = pieces_of(tokenizer, "one<|im_start|> two")
    assert "".join(pieces) == "one two"
