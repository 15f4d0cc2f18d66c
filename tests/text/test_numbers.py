"""One number in many spellings is one number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.text.numbers import is_stated, quantities


def _states(passage: str, claim: str) -> bool:
    stated = quantities(passage)
    return all(is_stated(quantity, stated) for quantity in quantities(claim))


@pytest.mark.parametrize(
    "spellings",
    [
        ["7B", "70 亿", "7 billion", "7e9", "7,000,000,000", "七十亿", "7 \\times 10^9"],
        ["50 %", "百分之五十", "50%", "一半", "half", "1/2", "50 percent", "二分之一"],
        ["1,024", "1024", "１０２４", "一千零二十四"],
        ["32 层", "三十二层", "thirty-two"],
        ["14 天", "两周", "14 days", "two weeks"],
        ["1.85 kW", "1,850 W", "1850 瓦"],
        ["in the 1980s", "20 世纪 80 年代"],
        ["5 月", "in May"],
        ["0.33 ms", "330 µs"],
        ["14.8T", "14.8 万亿", "14.8 trillion"],
        ["a quarter of an hour", "15 minutes", "15 分钟"],
        [
            "1250000",
            "1,250,000",
            "1 250 000",
            "1\u202f250\u202f000",
            "1\xa0250\xa0000",
            "1.250.000",
            "1'250'000",
            "12,50,000",
            "125 万",
            "1.25 million",
        ],
        ["4.20", "4,20", "4.2"],
        [
            "10⁶",
            "10^6",
            "10<sup>6</sup>",
            "10^{6}",
            "a million",
            "one million",
            "1,000,000",
            "100万",
        ],
        ["10⁻³", "10^-3", "0.001", "1e-3"],
        ["half", "½", "0.5", "1/2"],
        ["1½", "1 1/2", "1.5"],
        ["1亿2000万", "1.2 亿", "120 million"],
        ["€4.20", "4.20 EUR", "4,20 euros", "EUR 4.2"],
        ["a dozen", "12", "twelve"],
        ["24:00", "24 点"],
        ["14.03.2025", "14 March 2025", "2025-03-14", "2025 年 3 月 14 日"],
        ["2 years", "24 months", "24 个月"],
        ["20 m²", "20 平方米", "20 square metres"],
    ],
)
def test_the_spellings_of_a_number_agree(spellings: list[str]) -> None:
    for one in spellings:
        assert quantities(one), one
        for other in spellings:
            assert _states(one, other), (one, other)


@pytest.mark.parametrize(
    ("passage", "claim"),
    [
        ("7B", "8B"),
        ("70 亿", "7 亿"),
        ("4.2 GB", "5.2 GB"),
        ("4.2 GB", "4.2 MB"),
        ("1956 年", "1966 年"),
        ("3 小时", "3 天"),
        ("-128 到 127", "128"),
        ("百分之十五", "百分之二十五"),
        ("21:48", "22:48"),
        ("10⁶ cells", "106 cells"),
        ("106", "10⁶"),
        ("10 ⁻³", "103"),
        ("4.20 EUR", "4.20 USD"),
        ("4,20", "420"),
        ("5 km", "5 miles"),
        ("3 years", "3 months"),
        ("20 m²", "20 m"),
        ("1.2.3", "1.2"),
        ("the third", "the fourth"),
    ],
)
def test_other_numbers_and_other_units_do_not(passage: str, claim: str) -> None:
    assert not _states(passage, claim)


@pytest.mark.parametrize(
    "text", ["GPT-3", "INT8", "DeepSeek-V3", "3H", "BF16", "一般来说", "十分重要", "one of them"]
)
def test_a_digit_in_a_name_and_an_idiom_are_no_quantities(text: str) -> None:
    assert quantities(text) == []


def test_a_number_is_rounded_only_where_the_claim_says_about() -> None:
    assert _states("16.8 GB", "约 17 GB")
    assert _states("6.9 GB", "about 7 GB")
    assert not _states("6.9 GB", "7 GB")
    assert not _states("16.8 GB", "约 18 GB")


def test_the_first_of_a_range_has_the_unit_of_the_last() -> None:
    assert _states("3.7 到 4.5 GB", "3.7 GB")
    assert not _states("3.7 到 4.5 GB", "3.7 天")


def test_a_dot_before_three_digits_is_read_as_the_text_writes_numbers() -> None:
    assert _states("1.250 kg", "1.25 kg")
    assert _states("Der Preis ist 4,20 Euro, das Gewicht 1.250 kg", "1250 kg")


def test_numbers_that_only_stand_beside_each_other_are_also_read_apart() -> None:
    assert _states("3 200-gram bags", "200 gram")
    assert _states("layers 4,20 and 30", "layer 20")


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    assert all(quantity.text for quantity in quantities(text))


def test_the_numbers_of_a_long_text_are_all_read() -> None:
    text = "\n".join(f"line {number}" for number in range(20_000))
    assert len(quantities(text)) == 20_000
