"""Files and images with a question, on the page in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.server.browser.test_conversation import ask, wait_for_answer

pytestmark = pytest.mark.slow

QUESTION = "What is in the attached files?"
ROTA = "# Rota\n\nThe night shift of the pump house begins at 21:30.\n"

# Files as another program gives them: pasted into the question, or dragged over the page.
PASTE = """async ([width, height]) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    const noise = context.createImageData(width, height);
    for (let at = 0; at < noise.data.length; at += 1) noise.data[at] = Math.random() * 256;
    context.putImageData(noise, 0, 0);
    const content = await canvas.convertToBlob({ type: "image/png" });
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([content], "screen.png", { type: "image/png" }));
    const options = { clipboardData, bubbles: true, cancelable: true };
    document.getElementById("question").dispatchEvent(new ClipboardEvent("paste", options));
}"""
DROP = """([name, text, at]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([text], name, { type: "text/markdown" }));
    const clientX = window.innerWidth * at;
    const options = { dataTransfer, clientX, bubbles: true, cancelable: true };
    window.dispatchEvent(new DragEvent("dragover", options));
    window.dispatchEvent(new DragEvent("drop", options));
}"""


def drop(page: Page, name: str, text: str, at: float) -> None:
    """Drop a file at a share of the width of the page."""
    page.evaluate(DROP, [name, text, at])


def attach(page: Page, *paths: Path) -> None:
    page.locator(".composer input[type=file]").set_input_files(paths)


def attached(page: Page) -> Locator:
    return page.get_by_role("list", name="Attached files").get_by_role("listitem")


def test_a_file_and_an_image_go_with_a_question_and_stay_with_it(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "rota.md").write_text(ROTA, encoding="utf-8")
    Image.new("RGB", (320, 200), "teal").save(tmp_path / "pump.png")
    attach(page, tmp_path / "rota.md", tmp_path / "pump.png")
    expect(attached(page)).to_have_count(2)
    ask(page, QUESTION)
    wait_for_answer(page)
    expect(attached(page)).to_have_count(0)
    answer = page.locator(".answer")
    expect(answer).to_contain_text("I see 1 images. The night shift")
    page.reload()
    expect(page.locator(".attachments")).to_have_text("rota.md")
    image = page.get_by_role("img", name="Attached image 1")
    expect(image).to_be_visible()
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [320, 200]
    answer.get_by_role("button", name="Passage").first.click()
    panel = page.get_by_role("complementary")
    expect(panel.locator("mark.quote")).to_contain_text("begins at 21:30")
    expect(panel).to_contain_text("not among the documents")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Ask again").last.click()
    expect(page.get_by_text("The earlier version is kept")).to_be_visible()
    wait_for_answer(page)
    expect(answer).to_contain_text("I see 1 images. The night shift")
    expect(page.get_by_role("img", name="Attached image 1")).to_be_visible()


def test_a_large_pasted_image_is_sent_with_fewer_pixels(page: Page) -> None:
    page.evaluate(PASTE, [3000, 1500])
    expect(attached(page)).to_have_count(1)
    ask(page, QUESTION)
    wait_for_answer(page)
    image = page.get_by_role("img", name="Attached image 1")
    size = "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    assert image.evaluate(size) == [2048, 1024]


def test_a_file_is_dropped_on_the_question_and_removed_again(page: Page) -> None:
    drop(page, "rota.md", ROTA, at=0.25)
    expect(attached(page)).to_have_text(["rota.md"])
    page.get_by_role("button", name="Remove rota.md").click()
    expect(attached(page)).to_have_count(0)
    expect(page.locator(".document-item")).to_have_count(0)


def test_a_file_that_cannot_be_read_is_named_and_stays_in_the_composer(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(range(256)))
    attach(page, tmp_path / "data.bin")
    ask(page, QUESTION)
    expect(page.get_by_role("alert")).to_contain_text("data.bin is of no kind that can be read")
    expect(page.get_by_role("textbox", name="Your question")).to_have_value(QUESTION)
    expect(attached(page)).to_have_text(["data.bin"])
    expect(page.locator(".turn")).to_have_count(0)
