"""reStructuredText, Org and LaTeX: notes, tables, letters, lists and what directives say."""

import pytest

from agentkit.knowledge.loaders.files import parse

GRID = "+----+-----+\n|Part|Price|\n+====+=====+\n|Pump|42   |\n+----+-----+\n"
TABLE = "| Part | Price |\n| --- | --- |\n| Pump | 42 |"


@pytest.mark.parametrize(
    ("suffix", "written"),
    [
        ("rst", "Limit [1]_ holds.\n\n.. [1] Measured at 20 bar.\n"),
        ("rst", "Limit [1]_ holds.\n\n.. [1]\n   Measured\n   at 20 bar.\n"),
        ("rst", "Limit [#]_ holds.\n\n.. [#] Measured at *20* bar.\n"),
        ("org", "Limit[fn:1] holds.\n\n[fn:1] Measured at 20 bar.\n"),
        ("org", "Limit[fn:1:Measured at 20 bar.] holds.\n"),
        ("tex", r"Limit\footnote{Measured \emph{at {\bf 20} bar}.} holds."),
        ("tex", r"Limit\footnote[7]{Measured at 20 bar.} holds."),
    ],
)
def test_a_note_stands_at_its_mark_and_below(suffix: str, written: str) -> None:
    text = parse(written.encode(), f"a.{suffix}").document.text.replace("*", "")
    text = " ".join(text.replace(" [^", "[^").split())
    assert text == "Limit[^1] holds. [^1]: Measured at 20 bar."


@pytest.mark.parametrize(
    ("suffix", "written"),
    [
        ("rst", "====  =====\nPart  Price\n====  =====\nPump  42\n====  =====\n"),
        ("rst", GRID),
        (
            "rst",
            ".. list-table::\n   :widths: 1\n\n   * - Part\n     - Price\n   * - Pump\n     - 42\n",
        ),
        ("rst", ".. list-table::\n\n   * * Part\n     * Price\n   * * Pump\n     * 42\n"),
        ("rst", '.. csv-table::\n   :header: Part, Price\n\n   "Pump", 42\n'),
        ("org", "| Part | Price |\n|------+-------|\n| Pump | 42 |\n|------+-------|\n"),
        (
            "tex",
            r"\begin{tabular}{lr}\hline Part & Price \\ \hline Pump & 42 \\\hline\end{tabular}",
        ),
        (
            "tex",
            r"\begin{longtable}[c]{lr} Part & Price \\[2pt] \textbf{Pump} & 42\end{longtable}",
        ),
    ],
)
def test_a_table_has_its_rows_and_columns(suffix: str, written: str) -> None:
    assert parse(written.encode(), f"a.{suffix}").document.text == TABLE


@pytest.mark.parametrize(
    ("suffix", "written", "rows"),
    [
        (
            "rst",
            "====  ====\nPrices 2023\n----------\nPump  42\n====  ====\n",
            "| Prices 2023 | Prices 2023 |",
        ),
        (
            "tex",
            r"\begin{tabular}{lr}\multicolumn{2}{c}{2023} \\ Pump & 42\end{tabular}",
            "| 2023 | 2023 |",
        ),
    ],
)
def test_a_cell_over_several_columns_stands_in_each(suffix: str, written: str, rows: str) -> None:
    text = parse(written.encode(), f"a.{suffix}").document.text
    assert text == f"{rows}\n| --- | --- |\n| Pump | 42 |"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"J\"urgen H\o yer, \L{}ukasz, \c{C}aglar", "Jürgen Høyer, Łukasz, Çaglar"),
        (r"Stra\ss e, na\"{\i}ve, \'{E}va, \v Skoda, \~nu", "Straße, naïve, Éva, Škoda, ñu"),
        (r"5\,\% of \$3, 20\,{\textdegree}C", "5 % of $3, 20 °C"),
        (r"\textcolor{red}{Stop} \hspace{3mm}\setcounter{page}{3}now", "Stop now"),
        (r"\begin{comment}hidden\end{comment}\iffalse gone\fi Seen", "Seen"),
        ("\\verb|a_b %| holds % not this", "`a_b %` holds"),
        (r"\begin{enumerate}\item One\item Two\end{enumerate}", "1. One\n2. Two"),
        (r"\subsection*{The \emph{big} one \label{x}}", "# The big one"),
    ],
)
def test_macros_of_latex_become_the_text_that_they_print(written: str, text: str) -> None:
    document = f"\\begin{{document}}{written}\n\\end{{document}}"
    assert parse(document.encode(), "a.tex").document.text == text


def test_macros_of_a_latex_document_and_a_long_title_are_read() -> None:
    written = (
        "\\newcommand{\\product}{Hydro Pump}\\title{A long\\\\ title of {\\em the} pump}\n"
        "\\author{Ada\\thanks{Supported by grant 42.}}\\begin{document}\\maketitle\n"
        "The \\product{} costs 3.\\end{document}"
    )
    document = parse(written.encode(), "a.tex").document
    assert document.title == "A long title of the pump"
    assert document.text == "The Hydro Pump costs 3.\n\n[^1]: Supported by grant 42."


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (".. figure:: a.png\n   :width: 50%\n\n   The pump.\n", "The pump."),
        ("The |p| costs 3.\n\n.. |p| replace:: Hydro Pump\n", "The Hydro Pump costs 3."),
        (".. versionadded:: 3.2\n   The limit.\n", "New in version: 3.2\nThe limit."),
        (".. deprecated:: 4.1\n", "Deprecated since version: 4.1"),
        (".. function:: run(x)\n\n   :param x: the limit\n   :returns: flow\n", None),
        (".. note::\n\n   .. code:: python\n\n      x = 1\n", "Note:\n\n```python\nx = 1\n```"),
        ("::\n\n  `x`_ = 2\n", "```\n`x`_ = 2\n```"),
        ("See `the manual`_ and Python_.\n\n.. _Python: http://z\n", "See the manual and Python."),
    ],
)
def test_directives_give_their_text(written: str, text: str | None) -> None:
    got = parse(written.encode(), "a.rst").document.text
    assert got == text if text else ":param x: the limit\n:returns: flow" in got


def test_org_has_captions_and_check_boxes_but_no_comments() -> None:
    written = "#+CAPTION: Prices\n- [X] done\n- [-] half\n#+BEGIN_COMMENT\nx\n#+END_COMMENT\n"
    assert parse(written.encode(), "a.org").document.text == "Prices\n- [x] done\n- [ ] half"
