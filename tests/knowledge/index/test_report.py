"""What an indexing run says about files that were not read."""

from pathlib import Path

import pytest

from agentkit.knowledge.index.report import IndexReport, describe_empty, reasons_of

OFFICE = 'needs pip install "agentkit-rag[office]"'


@pytest.mark.parametrize(
    ("unread", "line"),
    [
        ([f"{n}.docx: {OFFICE}" for n in range(9)], OFFICE),
        (
            ["a.pdf: damaged", *(f"{n}.docx: {OFFICE}" for n in range(9))],
            f"9: {OFFICE}; 1: damaged",
        ),
        (
            [f"{n}.x: {reason}" for n, reason in enumerate("aaabbbccde")],
            "3: a; 3: b; 2: c; 2: other reasons",
        ),
    ],
)
def test_unread_files_are_counted_by_reason_in_one_line(unread: list[str], line: str) -> None:
    assert reasons_of(unread) == line


def test_files_with_one_reason_are_one_note() -> None:
    report = IndexReport(warnings=(*(f"in/{n}.docx: {OFFICE}" for n in range(9)), "b.pdf: damaged"))
    assert report.notes == (f"9 files: {OFFICE} (0.docx, 1.docx, 2.docx, ...)", "b.pdf: damaged")


@pytest.mark.parametrize(
    ("files", "unread", "reason"),
    [
        ([], [], "holds no documents yet"),
        ([".hidden/a.bin", ".b"], [], "holds no documents yet"),
        (["a.png"], [], '1 image needs pip install "agentkit-rag[ocr]"'),
        (["a.png", "sub/b.PNG", "c.bin"], [], '2 images need pip install "agentkit-rag[ocr]"'),
        (["a.bin", "b.bin", "LICENSE"], [], "its files are of other kinds (.bin, no suffix)"),
        (["a.docx"], [f"a.docx: {OFFICE}"], f"1 file not read ({OFFICE})"),
    ],
)
def test_a_folder_without_documents_says_why(
    tmp_path: Path, files: list[str], unread: list[str], reason: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert reason in describe_empty(tmp_path, unread, needs_ocr=[".png"])


def test_a_file_of_another_kind_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").touch()
    assert "other kinds (.xyz)" in describe_empty(tmp_path / "a.xyz", [])
