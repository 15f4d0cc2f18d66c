"""The sections of a table: one for each sheet, its columns as the heading, its rows as blocks.

A row or record is whole, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.splitting.blocks import Block, Section, filled, trimmed

_LONGEST_HEADING = 300


def row_sections(document: Document) -> Iterator[Section]:
    """What stands between rows goes with the row after it."""
    text, columns = document.text, document.metadata.get("columns")
    blocks: list[Block] = []
    sheet, reached = "", 0
    for row in _rows(document.parts):
        start, end = max(row.start, reached), min(row.end, len(text))
        row_sheet = row.name.rpartition(", ")[0]
        if row_sheet != sheet and blocks:
            yield Section(_heading(sheet, columns), tuple(filled(blocks)), even=False)
            blocks = []
        sheet = row_sheet
        if start < end:
            blocks.append(trimmed(text, reached, start, "lines"))
            blocks.append(trimmed(text, start, end, "row"))
            reached = end
    blocks.append(trimmed(text, reached, len(text), "lines"))
    yield Section(_heading(sheet, columns), tuple(filled(blocks)), even=False)


def _rows(parts: Sequence[Part]) -> list[Part]:
    return sorted((p for p in parts if p.kind in ("row", "record")), key=lambda p: p.start)


def _heading(sheet: str, columns: Any) -> str:
    """ "Columns: a, b", after the sheet where there are sheets."""
    names = columns.get(sheet) if isinstance(columns, Mapping) else columns
    said = ", ".join(map(str, names)) if isinstance(names, (list, tuple)) else ""
    parts = [sheet, f"Columns: {said}" if said else ""]
    heading = " ".join(" > ".join(part for part in parts if part).split())
    return heading if len(heading) <= _LONGEST_HEADING else heading[: _LONGEST_HEADING - 1] + "…"
