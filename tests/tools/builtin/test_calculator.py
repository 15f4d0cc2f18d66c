"""The calculator: exact, with units, in two languages, and never long at work."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import ToolError
from agentkit.tools.builtin.calculator import calculator
from tests.conftest import text_of


async def value(expression: str) -> str:
    """What stands behind the expression in the answer, its sign included."""
    answer = text_of((await calculator.run({"expression": expression})).content)
    return answer[max(answer.rfind("= "), answer.rfind("≈ ")) :]


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("1 + 2 * 3", "= 7"),
        ("0.1 + 0.2", "= 0.3"),
        ("-2^2", "= -4"),
        ("2 ** 3 ** 2", "= 512"),
        ("2^-1", "= 0.5"),
        ("10 % 3", "= 1"),
        ("-7 // 2", "= -4"),
        ("5!", "= 120"),
        ("1/3", "≈ 0.333333333333"),
        ("sqrt(2)", "≈ 1.41421356237"),
        ("sqrt(9/4)", "= 1.5"),
        ("round(2.675, 2)", "= 2.68"),
        ("max(1,200)", "= 200"),
        ("1,000,000 + 1", "= 1000001"),
        ("mean(1, 2, 6)", "= 3"),
        ("6 × 175 × 10^9 × 300 × 10^9", "= 315000000000000000000000"),
        ("7 billion / 1e9", "= 7"),
        ("(1 + 2) * 3 = ?", "= 9"),
    ],
)
async def test_sums_are_exact_where_a_fraction_can_be(expression: str, answer: str) -> None:
    assert await value(expression) == answer


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("15% of 80", "= 12"),
        ("200 * (1 + 10%)", "= 220"),
        ("50% * 50%", "= 0.25"),
        ("0.25 to percent", "= 25 %"),
    ],
)
async def test_percent_is_a_hundredth(expression: str, answer: str) -> None:
    assert await value(expression) == answer


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("7e9 * 2 bytes in GB", "= 14 GB"),
        ("7 billion * 4 bits in GB", "= 3.5 GB"),
        ("3 km / 12 min to km/h", "= 15 km/h"),
        ("5 in to cm", "= 12.7 cm"),
        ("5 in in cm", "= 12.7 cm"),
        ("25 degC to degF", "= 77 °F"),
        ("80 GB / 500 MB", "= 160"),
        ("2 m * 3 cm", "= 600 cm^2"),
        ("5 km + 300 m", "= 5.3 km"),
        ("sqrt(16 m^2)", "= 4 m"),
        ("sin(30 degrees)", "≈ 0.5"),
        ("10 GB/s * 3 s", "= 30 GB"),
        ("8192 tokens * 57344 bytes/token in MB", "= 469.762048 MB"),
        ("2 min", "= 2 min"),
        ("1 kg m / s^2", "= 1 kg*m/s^2"),
        ("round(3.7 m)", "= 4 m"),
    ],
)
async def test_units_are_carried_and_converted(expression: str, answer: str) -> None:
    assert await value(expression) == answer


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("７×（１＋２）÷３，", "= 7"),
        ("７０亿 * 2 字节 换算成 GB", "= 14 GB"),
        ("3公里 + 200米", "= 3.2 km"),
        ("15%的80", "= 12"),
        ("max（1，2）", "= 2"),
        ("25℃ 转换为 °F", "= 77 °F"),
        ("√2", "≈ 1.41421356237"),
        ("5 m²", "= 5 m^2"),
    ],
)
async def test_chinese_punctuation_and_words_are_understood(expression: str, answer: str) -> None:
    assert await value(expression) == answer


@pytest.mark.parametrize(
    ("expression", "advice"),
    [
        ("9**9**9", "too large"),
        ("9^9^9^9^9", "too large"),
        ("1e999999999", "too long or too large"),
        ("1" * 100, "too long or too large"),
        ("((2^1000)^1000)", "too large"),
        ("9!!!!", "0 to 170"),
        ("(" * 60 + "1" + ")" * 60, "nested deeper"),
        ("-" * 300 + "1", "nested deeper"),
        ("2^(1e6) m", "too large"),
        ("m^1000", "up to 12"),
        ("round(1, 1e9)", "at most 30 places"),
    ],
)
async def test_what_would_take_forever_is_refused(expression: str, advice: str) -> None:
    with pytest.raises(ToolError, match=advice):
        await calculator.run({"expression": expression})


@pytest.mark.parametrize(
    ("expression", "advice"),
    [
        ("1/0", "divides by zero"),
        ("0^-1", "divides by zero"),
        ("2 +", "ends too early"),
        ("(1 + 2", r"'\)' is missing"),
        ("3 3", "Put an operator before it"),
        ("2 apples", "unknown unit or function 'apples'"),
        ("5 bytes + 3", "different things"),
        ("3 km to kg", "different things"),
        ("3 km to 5", "a unit must follow"),
        ("3 degC + 4 degC", "kelvin"),
        ("log(3)", "ln, log2 or log10"),
        ("sqrt(-1)", "no real square root"),
        ("(-8)^(1/3)", "no such real power"),
        ("asin(2)", "no value there"),
        ("sin(1, 2)", "takes 1 arguments"),
        ("7 m > 3", "not understood"),
        ("__import__('os').system('id')", "not understood"),
        ("open.read", "not understood"),
    ],
)
async def test_errors_say_what_to_write_instead(expression: str, advice: str) -> None:
    with pytest.raises(ToolError, match=advice):
        await calculator.run({"expression": expression})


async def test_the_answer_repeats_the_sum_as_it_was_understood() -> None:
    assert (await calculator.run({"expression": "２×３"})).content == "2*3 = 6"


PIECES = (
    *("1", "2.5", "7e9", "1e300", "1,000", "(", ")", ",", "=", "亿", "sqrt", "round", "max"),
    *("+", "-", "*", "/", "//", "%", "^", "!", "to", "in", "of", "mod", "km", "s", "GB", "degC"),
)


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map(" ".join))
@settings(max_examples=150, derandomize=True, deadline=None)
async def test_whatever_is_written_gives_one_line_of_sense(expression: Any) -> None:
    try:
        output = (await calculator.run({"expression": expression})).content
    except ToolError as error:
        output = str(error)
    assert "\n" not in output
    assert "calculator failed" not in output
