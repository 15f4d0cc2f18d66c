"""What holds for the parts of any document, and a PDF from its objects."""

from collections.abc import Sequence

from agentkit.documents import Document


def assert_in_order(document: Document) -> None:
    ends = [0]
    for part in document.parts:
        assert ends[-1] <= part.start <= part.end
        ends.append(part.end)
    assert ends[-1] <= len(document.text)


def texts(document: Document) -> list[str]:
    return [document.text[part.start : part.end] for part in document.parts]


def pdf_file(objects: Sequence[str]) -> bytes:
    """A PDF file; the first object is its catalog."""
    written, places = b"%PDF-1.4\n", list[int]()
    for at, item in enumerate(objects, 1):
        places.append(len(written))
        written += f"{at} 0 obj\n{item}\nendobj\n".encode()
    entries = "".join(f"{place:010} 00000 n \n" for place in places)
    table = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{entries}"
    end = f"trailer\n<</Root 1 0 R/Size {len(places) + 1}>>\nstartxref\n{len(written)}\n%%EOF\n"
    return written + (table + end).encode()
