"""What holds for the parts of any document."""

from agentkit.documents import Document


def assert_in_order(document: Document) -> None:
    ends = [0]
    for part in document.parts:
        assert ends[-1] <= part.start <= part.end
        ends.append(part.end)
    assert ends[-1] <= len(document.text)


def texts(document: Document) -> list[str]:
    return [document.text[part.start : part.end] for part in document.parts]
