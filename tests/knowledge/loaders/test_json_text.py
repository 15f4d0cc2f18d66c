"""JSON and JSON Lines: the text as it stands, each record in its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.knowledge.loaders.json_text import load_json, load_json_lines
from tests.knowledge.loaders.parts import assert_in_order, texts

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=5), VALUE, max_size=4), min_size=1, max_size=6)


@given(RECORDS, st.sampled_from([None, 2]), st.booleans())
def test_every_element_of_a_list_is_the_text_of_its_part(
    records: Any, indent: Any, ascii_only: Any
) -> None:
    content = json.dumps(records, indent=indent, ensure_ascii=ascii_only).encode(errors="replace")
    document = load_json(content, "a.json").document
    assert document.format == "rows"
    assert_in_order(document)
    assert [json.loads(text) for text in texts(document)] == json.loads(content)


@given(RECORDS)
def test_every_line_is_the_text_of_its_part(records: Any) -> None:
    content = "\r\n".join(json.dumps(record) for record in records).encode()
    loaded = load_json_lines(content, "a.jsonl")
    assert loaded.warnings == ()
    assert_in_order(loaded.document)
    assert [json.loads(text) for text in texts(loaded.document)] == records


def test_the_list_that_an_object_is_there_to_hold_gives_the_records() -> None:
    text = '{"title": "Prices", "rows": [{"apple": 3},\n  {"pear": 4}], "total": 2}'
    document = load_json(text.encode(), "a.json").document
    assert (document.title, document.text) == ("Prices", text)
    assert texts(document) == ['{"apple": 3}', '{"pear": 4}']
    assert [part.name for part in document.parts] == ["1", "2"]


def test_escaped_characters_are_written_out_so_that_a_search_finds_them() -> None:
    text = load_json(
        json.dumps(["深度", "😀", '"\\u4e2d', "\x00"]).encode(), "a.json"
    ).document.text
    assert text == '["深度", "😀", "\\"\\\\u4e2d", "\\u0000"]'


@pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2, 3]", '"x"', "{}", "[]", "3"])
def test_json_without_records_is_text(text: str) -> None:
    document = load_json(text.encode(), "a.json").document
    assert (document.text, document.format, document.parts) == (text, "text", ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"a": 1},\n{"a": ', "broken JSON in line 2"),
        ("[1] x", "broken JSON in line 1"),
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("[" + "1" * 6000 + "]", "broken JSON"),
    ],
)
def test_json_that_cannot_be_parsed_is_text_with_a_warning(text: str, reason: str) -> None:
    loaded = load_json(text.encode(), "a.json")
    assert reason in loaded.warnings[0]
    assert (loaded.document.text, loaded.document.format) == (text, "text")


def test_a_broken_line_is_kept_and_named_by_its_number() -> None:
    deep = "[" * 100_000
    loaded = load_json_lines(f'{{"a": 1}}\n\n{{broken\r\n{{"b": 2}}\n{deep}'.encode(), "a.jsonl")
    assert [part.name for part in loaded.document.parts] == ["1", "3", "4", "5"]
    assert loaded.warnings == ("line 3: broken JSON", "line 5: JSON nested too deep")


def test_a_file_of_broken_lines_is_stated_in_a_few() -> None:
    warnings = load_json_lines(b"{\n" * 1000, "a.jsonl").warnings
    assert len(warnings) == 21
    assert warnings[-1] == "980 more lines of broken JSON"


@pytest.mark.parametrize("load", [load_json, load_json_lines])
def test_an_empty_file_is_an_empty_text(load: Any) -> None:
    loaded = load(b"", "a.json")
    assert (loaded.document.text, loaded.document.parts, loaded.warnings) == ("", (), ())


def test_a_lone_surrogate_stays_an_escape() -> None:
    text = load_json(b'[{"a": "\\ud800"}, {"b": "\\udc00x"}]', "a.json").document.text
    assert text.isascii()
