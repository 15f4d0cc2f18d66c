"""Documents of the page: uploaded, judged by content, indexed, read, shown and deleted."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reportlab.pdfgen.canvas import Canvas

from agentkit import Project
from agentkit.server.changes import Changes
from agentkit.server.errors import ApiError
from agentkit.server.indexing import IndexWriter
from agentkit.server.keys import KeyStore
from agentkit.server.uploads import named_by_content, safe_name
from tests.server.page_client import Json, Page, open_page

QUOTE = "The archive keeps each backup for ninety days."


def a_pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page."""
    content = io.BytesIO()
    canvas = Canvas(content, pagesize=(400, 300))
    for text in pages:
        canvas.drawString(40, 200, text)
        canvas.showPage()
    canvas.save()
    return content.getvalue()


def a_zip(*names: str) -> bytes:
    """An archive with empty members."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return content.getvalue()


async def upload(page: Page, status: int = 202, **files: bytes) -> Json:
    """Upload files by name; a double underscore stands for a dot."""
    parts = [("files", (name.replace("__", "."), content)) for name, content in files.items()]
    found: Json = await page.request("POST", "/api/documents", status, files=parts)
    return found


async def settled(page: Page) -> dict[str, Json]:
    """The documents by source, when none is waiting or being read."""
    while True:
        documents = (await page.get("/api/documents"))["documents"]
        if all(each["state"] not in ("queued", "reading") for each in documents):
            return {each["source"]: each for each in documents}
        await asyncio.sleep(0.02)


async def until(page: Page, holds: Callable[[set[str]], bool]) -> None:
    """Wait until something holds for the sources."""
    while True:
        if holds(set(await settled(page))):
            return
        await asyncio.sleep(0.05)


async def test_an_upload_is_indexed_and_found_and_can_be_asked_about(folder: Path) -> None:
    async with open_page(folder) as page:
        uploaded = await upload(page, notice__md=b"# Notice\n\nThe gate opens at 06:45.\n")
        assert uploaded["documents"][0]["state"] == "queued"
        found = await settled(page)
        notice = found["notice.md"]
        assert (notice["state"], notice["chunks"], notice["original"]) == ("indexed", 1, True)
        assert notice["id"] == uploaded["documents"][0]["id"]
        assert notice["bytes"] == 35
        hits = (await page.get("/api/search", params={"q": "When does the gate open?"}))["hits"]
        assert hits[0]["passage"]["source"] == "notice.md"
        assert hits[0]["ranks"]["dense"] == 1
        assert hits[0]["ranks"]["keywords"] == 1
        assert all(0 < score <= 1 for score in hits[0]["scores"].values())
        assert hits[0]["scores"]["dense"] > hits[-1]["scores"]["dense"]
        turn = await page.answered(await page.session(), "When does the gate open?")
        assert "06:45" in turn["text"]


@pytest.mark.parametrize("by_openai", [False, True])
async def test_a_question_right_after_the_first_start_waits_for_the_documents(
    folder: Path, by_openai: bool
) -> None:
    question = "When is a backup of the archive made?"
    async with open_page(folder, in_background=True) as page:
        if by_openai:
            body = {"model": folder.name, "messages": [{"role": "user", "content": question}]}
            answer = await page.post("/v1/chat/completions", body)
            text = answer["choices"][0]["message"]["content"]
        else:
            text = (await page.answered(await page.session(), question))["text"]
        assert "Sunday at 03:00" in text


async def test_who_waits_for_a_job_that_is_replaced_waits_for_the_new_one(folder: Path) -> None:
    project = Project.open(folder, model="extractive", trust=True)
    project.in_background = True
    async with project:
        writer = IndexWriter(project, Changes())
        first = writer.request("")
        writer.request("")
        assert not first.done.is_set()
        async with writer.running(), asyncio.timeout(60):
            await first.done.wait()
        assert [each.source for each in await writer.knowledge.documents()] == ["storage.md"]


async def test_a_file_with_a_name_that_is_known_replaces_it(folder: Path) -> None:
    async with open_page(folder) as page:
        await upload(page, storage__md=b"# Storage\n\nAll is new.\n")
        await settled(page)
        hits = (await page.get("/api/search", params={"q": "backup archive"}))["hits"]
        assert [hit["passage"]["text"] for hit in hits] == ["# Storage\n\nAll is new."]


async def test_files_that_appear_or_go_are_noticed(folder: Path) -> None:
    async with open_page(folder) as page:
        await settled(page)
        (folder / "knowledge" / "sub").mkdir()
        (folder / "knowledge" / "sub" / "late.md").write_text("# Late\n\nIt came later.\n")
        async with asyncio.timeout(20):
            await until(page, lambda sources: "sub/late.md" in sources)
            (folder / "knowledge" / "storage.md").unlink()
            await until(page, lambda sources: "storage.md" not in sources)


async def test_a_passage_is_read_with_its_surroundings_as_an_exact_slice(folder: Path) -> None:
    text = "".join(f"## Part {n}\n\nLine {n} is here. 🙂\n\n" for n in range(400))
    (folder / "knowledge" / "long.md").write_text(text, encoding="utf-8")
    async with open_page(folder) as page:
        hit = (await page.get("/api/search", params={"q": "Line 200 is here"}))["hits"][0]
        passage = hit["passage"]
        params = {"start": passage["start"], "end": passage["end"], "around": 300}
        read = await page.get(f"/api/documents/{passage['document']}/text", params=params)
        assert read["text"] == text[read["from"] : read["to"]]
        assert text[read["start"] : read["end"]] == passage["text"]
        assert read["from"] < read["start"] < read["end"] < read["to"]
        assert read["text"].startswith(("## Part", "Line", "\n"))
        assert read["heading"] == passage["heading"]
        assert (read["total"], read["page"], read["pages"]) == (len(text), None, None)
        whole = await page.get(f"/api/documents/{passage['document']}/text")
        assert (whole["from"], whole["start"]) == (0, None)
        beyond = {"start": 10**9, "end": 10**9}
        last = await page.get(f"/api/documents/{passage['document']}/text", params=beyond)
        assert last["to"] == len(text)


@pytest.mark.slow
async def test_a_page_of_a_pdf_is_drawn_with_the_quote_highlighted(folder: Path) -> None:
    (folder / "knowledge" / "rules.pdf").write_bytes(a_pdf("An introduction.", QUOTE))
    async with open_page(folder) as page:
        listed = (await settled(page))["rules.pdf"]
        document = listed["id"]
        assert listed["pages"] == 2
        text = (await page.get(f"/api/documents/{document}/text"))["text"]
        path = f"/api/documents/{document}/pages/2.png"
        at = {"start": text.index(QUOTE), "end": text.index(QUOTE) + len(QUOTE)}
        drawn = await page.client.get(path, params=at)
        plain = await page.client.get(path)
        assert drawn.headers["content-type"] == "image/png"
        pixels, unmarked = _pixels(drawn.content), _pixels(plain.content)
        changed = np.argwhere((pixels != unmarked).any(axis=2))
        scale = pixels.shape[1] / 400
        (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
        assert 80 * scale < top < 100 * scale < bottom < 110 * scale
        assert 35 * scale < left < 45 * scale < 200 * scale < right
        read = await page.get(f"/api/documents/{document}/text", params=at)
        assert (read["page"], read["pages"]) == (2, 2)
        for number in (0, 3, -1):
            await page.get(f"/api/documents/{document}/pages/{number}.png", 404)


def _pixels(png: bytes) -> Any:
    """The pixels of a PNG without filters."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    at, body = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        body += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + 3 * width)
    return rows[:, 1:].reshape(height, width, 3)


@pytest.mark.slow
async def test_an_original_is_a_download_that_a_browser_does_not_run(folder: Path) -> None:
    name = "é <b>.html".replace("<b>", "b")
    page_text = b"<html><body><script>alert(1)</script><p>Opening hours: nine.</p></body></html>"
    (folder / "knowledge" / name).write_bytes(page_text)
    async with open_page(folder) as page:
        documents = await settled(page)
        document = next(each for each in documents.values() if each["format"] == "html")
        original = await page.client.get(f"/api/documents/{document['id']}/file")
    assert original.content == page_text
    assert original.headers["content-type"] == "application/octet-stream"
    assert original.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert original.headers["content-security-policy"].startswith("sandbox")
    assert original.headers["x-content-type-options"] == "nosniff"


async def test_a_document_is_deleted_with_its_file_and_read_again_on_demand(folder: Path) -> None:
    async with open_page(folder) as page:
        document = (await settled(page))["storage.md"]
        again = await page.request("POST", f"/api/documents/{document['id']}/index", 202)
        assert again["state"] == "queued"
        await settled(page)
        await page.request("DELETE", f"/api/documents/{document['id']}", 204)
        assert "storage.md" not in await settled(page)
        assert not (folder / "knowledge" / "storage.md").exists()
        assert (await page.get("/api/search", params={"q": "backup"}))["hits"] == []
        for path in ("text", "file", "pages/1.png"):
            await page.get(f"/api/documents/{document['id']}/{path}", 404)


@pytest.mark.slow
async def test_a_file_that_cannot_be_read_is_listed_with_the_reason(folder: Path) -> None:
    async with open_page(folder) as page:
        await upload(page, broken__pdf=b"%PDF-1.7 and nothing else")
        broken = (await settled(page))["broken.pdf"]
    assert broken["state"] == "unread"
    assert str(folder) not in broken["reason"]
    assert "damaged" in broken["reason"]


@pytest.mark.parametrize(
    ("name", "content", "stored"),
    [
        ("a.md", b"# A", "a.md"),
        ("report", a_pdf("x"), "report.pdf"),
        ("report.bin", a_pdf("x"), "report.bin.pdf"),
        ("book", a_zip("mimetype"), "book.zip"),
        ("sheet.xlsx", a_zip("[Content_Types].xml", "xl/workbook.xml"), "sheet.xlsx"),
        ("text.txt", "文字".encode("utf-16"), "text.txt"),
        ("empty.md", b"", "empty.md"),
    ],
)
def test_a_file_is_stored_under_a_name_of_its_kind(name: str, content: bytes, stored: str) -> None:
    assert named_by_content(name, io.BytesIO(content)) == stored


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("notes.txt", a_pdf("x"), "is a PDF file by its content"),
        ("a.pdf", b"<html></html>", "is not a PDF file by its content"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is a DOC file"),
        ("a.docx", a_zip("evil.exe"), "is a ZIP file"),
        ("a.png", b"GIF89a", "is not a PNG file"),
        ("program", b"\x7fELF\x02\x01\x01\0", "of no kind that can be read"),
        ("a.md", b"MZ\x90\0\x03\0\0\0", "of no kind that can be read"),
        ("a.exe", b"plain text", "of no kind that can be read"),
    ],
)
def test_a_file_of_another_kind_than_its_name_says_is_refused(
    name: str, content: bytes, reason: str
) -> None:
    with pytest.raises(ApiError) as refused:
        named_by_content(name, io.BytesIO(content))
    assert refused.value.status_code == 415
    assert reason in refused.value.detail


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../etc/passwd.md", "passwd.md"),
        ("C:\\Users\\me\\a.md", "a.md"),
        ("/abs/a.md", "a.md"),
        ("e\u0301.md", "é.md"),
        ("trailing. ", "trailing"),
        ("日本語 の 名前.md", "日本語 の 名前.md"),
    ],
)
def test_a_name_keeps_nothing_of_its_folders(name: str, stored: str) -> None:
    assert safe_name(name) == stored


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/..", ".hidden.md", "con.md", "LPT1", "a\0.md", "a\n.md", "\u202egpj.md",
     "a:b.md", "x" * 201, "../", "nul"],
)  # fmt: skip
def test_a_name_that_is_no_file_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ApiError):
        safe_name(name)


async def test_of_several_uploads_those_that_cannot_be_used_are_named(folder: Path) -> None:
    async with open_page(folder) as page:
        done = await upload(page, good__md=b"# Good\n\nFine.", bad__exe=b"MZ\0")
        states = {each["source"]: each["state"] for each in done["documents"]}
        assert states == {"good.md": "queued", "bad.exe": "failed"}
        refused = await upload(page, 415, bad__exe=b"MZ\0")
        assert refused["error"]["code"] == "unsupported_kind"
        unnamed = await page.request("POST", "/api/documents", 422, files={"files": (None, b"# A")})
        assert "must be a file" in unnamed["error"]["message"]
        assert not (folder / "knowledge" / "bad.exe").exists()
        assert not [name for name in os.listdir(folder / "knowledge") if name.startswith(".")]


async def test_nothing_is_written_or_read_outside_the_folder(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text("# Secret\n\nThe code is 4711.\n")
    (folder / "knowledge" / "link.md").symlink_to(secret)
    async with open_page(folder) as page:
        documents = await settled(page)
        assert "link.md" not in documents
        await upload(page, link__md=b"# Mine\n\nNew text.\n")
        await settled(page)
        assert secret.read_text().startswith("# Secret")
        assert (folder / "knowledge" / "link.md").read_text().startswith("# Mine")


@pytest.mark.parametrize("url", ["ftp://x.org/a", "file:///etc/passwd", "x.org", "http://u:p@x.org/",
                                 "http://[::1", "javascript:alert(1)"])  # fmt: skip
async def test_an_address_that_is_none_of_the_web_is_refused(folder: Path, url: str) -> None:
    async with open_page(folder) as page:
        await page.request("POST", "/api/documents/url", 422, json={"url": url})


async def test_an_address_of_this_machine_is_not_fetched(folder: Path) -> None:
    url = "http://127.0.0.1:9/secret"
    async with open_page(folder) as page:
        await page.request("POST", "/api/documents/url", 202, json={"url": url})
        failed = (await settled(page))[url]
    assert failed["state"] == "failed"
    assert "this machine's own address" in failed["reason"]


async def test_a_key_without_the_role_manages_no_documents(folder: Path) -> None:
    key = KeyStore(folder).add("reader", ["ask"])
    async with open_page(folder, needs_key=True) as open_:
        page = Page(open_.app, open_.client, {"authorization": f"Bearer {key}"})
        document = (await settled(page))["storage.md"]["id"]
        await upload(page, 403, a__md=b"# A")
        await page.request("DELETE", f"/api/documents/{document}", 403)
        await page.request("POST", f"/api/documents/{document}/index", 403)
        await page.request("POST", "/api/documents/url", 403, json={"url": "https://x.org"})
        await page.request("PATCH", "/api/settings", 403, json={"knowledge.results": 3})
        await page.get(f"/api/documents/{document}/text")


async def test_a_file_that_is_too_large_is_refused(folder: Path) -> None:
    (folder / "agentkit.toml").write_text("[knowledge]\nmax_file_mb = 0.001\n")
    async with open_page(folder) as page:
        refused = await upload(page, 413, large__md=b"x" * 2000)
    assert "knowledge.max_file_mb" in refused["error"]["message"]


async def test_the_first_upload_makes_the_folder(tmp_path: Path) -> None:
    async with open_page(tmp_path) as page:
        assert (await page.get("/api/documents"))["documents"] == []
        await page.get("/api/search", 404, params={"q": "x"})
        await upload(page, first__md=b"# First\n\nThe gate is green.\n")
        assert (await settled(page))["first.md"]["state"] == "indexed"
        turn = await page.answered(await page.session(), "Which colour has the gate?")
    assert "green" in turn["text"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"knowledge.results": 3, "limits.turns": 4, "instructions": "Be brief."}, 200),
        ({"knowledge.results": 0}, 422),
        ({"knowledge.retrieve": "sometimes"}, 422),
        ({"model": "openai:x"}, 422),
        ({"knowledge.results": None}, 422),
        ({"knowledge.sources": "storage.md"}, 422),
    ],
)
async def test_settings_are_changed_within_their_schema(
    folder: Path, change: Json, status: int
) -> None:
    async with open_page(folder) as page:
        await page.request("PATCH", "/api/settings", status, json=change)
        settings = {s["key"]: s for s in (await page.get("/api/settings"))["settings"]}
    assert settings["knowledge.results"]["schema"]["maximum"] == 50
    assert settings["knowledge.results"]["value"] == (3 if status == 200 else 5)
    if status == 200:
        assert "results = 3" in (folder / "agentkit.toml").read_text()


async def test_instructions_are_stored_as_they_were_written(folder: Path) -> None:
    text = 'Say "yes" \\ or no.\nIn 中文 🙂\x7f'
    async with open_page(folder) as page:
        changed = await page.request("PATCH", "/api/settings", json={"instructions": text})
        assert changed["settings"][0]["value"] == text
    async with open_page(folder) as page:
        settings = {s["key"]: s for s in (await page.get("/api/settings"))["settings"]}
    assert settings["instructions"]["value"] == text
