"""Notebooks as Markdown, cell by cell."""

import json
from typing import Any

import pytest

from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.notebook import load_notebook
from tests.knowledge.loaders.parts import assert_in_order, texts


def _load(*cells: Any, **metadata: Any) -> Loaded:
    return load_notebook(json.dumps({"cells": cells, "metadata": metadata}).encode(), "实验.ipynb")


def _code(source: str, *outputs: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "outputs": list(outputs)}


def _markdown(source: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source}


def test_cells_are_parts_and_code_is_fenced_in_the_language_of_the_kernel() -> None:
    document = _load(
        _markdown(["# 线性回归\n", "说明。"]),
        _code("x <- 1", {"output_type": "stream", "text": ["a\n", "b\n"]}),
        kernelspec={"language": "R"},
    ).document
    assert document.title == "线性回归"
    assert document.metadata == {"language": "r"}
    assert texts(document) == [
        "# 线性回归\n说明。",
        "```r\nx <- 1\n```\n\n```text\na\nb\n```",
    ]
    assert [(part.kind, part.name) for part in document.parts] == [("cell", "1"), ("cell", "2")]
    assert_in_order(document)


def test_an_empty_cell_counts_but_is_no_part() -> None:
    document = _load(_markdown("a"), _code(""), _markdown("b")).document
    assert [part.name for part in document.parts] == ["1", "3"]


def test_images_are_left_out_and_their_names_kept() -> None:
    document = _load(
        _markdown("![损失曲线](data:image/png;base64,iVBORw0KGgo=) ![b](attachment:c.png)"),
        _markdown('<img alt="x" src="data:image/png;base64,AAAA"> 后文'),
        _code("plot()", {"data": {"image/png": "iVBORw0KGgo=", "text/plain": ["<Figure>"]}}),
    ).document
    assert "iVBOR" not in document.text
    assert "AAAA" not in document.text
    assert texts(document)[:2] == ["损失曲线 b", "后文"]
    assert "<Figure>" in document.text


def test_a_long_output_is_cut_and_an_error_is_its_name() -> None:
    long = {"output_type": "stream", "text": "x" * 5000}
    error = {"ename": "ValueError", "evalue": "bad", "traceback": ["\x1b[31mlong"]}
    text = _load(_code("f()", long), _code("g()", error)).document.text
    assert "x" * 1000 + "\n[... 4000 more characters]" in text
    assert "ValueError: bad" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("data", "plain", "right"),
    [
        ({"text/markdown": ["**3.7 mm**"]}, "<Markdown object>", "\n\n**3.7 mm**"),
        ({"text/html": "<table><tr><th>R<tr><td>0.93</table>"}, "R\n0  0.93", "| R |\n| --- |"),
        ({"text/html": "<b>0.93</b>"}, "", "**0.93**"),
        ({"text/html": "<div><script>plot()</script></div>"}, "0.93", "```text\n0.93\n```"),
        ({"text/latex": ["$E=mc^2$"]}, "<IPython.core.display.Math object>", "\n\n$E=mc^2$"),
        ({"text/latex": ["x^2"]}, "", "$x^2$"),
        ({"application/json": {"loss": 0.42}}, "<JSON object>", '"loss": 0.42'),
        ({"text/html": "<p>Error: 3.7 mm</p>"}, "Result(...)", "Error: 3.7 mm"),
        ({"html": "<table><tr><th>R<tr><td>0.93</table>"}, "R", "| 0.93 |"),
        ({"latex": "$x^2$"}, "", "$x^2$"),
        ({"application/vnd.plotly.v1+json": {"title": "Sales"}}, "<Figure object>", '"Sales"'),
        ({"text/csv": "a,b\n1,0.93"}, "", "1,0.93"),
        ({"image/svg+xml": "<svg><text x='1'>Peak <b>4&amp;2</b></text></svg>"}, "", "Peak 4&2"),
        ({}, "0.93", "```text\n0.93\n```"),
    ],
)
def test_the_richest_text_of_an_output_is_read(
    data: dict[str, Any], plain: str, right: str
) -> None:
    data = {**data, "text/plain": [plain]}
    text = _load(_code("show()", {"output_type": "display_data", "data": data})).document.text
    assert right in text
    assert "object>" not in text


def test_a_comment_in_code_is_no_title() -> None:
    assert _load(_code("# setup\nimport os"), _markdown("## 方法")).document.title == "方法"


def test_code_with_fences_in_it_stays_inside_its_own() -> None:
    assert _load(_code('s = """```"""')).document.text.startswith("````python\n")


def test_the_older_format_is_read() -> None:
    sheet = {
        "cells": [
            {"cell_type": "heading", "level": 2, "source": "T"},
            {"cell_type": "code", "input": "y"},
        ]
    }
    document = load_notebook(json.dumps({"worksheets": [sheet]}).encode(), "a.ipynb").document
    assert texts(document) == ["## T", "```python\ny\n```"]


@pytest.mark.parametrize("content", [b"<<<<<<< HEAD\n{}", b"[" * 100_000, b"{"])
def test_a_broken_notebook_is_text_with_a_warning(content: bytes) -> None:
    loaded = load_notebook(content, "a.ipynb")
    assert (loaded.document.text, loaded.document.format) == (content.decode(), "text")
    assert "broken JSON" in loaded.warnings[0]


@pytest.mark.parametrize(
    "notebook",
    [3, [], {}, {"cells": 5}, {"cells": [7, None, {"cell_type": 5, "source": {"a": 1}}]}],
)
def test_a_notebook_of_a_wrong_shape_is_an_empty_text(notebook: Any) -> None:
    assert load_notebook(json.dumps(notebook).encode(), "a.ipynb").document.text == ""


def test_nuls_and_lone_surrogates_are_replaced() -> None:
    _load(_markdown("a\x00\ud800b")).document.text.encode()


def test_hostile_pictures_take_no_time() -> None:
    cells = [_markdown(text * 20_000) for text in ("![", "![](data:", "<img src=data: ")]
    assert len(_load(*cells).document.parts) == 3


def test_the_end_of_a_cut_output_is_kept() -> None:
    log = "\n".join(f"epoch {at}" for at in range(1000))
    text = _load(
        _code("fit()", {"output_type": "stream", "text": f"{log}\nloss 0.42"})
    ).document.text
    assert "epoch 0\n" in text
    assert "more characters]" in text
    assert text.endswith("epoch 999\nloss 0.42\n```\n\n")
