"""Forms of PDF files: each value beside its label."""

from io import BytesIO
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from agentkit.knowledge.loaders.files import parse
from tests.knowledge.loaders.parts import pdf_file


def _drawn(draw: Any) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    draw(canvas)
    canvas.save()
    return buffer.getvalue()


def test_the_values_of_a_form_stand_beside_their_labels() -> None:
    def draw(canvas: Any) -> None:
        form = canvas.acroForm
        area = {"width": 200, "height": 20}
        canvas.drawString(72, 750, "Applicant:")
        form.textfield(name="n", value="Erika Muster", x=200, y=745, **area)
        canvas.drawString(72, 700, "City:")
        form.choice(name="c", value="Bremen", options=["Hamburg", "Bremen"], x=200, y=695, **area)
        canvas.drawString(100, 650, "Smoker")
        form.checkbox(name="k", checked=True, x=72, y=647, size=16)
        canvas.drawString(100, 600, "Driver")
        form.checkbox(name="d", checked=False, x=72, y=597, size=16)
        canvas.drawString(72, 550, "PIN:")
        form.textfield(name="p", value="1234", fieldFlags="password", x=200, y=545, **area)

    text = parse(_drawn(draw), "a.pdf").document.text
    assert text.split("\n\n") == [
        "Applicant: Erika Muster", "City: Bremen", "[x] Smoker", "[ ] Driver", "PIN:",
    ]  # fmt: skip


def test_radio_buttons_without_labels_have_the_names_of_their_choices() -> None:
    def draw(canvas: Any) -> None:
        canvas.drawString(72, 750, "Way of travel")
        for at, name in enumerate(["train", "ship", "bicycle"]):
            canvas.acroForm.radio(
                name="way", value=name, selected=name == "ship", x=72 + 90 * at, y=700, size=16
            )

    text = parse(_drawn(draw), "a.pdf").document.text
    assert text.split("\n\n") == ["Way of travel", "[ ] train\t[x] ship\t[ ] bicycle"]


def test_a_form_of_nothing_but_values_is_read() -> None:
    def draw(canvas: Any) -> None:
        canvas.acroForm.textfield(name="n", value="Only this", x=72, y=700, width=200, height=20)
        canvas.showPage()

    assert parse(_drawn(draw), "a.pdf").document.text == "Only this"


def _with_annotations(*annotations: str, form: str = "", more: str = "", says: str = "") -> str:
    """The text of a page with annotations; `more` is a stream that the form may name as 5 0 R."""
    content = f"BT /F 12 Tf 72 750 Td ({says}) Tj ET"
    numbers = [f"{at} 0 R" for at in range(7, 7 + len(annotations))]
    objects = [
        f"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[{' '.join(numbers)}]{form}>>>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R"
        f"/Annots[{' '.join(numbers)}]/Resources<</Font<</F 6 0 R>>>>>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        f"<</Length {len(more)}>>stream\n{more}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *(f"<</Type/Annot/F 4 {annotation}>>" for annotation in annotations),
    ]
    if not form:
        objects[0] = "<</Type/Catalog/Pages 2 0 R>>"
    return parse(pdf_file(objects), "a.pdf").document.text


def test_values_of_two_columns_stand_beside_their_own_labels() -> None:
    def draw(canvas: Any) -> None:
        for x, label, value in ((72, "First:", "Ann"), (300, "Last:", "Lee")):
            canvas.drawString(x, 750, label)
            canvas.acroForm.textfield(
                name=label, value=value, x=x + 40, y=745, width=100, height=18
            )
        for x, label, checked in ((72, "single", False), (300, "married", True)):
            canvas.acroForm.checkbox(name=label, checked=checked, x=x, y=700, size=12)
            canvas.drawString(x + 20, 702, label)
        for column, year in enumerate(("2023", "2024")):
            canvas.drawString(200 + 100 * column, 560, year)
        for row, label in enumerate(("Rent", "Heat")):
            canvas.drawString(72, 540 - 20 * row, label)
            for column in range(2):
                x, y = 200 + 100 * column, 536 - 20 * row
                value = f"{row}{column}"
                canvas.acroForm.textfield(name=value, value=value, x=x, y=y, width=60, height=18)

    lines = [line for line in parse(_drawn(draw), "a.pdf").document.text.splitlines() if line]
    assert lines == [
        "First: Ann\tLast: Lee",
        "[ ] single\t[x] married",
        "\t2023\t2024",
        "Rent\t00\t01",
        "Heat\t10\t11",
    ]


def test_a_choice_is_read_as_its_label_and_not_as_its_code() -> None:
    field = (
        "/Subtype/Widget/FT/Ch/Ff 131072/T(c)/V(DE)/Opt[[(DE)(Germany)][(FR)(France)]]"
        "/Rect[150 745 300 765]"
    )
    assert _with_annotations(field, form="/NeedAppearances true", says="Country:") == (
        "Country: Germany"
    )


def test_a_note_on_a_page_without_a_form_is_read() -> None:
    note = "/Subtype/FreeText/Contents(Approved 5 May)/DA(/F 12 Tf)/Rect[72 600 300 620]"
    assert "Approved 5 May" in _with_annotations(note, says="Order 9")


def test_the_data_of_an_xfa_form_is_read_once() -> None:
    data = "<d><form><Name>Erika Muster</Name><Sum>25000</Sum><Empty/></form></d>"
    text = _with_annotations(form="/XFA[(datasets) 5 0 R]", more=data, says="Please wait... 25000")
    assert text == "Please wait... 25000\n\nName: Erika Muster"
