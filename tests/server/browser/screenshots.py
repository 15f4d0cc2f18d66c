"""Make the screenshots of README and docs: `python -m tests.server.browser.screenshots`.

A folder of three documents is served with the scripted model of the browser tests.
"""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.server.browser.conftest import CHROMIUM, ROOT, served, write_folder, write_pdf

IMAGES = ROOT / "docs" / "images"
DESKTOP = {"width": 1360, "height": 850}
PHONE = {"width": 390, "height": 844}
COLORS = 256
QUESTIONS = (
    "How many objects may one bucket hold?",
    "When is the copy verified, according to the manual?",
    "When is the archive backed up, and what is kept?",
)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = write_folder(Path(temporary) / "Laboratory handbook")
        write_pdf(folder / "knowledge" / "manual.pdf")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with served(folder) as address:
            for question in QUESTIONS:
                page = opened(browser, address)
                ask(page, question)
                url = page.url
            for name, scheme in (("page-light", "light"), ("page-dark", "dark")):
                page = opened(browser, url, scheme)
                page.locator(".cite").first.click()
                page.locator("mark.quote").first.wait_for()
                page.locator(".thread").evaluate("thread => thread.scrollTo(0, 0)")
                save(page, name)
            page = opened(browser, url, size=PHONE)
            page.locator(".thread").evaluate("thread => thread.scrollTo(0, 0)")
            save(page, "page-phone")
            page = opened(browser, address)
            page.get_by_role("textbox", name="Your question").fill("Delete run 17")
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Allow").wait_for()
            page.locator(".approval input").first.fill("42")
            save(page, "page-approval")
        browser.close()


def opened(
    browser: Browser, address: str, scheme: str = "light", size: dict[str, int] = DESKTOP
) -> Page:
    """The page in a new profile."""
    context = browser.new_context(
        viewport=size, color_scheme=scheme, device_scale_factor=2, locale="en-US"
    )
    page: Page = context.new_page()
    page.goto(address)
    page.locator(".turn-actions, .welcome").last.wait_for()
    page.locator(".skeleton").wait_for(state="detached")
    return page


def ask(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Your question").fill(question)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Copy answer").last.wait_for()


def save(page: Page, name: str) -> None:
    """Write a screenshot as a PNG of few colours, which is a third of the size."""
    page.mouse.move(680, 20)
    page.wait_for_timeout(700)
    image = Image.open(BytesIO(page.screenshot(animations="disabled", caret="hide")))
    IMAGES.mkdir(exist_ok=True)
    image.convert("RGB").quantize(COLORS).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
