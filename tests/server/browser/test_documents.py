"""Documents on the page in a real browser: uploads, PDF pages, hostile documents, searches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from tests.server.browser.app import HOSTILE
from tests.server.browser.conftest import ROOT, write_pdf
from tests.server.browser.test_attachments import drop
from tests.server.browser.test_conversation import ask, wait_for_answer

pytestmark = pytest.mark.slow

# How much of the drawn page has the colour of a highlight: neither white, grey nor black.
HIGHLIGHTED = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
        const rgb = [data[at], data[at + 1], data[at + 2]];
        if (Math.max(...rgb) - Math.min(...rgb) > 40) coloured += 1;
    }
    return coloured / (data.length / 4);
}"""


def open_documents(page: Page) -> None:
    page.get_by_role("button", name="Documents", exact=False).first.click()
    page.get_by_role("button", name="Drop files here or choose them").wait_for()


def upload(page: Page, *paths: Path) -> None:
    page.get_by_role("complementary").locator("input[type=file]").set_input_files(paths)


def cited_document(page: Page, path: Path, question: str) -> Locator:
    """The panel with the document that an answer cites, which is uploaded first."""
    open_documents(page)
    upload(page, path)
    page.locator(".document-item:not(:has(.badge))", has_text=path.name).wait_for()
    page.keyboard.press("Escape")
    ask(page, question)
    wait_for_answer(page)
    page.locator(".cite").first.click()
    return page.get_by_role("complementary")


def test_a_pdf_is_uploaded_asked_about_and_cited_on_its_page(page: Page, tmp_path: Path) -> None:
    question = "When is the copy verified by checksum, says the manual?"
    panel = cited_document(page, write_pdf(tmp_path / "manual.pdf"), question)
    drawn = panel.locator("canvas[data-page='2']")
    expect(drawn).to_be_visible()
    assert 0.0005 < drawn.evaluate(HIGHLIGHTED) < 0.2
    expect(panel.locator(".page-quote")).to_contain_text("verified by checksum")
    panel.get_by_role("button", name="Next page").click()
    expect(panel.locator("canvas[data-page='3']")).to_be_visible()
    panel.get_by_role("button", name="Text").click()
    expect(panel.locator("mark.quote")).to_contain_text("verified by checksum")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download the original").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("kind", ["pdf", "webp"])
def test_the_quote_is_highlighted_on_a_scanned_page(page: Page, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("rapidocr", reason="needs the extra ocr")
    with Image.open(ROOT / "tests" / "knowledge" / "loaders" / "scans" / "en.webp") as scan:
        scan.convert("RGB").save(tmp_path / f"scan.{kind}", resolution=200)
    question = "What does the scan say about the invoice?"
    panel = cited_document(page, tmp_path / f"scan.{kind}", question)
    drawn = panel.locator("canvas[data-page='1']")
    expect(drawn).to_be_visible()
    assert 0.005 < drawn.evaluate(HIGHLIGHTED) < 0.3
    panel.get_by_role("button", name="Text").click()
    expect(panel.locator("mark.quote")).to_contain_text("payable within 30 days")


def test_a_hostile_document_is_shown_without_running_or_loading_anything(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.md"
    path.write_text(f"# Hostile\n\n{HOSTILE}", encoding="utf-8")
    open_documents(page)
    upload(page, path)
    page.locator(".document-item:not(:has(.badge))", has_text="hostile.md").wait_for()
    page.get_by_role("button", name=re.compile("^Hostile")).click()
    document = page.get_by_role("region", name="Document text")
    expect(document).to_contain_text("styled")
    document.locator("b").first.hover()
    page.get_by_role("complementary").get_by_role("button", name="Text", exact=True).click()
    expect(document).to_contain_text("window.attacked = 1")
    assert page.evaluate("window.attacked") is None


def test_a_file_of_an_unknown_kind_is_refused_with_the_reason(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 8)
    open_documents(page)
    upload(page, path)
    failed = page.locator(".upload.failed", has_text="data.bin")
    expect(failed.locator(".field-error")).not_to_be_empty()
    failed.get_by_role("button", name="Dismiss").click()
    expect(failed).to_have_count(0)


def test_a_file_dropped_on_the_documents_is_uploaded(page: Page) -> None:
    drop(page, "dropped.md", "# Dropped\n\nThe dropped note is about valves.", at=0.75)
    expect(page.locator(".document-item", has_text="dropped.md")).to_be_visible()


def test_a_document_is_deleted_after_a_second_click(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "obsolete.md"
    path.write_text("# Obsolete\n\nThis note is obsolete.", encoding="utf-8")
    open_documents(page)
    upload(page, path)
    row = page.locator(".document-item", has_text="obsolete.md")
    row.wait_for()
    row.hover()
    row.get_by_role("button", name=re.compile("Actions for")).click()
    page.get_by_role("menuitem", name="Delete").click()
    row.get_by_role("button", name="Delete", exact=True).click()
    expect(row).to_have_count(0)


def test_a_document_is_found_among_thousands(page: Page) -> None:
    def listed(route: Route) -> None:
        found = route.fetch().json()["documents"][0]
        copies = [{**found, "id": f"d{n}", "title": f"Report {n}"} for n in range(2000)]
        route.fulfill(json={"documents": [*copies, {**found, "source": "z.md", "title": "Zebra"}]})

    page.route("**/api/documents", listed)
    page.reload()
    page.get_by_role("button", name="Documents 2,001").click()
    expect(page.locator(".document-item")).to_have_count(100)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".document-item")).to_have_count(200)
    page.get_by_role("searchbox", name="Filter documents").fill("zebra")
    expect(page.locator(".document-item")).to_have_count(1)
    page.get_by_role("searchbox", name="Filter documents").fill("no such document")
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    page.get_by_role("button", name="Search in: All documents").press("Enter")
    page.keyboard.type("zeb")
    expect(page.get_by_role("menuitemcheckbox")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Search in: z.md")).to_be_focused()


def test_a_search_shows_how_each_retriever_ranked_a_passage(page: Page) -> None:
    page.get_by_role("button", name="Search passages").click()
    page.get_by_role("searchbox", name="Search passages").fill("objects in a bucket")
    page.keyboard.press("Enter")
    first = page.locator(".hits li").first
    expect(first).to_contain_text("500 objects")
    expect(first.locator(".ranks")).to_contain_text("#1")
    first.get_by_role("button").click()
    expect(page.locator("mark.quote", has_text="500 objects")).to_be_visible()
    page.get_by_role("button", name="Back", exact=True).click()
    expect(page.locator(".hits li").first).to_contain_text("500 objects")


def test_the_address_of_a_passage_opens_it(page: Page) -> None:
    hits = page.evaluate("fetch('/api/search?q=objects&limit=1').then(each => each.json())")
    passage = hits["hits"][0]["passage"]
    path = f"#/documents/{passage['document']}?start={passage['start']}&end={passage['end']}"
    page.evaluate(f"location.hash = '{path}'")
    expect(page.locator("mark.quote").first).to_be_in_viewport()


def test_a_setting_of_the_server_is_changed(page: Page) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("knowledge.results").fill("7")
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_label("knowledge.results")).to_have_value("7")
    page.get_by_label("knowledge.results").fill("99")
    expect(page.locator(".server-settings .field-error")).not_to_be_empty()
