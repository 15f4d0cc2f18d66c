"""Source code and configuration as they stand."""

import pytest

from agentkit.knowledge.loaders.files import parse


@pytest.mark.parametrize(
    ("name", "language"),
    [("src/a.py", "python"), ("B.TSX", "tsx"), ("c.h", "c"), ("d.hpp", "cpp"), ("e.R", "r")],
)
def test_a_program_says_its_language(name: str, language: str) -> None:
    document = parse(b"x = 1\r\n", name).document
    assert (document.text, document.format) == ("x = 1\r\n", "code")
    assert document.metadata == {"language": language}
    assert document.title == name.rpartition("/")[2]


@pytest.mark.parametrize("name", ["a.toml", "b.yaml", "c.ini", "d.xml", "e.log", "f.srt"])
def test_configuration_and_other_plain_kinds_are_text(name: str) -> None:
    document = parse("键 = 值\n".encode(), name).document
    assert (document.text, document.format, document.metadata) == ("键 = 值\n", "text", {})


def test_a_comment_in_gbk_is_read() -> None:
    assert "计算注意力" in parse("# 计算注意力的分数\nx = 1\n".encode("gbk"), "a.py").document.text
