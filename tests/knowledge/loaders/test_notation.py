"""What plain text lacks, written by one convention: powers, notes, formulas."""

import pytest
from lxml import etree

from agentkit.knowledge.loaders.notation import dollars, formula, lowered, raised

OFFICE = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'


@pytest.mark.parametrize(
    ("before", "text", "written"),
    [
        ("Limit 10", "6", "^6"),
        ("in 2024", "5", "^5"),
        ("10", "-6", "^-6"),
        ("10", "−6", "^−6"),
        ("x", "n+1", "^(n+1)"),
        ("5 km", "2", "^2"),
        ("sin", "2", "^2"),
        ("grew by far", "5", "[^5]"),
        ("grew.", "12", "[^12]"),
        ("grew", "1,2", "[^1,2]"),
        ("结果", "3", "[^3]"),
        ("grew in 2024", "[5]", "[^5]"),
        ("price", "*", "[^*]"),
        ("the 21", "st", "st"),
        ("Acme", "TM", "™"),
        ("", " ", ""),
    ],
)
def test_a_superscript_is_a_power_a_note_mark_or_an_ordinal(
    before: str, text: str, written: str
) -> None:
    assert raised(before, text) == written


def test_a_known_note_mark_stays_one_behind_a_number() -> None:
    assert raised("in 2024", "5", note=True) == "[^5]"


@pytest.mark.parametrize(("text", "written"), [("2", "_2"), ("i+1", "_(i+1)"), ("", "")])
def test_a_subscript(text: str, written: str) -> None:
    assert lowered(text) == written


def _run(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    ("markup", "latex"),
    [
        ("<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>", r"\frac{1}{2}"),
        ("<math><mn>2</mn><mfrac><mn>1</mn><mn>2</mn></mfrac></math>", r"2\frac{1}{2}"),
        ("<math><msup><mn>10</mn><mn>6</mn></msup></math>", "10^6"),
        ("<math><msup><mi>x</mi><mrow><mi>n</mi><mi>m</mi></mrow></msup></math>", "x^{n m}"),
        ("<math><mroot><mi>x</mi><mn>3</mn></mroot></math>", r"\sqrt[3]{x}"),
        ("<math><mi>sin</mi><mi>x</mi></math>", "sin x"),
        (
            "<math><mo>(</mo><mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac><mo>)</mo>"
            "</math>",
            r"\binom{n}{k}",
        ),
        ("<math><mover><mi>x</mi><mo>¯</mo></mover></math>", r"\bar{x}"),
        (
            "<math><munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi>"
            "</munderover><msub><mi>x</mi><mi>i</mi></msub></math>",
            "∑_{i=1}^n x_i",
        ),
        (
            "<math><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr></mtable></math>",
            r"\begin{matrix}1 & 2\end{matrix}",
        ),
        (
            "<math><semantics><mi>E</mi><annotation encoding='application/x-tex'>E = mc^2"
            "</annotation></semantics></math>",
            "E = mc^2",
        ),
        (
            f"<m:oMath {OFFICE}><m:f><m:num>{_run('1')}</m:num><m:den>{_run('2')}</m:den></m:f>"
            "</m:oMath>",
            r"\frac{1}{2}",
        ),
        (f"<m:oMath {OFFICE}><m:rad><m:e>{_run('16')}</m:e></m:rad></m:oMath>", r"\sqrt{16}"),
        (
            f"<m:oMath {OFFICE}><m:sSubSup><m:e>{_run('x')}</m:e><m:sub>{_run('1')}</m:sub>"
            f"<m:sup>{_run('10')}</m:sup></m:sSubSup>{_run('=1')}{_run('5')}</m:oMath>",
            "x_1^{10}=15",
        ),
        (
            f"<m:oMath {OFFICE}><m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr><m:sub>{_run('i')}"
            f"</m:sub><m:sup>{_run('n')}</m:sup><m:e>{_run('a')}</m:e></m:nary></m:oMath>",
            "∑_i^n a",
        ),
        (
            f"<m:oMath {OFFICE}><m:d><m:dPr><m:begChr m:val='['/><m:endChr m:val=']'/></m:dPr><m:e>"
            f"{_run('a')}</m:e></m:d></m:oMath>",
            "[a]",
        ),
        (
            f"<m:oMath {OFFICE}><m:d><m:e><m:d><m:dPr><m:begChr m:val='['/></m:dPr><m:e>{_run('a')}"
            "</m:e></m:d></m:e></m:d></m:oMath>",
            "([a))",
        ),
        (
            f"<m:oMath {OFFICE}><m:d><m:e><m:f><m:fPr><m:type m:val='noBar'/></m:fPr><m:num>"
            f"{_run('n')}</m:num><m:den>{_run('k')}</m:den></m:f></m:e></m:d></m:oMath>",
            r"\binom{n}{k}",
        ),
        (
            f"<m:oMath {OFFICE}><m:bar><m:barPr><m:pos m:val='top'/></m:barPr><m:e>{_run('x')}"
            f"</m:e></m:bar><m:bar><m:e>{_run('y')}</m:e></m:bar></m:oMath>",
            r"\bar{x}\underline{y}",
        ),
        (
            f"<m:oMath {OFFICE}>{_run('a')}<m:phant><m:phantPr><m:show m:val='0'/></m:phantPr><m:e>"
            f"{_run('99')}</m:e></m:phant><w:del xmlns:w='w'>{_run('8')}</w:del></m:oMath>",
            "a",
        ),
    ],
)  # fmt: skip
def test_a_formula_keeps_its_structure(markup: str, latex: str) -> None:
    assert formula(etree.fromstring(markup)) == latex


def test_a_formula_nested_too_deep_is_its_text() -> None:
    markup = "<math>" + "<msqrt>" * 200 + "<mn>16</mn>" + "</msqrt>" * 200 + "</math>"
    assert "16" in formula(etree.fromstring(markup))


@pytest.mark.parametrize("latex", ["x_1", "$x_1$", r"\(x_1\)", " x_1\n"])
def test_a_formula_stands_between_dollar_signs(latex: str) -> None:
    assert dollars(latex) == "$x_1$"
