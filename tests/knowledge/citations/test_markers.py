"""Which brackets are markers."""

import pytest

from agentkit.knowledge.citations.markers import markers, numbers_in


def _marker_texts(text: str, sources: tuple[str, ...] = ()) -> list[str]:
    return [match.group() for match in markers(text, sources)]


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("a fact [1].", ["[1]"]),
        ("a fact[1][2].", ["[1][2]"]),
        ("a fact [1] [2].", ["[1] [2]"]),
        ("事实【1】，事实［2］。", ["【1】", "［2］"]),
        ("a fact [1, 2] and [2，3]", ["[1, 2]", "[2，3]"]),
        ("a fact [1-3].", ["[1-3]"]),
        ("it costs $5 [1] and $6 [2]", ["[1]", "[2]"]),
        ("约占 4.2 GB[1]。", ["[1]"]),
        ("a fact [1, 2 and 3].", ["[1, 2 and 3]"]),
        ("a fact [1 & 3], 事实[1、2和3]", ["[1 & 3]", "[1、2和3]"]),
        ("a fact【1†source】 and【2†L3-L9】", ["【1†source】", "【2†L3-L9】"]),
        (
            "a fact [source 1], [Sources: 1, 2], (passage 3)",
            ["[source 1]", "[Sources: 1, 2]", "(passage 3)"],
        ),
        ("事实[来源 1]，事实（资料2）", ["[来源 1]", "（资料2）"]),
        ("a note [^1]", ["[^1]"]),
        ("a fact.¹ The data² are 事实³。", ["¹", "²", "³"]),
        ("a fact<sup>1</sup> <sup>[2]</sup>", ["<sup>1</sup>", "<sup>[2]</sup>"]),
        ("a fact <sup>1</sup>.", ["<sup>1</sup>"]),
        ("a fact【1:0†notes.md】", ["【1:0†notes.md】"]),
        ("事实〔2〕。", ["〔2〕"]),
        ('a fact <passage id="1">', ['<passage id="1">']),
        ("a fact (1). 事实（2）。 A fact (3)\n", ["(1)", "（2）", "(3)"]),
    ],
)
def test_markers_in_their_spellings(text: str, groups: list[str]) -> None:
    assert _marker_texts(text) == groups


@pytest.mark.parametrize(
    "before",
    [
        "the limit (per node)", "[42 GB](https://a.b/x)", "see [the notes]", "v1.2",
        "Node.js", "example.com", "agentkit.toml",
        "we store the data", "the option max_file_mb", "call `f(x)`",
        "it needs vitamin c", "**bold**", "4.2 GB", "100 %", "on the list", "the method close()",
    ],
)  # fmt: skip
def test_a_marker_right_behind_a_word_a_bracket_code_or_a_link(before: str) -> None:
    assert _marker_texts(f"{before}[1].") == ["[1]"]
    assert _marker_texts(f"{before}[1] is long.") == ["[1]"] or before.endswith(" c")


@pytest.mark.parametrize(
    "text",
    [
        "[1](https://a.b)", "[^1]: a note", "[1]: https://a.b", "[0, 1]", "self.items[1]",
        "m[0][1]", "a[i][1]", "x = f(y)[1]", "data[1] += 2", "f(1)", "see equation (1).",
        "公式（1）。", "one (1).", "1. a\n(1) b", "it has (1) a and (2) b", "(1) and (2).",
        "10⁶", "10<sup>6</sup>", "m²", "20 km²", "(a+b)²", "sin²", "平方米²",
        "arr[1] is read", "x[1]", "my_list[2]", "f(x)[1]",
        "values[1] = 2", "`[1]`", "```\n[1]\n```", "~~~\n[1]\n~~~", "$a[1]$", "$$\n[1]\n$$",
        "[a]", "[]", "[1", "[1.5]",
    ],
)  # fmt: skip
def test_other_brackets_are_none(text: str) -> None:
    assert _marker_texts(text) == []


def test_the_numbers_of_a_group() -> None:
    assert numbers_in("[1][3, 2]【1】") == ("1", "3", "2")
    assert numbers_in("[1-3，7]") == ("1", "2", "3", "7")
    assert numbers_in("[1-900000]") == ("1", "900000")
    assert numbers_in("【1†L30-L40】") == ("1",)
    assert numbers_in("【2:13†source】") == ("2",)
    assert numbers_in("¹²") == ("12",)
