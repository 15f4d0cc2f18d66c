"""More kinds of files: OpenDocument, RTF, Org, reStructuredText, LaTeX, Outlook, archives."""

import shutil
import zipfile
from io import BytesIO

import pytest

from agentkit.documents import part_of
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import Loaded, parse

_NAMES = {
    "office": "office", "text": "text", "table": "table", "style": "style", "draw": "drawing",
    "presentation": "presentation",
}  # fmt: skip
NAMESPACES = " ".join(
    [
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in _NAMES.items()
    ]
    + ['xmlns:xlink="http://www.w3.org/1999/xlink"', 'xmlns:m="http://www.w3.org/1998/Math/MathML"']
)
STYLES = "".join(
    f'<style:style style:name="{name}"><style:text-properties {properties}/></style:style>'
    for name, properties in {
        "up": 'style:text-position="super 58%"',
        "down": 'style:text-position="-10% 58%"',
        "old": 'style:text-line-through-style="solid"',
        "unseen": 'text:display="none"',
    }.items()
)


def _open(kind: str, body: str, suffix: str, manifest: str = "<m/>", **files: str) -> Loaded:
    content = (
        f"<office:document-content {NAMESPACES}><office:automatic-styles>{STYLES}"
        f"</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}></office:body>"
        "</office:document-content>"
    )
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", manifest)
        for name, text in files.items():
            archive.writestr(f"{name}/content.xml", text)
    return parse(buffer.getvalue(), f"a.{suffix}")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('<text:h text:outline-level="2">Costs</text:h><text:p>x</text:p>', "## Costs\n\nx"),
        ('<text:p>10<text:span text:style-name="up">6</text:span></text:p>', "10^6"),
        ('<text:p>CO<text:span text:style-name="down">2</text:span></text:p>', "CO_2"),
        ('<text:p>8<text:span text:style-name="old">9</text:span> EUR</text:p>', "8 EUR"),
        ('<text:p>a<text:span text:style-name="unseen">b</text:span></text:p>', "a"),
        ('<text:p>a<text:s text:c="2"/>b<text:tab/>c</text:p>', "a  b\tc"),
        (
            "<text:p>so<text:note><text:note-body><text:p>See 9.</text:p></text:note-body>"
            "</text:note></text:p>",
            "so[^1]\n\n[^1]: See 9.",
        ),
        (
            "<text:p><text:ruby><text:ruby-base>漢字</text:ruby-base><text:ruby-text>かんじ"
            "</text:ruby-text></text:ruby></text:p>",
            "漢字(かんじ)",
        ),
        (
            "<text:list><text:list-item><text:p>a</text:p><text:list><text:list-item><text:p>b"
            "</text:p></text:list-item></text:list></text:list-item></text:list>",
            "- a\n    - b",
        ),
        (
            "<text:list><text:list-header><text:p>head</text:p></text:list-header><text:list-item>"
            "<text:p>a</text:p></text:list-item></text:list>",
            "head\n- a",
        ),
        (
            "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:p>x</text:p>",
            "x",
        ),
        (
            '<text:p>Take <draw:frame><draw:object xlink:href="./Object1"/></draw:frame></text:p>',
            r"Take $\frac{1}{2}$",
        ),
        (
            "<table:table><table:table-row><table:table-cell><text:p>A</text:p></table:table-cell>"
            "<table:table-cell><text:p>B</text:p></table:table-cell></table:table-row>"
            '<table:table-row><table:table-cell table:number-rows-spanned="2"><text:p>x</text:p>'
            "</table:table-cell><table:table-cell><text:p>1</text:p></table:table-cell>"
            "</table:table-row><table:table-row><table:covered-table-cell/><table:table-cell>"
            "<text:p>2</text:p></table:table-cell></table:table-row></table:table>",
            "| A | B |\n| --- | --- |\n| x | 1 |\n| x | 2 |",
        ),
    ],
)
def test_opendocument_text(body: str, text: str) -> None:
    formula = '<math xmlns="http://www.w3.org/1998/Math/MathML"><mfrac><mn>1</mn><mn>2</mn></mfrac></math>'
    assert _open("text", body, "odt", Object1=formula).document.text == text


def test_a_row_of_an_opendocument_sheet_has_its_number_and_what_is_shown() -> None:
    def cell(text: str, more: str = "") -> str:
        return f"<table:table-cell {more}><text:p>{text}</text:p></table:table-cell>"

    rows = [
        cell("Plant") + cell("Sum"), "<table:table-cell/>", cell("Ulm") + cell("1.234,50 €"),
    ]  # fmt: skip
    body = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
    sheet = f'<table:table table:name="Costs">{body}</table:table>'
    document = _open("spreadsheet", sheet, "ods").document
    assert document.text == "Plant | Sum\nUlm | 1.234,50 €"
    assert [part.name for part in document.parts] == ["Costs, 1", "Costs, 3"]
    assert document.metadata["columns"] == {"Costs": ["Plant", "Sum"]}


def test_a_slide_of_an_opendocument_deck_is_a_part() -> None:
    body = "".join(
        f'<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>{title}</text:p>'
        "</draw:text-box></draw:frame><draw:frame><draw:text-box><text:p>words</text:p>"
        "</draw:text-box></draw:frame></draw:page>"
        for title in ("One", "Two")
    )
    document = _open("presentation", body, "odp").document
    assert document.text == "## One\n\nwords\n\n## Two\n\nwords"
    assert part_of(document.parts, document.text.index("Two"), len(document.text)) == "slide 2"


def test_the_text_of_all_shapes_of_a_slide_is_read() -> None:
    body = (
        "<draw:page><draw:custom-shape><text:p>one</text:p></draw:custom-shape><draw:g><draw:rect>"
        "<text:p>two</text:p></draw:rect><draw:frame><draw:text-box><text:p>three</text:p>"
        "</draw:text-box></draw:frame></draw:g><presentation:notes><draw:frame><draw:text-box>"
        "<text:p>four</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>"
    )
    text = _open("presentation", body, "odp").document.text
    assert text == "one\n\ntwo\n\nthree\n\nNotes: four"


def test_an_encrypted_opendocument_file_is_refused() -> None:
    with pytest.raises(KnowledgeError, match="encrypted"):
        _open("text", "", "odt", manifest="<m><encryption-data/></m>")


RTF = (
    r"{\rtf1\ansi{\info{\title Plan}{\author Li}}\pard Limit 10{\super 6} cells, CO{\sub 2}, "
    r"{\strike 9 EUR }8 EUR{\v secret}, \u26085? \'e9.\par\trowd\cellx1\cellx2 A\cell B\cell\row}"
)


def test_rtf() -> None:
    document = parse(RTF.encode(), "a.rtf").document
    assert document.text.splitlines() == ["Limit 10^6 cells, CO_2, 8 EUR, 日 é.", "A|B"]
    assert (document.title, document.metadata["author"]) == ("Plan", "Li")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"{\f0\fs24 Limit 10}{\super\f0\fs24 6}{\fs24  cells}", "Limit 10^6 cells"),
        (r"{\f0\fs24 Limit 10}{\fs24\super 6}{\fs24  cells}", "Limit 10^6 cells"),
        (r"Limit 10\super 6\nosupersub  cells", "Limit 10^6 cells"),
        (r"Limit 10{\up6 6} cells, H{\dn4\fs16 2}O", "Limit 10^6 cells, H_2O"),
        (r"{\strike\f0 9 EUR }8 EUR", "8 EUR"),
        (r"{\header\pard {\b Acme}\par}\pard Limit", "Page header: Acme\n\nLimit"),
        (r"{\fs24\*\cs7\cf0 Limit 10}", "Limit 10"),
        (r"{\pict\pngblip\bin ffd8ff}Limit 10", "Limit 10"),
        (r"{\listtext\pard\plain \'b7\tab}Limit", "-\tLimit"),
        (
            r"A{\super\chftn}{\footnote\pard {\f0{\super\chftn}} Caf\'e9}, B{\footnote Two}.",
            "A[^1], B[^2].\n\n[^1]: Café\n[^2]: Two",
        ),
    ],
)
def test_what_plain_text_lacks_is_written_in_rtf(written: str, text: str) -> None:
    assert parse(rf"{{\rtf1\ansi {written}\par}}".encode(), "a.rtf").document.text == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Title\n=====\n\nText.\n\nPart\n----\n\nMore.", "# Title\n\nText.\n\n## Part\n\nMore."),
        ("=====\nTitle\n=====\n\nA\n=\n\nx", "# Title\n\n## A\n\nx"),
        ("Run::\n\n    make all\n\nthen", "Run:\n\n```\nmake all\n```\n\nthen"),
        (
            ".. code-block:: python\n   :linenos:\n\n   x = 1\n\nend",
            "```python\n x = 1\n```\n\nend",
        ),
        (".. note:: Mind it.\n\nx", "Note: Mind it.\n\nx"),
        (".. note::\n\n   Mind it.\n\nx", "Note:\n\nMind it.\n\nx"),
        (".. _label:\n\nx", "x"),
        ("See :ref:`the map <m>` and `site <http://a>`_, ``f()``.", "See the map and site, `f()`."),
        ("10\\ :sup:`6` and H\\ :sub:`2`\\ O", "10^6 and H_2O"),
        ("so :math:`x^2`", "so $x^2$"),
        (
            ".. csv-table:: Prices\n   :header: Item, EUR\n\n   Pump, 9",
            "Prices\n\n| Item | EUR |\n| --- | --- |\n| Pump | 9 |",
        ),
    ],
)
def test_restructured_text(written: str, text: str) -> None:
    got = parse(written.encode(), "a.rst").document.text
    assert [" ".join(line.split()) for line in got.splitlines()] == [
        " ".join(line.split()) for line in text.splitlines()
    ]


def test_org() -> None:
    written = (
        "#+TITLE: Plan\n#+AUTHOR: Li\n* TODO Costs :money:\nDEADLINE: <2026-03-05>\n"
        ":PROPERTIES:\n:ID: 1\n:END:\n"
        "See [[https://a.b][the list]]. +9 EUR+ 8 EUR, 10^{6}, H_{2}O.\n** Code\n"
        "#+begin_src python\nx = [[1]]\n#+end_src\n"
    )
    document = parse(written.encode(), "a.org").document
    assert document.text == (
        "# Costs\n\nDEADLINE: <2026-03-05>\n"
        "See the list.  8 EUR, 10^6, H_2O.\n\n## Code\n\n```python\nx = [[1]]\n```"
    )
    assert (document.title, document.metadata) == ("Plan", {"title": "Plan", "author": "Li"})


def test_latex() -> None:
    written = r"""\documentclass{article}\title{On \emph{pumps}}\begin{document}\maketitle
% a comment
\section{Limits}\label{s}Take 10\textsuperscript{6} cells, 50\% of $x_1^2$\footnote{See 9.}.
\begin{itemize}\item one \item two\end{itemize}
\[ E = mc^2 \]
\subsection{Code}\begin{verbatim}
\x{1}
\end{verbatim}\end{document}"""
    document = parse(written.encode(), "a.tex").document
    assert document.title == "On pumps"
    for piece in (
        "# Limits\n\nTake 10^6 cells, 50% of $x_1^2$[^1].", "\n- one \n- two", "$$\nE = mc^2\n$$",
        "## Code\n\n```\n\\x{1}\n```", "[^1]: See 9.",
    ):  # fmt: skip
        assert piece.replace(" \n", "\n") in document.text.replace(" \n", "\n")
    assert "comment" not in document.text


def _zip(**files: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def test_each_file_of_an_archive_is_a_part_and_the_others_are_counted() -> None:
    content = _zip(
        notes__a_dot_md=b"# A\n\nalpha", b_dot_csv=b"x,y\n1,2\n", c_dot_bin=b"\0", d_dot_zip=_zip(),
        e_dot_pdf=b"no PDF",
    )  # fmt: skip
    loaded = parse(content, "all.zip")
    document = loaded.document
    assert [(part.kind, part.name) for part in document.parts] == [
        ("file", "b.csv"), ("file", "notes/a.md"),
    ]  # fmt: skip
    at = document.text.index("alpha")
    assert part_of(document.parts, at, at + 5) == "file notes/a.md"
    assert loaded.warnings[0].startswith("e.pdf: not a PDF")
    assert loaded.warnings[1] == "2 files in it were not read"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("集团审计/需求文档.md", "gbk"), ("会議の資料.md", "cp932"), ("Übersicht.md", "cp437")],
)
def test_names_in_an_archive_are_read_in_the_code_page_of_its_system(
    name: str, encoding: str
) -> None:
    raw = name.encode(encoding)
    packed = _zip(**{"x" * len(raw) + "_dot_md": b"text"}).replace(
        b"x" * len(raw) + b".md", raw + b".md"
    )
    [part] = parse(packed, "a.zip").document.parts
    assert part.name == f"{name}.md"


def test_an_archive_without_documents_is_refused() -> None:
    with pytest.raises(KnowledgeError, match="no file in it is of a kind that is read"):
        parse(_zip(a_dot_bin=b"\0"), "a.zip")


@pytest.mark.parametrize("suffix", ["rtf", "odt", "ods", "odp", "msg", "zip"])
def test_files_of_another_kind_are_damaged(suffix: str) -> None:
    for content in (
        b"",
        b"<html>",
        b"PK\x03\x04",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
    ):
        with pytest.raises(KnowledgeError, match=rf"^a\.{suffix}: "):
            parse(content, f"a.{suffix}")


@pytest.mark.skipif(shutil.which("soffice") is not None, reason="LibreOffice is installed")
@pytest.mark.parametrize("suffix", ["doc", "xls", "ppt"])
def test_an_old_format_needs_libreoffice(suffix: str) -> None:
    with pytest.raises(KnowledgeError, match=f"old format: save it as .{suffix}x, or install"):
        parse(b"x", f"a.{suffix}")


@pytest.mark.parametrize(
    "unit",
    [
        "\\begin{verbatim}",
        "\\begin{align}",
        "\\begin{tabular}",
        "\\footnote{",
        "[#]_ ",
        "+--+\n",
        "=",
        "x\n==\n",
        ".. a\n",
        "`a",
        ":b:`",
        "x::\n",
        "\\item",
        "$",
        "{",
        "\\(",
    ],
)
@pytest.mark.parametrize("suffix", ["rst", "org", "tex"])
def test_hostile_markup_takes_linear_time(suffix: str, unit: str) -> None:
    parse((unit * (200_000 // len(unit))).encode(), f"a.{suffix}")
