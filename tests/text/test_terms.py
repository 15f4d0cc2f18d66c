"""Sentences, terms and folding, for Chinese and Latin text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.text.terms import clean, fold, is_cjk, numbers, sentences, terms


def _sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def test_chinese_and_latin_sentences_end_at_their_own_marks() -> None:
    text = "第一句。第二句！“第三句？”Fourth one. Version 3.5 is out; fine"
    assert _sentences(text) == [
        "第一句。", "第二句！", "“第三句？”", "Fourth one.", "Version 3.5 is out;", "fine",
    ]  # fmt: skip


def test_a_short_form_ends_no_sentence() -> None:
    text = "Call Mr. de Vries, e.g. at noon, or Dr. Ada. See Fig. 3. No. Done."
    assert _sentences(text) == [
        "Call Mr. de Vries, e.g. at noon, or Dr. Ada.", "See Fig. 3.", "No.", "Done.",
    ]  # fmt: skip


def test_prose_that_was_wrapped_at_a_margin_is_whole_again() -> None:
    first = "We decided to keep the index in SQLite and to\nrebuild Chroma from it."
    second = "Then all of us went out\nto eat."
    assert _sentences(f"{first} {second}") == [first, second]


@pytest.mark.parametrize(
    "text",
    [
        "Roses are red\nViolets are blue",
        "# A heading that has more than forty characters in it\nand text",
        "- a list of which each item is longer than forty characters\n- another item",
        "| a row that is longer than forty characters | b |\n| c | d |",
        "Here is what we found, in more than forty characters:\nnothing",
        "A line that ends on purpose, by two blanks, and is long  \nnext",
        "A heading that is underlined, longer than forty chars\n=====",
    ],
)
def test_a_line_that_nobody_wrapped_ends_a_sentence(text: str) -> None:
    assert _sentences(text)[0] == text.split("\n")[0].rstrip()


def test_a_formula_and_a_code_block_are_one_sentence_each() -> None:
    text = "前。\n$$\na = 1。\nb\n$$\n```\nx = 1\n\ny\n```\n后"
    assert _sentences(text) == ["前。", "$$\na = 1。\nb\n$$", "```\nx = 1\n\ny\n```", "后"]


def test_chinese_gives_bigrams_and_english_gives_stems() -> None:
    assert terms("注意力机制 trained models") == ["注意", "意力", "力机", "机制", "train", "model"]


def test_a_lone_character_and_a_decimal_number_are_terms() -> None:
    assert terms("熵 = 16.8") == ["熵", "16.8"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("v1.2.3", "1.2.3"),
        ("1.2.3-beta", "1.2.3"),
        ("1,250,000", "1250000"),
        ("1.250.000", "1250000"),
        ("1 250 000", "1250000"),
        ("Zürich", "Zurich"),
        ("AB-123", "AB123"),
        ("0x80070005", "80070005"),
        ("before_call", "beforecall"),
        ("server.fs.allow", "ServerFsAllow"),
        ("C＋＋", "C++"),
        ("soft\u00adware", "software"),
        ("הַשָּׁלוֹם", "השלום"),
    ],
)
def test_two_spellings_of_the_same_share_a_term(one: str, other: str) -> None:
    assert set(terms(one)) & set(terms(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("C++", "C"), ("C#", "C++"), ("1.2.3", "123"), ("1.2.3", "1.2.4"), ("12", "1.2")],
)
def test_what_is_something_else_shares_no_term(one: str, other: str) -> None:
    assert not set(terms(one)) & set(terms(other))


@pytest.mark.parametrize("word", ["हिन्दी", "หน้าที่", "الشَّرِكَة", "ဗမာစာ"])
def test_a_word_is_not_cut_at_its_marks(word: str) -> None:
    assert terms(word)[:1] == [fold(word)]


@pytest.mark.parametrize(
    ("one", "other"),
    [("機器學習", "机器学习"), ("ＧＰＴ－３", "gpt-3"), ("Attention", "attention"), ("７Ｂ", "7b")],
)
def test_scripts_widths_and_cases_fold_into_one(one: str, other: Any) -> None:
    assert fold(one) == fold(other)


def test_numbers_lose_their_thousands_separators() -> None:
    assert numbers("55,510 参数，占 16.8 GB") == {"55510", "16.8"}


def test_a_chinese_question_with_english_names_is_chinese() -> None:
    assert is_cjk("DeepSeek-V3 的预训练数据量是多少？")
    assert not is_cjk("What does 注意力 mean in English text like this?")


@given(st.text(st.characters(), max_size=300))
def test_sentences_lie_in_order_and_leave_out_only_white_space(text: str) -> None:
    reached = 0
    for start, end in sentences(text):
        assert not text[reached:start].strip()
        assert text[start:end] == text[start:end].strip() != ""
        reached = end
    assert not text[reached:].strip()


@given(st.text(st.characters(codec=None), max_size=100))
def test_clean_text_keeps_its_length_and_can_be_stored(text: str) -> None:
    assert len(clean(text)) == len(text)
    clean(text).encode("utf-8")
