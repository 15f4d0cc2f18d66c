"""Bytes as text: every encoding of the Chinese-speaking world, and what is binary."""

import pytest
from opencc import OpenCC

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.text import decoded

SIMPLIFIED = (
    "神经网络由许多层组成，每一层都把输入变成输出。\n训练时用梯度下降来调整参数，学习率不能太大。\n"
    "模型在新数据上的表现，比它在训练集上的表现更重要。\n图书馆星期一闭馆，借出的书要在三十天内归还。\n"
)
TRADITIONAL = OpenCC("s2t").convert(SIMPLIFIED)
LINES = SIMPLIFIED.splitlines() + TRADITIONAL.splitlines()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["", "a", SIMPLIFIED, "crlf\r\n行"])
def test_unicode_is_read_and_its_mark_dropped(text: str, encoding: str) -> None:
    assert decoded(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16-le", "utf-16-be", "big5"])
def test_single_lines_of_chinese_are_distinguished_without_a_mark(encoding: str) -> None:
    lines = TRADITIONAL.splitlines() if encoding == "big5" else LINES
    assert [decoded(line.encode(encoding)) for line in lines] == lines


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("shift_jis", "機械学習は、データから自動的に規則を見つけ出す技術である。"),
        ("euc_jp", "日本の首都は東京であり、世界最大級の都市圏を形成している。"),
        ("euc_kr", "기계 학습은 데이터에서 규칙을 자동으로 찾아내는 기술이다."),
        ("iso2022_jp", "会議は三月十四日に開かれます。"),
        ("cp1252", "Die Größe des Modells hängt von der Zahl der Schüler ab."),
        ("cp1251", "Машинное обучение позволяет находить закономерности в данных."),
    ],
)
def test_other_legacy_encodings_are_read(encoding: str, text: str) -> None:
    assert decoded(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["gb18030", "big5"])
def test_a_large_legacy_file_is_read_whole_also_with_a_broken_byte(encoding: str) -> None:
    text = ("README: how to install the program, in English first.\n" * 200 + TRADITIONAL) * 10
    content = text.encode(encoding)
    assert decoded(content) == text
    broken = decoded(content + b"\xff" + content)
    assert broken.startswith(text)
    assert broken.endswith(text[-200:])


def test_a_log_that_was_cut_inside_a_character_stays_utf_8() -> None:
    content = (SIMPLIFIED * 5).encode()[:-2]
    assert decoded(content) == (SIMPLIFIED * 5)[:-2] + "\ufffd"


def test_a_declared_encoding_is_honoured_where_it_fits() -> None:
    latin = "ñ".encode("cp1252")
    assert decoded(latin, "iso-8859-1") == "ñ"
    assert decoded("機械学習".encode("iso2022_jp"), "iso-2022-jp") == "機械学習"
    assert decoded(TRADITIONAL.encode("big5"), "big5") == TRADITIONAL


@pytest.mark.parametrize("declared", ["gb2312", "utf-16", "no-such", "punycode", "zlib", "\0"])
def test_a_wrong_declaration_does_no_harm(declared: str) -> None:
    assert decoded(SIMPLIFIED.encode(), declared) == SIMPLIFIED


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\0\0\1\2", b"\0\1\2", bytes(range(256)), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"a\0b"],
)
def test_binary_data_is_refused(content: bytes) -> None:
    with pytest.raises(KnowledgeError, match="binary"):
        decoded(content)


def test_lone_surrogates_become_replacement_marks() -> None:
    assert "\ud800" not in decoded(b"\xff\xfe" + "a\ud800b".encode("utf-16-le", "surrogatepass"))
