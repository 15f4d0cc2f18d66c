"""JSON as language models write it: what has one reading is read, and nothing is invented."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.lenient_json import InvalidJson, find_values, parse_value
from agentkit.tools.repair import repair_arguments

READ: dict[str, tuple[str, Any]] = {
    "a trailing comma": ('{"a": 1,}', {"a": 1}),
    "a trailing comma in a list": ('{"a": [1, 2,],}', {"a": [1, 2]}),
    "single quotes": ("{'a': 'b', 'c': ['d']}", {"a": "b", "c": ["d"]}),
    "an apostrophe in single quotes": ("{'a': 'it's fine', 'b': 1}", {"a": "it's fine", "b": 1}),
    "an apostrophe in double quotes": ('{"a": "it\'s", "b": \'c\'}', {"a": "it's", "b": "c"}),
    "a raw line break": ('{"a": "x\ny"}', {"a": "x\ny"}),
    "a raw tab": ('{"a": "x\ty",}', {"a": "x\ty"}),
    "quotes without escapes": ('{"a": "she wrote "hi" to me", "b": 2}',
                               {"a": 'she wrote "hi" to me', "b": 2}),
    "quotes without escapes at the end": ('{"a": "she wrote "hi""}', {"a": 'she wrote "hi"'}),
    "quotes before a comma of the text": ('{"a": "use "x", then y", "b": 2}',
                                          {"a": 'use "x", then y', "b": 2}),
    "inches": ('{"h": "5\'10"", "b": 1}', {"h": "5'10\"", "b": 1}),
    "a line comment": ('{"a": 1, // one\n "b": 2}', {"a": 1, "b": 2}),
    "a hash comment": ('{"a": 1, # one\n "b": 2}', {"a": 1, "b": 2}),
    "a block comment": ('{"a": /* one */ 1}', {"a": 1}),
    "comments after literals": ('{"a": null // none\n, "b": True # yes\n, "c": 1/* one */}',
                                {"a": None, "b": True, "c": 1}),
    "a comment after words": ("{a: New York // city\n}", {"a": "New York"}),
    "an address is no comment": ('{"a": "http://x.y/z", b: 2}', {"a": "http://x.y/z", "b": 2}),
    "Python's literals": ("{'a': None, 'b': True, 'c': False}", {"a": None, "b": True, "c": False}),
    "undefined": ('{"a": undefined}', {"a": None}),
    "keys without quotes": ('{a: 1, b_c: "x", d-e: 2}', {"a": 1, "b_c": "x", "d-e": 2}),
    "words without quotes": ("{city: New York, days: 3}", {"city": "New York", "days": 3}),
    "a date without quotes": ('{"day": 2025-01-02}', {"day": "2025-01-02"}),
    "curly quotes": ("{“a”: “b”}", {"a": "b"}),
    "curly quotes within": ('{"a": "“b”",}', {"a": "“b”"}),
    "three quotes": ('{"code": """x = "a"\ny"""}', {"code": 'x = "a"\ny'}),
    "a tuple": ("{'a': (1, 2)}", {"a": [1, 2]}),
    "numbers of Python": ('{"a": .5, "b": +1, "c": 1_000, "d": -2e3}',
                          {"a": 0.5, "b": 1, "c": 1000, "d": -2000.0}),
    "a missing bracket": ('{"a": {"b": 1}', {"a": {"b": 1}}),
    "missing brackets after a comma": ('{"a": ["x", ', {"a": ["x"]}),
    "a missing comma": ('{"a": "x"\n "b": 2}', {"a": "x", "b": 2}),
    "a path": (r'{"a": "C:\dir\x"}', {"a": r"C:\dir\x"}),
    "LaTeX": (r'{"a": "\frac{1}{2} \alpha"}', {"a": r"\frac{1}{2} \alpha"}),
    "a regular expression": (r'{"a": "\d+\.\d*", }', {"a": r"\d+\.\d*"}),
    "an escaped apostrophe": (r'{"a": "it\'s"}', {"a": "it's"}),
    "escaped as a whole": (r'{\"a\": \"b\"}', {"a": "b"}),
    "spaces that JSON does not know": ('\u00a0{\u00a0"a":\u00a01}', {"a": 1}),
    "an end tag in a text": ('{"a": "</tool_call>", }', {"a": "</tool_call>"}),
}  # fmt: skip


@pytest.mark.parametrize(("written", "value"), READ.values(), ids=READ)
def test_a_slip_with_one_reading_is_read(written: str, value: Any) -> None:
    assert parse_value(written)[0] == value


REFUSED = {
    "a text that is cut": '{"a": "fi',
    "a value that is missing": '{"a": , "b": 2}',
    "a value after the end": '{"a": 1, "b":',
    "a key that is cut": '{"a": 1, "b',
    "a word that is cut": '{"a": tru',
    "an elision": '{"a": [1, 2, ...]}',
    "an expression": '{"a": "x" + "y"}',
    "a fraction": '{"a": 1/2}',
    "a percentage": '{"a": 50%}',
    "a number with separators": '{"a": [1,000]}',
    "a leading zero": '{"a": 01}',
    "two commas": '{"a": 1,, "b": 2}',
    "a missing quote": '{"a": "x, "b": 1}',
    "a set": '{"a", "b"}',
    "nesting without end": '{"a":' * 5_000,
}


@pytest.mark.parametrize("written", REFUSED.values(), ids=REFUSED)
def test_what_has_no_one_reading_is_refused(written: str) -> None:
    with pytest.raises(InvalidJson):
        parse_value(written)


@pytest.mark.parametrize("written", ['{"a": {"b": 1}', '{"a": ["x"', '{"a": 12', "{'a': 'b',"])
def test_nothing_is_added_to_a_text_that_was_cut_off(written: str) -> None:
    assert isinstance(parse_value(written)[0], dict)
    with pytest.raises(InvalidJson) as raised:
        parse_value(written, is_cut=True)
    assert raised.value.is_cut


def test_not_a_number_is_one() -> None:
    assert math.isnan(parse_value('{"a": NaN,}')[0]["a"])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('For {the question} it is {"a": 1} as in {basket}.', [{"a": 1}]),
        ('First {"a": 3}, then {"a": "b"}.', [{"a": 3}, {"a": "b"}]),
        ('{{"a": 1}}', [{"a": 1}]),
        ("f(x) = {x : x > 0} and \\frac{1}{2}", []),
        ('```json\n{"a": 1}\n```', [{"a": 1}]),
        ('[1] and {"a": [2]}', [[1], {"a": [2]}]),
        ("{" * 500, []),
    ],
)
def test_values_are_found_among_words(text: str, values: list[Any]) -> None:
    assert [value for value, _, _ in find_values(text)] == values


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12,
).filter(lambda value: isinstance(value, (dict, list))))  # fmt: skip
def test_valid_json_is_read_as_it_is(value: Any) -> None:
    written = json.dumps(value)
    assert parse_value(written) == (value, len(written))


@given(st.text(alphabet="{}[]\"':,\\ \n/*#ab1.-“”()", max_size=40))
def test_noise_is_read_or_refused(noise: str) -> None:
    for value, start, end in find_values(noise):
        assert 0 <= start < end <= len(noise)
        assert isinstance(value, (dict, list))


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ("{}{'a': 1}", {"a": 1}),
        ('{"a": 1}{"a": 1}', {"a": 1}),
        ('{"a": 1}{"a": 2}', None),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": 1}}', {"a": 1}),
        ('{"a": 1}</function>', {"a": 1}),
        ("none of it", None),
    ],
)
def test_arguments_are_the_one_object_of_a_text(written: str, arguments: Any) -> None:
    assert repair_arguments(written) == arguments
