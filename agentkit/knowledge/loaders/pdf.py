"""PDF: the text of each page as paragraphs, its pages as parts, its outline as headings.

A page that is a picture is recognised where the extra `ocr` is installed, else named in a warning.
PDFium reads a file at a time. A file made to exhaust it can still do so inside one page; pages,
characters and time are bounded.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agentkit.documents import Document, Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import HAS_OCR, Loaded, escaped, named_ranges
from agentkit.knowledge.loaders.ocr import (
    Budget,
    RecognisedPage,
    confidence_warning,
    late_warning,
)
from agentkit.knowledge.loaders.pdf_forms import data_of, values_of, with_values
from agentkit.knowledge.loaders.pdf_grid import cutting, grids_of, in_grids
from agentkit.knowledge.loaders.pdf_page import Line, Place, lines_of
from agentkit.knowledge.loaders.pdf_scans import Scans
from agentkit.knowledge.loaders.pdf_tables import in_columns
from agentkit.knowledge.loaders.pdf_view import PageView
from agentkit.knowledge.loaders.reflow import (
    Usual,
    continues,
    joined,
    paragraphs,
    usual,
    without_running_heads,
)
from agentkit.text.terms import clean

_MOST_PAGES = 10_000
_MOST_CHARACTERS = 20_000_000
_MOST_HEADINGS = 20_000
_LONGEST_HEADING = 400
_NEXT_STEP = (
    "OCR recognised nothing on them" if HAS_OCR else 'Install OCR: pip install "agentkit-rag[ocr]"'
)
_HEADING_NUMBER = re.compile(r"^(?:\d+(?:\.\d+)*\.?|[A-Z]\.\d+|第.{1,4}[章节])\s+")
_NO_TITLE = re.compile(
    r"untitled|\(?anonymous\)?|无标题|未命名|(?:microsoft )?(?:word|powerpoint) - .*|.*\.\w{3,4}",
    re.I,
)

Headings = dict[tuple[int, str], int]
"""(page, title without white space) -> level, from the outline."""

_pdfium = threading.Lock()
"""PDFium is not thread-safe, nor are two documents of it in two threads."""


def load_pdf(content: bytes, source: str) -> Loaded:
    """Raises KnowledgeError for one that is encrypted, damaged, or holds no text at all."""
    import pypdfium2

    budget = Budget(len(content), source)
    scans = Scans(budget) if HAS_OCR else None
    with _pdfium:
        try:
            pdf = pypdfium2.PdfDocument(content)
        except pypdfium2.PdfiumError as error:
            raise KnowledgeError(_why_not(error, content)) from error
        try:
            read = _pages(pdf, scans)
            headings, metadata, data = _headings(pdf), _metadata(pdf), data_of(pdf)
        finally:
            pdf.close()
    pages = [in_columns(lines) for lines in without_running_heads([page.lines for page in read])]
    text, parts, format_ = _assembled(pages, headings)
    if lacking := [line for line in data if line.partition(": ")[2] not in text]:
        text = "\n\n".join(filter(None, [text, "\n".join(lacking)]))
        parts = (*parts[:-1], replace(parts[-1], end=len(text)))
    if not text.strip():
        raise KnowledgeError(f"scanned: no text on its pages. {_NEXT_STEP}")
    numbered = list(enumerate(read, 1))
    if recognised := {str(at): page.recognised.record for at, page in numbered if page.recognised}:
        metadata["ocr"] = recognised
    title = str(metadata.get("title") or PurePosixPath(source).stem)
    document = Document(source, text, title, metadata=metadata, format=format_, parts=parts)
    late = scans.late if scans is not None else []
    empty = [
        at
        for (at, page), part in zip(numbered, parts, strict=True)
        if page.has_objects and part.start == part.end and at not in late
    ]
    warnings = (
        *_warning(empty, "no text: scanned?"),
        *_warning([at for at, page in numbered if page.is_unmapped], "text in unknown characters."),
        *late_warning(late, budget.seconds),
        *confidence_warning(recognised),
    )
    return Loaded(document, warnings)


def _why_not(error: Exception, content: bytes) -> str:
    from pypdfium2 import raw

    code = getattr(error, "err_code", None)
    if code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
        return "encrypted: save it without a password"
    kind = "damaged" if b"%PDF-" in content[:1024] else "not a PDF, despite its name"
    return f"{kind}: open it in a PDF reader and print it to a new PDF"


def _pages(pdf: Any, scans: Scans | None) -> list[_Page]:
    if len(pdf) > _MOST_PAGES:
        raise KnowledgeError(f"more than {_MOST_PAGES:,} pages: split it")
    pages: list[_Page] = []
    pdf.init_forms()
    left = _MOST_CHARACTERS
    for number in range(len(pdf)):
        pages.append(_page(pdf, number, left, scans))
        left -= pages[-1].characters
    return pages


class _Page(NamedTuple):
    """What is read of a page. `characters` counts those in the file; without text, a page that
    `has_objects` may be a scan; of an unmapped one the fonts tell no characters."""

    lines: list[Line]
    characters: int
    has_objects: bool
    is_unmapped: bool = False
    recognised: RecognisedPage | None = None


def _page(pdf: Any, number: int, most: int, scans: Scans | None) -> _Page:
    from pypdfium2 import PdfiumError, raw

    try:
        page = pdf[number]
        text_page = page.get_textpage()
    except PdfiumError:
        return _Page([], 0, True)
    form = pdf.formenv.raw if pdf.formenv is not None else None
    try:
        count = text_page.count_chars()
        if count > most:
            raise KnowledgeError(f"more than {_MOST_CHARACTERS:,} characters: split it")
        view = PageView.of(page, text_page)
        grids = grids_of(view)

        def place(x: float, y: float) -> Place | None:
            for at, grid in enumerate(grids):
                if (cell := grid.origin(x, y)) is not None:
                    return Place(at, *cell)
            return None

        lines = lines_of(page, text_page, view, place if grids else None)
        if cut := cutting(lines):
            grids = [grid for at, grid in enumerate(grids) if at not in cut]
            lines = lines_of(page, text_page, view, place if grids else None)
        values = list(values_of(page, form, view))
        lines = with_values(lines, values, view.height, place) if values else lines
        lines = in_grids(lines, grids, view.height) if grids else lines
        has_objects = raw.FPDFPage_CountObjects(page) > 0
        recognised = None
        if has_objects and scans is not None:
            lines, recognised = scans.read(page, number + 1, lines, view)
        is_unmapped = view.is_unmapped and recognised is None
        return _Page(lines, count, has_objects, is_unmapped, recognised)
    finally:
        text_page.close()
        page.close()


def _headings(pdf: Any) -> Headings:
    """The headings of the outline that have a page."""
    found: Headings = {}
    for item in islice(pdf.get_toc(max_depth=6), _MOST_HEADINGS):
        destination = item.get_dest()
        page = destination.get_index() if destination else None
        if page is not None:
            found.setdefault((page, _normalized(item.get_title())), item.level + 1)
    return found


def _normalized(title: str) -> str:
    return re.sub(r"\s+", "", clean(title)).casefold()


def _metadata(pdf: Any) -> dict[str, Any]:
    """Title, author and date (ISO), where the file has real ones."""
    raw = {key: clean(value).strip() for key, value in pdf.get_metadata_dict().items()}
    date = re.match(r"D:(\d{4})(\d\d)(\d\d)", raw.get("CreationDate", ""))
    title, author = raw.get("Title", ""), raw.get("Author", "")
    found = {
        "title": "" if _NO_TITLE.fullmatch(title) else title,
        "author": "" if _NO_TITLE.fullmatch(author) else author,
        "date": "-".join(date.groups()) if date else "",
    }
    return {key: value for key, value in found.items() if value}


def _assembled(
    pages: Sequence[Sequence[Line]], headings: Headings
) -> tuple[str, tuple[Part, ...], Any]:
    """The text of all pages; a paragraph across the end of a page is joined."""
    norm = usual(pages)
    texts = [list(_blocks(page, lines, norm, headings)) for page, lines in enumerate(pages)]
    is_markdown = any(level for blocks in texts for level, _ in blocks)
    text, parts, last = "", list[Part](), None
    for number, (lines, blocks) in enumerate(zip(pages, texts, strict=True), 1):
        written = "\n\n".join(_written(level, block, is_markdown) for level, block in blocks)
        if text and blocks:
            goes_on = last and not blocks[0][0] and continues(last, lines[0])
            text, parts = _glued(text, parts, written, norm) if goes_on else (f"{text}\n\n", parts)
        parts.append(Part("page", str(number), len(text), len(text) + len(written)))
        text += written
        last = lines[-1] if lines and not blocks[-1][0] else None
    return text, tuple(parts), "markdown" if is_markdown else "text"


def _glued(text: str, parts: list[Part], after: str, norm: Usual) -> tuple[str, list[Part]]:
    """The text up to where the next page continues it, and its parts: a final hyphen may go."""
    begins = after[:200]
    kept = text[:-200] + joined(text[-200:], begins, norm.words).removesuffix(begins)
    if len(kept) < len(text):
        end = parts[-1]
        parts = [*parts[:-1], replace(end, end=len(kept))]
    return kept, parts


def _blocks(
    page: int, lines: Sequence[Line], norm: Usual, headings: Headings
) -> Iterator[tuple[int, str]]:
    """(level or 0, text) of each block of a page; what is in the outline is a heading."""
    for block in paragraphs(lines, norm):
        plain: list[str] = []
        for text in block:
            level = _level(page, text, headings)
            if not level:
                plain.append(text)
                continue
            if plain:
                yield 0, "\n".join(plain)
            yield level, text
            plain = []
        if plain:
            yield 0, "\n".join(plain)


def _level(page: int, text: str, headings: Headings) -> int:
    """The level of a heading, which the outline may have without its number, else 0."""
    if len(text) > _LONGEST_HEADING:
        return 0
    without_number = headings.get((page, _normalized(_HEADING_NUMBER.sub("", text))), 0)
    return headings.get((page, _normalized(text)), without_number)


def _written(level: int, text: str, is_markdown: bool) -> str:
    """A block as Markdown, escaped, or as plain text where the document has no headings."""
    if level:
        return f"{'#' * level} {text}"
    return escaped(text) if is_markdown else text


def _warning(pages: Sequence[int], what: str) -> tuple[str, ...]:
    verb = "holds" if len(pages) == 1 else "hold"
    return (f"{named_ranges('page', pages)} {verb} {what} {_NEXT_STEP}",) if pages else ()
