"""Measure how much of public files the loaders keep: word recall and order per kind of file.

    python benchmarks/loaders.py FOLDER [FOLDER ...]

The reference is independent of the loaders: `pdftotext` for PDF, the text in the XML of Office
files, the text of an HTML page's content, the cells of a notebook. Recall is the share of its words
that the loader has too (as a multiset); order is the longest common sequence of words in shares of
those found.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from statistics import mean
from typing import Any

from lxml import etree, html

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import load

MOST_WORDS = 4000
WORD = re.compile(r"[^\W_]+")
BLOCKS = {"p", "h", "tr", "table-row", "txBody", "sp", "table-cell", "tc", "br", "tab"}


def pdf_words(path: Path) -> Iterator[str]:
    run = subprocess.run(
        ["pdftotext", str(path), "-"], capture_output=True, check=True, timeout=120
    )
    yield run.stdout.decode(errors="replace")


def xml_words(path: Path, pattern: str, tags: set[str]) -> Iterator[str]:
    """The text of the tags in the files of an archive whose names match."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if re.fullmatch(pattern, name):
                yield " ".join(_xml_text(etree.fromstring(archive.read(name)), tags))


def _xml_text(root: Any, tags: set[str]) -> Iterator[str]:
    piece = ""
    for event, element in etree.iterwalk(root, events=("start", "end")):
        name = etree.QName(element).localname if isinstance(element.tag, str) else ""
        if event == "start" and name in tags:
            piece += element.text or ""
        elif name in BLOCKS:
            yield piece
            piece = ""
    yield piece


def html_words(path: Path) -> Iterator[str]:
    page = html.document_fromstring(path.read_bytes())
    found = page.xpath("//main | //article | //*[@role='main']") or page.xpath("//body")
    etree.strip_elements(found[0], "script", "style", "nav", "header", "footer", with_tail=False)
    yield " ".join(found[0].itertext())


def notebook_words(path: Path) -> Iterator[str]:
    for cell in json.loads(path.read_text()).get("cells", []):
        yield "".join(cell["source"])
        for output in cell.get("outputs", []):
            yield "".join(output.get("text", []))[:1000]


REFERENCES: Mapping[str, Callable[[Path], Iterable[str]]] = {
    "pdf": pdf_words,
    "docx": lambda path: xml_words(path, r"word/(document|footnotes|endnotes)\.xml", {"t"}),
    "pptx": lambda path: xml_words(path, r"ppt/slides/slide\d+\.xml", {"t"}),
    "xlsx": lambda path: xml_words(path, r"xl/sharedStrings\.xml", {"t"}),
    "html": html_words,
    "ipynb": notebook_words,
}


def words(texts: Iterable[str]) -> list[str]:
    return WORD.findall(" ".join(texts).casefold())


def compare(reference: list[str], read: list[str]) -> tuple[float, float]:
    """(recall, order), both from 0 to 1."""
    common = Counter(reference) & Counter(read)
    recall = sum(common.values()) / len(reference)
    first, second = reference[:MOST_WORDS], read[:MOST_WORDS]
    matched = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
    found = sum((Counter(first) & Counter(second)).values())
    return recall, sum(block.size for block in matched) / found if found else 1.0


def main(folders: list[str]) -> None:
    results: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in sorted(found for folder in folders for found in Path(folder).rglob("*.*")):
        kind = path.suffix[1:].lower()
        if kind not in REFERENCES or not path.is_file() or path.stat().st_size > 5_000_000:
            continue
        try:
            reference = words(REFERENCES[kind](path))
            if len(reference) < 20:
                continue
            read = words([load(path.read_bytes(), path.name).document.text])
        except (KnowledgeError, etree.LxmlError, ValueError, KeyError, OSError, zipfile.BadZipFile):
            continue
        except subprocess.SubprocessError:
            continue
        recall, order = compare(reference, read)
        results[kind].append((recall, order))
        if recall < 0.9:
            print(f"{recall:.3f} {path}", file=sys.stderr)
    print("| kind | files | word recall | order |\n| --- | --- | --- | --- |")
    for kind, values in sorted(results.items()):
        recalls, orders = zip(*values, strict=True)
        print(f"| {kind} | {len(values)} | {mean(recalls):.3f} | {mean(orders):.3f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
