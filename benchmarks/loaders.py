"""Measure how much of public files the loaders keep: word recall and order per kind of file.

    python benchmarks/loaders.py FOLDER [FOLDER ...]

The files are not part of this repository. The table in docs/knowledge.md was measured on the test
files of these, each cloned or unpacked from its source distribution, and on the documentation that
Debian's packages install in /usr/share/doc:

    https://github.com/apache/poi                   test-data
    https://github.com/docling-project/docling      tests/data
    https://github.com/jgm/pandoc                   test
    https://github.com/microsoft/markitdown         packages/markitdown/tests/test_files
    https://github.com/tafia/calamine               tests
    https://github.com/Unstructured-IO/unstructured example-docs
    python-docx, python-pptx, openpyxl, olefile, odfpy, ebooklib, nbconvert, papermill

The reference is independent of the loaders: `pdftotext` for PDF, the text in the XML of Office,
OpenDocument and EPUB files, the text of an HTML page's content, the cells of a notebook, the parts
of a mail. Recall is the share of its words that the loader has too (as a multiset); order is the
longest common sequence of words in shares of those found.
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
from email import message_from_bytes, policy
from pathlib import Path
from statistics import mean
from typing import Any

from lxml import etree, html

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import Parsers

MOST_WORDS = 2000
MOST_BYTES = 5_000_000
FEWEST_WORDS = 20
WORD = re.compile(r"[^\W_]+")
BLOCKS = {"p", "h", "tr", "table-row", "txBody", "sp", "table-cell", "tc", "br", "tab", "li", "td"}
UNSEEN = {"delText", "instrText", "tracked-changes", "annotation", "Fallback", "del", "moveFrom"}
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def pdf_words(path: Path) -> Iterator[str]:
    run = subprocess.run(
        ["pdftotext", str(path), "-"], capture_output=True, check=True, timeout=120
    )
    yield run.stdout.decode(errors="replace")


def xml_words(path: Path, pattern: str, tags: set[str]) -> Iterator[str]:
    """The text of the tags in the files of an archive whose names match, of all for no tags."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if re.fullmatch(pattern, name):
                yield " ".join(_xml_text(etree.fromstring(archive.read(name)), tags))


def _xml_text(root: Any, tags: set[str]) -> Iterator[str]:
    for element in list(root.iter(etree.Element)):
        if etree.QName(element).localname in UNSEEN:
            tail = element.tail
            element.clear()
            element.tail = tail
    piece = ""
    for event, element in etree.iterwalk(root, events=("start", "end")):
        name = etree.QName(element).localname if isinstance(element.tag, str) else ""
        if event == "start" and (name in tags or not tags):
            piece += element.text or ""
        if name in BLOCKS:
            yield piece
            piece = ""
        if event == "end" and not tags:
            piece += element.tail or ""
    yield piece


def sheet_words(path: Path) -> Iterator[str]:
    """The texts that the cells of a workbook refer to or hold."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        shared: list[str] = []
        if "xl/sharedStrings.xml" in names:
            root = etree.fromstring(archive.read("xl/sharedStrings.xml"))
            for item in root.iterfind("{*}si"):
                runs = item.xpath(
                    "./*[local-name()='t'] | ./*[local-name()='r']/*[local-name()='t']"
                )
                shared.append("".join(run.text or "" for run in runs))
        for name in sorted(n for n in names if re.fullmatch(r"xl/worksheets/\w+\.xml", n)):
            for cell in etree.fromstring(archive.read(name)).iterfind(".//{*}c"):
                value = cell.findtext("{*}v") or ""
                if cell.get("t") == "s" and value.isdigit() and int(value) < len(shared):
                    yield shared[int(value)]
                elif cell.get("t") in ("str", "inlineStr"):
                    yield value or "".join(cell.find("{*}is").itertext())


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


def mail_words(path: Path) -> Iterator[str]:
    """The plain text of a mail, or its HTML where it has no other."""
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    yield str(message["subject"] or "")
    body = message.get_body(("plain", "html"))
    if body is not None:
        text = str(body.get_content())
        yield text if body.get_content_subtype() == "plain" else _page_text(text)


def _page_text(text: str) -> str:
    page = html.document_fromstring(text)
    etree.strip_elements(page, "script", "style", "title", with_tail=False)
    return " ".join(page.itertext())


WORD_FILES = r"word/(document|footnotes|endnotes)\d*\.xml"
REFERENCES: Mapping[str, Callable[[Path], Iterable[str]]] = {
    "pdf": pdf_words,
    "docx": lambda path: xml_words(path, WORD_FILES, {"t", "noBreakHyphen"}),
    "pptx": lambda path: xml_words(path, r"ppt/slides/slide\d+\.xml", {"t"}),
    "xlsx": sheet_words,
    "xlsm": sheet_words,
    **dict.fromkeys(("odt", "ods", "odp"), lambda path: xml_words(path, r"content\.xml", set())),
    "epub": lambda path: xml_words(path, r".*(?<!nav)(?<!toc)\.xhtml", set()),
    "html": html_words,
    "ipynb": notebook_words,
    "eml": mail_words,
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
    refused: Counter[str] = Counter()
    with Parsers() as parsers:
        for path in sorted(found for folder in folders for found in Path(folder).rglob("*.*")):
            kind = path.suffix[1:].lower()
            if kind not in REFERENCES or not path.is_file() or path.stat().st_size > MOST_BYTES:
                continue
            try:
                reference = words(REFERENCES[kind](path))
            except (etree.LxmlError, ValueError, LookupError, OSError, AttributeError, TypeError):
                continue
            except (subprocess.SubprocessError, zipfile.BadZipFile, NotImplementedError):
                continue
            if len(reference) < FEWEST_WORDS:
                continue
            try:
                read = words([parsers.load(path.read_bytes(), path.name).document.text])
            except KnowledgeError as error:
                refused[kind] += 1
                print(f"{error} ({path})", file=sys.stderr)
                continue
            recall, order = compare(reference, read)
            results[kind].append((recall, order))
            if recall < 0.9:
                print(f"{recall:.3f} {order:.3f} {path}", file=sys.stderr)
    print("| kind | files | refused | word recall | order |\n| --- | --- | --- | --- | --- |")
    for kind, values in sorted(results.items()):
        recalls, orders = (f"{mean(column):.3f}" for column in zip(*values, strict=True))
        print(f"| {kind} | {len(values)} | {refused[kind]} | {recalls} | {orders} |")


if __name__ == "__main__":
    main(sys.argv[1:])
