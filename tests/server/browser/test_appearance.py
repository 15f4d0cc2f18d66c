"""The page on a phone, in the dark, by keyboard alone, for a screen reader, and in Chinese."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.node import FOLDER, with_node
from tests.server.browser.conftest import policy_faults, served, write_folder
from tests.server.browser.test_conversation import QUESTION, ask, wait_for_answer

pytestmark = pytest.mark.slow

KEY = "a-key-for-the-browser-test"
PHONE = {"width": 390, "height": 844}
AXE = FOLDER.modules / "axe-core" / "axe.min.js"


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest, page: Page) -> str:
    page.emulate_media(color_scheme=request.param)
    return str(request.param)


LUMINANCE = """element => {
    const [r, g, b] = getComputedStyle(element).backgroundColor.match(/[\\d.]+/g).map(Number);
    return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}"""
STILL = """Promise.all(document.getAnimations()
    .filter(each => each.effect.getTiming().iterations !== Infinity)
    .map(each => each.finished.catch(() => {})))"""
FOCUSED = """(() => {
    const element = document.activeElement;
    const name = element.getAttribute("aria-label") || element.innerText || "";
    return { name, classes: element.className, tag: element.tagName };
})()"""


def luminance(page: Page, selector: str) -> float:
    """The brightness of a background, from 0 to 1."""
    return float(page.locator(selector).evaluate(LUMINANCE))


def test_the_page_follows_the_systems_theme_until_one_is_chosen(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    assert luminance(page, ".main") < 0.2
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Light").click()
    assert luminance(page, ".main") > 0.9
    page.reload()
    page.locator(".composer").wait_for()
    assert luminance(page, ".main") > 0.9


def test_on_a_phone_nothing_is_wider_than_the_screen_and_all_is_reachable(page: Page) -> None:
    page.set_viewport_size(PHONE)
    page.get_by_role("button", name="Open menu").click()
    page.get_by_role("link", name="New conversation").click()
    ask(page, QUESTION)
    wait_for_answer(page)
    page.locator(".cite").first.click()
    expect(page.get_by_role("complementary")).to_be_in_viewport(ratio=0.99)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="Close panel").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(page.get_by_role("textbox", name="Your question")).to_be_in_viewport()


def press_until(page: Page, key: str, is_reached: Callable[[dict[str, Any]], bool]) -> None:
    """Press a key until the focused element is the wanted one."""
    for _ in range(60):
        page.keyboard.press(key)
        element = page.evaluate(FOCUSED)
        if is_reached(element):
            return
    raise AssertionError("the element cannot be reached by the keyboard")


def test_everything_is_done_with_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("/")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    wait_for_answer(page)
    # To the citation: its preview appears, Enter opens the document, Escape leads back.
    press_until(page, "Shift+Tab", lambda element: element["classes"] == "cite")
    expect(page.get_by_role("tooltip")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary")).to_have_count(0)
    expect(page.locator(".cite").last).to_be_focused()
    # A menu: arrows move, Enter chooses.
    page.keyboard.press("Control+k")
    press_until(page, "Tab", lambda element: "menu-button" in element["classes"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    # A call is approved with changed arguments.
    page.keyboard.press("Alt+n")
    page.keyboard.type("Delete run 17")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Allow").wait_for()
    press_until(page, "Shift+Tab", lambda element: element["name"] == "Deny")
    press_until(page, "Shift+Tab", lambda element: element["tag"] == "TEXTAREA")
    page.keyboard.press("Control+a")
    page.keyboard.type("typed by keyboard")
    press_until(page, "Tab", lambda element: element["name"].startswith("Allow"))
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_contain_text("run 17 deleted, typed by keyboard")


def serious_findings(page: Page) -> list[str]:
    """What axe-core finds serious or critical, with the elements."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    # What moves into place is not judged half-transparent.
    page.evaluate(STILL)
    result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in result["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@with_node
def test_axe_finds_nothing_serious_in_any_view(page: Page, scheme: str) -> None:
    found = {"welcome": serious_findings(page)}
    ask(page, QUESTION)
    wait_for_answer(page)
    page.get_by_role("button", name="search_knowledge").first.click()
    page.locator(".verdict summary").click()
    found["answer"] = serious_findings(page)
    page.locator(".cite").first.click()
    page.get_by_role("complementary").locator("mark.quote").first.wait_for()
    found["passage"] = serious_findings(page)
    for name, key in (("documents", "Alt+d"), ("search", "Alt+f")):
        page.keyboard.press(key)
        found[name] = serious_findings(page)
    page.get_by_role("button", name="Settings").click()
    found["settings"] = serious_findings(page)
    page.keyboard.press("Escape")
    ask(page, "Delete run 17")
    page.get_by_role("button", name="Allow").wait_for()
    found["approval"] = serious_findings(page)
    page.get_by_role("button", name="Deny").click()
    wait_for_answer(page)
    page.set_viewport_size(PHONE)
    found["phone"] = serious_findings(page)
    assert found == {view: [] for view in found}


def test_the_page_speaks_chinese_to_a_chinese_browser(page: Page) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("link", name="新对话")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    page.reload()
    expect(page.get_by_role("textbox", name="你的问题")).to_be_visible()


def test_a_browser_without_a_key_signs_in_with_one(chromium: Browser, tmp_path: Path) -> None:
    with served(write_folder(tmp_path / "handbook"), KEY) as address:
        context = chromium.new_context(locale="en-US")
        page = context.new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.extend(policy_faults(message.text)))
        page.goto(address)
        assert luminance(page, "main") > 0.9
        page.get_by_label("Key").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("This key is not known.")
        page.get_by_label("Key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        ask(page, QUESTION)
        wait_for_answer(page)
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Key")).to_be_visible()
        context.close()
    assert faults == []
