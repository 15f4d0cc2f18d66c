"""Characters that people do not see, and those that drive a terminal."""

import json

import pytest

from agentkit.text.hidden import (
    JOINERS,
    TERMINAL_UNSAFE,
    escape_hidden,
    escape_json,
    is_hidden,
    visible,
)

UNSEEN = (
    "\x00\x08\x0b\x0c\r\x1b\x7f\x85\x90\x9b\x9d\x9f"  # controls of one byte and of C1
    "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u206a"  # directions
    "\u2028\u2029"  # line separators
    "\u00ad\u115f\u1160\u180e\u200b\u2060\u2063\u3164\ufeff\uffa0\ufff9\U0001d173"  # nothing to see
    "\U000e0001\U000e0041\U000e0101"  # tags and variation selectors
)


@pytest.mark.parametrize("character", UNSEEN)
def test_a_character_that_is_obeyed_or_unseen_is_found(character: str) -> None:
    assert TERMINAL_UNSAFE.sub("", f"a{character}b") == "ab"
    assert visible(f"a{character}b", kept="") == f"a<U+{ord(character):04X}>b"
    for escape in (escape_json, escape_hidden):
        escaped = escape(json.dumps(f"a{character}b", ensure_ascii=False))
        assert character not in escaped
        assert json.loads(escaped) == f"a{character}b"


@pytest.mark.parametrize(
    "text", ["ab\n\tc", "中文，标点。", "می‌خواهم", "👨‍👩‍👧 ❤️", "né ổ", "שָׁלוֹם", "ไม้"]
)
def test_text_of_any_script_stays_as_it_is(text: str) -> None:
    assert TERMINAL_UNSAFE.sub("", text) == text
    assert visible(text, f"\n\t{JOINERS}") == text


@pytest.mark.parametrize("mark", ["\u0301", "\u20dd", "\ufe0f", "\u200d", "\u0301\u0334\u0322"])
def test_of_a_flood_of_marks_few_stay(mark: str) -> None:
    assert len(TERMINAL_UNSAFE.sub("", f"a{mark * 500}b")) <= 8


def test_line_feeds_of_a_name_are_escaped_where_they_would_make_another_name() -> None:
    assert visible("a\n  tools/b.py", kept="") == "a<U+000A>  tools/b.py"


def test_no_hidden_character_of_unicode_is_left() -> None:
    every = "".join(map(chr, range(0x110000)))
    assert [hex(ord(each)) for each in visible(every, kept="") if is_hidden(each)] == []
