"""What holds whatever the bytes and the suffix: a document or one line that says why not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import parse
from tests.knowledge.loaders.parts import assert_in_order

SUFFIXES = [
    ".txt", ".md", ".html", ".csv", ".tsv", ".json", ".jsonl", ".ipynb", ".eml", ".mbox", ".py",
    ".toml",
]  # fmt: skip
PIECES = st.sampled_from([
    b"\r\n", b"\n\n", b'"', b",", b"[", b"]", b"{", b"}", b"<p>", b"<h1>", b"From a\n", b"a",
    b"Subject: ", b"\xff\xfe", b"\0", b"\xed\xa0\x80", "深度".encode(), "深度".encode("gb18030"),
    b"---\n", b"# ",
])  # fmt: skip


@given(
    st.binary(max_size=60) | st.lists(PIECES, max_size=20).map(b"".join), st.sampled_from(SUFFIXES)
)
def test_any_bytes_give_a_document_that_can_be_stored_or_a_reason(
    content: Any, suffix: Any
) -> None:
    try:
        document = parse(content, f"a{suffix}").document
    except KnowledgeError as error:
        output = str(error)
        assert (output[: len(suffix) + 3], output.count("\n")) == (f"a{suffix}: ", 0)
        return
    assert_in_order(document)
    assert "\0" not in document.text
    document.text.encode()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_is_an_empty_text(suffix: Any) -> None:
    document = parse(b"", f"a{suffix}").document
    assert (document.text, document.parts) == ("", ())
